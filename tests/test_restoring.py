"""`hashgrain restore`: what was missing comes back from a relative, and what is guessed is not trusted."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from conftest import Run, make_picture
from hashgrain import Library
from hashgrain.apps import restore as app
from hashgrain.errors import ImageError, QueryError
from hashgrain.media import filling
from hashgrain.media.quality import psnr, ssim
from test_verifying import SIZE, textured

# ---- figures


def plain_ssim(a: np.ndarray, b: np.ndarray, mask: np.ndarray) -> float:
    """One window after the other, as the formula says."""
    places = np.arange(11) - 5
    weights = np.exp(-(places[:, None] ** 2 + places[None, :] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    values = []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            if not mask[top : top + 11, left : left + 11].all():
                continue
            for channel in range(a.shape[2]):
                x, y = (each[top : top + 11, left : left + 11, channel].astype(float) for each in (a, b))
                mx, my = (weights * x).sum(), (weights * y).sum()
                vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
                both = (weights * (x - mx) * (y - my)).sum()
                c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
                values.append((2 * mx * my + c1) * (2 * both + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2)))
    return float(np.mean(values))


def test_ssim_is_that_of_a_plain_loop_with_and_without_a_mask() -> None:
    dice = np.random.default_rng(0)
    a = np.asarray(make_picture(1, (26, 19)))
    b = (a + dice.normal(0, 12, a.shape)).clip(0, 255).astype(np.uint8)
    mask = np.ones(a.shape[:2], bool)
    assert ssim(a, b) == pytest.approx(plain_ssim(a, b, mask))
    mask[5, 20] = False
    assert ssim(a, b, mask) == pytest.approx(plain_ssim(a, b, mask))
    assert ssim(a, a) == pytest.approx(1)
    assert math.isnan(ssim(a[:10], b[:10]))
    assert math.isnan(ssim(a, b, np.zeros_like(mask)))


def test_psnr_is_that_of_the_formula() -> None:
    a = np.zeros((4, 5, 3), np.uint8)
    b = a.copy()
    b[0, 0] = 30
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / (3 * 900 / 60)))
    mask = np.zeros((4, 5), bool)
    mask[0, 0] = True
    assert psnr(a, b, mask) == pytest.approx(10 * math.log10(255**2 / 900))
    assert psnr(a, a) == math.inf
    assert math.isnan(psnr(a, b, np.zeros_like(mask)))


# ---- restoring

pytest.importorskip("cv2", reason="needs the verify extra")
HOLE = (120, 90, 300, 250)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 5 pictures, and beside it damaged and small ones."""
    folder = tmp_path_factory.mktemp("restoring")
    (folder / "pictures").mkdir()
    for seed in range(5):
        textured(seed, (960, 720) if seed == 4 else SIZE).save(folder / f"pictures/{seed}.png")
    with Library.create(folder / "test.hg", "small") as library:
        library.add(folder / "pictures")
    torn = textured(2)
    torn.paste((255, 0, 255), HOLE)
    torn.save(folder / "torn.png")
    changed = (
        ImageEnhance.Brightness(textured(3).rotate(4, Image.Resampling.BICUBIC)).enhance(0.8).crop((40, 40, 400, 320))
    )
    changed.save(folder / "true.png")
    changed.paste((0, 0, 0), (100, 90, 190, 170))
    changed.save(folder / "changed.png")
    alone = textured(77)
    alone.save(folder / "alone-true.png")
    alone.paste((255, 255, 255), (200, 100, 260, 160))
    alone.save(folder / "alone.png")
    textured(4, (960, 720)).resize((160, 120), Image.Resampling.LANCZOS).save(folder / "small.png")
    textured(4, (960, 720)).crop((240, 180, 720, 540)).resize((160, 120), Image.Resampling.LANCZOS).save(
        folder / "part.png"
    )
    mask = Image.new("L", SIZE)
    mask.paste(255, HOLE)
    mask.save(folder / "mask.png")
    return folder


def done(hashgrain: Run, place: Path, *arguments: object, code: int = 0) -> Any:
    run = hashgrain("restore", place / "test.hg", *arguments, "--json", cwd=place)
    assert run.returncode == code, run.stderr
    return json.loads(run.stdout)


