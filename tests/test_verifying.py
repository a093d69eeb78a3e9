"""Hits matched with the query point by point: what is verified, where it lies, and what is never said."""

from __future__ import annotations

import dataclasses
import io
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from conftest import Run, make_picture
from hashgrain import Library
from hashgrain.errors import ImageError, QueryError
from hashgrain.library import verifying
from hashgrain.media import local_features
from hashgrain.search import Hit
from hashgrain.search.query import Query
from hashgrain.types import Part, Verified

SIZE = (480, 360)


def textured(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture full of corners, with the noise of a photograph: every seed another one."""
    dice = np.random.default_rng(seed)
    image = Image.fromarray(dice.integers(60, 200, (6, 8, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(220):
        x, y = dice.integers(0, size[0]), dice.integers(0, size[1])
        w, h = dice.integers(6, 50, 2)
        draw.polygon(
            [(x, y), (x + w, y + dice.integers(-9, 9)), (x + w, y + h), (x, y + h)],
            fill=tuple(dice.integers(0, 256, 3).tolist()),
        )
    blurred = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8)))
    return Image.fromarray((blurred + dice.normal(0, 3, blurred.shape)).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library of 6 pictures with texture, and one without."""
    folder = tmp_path_factory.mktemp("verifying")
    (folder / "pictures").mkdir()
    for seed in range(6):
        textured(seed).save(folder / f"pictures/{seed}.jpg", quality=92)
    make_picture(9, SIZE).save(folder / "pictures/smooth.jpg")
    with Library.create(folder / "test.hg", "small") as library:
        library.add(folder / "pictures")
    return folder


@pytest.fixture
def library(photos: Path) -> Iterator[Library]:
    pytest.importorskip("cv2", reason="needs the verify extra")
    with Library.open(photos / "test.hg") as opened:
        yield opened


def features(image: Image.Image, *, coarse: bool = False) -> local_features.Features:
    return local_features.features_of(np.asarray(image.convert("RGB")), coarse=coarse)


def warped(image: Image.Image, matrix: np.ndarray, size: tuple[int, int]) -> Image.Image:
    back = np.linalg.inv(matrix)
    back /= back[2, 2]
    return image.transform(size, Image.Transform.PERSPECTIVE, back.ravel()[:8].tolist(), Image.Resampling.BICUBIC)


# ---- the map


def test_a_warped_picture_is_outlined_where_its_corners_went() -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    for seed in range(6):
        dice = np.random.default_rng(seed)
        turn, scale = dice.uniform(-0.6, 0.6), dice.uniform(0.4, 0.9)
        c, s = scale * np.cos(turn), scale * np.sin(turn)
        matrix = np.array([[c, -s, 200.0], [s, c, 150.0], [*dice.uniform(-2e-4, 2e-4, 2), 1]])
        shown = Image.blend(warped(textured(seed), matrix, (700, 600)), Image.new("RGB", (700, 600), "gray"), 0.1)
        found = local_features.register(features(textured(seed), coarse=True), features(shown))
        assert found is not None, seed
        corners = local_features.mapped(matrix, np.array([[0, 0], [480, 0], [480, 360], [0, 360]])) / [700, 600]
        assert np.abs(np.array(found.outline) - corners).max() < 0.012, seed
        assert found.inliers >= local_features.LEAST_INLIERS


def test_pictures_that_show_different_things_are_not_registered() -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    every = [features(textured(seed)) for seed in range(9)]
    assert [pair for pair in itertools.combinations(every, 2) if local_features.register(*pair)] == []


def test_matches_are_those_of_a_plain_loop() -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    dice = np.random.default_rng(0)
    ours = dice.integers(0, 256, (60, 32), np.uint8)
    theirs = np.concatenate([ours[:40] ^ (dice.random((40, 32)) < 0.2), dice.integers(0, 256, (30, 32), np.uint8)])
    theirs[50] = theirs[3]  # as near as the right one: the ratio refuses both
    points = [np.arange(2 * len(each), dtype=np.float32).reshape(-1, 2) for each in (ours, theirs)]
    first, second = (local_features.Features(at, of, (99, 99)) for at, of in zip(points, (ours, theirs), strict=True))
    apart = np.array([[np.unpackbits(a ^ b).sum() for b in theirs] for a in ours])
    expected = []
    for i, row in enumerate(apart):
        near, after = np.sort(row)[:2]
        j = int(row.argmin())
        if near <= 64 and near < 0.8 * after and int(apart[:, j].argmin()) == i:
            expected.append((i, j))
    a, b = local_features._matches(first, second)
    assert [(int(x[0]) // 2, int(y[0]) // 2) for x, y in zip(a, b, strict=True)] == expected
    assert len(expected) == 39


IMPLAUSIBLE = {
    "mirrored": [[-1, 0, 480], [0, 1, 0], [0, 0, 1]],
    "folded": [[1, 0, 0], [0, 1, 0], [-0.004, 0, 1]],
    "squeezed to a line": [[1, 0, 0], [0, 0.01, 0], [0, 0, 1]],
    "a point": [[0.01, 0, 0], [0, 0.01, 0], [0, 0, 1]],
    "enormous": [[40, 0, 0], [0, 40, 0], [0, 0, 1]],
    "no number": [[np.nan, 0, 0], [0, 1, 0], [0, 0, 1]],
    "crossed": [[0, 1, 0], [1, 0, 0], [0, 0, 1]],
}


@pytest.mark.parametrize("name", IMPLAUSIBLE)
def test_a_map_that_no_view_has_is_refused(name: str) -> None:
    assert not local_features.is_plausible(np.array(IMPLAUSIBLE[name], float), SIZE)


@pytest.mark.parametrize("turn", [0, 90, 180, 233])
def test_a_map_that_turns_and_scales_is_not(turn: int) -> None:
    c, s = 0.3 * np.cos(np.radians(turn)), 0.3 * np.sin(np.radians(turn))
    assert local_features.is_plausible(np.array([[c, -s, 40], [s, c, -900], [1e-5, 0, 1]]), SIZE)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (3, 700), (64, 2)])
def test_pictures_with_nothing_to_match_are_no_error(size: tuple[int, int]) -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    tiny = features(make_picture(1, size), coarse=True)
    assert local_features.register(tiny, features(textured(0))) is None
    assert local_features.register(features(textured(0)), tiny) is None


# ---- hits


def test_a_crop_is_verified_where_it_was_cut_and_others_are_not(library: Library) -> None:
    crop = Image.open(library.item(3).path).crop((120, 90, 360, 270))
    hits = library.search(crop, k=None, verify=True, verify_seconds=60)
    by_id = {hit.id: hit.verified for hit in hits}
    found = by_id.pop(3)
    assert found is not None
    assert found
    assert found.inliers > 30
    assert np.abs(np.array(found.outline) - [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]]).max() < 0.01
    assert set(by_id.values()) == {Verified(0)}
    assert not Verified(0)


