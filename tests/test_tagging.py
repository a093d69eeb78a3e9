"""Labels from labeled neighbors: the vote, what is proposed and written, which pictures to label next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import in_process
from conftest import Run, fill
from hashgrain import Codes, Library
from hashgrain.apps.classify import ClassFigures, Confusion, classify, measure_classes
from hashgrain.apps.label_next import next_to_label, pick
from hashgrain.apps.label_pages import write_ask_page, write_classified_page, write_report_page, write_tag_page
from hashgrain.apps.tag import tag, undo_meta, undo_sidecars, write_meta, write_sidecars
from hashgrain.apps.votes import Voters, leave_one_out, weights_at
from hashgrain.codes import Grains
from hashgrain.errors import FilterError, HashgrainError, QueryError
from hashgrain.library.metadata import change_each
from hashgrain.media.sidecar import keywords_of, with_keywords
from hashgrain.models import Bundle, Encoder
from hashgrain.models.probabilities import expected_calibration_error

GRAINS = Grains(kind=16, look=80)
NASTY = "<script>alert(1)</script>\"' &\x1b[2J"


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load("small")


@pytest.fixture
def library(tmp_path: Path, encoder: Encoder, no_flushes: None) -> Iterator[Library]:
    with Library.create(tmp_path / "test.hg", encoder, workers=0) as made:
        yield made


def clusters(grains: Grains, sizes: Sequence[int], seed: int = 0, flips: float = 0.08) -> tuple[Codes, list[int]]:
    """Codes around random centers, and the number of the center of each."""
    dice = np.random.default_rng(seed)
    centers = dice.integers(0, 2, (len(sizes), grains.bits))
    group = [number for number, size in enumerate(sizes) for _ in range(size)]
    bits = centers[group] ^ (dice.random((len(group), grains.bits)) < flips)
    return Codes.from_bits(bits, grains), group


def put(library: Library, codes: Codes, metas: Sequence[Mapping[str, Any]], names: Sequence[str] | None = None) -> None:
    """Items with these codes and this metadata."""
    paths = list(names or [f"/p/{number:04}.jpg" for number in range(len(codes))])
    library.import_codes(codes, paths, look=False)
    ids = {item.path: item.id for item in library.items()}
    keyed = [{(key,): value for key, value in meta.items()} for meta in metas]
    change_each(library.store, {ids[path]: (meta, []) for path, meta in zip(paths, keyed, strict=True)})


def metas(library: Library) -> list[dict[str, Any]]:
    return [item.meta for item in library.items()]


# ---- the vote


def plain_ballot(
    codes: NDArray[np.uint8],
    labels: Sequence[tuple[str, ...]],
    query: NDArray[np.uint8],
    rows: Sequence[int],
    voting: tuple[int, int, NDArray[np.float64]],
) -> list[tuple[str, float]]:
    """The vote as its definition says, over bits."""
    k, width, weights = voting
    at, whole = (codes[:, :width] != query[:width]).sum(1), (codes != query).sum(1)
    nearest = sorted(rows, key=lambda row: (at[row], whole[row], row))[:k]
    heard = [weights[at[row]] for row in nearest]
    seen = list(dict.fromkeys(label for row in nearest for label in labels[row]))
    votes = {name: sum(w for row, w in zip(nearest, heard, strict=True) if name in labels[row]) for name in seen}
    ranked = sorted(seen, key=lambda name: (-votes[name], seen.index(name)))
    return [(name, min(1.0, votes[name] / max(1.0, sum(heard)))) for name in ranked]


@settings(max_examples=40)
@given(st.data())
def test_a_vote_is_what_its_definition_says_ties_included(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 16))
    dice = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    bits = dice.integers(0, 2, (count, GRAINS.bits), np.uint8)
    bits[:, 3:16] = bits[:, 18:] = 0  # few distances, and many equal codes
    names = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True).map(tuple)
    labels = data.draw(st.lists(names, min_size=count, max_size=count))
    grain, k = data.draw(st.sampled_from(list(GRAINS))), data.draw(st.integers(1, count - 1))
    weights = np.sort(dice.integers(0, 5, GRAINS[grain] + 1) / 4)[::-1]  # sums are exact, so equal votes are equal
    voters = Voters(Codes.from_bits(bits, GRAINS), labels, grain, k, weights)
    voting = (k, GRAINS[grain], weights)
    queries = dice.integers(0, 2, (3, GRAINS.bits), np.uint8)
    ballots = list(voters.ask(Codes.from_bits(queries, GRAINS)))
    for query, ballot in zip(queries, ballots, strict=True):
        wanted = plain_ballot(bits, labels, query, range(count), voting)
        assert [vote.label for vote in ballot] == [label for label, _ in wanted]
        assert [vote.confidence for vote in ballot] == pytest.approx([confidence for _, confidence in wanted])
    asked = leave_one_out(voters)
    for row, ballot in enumerate(asked.ballots):
        rest = [other for other in range(count) if other != row]
        wanted = plain_ballot(bits, labels, bits[row], rest, voting)
        assert [vote.label for vote in ballot] == [label for label, _ in wanted]
        assert [vote.confidence for vote in ballot] == pytest.approx([confidence for _, confidence in wanted])
        assert asked.right[row] == (wanted[0][0] in labels[row])


def test_confidence_is_low_where_all_neighbors_are_far() -> None:
    codes, _ = clusters(GRAINS, [5, 5])
    weights = np.zeros(GRAINS.bits + 1)
    weights[:20] = 0.9
    weights[20:] = 0.01
    voters = Voters(codes, [("a",)] * 5 + [("b",)] * 5, "look", 10, weights)
    near, far = voters.ask(Codes.concatenate([codes[0], Codes(~codes.words[:1] & codes_mask(), GRAINS)]))
    assert near[0].label == "a"
    assert near[0].confidence > 0.9
    assert far[0].confidence < 0.1


def codes_mask() -> NDArray[np.uint64]:
    return Codes.from_bits(np.ones((1, GRAINS.bits), np.uint8), GRAINS).words


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_the_calibration_error_is_the_mean_gap_of_ten_bins(pairs: list[tuple[float, bool]]) -> None:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in pairs:
        bins.setdefault(min(9, int(confidence * 10)), []).append((confidence, right))
    wanted = 0.0
    for inside in bins.values():
        sure = sum(confidence for confidence, _ in inside) / len(inside)
        wanted += len(inside) / len(pairs) * abs(sure - sum(right for _, right in inside) / len(inside))
    confidences, rights = (np.array(column) for column in zip(*pairs, strict=True))
    assert expected_calibration_error(confidences, rights) == pytest.approx(wanted)


def test_weights_are_the_calibrated_probabilities_or_the_share_of_equal_bits(encoder: Encoder) -> None:
    photo = Bundle.read("photo")
    assert weights_at(photo, "thing").tolist() == list(photo.calibration["thing"].probabilities)
    for grain, bits in encoder.grains.items():
        if grain not in encoder.bundle.calibration:
            assert weights_at(encoder.bundle, grain).tolist() == [1 - each / bits for each in range(bits + 1)]


# ---- what is proposed


def labelled(library: Library, sizes: Sequence[int] = (12, 12, 12), known: int = 6) -> list[int]:
    """Three groups, of which the first few of each have labels: a text, a list of one, a list of two."""
    codes, group = clusters(library.grains, sizes)
    forms: list[Any] = ["cat", ["dog"], ["car", "red"]]
    put(
        library,
        codes,
        [
            {"label": form} if each < known else {}
            for form, size in zip(forms, sizes, strict=True)
            for each in range(size)
        ],
    )
    return group


def test_items_without_labels_get_those_of_their_group(library: Library) -> None:
    group = labelled(library)
    tagging = tag(library, "label", k=4)
    assert (tagging.labelled, tagging.k, tagging.grain) == (18, 4, "look")
    wanted = [["cat"], ["dog"], ["car", "red"]]
    assert [each.labels for each in tagging.proposals] == [
        wanted[group[each.item.id - 1]] for each in tagging.proposals
    ]
    assert [each.item.id for each in tagging.proposals] == [*range(7, 13), *range(19, 25), *range(31, 37)]
    assert tagging.without == []
    measured = tagging.measured
    assert (measured.asked, measured.accuracy, measured.precision, measured.recall) == (18, 1, 1, 1)
    assert measured.proposed == 24
    assert measured.calibration_error < 0.1
    assert all(meta.keys() <= {"label"} for meta in metas(library))  # nothing is written


def test_a_least_confidence_and_a_filter_limit_what_gets_labels(library: Library) -> None:
    labelled(library)
    sure = tag(library, "label", k=17, min_confidence=0.6)  # of 17 neighbors at most 6 are of the own group
    assert sure.proposals == []
    assert len(sure.without) == 18
    assert sure.measured.precision is None
    assert [each.item.id for each in tag(library, "label", where="id in (7, 20)").proposals] == [7, 20]
    with pytest.raises(FilterError, match="nothing"):
        tag(library, "label", where="nothing = 3")


def test_keywords_of_files_are_labels_too(library: Library) -> None:
    from dataclasses import replace

    from hashgrain.apps.labels import labels_of

    item = replace(stored_item(library), details={"keywords": ["sea", "sea", " "]}, meta={"a.b": {"c": "x"}})
    assert labels_of(item, "file.keywords", ("file", "keywords")) == ("sea",)
    assert labels_of(item, "`a.b`.c", ("a.b", "c")) == ("x",)
    assert labels_of(item, "a.c", ("a", "c")) == ()


def stored_item(library: Library) -> Any:
    put(library, clusters(library.grains, [1])[0], [{}])
    return library.items()[0]


ODD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no label at all": ({}, {}, "no item of .* has a label under label; label some first"),
    "another key": ({"labels": "cat"}, {"labels": "dog"}, "did you mean labels"),
    "blank": ({"label": " "}, {"label": []}, "has a label under label"),
    "one class": ({"label": "cat"}, {"label": ["cat"]}, "all 2 labeled items .* have the label 'cat'"),
    "a number": ({"label": "cat"}, {"label": 7}, "0001.jpg: label holds 7, which is no label"),
    "a number in a list": ({"label": "cat"}, {"label": ["dog", None]}, "holds None, which is no label"),
    "a mapping": ({"label": "cat"}, {"label": {"a": "b"}}, "which is no label"),
}


@pytest.mark.parametrize("case", ODD)
def test_labels_that_cannot_be_used_are_an_error_that_says_why(library: Library, case: str) -> None:
    one, other, said = ODD[case]
    put(library, clusters(library.grains, [2, 2])[0], [one, other, {}, {}])
    for use in (tag, measure_classes):
        with pytest.raises(QueryError, match=said):
            use(library, "label")


def test_numbers_out_of_range_are_errors(library: Library) -> None:
    labelled(library)
    for options, said in (
        ({"k": 18}, "k is 18, but only 18 items have labels, and each is asked of the others: at most 17"),
        ({"k": 0}, "k is 0"),
        ({"k": True}, "k is True"),
        ({"min_confidence": 1.5}, "the least confidence is 1.5"),
        ({"min_confidence": float("nan")}, "the least confidence is nan"),
    ):
        with pytest.raises(QueryError, match=said):
            tag(library, "label", **options)  # type: ignore[arg-type]
    with pytest.raises(HashgrainError, match="no grain 'things'"):
        tag(library, "label", grain="things")
    with pytest.raises(QueryError, match="not a key of metadata"):
        tag(library, "a..b")
    with pytest.raises(QueryError, match="asked for 0 items"):
        next_to_label(library, "label", 0)


# ---- what is written


def test_labels_of_a_machine_go_beside_those_of_people_and_can_be_taken_back(library: Library) -> None:
    labelled(library)
    before = metas(library)
    assert write_meta(library, tag(library, "label", k=4)) == 18
    after = metas(library)
    for old, new in zip(before, after, strict=True):
        assert {key: value for key, value in new.items() if key != "machine"} == old
        assert ("machine" in new) == ("label" not in new)
    assert after[6] == {"machine": {"label": "cat", "label_confidence": {"cat": 1.0}}}
    assert after[30]["machine"]["label"] == ["car", "red"]
    assert [item.id for item in library.items(where="machine.label = 'dog'")] == [*range(19, 25)]
    assert [item.id for item in library.items(where="machine.label_confidence.red >= 0.5")] == [*range(31, 37)]
    assert write_meta(library, tag(library, "label", k=4)) == 0  # and they do not vote
    library.meta([7], set={"label": "cat"})  # a person says so, too
    assert write_meta(library, tag(library, "label", k=4)) == 1
    assert metas(library)[6] == {"label": "cat"}
    library.meta([7], unset=["label"])
    assert write_meta(library, tag(library, "label", k=4)) == 1
    assert undo_meta(library, "label", where="id <= 12") == 6
    assert undo_meta(library, "label") == 12
    assert metas(library) == before


def test_labels_that_are_not_confident_any_more_are_removed(library: Library) -> None:
    labelled(library)
    write_meta(library, tag(library, "label", k=4), "tags")
    assert write_meta(library, tag(library, "label", k=17, min_confidence=0.6), "tags") == 18
    assert not any("tags" in meta or "tags_confidence" in meta for meta in metas(library))


def test_the_labels_of_people_are_never_written_over(library: Library) -> None:
    labelled(library)
    before = metas(library)
    with pytest.raises(QueryError, match="holds the labels of people"):
        write_meta(library, tag(library, "label"), "`label`")
    library.meta([30 + 1], set={"machine": "mine"})
    with pytest.raises(QueryError, match="machine holds no keys; nothing was changed"):
        write_meta(library, tag(library, "label"))
    library.meta([30 + 1], unset=["machine"])
    assert metas(library) == before


def test_sidecars_hold_the_labels_as_keywords(library: Library, tmp_path: Path) -> None:
    codes, _ = clusters(library.grains, [4, 4])
    folder = tmp_path / "pics"
    folder.mkdir()
    names = [str(folder / f"{number}.jpg") for number in range(6)] + [f"{folder}/a.tar!x.jpg", "an object"]
    for name in names[:5]:
        Path(name).write_bytes(b"x")
    own = [{"label": "cat"}, {"label": "cat"}, {}, {}, {"label": "dog"}, {"label": "dog"}, {}, {}]
    put(library, codes, own, names)
    (folder / "3.jpg.xmp").write_bytes(b"<!DOCTYPE x><x/>")
    done: list[int] = []
    changed, refused = write_sidecars(tag(library, "label", k=2), done.append)
    assert (changed, done) == (1, [*range(1, 9)])
    assert keywords_of((folder / "2.jpg.xmp").read_bytes()).by_machine == ("cat",)
    reasons = {Path(each.path).name: each.reason for each in refused}
    assert "document type" in reasons["3.jpg"]
    assert "not a file of its own" in reasons["a.tar!x.jpg"]
    assert "not a file of its own" in reasons["an object"]
    assert (folder / "3.jpg.xmp").read_bytes() == b"<!DOCTYPE x><x/>"
    assert write_sidecars(tag(library, "label", k=2))[0] == 0
    assert undo_sidecars(library, where="id = 1")[0] == 0
    assert undo_sidecars(library)[0] == 1
    assert keywords_of((folder / "2.jpg.xmp").read_bytes()).words == ()
    assert write_sidecars(tag(library, "label", k=2))[0] == 1
    (folder / "3.jpg.xmp").unlink()
    (folder / "4.jpg.xmp").write_text("no XML, of a picture with a label of its own")
    Path(names[3]).unlink()
    assert any("is gone" in each.reason for each in write_sidecars(tag(library, "label", k=2))[1])
    unsure = tag(library, "label", k=3, min_confidence=0.9)
    assert len(unsure.without) == 4
    write_sidecars(unsure)
    assert keywords_of((folder / "2.jpg.xmp").read_bytes()).words == ()
    assert sorted(path.name for path in folder.glob("*.xmp")) == ["2.jpg.xmp", "4.jpg.xmp"]
    (folder / "2.jpg.xmp").write_text("no XML, and nothing in it to take back")
    assert "2.jpg" not in str(write_sidecars(unsure)[1])


# ---- which to label next


def test_pictures_to_label_are_picked_greedily_as_defined() -> None:
    dice = np.random.default_rng(3)
    near = np.stack([dice.permutation(9)[:4] for _ in range(9)])
    alike, doubts, known = dice.random((9, 4)), dice.random(9), dice.random(9) / 2
    best: list[tuple[int, float]] = []
    now = known.tolist()
    for _ in range(9):
        gains = {}
        for item in set(range(9)) - {place for place, _ in best}:
            pairs = zip(near[item].tolist(), alike[item].tolist(), strict=True)
            gains[item] = sum(doubts[other] * max(0, sure - now[other]) for other, sure in pairs)
        place = max(sorted(gains), key=lambda item: gains[item])
        best.append((place, gains[place]))
        for other, sure in zip(near[place].tolist(), alike[place].tolist(), strict=True):
            now[other] = max(now[other], sure)
    picked = pick(near, alike, doubts, known, 20)
    assert [place for place, _ in picked] == [place for place, _ in best]
    assert [gain for _, gain in picked] == pytest.approx([gain for _, gain in best])


def accuracy(codes: Codes, group: Sequence[int], rows: Sequence[int], library: Library) -> float:
    """How many of all get the right label from those in these rows."""
    chosen = sorted(rows)
    weights = weights_at(library.bundle, "thing")
    voters = Voters(codes[np.array(chosen)], [(str(group[row]),) for row in chosen], "thing", 1, weights)
    return float(np.mean([ballot[0].label == str(own) for ballot, own in zip(voters.ask(codes), group, strict=True)]))


def test_labels_that_are_asked_for_teach_more_than_random_ones(library: Library) -> None:
    codes, group = clusters(library.grains, [60, 40, 25, 15, 10, 8, 6, 6], flips=0.16)
    random = np.random.default_rng(0)
    start = [int(row) for row in random.permutation(len(group))[:3]]
    put(library, codes, [{"label": str(group[row])} if row in start else {} for row in range(len(group))])
    asked = [each.item.id - 1 for each in next_to_label(library, "label", 8)]
    assert len(set(asked)) == 8
    assert not set(asked) & set(start)
    rest = [row for row in range(len(group)) if row not in start]
    by_chance = [accuracy(codes, group, [*start, *random.permutation(rest)[:8].tolist()], library) for _ in range(20)]
    taught = accuracy(codes, group, [*start, *asked], library)
    assert taught > np.mean(by_chance) + np.std(by_chance)


@pytest.mark.data
@pytest.mark.slow
def test_labels_that_are_asked_for_teach_more_on_photographs(data: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(data / "cifar-10" / "test.parquet").slice(0, 500).to_pylist()
    gains = []
    with Library.create(tmp_path / "c.hg", "photo") as library:
        library.add(((str(i), row["image"]["bytes"]) for i, row in enumerate(rows)), parts=False)
        codes, items = library.codes()
        group = [rows[int(item.path)]["label"] for item in items]
        for seed in range(4):
            random = np.random.default_rng(seed)
            start = random.permutation(len(items))[:10].tolist()
            library.meta(unset=["label"])
            for row in start:
                library.meta([items[row].id], set={"label": f"class {group[row]}"})
            asked = [each.item.id for each in next_to_label(library, "label", 20)]
            places = {item.id: row for row, item in enumerate(items)}
            rest = [row for row in range(len(items)) if row not in start]
            by_chance = np.mean(
                [accuracy(codes, group, start + random.permutation(rest)[:20].tolist(), library) for _ in range(5)]
            )
            gains.append(accuracy(codes, group, start + [places[each] for each in asked], library) - by_chance)
    assert np.mean(gains) > 0


def test_asking_begins_without_any_label_and_ends_where_all_have_one(library: Library) -> None:
    codes, group = clusters(library.grains, [20, 10, 5])
    put(library, codes, [{}] * len(group))
    asked = next_to_label(library, "label", 3)
    assert [group[each.item.id - 1] for each in asked] == [0, 1, 2]  # one of each group, the largest first
    assert [each.teaches for each in asked] == sorted((each.teaches for each in asked), reverse=True)
    assert len(next_to_label(library, "label", 99)) == 35
    assert len(next_to_label(library, "label", 99, where="id < 4")) == 3
    library.meta(set={"label": "cat"})
    assert next_to_label(library, "label", 3) == []


# ---- classes


def test_the_report_counts_as_its_words_say(library: Library) -> None:
    codes, _ = clusters(library.grains, [5, 5])
    names = ["cat"] * 4 + ["dog"] + ["dog"] * 4 + ["bird"]  # one dog lies among cats, one bird among dogs
    put(library, codes, [{"label": name} for name in names])
    report = measure_classes(library, "label", k=3)
    assert report.accuracy == 0.8
    assert (report.asked, report.labelled, report.most_frequent) == (10, 10, 0.5)
    assert report.classes == [
        ClassFigures("bird", 1, 0, None, 0.0),
        ClassFigures("cat", 4, 5, 0.8, 1.0),
        ClassFigures("dog", 5, 5, 0.8, 0.8),
    ]
    assert report.confusions == [Confusion("bird", "dog", 1), Confusion("dog", "cat", 1)]


def test_pictures_are_classified_and_what_cannot_be_opened_is_named(library: Library, tmp_path: Path) -> None:
    library.add(fill(tmp_path / "pics", 4), workers=0)
    ids = [item.id for item in library.items()]
    library.meta(ids[:2], set={"label": "cat"})
    library.meta(ids[2:], set={"label": ["dog", "pet"]})
    (tmp_path / "pics/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    seen: list[int] = []
    found, refused = classify(library, [tmp_path / "pics"], "label", k=1, progress=seen.append)
    assert [each.votes[0].label for each in found] == ["cat", "cat", "dog", "dog"]
    assert found[3].votes[0].confidence == found[3].votes[1].confidence
    assert found[3].votes[1].label == "pet"
    assert [Path(each.path).name for each in refused] == ["broken.jpg"]
    assert max(seen) == 5
    (tmp_path / "empty").mkdir()
    with pytest.raises(QueryError, match="there are no pictures"):
        classify(library, [tmp_path / "empty"], "label")


# ---- pages and the command


def test_pages_escape_what_strangers_wrote_and_name_all(library: Library, tmp_path: Path) -> None:
    codes, _ = clusters(library.grains, [30, 30])
    own = [{"label": NASTY} if row < 3 else {"label": "dog"} if 30 <= row < 33 else {} for row in range(60)]
    put(library, codes, own, [f"/p/{NASTY}{row}.jpg".replace("\x1b", "") for row in range(60)])
    tagging = tag(library, "label", k=3)
    pages = [
        write_tag_page(library, tagging, tmp_path / "tag.html"),
        write_ask_page(library, next_to_label(library, "label", 3), "label", tmp_path / "ask.html"),
        write_report_page(measure_classes(library, "label", k=3), tmp_path / "report.html"),
        write_classified_page(classify_file(library, tmp_path), "label", tmp_path / "classified.html"),
    ]
    for page in pages:
        written = page.read_text(encoding="utf-8")
        assert "<script" not in written
        assert "\x1b" not in written
        assert "default-src" in written
    shown = pages[0].read_text(encoding="utf-8")
    assert shown.count('<ol class="cards">') == 2
    assert "dog: 27, 24 shown" in shown
    assert "&lt;script&gt;" in pages[2].read_text(encoding="utf-8")


def classify_file(library: Library, tmp_path: Path) -> Any:
    return classify(library, [fill(tmp_path / "some", 2)], "label", k=3)[0]


def test_the_command_shows_first_and_writes_with_yes(
    hashgrain: Run, tmp_path: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pics = fill(tmp_path / "pics", 6)
    for number in (3, 4, 5):  # near copies of the first three
        (pics / f"{number:05}.jpg").write_bytes((pics / f"{number - 3:05}.jpg").read_bytes() + b"\0")
    with Library.create(tmp_path / "p.hg", encoder, workers=0) as made:
        made.add(pics)
        for number, label in enumerate(("cat", "dog", "car")):
            made.meta([pics / f"{number:05}.jpg"], set={"label": label})

    def run(*arguments: object, code: int = 0) -> str:
        done = hashgrain(*arguments)
        assert done.returncode == code, done.stderr
        return done.stdout.decode() + done.stderr.decode()

    def quickly(*arguments: object, code: int = 0) -> str:
        done = in_process.hashgrain(*arguments)
        assert done.exit_code == code, (done.output, done.exception)
        return done.stdout + done.stderr

    monkeypatch.chdir(tmp_path)
    shown = run("tag", "p.hg", "--from", "label", "-k", 1, "--html", "page.html")
    assert "cat 1.00\t4\t" in shown
    assert "nothing was written; --yes writes to machine.label" in shown
    assert "measured on 3 labeled items" in shown
    assert (tmp_path / "page.html").stat().st_size > 1000
    assert "machine" not in quickly("meta", "p.hg", "--json")
    run("tag", "p.hg", "--from", "label", "-k", 1, "--where", "name = '00003.jpg'", "--yes")
    document = json.loads(quickly("meta", "p.hg", "--json"))
    labels = [entry["meta"].get("machine", {}).get("label") for entry in document]
    assert labels == [None, None, None, "cat", None, None]
    assert "took back the labels of 1" in quickly("tag", "p.hg", "--from", "label", "--undo")
    assert "machine" not in quickly("meta", "p.hg", "--json")
    quickly("tag", "p.hg", "--from", "label", "-k", 1, "--write", "xmp", "--yes")
    assert keywords_of((pics / "00004.jpg.xmp").read_bytes()).words == ("dog",)
    (pics / "00004.jpg.xmp").write_text("no XML")
    said = quickly("tag", "p.hg", "--from", "label", "-k", 1, "--write", "xmp", "--yes", code=3)
    assert "refused: " in said
    assert len(quickly("tag", "p.hg", "--from", "label", "--ask", 2).splitlines()) == 2
    assert "car\t1.00\t" in run("classify", "p.hg", pics / "00005.jpg", "--from", "label", "-k", 1)
    assert "of 3 labeled items get a right label" in quickly("classify", "p.hg", "--from", "label", "-k", 1)
    assert "did you mean label?" in quickly("tag", "p.hg", "--from", "labels", code=1)
    assert "--set tags=LABEL" in run("tag", "p.hg", "--from", "tags", code=1)
    for more in (["--ask", 2, "--yes"], ["--write", "xmp", "--to", "x"]):
        quickly("tag", "p.hg", "--from", "label", *more, code=2)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    for name, family in (("gone.jpg", "source"), ("broken.jpg", "image")):
        failed = quickly("classify", "p.hg", name, "--from", "label", "--json", code=1)
        error = json.loads(failed)["error"]
        assert error["code"] == family
        assert error["message"].count(name) == 1


# ---- sidecars

WORD = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).map(str.strip).filter(bool)
DARKTABLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<!-- kept -->
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <r:RDF xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <r:Description r:about="" xmlns:d="http://purl.org/dc/elements/1.1/" xmlns:t="http://darktable.sf.net/" t:v='5 > 4'>
   <d:subject><r:Seq><r:li>own &amp; old</r:li></r:Seq></d:subject>
   <d:title><r:Alt><r:li xml:lang="x-default">caf\xc3\xa9</r:li></r:Alt></d:title>
   <t:history><r:Seq><r:li t:num="0"/></r:Seq></t:history>
  </r:Description>
 </r:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
RDF = b'xmlns:r="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
SHAPES = {
    "of another program": DARKTABLE,
    "with a byte order mark": b"\xef\xbb\xbf" + DARKTABLE,
    "without keywords": DARKTABLE.replace(b"<d:subject><r:Seq><r:li>own &amp; old</r:li></r:Seq></d:subject>", b""),
    "an empty description": b"<r:RDF " + RDF + b'><r:Description r:about=""/></r:RDF>',
    "no description": b"<r:RDF " + RDF + b"></r:RDF>",
    "an empty root": b"<r:RDF " + RDF + b"/>",
    "an empty list": b"<r:RDF " + RDF + b'><r:Description><s:subject xmlns:s="http://purl.org/dc/elements/1.1/"/>'
    b"</r:Description></r:RDF>",
}


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15)
@given(st.lists(WORD, max_size=3), st.lists(WORD, max_size=3))
def test_a_sidecar_gets_the_labels_and_keeps_the_words_of_people(shape: str, first: list[str], then: list[str]) -> None:
    before = keywords_of(SHAPES[shape]).words
    once = with_keywords(SHAPES[shape], first)
    twice = with_keywords(once, then)
    for content, labels in ((once, first), (twice, then)):
        known = keywords_of(content)
        assert known.words[: len(before)] == before
        assert set(known.words) == {*before, *labels}
        assert set(known.by_machine) == {*labels} - {*before}
    assert with_keywords(twice, then) == twice


def test_everything_else_in_a_sidecar_stays_byte_for_byte() -> None:
    changed = with_keywords(DARKTABLE, ["new"])
    start, end = DARKTABLE.index(b"<d:subject>"), DARKTABLE.index(b"\n   <d:title>")
    rest = DARKTABLE.index(b"</r:Description>")
    assert changed.startswith(DARKTABLE[:start])
    assert changed.endswith(DARKTABLE[rest:])
    assert DARKTABLE[end:rest] in changed


BOMB = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>' + b"<r:RDF " + RDF + b"><r:Description/></r:RDF>"
IN_RDF = (b"<r:RDF " + RDF + b"><r:Description %s>%s</r:Description></r:RDF>").__mod__
DC_NAMED = b'xmlns:d="http://purl.org/dc/elements/1.1/"'
HOSTILE = {
    "entities": (BOMB, "document type"),
    "a file from outside": (BOMB.replace(b'"ha"', b'SYSTEM "file:///etc/passwd"'), "document type"),
    "an entity without a declaration": (IN_RDF((b"", b"&a;")), "not XML"),
    "no XML": (b"\xff\xd8\xff", "not XML"),
    "nothing": (b"", "not XML"),
    "cut short": (DARKTABLE[:-200], "not XML"),
    "another encoding": (b'<?xml version="1.0" encoding="latin-1"?>' + IN_RDF((b"", b"")), "only UTF-8"),
    "UTF-16": (DARKTABLE.decode().replace("UTF-8", "UTF-16").encode("utf-16"), "."),
    "no XMP": (b"<html><body/></html>", "holds no XMP"),
    "keywords twice": (IN_RDF((DC_NAMED, b"<d:subject/><d:subject/>")), "twice"),
    "an attribute": (IN_RDF((DC_NAMED + b' d:subject="cat"', b"")), "attribute"),
    "more than words": (
        IN_RDF((DC_NAMED, b"<d:subject><r:Bag><r:li><d:x/></r:li></r:Bag></d:subject>")),
        "more than words",
    ),
    "deep": (b"<a>" * 100_000, "nested too deep"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_sidecar_is_refused(case: str) -> None:
    content, said = HOSTILE[case]
    with pytest.raises(ValueError, match=said):
        with_keywords(content, ["cat"])


def test_a_label_that_xml_cannot_hold_is_refused() -> None:
    for label in ("a\x00", "a\x1b[2J", "\ud800", "\ufffe"):
        with pytest.raises(ValueError, match="XML does not allow"):
            with_keywords(DARKTABLE, [label])


def test_a_sidecar_that_is_a_link_or_a_folder_is_left_alone(tmp_path: Path) -> None:
    from hashgrain.media.sidecar import write_keywords

    target = tmp_path / "target"
    target.write_bytes(DARKTABLE)
    (tmp_path / "a.jpg.xmp").symlink_to(target)
    (tmp_path / "b.jpg.xmp").mkdir()
    with pytest.raises(ValueError, match="is a link"):
        write_keywords(str(tmp_path / "a.jpg"), ["cat"])
    with pytest.raises(OSError, match=r"[Rr]egular|directory"):
        write_keywords(str(tmp_path / "b.jpg"), ["cat"])
    assert target.read_bytes() == DARKTABLE
    assert not list(tmp_path.glob(".*part"))


def test_a_sidecar_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from hashgrain import files
    from hashgrain.media.sidecar import write_keywords

    (tmp_path / "a.jpg.xmp").write_bytes(DARKTABLE)

    def full(file: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match="space"):
        write_keywords(str(tmp_path / "a.jpg"), ["cat"])
    assert (tmp_path / "a.jpg.xmp").read_bytes() == DARKTABLE
    assert [path.name for path in tmp_path.iterdir()] == ["a.jpg.xmp"]
