"""Searching by words: exact over the whole library, beside pictures and filters, and honest where there are none."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import Run, fill
from hashgrain import Encoder, Library
from hashgrain.codes import Codes
from hashgrain.errors import BundleError, CodesError, QueryError
from hashgrain.hamming import agreeing, native, rows_of
from hashgrain.models import Bundle
from hashgrain.models.phrases import read_phrase
from hashgrain.models.text import describe_table, read_table, text_code

RETRIEVER, LIGHTHOUSE = 207, 437  # "beacon, lighthouse"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 30 made pictures, of a model for which retrievers look like the fifth and lighthouses like the
    ninth, and a library of a model without words."""
    folder = tmp_path_factory.mktemp("words")
    fill(folder / "pictures", 30)
    shipped = Bundle.read("default")
    plain = replace(shipped, others={})
    with Library.create(folder / "plain.hg", plain) as library:
        library.add([folder / "pictures"], workers=0)
        codes, items = library.codes()
    table = np.random.default_rng(3).uniform(-0.3, 0.3, (1000, shipped.grains.bits))
    by_name = {Path(item.path).name: bits for item, bits in zip(items, codes.bits() * 2.0 - 1, strict=True)}
    table[RETRIEVER], table[LIGHTHOUSE] = by_name["00005.jpg"] * 0.9, by_name["00009.jpg"] * 0.9
    with Library.create(folder / "a.hg", replace(shipped, others={"text": describe_table(table)})) as library:
        library.add([folder / "pictures"], workers=0, meta={"album": "one"})
        library.remove([3, 17])
    return folder


@pytest.fixture
def library(place: Path):
    with Library.open(place / "a.hg") as opened:
        yield opened


def outputs_of(library: Library, text: str) -> NDArray[np.float64]:
    """A phrase's code as its definition has it."""
    table = np.frombuffer(base64.b64decode(library.bundle.others["text"]["table"]), np.int8).reshape(1000, -1)
    soft = table * library.bundle.others["text"]["scale"]
    weights = read_phrase(text).weights
    assert weights is not None
    return weights @ soft - soft.mean(axis=0)


def brute(library: Library, outputs: NDArray[Any], grain: str, ids: set[int] | None = None) -> list[int]:
    """Every item by falling sum of the outputs whose bit is 1, less the others, then id."""
    codes, items = library.codes()
    bits = library.grains[grain]
    scores = (codes.bits()[:, :bits] * 2.0 - 1) @ outputs[:bits]
    pairs = sorted((-round(float(score), 9), item.id) for score, item in zip(scores, items, strict=True))
    return [id for _, id in pairs if ids is None or id in ids]


# ---- what is found


def test_words_find_the_picture_they_are_of(library: Library) -> None:
    assert Path(library.search(text="a golden retriever", k=1)[0].path).name == "00005.jpg"
    assert Path(library.search(text="lighthouse", k=1)[0].path).name == "00009.jpg"


@pytest.mark.parametrize("grain", ["kind", "thing", "look"])
@pytest.mark.parametrize("text", ["dog", "a red lighthouse by the sea", "kitchen"])
def test_words_rank_every_picture_exactly(library: Library, text: str, grain: str) -> None:
    hits = library.search(text=text, k=None, grain=grain)
    assert [hit.id for hit in hits] == brute(library, outputs_of(library, text), grain)
    assert [hit.id for hit in library.search(text=text, k=4, grain=grain)] == [hit.id for hit in hits[:4]]
    assert all(a.score >= b.score for a, b in pairwise(hits))


def test_a_filter_holds_for_words(library: Library) -> None:
    hits = library.search(text="dog", k=None, where="id > 12 and album = 'one'")
    everything = {item.id for item in library.items()}
    assert [hit.id for hit in hits] == brute(
        library, outputs_of(library, "dog"), "look", {i for i in everything if i > 12}
    )


def test_a_hit_of_words_has_distances_a_score_and_no_word(library: Library) -> None:
    hit = library.search(text="golden retriever", k=1)[0]
    code = library.words("golden retriever").code
    itself = library.search(code, k=1)[0]
    assert (hit.id, hit.distances, hit.word) == (itself.id, itself.distances, "")
    assert 0.9 < hit.score <= 1
    assert itself.word != ""


def test_within_a_distance_words_ask_by_their_signs(library: Library) -> None:
    words = library.words("golden retriever")
    near = library.search(words.code, k=None, within=60)
    assert [hit.id for hit in library.search(text="golden retriever", k=None, within=60)] == [hit.id for hit in near]
    assert words.code == Codes.from_outputs(outputs_of(library, "golden retriever"), library.grains)


def test_words_and_a_picture_count_alike(library: Library, place: Path) -> None:
    picture = place / "pictures/00009.jpg"
    ends = library.search(picture, text="golden retriever", k=2)
    assert {Path(hit.path).name for hit in ends} == {"00005.jpg", "00009.jpg"}
    bits = library.code(picture).bits()[0] * 2.0 - 1
    text = outputs_of(library, "golden retriever")
    both = bits / np.linalg.norm(bits) + text / np.linalg.norm(text)
    assert [hit.id for hit in library.search(picture, text="golden retriever", k=None)] == brute(library, both, "look")


