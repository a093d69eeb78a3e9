"""Sentences as queries: a library whose model brings a text tower is ranked by it exactly, whatever is typed, and no
tokenizer of a stranger harms who asks."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import Run, fill, make_picture
from hashgrain import Encoder, Library
from hashgrain.errors import BundleError, QueryError
from hashgrain.evaluate import check_model
from hashgrain.models import Bundle, TextTower, tokens
from hashgrain.models.dictionary import CLASSES
from hashgrain.models.text import describe_table
from hashgrain.models.text_encoder import TextEncoder
from made_graphs import bundle_of, integers, node, plain_graph, whole
from made_towers import (
    LENGTH,
    clip_tower,
    floats_of,
    ids_input,
    mask_input,
    summing_graph,
    text_model,
    tokenizer_json,
    wordpiece,
    wordpiece_tower,
)

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="the extra `text` is not installed"
)
WORDS = ["red", "dog", "dogs", "snow", "two", "in", "the"]
TOWERS = {"as BERT has it": wordpiece_tower, "as CLIP has it": clip_tower}


@pytest.fixture(scope="module")
def rows() -> dict[str, NDArray[np.float32]]:
    """What the words say, bit by bit, each in its own strength."""
    drawn = np.random.default_rng(7).normal(size=(len(WORDS), Bundle.read("default").grains.bits))
    return dict(zip(WORDS, drawn.astype(np.float32), strict=True))


@pytest.fixture(scope="module", params=TOWERS)
def path(request: pytest.FixtureRequest, rows: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 30 made pictures, of a model that reads."""
    folder = tmp_path_factory.mktemp("sentences")
    with Library.create(
        folder / "a.hg", replace(Bundle.read("default"), text_tower=TOWERS[request.param](rows))
    ) as made:
        made.add([fill(folder / "pictures", 30)], workers=0, meta={"album": "one"})
        made.remove([3, 17])
    return folder / "a.hg"


@pytest.fixture
def library(path: Path) -> Iterator[Library]:
    with Library.open(path) as opened:
        yield opened


def brute(library: Library, outputs: NDArray[Any], grain: str, ids: set[int] | None = None) -> list[int]:
    """Every item by falling sum of the outputs whose bit is 1, less the others, then id."""
    codes, items = library.codes()
    bits = library.grains[grain]
    scores = (codes.bits()[:, :bits] * 2.0 - 1) @ outputs[:bits]
    pairs = sorted((-round(float(score), 6), item.id) for score, item in zip(scores, items, strict=True))
    return [id for _, id in pairs if ids is None or id in ids]


# ---- what is found


def test_a_word_gives_the_bits_that_its_tower_has_for_it(library: Library, rows: Any) -> None:
    assert np.array_equal(library.words("red").outputs, rows["red"])
    assert np.array_equal(library.words("  Red\n").outputs, rows["red"])
    assert np.array_equal(library.words("red").code.bits()[0], rows["red"] >= 0)


@pytest.mark.parametrize("grain", ["kind", "thing", "look"])
@pytest.mark.parametrize("text", ["red", "two dogs in the snow"])
def test_sentences_rank_every_picture_exactly(library: Library, rows: Any, text: str, grain: str) -> None:
    expected = sum(rows[word] for word in text.split())
    hits = library.search(text=text, k=None, grain=grain)
    assert [hit.id for hit in hits] == brute(library, expected, grain)
    assert len(hits) == len(library) == 28
    assert all(a.score >= b.score and a.word == "" for a, b in pairwise(hits))
    filtered = library.search(text=text, k=5, grain=grain, where="id > 12 and album = 'one'")
    everything = {item.id for item in library.items()}
    assert [hit.id for hit in filtered] == brute(library, expected, grain, {i for i in everything if i > 12})[:5]