def test_verification_adds_facts_and_changes_neither_hits_nor_order(library: Library) -> None:
    plain = library.search(library.item(2).path, k=5)
    verified = library.search(library.item(2).path, k=5, verify=True, verify_seconds=60)
    assert [dataclasses.replace(hit, verified=None) for hit in verified] == plain
    assert all(hit.verified is not None for hit in verified)
    assert all(hit.verified is None for hit in plain)
    again = library.search(library.item(2).path, k=5, verify=True, verify_seconds=60)
    assert again == verified


def test_a_box_of_the_query_is_what_is_outlined(library: Library) -> None:
    hits = library.search(4, boxes=[(0.5, 0, 1, 0.5)], verify=True, verify_seconds=60, k=None)
    assert all(not hit.verified for hit in hits)  # the item itself is left out
    hits = library.search(library.item(4).path, boxes=[(0.5, 0, 1, 0.5)], verify=True, verify_seconds=60, k=None)
    (found,) = [hit for hit in hits if hit.verified]
    assert found.id == 4
    assert np.abs(np.array(found.verified.outline) - [[0.5, 0], [1, 0], [1, 0.5], [0.5, 0.5]]).max() < 0.02


def test_a_mirrored_query_is_verified_if_asked_in_all_orientations(library: Library) -> None:
    mirrored = ImageOps.mirror(Image.open(library.item(5).path))
    assert not any(hit.verified for hit in library.search(mirrored, k=None, verify=True, verify_seconds=60))
    hits = library.search(mirrored, k=None, verify=True, verify_seconds=60, turned=True)
    (found,) = [hit for hit in hits if hit.verified]
    assert found.id == 5
    assert np.abs(np.array(found.verified.outline) - [[1, 0], [0, 0], [0, 1], [1, 1]]).max() < 0.02


