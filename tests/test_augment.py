"""Random views: the seed decides them, and they stay pictures."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import make_picture

torch = pytest.importorskip("torch", reason="needs the train extra")

from hashgrain.learn.data.augment import Augmentation, random_views  # noqa: E402

pytestmark = pytest.mark.train


def test_views_are_the_seed_s_and_stay_pictures() -> None:
    pixels = torch.from_numpy(np.stack([np.asarray(make_picture(i, (64, 64))) for i in range(6)]))
    for size in (32, 48, 64):
        first, second = (random_views(pixels, size, torch.Generator().manual_seed(5), Augmentation()) for _ in range(2))
        assert first.shape == (6, 3, size, size)
        assert torch.equal(first, second)
        assert 0 <= float(first.min()) <= float(first.max()) <= 1
        other = random_views(pixels, size, torch.Generator().manual_seed(6), Augmentation())
        assert not torch.equal(first, other)


def test_no_augmentation_is_the_picture_itself() -> None:
    pixels = torch.from_numpy(np.stack([np.asarray(make_picture(i, (64, 64))) for i in range(3)]))
    views = random_views(pixels, 64, torch.Generator().manual_seed(0), Augmentation.none())
    assert torch.allclose(views, pixels.permute(0, 3, 1, 2) / 255, atol=1e-4)