def test_a_sentence_and_a_picture_count_alike(library: Library, rows: Any) -> None:
    picture = library.path.parent / "pictures/00009.jpg"
    bits = library.code(picture).bits()[0] * 2.0 - 1
    both = bits / np.linalg.norm(bits) + rows["red"] / np.linalg.norm(rows["red"])
    assert [hit.id for hit in library.search(picture, text="red", k=None)] == brute(library, both, "look")


def test_within_a_distance_sentences_ask_by_their_signs(library: Library) -> None:
    near = library.search(library.words("red dog").code, k=None, within=64)
    assert [hit.id for hit in library.search(text="red dog", k=None, within=64)] == [hit.id for hit in near]


def test_a_phrase_that_says_nothing_at_a_grain_is_an_error_there_alone(rows: Any, tmp_path: Path) -> None:
    grains = Bundle.read("small").grains
    late = {"late": np.where(np.arange(grains.bits) < grains["thing"], 0, rows["red"])}
    with Library.create(tmp_path / "a.hg", replace(Bundle.read("small"), text_tower=wordpiece_tower(late))) as library:
        library.add([fill(tmp_path / "pictures", 3)], workers=0)
        assert all(0 <= hit.score <= 1 for hit in library.search(text="late"))
        for grain, within in (("kind", None), ("thing", None), ("thing", 4)):
            with pytest.raises(QueryError, match=f"tells nothing about .*late.* at {grain}; ask at another") as raised:
                library.search(text="late", grain=grain, within=within)
            assert "\n" not in str(raised.value)


def test_a_tower_is_asked_before_a_table_of_classes(rows: Any, tmp_path: Path) -> None:
    table = {"text": describe_table(np.random.default_rng(0).uniform(-1, 1, (CLASSES, 128)))}
    both = replace(Bundle.read("small"), others=table, text_tower=wordpiece_tower(rows))
    with Library.create(tmp_path / "a.hg", both) as library:
        assert np.array_equal(library.words("dog").outputs, rows["dog"])
        assert library.info()["reads"] == "sentences"


# ---- what is said


def test_the_account_says_that_a_sentence_was_read(library: Library) -> None:
    phrase = library.explain(text="two  dogs\tin the snow", k=1).phrase
    assert phrase is not None
    assert phrase.summary() == "read as a sentence: two dogs in the snow"
    empty: dict[str, Any] = {"found": [], "ignored": [], "unknown": [], "not_seen": []}
    assert phrase.as_dict() == {
        "text": "two  dogs\tin the snow",
        **empty,
        "read": "two dogs in the snow",
        "cut": False,
    }


def test_ten_thousand_characters_are_cut_and_said_to_be(library: Library, rows: Any) -> None:
    words = library.words("dog snow red " * 770)
    assert words.phrase.summary().endswith("; too long, read up to: dog snow red dog snow red")
    assert np.allclose(words.outputs, 2 * (rows["dog"] + rows["snow"] + rows["red"]), atol=1e-5)
    assert words.phrase.as_dict()["cut"] is True
    assert len(words.phrase.summary()) < 200
    with pytest.raises(QueryError, match="100,001 characters; ask with at most 100,000"):
        library.words("d" * 100_001)
    one_word = library.words("red " + "d" * 10_000)
    assert len(one_word.phrase.summary()) < 300


@pytest.mark.parametrize("text", ["", " ", "\n\t  ", "\0", "\x1b\x07", "\ud800", "\u202e", "\u200d", "\ue000"])
def test_a_phrase_without_letters_is_an_error_that_says_what_to_ask(text: str, library: Library) -> None:
    with pytest.raises(QueryError, match="the phrase has no words; ask for something that pictures show"):
        library.search(text=text)


@pytest.mark.parametrize("text", ["red\0", "\x1b red\x07", "\ud800red", "\u202ered", "\ufeffred\r\n"])
def test_controls_and_halves_of_letters_are_left_out(text: str, library: Library, rows: Any) -> None:
    words = library.words(text)
    assert np.array_equal(words.outputs, rows["red"])
    assert words.phrase.summary() == "read as a sentence: red"


