"""Boxes of hits that are fitted closer to what the query shows."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from conftest import Run
from hashgrain import Hit, Library
from hashgrain.errors import QueryError
from hashgrain.models.closer_box import ASPECT, LEAST, OVERLAP, closer_box, overlaps, scores

Box = tuple[float, float, float, float]


def iou(one: Box, other: Box) -> float:
    wide = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    high = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return wide * high / (areas - wide * high)


@given(st.data())
def test_a_closer_box_is_the_best_of_all_rectangles_near_the_window(data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    cells = data.draw(arrays(np.float32, (3, rows, columns), elements=st.integers(0, 9).map(float)))
    features = np.array(data.draw(st.lists(st.integers(0, 9), min_size=3, max_size=3)), np.float32)
    left, top = data.draw(st.floats(0, 0.6)), data.draw(st.floats(0, 0.6))
    window = (left, top, left + 0.4, top + 0.4)
    points = scores(cells, features)
    best, boxes = -np.inf, []
    for x0 in range(columns):
        for x1 in range(x0 + LEAST, columns + 1):
            for y0 in range(rows):
                for y1 in range(y0 + LEAST, rows + 1):
                    box = (x0 / columns, y0 / rows, x1 / columns, y1 / rows)
                    near = iou(box, window)
                    assume(abs(near - OVERLAP) > 1e-9)
                    if near > OVERLAP and abs(np.log((x1 - x0) / (y1 - y0))) < ASPECT:
                        total = points[y0:y1, x0:x1].sum()
                        boxes.append((box, total))
                        best = max(best, total)
    found = closer_box(cells, features, window)
    if not boxes:
        assert found == window
    else:
        (total,) = [total for box, total in boxes if np.allclose(box, found)]
        assert total == pytest.approx(best, abs=1e-4)


def test_overlaps_are_intersection_over_union() -> None:
    dice = np.random.default_rng(1)
    corners = np.sort(dice.random((50, 2, 2)), axis=1).reshape(50, 4)
    other = (0.2, 0.1, 0.7, 0.9)
    expected = [iou(tuple(box.tolist()), other) for box in corners]
    np.testing.assert_allclose(overlaps(corners, other), expected)


@pytest.fixture(scope="module")
def photographs(data: Path) -> list[Path]:
    return sorted((data / "photos").glob("*.jpg"))[:24]


@pytest.fixture(scope="module")
def scenes(photographs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Box]]:
    """A library of photographs, each with another pasted in at an eighth of its area, and where."""
    folder = tmp_path_factory.mktemp("scenes")
    places: dict[str, Box] = {}
    dice = np.random.default_rng(4)
    (folder / "pics").mkdir()
    for number in range(12):
        page = Image.open(photographs[12 + number]).convert("RGB")
        thing = Image.open(photographs[number]).convert("RGB")
        scale = (0.12 * page.width * page.height / (thing.width * thing.height)) ** 0.5
        width, height = min(round(thing.width * scale), page.width), min(round(thing.height * scale), page.height)
        x, y = int(dice.integers(0, page.width - width + 1)), int(dice.integers(0, page.height - height + 1))
        page.paste(thing.resize((width, height)), (x, y))
        page.save(folder / f"pics/{number:02}.jpg", quality=90)
        edges = (x / page.width, y / page.height, (x + width) / page.width, (y + height) / page.height)
        places[f"{number:02}"] = edges
    with Library.create(folder / "l.hg", "photo") as library:
        library.add(folder / "pics")
    return folder, places


def box_of(hits: list[Hit], name: str) -> Box | None:
    (hit,) = [hit for hit in hits if Path(hit.path).stem == name]
    return None if hit.part is None else hit.part.box


@pytest.mark.slow
@pytest.mark.data
def test_refined_boxes_lie_closer_around_things_in_scenes(
    photographs: list[Path], scenes: tuple[Path, dict[str, Box]]
) -> None:
    folder, places = scenes
    before, after = [], []
    with Library.open(folder / "l.hg") as library:
        for number, (name, place) in enumerate(places.items()):
            plain = library.search(photographs[number], k=12)
            refined = library.search(photographs[number], k=12, refine=True)
            assert [(hit.id, hit.distance, hit.score) for hit in refined] == [
                (hit.id, hit.distance, hit.score) for hit in plain
            ]
            own, closer = box_of(plain, name), box_of(refined, name)
            if own is not None and closer is not None:
                before.append(iou(own, place))
                after.append(iou(closer, place))
    assert len(before) >= 9
    assert np.mean(after) > np.mean(before) + 0.1


@pytest.mark.slow
@pytest.mark.data
def test_a_hit_whose_file_is_gone_keeps_its_box_and_the_command_refines(
    photographs: list[Path], scenes: tuple[Path, dict[str, Box]], hashgrain: Run
) -> None:
    folder, _ = scenes
    gone = folder / "pics/00.jpg"
    with Library.open(folder / "l.hg") as library:
        plain = library.search(photographs[0], k=3)
        content = gone.read_bytes()
        gone.unlink()
        try:
            refined = library.search(photographs[0], k=3, refine=True)
            assert box_of(refined, "00") == box_of(plain, "00")
        finally:
            gone.write_bytes(content)
        for query, more in [(None, {"text": "a dog"}), (library.code(1), {})]:
            with pytest.raises(QueryError, match="ask with a picture or an item"):
                library.search(query, refine=True, **more)
        with pytest.raises(QueryError, match="asked with as it is"):
            library.search(photographs[0], refine=True, turned=True)
        by_item = library.search(1, k=3, refine=True)
        assert [hit.id for hit in by_item] == [hit.id for hit in library.search(1, k=3)]
        closer = library.search(photographs[1], k=2, refine=True)
    done = hashgrain("search", folder / "l.hg", photographs[1], "-k", 2, "--refine", "--json")
    boxes = [hit["part"] and hit["part"]["box"] for hit in json.loads(done.stdout)]
    assert boxes == [None if hit.part is None or hit.part.box is None else list(hit.part.box) for hit in closer]
    assert hashgrain("search", folder / "l.hg", folder, "--refine").returncode == 2
