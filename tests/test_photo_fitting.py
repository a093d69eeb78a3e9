"""How the `photo` model is made: nothing reported on is fitted on, and each step does what it says."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from conftest import make_picture
from hashgrain.evaluate.near_copies import MILD

torch = pytest.importorskip("torch", reason="making models needs hashgrain[train]")
pytest.importorskip("onnx", reason="making models needs hashgrain[train]")

from hashgrain.errors import TrainingError  # noqa: E402
from hashgrain.learn.distill import Material, Settings, distill  # noqa: E402
from hashgrain.learn.photo.calibrate import largest_within, probabilities  # noqa: E402
from hashgrain.learn.photo.features import Traits  # noqa: E402
from hashgrain.learn.photo.graph import layout_model  # noqa: E402
from hashgrain.learn.photo.head import Classifier, class_embedding, reflected, unit  # noqa: E402
from hashgrain.learn.photo.layout import WIDTH  # noqa: E402
from hashgrain.learn.photo.torch_file import tensors_of  # noqa: E402
from hashgrain.learn.photo.tree import lin_similarity, shipped  # noqa: E402
from hashgrain.learn.training.steady import Analysis, steady_bits  # noqa: E402
from hashgrain.models.probabilities import Pairs, falling  # noqa: E402
from hashgrain.models.weights import computed  # noqa: E402

pytestmark = [pytest.mark.train]


@pytest.mark.data
def test_nothing_reported_on_is_fitted_on(data: Path) -> None:
    from hashgrain.learn.photo.make import check_nothing_reported, reported_contents
    from hashgrain.learn.photo.sets import FittingSets
    from hashgrain.models import Bundle
    from hashgrain.models.seen import seen_by

    reported = sorted(reported_contents(data))
    assert len(reported) > 70_000
    (seen,) = seen_by(Bundle.read("photo").training)
    nothing = Traits(np.empty((0, 1280), np.float32), np.empty((0, WIDTH), np.float32))
    sets = FittingSets(*[nothing] * 5, np.empty(0, np.int64), ["0" * 64, reported[0]])
    with pytest.raises(TrainingError, match="1 pictures that are reported on"):
        check_nothing_reported(sets, data)
    assert seen.holds(reported).mean() < 3 * seen.false_yes + 1e-3 / len(reported) ** 0.5


@pytest.mark.data
def test_the_pictures_that_are_fitted_on_are_those_the_model_names(data: Path) -> None:
    from hashgrain.learn.photo.sets import sharp_pictures
    from hashgrain.models import Bundle
    from hashgrain.models.seen import seen_by

    (seen,) = seen_by(Bundle.read("photo").training)
    assert seen.holds([shot.sha256 for shot in sharp_pictures(data)]).all()


def saved(state: dict[str, object]) -> bytes:
    file = io.BytesIO()
    torch.save(state, file, _use_new_zipfile_serialization=False)
    return file.getvalue()


def test_tensors_are_found_without_unpickling() -> None:
    state = {
        "a": torch.randn(3, 4, 5),
        "turned": torch.randn(4, 6).T,
        "count": torch.tensor(7),
        "cut": torch.randn(10)[3:7],
    }
    content = saved(state)
    for record in tensors_of(content):
        steps = [int(record.dtype[-1]) * stride for stride in record.strides]
        found = np.ndarray(record.shape, record.dtype, content, record.offset, steps)
        assert np.array_equal(found, state[record.name].numpy())


def test_a_file_that_would_run_something_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "touched",))

    content = saved({"a": torch.zeros(2), "evil": Evil()})
    with pytest.raises((TrainingError, AttributeError, ValueError, KeyError, TypeError)):
        tensors_of(content)
    assert not (tmp_path / "touched").exists()


def test_folding_is_what_the_normalized_convolution_computes() -> None:
    convolution, norm = torch.nn.Conv2d(3, 5, 3, bias=False), torch.nn.BatchNorm2d(5, eps=1e-3)
    for tensor in (norm.weight, norm.bias, norm.running_mean):
        torch.nn.init.normal_(tensor)
    torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    names = {"weight": convolution.weight, "gamma": norm.weight, "beta": norm.bias}
    names |= {"mean": norm.running_mean, "variance": norm.running_var}
    content = saved({name: tensor.detach() for name, tensor in names.items()})
    records = {r.name: [r.offset, list(r.shape), list(r.strides)] for r in tensors_of(content)}
    weight = computed(content, "weight", {name: records[name] for name in ("weight", "gamma", "variance")})
    bias = computed(content, "bias", {name: records[name] for name in ("beta", "mean", "gamma", "variance")})
    pixels = torch.randn(2, 3, 8, 8)
    expected = norm.eval()(convolution(pixels))
    found = torch.nn.functional.conv2d(pixels.double(), torch.from_numpy(weight), torch.from_numpy(bias))
    assert torch.allclose(found, expected.double(), atol=1e-5)


def test_the_tree_puts_relatives_close() -> None:
    tree = shipped()
    similar = lin_similarity(tree)
    assert similar.shape == (1000, 1000)
    assert np.allclose(similar, similar.T)
    tabby, tiger_cat, volcano = 281, 282, 980
    assert similar[tabby, tiger_cat] > 0.7 > 0.2 > similar[tabby, volcano]
    vectors = class_embedding(similar**2)
    close = unit(vectors) @ unit(vectors).T
    assert close[tabby, tiger_cat] > close[tabby, volcano] + 0.3


def test_a_reflected_picture_is_of_the_class_it_was_reflected_onto() -> None:
    random = np.random.default_rng(0)
    empty = np.zeros((40, 2), np.float32)
    classifier = Classifier(
        random.normal(size=(40, 16)).astype(np.float32), random.normal(size=40).astype(np.float32), *[empty] * 4
    )
    features = random.normal(size=(200, 16)).astype(np.float32)
    wanted = random.integers(0, 40, 200)
    before, after = classifier.logits(features), classifier.logits(reflected(features, wanted, classifier))
    first, rows = before.argmax(axis=1), np.arange(200)
    differences = before[rows, first] - before[rows, wanted]
    assert np.allclose(after[rows, wanted] - after[rows, first], differences, atol=1e-3)
    assert (after.argmax(axis=1) == wanted).mean() > (first == wanted).mean() + 0.3


def layouts_of(pixels: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(layout_model(), providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(["features"], {"pixels": pixels})[0]
    return found


@pytest.mark.parametrize(("height", "width"), [(224, 224), (128, 512), (161, 333)])
def test_the_layout_is_the_lowest_frequencies_of_each_color(height: int, width: int) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (2, height, width, 3), np.uint8)
    pixels[:, : height // 3, width // 2 :, 0] //= 4
    planes = np.moveaxis(pixels / 127.5 - 1, 3, 1)
    y = planes[:, 0] * 0.299 + planes[:, 1] * 0.587 + planes[:, 2] * 0.114
    blue, red = (planes[:, 2] - y) / 1.772, (planes[:, 0] - y) / 1.402

    def waves(length: int, count: int) -> np.ndarray:
        middles = (np.arange(length) + 0.5) / length
        return np.array([np.cos(np.pi * u * middles) * (2**0.5 if u else 1) / length for u in range(count)])

    def low(plane: np.ndarray, count: int) -> np.ndarray:
        found = waves(height, count) @ plane @ waves(width, count).T
        found[..., 1::2] = np.abs(found[..., 1::2])
        return found.reshape(len(plane), -1)

    bright, color = low(y, 8)[:, 1:], np.concatenate([low(blue, 2), low(red, 2)], axis=1)
    scaled = [
        part / (np.linalg.norm(part, axis=1, keepdims=True) + flat) for part, flat in ((bright, 0.04), (color, 0.16))
    ]
    assert np.allclose(layouts_of(pixels), np.concatenate(scaled, axis=1), atol=1e-5)


def test_a_mirror_leaves_the_layout_and_so_do_blur_and_compression_nearly() -> None:
    images = [make_picture(seed, (224, 224)) for seed in range(8)]

    def layouts(changed: list[Image.Image]) -> np.ndarray:
        return layouts_of(np.stack([np.asarray(image) for image in changed]))

    own = layouts(images)
    assert np.allclose(layouts([MILD["mirror"](image) for image in images]), own, atol=1e-5)
    apart = np.linalg.norm(own[:, None] - own[None], axis=2)[np.triu_indices(8, 1)]
    for name in ("blur", "JPEG quality 10", "resize to 25 %", "color shift"):
        moved = np.linalg.norm(layouts([MILD[name](image).resize((224, 224)) for image in images]) - own, axis=1)
        assert moved.max() < apart.min() / 2, name


def test_a_picture_that_shows_nothing_has_a_layout_of_nothing() -> None:
    plain = layouts_of(np.full((1, 128, 128, 3), 128, np.uint8))
    assert np.abs(plain).max() < 1e-4


def test_steady_bits_keep_what_edits_leave_of_pictures_never_seen() -> None:
    random = np.random.default_rng(2)
    width = 100
    strength = np.where(np.arange(width) < 6, 10.0, 0.2)  # edits change a few features more than pictures do

    def pictures_and_edits(count: int) -> tuple[np.ndarray, np.ndarray]:
        pictures = random.normal(size=(count, width)).astype(np.float32)
        return pictures, (pictures + random.normal(size=(count, width)) * strength).astype(np.float32)

    known, edited = pictures_and_edits(400)
    steady = steady_bits(known, known, edited, 64, 0, Analysis(80))
    new, changed = pictures_and_edits(300)

    def found(weight: np.ndarray, bias: np.ndarray) -> float:
        own, others = new @ weight.T + bias >= 0, changed @ weight.T + bias >= 0
        apart = (others[:, None] ^ own[None]).sum(axis=2)
        return float((apart.argmin(axis=1) == np.arange(len(new))).mean())

    plain = random.normal(size=(64, width))
    assert found(steady.weight, steady.bias) > 2 * found(plain, np.zeros(64))
    balance = ((new @ steady.weight.T + steady.bias) >= 0).mean(axis=0)
    assert np.abs(balance - 0.5).max() < 0.2


def test_steady_bits_are_the_same_each_time_and_others_for_another_seed() -> None:
    random = np.random.default_rng(3)
    known = random.normal(size=(90, 20)).astype(np.float32)
    edited = (known + 0.1 * random.normal(size=known.shape)).astype(np.float32)
    first, again, other = (steady_bits(known, known, edited, 32, seed, Analysis(20)) for seed in (5, 5, 6))
    assert np.array_equal(first.weight, again.weight)
    assert np.array_equal(first.bias, again.bias)
    assert not np.array_equal(first.weight, other.weight)


def test_a_distilled_head_ranks_as_its_teacher_does_better_than_chance_projections() -> None:
    random = np.random.default_rng(1)
    centers = random.normal(size=(12, 32))
    own = random.integers(0, 12, 600)
    features = (centers[own] + random.normal(size=(600, 32))).astype(np.float32)
    teacher = unit(centers[own] + 0.1 * random.normal(size=(600, 32)))
    nothing = np.empty((0, 32), np.float32)
    material = Material(features, [teacher, teacher], nothing, nothing)
    head = distill(
        material,
        [16, 32],
        0,
        Settings(steps=150, batch=128, teacher_temperatures=(0.1, 0.1), code_temperatures=(0.2, 0.15)),
    )

    def right(weight: np.ndarray) -> float:
        bits = features @ weight.T >= 0
        apart = (bits[:, None] ^ bits[None]).sum(axis=2).astype(float)
        np.fill_diagonal(apart, 99)
        return float((own[np.argsort(apart, axis=1)[:, :10]] == own[:, None]).mean())

    for bits in (16, 32):
        learned = right(head.weight.detach().numpy()[:bits])
        assert learned > right(random.normal(size=(bits, 32))) + 0.05
        assert learned > 0.8


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.1, 10)), min_size=1, max_size=12))
def test_the_closest_falling_sequence_is_found(pairs: list[tuple[float, float]]) -> None:
    values, weights = (np.array(column) for column in zip(*pairs, strict=True))
    found = falling(values, weights)
    assert (np.diff(found) <= 1e-9).all()
    assert np.isclose((found * weights).sum(), (values * weights).sum())
    # What is optimal correlates with no falling direction: (Barlow et al., 1972) for every prefix.
    assert (np.cumsum((values - found) * weights) <= 1e-6).all()


def test_no_word_is_said_more_often_of_strangers_than_it_may_be() -> None:
    wrong = np.random.default_rng(0).binomial(64, 0.5, 100_000)
    for share in (1e-5, 1e-3, 2e-2):
        most = largest_within(wrong, 64, share)
        assert (wrong <= most).mean() <= share < (wrong <= most + 1).mean()


def test_probabilities_fall_from_near_one_to_near_zero() -> None:
    random = np.random.default_rng(0)
    falling_probabilities = probabilities(
        Pairs(random.binomial(64, 0.1, 10_000), random.binomial(64, 0.5, 100_000)), 64
    )
    assert len(falling_probabilities) == 65
    assert falling_probabilities[0] > 0.99 > 0.01 > falling_probabilities[-1]
    assert all(before >= after for before, after in pairwise(falling_probabilities))
