"""Attacks: inside their bounds, the same for the same seed, far stronger than noise, reported as they are."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="needs the train extra")
pytest.importorskip("onnx", reason="needs the train extra")

from pathlib import Path  # noqa: E402

from hashgrain import Codes, Encoder, Grains  # noqa: E402
from hashgrain.apps.drawn_scenes import scenes  # noqa: E402
from hashgrain.errors import CodesError, TrainingError  # noqa: E402
from hashgrain.evaluate import average_precision, pixels_for, tally  # noqa: E402
from hashgrain.learn.attack import (  # noqa: E402
    Attack,
    attack_pictures,
    attack_report,
    class_targets,
    majority_code,
    mean_distance,
    random_noise,
)
from hashgrain.learn.model_check import check_attack  # noqa: E402

pytestmark = pytest.mark.train

QUICK = Attack(eps=8, step=2, steps=6)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.load(threads=1)


@pytest.fixture(scope="module")
def labelled(encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """45 drawings of 15 things: pixels and the number of the thing."""
    drawn = list(scenes(looks_per_thing=3, copies=0))
    things = np.unique([scene.thing for scene in drawn], return_inverse=True)[1]
    return pixels_for(encoder, [scene.image for scene in drawn]), things.astype(np.int64)


@pytest.mark.parametrize("eps", [1, 8])
def test_no_value_moves_further_than_eps(encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray], eps: int) -> None:
    pictures = np.concatenate([labelled[0][:4], np.zeros_like(labelled[0][:1]), np.full_like(labelled[0][:1], 255)])
    attacked = attack_pictures(encoder, pictures, "look", Attack(eps=eps, step=3, steps=4))
    assert (attacked.dtype, attacked.shape) == (np.uint8, pictures.shape)
    moved = attacked.astype(int) - pictures
    assert np.abs(moved).max() == eps
    assert np.abs(random_noise(pictures, QUICK).astype(int) - pictures).max() == QUICK.eps


def test_the_seed_decides_the_attack(encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray]) -> None:
    pictures = labelled[0][:5]
    first, again, other = (attack_pictures(encoder, pictures, "look", Attack(steps=2, seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert attack_pictures(encoder, pictures[:0], "look").shape == pictures[:0].shape


@pytest.mark.parametrize("grain", ["kind", "thing", "look"])
def test_an_attack_turns_many_times_the_bits_that_noise_turns(
    encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray], grain: str
) -> None:
    pictures, _ = labelled
    attacked, noisy = attack_pictures(encoder, pictures, grain, QUICK), random_noise(pictures, QUICK)
    own, after, noise = (encoder.codes(each).at(grain) for each in (pictures, attacked, noisy))
    assert mean_distance(own, after) > 0.4 * encoder.grains[grain]
    assert mean_distance(own, after) > 3 * mean_distance(own, noise)


def test_only_the_grain_aimed_at_is_attacked(encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray]) -> None:
    """An attack on kind spends nothing on the bits after it: there it does less than an attack on them all."""
    pictures = labelled[0][:16]
    own = encoder.codes(pictures).bits()
    on_kind, on_look = (
        encoder.codes(attack_pictures(encoder, pictures, grain, QUICK)).bits() != own for grain in ("kind", "look")
    )
    assert on_kind[:, :32].mean() > on_look[:, :32].mean()
    assert on_kind[:, 32:].mean() < on_look[:, 32:].mean()


def test_a_targeted_attack_comes_near_its_target(encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, things = labelled
    codes = encoder.codes(pictures).at("thing")
    targets = class_targets(codes, things, (things + 1) % 15)
    attacked = encoder.codes(attack_pictures(encoder, pictures, "thing", QUICK, targets)).at("thing")
    assert mean_distance(attacked, targets) < 0.5 * mean_distance(codes, targets)


def test_the_majority_is_taken_bit_by_bit() -> None:
    codes = Codes.from_bits([[1, 0, 1, 0], [1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 1, 0]], Grains(kind=2, look=4))
    assert majority_code(codes[:3]).bits().tolist() == [[1, 0, 0, 0]]
    assert majority_code(codes).bits().tolist() == [[1, 0, 1, 0]]  # evenly split is 1
    labels = np.array([5, 5, 5, 9])
    targets = class_targets(codes, labels, np.array([9, 5, 9]))
    assert targets.bits().tolist() == [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    with pytest.raises(CodesError, match="no codes"):
        majority_code(codes[:0])
    with pytest.raises(CodesError, match="label 7"):
        class_targets(codes, labels, np.array([7]))


def test_the_report_says_what_searching_with_the_pictures_gives(
    encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray]
) -> None:
    pictures, things = labelled
    queries = np.arange(45) % 3 == 0
    base = encoder.codes(pictures[~queries])
    ask = (encoder, pictures[queries], things[queries], base, things[~queries], "thing", QUICK)
    report, attacked = attack_report(*ask)
    found = encoder.codes(attacked).at("thing")
    expected = average_precision(tally(found, base.at("thing"), things[queries], things[~queries]), 30)
    assert report.map_after == pytest.approx(expected.mean())
    assert (report.queries, report.database, report.k, report.bits) == (15, 30, 30, 64)
    assert report.map_after < 0.6 * report.map_before
    assert report.map_after < report.map_noise
    assert report.flipped_after == mean_distance(found, encoder.codes(pictures[queries]).at("thing"))
    assert report.to_target_after is None
    aimed, _ = attack_report(*ask, targeted=True)
    assert aimed.map_after > 2 * aimed.map_before
    assert aimed.to_target_before is not None
    assert aimed.to_target_after is not None
    assert aimed.to_target_after < 0.5 * aimed.to_target_before
    assert attack_report(*ask, k=5)[0].k == 5


def test_the_finding_tells_and_does_not_judge(encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray]) -> None:
    finding = check_attack(encoder, labelled[0][:8], QUICK)
    assert finding.passed is None
    assert finding.figures["bits_turned"] > finding.figures["bits_turned_by_noise"]


@pytest.mark.parametrize("eps", [0, -8, 256, 8 / 255, True])
def test_an_eps_that_is_no_gray_level_is_refused(eps: float) -> None:
    with pytest.raises(TrainingError, match="whole gray levels"):
        Attack(eps=eps)  # type: ignore[arg-type]


def test_what_cannot_be_attacked_is_refused(encoder: Encoder, labelled: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, things = labelled[0][:4], labelled[1][:4]
    codes = encoder.codes(pictures)
    for wrong in ({"steps": 0}, {"step": 0.0}, {"step": float("nan")}, {"sharpness": -1.0}):
        with pytest.raises(TrainingError, match="above 0"):
            Attack(**wrong)  # type: ignore[arg-type]
    with pytest.raises(CodesError, match="no grain 'shade'"):
        attack_pictures(encoder, pictures, "shade")
    with pytest.raises(CodesError, match="as many targets of 32 bits"):
        attack_pictures(encoder, pictures, "kind", QUICK, codes)
    with pytest.raises(CodesError, match="as many targets"):
        attack_pictures(encoder, pictures, "look", QUICK, codes[:2])
    with pytest.raises(CodesError, match="no pictures"):
        attack_report(encoder, pictures[:0], things[:0], codes, things, "look")
    with pytest.raises(TrainingError, match="of one class"):
        attack_report(encoder, pictures, np.zeros(4, np.int64), codes, things, "look", QUICK, targeted=True)


@pytest.mark.data
def test_photographs_are_carried_away_and_noise_leaves_them(encoder: Encoder, data: Path) -> None:
    pictures = np.stack([pixels_for(encoder, [Image.open(path)])[0] for path in sorted(data.glob("photos/*.jpg"))[:16]])
    figures = check_attack(encoder, pictures, QUICK).figures
    assert figures["bits_turned"] > 0.4 * 128
    assert figures["bits_turned_by_noise"] < 0.1 * 128
