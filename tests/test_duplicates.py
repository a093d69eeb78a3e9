"""Duplicates: groups around the best copy, by words and distances, with reasons; parts of other pictures."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from conftest import Run
from hashgrain import Library
from hashgrain.apps.duplicates import Duplicates, Keep, find_duplicates, thumbnails_of, write_csv, write_page
from hashgrain.apps.duplicates.comparing import EDGE, LEAST, Comparing, middles_of, places_of
from hashgrain.apps.duplicates.grouping import TRIED, adjacency, around_best
from hashgrain.apps.duplicates.ranking import best_first, why_kept, why_not_kept
from hashgrain.errors import QueryError
from hashgrain.hamming import Pairs
from hashgrain.store import Item, Parts, PartsReplaced
from made_duplicates import Made, bits_from, code_of, make_library

pytestmark = pytest.mark.usefixtures("no_flushes")


def plain(found: Duplicates) -> dict[str, set[str]]:
    """The names of the copies by that of the kept picture."""
    return {Path(g.kept.path).name: {Path(copy.item.path).name for copy in g.copies} for g in found.groups}


# ---- groups


def brute(codes: list[int], within: int, differ: set[tuple[int, int]]) -> dict[int, set[int]]:
    """The rule by its definition, over numbers as codes, best first. Pairs that `differ` are no copies."""
    kept: list[int] = []
    groups: dict[int, set[int]] = {}
    for place, code in enumerate(codes):
        near = sorted((bin(code ^ codes[each]).count("1"), each) for each in kept)
        near = [pair for pair in near if pair[0] <= within][:TRIED]
        joined = [each for apart, each in near if not apart or (each, place) not in differ]
        if joined:
            groups.setdefault(joined[0], set()).add(place)
        else:
            kept.append(place)
    return groups


@given(
    st.lists(st.integers(0, 255), max_size=40),
    st.integers(0, 8),
    st.sets(st.tuples(st.integers(0, 39), st.integers(0, 39))),
)
def test_groups_are_those_of_the_rule_and_no_member_is_far_from_the_kept_one(
    codes: list[int], within: int, differ: set[tuple[int, int]]
) -> None:
    unique = sorted(set(codes))
    pairs = [(a, b) for a, b in combinations(range(len(unique)), 2)]
    apart = [bin(unique[a] ^ unique[b]).count("1") for a, b in pairs]
    near = [(a, b, d) for (a, b), d in zip(pairs, apart, strict=True) if d <= within]
    chunks = [Pairs(np.array([a]), np.array([b]), np.array([d], np.int32)) for a, b, d in reversed(near)]
    numbers = [unique.index(code) for code in codes]
    near_codes = adjacency(len(unique), chunks, within)
    groups = around_best(numbers, near_codes, lambda place, kept: (kept, place) not in differ)
    assert {kept: set(members) for kept, members in groups.items()} == brute(codes, within, differ)
    members = [place for group in groups.values() for place in group]
    assert len(members) == len(set(members))
    for kept, group in groups.items():
        assert kept not in members
        assert all(kept < place and bin(codes[kept] ^ codes[place]).count("1") <= within for place in group)
    left = [place for place in range(len(codes)) if place not in members]
    apart_or_unlike = (bin(codes[a] ^ codes[b]).count("1") > within for a, b in combinations(left, 2))
    assert differ or all(apart_or_unlike)


def test_a_library_is_grouped_as_all_its_pairs_say(tmp_path: Path) -> None:
    dice = np.random.default_rng(5)
    files = {}
    for n in range(60):
        bits = set(bits_from(20 * (n % 6), 20)) ^ set(dice.choice(128, int(dice.integers(0, 12)), False).tolist())
        files[f"{n:02}.jpg"] = Made(0, tuple(bits), size=(30 + n, 40), taken=f"2020-01-{1 + n % 28:02}T00:00:00")
    files = {name: replace(made, seed=n) for n, (name, made) in enumerate(files.items())}
    with Library.open(make_library(tmp_path, files)) as library:
        codes, items = library.codes()
        rows = zip(items, codes.words.tolist(), strict=True)
        words = {item.id: sum(word << 64 * place for place, word in enumerate(row)) for item, row in rows}
        for grain, within in (("look", 0), ("look", 6), ("look", 16), ("thing", 5)):
            for keep in ("pixels", "newest"):
                found = find_duplicates(library, within=within, grain=grain, keep=keep)
                order = best_first(library.items(), keep)
                mask = (1 << library.grains.width(grain)) - 1
                wanted = brute([words[item.id] & mask for item in order], within, set())
                named = {order[kept].path: {order[each].path for each in of} for kept, of in wanted.items()}
                assert {g.kept.path: {c.item.path for c in g.copies} for g in found.groups} == named
                assert found.items == 60
        assert len(find_duplicates(library, within=16).copies) > 20


CHAIN = {"a.jpg": bits_from(0, 0), "b.jpg": bits_from(0, 8), "c.jpg": bits_from(0, 16)}


@pytest.mark.parametrize(("best", "groups"), [("a", {"a.jpg": {"b.jpg"}}), ("b", {"b.jpg": {"a.jpg", "c.jpg"}})])
def test_a_chain_does_not_join_pictures_that_are_far_apart(tmp_path: Path, best: str, groups: object) -> None:
    files = {
        name: Made(seed, bits, size=(80, 60) if name[0] == best else (40, 30))
        for seed, (name, bits) in enumerate(CHAIN.items())
    }
    with Library.open(make_library(tmp_path, files)) as library:
        assert plain(find_duplicates(library, within=10)) == groups


def test_equal_bytes_are_copies_whatever_their_codes_and_the_only_ones_of_the_word_exact(tmp_path: Path) -> None:
    files = {
        "one.jpg": Made(1, bits_from(0, 5)),
        "odd.jpg": Made(1, bits_from(60, 60)),  # as if its code were imported
        "near.jpg": Made(2, bits_from(0, 8), size=(30, 20)),
        "other.jpg": Made(3, bits_from(20, 60)),
    }
    with Library.open(make_library(tmp_path, files)) as library:
        exact = find_duplicates(library, word="exact")
        assert (plain(exact), exact.within) == ({"one.jpg": {"odd.jpg"}}, None)
        found = find_duplicates(library, within=10)
        assert plain(found) == {"one.jpg": {"odd.jpg", "near.jpg"}}
        copies = {Path(copy.item.path).name: copy for copy in found.copies}
        assert [(copies[name].distance, copies[name].same_bytes) for name in ("odd.jpg", "near.jpg")] == [
            (0, True),
            (3, False),
        ]


def test_words_are_the_distances_that_the_model_calls_so(tmp_path: Path) -> None:
    files = {f"{apart}.jpg": Made(apart, bits_from(0, apart), size=(100 - apart, 50)) for apart in (0, 16, 17, 40)}
    with Library.open(make_library(tmp_path, files)) as library:
        found = find_duplicates(library, pixels=False)
        assert (found.grain, found.word, found.within) == ("look", "same", 16)
        assert plain(found) == {"0.jpg": {"16.jpg"}}
        assert find_duplicates(library, word="near", grain="thing").within == 11
        with pytest.raises(QueryError, match="no distance for 'near' at look"):
            find_duplicates(library, word="near")
        with pytest.raises(QueryError, match="it is exact, same or near"):
            find_duplicates(library, word="alike")
        with pytest.raises(QueryError, match="from 0 to 128"):
            find_duplicates(library, within=129)
        with pytest.raises(QueryError, match="not by 'size'"):
            find_duplicates(library, keep="size")
        with pytest.raises(QueryError, match="has no parts"):
            find_duplicates(library, within=3, parts=True)
    from hashgrain.apps.duplicates.thresholds import distance_of, part_distance_of
    from hashgrain.models import Bundle

    photo = Bundle.read("photo")
    assert distance_of("same", photo, "look") == photo.calibration["look"].words["same"]
    assert part_distance_of("near", photo, "look", None) == photo.part_calibration["look"].words["near"]


def changed(picture: Image.Image) -> dict[str, Image.Image]:
    """Copies as people have them."""
    width, height = picture.size
    smaller = picture.resize((width // 3, height // 3))
    border = Image.new("RGB", (width + 40, height + 40), "white")
    border.paste(picture, (20, 20))
    crop = (width // 20, height // 20, width - width // 20, height - height // 20)
    dark = ImageEnhance.Brightness(picture).enhance(0.6)
    return {
        "mirrored": picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "smaller": smaller,
        "framed": border,
        "cropped": picture.crop(crop),
        "darker": dark,
        "gray": picture.convert("L").convert("RGB"),
        "straightened": picture.rotate(6, Image.Resampling.BILINEAR).crop((20, 20, width - 20, height - 20)),
    }


def scene(seed: int) -> Image.Image:
    """A picture with large and small shapes, unlike any other."""
    dice = np.random.default_rng(seed)
    picture = Image.new("RGB", (240, 180), tuple(dice.integers(0, 256, 3).tolist()))
    drawn = ImageDraw.Draw(picture)
    for size in [80] * 4 + [40] * 10 + [15] * 30:
        x, y = dice.integers(-10, 230), dice.integers(-10, 170)
        shape = drawn.ellipse if dice.integers(2) else drawn.rectangle
        shape((x, y, x + size, y + size * 0.7), fill=tuple(dice.integers(0, 256, 3).tolist()))
    return picture


def likeness(one: Image.Image, other: Image.Image) -> float:
    a, b = (each.convert("L").resize((EDGE, EDGE), Image.Resampling.BOX) for each in (one, other))
    return max(float((middles_of(x) @ places_of(y).T).max()) for x, y in ((a, b), (b, a)))


def test_pixels_of_copies_agree_and_those_of_other_pictures_do_not() -> None:
    for seed in range(6):
        for name, copy in changed(scene(seed)).items():
            assert likeness(scene(seed), copy) >= LEAST, (seed, name)
    assert all(likeness(scene(a), scene(b)) < LEAST for a, b in combinations(range(12), 2))


def test_either_picture_may_be_the_one_whose_middle_is_found_in_the_other(tmp_path: Path) -> None:
    whole = scene(3)
    corner = whole.crop((0, 0, 168, 126))
    framed = Image.new("RGB", (320, 260), "white")
    framed.paste(whole, (40, 40))
    files = {f"{n}.png": Made(n, bits_from(0, n), picture=each) for n, each in enumerate((whole, corner, framed))}
    with Library.open(make_library(tmp_path, files), workers=1) as library:
        _, items = library.codes()
        compared = Comparing(library)
        for copy in (1, 2):
            assert compared.agree(items[0], items[copy])
            assert compared.agree(items[copy], items[0])


def test_pictures_of_near_codes_and_other_pixels_are_no_copies_unless_codes_are_asked_for(tmp_path: Path) -> None:
    pictures = [scene(1), scene(2), scene(1).resize((80, 60)), scene(3)]
    files = {
        f"{n}.jpg": Made(n, bits_from(0, n), size=(100 - n, 50), picture=picture) for n, picture in enumerate(pictures)
    }
    home = make_library(tmp_path, files)
    with Library.open(home, workers=1) as library:
        assert plain(find_duplicates(library)) == {"0.jpg": {"2.jpg"}}
        assert plain(find_duplicates(library, pixels=False)) == {"0.jpg": {"1.jpg", "2.jpg", "3.jpg"}}
        assert plain(find_duplicates(library, within=16)) == {"0.jpg": {"1.jpg", "2.jpg", "3.jpg"}}
        (tmp_path / "3.jpg").unlink()  # what cannot be compared goes by its code
        shutil.rmtree(home / "thumbs", ignore_errors=True)
        assert plain(find_duplicates(library)) == {"0.jpg": {"2.jpg"}, "1.jpg": {"3.jpg"}}


@pytest.mark.parametrize("kept", ["no picture", "too large"])
def test_a_thumbnail_of_a_stranger_is_decoded_like_any_picture(tmp_path: Path, kept: str) -> None:
    large = io.BytesIO()
    Image.new("RGB", (2_000, 2_000)).save(large, "jpeg")
    content = {"no picture": b"\xff\xd8 no picture \xff\xd9", "too large": large.getvalue()}[kept]
    files = {f"{n}.jpg": Made(n, bits_from(0, n), size=(100 - n, 50), picture=scene(n)) for n in range(2)}
    home = make_library(tmp_path, files)
    with Library.open(home, workers=1) as library:
        assert plain(find_duplicates(library)) == {}
        thumbnails = list((home / "thumbs").rglob("*.jpg"))
        assert len(thumbnails) == 2
        for file in thumbnails:
            file.write_bytes(content)
        assert plain(find_duplicates(library)) == {"0.jpg": {"1.jpg"}}  # by their codes


def test_a_filter_leaves_out_both_kept_pictures_and_copies(tmp_path: Path) -> None:
    files = {f"{n}.jpg": Made(n, size=(90 - n, 30), meta={"album": n % 2}) for n in range(4)}
    with Library.open(make_library(tmp_path, files)) as library:
        assert plain(find_duplicates(library)) == {"0.jpg": {"1.jpg", "2.jpg", "3.jpg"}}
        assert plain(find_duplicates(library, where="album = 1")) == {"1.jpg": {"3.jpg"}}
        assert find_duplicates(library, where="width > 1000").groups == ()


def test_too_many_pairs_are_an_error_and_not_a_full_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashgrain.apps.duplicates.grouping.MAX_PAIRS", 2)
    pairs = Pairs(np.arange(3), np.arange(3) + 1, np.zeros(3, np.int32))
    with pytest.raises(QueryError, match="ask for a smaller distance"):
        adjacency(4, [pairs], 9)


# ---- the best copy

LARGE = Item(1, "/large.jpg", "0" * 64, 500, 3 * 10**18 // 2, 80, 60, "jpeg", None, "", {})
SMALL = replace(LARGE, id=2, path="/small.jpg", width=40, size=900, mtime_ns=10**18)
DATED = replace(LARGE, id=3, path="/dated.jpg", taken="1999-05-01T10:00:00")
DATED_BEST = "most pixels: 80 x 60, then oldest: 1999-05-01 10:00:00"
BARE = replace(LARGE, id=4, path="/bare.jpg", width=None, height=None, size=None, mtime_ns=None)


@pytest.mark.parametrize(
    ("keep", "order", "reason", "worse"),
    [
        (
            "pixels",
            [3, 1, 2, 4],
            "most pixels: 80 x 60, then oldest: 1999-05-01 10:00:00",
            "fewer pixels: 40 x 60, not 80 x 60",
        ),
        ("bytes", [2, 3, 1, 4], "most bytes: 900", None),
        ("oldest", [3, 2, 1, 4], "oldest: 1999-05-01 10:00:00", "newer: 2001-09-09 01:46:40, not 1999-05-01 10:00:00"),
        ("newest", [1, 2, 3, 4], "newest: 2017-07-14 02:40:00", "older: 2001-09-09 01:46:40, not 2017-07-14 02:40:00"),
    ],
)
def test_the_best_copy_is_chosen_as_asked_and_says_why(keep: Keep, order: list[int], reason: str, worse: str) -> None:
    ranked = best_first([BARE, SMALL, LARGE, DATED], keep)
    assert [item.id for item in ranked] == order
    assert why_kept(ranked[0], ranked[1:], keep) == reason
    if worse:
        assert why_not_kept(SMALL, ranked[0], keep) == worse
    assert "unknown" in why_not_kept(BARE, ranked[0], keep)


def test_of_equal_copies_the_one_added_first_is_kept_and_odd_dates_are_no_dates() -> None:
    twin = replace(LARGE, id=9)
    assert why_kept(LARGE, [twin], "newest") == "added first: item 1"
    assert why_not_kept(twin, LARGE, "pixels") == "added later: item 9, not item 1"
    odd = replace(LARGE, id=5, taken="around noon", mtime_ns=10**30)
    assert [item.id for item in best_first([odd, SMALL], "oldest")] == [2, 5]


# ---- parts


def parts_library(home: Path) -> Path:
    files = {
        "scene.jpg": Made(1, bits_from(0, 60), size=(90, 60)),
        "crop.jpg": Made(2, bits_from(64, 30), size=(30, 20)),
        "crop-copy.jpg": Made(3, bits_from(64, 31), size=(20, 20)),
        "sharp-crop.jpg": Made(4, bits_from(90, 30), size=(300, 200)),
        "far.jpg": Made(5, bits_from(30, 60)),
    }
    path = make_library(home, files)
    with Library.open(path, "w") as library:
        library.store.set_grid([(0, 0, 0.5, 1), (0.5, 0, 1, 1)])
        parts = np.stack([code_of(bits_from(65, 30)), code_of(bits_from(88, 30))])
        library.store.commit([PartsReplaced(1, Parts(parts))])
    return path


@pytest.fixture
def with_parts(tmp_path: Path) -> Path:
    return parts_library(tmp_path)


def test_a_crop_is_reported_as_part_of_its_picture_and_its_copies_are_not(with_parts: Path) -> None:
    with Library.open(with_parts) as library:
        found = find_duplicates(library, within=4, parts=True)
        assert plain(found) == {"crop.jpg": {"crop-copy.jpg"}}
        told = [(Path(p.item.path).name, Path(p.whole.path).name, p.part.box, p.distance) for p in found.parts]
        assert told == [
            ("crop.jpg", "scene.jpg", (0, 0, 0.5, 1), 2),
            ("sharp-crop.jpg", "scene.jpg", (0.5, 0, 1, 1), 4),
        ]
        assert find_duplicates(library, within=1, parts=True).parts == ()
        with pytest.raises(QueryError, match="of parts at look"):
            find_duplicates(library, parts=True)


# ---- what is written


def test_the_table_and_the_page_show_every_group_with_its_reasons(with_parts: Path, tmp_path: Path) -> None:
    with Library.open(with_parts, workers=0) as library:
        found = find_duplicates(library, within=4, parts=True)
        write_page(tmp_path / "page.html", found, thumbnails_of(library, found))
    write_csv(tmp_path / "table.csv", found)
    with open(tmp_path / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["role"], Path(row["path"]).name, row["distance"]) for row in rows] == [
        ("1", "kept", "crop.jpg", ""),
        ("1", "copy", "crop-copy.jpg", "1"),
        ("2", "part of", "crop.jpg", "2"),
        ("3", "part of", "sharp-crop.jpg", "4"),
    ]
    assert rows[1]["reason"] == "fewer pixels: 20 x 20, not 30 x 20"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 6
    assert "most pixels: 30 x 20" in page
    assert "sharp-crop.jpg is part of scene.jpg" in page
    assert "<polygon" in page


def test_a_page_shows_some_groups_of_many_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashgrain.apps.duplicates.page.MAX_GROUPS", 2)
    files = {f"{n}.jpg": Made(n, bits_from(30 * (n // 2), 20), size=(40 + n, 30)) for n in range(8)}
    with Library.open(make_library(tmp_path, files), workers=0) as library:
        found = find_duplicates(library)
        assert len(found.groups) == 4
        write_page(tmp_path / "page.html", found, thumbnails_of(library, found))
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert ("the first 2 are shown" in page, page.count("<section>")) == (True, 2)


def test_the_command_prints_a_line_a_picture_and_names_that_forge_nothing(hashgrain: Run, tmp_path: Path) -> None:
    make_library(
        tmp_path, {"a.jpg": Made(1, size=(50, 30)), "=1+1\n\x1b[2J.jpg": Made(2), "c.jpg": Made(3, bits_from(0, 60))}
    )
    done = hashgrain("duplicates", "lib.hg", "--csv", "out.csv", "--html", "out.html")
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [line[:4] for line in lines] == [["1", "kept", "", "1"], ["1", "copy", "0", "2"]]
    assert lines[1][4].endswith(r"=1+1\n\x1b[2J.jpg")
    assert lines[1][5] == "fewer pixels: 40 x 30, not 50 x 30"
    assert b"1 copy of 1 picture among 3 (up to 16 bits at look)" in done.stderr
    assert (tmp_path / "out.html").read_text().count("data:image/jpeg") == 2
    assert hashgrain("duplicates", "lib.hg", "-q").stderr == b""
    document = json.loads(hashgrain("duplicates", "lib.hg", "--within", 60, "--json").stdout)
    assert (document["copies"], document["word"], document["action"]) == (2, None, None)


@pytest.mark.parametrize(
    "options",
    [
        ("--within", 3, "--word", "same"),
        ("--yes",),
        ("--link", "--delete"),
        ("--undo", "x", "--delete"),
        ("--act-on-parts", "--delete"),
        ("--word", "alike"),
    ],
)
def test_options_that_do_not_go_together_are_a_wrong_command_line(hashgrain: Run, options: tuple[object, ...]) -> None:
    assert hashgrain("duplicates", "no.hg", *options).returncode == 2
