"""`train --recipe adapt`: a model learns a person's own classes on kept features, and keeps what else it knows."""

from __future__ import annotations

import hashlib
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import fill, make_picture
from in_process import hashgrain, refused
from labelled_folder import draw_folder

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("onnx", reason="needs the train extra")

from hashgrain import Codes, Encoder, Grains, Library  # noqa: E402
from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.evaluate import average_precision, tally  # noqa: E402
from hashgrain.learn.adapt import make as make_module  # noqa: E402
from hashgrain.learn.adapt.graph import adapted_graph, check_parity  # noqa: E402
from hashgrain.learn.adapt.head import AdaptedHead, fit_head  # noqa: E402
from hashgrain.learn.adapt.kept import KeptRows  # noqa: E402
from hashgrain.learn.adapt.make import adapt_bundle  # noqa: E402
from hashgrain.learn.adapt.settings import Adaptation, changed  # noqa: E402
from hashgrain.learn.adapt.words import Measured, calibrated, queries_in_words  # noqa: E402
from hashgrain.learn.data.grain_labels import GrainLabels  # noqa: E402
from hashgrain.learn.data.labelled import load_labelled  # noqa: E402
from hashgrain.models import Bundle, Calibration  # noqa: E402
from hashgrain.models.seen import seen_by  # noqa: E402
from hashgrain.models.text import describe_table, read_table  # noqa: E402

pytestmark = pytest.mark.train
QUICK = Adaptation(steps=60)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Pictures of six things to learn from, and others of the same things that nobody learns from."""
    learned, unseen = tmp_path_factory.mktemp("drawn") / "learned", tmp_path_factory.mktemp("unseen")
    draw_folder(learned, each=20)
    for path in sorted(learned.rglob("1?.png")):
        place = unseen / path.relative_to(learned)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, place)
    return learned, unseen


@pytest.fixture(scope="module")
def adapted(drawn: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundle `model` of those pictures, and the folder `run` of its making."""
    place = tmp_path_factory.mktemp("adapted")
    adapt_bundle(Adaptation(steps=200), drawn[0], place / "model", place / "run", silent)
    return place


def silent(text: str) -> None:
    pass


def quality(encoder: Encoder, folder: Path, grain: str) -> float:
    data = load_labelled(folder, encoder.bundle.size[0], ("kind", "thing"), part=None)
    codes, labels = encoder.codes(data.inputs).at(grain), data.levels[grain].only()
    half = np.arange(len(labels)) % 2 == 0
    return float(average_precision(tally(codes[half], codes[~half], labels[half], labels[~half])).mean())


# ---- what it learns, and what it keeps


def test_classes_are_told_better_on_pictures_it_never_saw(adapted: Path, drawn: tuple[Path, Path]) -> None:
    before, after = Encoder.load(), Encoder.load(adapted / "model")
    for grain in ("kind", "thing"):
        assert quality(after, drawn[1], grain) > quality(before, drawn[1], grain) + 0.05


def test_the_bundle_keeps_features_and_says_what_it_was_made_of(adapted: Path, drawn: tuple[Path, Path]) -> None:
    before, made = Bundle.read(), Bundle.read(adapted / "model")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    old, new = (Encoder(each).outputs_and_features(pixels) for each in (before, made))
    np.testing.assert_allclose(old[1], new[1], atol=1e-5)
    assert (np.sign(old[0]) != np.sign(new[0])).any()
    assert made.grains == before.grains
    assert made.training["backbone"]["digest"] == before.code_digest
    assert made.training["data"]["classes"] == {"kind": 2, "thing": 6}
    assert set(made.labels["thing"]) >= {"cold/cold-wide", "warm/warm-narrow"}
    (seen,) = seen_by(made.training)
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in drawn[0].rglob("*.png")]
    assert seen.holds(contents).sum() == made.training["data"]["pictures"] == 48
    card = (adapted / "model/card.md").read_text()
    assert "taught 2 kinds, 6 things" in card
    assert "license" in card


