"""The shallow hashers: each against its formula, its promises to scikit-learn, its file, and as a layer of a model."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from conftest import make_picture
from hashgrain import Codes, Encoder, Grains
from hashgrain.errors import CodesError, HashgrainError, TrainingError
from hashgrain.hashers import (
    HASHERS,
    ITQ,
    LSH,
    Hasher,
    PCAHash,
    PCARotation,
    Projection,
    SpectralHash,
    as_features,
    load_hasher,
)
from hashgrain.models import Bundle
from test_rooms import HEAVY, loaded_after

Rows = NDArray[np.float32]
ALL = list(HASHERS.values())
SEEDED: list[Callable[..., Hasher]] = [LSH, PCARotation, ITQ]
OF_PCA = [PCAHash, PCARotation, ITQ]


def made_features(n: int = 400, width: int = 24, seed: int = 0) -> Rows:
    """Clusters off the origin, along axes of different lengths."""
    dice = np.random.default_rng(seed)
    centers = dice.normal(size=(8, width)) * 2
    rows = centers[dice.integers(0, 8, n)] + dice.normal(size=(n, width)) * np.geomspace(2, 0.1, width) + 5
    return np.asarray(rows, np.float32)


def principal(features: Rows, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and directions (width, count), by the singular values in double, not by the covariance."""
    rows = features.astype(np.float64)
    _, _, directions = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return rows.mean(axis=0), directions[:count].T


def quantization_error(outputs: NDArray[np.float64]) -> float:
    return float(((np.where(outputs >= 0, 1, -1) - outputs) ** 2).sum())


# --- what all of them promise


@pytest.mark.parametrize("kind", ALL)
def test_bits_are_the_signs_of_the_outputs_and_zero_is_a_one(kind: type[Hasher]) -> None:
    features = made_features()
    hasher = kind(16).fit(features)
    outputs, codes = hasher.transform(features), hasher.codes(features)
    assert outputs.shape == (400, 16)
    assert outputs.dtype == np.float64
    assert codes.grains == Grains(look=16)
    assert np.array_equal(codes.bits(), outputs >= 0)
    fitted = hasher.projection
    middle = kind(16)
    middle._fitted = Projection(fitted.mean, fitted.directions * 0, fitted.offset * 0)
    assert middle.codes(features[:1]).bits().all()


@pytest.mark.parametrize("kind", ALL)
def test_the_code_of_a_row_does_not_depend_on_the_rows_beside_it(kind: type[Hasher]) -> None:
    hasher, others = kind(16).fit(made_features()), made_features(seed=1)
    assert Codes.concatenate([hasher.codes(others[:7]), hasher.codes(others[7:])]) == hasher.codes(others)
    assert len(hasher.codes(others[:0])) == 0


@pytest.mark.parametrize("kind", ALL)
def test_near_features_get_near_codes(kind: type[Hasher]) -> None:
    features, dice = made_features(), np.random.default_rng(0)
    hasher = kind(16).fit(features)
    bits = hasher.codes(features).bits()
    moved = hasher.codes(features + 0.02 * dice.normal(size=features.shape)).bits()
    assert (bits != moved).mean() < 0.1 * (bits != bits[::-1]).mean()


@pytest.mark.parametrize("kind", ALL)
def test_fitting_twice_gives_the_same_codes(kind: type[Hasher]) -> None:
    features = made_features()
    assert kind(16).fit(features).codes(features) == kind(16).fit(features).codes(features)


@pytest.mark.parametrize("kind", SEEDED)
def test_another_seed_gives_other_codes(kind: Callable[..., Hasher]) -> None:
    features = made_features()
    assert kind(16, seed=1).fit(features).codes(features) != kind(16, seed=2).fit(features).codes(features)


@pytest.mark.parametrize("kind", ALL)
def test_fitting_changes_neither_the_features_nor_what_was_fitted_before(kind: type[Hasher]) -> None:
    features = made_features()
    before = features.copy()
    hasher = kind(8).fit(features)
    codes = hasher.codes(features)
    features += 1
    assert hasher.codes(before) == codes
    assert np.array_equal(features, before + 1)


# --- each against its formula


def test_lsh_is_random_directions_through_the_mean() -> None:
    features = made_features()
    directions = np.random.default_rng(7).normal(size=(24, 300))
    expected = (features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)) @ directions
    assert np.allclose(LSH(300, seed=7).fit(features).transform(features), expected, atol=1e-3)


