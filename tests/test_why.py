"""Why a hit was found: the codes of any windows, the heat maps, blank patches, labels, and the picture of it all."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import Run, fill, make_picture
from hashgrain import Library
from hashgrain.apps.drawn_scenes import scenes
from hashgrain.apps.why import PATCHES, Why, drawn, explain_hit
from hashgrain.codes import Codes, Grains
from hashgrain.errors import BundleError, CodesError, ImageError, ItemMissingError, QueryError
from hashgrain.models import Bundle, Encoder
from hashgrain.models.dense import DenseMap, equal_bits, nearest_level, windows_around
from hashgrain.models.detail import DETAILS, Detail, detail_named
from hashgrain.models.dictionary import dictionary
from hashgrain.models.nearest_labels import nearest_labels
from hashgrain.models.parts import PartEncoder
from hashgrain.models.text import read_table
from hashgrain.report.why_picture import (
    BOX,
    RAMP,
    TEXT,
    WIDTH,
    GrainBits,
    Heat,
    Panel,
    _length,
    draw_why,
    fitting,
    heated,
)
from in_process import hashgrain as in_process

PLACE = (0.45, 0.45, 0.9, 0.9)  # of the cat in the scene


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(Bundle.read("photo"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn pictures; a cat; and mountains with that cat pasted in."""
    place = tmp_path_factory.mktemp("why")
    drawings = {each.look: each.image for each in scenes(looks_per_thing=1, copies=0)}
    page = drawings["mountains-01"].resize((640, 480))
    cat = drawings["cat-01"].resize((round(640 * (PLACE[2] - PLACE[0])), round(480 * (PLACE[3] - PLACE[1]))))
    page.paste(cat, (round(640 * PLACE[0]), round(480 * PLACE[1])))
    (place / "pictures").mkdir()
    for name in ("boat-01", "house-01"):
        drawings[name].save(place / f"pictures/{name}.jpg")
    page.save(place / "pictures/scene.jpg", quality=92)
    cat.save(place / "cat.jpg", quality=92)
    return place


@pytest.fixture(scope="module")
def library(folder: Path, encoder: Encoder) -> Path:
    with Library.create(folder / "l.hg", encoder) as made:
        made.add(folder / "pictures", detail="low")
    return folder / "l.hg"


def item_of(library: Library, name: str) -> int:
    return next(item.id for item in library.items() if Path(item.path).name == name)


@pytest.fixture(scope="module")
def why(library: Path, folder: Path) -> Why:
    with Library.open(library) as opened:
        return explain_hit(opened, folder / "cat.jpg", item_of(opened, "scene.jpg"))


# ---- codes of any windows


@pytest.mark.parametrize("name", ["low", "normal"])
def test_windows_of_the_grid_have_the_codes_that_parts_have(name: str, encoder: Encoder, folder: Path) -> None:
    parts = PartEncoder(encoder, detail_named(name))
    picture = parts.open(folder / "pictures/scene.jpg")
    (words,) = parts.words([picture])
    found = []
    for look in parts.detail.looks:
        side = look.windows[0][2] - look.windows[0][0]
        found.append(DenseMap.of(parts, picture, side).outputs(look.windows))
    np.testing.assert_array_equal(Codes.from_outputs(np.concatenate(found), encoder.grains).words, words)


@pytest.mark.parametrize("detail", DETAILS, ids=lambda detail: detail.name)
def test_a_window_of_a_level_belongs_to_the_look_and_the_level_it_is_of(detail: Detail) -> None:
    for look in detail.looks:
        levels = [level for level in look.levels for _ in range(level * level)]
        assert [nearest_level(window, look.levels) for window in look.windows] == levels
        assert all(detail.look_for(window[2] - window[0]) == look for window in look.windows)


@given(st.integers(1, 30), st.integers(1, 30), st.floats(0.01, 1))
def test_each_cell_has_a_window_of_that_size_inside_the_picture_around_it(rows: int, columns: int, side: float) -> None:
    windows = windows_around((rows, columns), side)
    assert len(windows) == rows * columns
    for place, (left, top, right, bottom) in enumerate(windows):
        row, column = divmod(place, columns)
        assert 0 <= left <= (column + 0.5) / columns <= right <= 1
        assert 0 <= top <= (row + 0.5) / rows <= bottom <= 1
        assert right - left == pytest.approx(side)
        assert bottom - top == pytest.approx(side)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["kind", "thing", "look"]))