def test_the_license_and_source_of_a_model_that_was_made_are_carried_over(
    drawn: tuple[Path, Path], tmp_path: Path
) -> None:
    source = {"source": "timm:some_net", "license": "cc-by-nc-4.0", "files": {"model.safetensors": "0" * 64}}
    small = Bundle.read("small")
    Bundle("made", small.onnx, small.grains, small.size, others={"source": source}).write(tmp_path / "made")
    lines_of(Adaptation(backbone=f"bundle:{tmp_path / 'made'}", steps=20), drawn[0], tmp_path)
    made = Bundle.read(tmp_path / "model")
    assert made.others["about"]["license"] == made.training["backbone"]["license"] == "cc-by-nc-4.0"
    assert made.training["backbone"]["source"] == source
    card = (tmp_path / "model/card.md").read_text()
    assert "under this license: cc-by-nc-4.0. It was made from timm:some_net." in card


def test_a_head_that_was_taught_nothing_changes_nothing_and_a_model_is_adapted_again() -> None:
    base = Encoder.load()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    outputs, features = base.outputs_and_features(pixels)
    width, bits = features.shape[1], outputs.shape[1]
    nothing = AdaptedHead(features[0], np.zeros((width + bits, bits), np.float32), np.zeros(bits, np.float32))
    twice = adapted_graph(adapted_graph(base.bundle.onnx, nothing), nothing)
    made = Encoder(Bundle("twice", twice, base.grains, base.bundle.size))
    np.testing.assert_allclose(made.outputs(pixels), outputs, atol=1e-5)


def test_a_graph_whose_outputs_are_no_numbers_is_refused() -> None:
    base = Encoder.load("small")
    outputs, features = base.outputs_and_features(np.zeros((1, 64, 64, 3), np.uint8))
    width, bits = features.shape[1], outputs.shape[1]
    head = AdaptedHead(features[0], np.zeros((width + bits, bits), np.float32), np.full(bits, np.nan, np.float32))
    made = Bundle("odd", adapted_graph(base.bundle.onnx, head), base.grains, base.bundle.size)
    with pytest.raises(TrainingError, match="does not compute what its head does"):
        check_parity(made, base, head)


def test_labels_teach_the_bits_of_their_grains_and_no_others() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(60, 24 + 16)).astype(np.float32)
    labels = GrainLabels(("a", "b"), random.integers(0, 2, (60, 1)).astype(np.int32))
    grains = Grains(kind=4, thing=8, look=16)
    head = fit_head(rows, {"thing": labels}, grains, Adaptation(steps=120))
    codes, ids = Codes.from_outputs(head.outputs(rows), grains), labels.only()

    def apart(grain: str) -> float:
        at = codes.at(grain).words[:, 0]
        distances = np.bitwise_count(at[:, None] ^ at[None]) / grains[grain]
        return float(distances[ids[:, None] != ids].mean() - distances[ids[:, None] == ids].mean())

    assert apart("thing") > 0.15
    assert np.array_equal(head.outputs(rows)[:, 8:], rows[:, 32:])  # what tells pictures apart stays as it is


# ---- features are computed once


def lines_of(recipe: Adaptation, data: Path, place: Path) -> list[str]:
    lines: list[str] = []
    adapt_bundle(recipe, data, place / "model", place / "run", lines.append)
    return lines


def test_a_second_run_decodes_nothing_and_makes_the_same_bits(
    drawn: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines_of(QUICK, drawn[0], tmp_path)
    first = Bundle.read(tmp_path / "model")
    monkeypatch.setattr(Encoder, "decode_pool", None)
    lines = lines_of(QUICK, drawn[0], tmp_path)
    assert "features of an earlier run: 60 of 60 pictures" in lines
    assert Bundle.read(tmp_path / "model").code_digest == first.code_digest


def test_edits_that_are_made_in_another_way_are_computed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_module, "LEAST_VALIDATION", 1)
    for name, seeds in (("cats", range(5)), ("dogs", range(20, 25))):
        write(tmp_path / "data" / name, *seeds)

    def edits_computed() -> bool:
        told = lines_of(Adaptation(steps=1), tmp_path / "data", tmp_path)
        return any(line.startswith("near copies:") for line in told)

    assert edits_computed()
    monkeypatch.setattr(make_module, "EDITS_VERSION", 1_000)
    assert edits_computed()