def test_bits_of_lsh_differ_as_often_as_the_angle_says() -> None:
    dice = np.random.default_rng(0)
    half = dice.normal(size=(40, 32))
    rows = np.concatenate([half, -half]).astype(np.float32)  # their mean is zero
    bits = LSH(4096).fit(rows).codes(rows).bits()
    angle = np.arccos((rows[0] @ rows[1]) / np.linalg.norm(rows[0]) / np.linalg.norm(rows[1]))
    assert (bits[0] != bits[1]).mean() == pytest.approx(angle / np.pi, abs=0.03)
    assert (bits[0] != bits[40]).all()


def test_pca_bits_are_the_principal_components_of_scikit_learn_largest_first() -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    features = made_features()
    outputs = PCAHash(6).fit(features).transform(features)
    expected = decomposition.PCA(6, svd_solver="full").fit_transform(features.astype(np.float64))
    for bit in range(6):  # a component may point either way
        assert min(np.abs(outputs[:, bit] - way * expected[:, bit]).max() for way in (1, -1)) < 1e-3
    assert (np.diff(outputs.var(axis=0)) < 0).all()


@pytest.mark.parametrize("kind", OF_PCA)
def test_what_pca_hashers_see_is_the_subspace_of_scikit_learn_turned(kind: type[Hasher]) -> None:
    decomposition = pytest.importorskip("sklearn.decomposition")
    features = made_features()
    found = kind(6).fit(features).projection
    components = decomposition.PCA(6, svd_solver="full").fit(features.astype(np.float64)).components_
    assert np.allclose(found.mean, features.mean(axis=0), atol=1e-4)
    assert np.allclose(found.directions.T @ found.directions, np.eye(6), atol=1e-9)
    assert np.allclose(found.directions @ found.directions.T, components.T @ components, atol=1e-3)


def test_a_random_rotation_shares_the_variance_out() -> None:
    features = made_features()
    plain, turned = (kind(16).fit(features).transform(features).var(axis=0) for kind in (PCAHash, PCARotation))
    assert turned.sum() == pytest.approx(plain.sum(), rel=1e-6)
    assert turned.max() / turned.min() < 0.2 * plain.max() / plain.min()


def test_itq_is_the_alternation_of_signs_and_procrustes() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    features = made_features()
    values = PCAHash(8).fit(features).transform(features)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(8, 8)))[0]
    for _ in range(50):
        rotation, _ = linalg.orthogonal_procrustes(values, np.where(values @ rotation >= 0, 1.0, -1.0))
    assert np.allclose(ITQ(8, seed=3).fit(features).transform(features), values @ rotation, atol=1e-6)
    assert not np.allclose(ITQ(8, seed=3, iterations=3).fit(features).transform(features), values @ rotation, atol=1e-2)


@pytest.mark.parametrize("bits", [2, 8, 24])
def test_every_round_of_itq_brings_the_values_nearer_to_their_signs(bits: int) -> None:
    features = made_features()
    errors = [
        quantization_error(ITQ(bits, iterations=n).fit(features).transform(features)) for n in (*range(8), 20, 50)
    ]
    assert all(after <= before + 1e-6 for before, after in itertools.pairwise(errors))
    assert errors[-1] < (1 if bits == 2 else 0.99) * errors[0]
    assert errors[0] == quantization_error(PCARotation(bits).fit(features).transform(features))


def spectral_by_the_formula(features: Rows, queries: Rows, bits: int) -> tuple[NDArray[np.float64], list[int]]:
    """Loop by loop: sin(pi / 2 + omega (v - low)) for the `bits` smallest omega = j pi / (high - low), and their j."""
    mean, directions = principal(features, min(bits, features.shape[1]))
    waves = []
    for component in range(directions.shape[1]):
        values = [float((row - mean) @ directions[:, component]) for row in features]
        low, high = min(values), max(values)
        waves += [(j * math.pi / (high - low), component, low, j) for j in range(1, bits + 1)]
    found = np.empty((len(queries), bits))
    for bit, (omega, component, low, _) in enumerate(sorted(waves)[:bits]):
        for row, query in enumerate(queries):
            along = float((query - mean) @ directions[:, component])
            found[row, bit] = math.sin(math.pi / 2 + omega * (along - low))
    return found, [j for *_, j in sorted(waves)[:bits]]