def test_what_the_tokenizer_does_not_know_is_named_and_alone_is_an_error(rows: Any) -> None:
    with opened(wordpiece_tower(rows)) as reads:
        read = reads.read("zebra red 雪地里的狗 🦓 dog")
        assert read.unknown == ("zebra", "雪", "地", "里", "的")  # and then it is cut
        assert np.array_equal(reads.read("zebra red 🦓").outputs, rows["red"])
        for nothing in ("zebra", "🦓🦓", "雪地里的狗", "?"):
            with pytest.raises(QueryError, match="nothing that the model 'made' knows: "):
                reads.read(nothing)


def test_chinese_and_emoji_are_read_by_a_tower_of_bytes(rows: Any, tmp_path: Path) -> None:
    reads = replace(Bundle.read("default"), text_tower=clip_tower(rows, 32))
    with Library.create(tmp_path / "a.hg", reads) as library:
        for text in ("red 狗", "red 🐕‍🦺", "red été"):
            words = library.words(text)
            assert np.array_equal(words.outputs, rows["red"])
            assert words.phrase.summary() == f"read as a sentence: {text}"
        with pytest.raises(QueryError, match="tells nothing about read as a sentence: 狗"):  # rows of nothing
            library.words("狗")


def test_letters_are_made_small_where_the_tower_says_so() -> None:
    row = np.ones(3, np.float32)
    plain = tokenizer_json(
        {"type": "WordLevel", "vocab": {"?": 0, "red": 1, "i\u0307s": 2}, "unk_token": "?"},
        pre_tokenizer={"type": "WhitespaceSplit"},
    )
    made = TextTower(summing_graph(np.stack([0 * row, row, 2 * row])), plain, LENGTH, 0, lower=True)
    with opened(made) as reads:
        assert np.array_equal(reads.read("RED").outputs, row)
        assert reads.read("RED İS").outputs.tolist() == [3, 3, 3]
        assert reads.read("RED " * 9).read == "red red red red red red red red"
    with opened(replace(made, lower=False)) as reads, pytest.raises(QueryError, match="knows: RED"):
        reads.read("RED")


def test_parts_that_a_model_of_pieces_does_not_know_are_named() -> None:
    """Unigram, as multilingual models have it, leaves the text where the others put a token."""
    pieces = [["<unk>", 0.0], ["▁red", -1.0], ["▁dog", -2.0], ["▁", -3.0]]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    plain = tokenizer_json({"type": "Unigram", "unk_id": 0, "vocab": pieces}, pre_tokenizer=metaspace)
    rows = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    with opened(TextTower(summing_graph(rows), plain, LENGTH, 0)) as reads:
        read = reads.read("red 狗 dog")
        assert (read.unknown, read.outputs.tolist()) == (("狗",), [1, 1, 1])


# ---- on the command line


@pytest.mark.parametrize("path", ["as CLIP has it"], indirect=True)
def test_the_command_says_how_the_sentence_was_read(path: Path, hashgrain: Run) -> None:
    plain = hashgrain("search", path, "--text", "two dogs in the snow", "-k", "2", "--explain")
    assert b"read as a sentence: two dogs in the snow" in plain.stderr
    assert b"found by" in plain.stderr
    assert len(plain.stdout.splitlines()) == 2
    said = json.loads(hashgrain("search", path, "--text", "red " * 20, "--json", "-k", "3").stdout)
    assert said["text"]["cut"] is True
    assert said["text"]["read"] == "red red red red red red"
    with Library.open(path) as library:
        assert [hit["id"] for hit in said["hits"]] == [hit.id for hit in library.search(text="red " * 20, k=3)]
    bad = hashgrain("search", path, "--text", " ")
    assert (bad.returncode, bad.stderr.count(b"\n")) == (1, 1)


