"""The reference rows: deterministic, right where the answer is known, and clear about what they cannot do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conftest import make_picture
from hashgrain.codes import Codes
from hashgrain.errors import CodesError, EvaluationError
from hashgrain.evaluate import Paths, references, sets_of
from hashgrain.evaluate.cases import reference_cases
from hashgrain.evaluate.described import Described
from hashgrain.evaluate.product_quantizer import ProductQuantizer
from hashgrain.evaluate.protocols import protocol
from hashgrain.evaluate.references import (
    Hash,
    check_features,
    classifier,
    color_histogram,
    itq,
    lsh,
    pca_rotation,
    perceptual_hash,
    unit,
)
from hashgrain.evaluate.splitting import split
from made_pools import pool_of

FITTED: list[Callable[[NDArray[np.float32], int, int], Hash]] = [lsh, pca_rotation, itq]


def made_features(n: int = 400, values: int = 24, seed: int = 0) -> NDArray[np.float32]:
    """Clusters off the origin, with axes of different lengths."""
    dice = np.random.default_rng(seed)
    centers = dice.normal(size=(8, values)) * 2
    rows = centers[dice.integers(0, 8, n)] + dice.normal(size=(n, values)) * np.geomspace(2, 0.1, values) + 5
    return np.asarray(rows, np.float32)


# --- codes fitted on features


@pytest.mark.parametrize("fit", FITTED)
def test_a_seed_gives_the_same_codes_and_another_seed_others(fit: Callable[..., Hash]) -> None:
    features = made_features()
    codes = fit(features, 16, 3)(features)
    assert codes.grains.bits == 16
    assert len(codes) == len(features)
    assert codes == fit(features, 16, 3)(features)
    assert codes != fit(features, 16, 4)(features)


@pytest.mark.parametrize("fit", FITTED)
def test_codes_of_a_picture_do_not_depend_on_those_beside_it(fit: Callable[..., Hash]) -> None:
    features, others = made_features(), made_features(seed=1)
    encode = fit(features, 16, 0)
    assert Codes.concatenate([encode(others[:7]), encode(others[7:])]) == encode(others)
    assert len(encode(others[:0])) == 0


@pytest.mark.parametrize("fit", FITTED)
def test_near_features_get_near_codes(fit: Callable[..., Hash]) -> None:
    dice = np.random.default_rng(0)
    features = made_features()
    encode = fit(features, 24, 0)
    moved = features + 0.05 * dice.normal(size=features.shape).astype(np.float32)
    near = (encode(features).bits() != encode(moved).bits()).mean()
    far = (encode(features).bits() != encode(features[::-1].copy()).bits()).mean()
    assert near < 0.25 * far


def projected(fit: Callable[..., Hash], bits: int, monkeypatch: pytest.MonkeyPatch) -> tuple[NDArray, NDArray]:
    """The mean that a hash takes off and the directions that it looks along."""
    monkeypatch.setattr(references, "_signs", lambda mean, projection, _: (mean, projection))
    return fit(made_features(), bits, 0)  # type: ignore[return-value]


def test_pca_looks_along_the_directions_of_the_svd(monkeypatch: pytest.MonkeyPatch) -> None:
    features = made_features().astype(np.float64)
    _, _, directions = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    for fit in (pca_rotation, itq):
        mean, projection = projected(fit, 6, monkeypatch)
        assert np.allclose(mean, features.mean(axis=0), atol=1e-4)
        assert np.allclose(projection.T @ projection, np.eye(6), atol=1e-6)  # orthogonal directions, turned
        assert np.allclose(projection @ projection.T, directions[:6].T @ directions[:6], atol=1e-3)  # the same plane


@pytest.mark.parametrize("bits", [2, 8, 24])
def test_itq_comes_nearer_to_the_signs_than_a_random_rotation(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(fit: Callable[..., Hash]) -> float:
        mean, projection = projected(fit, bits, monkeypatch)
        values = (made_features() - mean) @ projection
        return float(((np.where(values >= 0, 1, -1) - values) ** 2).sum())

    assert loss(itq) < (1 if bits == 2 else 0.99) * loss(pca_rotation)


@pytest.mark.parametrize("bits", [25, 400, 0, -1])
@pytest.mark.parametrize("fit", [pca_rotation, itq])
def test_more_directions_than_there_are_is_a_clear_error(fit: Callable[..., Hash], bits: int) -> None:
    with pytest.raises(EvaluationError, match=rf"PCA of 400 x 24 features gives no {bits} directions"):
        fit(made_features(), bits, 0)
    with pytest.raises(EvaluationError, match=r"PCA of 8 x 24 features gives no 8 directions"):
        fit(made_features(n=8), 8, 0)  # eight points have seven directions


@pytest.mark.parametrize("bits", [0, -3, 5000])
def test_impossible_widths_are_refused_before_any_picture_is_hashed(bits: int) -> None:
    with pytest.raises(CodesError, match=rf"look has {bits} bits"):
        lsh(made_features(), bits, 0)


def test_one_column_of_features_is_enough_for_one_bit() -> None:
    column = np.array([[-1], [-2], [3], [4]], np.float32)
    for fit in (pca_rotation, itq):
        bits = fit(column, 1, 0)(column).bits()[:, 0].tolist()
        assert bits in ([0, 0, 1, 1], [1, 1, 0, 0])


# --- the classifier


def separable(classes: int, each: int = 30) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    dice = np.random.default_rng(0)
    label = np.repeat(np.arange(classes), each)
    features = 4 * np.eye(classes, 12)[label] + 0.2 * dice.normal(size=(len(label), 12)) + 10
    return features.astype(np.float32), label


def test_the_classifier_says_the_class_where_classes_are_apart() -> None:
    features, label = separable(5)
    codes = classifier(features[::2], Paths(np.c_[label % 2, label][::2]))(features[1::2])
    assert codes.grains.bits == 5
    assert np.array_equal(codes.bits(), np.eye(5)[label[1::2]])


def test_the_classifier_says_every_label_where_labels_are_apart() -> None:
    dice = np.random.default_rng(0)
    truth = dice.random((200, 6)) < 0.4
    truth[:, 5] = False  # a label that no training picture bears needs no bit
    features = (truth @ dice.normal(size=(6, 16)) + 0.02 * dice.normal(size=(200, 16))).astype(np.float32)
    labels = sets_of([np.flatnonzero(row).tolist() for row in truth], 6)
    codes = classifier(features[:150], labels[:150])(features[150:])
    assert np.array_equal(codes.bits(), truth[150:, :5])


def test_the_classifier_learns_nothing_from_pictures_of_unknown_class() -> None:
    features, label = separable(4)
    marked = np.where(label == 1, -1, label)
    bits = classifier(features, Paths(marked[:, None]))(features).bits()
    assert np.array_equal(bits[label != 1], np.eye(4)[label[label != 1]])


def test_the_classifier_says_the_commonest_class_where_features_say_nothing() -> None:
    features = np.full((9, 3), 7, np.float32)
    label = np.array([0, 1, 1, 1, 1, 2, 2, 0, 1])
    assert classifier(features, Paths(label[:, None]))(features).bits().tolist() == [[0, 1, 0]] * 9


def test_more_classes_than_bits_in_a_code_is_a_clear_error() -> None:
    with pytest.raises(CodesError, match="label has 5000 bits"):
        classifier(np.eye(2, dtype=np.float32), Paths(np.array([[0], [4999]])))


def test_a_class_for_each_of_5000_faces_leaves_the_classifier_out() -> None:
    pool = pool_of([(f"face {i // 2}",) for i in range(10_000)])
    manifest, dice = split(pool, protocol("folder")), np.random.default_rng(0)
    features = dice.normal(size=(10_000, 4)).astype(np.float32)
    described = Described(pool, features, features, None, {}, {})
    cases = list(reference_cases(described, np.arange(10_000), manifest, [2], "usual", [0.5]))
    assert [case.method for case in cases] == ["features, float cosine", "PCA + rotation"]


def test_more_labels_than_the_kernels_count_is_a_clear_error() -> None:
    with pytest.raises(EvaluationError, match="4097 labels, more than 4096"):
        sets_of([[4096]], 4097)


# --- pictures themselves


def pixels_of(*images: Image.Image, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    return np.stack([np.asarray(image.resize(size) if size else image) for image in images])


@pytest.mark.parametrize("bits", [1, 2, 16, 32, 64, 128, 256, 1024])
def test_a_perceptual_hash_sees_no_brightness_and_half_of_its_bits_are_on(bits: int) -> None:
    pixels = pixels_of(*(make_picture(seed) for seed in range(5))) // 4 * 4
    codes = perceptual_hash(pixels, bits)
    assert codes.grains.bits == bits
    assert codes == perceptual_hash(pixels // 2, bits)
    assert codes == perceptual_hash(pixels // 4, bits)
    if bits > 1:
        assert (codes.bits().sum(axis=1) == bits // 2).all()


def test_a_perceptual_hash_hardly_sees_a_small_resizing_and_tells_pictures_apart() -> None:
    dice = np.random.default_rng(0)
    coarse = dice.integers(0, 256, (40, 12, 12, 3), np.uint8)  # detail enough for every frequency that counts
    pictures = [Image.fromarray(each).resize((96, 96), Image.Resampling.BICUBIC) for each in coarse]
    bits = perceptual_hash(pixels_of(*pictures), 64).bits()
    for size in ((90, 90), (104, 104), (96, 80), (48, 48)):
        changed = perceptual_hash(pixels_of(*pictures, size=size), 64).bits()
        assert (bits != changed).sum(axis=1).mean() < 4, size
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    assert apart[~np.eye(40, dtype=bool)].min() > 8
    assert 24 < apart[~np.eye(40, dtype=bool)].mean() < 40


@pytest.mark.parametrize("size", [(1, 1), (32, 32), (33, 31), (7, 200)])
def test_a_perceptual_hash_takes_any_size(size: tuple[int, int]) -> None:
    assert len(perceptual_hash(pixels_of(make_picture(0), make_picture(1), size=size), 64)) == 2


@pytest.mark.parametrize("bits", [-4, 0, 7, 33, 100, 2048, 4096])
def test_a_perceptual_hash_of_impossible_width_is_a_clear_error(bits: int) -> None:
    with pytest.raises(EvaluationError, match=rf"a perceptual hash has 16, 32, 64.* bits, not {bits}$"):
        perceptual_hash(pixels_of(make_picture(0)), bits)


def test_a_color_histogram_is_a_unit_vector_of_the_shares_of_colors() -> None:
    pixels = np.zeros((2, 2, 4, 3), np.uint8)
    pixels[0, :, :1] = (255, 0, 31)  # a quarter of the first picture is red
    found = color_histogram(pixels)
    assert found.shape == (2, 512)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1)
    assert found[0, 7 * 64] == pytest.approx(0.25**0.5)
    assert found[0, 0] == pytest.approx(0.75**0.5)
    assert found[1, 0] == 1


def test_a_color_histogram_sees_no_order_of_pixels() -> None:
    pixels = pixels_of(*(make_picture(seed) for seed in range(3)))
    assert np.array_equal(color_histogram(pixels), color_histogram(pixels[:, ::-1, ::-1]))
    assert not np.allclose(color_histogram(pixels)[0], color_histogram(pixels)[1])


def test_no_pictures_give_no_rows() -> None:
    none = np.zeros((0, 8, 8, 3), np.uint8)
    assert color_histogram(none).shape == (0, 512)
    assert len(perceptual_hash(none, 64)) == 0


# --- features


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
def test_features_that_are_no_numbers_are_refused_with_the_row(wrong: float) -> None:
    features = made_features().astype(np.float64)
    features[[7, 9], 3] = wrong
    with pytest.raises(EvaluationError, match=r"the query features are NaN or infinite in 2 rows, first in row 7"):
        check_features(features, "query features")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (0,), (5,), (2, 3, 4)])
def test_features_that_are_no_table_are_refused_with_the_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(EvaluationError, match="the features are not rows of numbers but of shape"):
        check_features(np.zeros(shape, np.float32), "features")


def test_good_features_come_back_as_they_are() -> None:
    for features in (made_features(), made_features()[:0]):
        assert np.array_equal(check_features(features.astype(np.float64), "features"), features)  # type: ignore[arg-type]


def test_unit_rows_have_length_one_and_nothing_stays_nothing() -> None:
    rows = unit(np.array([[3, 4], [0, 0], [1e-3, 0]], np.float32))
    assert np.allclose(rows, [[0.6, 0.8], [0, 0], [1, 0]])


# --- a product quantizer


def test_a_product_quantizer_ranks_by_the_distance_from_what_is_kept() -> None:
    """Part by part the nearest word; trap: products alone prefer the longer of two vectors."""
    features, queries = made_features(), made_features(20, seed=1)
    fitted = ProductQuantizer.fit(features, 24, 0)
    assert fitted.encode(features).shape == (400, 3)
    kept = np.zeros_like(features)
    for i, row in enumerate(features):
        for part, words in zip(np.array_split(np.arange(24), 3), fitted.words, strict=True):
            kept[i, part] = min(words, key=lambda word: float(((row[part] - word) ** 2).sum()))
    asked, searched = fitted.to_compare(queries, features)
    distances = ((queries[:, None] - kept[None]) ** 2).sum(axis=2)
    expected = (queries**2).sum(axis=1)[:, None] - asked @ searched.T
    np.testing.assert_allclose(distances, expected, rtol=1e-3, atol=1e-2)


def test_more_bytes_lose_less_and_a_seed_gives_the_same_words() -> None:
    features = made_features(600)
    errors = []
    for bits in (8, 16, 64, 192):
        fitted = ProductQuantizer.fit(features, bits, 0)
        errors.append(float(((fitted.decode(fitted.encode(features)) - features) ** 2).mean()))
        again = ProductQuantizer.fit(features, bits, 0)
        assert all(np.array_equal(a, b) for a, b in zip(fitted.words, again.words, strict=True))
    assert errors == sorted(errors, reverse=True)
    assert len(fitted.encode(features[:0])) == 0
    for bits in (0, 12, 200):
        with pytest.raises(EvaluationError, match="it takes a byte for each part"):
            ProductQuantizer.fit(features, bits, 0)
    few = ProductQuantizer.fit(features[:5], 8, 0)  # fewer vectors than words: each is kept
    np.testing.assert_allclose(few.decode(few.encode(features[:5])), features[:5], atol=1e-5)