def test_an_item_beside_words_is_left_out_of_the_answer(library: Library) -> None:
    item = next(item.id for item in library.items() if item.path.endswith("00009.jpg"))
    hits = library.search(item, text="golden retriever", k=None)
    assert item not in {hit.id for hit in hits}
    assert len(hits) == len(library) - 1
    assert Path(hits[0].path).name == "00005.jpg"


def test_the_account_tells_how_words_were_read(library: Library) -> None:
    explained = library.explain(text="a zyxgrbl dog", k=2)
    assert explained.phrase is not None
    assert (explained.phrase.unknown, explained.total, len(explained.hits)) == (("zyxgrbl",), 2, 2)
    assert explained.cost.rows == explained.items == 28
    assert library.explain(1, k=2).phrase is None


@pytest.mark.data
@pytest.mark.parametrize(
    ("text", "right"),
    [("a dog in the snow", "hound"), ("musical instruments", "trombone"), ("car", "cab"), ("🐘", "African_elephant")],
)
def test_the_default_model_finds_photographs_by_words(data: Path, place: Path, text: str, right: str) -> None:
    names = ("Afghan_hound", "trombone", "_cab", "African_elephant", "bighorn", "refrigerator", "hay", "brambling")
    if not (place / "photographs.hg").exists():
        with Library.create(place / "photographs.hg", "photo") as made:
            made.add([next(data.glob(f"photos/*{name}.jpg")) for name in names], workers=0)
    with Library.open(place / "photographs.hg") as library:
        assert right in library.search(text=text, k=1)[0].path


# ---- what cannot be