@pytest.mark.parametrize(("width", "bits"), [(24, 5), (24, 32), (3, 16), (1, 4)])
def test_spectral_hashing_is_its_formula(width: int, bits: int) -> None:
    features, queries = made_features(width=width), made_features(60, width, seed=0)
    found = SpectralHash(bits).fit(features).transform(queries)
    expected, numbers = spectral_by_the_formula(features, queries, bits)
    for bit, j in enumerate(numbers):
        # The sign of a component is free, and seen from its other end the waves of odd j are turned over.
        ways = (1, -1) if j % 2 else (1,)
        assert min(np.abs(found[:, bit] - way * expected[:, bit]).max() for way in ways) < 2e-3, bit


def test_a_long_component_gets_several_waves_before_a_short_one_gets_any() -> None:
    dice = np.random.default_rng(0)
    box = dice.uniform(size=(2000, 2)) * (8, 2.5)
    directions = SpectralHash(4).fit(box).projection.directions
    assert (np.abs(directions[0, :3]) > 20 * np.abs(directions[1, :3])).all()  # 8 / 1, 8 / 2, 8 / 3 ...
    assert np.abs(directions[1, 3]) > 20 * np.abs(directions[0, 3])  # ... and then 2.5 / 1


def test_a_constant_value_among_the_features_gets_no_wave() -> None:
    features = made_features()
    features[:, 5] = 3
    found = SpectralHash(64).fit(features).projection
    assert np.isfinite(found.directions).all()
    assert np.abs(found.directions[5]).max() < 1e-3


# --- what they refuse


@pytest.mark.parametrize("bits", [25, 400, 0, -1])
@pytest.mark.parametrize("kind", OF_PCA)
def test_more_bits_than_directions_is_a_clear_error(kind: type[Hasher], bits: int) -> None:
    with pytest.raises(TrainingError, match=rf"PCA of 400 x 24 features gives no {bits} directions; .*from 1 to 24"):
        kind(bits).fit(made_features())
    with pytest.raises(TrainingError, match=r"PCA of 8 x 24 features gives no 8 directions"):
        kind(8).fit(made_features(8))  # eight points have seven directions


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("bits", [0, -3, 5000, 16.0])
def test_impossible_widths_are_refused(kind: type[Hasher], bits: Any) -> None:
    with pytest.raises((CodesError, TrainingError), match=rf"look has {bits} bits|gives no {bits} directions"):
        kind(bits).fit(made_features())


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("kind", ALL)
def test_features_that_are_no_numbers_are_refused_with_the_row(kind: type[Hasher], wrong: float) -> None:
    features = made_features().astype(np.float64)
    hasher = kind(8).fit(features)
    features[[7, 9], 3] = wrong
    for ask in (kind(8).fit, hasher.transform, hasher.codes):
        with pytest.raises(TrainingError, match="features are NaN or infinite in 2 rows, first in row 7"):
            ask(features)


@pytest.mark.parametrize("values", [3.0, [], np.zeros(5), np.zeros((2, 3, 4)), [["a", "b"]], [[1, 2], [3]], None])
def test_features_that_are_no_table_are_refused(values: Any) -> None:
    with pytest.raises(TrainingError, match="the features are not rows of numbers"):
        as_features(values)


@pytest.mark.parametrize("kind", ALL)
def test_features_of_another_width_are_refused(kind: type[Hasher]) -> None:
    hasher = kind(8).fit(made_features())
    with pytest.raises(TrainingError, match=rf"have 12 values a row, {kind.__name__}\(bits=8.*was fitted on 24"):
        hasher.codes(made_features(width=12))


@pytest.mark.parametrize("kind", ALL)
def test_a_hasher_that_is_not_fitted_says_so(kind: type[Hasher], tmp_path: Path) -> None:
    for ask in (lambda: kind(8).transform(made_features()), lambda: kind(8).save(tmp_path / "hasher.npz")):
        with pytest.raises(TrainingError, match=r"is not fitted yet; call fit"):
            ask()


@pytest.mark.parametrize("kind", ALL)
def test_nothing_to_fit_is_a_clear_error(kind: type[Hasher]) -> None:
    with pytest.raises(TrainingError, match="no features to fit"):
        kind(8).fit(np.zeros((0, 24)))