def test_the_check_of_a_model_tells_whether_its_tower_reads(rows: Any) -> None:
    pictures = [make_picture(seed) for seed in range(3)]

    def text_finding(made: TextTower) -> Any:
        encoder = Encoder(replace(Bundle.read("default"), text_tower=made))
        return {finding.name: finding for finding in check_model(encoder, pictures)}.get("text")

    sound = wordpiece_tower({**rows, "car": 2 * rows["red"], "table": rows["red"] + rows["dog"]})
    assert text_finding(sound).passed is True
    assert "pip install" not in text_finding(sound).reason
    deaf = replace(sound, onnx=summing_graph(np.zeros((13, 128), np.float32)))
    assert text_finding(deaf).passed is False
    assert text_finding(replace(sound, tokenizer=b"nothing")).passed is False
    assert text_finding(replace(sound, tokenizer=wordpiece(["chien"]))).passed is None


# ---- tokenizers that do harm


def opened(made: TextTower) -> Any:
    """Closed behind it."""
    from contextlib import closing

    return closing(TextEncoder(replace(bundle_of_bits(made), text_tower=made)))


def bundle_of_bits(made: TextTower) -> Bundle:
    """A bundle as wide as the tower: of three bits, or of the default model's."""
    small = bundle_of(plain_graph())
    wide = b"batch" in made.onnx and len(made.onnx) > 2000
    return replace(Bundle.read("default"), name="made") if wide else small


def grows(times: int) -> dict[str, Any]:
    """A normalizer that makes of each letter a thousand, so many times over."""
    thousand = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 1000}
    return {"type": "Sequence", "normalizers": [thousand] * times}


def with_tokenizer(content: bytes) -> TextTower:
    return TextTower(summing_graph(np.eye(6, 3, dtype=np.float32)), content, LENGTH, 0)


