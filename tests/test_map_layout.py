"""The map of a library: neighbors by code are neighbors on it. By a plain loop, by figures on codes with known
clusters, and over HTTP."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conftest import fill
from hashgrain import Library
from hashgrain.apps.map_layout import NEIGHBORS, SAME_PLACE, map_layout, neighbor_edges, principal_places
from hashgrain.codes import Codes, Grains, pack

Labels = NDArray[np.int64]


def clustered(count: int, clusters: int, *, flipped: float, seed: int = 0, bits: int = 128) -> tuple[Codes, Labels]:
    """Codes around some centers, and to which each belongs."""
    draw = np.random.default_rng(seed)
    centers = draw.integers(0, 2, (clusters, bits))
    labels = draw.integers(0, clusters, count)
    return Codes(pack(centers[labels] ^ (draw.random((count, bits)) < flipped)), Grains(look=bits)), labels


def share_of_kin(places: NDArray[np.float32], labels: Labels, k: int = 10) -> float:
    """Which share of the k nearest on a map has the label of the point."""
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((labels[np.argsort(apart, axis=1)[:, :k]] == labels[:, None]).mean())


@pytest.mark.parametrize(("clusters", "flipped"), [(12, 0.15), (40, 0.25)])
def test_things_lie_together_where_principal_components_mix_them(clusters: int, flipped: float) -> None:
    codes, labels = clustered(800, clusters, flipped=flipped)
    share = share_of_kin(map_layout(codes), labels)
    plain = share_of_kin(principal_places(codes.words, 128), labels)
    assert share > 0.9
    assert 1 - share < (1 - plain) / 4


def test_the_same_codes_give_the_same_map_and_another_seed_another() -> None:
    codes, _ = clustered(200, 5, flipped=0.2)
    first = map_layout(codes, steps=30)
    assert np.array_equal(first, map_layout(codes, steps=30, threads=1))
    assert not np.array_equal(first, map_layout(codes, steps=30, seed=1))
    shuffled = np.random.default_rng(0).permutation(len(codes))
    assert np.allclose(map_layout(codes[shuffled], steps=30), first[shuffled])


def test_a_large_library_is_laid_out_by_a_sample_and_the_others_join_their_neighbors() -> None:
    codes, labels = clustered(900, 12, flipped=0.15)
    heard: list[float] = []
    places = map_layout(codes, most=300, progress=heard.append)
    assert share_of_kin(places, labels) > 0.9
    assert heard == sorted(heard)
    assert heard[-1] <= 1


@settings(max_examples=25)
@given(st.integers(0, 12), st.integers(1, 6), st.sampled_from([1, 2, 64, 65, 130]), st.integers(0, 5))
def test_every_code_has_a_place_on_the_map(count: int, different: int, bits: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    some = draw.integers(0, 2, (different, bits))
    table = some[draw.integers(0, different, count)] if count else np.zeros((0, bits), np.int64)
    words = pack(table) if count else np.zeros((0, (bits + 63) // 64), np.uint64)
    places = map_layout(Codes(words, Grains(look=bits)), steps=5)
    assert (places.shape, places.dtype) == ((count, 2), np.float32)
    assert np.isfinite(places).all()
    assert np.abs(places).max(initial=0) <= 1
    for row in range(count):  # equal codes lie together, and not on each other
        same = [other for other in range(count) if (table[other] == table[row]).all()]
        assert np.linalg.norm(places[same] - places[row], axis=1).max() <= 2 * SAME_PLACE + 1e-6
        assert len({tuple(place) for place in places[same].tolist()}) == len(same)


def test_edges_lead_to_the_nearest_by_a_plain_loop() -> None:
    codes, _ = clustered(120, 4, flipped=0.3)
    words = np.unique(codes.words, axis=0)
    edges = neighbor_edges(words, 128, None, lambda share: None)
    apart = np.bitwise_count(words[:, None] ^ words[None]).sum(axis=2).astype(np.int64)
    wanted = set()
    for row in range(len(words)):
        order = sorted((other for other in range(len(words)) if other != row), key=lambda o: (apart[row, o], o))
        wanted |= {(min(row, other), max(row, other)) for other in order[:NEIGHBORS]}
    assert set(zip(edges.first.tolist(), edges.second.tolist(), strict=True)) == wanted
    assert len(edges.weights) == len(wanted)
    assert 0 <= edges.weights.min() <= edges.weights.max() <= 1


# ---- over HTTP


@pytest.fixture
def place(tmp_path: Path) -> Path:
    with Library.create(tmp_path / "photos.hg", workers=0) as library:
        library.add(fill(tmp_path / "pictures", 20))
        library.remove([7])
    return tmp_path


@pytest.mark.timeout(300)
def test_the_map_of_a_library_comes_as_points_of_twelve_bytes(place: Path) -> None:
    pytest.importorskip("fastapi", reason="needs hashgrain[serve]")
    pytest.importorskip("uvicorn", reason="needs hashgrain[serve]")
    from hashgrain import Client
    from hashgrain.server import browse_schemas
    from serving import start

    served = start(place / "photos.hg", place / "log.txt", "--workers", 1)
    try:
        assert served.ask("GET", "/api/v1/map/points").json["code"] == "map_gone"
        with Client(served.address) as client:
            told = client.map()
            points = client.map_points()
        browse_schemas.MapAnswer.model_validate(told)
        assert told["points"] == len(points) == 19
        assert sorted(number for number, _, _ in points) == [each for each in range(1, 21) if each != 7]
        assert all(abs(x) <= 1 and abs(y) <= 1 for _, x, y in points)
        answer = served.ask("GET", f"/api/v1/map/points?version={told['version']}")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert list(struct.iter_unpack("<Iff", answer.body)) == points
        tag = {"If-None-Match": answer.headers["etag"]}
        assert served.ask("GET", "/api/v1/map/points", headers=tag).status == 304
        assert served.ask("GET", "/api/v1/map/points?version=other").json["code"] == "map_gone"
        tree = served.ask("GET", "/api/v1/scenes").json  # the kinds were made on the way
        kinds = {kind["id"]: kind for kind in tree["kinds"]}
        assert told["kinds"]
        for kind in list[dict[str, object]](told["kinds"]):  # type: ignore[arg-type]
            start_at, count = int(str(kind["start"])), int(str(kind["count"]))
            members = {number for number, _, _ in points[start_at : start_at + count]}
            items = served.ask("GET", f"/api/v1/scenes/{kind['id']}").json["items"]
            assert members == {item["id"] for item in items}
            assert (kind["count"], kind["name"]) == (kinds[str(kind["id"])]["count"], kinds[str(kind["id"])]["name"])
    finally:
        assert served.stop() == 0
    assert "internal" not in served.log.read_text()