def test_spectral_hashing_of_equal_features_is_a_clear_error() -> None:
    with pytest.raises(TrainingError, match="all features are the same"):
        SpectralHash(8).fit(np.full((9, 3), 0.1))


# --- in scikit-learn


@pytest.mark.parametrize("kind", ALL)
def test_hashers_are_steps_of_scikit_learn_pipelines(kind: type[Hasher]) -> None:
    sklearn = pytest.importorskip("sklearn.base")
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    features = made_features()
    steps = sklearn.clone(pipeline.make_pipeline(preprocessing.StandardScaler(), kind(16)))
    found = steps.fit(features, np.zeros(400)).transform(features)
    scaled = preprocessing.StandardScaler().fit_transform(features)
    assert np.array_equal(found, kind(16).fit(scaled).transform(scaled))
    assert np.array_equal(steps.fit_transform(features), found)
    assert kind.__name__ in repr(steps)


def test_scikit_learn_is_told_where_a_hasher_is_not_fitted() -> None:
    validation = pytest.importorskip("sklearn.utils.validation")
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.raises(exceptions.NotFittedError):
        validation.check_is_fitted(LSH(8))
    validation.check_is_fitted(LSH(8).fit(made_features()))


# --- in files


@pytest.mark.parametrize("kind", ALL)
def test_a_hasher_comes_back_from_its_file(kind: type[Hasher], tmp_path: Path) -> None:
    features, path = made_features(), tmp_path / "hasher.npz"
    hasher = kind(16).fit(features)
    hasher.save(path)
    found = load_hasher(path)
    assert repr(found) == repr(hasher)
    assert np.array_equal(found.transform(features), hasher.transform(features))
    with np.load(path, allow_pickle=False) as arrays:
        assert {array.dtype.kind for array in arrays.values()} <= set("ifbU")
    assert list(tmp_path.iterdir()) == [path]


