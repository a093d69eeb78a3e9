"""The part of a model's check that needs torch: how far an attack moves its codes."""

from __future__ import annotations

from hashgrain.evaluate import Finding
from hashgrain.learn.attack import Attack, attack_pictures, mean_distance, random_noise
from hashgrain.media.picture import Pixels
from hashgrain.models import Encoder


def check_attack(encoder: Encoder, pictures: Pixels, how: Attack | None = None) -> Finding:
    """A finding that neither passes nor fails: no ordinary model withstands an attacker who has the model itself."""
    how = how or Attack()
    finest = encoder.grains.finest
    before = encoder.codes(pictures)
    attacked = mean_distance(before, encoder.codes(attack_pictures(encoder, pictures, finest, how)))
    noise = mean_distance(before, encoder.codes(random_noise(pictures, how)))
    reason = (
        f"changes of at most {how.eps} gray levels, {how.steps} steps, turn {attacked:.1f} of {encoder.grains.bits}"
        f" bits of {len(pictures)} pictures on average; random ones as large {noise:.1f}"
    )
    return Finding("attack", None, reason, {"bits_turned": round(attacked, 2), "bits_turned_by_noise": round(noise, 2)})