def test_hits_whose_file_is_gone_or_no_picture_are_not_tried(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    (tmp_path / "p").mkdir()
    for seed in range(3):
        textured(seed).save(tmp_path / f"p/{seed}.jpg")
    with Library.create(tmp_path / "a.hg", "small") as library:
        library.add(tmp_path / "p")
        (tmp_path / "p/1.jpg").unlink()
        (tmp_path / "p/2.jpg").write_bytes(b"\xff\xd8\xff no picture")
        hits = library.search(textured(0), verify=True, verify_seconds=60)
    assert [Path(hit.path).name for hit in hits if hit.verified] == ["0.jpg"]
    assert [hit.verified for hit in hits if not hit.path.endswith("0.jpg")] == [None, None]


class Shown:
    """Gives the same picture for every hit and query, or a part of it."""

    def __init__(self, hit: Image.Image) -> None:
        self.hit = hit
        self.asked: list[Any] = []

    def pixels(self, what: Any, edge: int, max_pixels: int, *, box: Any = None, timeout: Any = None) -> np.ndarray:
        if not isinstance(what, int):
            return np.asarray(what)
        if what > 900:
            raise ImageError("gone")
        self.asked.append((what, box))
        image = self.hit
        if box is not None:
            size = np.array([*image.size, *image.size])
            image = image.crop((np.array(box) * size).round().astype(int).tolist())
        return np.asarray(image)


def hit_of(item: int, part: Part | None = None) -> Hit:
    return Hit(item, f"/{item}.jpg", 1, "look", {"look": 1}, "near", 0.5, 1, 1, "jpeg", None, {}, {}, part)


def test_hits_are_tried_in_order_until_the_time_is_over() -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    ticks = itertools.count()
    hits = [hit_of(item) for item in range(1, 9)]
    asked = Query(textured(1), verify=True, verify_seconds=6.5)
    shown = Shown(textured(1))
    verified = verifying.verified_hits(hits, asked, shown, clock=lambda: float(next(ticks)))  # type: ignore[arg-type]
    assert [bool(hit.verified) for hit in verified] == [True] * 3 + [False] * 5
    assert [hit.id for hit in verified] == [hit.id for hit in hits]
    assert verified[3].verified is None


def test_no_more_than_the_first_twenty_hits_are_tried() -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    hits = [hit_of(item) for item in range(1, 24)]
    shown = Shown(make_picture(1, (40, 30)))
    verified = verifying.verified_hits(hits, Query(make_picture(1, (40, 30)), verify_seconds=60), shown)  # type: ignore[arg-type]
    assert [hit.verified for hit in verified] == [Verified(0)] * 20 + [None] * 3


def test_a_hit_found_by_a_part_is_looked_at_again_there_and_outlined_in_the_whole() -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    scene = make_picture(3, (2400, 1800)).filter(ImageFilter.GaussianBlur(3))
    scene.paste(textured(1).resize((96, 72), Image.Resampling.LANCZOS), (1600, 600))
    part = Part(5, (0.65, 0.3, 0.72, 0.4))
    shown = Shown(scene)
    (found,) = verifying.verified_hits([hit_of(1, part)], Query(textured(1), verify_seconds=60), shown)  # type: ignore[arg-type]
    assert [box is None for _, box in shown.asked] in ([True, False], [True])
    assert found.verified
    left, top, right, bottom = 1600 / 2400, 600 / 1800, 1696 / 2400, 672 / 1800
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    assert np.abs(np.array(found.verified.outline) - corners).max() < 0.005


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "2"])
def test_a_time_that_is_none_is_refused(library: Library, seconds: Any) -> None:
    with pytest.raises(QueryError, match="verify_seconds is"):
        library.search(textured(0), verify=True, verify_seconds=seconds)