def test_a_model_without_words_says_so(place: Path) -> None:
    with Library.open(place / "plain.hg") as library, pytest.raises(QueryError, match="knows no words"):
        library.search(text="dog")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no words"),
        ("zyxgrbl", "unknown: zyxgrbl"),
        ("собака", "unknown: собака"),
        ("😂", "unknown: 😂"),
        ("democracy", "not a thing that can be seen: democracy"),
        ("the", "nothing that can be searched for; ignored: the"),
        ("dog " * 2500, "10,000 characters"),
        (7, "a phrase is text"),
    ],
)
def test_a_phrase_that_finds_nothing_says_why(library: Library, text: Any, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        library.search(text=text)


def test_asking_for_nothing_is_an_error(library: Library) -> None:
    with pytest.raises(QueryError, match="nothing was asked"):
        library.search()


GOOD = describe_table(np.random.default_rng(0).uniform(-1, 1, (1000, 16)))
HOSTILE: dict[str, Any] = {
    "no object": 7,
    "a list": [GOOD],
    "empty": {},
    "other classes": {**GOOD, "classes": "imagenet-21k"},
    "no scale": {**GOOD, "scale": None},
    "true": {**GOOD, "scale": True},
    "a scale of text": {**GOOD, "scale": "0.1"},
    "zero": {**GOOD, "scale": 0},
    "negative": {**GOOD, "scale": -0.01},
    "too large": {**GOOD, "scale": 0.5},
    "infinite": {**GOOD, "scale": float("inf")},
    "not a number": {**GOOD, "scale": float("nan")},
    "bytes": {**GOOD, "table": b"AAAA"},
    "short": {**GOOD, "table": GOOD["table"][:-4]},
    "long": {**GOOD, "table": GOOD["table"] + "AAAA"},
    "no base64": {**GOOD, "table": "*" * len(GOOD["table"])},
    "no ascii": {**GOOD, "table": "é" * len(GOOD["table"])},
    "padded": {**GOOD, "table": GOOD["table"][:-4] + "AAA="},
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_bundle_whose_words_are_damaged_or_hostile_is_refused(text: Any) -> None:
    with pytest.raises(BundleError, match="words of model 'm'"):
        read_table({"text": text}, 16, "m")


def test_words_in_a_bundle_survive_being_written(tmp_path: Path) -> None:
    bundle = replace(Bundle.read("default"), others={"text": GOOD})
    bundle.write(tmp_path / "bundle")
    again = Bundle.read(tmp_path / "bundle")
    assert again.code_digest == bundle.code_digest == Bundle.read("default").code_digest
    table = read_table(again.others, 16, "m")
    assert table is not None
    assert table.shape == (1000, 16)
    assert 0.98 < np.abs(table).max() <= 1.01
    assert read_table({}, 16, "m") is None


def test_a_phrase_of_all_classes_alike_has_no_code() -> None:
    table = read_table({"text": GOOD}, 16, "m")
    assert table is not None
    np.testing.assert_allclose(text_code(table, np.full(1000, 1e-3, np.float32)), 0, atol=1e-5)


# ---- the ranking under it


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("at_once", [64, 1 << 16])
def test_agreeing_is_exact_over_all_rows_with_ties_by_id(
    compiled: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hashgrain.hamming.asymmetric.AT_ONCE", at_once)
    if not compiled:
        monkeypatch.setattr(native, "kernels", None)
    rng = np.random.default_rng(5)
    words = rng.integers(0, 2**64, (700, 2), np.uint64) & np.uint64(0x11)  # sixteen values, so many ties
    ids = rng.permutation(5000)[:700]
    alive = rng.random(700) < 0.8
    parts = [rows_of(words[:300], ids[:300], alive[:300]), rows_of(words[300:], ids[300:], alive[300:])]
    outputs = rng.choice([-1.0, -0.5, -0.25, 0.25, 0.5, 1.0], 100)
    bits = np.array([[(int(row[j // 64]) >> (j % 64)) & 1 for j in range(100)] for row in words])
    scores = (2 * bits - 1) @ outputs / np.abs(outputs).sum()
    order = [i for i in np.lexsort((ids, -scores)) if alive[i]]
    for k in (1, 10, 333, 10_000):
        best, cost = agreeing(outputs, parts, k, threads=2)
        assert best.ids.tolist() == ids[order][:k].tolist()
        np.testing.assert_allclose(best.scores, scores[order][:k], atol=1e-9)
        assert cost.rows == alive.sum()


def test_agreeing_with_nothing_or_over_nothing() -> None:
    assert agreeing([1.0, -1.0], [], 3)[0].ids.tolist() == []
    with pytest.raises(QueryError, match="all zero"):
        agreeing([0.0], [], 3)
    with pytest.raises(CodesError):
        agreeing([1.0] * 65, [rows_of(np.zeros((2, 1), np.uint64))], 3)


# ---- the command


def test_the_command_says_how_words_were_read_and_prints_scores(hashgrain: Run, place: Path) -> None:
    done = hashgrain("search", place / "a.hg", "--text", "a golden retriever of zyxgrbl", "-k", 3)
    assert done.returncode == 0
    assert done.stderr.decode() == "golden retriever; ignored: a, of; unknown: zyxgrbl\n"
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert [len(row) for row in rows] == [4, 4, 4]
    assert rows[0][3].endswith("00005.jpg")
    assert 0 <= float(rows[2][0]) <= float(rows[0][0]) <= 1
    assert b"unknown" not in hashgrain("search", place / "a.hg", "--text", "dog zyxgrbl", "-q").stderr


def test_json_tells_how_words_were_read(hashgrain: Run, place: Path) -> None:
    asked = ("search", place / "a.hg", "--text", "red golden retriever and a zyxgrbl", "--json", "-k", 2)
    answer = json.loads(hashgrain(*asked).stdout)
    assert [one["noun"] for one in answer["text"]["found"]] == ["golden retriever"]
    assert (answer["text"]["unknown"], answer["text"]["not_seen"]) == (["zyxgrbl"], [])
    assert answer["text"]["ignored"] == ["red", "and", "a"]
    assert len(answer["hits"]) == 2
    assert {"explain", "text", "hits"} == set(json.loads(hashgrain(*asked, "--explain").stdout))


def test_words_beside_a_picture_a_filter_and_a_page(hashgrain: Run, place: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = hashgrain(
        *("search", place / "a.hg", place / "pictures/00009.jpg", "--text", "<b>golden retriever"),
        *("-w", "id < 20", "--html", page, "--json"),
    )
    names = {Path(hit["path"]).name for hit in json.loads(done.stdout)["hits"][:2]}
    assert names == {"00005.jpg", "00009.jpg"}
    assert "Pictures of “&lt;b&gt;golden retriever” and 00009.jpg" in page.read_text()
    alone = hashgrain("search", place / "a.hg", "--text", "golden retriever", "--html", page)
    assert alone.returncode == 0
    assert "Pictures of “golden retriever”" in page.read_text()


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (("--text", "zyxgrbl"), 1, "error: the phrase has nothing that can be searched for; unknown: zyxgrbl"),
        (("--text", ""), 1, "no words"),
        (("--text", "\x1b[2J\u202edog\u200b"), 0, "dog"),
        (("--text", "dog", "--also", "a.hg"), 2, "--also"),
        (("--text", "dog", "--not-self"), 2, "--not-self"),
        (("pictures", "--text", "dog"), 2, "takes one query"),
        ((), 2, "--text"),
    ],
)
def test_what_the_command_says_of_words_it_cannot_use(
    hashgrain: Run, place: Path, more: tuple[str, ...], code: int, said: str
) -> None:
    done = hashgrain("search", place / "a.hg", *more, cwd=place)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)
    assert said in " ".join(done.stderr.decode().replace("│", " ").split())
    assert b"\x1b[2J" not in done.stderr + done.stdout


def test_a_library_without_words_names_the_remedy(hashgrain: Run, place: Path) -> None:
    done = hashgrain("search", place / "plain.hg", "--text", "dog")
    assert done.returncode == 1
    assert b"knows no words" in done.stderr
    assert b"hashgrain rebuild" in done.stderr


def test_the_model_is_not_loaded_for_words_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "__init__", lambda *_: pytest.fail("loaded"))
    with Library.open(place / "a.hg") as library:
        assert library.search(text="dog", k=1)