def test_agreement_is_the_share_of_equal_bits(seed: int, grain: str) -> None:
    grains = Grains(kind=5, thing=67, look=130)
    draw = np.random.default_rng(seed)
    outputs, own = draw.normal(size=(4, 130)).astype(np.float32), draw.normal(size=130)
    expected = [
        sum((row[bit] >= 0) == (own[bit] >= 0) for bit in range(grains[grain])) / grains[grain] for row in outputs
    ]
    np.testing.assert_allclose(equal_bits(outputs, Codes.from_outputs(own, grains), grain), expected, rtol=1e-6)


# ---- the labels nearest to a code


def test_the_code_of_a_class_is_nearest_to_its_own_label() -> None:
    bundle = Bundle.read("photo")
    table = read_table(bundle.others, bundle.grains.bits, bundle.name)
    assert table is not None
    names, rows = dictionary().class_names, table - table.mean(axis=0)
    for number in range(0, 1000, 97):
        code = Codes.from_outputs(rows[number], bundle.grains)
        first, *_ = nearest_labels(bundle, code)
        assert first == names[number]


def test_a_models_own_labels_go_before_words_and_the_nearest_code_wins() -> None:
    bundle = Bundle.read("small")
    finest = [grain for grain in bundle.grains if bundle.labels.get(grain)][-1]
    prefix = bundle.grains.up_to(finest)
    for name, text in list(bundle.labels[finest].items())[::40]:
        words = np.zeros((1, bundle.grains.n_words), np.uint64)
        words[:, : prefix.n_words] = Codes.from_bytes(np.frombuffer(bytes.fromhex(text), np.uint8)[None], prefix).words
        nearest = nearest_labels(bundle, Codes(words, bundle.grains), 5)
        assert len(nearest) == 5
        assert text == bundle.labels[finest][nearest[0]]
        assert name in nearest
    odd = replace(bundle, labels={finest: {"a": "00"}})
    with pytest.raises(BundleError, match="a code for 'a' that does not fit"):
        nearest_labels(odd, Codes(words, bundle.grains))
    assert nearest_labels(replace(bundle, labels={}), Codes(words, bundle.grains)) == []


# ---- the account


def test_the_account_has_the_distances_of_the_search_and_the_part_that_matched(
    why: Why, library: Path, folder: Path
) -> None:
    with Library.open(library) as opened:
        found = next(hit for hit in opened.search(folder / "cat.jpg") if Path(hit.path).name == "scene.jpg")
        bits = opened.grains
    assert why.found == found
    assert found.part is not None
    assert why.box == found.part.box
    assert why.bits == {grain: (width - found.distances[grain], width) for grain, width in bits.items()}
    assert why.notes == ()


def test_the_heat_map_of_the_hit_is_hottest_where_the_query_was_pasted(why: Why) -> None:
    heat = why.hit.agreement
    assert heat is not None
    assert heat.shape == (10, 10)  # 320 pixels, 32 a cell
    row, column = divmod(int(heat.argmax()), 10)
    assert PLACE[0] <= (column + 0.5) / 10 <= PLACE[2]
    assert PLACE[1] <= (row + 0.5) / 10 <= PLACE[3]
    assert 0 <= heat.min() < heat.max() <= 1


def test_a_blank_patch_costs_as_many_bits_as_encoding_that_picture_says(
    why: Why, library: Path, folder: Path, encoder: Encoder
) -> None:
    with Image.open(folder / "pictures/scene.jpg") as image:
        assert why.box is not None
        left, top, right, bottom = (round(edge * size) for edge, size in zip(why.box, image.size * 2, strict=True))
        crop = image.convert("RGB").crop((left, top, right, bottom))
        pixels = encoder.open(crop).pixels
    code = encoder.encode(folder / "cat.jpg")
    before = int(np.bitwise_count(encoder.codes(pixels[None]).words ^ code.words).sum())
    assert why.occlusion is not None
    assert why.occlusion.shape == (PATCHES, PATCHES)
    edge = 224 // PATCHES
    for row, column in ((0, 0), (2, 5), (6, 6), (3, 1)):
        blank = pixels.copy()
        blank[row * edge : (row + 1) * edge, column * edge : (column + 1) * edge] = np.rint(pixels.mean(axis=(0, 1)))
        after = int(np.bitwise_count(encoder.codes(blank[None]).words ^ code.words).sum())
        assert why.occlusion[row, column] == after - before