def saved_arrays(path: Path) -> dict[str, Any]:
    ITQ(8).fit(made_features()).save(path)
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": 2}, "has format 2, this HashGrain reads up to 1: upgrade"),
        ({"method": "Magic"}, "is not a saved hasher"),
        ({"bits": 9}, "8 directions for 9 bits"),
        ({"mean": np.zeros(3)}, "a projection has a mean of"),
        ({"offset": np.full(8, np.nan)}, "NaN"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(change: dict[str, Any], reason: str, tmp_path: Path) -> None:
    path = tmp_path / "hasher.npz"
    np.savez(path, **{**saved_arrays(path), **change})
    with pytest.raises(TrainingError, match=reason):
        load_hasher(path)


def test_a_file_with_a_pickle_in_it_is_refused_and_the_pickle_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
            return os.mkdir, (str(tmp_path / "sprung"),)

    path = tmp_path / "hasher.npz"
    np.savez(path, **{**saved_arrays(path), "mean": np.array([Trap()])})
    with pytest.raises(TrainingError, match="is not a saved hasher"):
        load_hasher(path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("missing", ["format", "method", "bits", "seed", "mean", "directions", "offset", "wave"])
def test_a_file_that_lacks_something_is_refused(missing: str, tmp_path: Path) -> None:
    path = tmp_path / "hasher.npz"
    arrays = saved_arrays(path)
    del arrays[missing]
    np.savez(path, **arrays)
    with pytest.raises(TrainingError, match=rf"is not a saved hasher.*{missing}"):
        load_hasher(path)


def test_damaged_and_missing_files_are_clear_errors(tmp_path: Path) -> None:
    path = tmp_path / "hasher.npz"
    saved_arrays(path)
    whole = path.read_bytes()
    for content in (b"", b"PK", whole[: len(whole) // 2], whole[:-7]):
        path.write_bytes(content)
        with pytest.raises(TrainingError, match="is not a saved hasher"):
            load_hasher(path)
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(TrainingError, match="is not a saved hasher"):
        load_hasher(tmp_path / "one.npy")
    with pytest.raises(TrainingError, match="cannot read"):
        load_hasher(tmp_path / "nothing.npz")
    with pytest.raises(TrainingError, match="cannot write"):
        LSH(8).fit(made_features()).save(tmp_path / "no folder" / "hasher.npz")


def test_importing_the_hashers_loads_nothing_heavy() -> None:
    assert not loaded_after("import hashgrain.hashers") & {*HEAVY, "onnx", "sklearn", "scipy", "PIL"}


# --- as the head of a model


def pictures(n: int = 60) -> NDArray[np.uint8]:
    return np.stack([np.asarray(make_picture(seed, (64, 64))) for seed in range(n)])


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(threads=1)


def backbone(*, kind: int = 1, outputs: tuple[str, ...] = ("features",), inner: str = "centered") -> bytes:
    """Mean colors of 64 x 64 pictures, a third of the way off, as a graph of opset 18 with a constant to spare."""
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    helper, arrays = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=1),
        helper.make_node("ReduceMean", ["floats", "axes"], ["colors"], keepdims=0),
        helper.make_node("Sub", ["colors", "third"], [inner]),
        helper.make_node("Cast", [inner], ["features"], to=kind),
        helper.make_node("Mul", ["colors", "spare"], ["aside"]),
    ]
    weights = {"axes": np.array([1, 2]), "third": np.full(3, 85, np.float32), "spare": np.ones(3, np.float32)}
    graph = helper.make_graph(
        nodes,
        "colors",
        [helper.make_tensor_value_info("pixels", 2, ["batch", 64, 64, 3])],
        [helper.make_tensor_value_info(name, kind if name == "features" else 1, ["batch", 3]) for name in outputs],
        [arrays.from_array(array, name) for name, array in weights.items()],
    )
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )


@pytest.mark.train
@pytest.mark.parametrize("kind", ALL)
def test_a_model_with_a_hasher_gives_the_codes_of_the_hasher(kind: type[Hasher], encoder: Encoder) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from hashgrain.graphs.heads import with_hasher

    _, features = encoder.outputs_and_features(pictures())
    hasher, grains = kind(32).fit(features), Grains(thing=8, look=32)
    made = with_hasher(encoder.bundle, hasher, grains, "hashed", pictures())
    new = Encoder(made, threads=1)
    outputs, same = new.outputs_and_features(pictures())
    assert np.array_equal(same, features)
    expected = hasher.transform(features)
    spacing = np.abs(expected).max() * 1e-4
    assert np.allclose(outputs, expected, atol=spacing)
    differ = (outputs >= 0) != (expected >= 0)
    assert (np.abs(expected[differ]) < spacing).all()
    assert differ.mean() < 0.001
    assert new.codes(pictures()).grains == grains
    assert (made.name, made.size, dict(made.words), dict(made.labels)) == ("hashed", (64, 64), {}, {})
    graph = onnx.load_from_string(made.onnx)
    onnx.checker.check_model(graph, full_check=True)
    assert graph.opset_import[0].version == 18
    assert not any(entry.name.startswith("network.head") for entry in graph.graph.initializer)  # the old head is gone


@pytest.mark.train
def test_the_new_bundle_is_written_and_read_and_says_where_it_comes_from(encoder: Encoder, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the train extra")
    from hashgrain.graphs.heads import with_hasher

    _, features = encoder.outputs_and_features(pictures())
    made = with_hasher(encoder.bundle, ITQ(16, seed=5).fit(features), Grains(look=16), "hashed", pictures(4))
    found = Bundle.read(made.write(tmp_path / "hashed"))
    assert found == made
    assert found.training["head"] == {"method": "ITQ", "bits": 16, "seed": 5, "iterations": 50}
    assert found.training["backbone"]["digest"] == encoder.digest != found.digest


@pytest.mark.train
def test_a_head_put_on_a_head_takes_its_place(encoder: Encoder) -> None:
    pytest.importorskip("onnx", reason="needs the train extra")
    from hashgrain.graphs.heads import append_head

    _, features = encoder.outputs_and_features(pictures())
    spectral, itq = SpectralHash(24).fit(features).projection, ITQ(16).fit(features).projection
    assert append_head(append_head(encoder.bundle.onnx, spectral), itq) == append_head(encoder.bundle.onnx, itq)


@pytest.mark.train
@pytest.mark.parametrize("wave", [False, True])
def test_any_affine_head_goes_on_a_backbone_that_has_none(wave: bool) -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from hashgrain.graphs.heads import with_hasher

    weights, bias = np.array([[1.0, 0, -1, 2], [0, 1, 1, 2], [0, 0, 0, 2]]) / 40, np.array([0.5, -0.5, 0, 1])
    head = Projection(np.array([1, 2, 3], np.float32), weights, bias, wave)
    made = with_hasher(Bundle("colors", backbone(), Grains(look=1), (64, 64)), head, Grains(look=4), "four", pictures())
    outputs, features = Encoder(made).outputs_and_features(pictures())
    assert np.allclose(features, pictures().mean(axis=(1, 2)) - 85, atol=1e-3)
    expected = [
        [sum((row[i] - (i + 1)) * weights[i, bit] for i in range(3)) + bias[bit] for bit in range(4)]
        for row in features
    ]
    assert np.allclose(outputs, np.cos(expected) if wave else expected, atol=1e-4)
    graph = onnx.load_from_string(made.onnx).graph
    assert "spare" not in {entry.name for entry in graph.initializer}
    assert "Mul" not in {node.op_type for node in graph.node}


@pytest.mark.train
def test_weights_that_only_a_branch_inside_reads_are_kept() -> None:
    onnx = pytest.importorskip("onnx", reason="needs the train extra")
    from hashgrain.graphs.heads import append_head

    model = onnx.load_from_string(backbone())
    helper = onnx.helper
    branches = [
        helper.make_graph(
            [helper.make_node("Add", ["centered", reads], [f"sum {reads}"])],
            reads,
            [],
            [helper.make_tensor_value_info(f"sum {reads}", 1, ["batch", 3])],
        )
        for reads in ("third", "spare")
    ]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(False), "which"))
    model.graph.node.insert(
        3, helper.make_node("If", ["which"], ["chosen"], then_branch=branches[0], else_branch=branches[1])
    )
    model.graph.node[4].input[0] = "chosen"
    head = Projection(np.zeros(3, np.float32), np.eye(3), np.zeros(3))
    made = append_head(model.SerializeToString(), head)
    session = pytest.importorskip("onnxruntime").InferenceSession(made, providers=["CPUExecutionProvider"])
    outputs = session.run(["outputs"], {"pixels": pictures(3)})[0]
    assert np.allclose(outputs, pictures(3).mean(axis=(1, 2)) - 84, atol=1e-3)
    with pytest.raises(HashgrainError, match="control flow"):  # such a graph can be made, a bundle of it is not run
        Encoder(Bundle("branches", made, Grains(look=3), (64, 64)))


