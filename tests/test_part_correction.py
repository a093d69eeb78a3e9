"""The correction of parts: what a bundle says of it is checked, and it is the formula that it is said to be."""

from typing import Any

import numpy as np
import pytest

from hashgrain.errors import BundleError
from hashgrain.models import Bundle
from hashgrain.models.detail import DETAILS
from hashgrain.models.part_correction import KEY, corrected, describe_correction, read_correction

WIDTH = 5


def numbers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.uniform(0.5, 1.5, WIDTH).astype(np.float32), random.uniform(-0.5, 0.5, WIDTH).astype(np.float32)


def described(**changes: Any) -> dict[str, Any]:
    whole = describe_correction({320: {2: numbers(0), 3: numbers(1)}})
    whole["320"]["2"] |= changes
    return {KEY: whole}


def test_what_is_described_is_read_again() -> None:
    read = read_correction(described(), 320, WIDTH, "made")
    assert set(read) == {2, 3}
    for level, seed in ((2, 0), (3, 1)):
        for one, other in zip(read[level], numbers(seed), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-3)
    assert read_correction(described(), 640, WIDTH, "made") == {}
    assert read_correction({}, 320, WIDTH, "made") == {}


def test_features_are_corrected_level_by_level_in_their_roots() -> None:
    pooled = np.random.default_rng(3).uniform(0, 2, (2, 1 + 4 + 9, WIDTH)).astype(np.float32)
    gain, shift = numbers(7)
    given = corrected(pooled, (1, 2, 3), {2: (gain, shift)})
    for picture in range(2):
        for part in range(14):
            for feature in range(WIDTH):
                before = pooled[picture, part, feature]
                root = max(0.0, gain[feature] * before**0.5 + shift[feature])
                after = root * root if 1 <= part < 5 else before
                assert given[picture, part, feature] == pytest.approx(after, rel=1e-5)


@pytest.mark.parametrize(
    ("others", "reason"),
    [
        ({KEY: []}, "no table"),
        ({KEY: {"320": 7}}, "no table"),
        ({KEY: {"320": {"two": {}}}}, "'two' is no level"),
        ({KEY: {"320": {"2": []}}}, "level 2 has no numbers"),
        (described(gain=None), "level 2 is not of 5 features"),
        (described(gain="AAAA"), "level 2 is not of 5 features"),
        (described(gain="*" * 16), "level 2 is not base64"),
        (described(shift="AH4AfgB+AH4Afg=="), "level 2 goes past 100"),  # five times NaN
        (described(shift="AHwAfAB8AHwAfA=="), "level 2 goes past 100"),  # five times infinity
    ],
)
def test_a_correction_that_is_none_is_an_error(others: dict[str, Any], reason: str) -> None:
    with pytest.raises(BundleError, match=reason):
        read_correction(others, 320, WIDTH, "made")


def test_the_default_model_corrects_every_level_of_every_detail_and_is_calibrated_for_parts() -> None:
    bundle = Bundle.read("photo")
    for look in (look for detail in DETAILS for look in detail.looks):
        assert set(look.levels) <= set(read_correction(bundle.others, look.edge, 1280, "photo"))
    for grain in bundle.grains:
        assert bundle.part_calibration[grain].probabilities[0] > 0.9


def test_a_line_is_fitted_halfway_and_crops_are_pasted_at_windows_that_do_not_overlap() -> None:
    pytest.importorskip("pyarrow")
    from conftest import make_picture
    from hashgrain.learn.photo.parts import PASTED, _line, _overlap, _pages

    given = np.random.default_rng(0).uniform(0, 1, (50, WIDTH)).astype(np.float32)
    gain, shift = _line(given, 3 * given + 1)
    np.testing.assert_allclose(gain, 2, rtol=1e-4)  # halfway from 1 to 3
    np.testing.assert_allclose((gain * given + shift).mean(axis=0), (3 * given + 1).mean(axis=0), rtol=1e-4)
    pages = list(_pages([make_picture(n, (300, 200)) for n in range(4)], 3))
    assert len(pages) == 8
    for page in pages:
        assert 1 <= len(page.windows) == len(page.crops) <= PASTED
        assert not any(_overlap(a, b) for i, a in enumerate(page.windows) for b in page.windows[:i])