def test_missing_pixels_of_a_copy_come_back_exactly_and_the_others_stay(
    hashgrain: Run, place: Path, tmp_path: Path
) -> None:
    options = (
        "--mask",
        "mask.png",
        "--out",
        tmp_path / "a.png",
        "--truth",
        "pictures/2.png",
        "--page",
        tmp_path / "p.html",
    )
    told = done(hashgrain, place, "torn.png", *options)
    restored, truth = np.asarray(Image.open(tmp_path / "a.png")), np.asarray(textured(2))
    hole = np.asarray(Image.open(place / "mask.png")) > 0
    assert np.array_equal(restored[~hole], truth[~hole])
    assert told["pixels"] == {"kept": int((~hole).sum()), "copied": int(hole.sum()), "inpainted": 0}
    assert told["trusted"]
    assert Path(told["relative"]["path"]).name == "2.png"
    assert told["quality"]["psnr_missing"] is None or told["quality"]["psnr_missing"] > 35
    assert told["relative"]["overlap_ssim"] > 0.98
    page = (tmp_path / "p.html").read_text()
    assert page.count("<img") == 3
    assert "Trusted: " in page


def test_a_relative_of_other_colors_and_place_is_warped_and_fitted(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    told = done(
        hashgrain, place, "changed.png", "--box", "100,90,190,170", "--out", tmp_path / "a.png", "--truth", "true.png"
    )
    assert told["trusted"]
    assert told["quality"]["psnr_missing"] > 24
    assert told["pixels"]["copied"] == 90 * 80


def test_a_hole_is_found_by_its_one_color(place: Path) -> None:
    found = app.mask_of(place / "torn.png")
    hole = np.asarray(Image.open(place / "mask.png")) > 0
    assert (found & hole).sum() == hole.sum()
    assert found.sum() < 1.1 * hole.sum()
    with pytest.raises(QueryError, match="no area of one flat color"):
        app.mask_of(place / "true.png")


def test_without_a_relative_pixels_are_guessed_and_not_trusted(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    told = done(hashgrain, place, "alone.png", "--auto", "--out", tmp_path / "a.jpg", code=3)
    assert not told["trusted"]
    assert told["relative"] is None
    assert told["pixels"]["copied"] == 0
    assert told["pixels"]["inpainted"] >= 3600
    assert "guessed" in told["reason"]
    assert Image.open(tmp_path / "a.jpg").size == SIZE


def test_the_picture_itself_is_no_relative(place: Path, tmp_path: Path) -> None:
    with Library.create(tmp_path / "own.hg", "small") as library:
        library.add(place / "torn.png")
        restored = app.restore(library, place / "torn.png", app.mask_of(place / "torn.png"))
    assert restored.relative is None


def test_a_relative_whose_file_is_gone_is_passed_over(place: Path, tmp_path: Path) -> None:
    textured(2).save(tmp_path / "2.png")
    with Library.create(tmp_path / "gone.hg", "small") as library:
        library.add(tmp_path / "2.png")
        (tmp_path / "2.png").unlink()
        restored = app.restore(library, place / "torn.png", app.mask_of(place / "torn.png"))
    assert (restored.relative, restored.trusted) == (None, False)


def test_pixels_that_the_relative_lacks_are_guessed_and_said(place: Path, tmp_path: Path) -> None:
    textured(2).crop((0, 0, 480, 170)).save(tmp_path / "upper.png")
    with Library.create(tmp_path / "upper.hg", "small") as library:
        library.add(tmp_path / "upper.png")
        restored = app.restore(library, place / "torn.png", app.mask_of(place / "torn.png", box=HOLE))
    counts = restored.counts()
    assert counts["copied"] == pytest.approx(180 * 80, rel=0.03)
    assert counts["inpainted"] == pytest.approx(180 * 80, rel=0.03)
    assert not restored.trusted
    assert "are not in the relative" in restored.reason


def test_a_small_picture_gets_the_pixels_of_its_large_relative(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    told = done(hashgrain, place, "small.png", "--enlarge", "--out", tmp_path / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(textured(4, (960, 720))))
    assert (told["width"], told["height"], told["trusted"]) == (960, 720, True)
    told = done(hashgrain, place, "part.png", "--enlarge", "--out", tmp_path / "b.png")
    part = np.asarray(Image.open(tmp_path / "b.png").resize((480, 360)))
    assert psnr(part, np.asarray(textured(4, (960, 720)).crop((240, 180, 720, 540)))) > 20
    assert told["width"] == pytest.approx(480, abs=12)


def test_there_is_no_larger_picture_than_the_largest(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    for picture in ("pictures/4.png", "alone.png"):
        run = hashgrain("restore", place / "test.hg", picture, "--enlarge", "--out", tmp_path / "a.png", cwd=place)
        assert run.returncode == 1
        assert b"no larger picture of" in run.stderr
        assert run.stderr.count(b"\n") == 1
    assert not (tmp_path / "a.png").exists()


WRONG = {
    "no mask": (["torn.png"], 2, "--auto"),
    "two masks": (["torn.png", "--auto", "--box", "0,0,1,1"], 2, "--auto"),
    "a mask of another size": (["torn.png", "--mask", "small.png"], 1, "a mask of 160 x 120 pixels"),
    "all missing": (["torn.png", "--box", "0,0,1,1"], 1, "100% of the pixels are missing"),
    "a box that is none": (["torn.png", "--box", "0.5,0,0.2,1"], 1, "left is less than right"),
    "a box outside": (["torn.png", "--box", "0,0,900,90"], 1, "reaches outside"),
    "no picture": (["mask.txt", "--auto"], 1, "mask.txt"),
    "nothing there": (["none.png", "--auto"], 1, "none.png"),
    "truth of another size": (["torn.png", "--auto", "--truth", "small.png"], 1, "has 160 x 120 pixels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_line_and_nothing_is_written(hashgrain: Run, place: Path, tmp_path: Path, name: str) -> None:
    (place / "mask.txt").write_text("no picture")
    arguments, code, said = WRONG[name]
    run = hashgrain("restore", place / "test.hg", *arguments, "--out", tmp_path / "a.png", cwd=place)
    assert run.returncode == code, run.stderr
    assert said in run.stderr.decode()
    assert b"Traceback" not in run.stderr
    assert not (tmp_path / "a.png").exists()


def test_an_empty_mask_and_a_strange_suffix_are_refused(place: Path, tmp_path: Path) -> None:
    with Library.open(place / "test.hg") as library, pytest.raises(QueryError, match="no pixel is missing"):
        app.restore(library, place / "torn.png", np.zeros((360, 480), bool))
    with pytest.raises(QueryError, match=r"written as \.png or \.jpg"):
        app.encoded(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.gif")
    with pytest.raises(ImageError, match="cannot be read"):
        app.quality_of(
            app.Restored(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), None, True, ""), "gone.png"
        )


# ---- pixels


def test_a_map_between_fractions_is_one_between_centers_of_pixels() -> None:
    halved = filling.in_pixels(np.eye(3), (40, 20), (80, 40))
    assert (halved @ [0, 0, 1])[:2] == pytest.approx([0.5, 0.5])  # the middle of the four pixels there
    assert (halved @ [39, 19, 1])[:2] == pytest.approx([78.5, 38.5])


def test_warping_is_refined_to_a_fraction_of_a_pixel_and_colors_are_fitted() -> None:
    picture = np.asarray(textured(5))
    dark = (picture * 0.7 + 20).round().astype(np.uint8)
    shifted = np.array([[1, 0, 3 / 480], [0, 1, -2 / 360], [0, 0, 1]])
    missing = np.zeros(picture.shape[:2], bool)
    missing[100:200, 100:300] = True
    found = filling.warped(dark, shifted, picture, ~missing)
    inner = np.zeros_like(missing)
    inner[20:-20, 20:-20] = True
    assert psnr(found.pixels, picture, inner) > 30
    assert psnr(filling.warped(dark, shifted, picture, ~missing, refine=False).pixels, picture, inner) < 25


def test_the_seam_fades_and_known_pixels_stay() -> None:
    target = np.full((60, 60, 3), 100, np.uint8)
    missing = np.zeros((60, 60), bool)
    missing[:, 30:] = True
    source = filling.Warped(np.full((60, 60, 3), 120, np.uint8), np.ones((60, 60), bool))
    filled = filling.pasted(target, missing, source)
    assert np.array_equal(filled[:, :30], target[:, :30])
    row = filled[30, 29:, 0].astype(int)
    assert np.abs(np.diff(row)).max() <= 3
    assert row[-1] == 120
