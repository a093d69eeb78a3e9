"""How a picture of any shape is brought to a model's size: squashed, whole on gray, or its middle."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hashgrain import Encoder, Library
from hashgrain.apps.sample import sample_pixels
from hashgrain.errors import SourceError
from hashgrain.evaluate.described import describe
from hashgrain.labelled import labelled_pictures
from hashgrain.media import DecodePool, open_picture
from hashgrain.media.fitting import GRAY
from hashgrain.models import Bundle
from hashgrain.types import Fit
from made_graphs import bundle_of, floats, node, with_step

BILINEAR = Image.Resampling.BILINEAR
FITS: tuple[Fit, ...] = ("squash", "fit", "crop")


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8))


def by_pillow(image: Image.Image, size: tuple[int, int], fit: Fit) -> NDArray[np.uint8]:
    """What Pillow's own functions make of it."""
    if fit == "fit":
        return np.asarray(ImageOps.pad(image, size, BILINEAR, color=GRAY))
    if fit == "crop":
        return np.asarray(ImageOps.fit(image, size, BILINEAR))
    return np.asarray(image.resize(size, BILINEAR))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(60, 30), (30, 60), (31, 47), (48, 32), (7, 5), (90, 1), (1, 90), (32, 24)])
@pytest.mark.parametrize("size", [(48, 32), (32, 32), (24, 48)])
def test_pixels_are_those_of_pillow(shape: tuple[int, int], size: tuple[int, int], fit: Fit) -> None:
    image = noise(*shape)
    pixels = open_picture(image, size=size, fit=fit).pixels
    expected = by_pillow(image, size, fit)
    if max(shape[0] / size[0], shape[1] / size[1]) <= 2:  # beyond, ours shrinks in two steps
        assert np.array_equal(pixels, expected)
    assert np.abs(pixels.astype(int) - expected.astype(int)).mean() < 12


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_fitted_as_it_is_seen(orientation: int, fit: Fit) -> None:
    image = noise(50, 31)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "PNG", exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(file.getvalue())))
    pixels = open_picture(file.getvalue(), size=(40, 32), fit=fit).pixels
    assert np.abs(pixels.astype(int) - by_pillow(turned, (40, 32), fit).astype(int)).max() <= 1


@pytest.mark.parametrize("fit", FITS)
def test_a_large_jpeg_is_fitted_though_it_is_decoded_small(fit: Fit) -> None:
    smooth = Image.fromarray(np.indices((900, 1600)).sum(axis=0).astype(np.uint8) // 9).convert("RGB")
    smooth = smooth.resize((12, 9), BILINEAR).resize((1600, 900), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    smooth.save(file, "JPEG", quality=95)
    pixels = open_picture(file.getvalue(), size=(32, 32), fit=fit).pixels
    assert np.abs(pixels.astype(int) - by_pillow(smooth, (32, 32), fit).astype(int)).max() <= 6


def test_the_decoding_processes_fit_pictures_alike() -> None:
    file = io.BytesIO()
    noise(60, 30).save(file, "PNG")
    for fit in FITS:
        with DecodePool((16, 16), fit=fit) as pool:
            ((_, picture),) = pool.decode([(0, file.getvalue())])
        assert np.array_equal(picture.pixels, open_picture(file.getvalue(), size=(16, 16), fit=fit).pixels)  # type: ignore[union-attr]


CODES: dict[Fit, list[bool]] = {"squash": [True, True, True], "fit": [True, True, False], "crop": [False, False, False]}


def fitting(fit: Fit) -> Bundle:
    """A model whose bits say how bright what it sees is."""
    darkness = floats("levels", 30, 100, 160)
    return dataclasses.replace(
        bundle_of(with_step(node("Sub", ["colors", "levels"], ["result"]), tensors=[darkness])), fit=fit
    )


def banner() -> Image.Image:
    """White with a black middle: seen whole it is light, on gray less so, and its middle is black."""
    image = Image.new("RGB", (40, 8), "white")
    image.paste("black", (15, 0, 25, 8))
    return image


@pytest.mark.parametrize("fit", FITS)
def test_whoever_encodes_fits_as_the_bundle_says(fit: Fit, tmp_path: Path) -> None:
    """A library and what it is asked with, codes, features, an evaluation: all see the same pixels."""
    folder = tmp_path / "pictures"
    for number in range(2):
        (folder / f"class{number}").mkdir(parents=True)
        banner().save(folder / f"class{number}" / "0.png", compress_level=number)
    path = folder / "class0" / "0.png"
    encoder = Encoder.load(fitting(fit).write(tmp_path / "model"))
    assert encoder.encode(path).bits()[0].astype(bool).tolist() == CODES[fit]
    assert (encoder.features(path)[0] >= 0).tolist() == CODES[fit]
    assert (describe(encoder, labelled_pictures(folder)).outputs >= 0).tolist() == [CODES[fit]] * 2
    with Library.create(tmp_path / "a.hg", tmp_path / "model") as library:
        library.add(folder)
        assert library.codes()[0].bits().astype(bool).tolist() == [CODES[fit]] * 2
        assert [hit.distance for hit in library.search(path, k=2)] == [0, 0]
        assert [hit.distance for hit in library.search(banner(), k=2, rerank=2)] == [0, 0]


def test_fits_see_other_pixels_and_have_other_digests() -> None:
    seen = {open_picture(noise(60, 30), size=(16, 16), fit=fit).pixels.tobytes() for fit in FITS}
    assert len(seen) == len({fitting(fit).code_digest for fit in FITS}) == len(FITS)


def test_a_sample_is_spread_evenly_and_says_what_was_refused(tmp_path: Path) -> None:
    for number in range(10):
        Image.new("RGB", (20, 8), (number * 20,) * 3).save(tmp_path / f"{number}.png")
    (tmp_path / "9.png").write_bytes(b"no picture")
    pixels, refused = sample_pixels(fitting("crop"), tmp_path, most=4)
    assert pixels[:, 0, 0, 0].tolist() == [0, 60, 120]
    assert pixels.shape == (3, 4, 4, 3)
    assert list(refused) == ["9.png"]
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "1.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match=r"no pictures that can be opened in .*1\.png"):
        sample_pixels(fitting("crop"), bad, most=4)
