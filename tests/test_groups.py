"""Groups: kinds contain things, things contain looks, near copies are one hit; and a library as such a tree."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conftest import Run, fill, make_picture
from hashgrain import Group, Hit, Library
from hashgrain.apps.group_names import names_of
from hashgrain.apps.group_page import write_grouped_answer, write_scenes_page
from hashgrain.apps.scenes import scenes
from hashgrain.codes import Codes, Grains, Words
from hashgrain.errors import CodesError, FilterError, HashgrainError, QueryError
from hashgrain.models import Bundle, Calibration
from hashgrain.models.dictionary import dictionary
from hashgrain.models.text import read_table
from hashgrain.search import clustering
from hashgrain.search.groups import Level, Order, levels_of, tree
from hashgrain.store import Item
from in_process import hashgrain as in_process

GRAINS = Grains(kind=4, thing=8, look=16)
LEVELS = (Level("kind", 1, True), Level("thing", 2, True), Level("look", 3, True))
Tree = tuple[str, Any, int, list[Any]]  # grain, representative, count; groups, or the other items


def as_tree(group: Group[Any]) -> Tree:
    inside = [as_tree(finer) for finer in group.groups] if group.groups else list(group.others)
    return group.grain, group.representative, group.count, inside


# ---- against brute force


def plain_in_order(codes: Sequence[int], bits: int, radius: int) -> list[int]:
    """The rule, word by word: join the nearest representative so far, or be one."""
    leaders: list[int] = []
    opened: list[int] = []
    for row, code in enumerate(codes):
        apart = {other: ((codes[other] ^ code) % (1 << bits)).bit_count() for other in opened}
        near = [(apart[other], (codes[other] ^ code).bit_count(), other) for other in opened if apart[other] <= radius]
        leaders.append(min(near)[2] if near else row)
        opened += [] if near else [row]
    return leaders


def plain_densest_first(codes: Sequence[int], bits: int, radius: int) -> list[int]:
    def crowd(row: int) -> int:
        return sum(((codes[row] ^ code) % (1 << bits)).bit_count() <= radius for code in codes)

    order = sorted(range(len(codes)), key=lambda row: (-crowd(row), codes[row], row))
    leaders = plain_in_order([codes[row] for row in order], bits, radius)
    by_row = {order[place]: order[leader] for place, leader in enumerate(leaders)}
    return [by_row[row] for row in range(len(codes))]


def plain_tree(codes: Sequence[int], order: Order) -> list[Tree]:
    """From the finest grain up: each time, those that represent the groups before are grouped."""
    made: dict[int, Tree] = {}

    def shown(rows: Sequence[int]) -> list[Tree]:
        return [made[row] for row in sorted(rows, key=lambda row: (0 if order == "given" else -made[row][2], row))]

    for level in reversed(LEVELS):
        rows = sorted(made) or list(range(len(codes)))
        cluster = plain_in_order if order == "given" else plain_densest_first
        members: dict[int, list[int]] = {}
        for row, leader in zip(rows, cluster([codes[r] for r in rows], GRAINS[level.grain], level.radius), strict=True):
            members.setdefault(rows[leader], []).append(row)
        if made:
            made = {
                leader: (level.grain, leader, sum(made[row][2] for row in inside), shown(inside))
                for leader, inside in members.items()
            }
        else:
            made = {
                leader: (level.grain, leader, len(inside), [row for row in inside if row != leader])
                for leader, inside in members.items()
            }
    return shown([*made])


def words_of(codes: Sequence[int]) -> Words:
    return np.array(codes, np.uint64).reshape(-1, 1)


# Codes that lie near a few others, as pictures do.
codes_near_some = st.lists(
    st.builds(
        lambda center, flips: center ^ sum(1 << bit for bit in flips),
        st.sampled_from([0, 0xFFFF, 0x0F0F, 0x3333]),
        st.sets(st.integers(0, 15), max_size=4),
    ),
    max_size=40,
)


@given(codes_near_some, st.sampled_from(["given", "densest"]), st.sampled_from([1, 3, 1024]))
def test_a_tree_is_that_of_a_plain_loop(codes: list[int], order: Order, at_once: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clustering, "AT_ONCE", at_once)
        groups = tree(range(len(codes)), words_of(codes), GRAINS, LEVELS, order=order)
    assert [as_tree(group) for group in groups] == plain_tree(codes, order)


def sorted_tree(groups: Sequence[Tree], codes: Sequence[int]) -> list[Any]:
    """A tree of rows as one of codes, in an order that depends on these alone."""
    return sorted(
        (
            grain,
            codes[leader],
            count,
            sorted_tree(inside, codes) if inside and isinstance(inside[0], tuple) else sorted(codes[r] for r in inside),
        )
        for grain, leader, count, inside in groups
    )


@given(codes_near_some, st.randoms(use_true_random=False))
def test_the_groups_of_a_library_do_not_depend_on_the_order_of_adding(codes: list[int], dice: Any) -> None:
    shuffled = dice.sample(codes, len(codes))
    first, second = (
        [as_tree(g) for g in tree(range(len(some)), words_of(some), GRAINS, LEVELS, order="densest")]
        for some in (codes, shuffled)
    )
    assert sorted_tree(first, codes) == sorted_tree(second, shuffled)


def test_near_copies_stay_together_where_a_coarse_grain_would_part_them() -> None:
    """Two kinds with a picture between them whose near copy is nearer to the other kind."""
    codes = [0b0000, 0b1111, 0b0001, 0b0011 | 1 << 10]
    radii = (Level("kind", 1, True), Level("thing", 1, True), Level("look", 3, True))
    groups = tree(range(4), words_of(codes), GRAINS, radii)
    looks = [set(look.items()) for group in groups for thing in group.groups for look in thing.groups if look.count > 1]
    assert {0, 2, 3} in looks
    assert sorted(item for group in groups for item in group.items()) == [0, 1, 2, 3]


# ---- radii


def small() -> Bundle:
    return Bundle.read("small")


def test_radii_are_the_calibrated_distances_of_words() -> None:
    words = small().words
    assert [(level.grain, level.radius, level.calibrated) for level in levels_of(small())] == [
        ("kind", words["related"].distance, True),
        ("thing", words["near"].distance, True),
        ("look", words["same"].distance, True),
    ]
    of_each = {
        grain: Calibration({"same": 1, "near": 2, "related": 3}, (1.0,) * (bits + 1))
        for grain, bits in small().grains.items()
    }
    assert [level.radius for level in levels_of(dataclasses.replace(small(), calibration=of_each))] == [3, 2, 1]


def test_a_model_that_is_not_calibrated_groups_by_an_eighth_of_the_bits() -> None:
    bundle = dataclasses.replace(small(), words={}, calibration={})
    assert levels_of(bundle) == (Level("kind", 4, False), Level("thing", 8, False), Level("look", 16, False))
    one_word_missing = {"look": Calibration({"near": 9}, (1.0,) * 129)}
    assert levels_of(dataclasses.replace(bundle, calibration=one_word_missing))[2] == Level("look", 16, False)


def test_given_radii_are_taken_and_checked() -> None:
    assert [level.radius for level in levels_of(small(), {"kind": 0, "look": 128}, None)] == [0, 11, 128]
    assert [level.grain for level in levels_of(small(), finest="thing")] == ["kind", "thing"]
    wrong: list[tuple[Any, type[HashgrainError], str]] = [
        ({"kind": 33}, QueryError, "from 0 to 32"),
        ({"kind": -1}, QueryError, "from 0 to 32"),
        ({"kind": True}, QueryError, "True"),
        ({"kind": 1.5}, QueryError, "1.5"),
        ({"sort": 1}, QueryError, "'sort'; the grains of the groups are kind, thing, look"),
    ]
    for radii, family, said in wrong:
        with pytest.raises(family, match=said):
            levels_of(small(), radii)
    with pytest.raises(CodesError, match="no grain 'sort'"):
        levels_of(small(), finest="sort")


# ---- a library


def picture_codes() -> Codes:
    """Two kinds of two things each, of two looks each, with one near copy of every look: 16 codes."""
    dice = np.random.default_rng(0)
    bits = np.zeros((16, 128), np.uint8)
    for row in range(16):
        kind, thing, look, copy = row // 8, row // 4 % 2, row // 2 % 2, row % 2
        bits[row, :32] = kind
        bits[row, 32:64] = thing
        bits[row, 64:] = look
        if copy:
            bits[row, 64 + dice.permutation(64)[:5]] ^= 1
    return Codes.from_bits(bits, small().grains)


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    with Library.create(tmp_path / "coded.hg", small()) as library:
        library.import_codes(picture_codes(), [f"{row:02}.jpg" for row in range(16)], look=False)
    return tmp_path / "coded.hg"


def test_hits_are_grouped_and_each_group_is_shown_by_its_best_hit(coded: Path) -> None:
    with Library.open(coded) as library:
        hits = library.search(1, k=100)
        groups = library.group(hits)
    assert [(group.grain, group.count, len(group.groups)) for group in groups] == [("kind", 7, 2), ("kind", 8, 2)]
    assert [[thing.count for thing in kind.groups] for kind in groups] == [[3, 4], [4, 4]]
    looks = [look for kind in groups for thing in kind.groups for look in thing.groups]
    assert [len(look.others) for look in looks] == [0, 1, 1, 1, 1, 1, 1, 1]
    order = {hit.id: place for place, hit in enumerate(hits)}

    def check(group: Group[Hit]) -> None:
        items = group.items()
        assert {hit.id for hit in items} <= set(order)
        assert group.representative.id == min(items, key=lambda hit: order[hit.id]).id
        assert len(items) == group.count
        for finer in group.groups:
            check(finer)

    for group in groups:
        check(group)
    assert sorted(hit.id for group in groups for hit in group.items()) == sorted(order)


def test_nothing_found_is_no_group_and_hits_of_removed_items_are_left_out(coded: Path) -> None:
    with Library.open(coded, "w") as library:
        assert library.group([]) == ()
        hits = library.search(1, k=100)
        library.remove([hits[0].id, hits[-1].id])
        assert sum(group.count for group in library.group(hits)) == len(hits) - 2


def test_a_library_is_a_tree_of_all_its_items(coded: Path) -> None:
    with Library.open(coded) as library:
        found = scenes(library)
        assert (found.items, [level.grain for level in found.levels]) == (16, ["kind", "thing", "look"])
        assert [(kind.count, [(thing.count, len(thing.groups)) for thing in kind.groups]) for kind in found.groups] == [
            (8, [(4, 2), (4, 2)]),
            (8, [(4, 2), (4, 2)]),
        ]
        by_thing = scenes(library, grain="thing", where="id <= 8")
        assert [thing.count for kind in by_thing.groups for thing in kind.groups] == [4, 4]
        assert [len(thing.others) for kind in by_thing.groups for thing in kind.groups] == [3, 3]
        assert scenes(library, where="id > 99").groups == ()
        with pytest.raises(FilterError, match="colour"):
            scenes(library, where="colour = 3")
        tight = scenes(library, radii={"kind": 0, "thing": 0, "look": 0})
        assert sum(group.count for group in tight.groups) == 16
        assert len([look for k in tight.groups for thing in k.groups for look in thing.groups]) == 16


def test_groups_have_the_labels_of_the_model_or_the_classes_that_they_are_like(tmp_path: Path) -> None:
    labels = small().labels["thing"]
    label, other = min(labels), max(labels)
    prototypes = [np.frombuffer(bytes.fromhex(labels[name]), "<u8").astype(np.uint64) for name in (label, label, other)]
    words = np.concatenate([np.stack(prototypes), np.zeros((3, 1), np.uint64)], axis=1)
    with Library.create(tmp_path / "labelled.hg", small()) as library:
        library.import_codes(Codes(words, library.grains), ["a", "b", "c"], look=False)
        found = scenes(library)
    named = {name for (grain, _), name in found.names.items() if grain == "thing"}
    assert named == {label.rpartition("/")[2]}  # a group of one has no name

    photo = Bundle.read("photo")
    table = read_table(photo.others, photo.grains.bits, "photo")
    assert table is not None
    chosen = dictionary().class_names.index("tabby")
    signs = Codes.from_outputs(np.stack([table[chosen] - table.mean(axis=0)] * 2), photo.grains)
    items: list[Any] = [dataclasses.replace(_item(), id=number) for number in (7, 9)]
    groups = tree(items, signs.words, photo.grains, levels_of(photo))
    names = names_of(photo, levels_of(photo), groups, items, signs)
    assert set(names) == {("kind", 7), ("thing", 7), ("look", 7)}
    assert all(name.startswith("like tabby, ") for name in names.values())


def _item() -> Item:
    return Item(1, "a.jpg", "0" * 64, None, None, 9, 9, "jpeg", None, "2026-01-01T00:00:00Z", {})


# ---- pages


@pytest.fixture
def pictured(tmp_path: Path) -> Path:
    """A library of 6 pictures, each with a near copy, one of them under a hostile name."""
    folder = fill(tmp_path / "pictures", 6)
    for seed in range(6):
        make_picture(seed).save(folder / f"{seed:05}-copy.jpg", quality=60)
    (folder / "00000-copy.jpg").rename(folder / "<b>&amp;.jpg")
    with Library.create(tmp_path / "pictured.hg", small()) as library:
        library.add(folder)
    return tmp_path / "pictured.hg"


def test_the_page_of_a_library_shows_groups_without_scripts_and_without_files_that_are_gone(
    pictured: Path, tmp_path: Path
) -> None:
    for gone in ("00003.jpg", "00003-copy.jpg"):
        (tmp_path / "pictures" / gone).unlink()
    with Library.open(pictured) as library:
        found = scenes(library)
        page = write_scenes_page(library, found, tmp_path / "new/scenes.html").read_text(encoding="utf-8")
        names = [Path(group.representative.path).name for group in found.groups]
    assert page.count("<details") == page.count("</details>") > 0
    assert ("<script" in page, "<b>" in page, 'src="http' in page) == (False, False, False)
    assert "&lt;b&gt;&amp;amp;.jpg" in page
    assert "the file is gone" in page
    assert all(escape(name) in page for name in names)


def test_the_page_of_a_library_stops_at_so_many_pictures_and_says_what_it_leaves_out(
    pictured: Path, tmp_path: Path
) -> None:
    drawn: list[int] = []
    with Library.open(pictured) as library:
        found = scenes(library, radii={"kind": 0, "thing": 0})
        several = [group for group in found.groups if group.count > 1]
        assert len(several) > 1
        write_scenes_page(library, found, tmp_path / "few.html", pictures=1, progress=drawn.append)
        nothing = write_scenes_page(library, scenes(library, where="id > 99"), tmp_path / "none.html")
    page = (tmp_path / "few.html").read_text(encoding="utf-8")
    left = sum(group.count for group in several[1:])
    assert f"Not shown: {left} picture" in page
    assert drawn == [*range(1, len(drawn) + 1)]
    assert page.count("<img") == len(drawn) < 24
    assert "There are no pictures to show." in nothing.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    pictured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.html").write_text("old")

    def fail(file: int) -> None:
        raise OSError("disk")

    monkeypatch.setattr("hashgrain.files.sync", fail)
    with Library.open(pictured) as library, pytest.raises(OSError, match="disk"):
        write_grouped_answer(library, 1, library.group(library.search(1)), tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".page")] == []


def test_a_browser_opens_and_closes_groups_by_itself(browser: Any, pictured: Path, tmp_path: Path) -> None:
    with Library.open(pictured) as library:
        hits = library.search(1, k=100)
        write_grouped_answer(library, 1, library.group(hits, radii={"kind": 32}), tmp_path / "answer.html")
    said: list[str] = []
    tab = browser.new_page()
    tab.on("console", lambda message: said.append(message.text))
    tab.goto((tmp_path / "answer.html").as_uri())
    first, summary = tab.locator("main > details").first, tab.locator("main > details > summary").first
    assert first.evaluate("it => it.open")
    card = first.locator(".cards li").first
    assert card.is_visible() or first.locator("details").count() > 0
    summary.click()
    assert not first.evaluate("it => it.open")
    widths = tab.eval_on_selector_all("img", "all => all.map(one => one.naturalWidth)")
    tab.close()
    assert widths
    assert all(widths)
    assert said == []


# ---- the command


def test_search_prints_groups(hashgrain: Run, coded: Path) -> None:
    done = hashgrain("search", coded, "--id", 1, "--group")
    assert (done.returncode, done.stderr) == (0, b"")
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [row[:2] for row in rows[:4]] == [["kind", "7"], ["thing", "3"], ["look", "1"], ["look", "2"]]
    assert rows[4][0] == "copy"
    assert {len(row) for row in rows} == {6}
    assert len({row[4] for row in rows}) == 15
    few = hashgrain("search", coded, "--id", 1, "--group", "-k", 3).stdout.decode().splitlines()
    assert [line.split("\t")[:2] for line in few if line.startswith("kind")] == [["kind", "2"], ["kind", "1"]]
    paths = hashgrain("search", coded, "--id", 1, "--group", "-0").stdout.split(b"\0")[:-1]
    assert len(paths) == 8  # near copies are left out


def test_search_prints_groups_as_json_and_as_a_page(hashgrain: Run, pictured: Path, tmp_path: Path) -> None:
    query = tmp_path / "pictures/00001.jpg"
    done = hashgrain("search", pictured, query, "--group", "--radius", "kind:32,thing:64", "--json", "--html", "p.html")
    document = json.loads(done.stdout)
    assert document["levels"][0] == {"grain": "kind", "radius": 32, "calibrated": False}
    (kind,) = document["groups"]
    assert (kind["grain"], kind["count"], kind["others"]) == ("kind", 12, [])
    (thing,) = kind["groups"]
    assert {"id", "path", "distance", "word"} <= set(thing["groups"][0]["others"][0])
    assert (tmp_path / "p.html").read_text().count("<details") == 1
    lines = hashgrain("search", pictured, query, "--group", "--jsonl").stdout.splitlines()
    assert sum(json.loads(line)["count"] for line in lines) == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--group", "--also", "{library}"], "--group takes one query and one library"),
        (["--group", "--not-self"], "--group takes one query and one library"),
        (["--group", "--radius", "kind"], "is not a number of bits for each grain"),
        (["--group", "--radius", "kind:x"], "is not a number of bits for each grain"),
        (["--group", "--radius", "kind:99"], "from 0 to 32"),
        (["--group", "--radius", "sort:9"], "the grains of the groups are kind, thing, look"),
        (["--radius", "kind:1"], "--radius goes with --group"),
    ],
)
def test_search_refuses_what_does_not_go_with_groups(
    coded: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    done = in_process("search", coded, "--id", 1, *(each.format(library=coded) for each in arguments))
    assert done.exit_code in (1, 2)
    assert (done.stdout, said in done.stderr) == ("", True), done.stderr


def test_scenes_prints_a_tree_and_writes_a_page(hashgrain: Run, coded: Path, tmp_path: Path) -> None:
    done = hashgrain("scenes", coded)
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [row[:2] for row in rows] == [["kind", "8"], ["thing", "4"], ["thing", "4"]] * 2
    assert done.stderr == b"16 pictures; groups: 2 at kind, 4 at thing, 8 at look; 0 on their own\n"
    page = hashgrain("scenes", coded, "--out", "scenes.html", "--where", "id <= 8", "--grain", "THING")
    assert (page.returncode, page.stdout, page.stderr) == (0, b"", b"wrote scenes.html\n")
    assert (tmp_path / "scenes.html").read_text().count("the file is gone") > 1  # a library of codes has no files
    document = json.loads(hashgrain("scenes", coded, "--json").stdout)
    assert document["items"] == 16
    assert len(document["groups"][0]["groups"][0]["groups"][0]["others"]) == 1


def test_scenes_of_nothing_says_so(coded: Path, tmp_path: Path) -> None:
    page = tmp_path / "none.html"
    Library.create(tmp_path / "empty.hg", small()).close()
    for arguments in ([tmp_path / "empty.hg"], [coded, "--where", "id > 99"]):
        done = in_process("scenes", *arguments, "--out", page)
        assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"wrote {page}\nno pictures to group\n")
    wrong = in_process("scenes", coded, "--grain", "sort")
    assert (wrong.exit_code, wrong.stderr) == (1, "error: no grain 'sort' here; this code has kind, thing, look\n")
    assert "no library at" in in_process("scenes", tmp_path / "none.hg").stderr