@pytest.mark.train
def test_what_cannot_be_a_model_is_refused_with_the_reason() -> None:
    pytest.importorskip("onnx", reason="needs the train extra")
    from hashgrain.graphs.heads import with_hasher

    def refuses(reason: str, graph: bytes, bits: int = 3, shown: int = 4, head: Any = None) -> None:
        head = head or PCAHash(3).fit(made_features(width=3))
        with pytest.raises(HashgrainError, match=reason):
            with_hasher(
                Bundle("b", graph, Grains(look=1), (64, 64)), head, Grains(look=bits), "new", pictures()[:shown]
            )

    refuses("gives 3 bits, .* ask for 4", backbone(), bits=4)
    refuses("checked on pictures, and there are none", backbone(), shown=0)
    refuses("is not ONNX", b"nonsense")
    refuses("gives no 'features', only centered", backbone(outputs=("centered",)))
    refuses(r"features are FLOAT16 \[0, 3\]", backbone(kind=10))
    refuses(r"fitted on FLOAT rows of 24", backbone(), head=PCAHash(3).fit(made_features()))
    refuses("computes its features from a value called 'outputs'; give that another name", backbone(inner="outputs"))
    refuses("is not fitted yet", backbone(), head=PCAHash(3))


@pytest.mark.train
def test_a_graph_that_computes_something_else_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx", reason="needs the train extra")
    from hashgrain.graphs import heads as graph_heads

    hasher = PCAHash(3).fit(made_features(width=3))
    append = graph_heads.append_head

    def turned(graph: bytes, head: Projection, dense: object) -> bytes:
        return append(graph, dataclasses.replace(head, directions=head.directions * 1.001))

    monkeypatch.setattr(graph_heads, "append_head", turned)
    with pytest.raises(TrainingError, match="does not compute what its hasher does"):
        graph_heads.with_hasher(
            Bundle("b", backbone(), Grains(look=1), (64, 64)), hasher, Grains(look=3), "new", pictures(4)
        )


def test_putting_heads_on_graphs_takes_no_torch() -> None:
    assert "torch" not in loaded_after("import hashgrain.graphs.heads")