def test_pictures_added_later_cost_only_themselves(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(drawn[0], data)
    lines_of(QUICK, data, tmp_path)
    shutil.copy(drawn[1] / "cold/cold-wide/10.png", data / "cold/cold-wide")
    shutil.copy(data / "cold/cold-wide/1.png", data / "cold/cold-wide/copy.png")
    assert any(line.startswith("features: 1 of 1 pictures") for line in lines_of(QUICK, data, tmp_path))


def test_stopped_in_the_midst_of_features_it_goes_on(
    drawn: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = Encoder.outputs_and_features, [0]

    def stopped(self: Encoder, pixels: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        return whole(self, pixels)

    monkeypatch.setattr(Encoder, "outputs_and_features", stopped)
    with pytest.raises(KeyboardInterrupt):
        lines_of(QUICK, drawn[0], tmp_path)
    assert not (tmp_path / "model").exists()
    assert "features of an earlier run: 32 of 60 pictures" in lines_of(QUICK, drawn[0], tmp_path)


def test_a_damaged_chunk_is_said_and_computed_anew(drawn: tuple[Path, Path], tmp_path: Path) -> None:
    lines_of(QUICK, drawn[0], tmp_path)
    (chunk,) = (tmp_path / "run").rglob("rows-*.npz")
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    lines = lines_of(QUICK, drawn[0], tmp_path)
    assert any("is damaged" in line for line in lines)
    assert any(line.startswith("features: 60 of 60 pictures") for line in lines)


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 224 px 200 more pictures would be 30 MB more."""
    encoder = Encoder.load("photo")
    features, outputs = np.zeros((32, 1280), np.float32), np.zeros((32, encoder.grains.bits), np.float32)
    monkeypatch.setattr(
        encoder, "outputs_and_features", lambda pixels: (outputs[: len(pixels)], features[: len(pixels)])
    )
    folder = fill(tmp_path / "pictures", 400)
    files = sorted(folder.iterdir())

    def peak(count: int) -> int:
        def pictures() -> Iterator[tuple[str, bytes]]:
            for path in files[:count]:
                yield path.name, path.read_bytes()

        tracemalloc.start()
        KeptRows(encoder, tmp_path / str(count)).add(pictures(), count)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)
    assert peak(400) < peak(200) + 10e6


# ---- words


def test_words_are_said_only_where_enough_pairs_say_how_often_they_are_wrong() -> None:
    random = np.random.default_rng(0)
    grains = Grains(thing=64, look=128)
    centers = random.random((20, 128)) < 0.5

    def measured(count: int) -> Measured:
        ids = np.arange(count) % 20
        codes = Codes.from_bits(centers[ids] ^ (random.random((count, 128)) < 0.1), grains)
        edits = [Codes.from_bits(codes.bits() ^ (random.random((count, 128)) < 0.02), grains)]
        labels = GrainLabels(tuple(map(str, range(20))), ids[:, None].astype(np.int32))
        return Measured(codes, {"thing": labels}, codes[:0], codes, edits)

    told = {count: calibrated(measured(count), grains)[0] for count in (10, 40, 100, 900)}
    assert told[10] == {}
    assert set(told[40]["thing"].words) == {"related"}
    assert set(told[100]["thing"].words) == {"near", "related"}
    assert set(told[900]["look"].words) == {"same", "near", "related"}
    assert told[900]["look"].probabilities[2] > 0.9 > 0.1 > told[900]["look"].probabilities[60]


def test_few_pictures_make_no_words_and_the_card_and_the_command_say_why(tmp_path: Path) -> None:
    """Five classes of 19 pictures: 15 kept out, whose pairs cannot tell how often a word would be wrong."""
    for number in range(5):
        write(tmp_path / f"data/thing {number}", *range(100 * number, 100 * number + 19))
    lines = lines_of(QUICK, tmp_path / "data", tmp_path)
    made = Bundle.read(tmp_path / "model")
    assert made.calibration == {}
    assert made.words == {}
    why = [line for line in lines if "no words and no scores" in line]
    assert [line.partition(" ")[0] for line in why] == list(made.grains)
    assert "15 pictures kept out make 90 pairs of different classes, and it takes 150" in why[1]
    assert "15 pictures kept out are too few to make near copies of" in why[2]
    card = (tmp_path / "model/card.md").read_text()
    assert all(f"{line[1:]}." in card for line in why)
    with Library.create(tmp_path / "some.hg", tmp_path / "model") as library:
        library.add(tmp_path / "data")
        for grain in made.grains:
            hits = library.search(tmp_path / "data/thing 0/3.png", k=95, grain=grain)
            assert {hit.word for hit in hits} == {""}


def test_a_word_that_is_missing_is_explained_by_the_pairs_there_are() -> None:
    random = np.random.default_rng(0)
    codes = Codes.from_bits(random.random((60, 128)) < 0.5, Grains(thing=64, look=128))
    labels = GrainLabels(tuple("abcdef"), (np.arange(60) % 6)[:, None].astype(np.int32))
    found, reasons = calibrated(Measured(codes, {"thing": labels}, codes[:0], codes[:0], []), codes.grains)
    assert set(found["thing"].words) == {"related"}
    assert set(found) == {"thing"}
    assert reasons[0].startswith(
        "thing never says same (1,770 pairs that must not be called so, of 375,000) or near (1,500 pairs"
    )
    assert reasons[1].startswith("look has no words and no scores: no label teaches it, and 60 pictures kept out")


def test_a_bundle_without_words_never_says_one() -> None:
    assert Calibration({}, (0.5,) * 3).word(0) == ""
    assert Calibration({"related": 1}, (0.5,) * 3).word(2) == "far"


def test_same_is_said_from_a_hundred_kept_out_of_four_thousand() -> None:
    """Each of those kept out is a stranger to all that were learned from."""
    random = np.random.default_rng(0)
    grains = Grains(thing=64, look=128)
    codes = Codes.from_bits(random.random((4_000, 128)) < 0.5, grains)

    def words(held: int, others: int) -> dict[str, set[str]]:
        labels = GrainLabels(tuple("abcdefghij"), (np.arange(held) % 10)[:, None].astype(np.int32))
        measured = Measured(codes[:held], {"thing": labels}, codes[100 : 100 + others], codes[:40], [codes[:40]])
        return {grain: set(each.words) for grain, each in calibrated(measured, grains)[0].items()}

    assert words(100, 3_900) == {grain: {"same", "near", "related"} for grain in grains}
    assert words(85, 900) == {grain: {"near", "related"} for grain in grains}
    assert words(25, 900)["thing"] == {"related"}


def test_words_ask_for_the_same_where_bits_stay_and_follow_bits_that_change() -> None:
    random = np.random.default_rng(0)
    table = random.normal(size=(1000, 128)).astype(np.float32)
    table /= np.abs(table).max()
    base = Bundle("named", b"", Grains(look=128), (64, 64), others={"text": describe_table(table)})
    before = Codes.from_bits(random.random((2000, 128)) < 0.5, base.grains)
    turned = Codes.from_bits(1 - before.bits(), base.grains)
    for codes, sign in ((before, 1), (turned, -1)):
        rows = read_table(queries_in_words(base, before, codes), 128, "new")
        assert rows is not None
        assert float((rows * table).sum() * sign / np.linalg.norm(rows) / np.linalg.norm(table)) > 0.9
    assert queries_in_words(Bundle("wordless", b"", Grains(look=128), (64, 64)), before, turned) == {}


# ---- the default model, from the command to a search by words


def test_photo_is_adapted_by_default_and_searched_by_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HASHGRAIN_MODEL", "photo")
    fill(tmp_path / "data/one", 6)
    fill(tmp_path / "data/two", 6, start=50)
    trained = hashgrain("train", "--data", "data", "--out", "model", "--recipe", "adapt", "--set", "steps=30")
    assert trained.exit_code == 0, trained.stderr
    made = Bundle.read(tmp_path / "model")
    assert made.name == "photo-adapted"
    assert made.others["about"]["license"] == "Apache-2.0"
    assert "Apache-2.0" in (tmp_path / "model/card.md").read_text()

    import onnxruntime

    session = onnxruntime.InferenceSession(made.onnx, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["outputs", "features", "map"]
    pixels = np.zeros((1, 160, 224, 3), np.uint8)
    assert session.run(["map"], {"pixels": pixels})[0].shape == (1, 1280, 5, 7)

    assert hashgrain("add", "some.hg", "data", "--model", "model").exit_code == 0
    by_words = hashgrain("search", "some.hg", "--text", "a dog", "-k", "3", "--json")
    assert by_words.exit_code == 0, by_words.stderr
    with Library.open(tmp_path / "some.hg") as library:
        hit = library.search(tmp_path / "data/two/00050.jpg", k=1)[0]
    assert hit.path.endswith("00050.jpg")
    assert hit.word == ""  # too few pairs to tell


# ---- bad input: one line that says what to do, and nothing half-written


def refuse(text: str, data: Path, tmp_path: Path, recipe: Adaptation = QUICK) -> None:
    with pytest.raises(TrainingError, match=text) as told:
        adapt_bundle(recipe, data, tmp_path / "model", tmp_path / "run", silent)
    assert "\n" not in str(told.value)
    assert not (tmp_path / "model").exists()


def write(place: Path, *seeds: int) -> None:
    place.mkdir(parents=True)
    for seed in seeds:
        make_picture(seed).save(place / f"{seed}.png")


def one_class(top: Path) -> None:
    write(top / "only", 1, 2, 3)


def one_picture_of_each(top: Path) -> None:
    write(top / "a", 1)
    write(top / "b", 2)
    write(top / "c", 3, 4)


def unreadable(top: Path) -> None:
    for name in ("a", "b"):
        (top / name).mkdir(parents=True)
        for number in "12":
            (top / name / f"{number}.jpg").write_bytes(f"no picture {name}{number}".encode())


def no_pictures(top: Path) -> None:
    top.mkdir()


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (one_class, "one thing only"),
        (one_picture_of_each, "has 1 classes of two pictures or more; adapting takes at least two"),
        (unreadable, "no pictures to train on .*not a picture of a format"),
        (no_pictures, "no pictures to train on"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_too_little_to_learn_from_is_refused(made: Callable[[Path], None], text: str, tmp_path: Path) -> None:
    made(tmp_path / "data")
    refuse(text, tmp_path / "data", tmp_path)


def test_odd_pictures_are_told_of_and_left_out(tmp_path: Path) -> None:
    write(tmp_path / "data/cats", *range(7))
    write(tmp_path / "data/kittens", 5, 6)
    write(tmp_path / "data/dogs", *range(20, 26))
    (tmp_path / "data/dogs/broken.png").write_bytes((tmp_path / "data/dogs/20.png").read_bytes()[:900])
    lines = lines_of(QUICK, tmp_path / "data", tmp_path)
    assert any("classes of fewer than 5 pictures (kittens): bring more of each" in line for line in lines)
    assert any("all of the pictures of 'kittens' are among those of 'cats' too" in line for line in lines)
    assert any(line.startswith("refused: dogs/broken.png") for line in lines)
    assert any("no words and no scores" in line for line in lines)


def test_three_levels_of_labels_teach_two_grains_and_it_is_said_which(tmp_path: Path) -> None:
    """As many grains as the model has that labels teach, and the model keeps its grains."""
    for number, place in enumerate(("birds/ducks/teal", "birds/ducks/eider", "birds/owls/barn", "fish/carps/roach")):
        write(tmp_path / "data" / place, *range(50 * number, 50 * number + 6))
    (line,) = [line for line in lines_of(QUICK, tmp_path / "data", tmp_path) if "the labels have" in line]
    assert "the labels have 3 levels, and labels teach 2 grains (kind, thing)" in line
    assert "kind learns level 2, thing learns level 3; level 1, the coarsest, teaches nothing" in line
    assert "an adapted model keeps its grains; other recipes take grains of your own" in line
    labels = Bundle.read(tmp_path / "model").labels
    assert set(labels["kind"]) == {"birds/ducks", "birds/owls", "fish/carps"}
    assert set(labels["thing"]) == {"birds/ducks/teal", "birds/ducks/eider", "birds/owls/barn", "fish/carps/roach"}


def test_a_setting_that_does_not_exist_is_refused_with_those_that_do() -> None:
    assert changed(["seed=3", "label_weight=1"]) == Adaptation(seed=3, label_weight=1.0)
    for setting, text in (
        ("epochs=3", "there is no 'epochs'; there are backbone, batch"),
        ("steps=many", "is not a whole number"),
        ("label_weight=nan", "is not a number"),
        ("steps=0", "must be 1 or more"),
        ("backbone=timm:resnet18", "bundle:NAME or bundle:FOLDER"),
        ("seed", "takes NAME=VALUE"),
    ):
        with pytest.raises(TrainingError, match=text):
            changed([setting])


def test_a_place_that_cannot_be_written_to_is_said_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = str(tmp_path / "model")
    for out, arguments, text in (
        (tmp_path / "file/model", (), "is not a writable folder"),
        (model, ("--bits", "8,16,32"), "keeps the grains of the model"),
        (model, ("--set", "backbone=bundle:nowhere"), "no model bundle at nowhere"),
    ):
        result = hashgrain("train", "--data", tmp_path, "--recipe", "adapt", "--out", out, *arguments)
        refused(result, model, text)
