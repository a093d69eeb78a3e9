"""Asking with parts of a picture: boxes of the upright picture, and several of them combined exactly."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import Run, fill, make_picture
from hashgrain import Library
from hashgrain.errors import ImageError, QueryError
from hashgrain.hamming import Cost, Neighbours
from hashgrain.media import DecodePool, open_picture
from hashgrain.media.cropping import fractions_of, pixels_of
from hashgrain.search.boxes import check_boxes, nearest_to_all, nearest_to_any
from hashgrain.types import Box

BOX = (0.25, 0.2, 0.75, 0.9)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    place = tmp_path_factory.mktemp("boxes")
    with Library.create(place / "l.hg", "small") as made:
        made.add(fill(place / "pictures", 30))
        yield made


def collage(*seeds: int) -> Image.Image:
    """Two pictures beside each other."""
    page = Image.new("RGB", (240, 90))
    for place, seed in enumerate(seeds):
        page.paste(make_picture(seed), (120 * place, 0))
    return page


@pytest.mark.parametrize("turned", [1, 3, 6, 8])
def test_a_box_is_cropped_from_the_picture_as_a_person_sees_it(turned: int, tmp_path: Path) -> None:
    picture = make_picture(3, (200, 120))
    exif = Image.Exif()
    exif[0x0112] = turned
    picture.save(tmp_path / "a.png", exif=exif)
    upright = open_picture(tmp_path / "a.png").pixels
    height, width = upright.shape[:2]
    part = open_picture(tmp_path / "a.png", box=BOX).pixels
    rows, columns = slice(round(0.2 * height), round(0.9 * height)), slice(round(0.25 * width), round(0.75 * width))
    np.testing.assert_array_equal(part, upright[rows, columns])
    in_pixels = (0.25 * width, 0.2 * height, 0.75 * width, 0.9 * height)
    np.testing.assert_array_equal(open_picture(tmp_path / "a.png", box=in_pixels).pixels, part)


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_crop_alike_and_name_the_box_that_is_wrong(workers: int, tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (file,) = tmp_path.iterdir()
    with DecodePool((64, 64), workers=workers) as pool:
        ((_, part),) = pool.open([(0, file)], box=BOX)
        np.testing.assert_array_equal(part.pixels, open_picture(file, size=(64, 64), box=BOX).pixels)
        ((_, refused),) = pool.open([(0, file)], box=(0, 0, 500, 50))
        assert isinstance(refused, ImageError)
        assert f"{file}: the box 0,0,500,50 reaches outside the picture of 120 x 90 pixels" in str(refused)


def test_a_box_of_a_large_jpeg_keeps_its_sharpness(tmp_path: Path) -> None:
    stripes = np.zeros((1600, 1600, 3), np.uint8)
    stripes[:, ::2] = 255  # lost in a JPEG that is decoded at half of its size
    Image.fromarray(stripes).save(tmp_path / "a.jpg", quality=95)
    part = open_picture(tmp_path / "a.jpg", size=(64, 64), box=(800, 800, 864, 864)).pixels
    assert part.std() > 100
    assert open_picture(tmp_path / "a.jpg", size=(64, 64)).pixels.std() < 20


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((0.5, 0.5, 1.5, 0.9), "holds 1 x 0 pixels; .*; its edges are pixels, since one is above 1"),
        ((0, 0, 0.05, 0.5), "holds 6 x 45 pixels; a box is at least 8"),
        ((10, 10, 300, 50), "reaches outside the picture of 120 x 90"),
    ],
)
def test_a_box_that_is_none_of_the_picture_is_an_error(box: Box, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        fractions_of(box, (120, 90), "a.jpg")


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((0.5, 0.1, 0.4, 0.9), "left is less than right"),
        ((0.5, 0.1, 0.5, 0.9), "left is less than right"),
        ((-0.1, 0, 1, 1), "0 or more"),
        ((float("nan"), 0, 1, 1), "four numbers"),
        ((0, 0, 1), "four numbers"),
        ("0,0,1,1", "four numbers"),
    ],
)
def test_edges_that_make_no_box_are_an_error_before_anything_is_read(box: Box, reason: str, library: Library) -> None:
    with pytest.raises(QueryError, match=reason):
        library.search("no such file", boxes=[box])


def test_what_does_not_go_with_boxes_is_an_error(library: Library) -> None:
    with pytest.raises(QueryError, match="of a code it is not known what is where"):
        library.search(library.code(1), boxes=[BOX])
    with pytest.raises(QueryError, match="without text, rerank"):
        library.search(make_picture(1), boxes=[BOX], rerank=5)
    with pytest.raises(QueryError, match="17 boxes are given; at most 16"):
        library.search(make_picture(1), boxes=[BOX] * 17)
    with pytest.raises(QueryError, match="'any' or 'all'"):
        library.search(make_picture(1), boxes=[BOX], match="both")


@given(st.tuples(*[st.floats(0, 0.9)] * 2), st.integers(9, 400), st.integers(9, 400))
def test_the_pixels_of_a_box_lie_in_the_picture(corner: tuple[float, float], width: int, height: int) -> None:
    left, top, right, bottom = pixels_of((*corner, corner[0] + 0.1, corner[1] + 0.1), (width, height))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_a_box_asks_with_the_part_alone(library: Library) -> None:
    page = collage(4, 17)
    right = library.search(page, k=1, boxes=[(0.5, 0, 1, 1)])[0]
    assert Path(right.path).stem == "00017"
    left = library.search(page, k=1, boxes=[(0, 0, 120, 90)])[0]
    assert Path(left.path).stem == "00004"
    assert library.search(page.crop((120, 0, 240, 90)), k=30) == library.search(page, k=30, boxes=[(0.5, 0, 1, 1)])


def test_an_item_asks_with_a_box_of_its_file_and_is_left_out(library: Library, tmp_path: Path) -> None:
    item = library.items()[5]
    hits = library.search(item.id, k=None, boxes=[(0, 0, 1, 1)])
    assert [hit.id for hit in hits] == [hit.id for hit in library.search(item.id, k=None)]
    with Library.create(tmp_path / "l.hg", "small") as other:
        folder = fill(tmp_path / "some", 2)
        other.add(folder)
        min(folder.iterdir()).unlink()
        with pytest.raises(ImageError, match=r"00000.jpg: cannot be read"):
            other.search(1, boxes=[BOX])


@pytest.mark.parametrize("match", ["any", "all"])
@pytest.mark.parametrize("k", [1, 3, 30])
def test_several_boxes_are_the_least_or_the_largest_distance(match: str, k: int, library: Library) -> None:
    page, boxes = collage(4, 17), [(0.5, 0, 1, 1), (0, 0, 0.5, 1), (0.2, 0.1, 0.6, 0.8)]
    each = [{hit.id: hit for hit in library.search(page, k=None, grain="thing", boxes=[box])} for box in boxes]
    best = min if match == "any" else max
    order = []
    for item in each[0]:
        chosen = best((of_box[item].distance, of_box[item].distances["look"]) for of_box in each)
        order.append((*chosen, item))
    hits = library.search(page, k=k, grain="thing", boxes=boxes, match=match)
    assert [(hit.distance, hit.distances["look"], hit.id) for hit in hits] == sorted(order)[:k]


def answers(distances: list[list[int]], n: int) -> list[Neighbours]:
    """The n nearest items of each box, for distances[box][item]."""
    found = []
    for row in distances:
        order = np.lexsort((np.arange(len(row)), row))[:n]
        values = np.array(row, np.int32)[order]
        found.append(Neighbours(order.astype(np.int64), values, values, len(row), Cost("scan", len(row), 0)))
    return found


@given(st.data())
def test_any_and_all_of_boxes_equal_a_brute_force(data: st.DataObject) -> None:
    items, boxes = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 4))
    distances = [data.draw(st.lists(st.integers(0, 8), min_size=items, max_size=items)) for _ in range(boxes)]
    k = data.draw(st.integers(1, 45))
    for best, (neighbors, box) in {
        min: nearest_to_any(answers(distances, k), k),
        max: nearest_to_all(lambda n: answers(distances, n), k, items),
    }.items():
        wanted = sorted((best(row[item] for row in distances), item) for item in range(items))[:k]
        assert list(zip(neighbors.distances.tolist(), neighbors.ids.tolist(), strict=True)) == wanted
        assert [distances[number][item] for number, item in zip(box, neighbors.ids, strict=True)] == [
            distance for distance, _ in wanted
        ]


def test_all_of_boxes_looks_further_while_an_item_not_found_for_every_box_can_be_nearer() -> None:
    first = [0] * 7 + [0, 1] + [9] * 6  # item 8 is the ninth: only item 7 is among the 8 nearest to both
    second = [9] * 7 + [5, 0] + [1] * 6
    asked = []

    def ask(n: int) -> list[Neighbours]:
        asked.append(n)
        return answers([first, second], n)

    neighbors, box = nearest_to_all(ask, 1, len(first))
    assert (neighbors.ids.tolist(), neighbors.distances.tolist(), box.tolist()) == ([8], [1], [0])
    assert asked == [1, 8, 15]


def test_a_turned_or_mirrored_picture_is_found_as_if_it_were_upright(library: Library) -> None:
    picture = make_picture(12, (120, 120))
    upright = library.search(picture, k=None)
    turns = [Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.TRANSPOSE]
    for turn in (Image.Transpose.FLIP_LEFT_RIGHT, *turns):
        turned = library.search(picture.transpose(turn), k=1, turned=True)[0]
        assert turned.path == upright[0].path
        assert turned.distance <= upright[0].distance
    each = [library.code(picture.transpose(turn)) for turn in Image.Transpose]
    each.append(library.code(picture))
    wholes, _ = library.codes()
    least = min(np.bitwise_count(code.words ^ wholes.words).sum(axis=1).min() for code in each)
    assert library.search(picture, k=1, turned=True)[0].distance == least


def test_turned_goes_with_boxes_but_not_with_all_of_them(library: Library) -> None:
    page = collage(4, 17).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    hit = library.search(page, k=1, boxes=[(0, 0, 0.5, 1)], turned=True)[0]
    assert Path(hit.path).stem == "00017"
    with pytest.raises(QueryError, match="all of the boxes"):
        library.search(page, boxes=[BOX], match="all", turned=True)


def test_no_boxes_are_no_question_of_boxes() -> None:
    assert check_boxes([]) == ()


def test_the_command_line_asks_with_boxes(hashgrain: Run, library: Library, tmp_path: Path) -> None:
    collage(4, 17).save(tmp_path / "page.png")
    one = hashgrain("search", library.path, "page.png", "--box", "0.5,0,1,1", "-k", 1, "--json")
    assert Path(json.loads(one.stdout)[0]["path"]).stem == "00017"
    both = hashgrain("search", library.path, "page.png", "--box", "0.5,0,1,1", "--box", "0,0,120,90", "-k", 2, "--json")
    assert {Path(hit["path"]).stem for hit in json.loads(both.stdout)} == {"00004", "00017"}
    for box, reason in [("0.5,0,1", b"not left,top,right,bottom"), ("0.5,0,0.2,1", b"left is less than right")]:
        wrong = hashgrain("search", library.path, "page.png", "--box", box)
        assert wrong.returncode in (1, 2)
        assert reason in wrong.stderr
    assert hashgrain("search", library.path, "page.png", "--box", "0,0,1,1", "--text", "a dog").returncode == 2
