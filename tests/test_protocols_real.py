"""On the real pictures, the published splits are the ones that we have reported on before."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hashgrain.evaluate import Paths
from hashgrain.evaluate.manifest import Manifest
from hashgrain.evaluate.protocols import PROTOCOLS, protocol
from hashgrain.evaluate.splitting import Pool, read_pool, split
from hashgrain.labelled import labelled_pictures
from made_pools import some_of

pytestmark = pytest.mark.data
CIFAR = ["cifar10", "cifar10-1", "cifar10-2", "cifar10-unsup-I", "cifar10-unsup-II", "cifar10-cib", "cifar10-unseen"]


def pool_at(place: Path) -> Pool:
    pytest.importorskip("pyarrow")
    if not place.is_dir():
        pytest.skip(f"no real pictures at {place}: set HASHGRAIN_DATA")
    return read_pool(labelled_pictures(place))


@pytest.fixture(scope="module")
def cifar10(data: Path) -> Pool:
    return pool_at(data / "cifar-10")


@pytest.fixture(scope="module")
def tiny(data: Path) -> Pool:
    return pool_at(data / "tiny-imagenet-200")


def test_every_protocol_on_pictures_we_have_is_pinned() -> None:
    pinned = {name: list(each.manifests) for name, each in PROTOCOLS.items() if each.manifests}
    assert pinned == {name: [0] for name in [*CIFAR, "tiny-imagenet"]} | {"cifar10-1": [0, 1, 2]}
    digests = [digest for each in PROTOCOLS.values() for digest in each.manifests.values()]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name in CIFAR for seed in PROTOCOLS[name].manifests])
def test_cifar10_comes_out_as_pinned(cifar10: Pool, name: str, seed: int) -> None:
    manifest = split(cifar10, protocol(name), seed)
    assert {split: len(index) for split, index in manifest.splits.items()} == {
        split: protocol(name).counts[split] for split in ("queries", "train", "database")
    }
    assert manifest.digest == protocol(name).manifests[seed]
    assert manifest.warnings == []


def test_tiny_imagenet_comes_out_as_pinned_and_its_one_copy_is_told(tiny: Pool) -> None:
    manifest = split(tiny, protocol("tiny-imagenet"))
    assert manifest.digest == protocol("tiny-imagenet").manifests[0]
    both, same = manifest.warnings
    assert both.startswith("14 pictures are under two classes, each a wrong answer for the other: ")
    assert same == "1 pictures of the database have the same content as a query"
    labels = manifest.labels()
    assert isinstance(labels, Paths)
    assert [len(np.unique(level)) for level in labels.ids.T] == [27, 200]


def test_the_digest_stands_whatever_the_order_and_falls_with_one_picture(cifar10: Pool) -> None:
    order = np.random.default_rng(0).permutation(len(cifar10.names))
    assert split(some_of(cifar10, order), protocol("cifar10")).digest == protocol("cifar10").manifests[0]
    other = split(replace(cifar10, hashes=["0" * 64, *cifar10.hashes[1:]]), protocol("cifar10"))
    (said,) = other.warnings
    assert said.startswith("these are not the pictures that cifar10 with seed 0 was drawn from before")


def test_a_written_manifest_finds_the_real_pictures_again(cifar10: Pool, tmp_path: Path) -> None:
    manifest = Manifest.read(split(cifar10, protocol("cifar10-1")).write(tmp_path / "made.json.gz"))
    assert manifest.digest == protocol("cifar10-1").manifests[0]
    at = manifest.locate(cifar10.hashes[::-1], cifar10.names[::-1])
    assert np.array_equal(at, np.arange(len(at))[::-1])