def test_what_has_no_pixels_cannot_be_verified(library: Library) -> None:
    with pytest.raises(QueryError, match="by the pixels of a picture"):
        library.search(library.code(1), verify=True)
    with pytest.raises(QueryError, match="by the pixels of a picture"):
        library.search(text="a dog", verify=True)


def test_without_opencv_the_error_says_what_to_install(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with Library.open(photos / "test.hg") as library:
        with pytest.raises(QueryError, match="takes OpenCV") as caught:
            library.search(1, verify=True)
        assert caught.value.remedy == "pip install 'hashgrain[verify]'"
        assert library.search(1)


# ---- the command


def test_the_command_has_a_column_of_points_and_draws_the_outline(hashgrain: Run, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    Image.open(photos / "pictures/2.jpg").crop((0, 0, 240, 360)).save(tmp_path / "crop.png")
    page = tmp_path / "page.html"
    done = hashgrain(
        "search", photos / "test.hg", "crop.png", "--verify", "--verify-seconds", "60", "--html", page, "-k", 7
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    points = {Path(row[-1]).stem: row[2] for row in rows}
    assert int(points.pop("2")) > 30
    assert set(points.values()) == {"no"}
    assert page.read_text().count("<polygon") == 1
    assert "points agree" in page.read_text()


def test_the_command_reports_what_was_not_tried(hashgrain: Run, photos: Path) -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    done = hashgrain("search", photos / "test.hg", "--id", 1, "--verify", "--verify-seconds", "0.000001")
    assert {line.split("\t")[2] for line in done.stdout.decode().splitlines()} == {"-"}
    done = hashgrain("search", photos / "test.hg", "--id", 1, "--verify", "--verify-seconds", "60", "--json")
    assert [hit["verified"]["outline"] for hit in json.loads(done.stdout)] == [None] * 6


def test_the_command_refuses_what_cannot_be_verified(hashgrain: Run, photos: Path) -> None:
    for arguments in (
        ["pictures", "--verify"],
        ["--id", "1", "--verify", "--not-self"],
        ["--id", "1", "--verify-seconds", "2"],
    ):
        done = hashgrain("search", photos / "test.hg", *arguments, cwd=photos)
        assert done.returncode == 2, done.stderr
        assert b"--verify" in done.stderr


# ---- real photographs


@pytest.mark.data
def test_photographs_are_verified_by_their_crops_and_by_no_others(data: Path) -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    images = [
        ImageOps.contain(Image.open(path).convert("RGB"), (512, 512))
        for path in sorted((data / "photos").glob("*"))[:12]
    ]
    every = [features(image) for image in images]
    others = [local_features.register(a, b) for a, b in itertools.combinations(every, 2)]
    assert [each for each in others if each is not None] == []
    copies = 0
    for image, whole in zip(images, every, strict=True):
        file = io.BytesIO()
        image.crop((image.width // 4, image.height // 4, image.width, image.height)).save(file, "jpeg", quality=60)
        copies += local_features.register(features(Image.open(file), coarse=True), whole) is not None
    assert copies >= 11