def test_an_item_agrees_with_itself_in_every_bit(library: Path) -> None:
    with Library.open(library) as opened:
        boat = item_of(opened, "boat-01.jpg")
        for grain in ("kind", "look"):
            account = explain_hit(opened, boat, boat, grain=grain)
            assert all(agree == of for agree, of in account.bits.values())
            assert account.box is None
            assert account.query.labels == account.hit.labels
            np.testing.assert_array_equal(account.query.pixels, account.hit.pixels)
            assert (account.occlusion is None) == (grain == "kind")
        assert account.occlusion is not None
        assert (account.occlusion >= 0).all()


def test_pictures_are_shown_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    make_picture(3).save(tmp_path / "turned.jpg", exif=exif)
    with Library.create(tmp_path / "l.hg", "small") as opened:
        opened.add(tmp_path / "turned.jpg")
        account = explain_hit(opened, tmp_path / "turned.jpg", 1)
    assert account.query.pixels.shape == account.hit.pixels.shape == (120, 90, 3)


def test_a_model_without_a_map_blanks_patches_at_every_grain_and_says_so(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg", "small") as opened:
        opened.add(fill(tmp_path / "some", 2))
        account = explain_hit(opened, make_picture(1), 2, grain="kind")
    assert account.query.agreement is None
    assert account.hit.agreement is None
    assert account.window is None
    assert account.occlusion is not None
    assert "'small' gives no map" in account.notes[0]
    assert account.hit.labels  # its own
    assert Image.open(io.BytesIO(drawn(account))).width == WIDTH


def test_a_library_without_parts_is_explained_by_wholes(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg", encoder) as opened:
        opened.add(folder / "pictures/scene.jpg", parts=False)
        account = explain_hit(opened, folder / "cat.jpg", 1, grain="thing")
    assert account.box is None
    assert account.hit.agreement is not None
    assert account.hit.agreement.shape == (20, 20)  # detail normal
    assert "no parts" in account.notes[0]


@pytest.mark.slow
def test_a_graph_that_is_not_of_the_package_is_looked_at_in_its_own_size(folder: Path, tmp_path: Path) -> None:
    photo = Bundle.read("photo")
    other = replace(photo, onnx=photo.onnx + b"\x32\x01x")  # a note in the graph: equal codes, another digest
    with Library.create(tmp_path / "l.hg", other) as opened:
        opened.add(folder / "pictures/scene.jpg")
        account = explain_hit(opened, folder / "cat.jpg", 1)
    assert account.hit.agreement is not None
    assert account.hit.agreement.shape == (7, 7)


def test_pictures_that_are_gone_or_changed_are_named(folder: Path, tmp_path: Path) -> None:
    with Library.create(tmp_path / "l.hg", "small") as opened:
        opened.add([*fill(tmp_path / "some", 3).iterdir(), ("mine", make_picture(9))])
        first, second, third, mine = sorted(opened.items(), key=lambda item: (item.path == "mine", item.path))
        Path(first.path).unlink()
        make_picture(50).save(second.path)
        with pytest.raises(ImageError, match=rf"item {first.id} cannot be shown: {first.path}: .*No such file"):
            explain_hit(opened, third.path, first.id)
        with pytest.raises(ImageError, match=f"item {first.id} cannot be shown"):
            explain_hit(opened, first.path, third.id)  # its code would still answer a search
        with pytest.raises(ImageError, match="has changed since it was added; update the library first"):
            explain_hit(opened, third.path, second.id)
        with pytest.raises(ImageError, match="mine: was given as an object"):
            explain_hit(opened, third.path, mine.id)
        with pytest.raises(ItemMissingError, match="no item 77"):
            explain_hit(opened, third.path, 77)
        with pytest.raises(CodesError, match="no grain 'shape'"):
            explain_hit(opened, third.path, third.id, grain="shape")
        with pytest.raises(QueryError, match="a code is no picture"):
            explain_hit(opened, opened.code(third.id), third.id)
        (tmp_path / "cut.jpg").write_bytes(Path(third.path).read_bytes()[:700])
        with pytest.raises(ImageError, match="cut short"):
            explain_hit(opened, tmp_path / "cut.jpg", third.id)


# ---- the picture


def test_the_picture_shows_the_box_and_the_pictures_beside_each_other(why: Why) -> None:
    page = Image.open(io.BytesIO(drawn(why)))
    assert (page.format, page.mode, page.width) == ("PNG", "RGB", WIDTH)
    pixels = np.asarray(page)
    boxed = np.argwhere((pixels == BOX).all(axis=2))
    columns = boxed[:, 1]
    assert (columns > WIDTH / 3).all()  # on the hit and its patches, not on the query
    assert len(boxed) > 500


def test_heat_colors_its_box_from_the_first_to_the_last_color_and_nothing_else() -> None:
    gray = Image.new("RGB", (80, 40), (128, 128, 128))
    values = np.array([[0.5, 0.5], [0.5, 0.9]], np.float32)
    result = np.asarray(heated(gray, Heat(values, 0.5, 0.9, "", "", (0.5, 0.0, 1.0, 1.0))), np.float32)
    assert (result[:, :40] == 128).all()
    to_first, to_last = (np.abs(result[:, 40:] - RAMP[end]).sum(axis=2) for end in (0, -1))
    assert to_last[39, 39] < to_last[0, 0]
    assert to_first[0, 0] < to_first[39, 39]
    flat = heated(gray, Heat(np.zeros((2, 2), np.float32), 0.0, 0.0, "", ""))
    assert len(np.unique(np.asarray(flat).reshape(-1, 3), axis=0)) == 1  # no range, no division


@given(st.text(), st.integers(40, 800))
def test_a_text_of_any_letters_is_drawn_within_its_width(text: str, width: int) -> None:
    shown = fitting(text, TEXT, width)
    assert shown.isascii()
    assert shown.isprintable()
    assert _length(shown, TEXT) <= width or len(shown) <= 1


def test_names_of_strangers_and_odd_shapes_are_drawn() -> None:
    tall, wide = np.zeros((900, 3, 3), np.uint8), np.zeros((2, 700, 3), np.uint8)
    panels = [Panel("\x1b[31m\udcff猫" * 40, tall, None), Panel("é.jpg", wide, None, ["x" * 500], (0, 0, 1, 1))]
    page = Image.open(io.BytesIO(draw_why(panels, [GrainBits("kind", 0, 32), GrainBits("look", 128, 128)], "")))
    assert page.width == WIDTH
    assert fitting("é猫", TEXT, 500) == "e?"


# ---- the command


def test_the_command_writes_the_picture_and_prints_the_numbers(
    hashgrain: Run, library: Path, folder: Path, tmp_path: Path
) -> None:
    scene = folder / "pictures/scene.jpg"
    done = hashgrain("why", library, folder / "cat.jpg", scene, "--out", "why.png")
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.decode().splitlines()
    assert "at look, by the part " in first
    assert [line.split(":")[0] for line in rest[:3]] == ["kind", "thing", "look"]
    assert b"wrote why.png" in done.stderr
    assert Image.open(tmp_path / "why.png").width == WIDTH
    content = (folder / "cat.jpg").read_bytes()
    asked = hashgrain("why", library, "-", scene, "--json", "-g", "THING", stdin=content)
    account = json.loads(asked.stdout)
    assert account["hit"]["grain"] == "thing"
    assert account["bits"]["thing"]["of"] == 96
    assert np.shape(account["hit"]["agreement"]) == (10, 10)
    assert account["file"] is None


def test_the_command_says_what_is_wrong_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures = fill(tmp_path / "some", 2)
    first, second = sorted(pictures.iterdir())
    assert in_process("add", "l.hg", pictures).exit_code == 0
    assert in_process("why", "l.hg", "1", "2", "--out", "why.jpg").exit_code == 2
    same = in_process("why", "l.hg", "1", "2")
    assert same.exit_code == 0, same.output
    assert "note: the model 'small' gives no map" in same.stderr

    def refused(*arguments: object) -> str:
        done = in_process("why", "l.hg", *arguments)
        assert done.exit_code == 1
        assert not (tmp_path / "why.png").exists()
        return str(done.stderr)

    assert "no item 9" in refused("1", "9", "--out", "why.png")
    assert "no item 999" in refused("1", "9" * 40, "--out", "why.png")
    assert "HIT takes the path or the id of an item" in refused("1", "nosuch.jpg", "--out", "why.png")
    assert "there is no file nosuch.jpg" in refused("nosuch.jpg", "1", "--out", "why.png")
    assert "nowhere" in refused("1", "2", "--out", tmp_path / "nowhere/why.png")
    make_picture(70).save(second)
    assert "`hashgrain update " in refused("1", "2", "--out", "why.png")
    first.unlink()
    assert str(first) in refused(second, "1", "--out", "why.png")