LEVEL = {"type": "WordLevel", "vocab": {"?": 0, "a": 1, "b": 2}, "unk_token": "?"}
SPLIT = {"type": "WhitespaceSplit"}
BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "cannot be used"),
    "not JSON": (b"PK\3\4", "cannot be used"),
    "not text": (b"\xff\xfe" * 50, "cannot be used"),
    "a list": (b"[1, 2]", "cannot be used"),
    "nested without end": (b"[" * 1_000_000, "cannot be used"),
    "nested without end in an object": (b'{"model": ' + b"[" * 1_000_000, "cannot be used"),
    "no model": (b"{}", "cannot be used"),
    "a model of a kind unknown": (tokenizer_json({"type": "Evil", "vocab": {}}), "cannot be used"),
    "a model of odd keys": (tokenizer_json({"type": "BPE", "vocab": [], "merges": 5}), "cannot be used"),
    "merges of what is not there": (
        tokenizer_json({"type": "BPE", "vocab": {"a": 0}, "merges": [["x", "y"]]}),
        "cannot be used",
    ),
    "no vocabulary": (tokenizer_json({"type": "WordLevel", "vocab": {}, "unk_token": "?"}), "cannot be used"),
    "a pattern that is none": (
        tokenizer_json(LEVEL, normalizer={"type": "Replace", "pattern": {"Regex": "("}, "content": ""}),
        "cannot be used",
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_tokenizer_is_an_error_in_one_short_line(what: str) -> None:
    content, reason = BAD[what]
    with opened(with_tokenizer(content)) as reads:
        for _ in range(2):  # and again
            with pytest.raises(BundleError, match="the tokenizer of model 'made'") as caught:
                reads.read("a a a")
            assert reason in str(caught.value)
            assert len(str(caught.value)) < 400
            assert "\n" not in str(caught.value)


def test_a_tokenizer_that_takes_memory_without_end_is_ended_and_costs_this_process_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A phrase of three letters would grow to 3 * 10^12."""
    monkeypatch.setattr(tokens, "BASE_MEMORY", 300 << 20)
    with (
        opened(with_tokenizer(tokenizer_json(LEVEL, normalizer=grows(4)))) as reads,
        pytest.raises(BundleError, match="the tokenizer of model 'made' ends its process while it reads this phrase"),
    ):
        reads.read("a a a")


def test_a_tokenizer_that_takes_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(with_tokenizer(tokenizer_json(LEVEL, normalizer=grows(2), pre_tokenizer=SPLIT))) as reads:
        reads.read("b a")
        monkeypatch.setattr(tokens, "SECONDS", 0.1)
        with pytest.raises(BundleError, match=r"takes longer than 0\.1 s"):
            reads.read("b" + " a" * 10)
        monkeypatch.undo()
        assert reads.read("b a").read == "b a"  # by another process


def test_ids_that_the_network_has_no_row_for_are_an_error(rows: Any) -> None:
    made = wordpiece_tower(rows)
    more = replace(made, tokenizer=wordpiece([*WORDS, "cat"]))
    with opened(more) as reads:
        assert np.array_equal(reads.read("red").outputs, rows["red"])
        with pytest.raises(BundleError, match="the text graph of model 'made' fails while it runs") as caught:
            reads.read("a cat")
        assert "\n" not in str(caught.value)


def test_a_tokenizer_whose_own_tokens_do_not_fit_is_an_error(rows: Any) -> None:
    short = replace(wordpiece_tower(rows, 1), length=1)
    with opened(short) as reads, pytest.raises(BundleError, match="more tokens than its network takes"):
        reads.read("red dog")


def test_outputs_that_are_no_numbers_are_an_error() -> None:
    poison = np.zeros((6, 3), np.float32)
    poison[4] = 1
    poison[5] = np.nan
    graph = text_model(
        [
            node("Gather", ["rows", "ids"], ["each"]),
            node("ReduceSum", ["each", "one"], ["outputs"], [whole("keepdims", 0)]),
        ],
        [floats_of("rows", poison), integers("one", 1)],
        [ids_input(), mask_input()],
        3,
    )
    with opened(TextTower(graph, wordpiece(["red", "dog"]), LENGTH, 0)) as reads:
        assert reads.read("red").outputs.tolist() == [1, 1, 1]
        with pytest.raises(BundleError, match="outputs that are no numbers"):
            reads.read("dog")


# ---- the process


def test_the_process_ends_with_the_library_and_is_started_again_when_it_died(path: Path, rows: Any) -> None:
    with Library.open(path) as library:
        library.search(text="red", k=1)
        process = library.text_encoder._tokenizer._process
        assert process is not None
        process.kill()
        process.wait()
        assert np.array_equal(library.words("red").outputs, rows["red"])
        again = library.text_encoder._tokenizer._process
        assert again is not None
        assert again.poll() is None
    assert again.poll() is not None


def test_threads_that_ask_at_once_get_their_own_answers(path: Path, rows: Any) -> None:
    wrong: list[str] = []

    def ask(word: str, library: Library) -> None:
        for _ in range(20):
            wrong.extend([word] * (not np.array_equal(library.words(word).outputs, rows[word])))

    with Library.open(path) as library:
        library.words("red")
        threads = [threading.Thread(target=ask, args=(word, library)) for word in WORDS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_the_process_outlives_the_thread_that_asked_first(path: Path) -> None:
    with Library.open(path) as library:
        thread = threading.Thread(target=library.words, args=("red",))
        thread.start()
        thread.join()
        process = library.text_encoder._tokenizer._process
        assert process is not None
        time.sleep(0.2)
        library.words("dog")
        assert library.text_encoder._tokenizer._process is process
        assert process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_the_process_ends_with_its_parent(path: Path) -> None:
    script = (
        "import sys, time; from hashgrain import Library; library = Library.open(sys.argv[1]); library.words('red');"
        "print(library.text_encoder._tokenizer._process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or " Z " in Path(f"/proc/{child}/stat").read_text():
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the tokenizer outlived who opened it")


def test_searching_by_pictures_loads_neither_tower_nor_tokenizer(path: Path) -> None:
    script = (
        "import sys; from hashgrain import Library; library = Library.open(sys.argv[1]); library.search(1, k=2);"
        "print(*sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert not {"hashgrain.models.tokens", "hashgrain.models.text_encoder", "tokenizers"} & set(printed.stdout.split())
