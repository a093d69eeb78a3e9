"""Sounds, the second medium: the seam carries another kind of file from its bytes to the nearest part."""

from __future__ import annotations

import hashlib
import io
import struct
import tarfile
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from conftest import make_picture
from flac_files import as_wav, samples_of
from hashgrain import Codes, Library
from hashgrain.errors import ImageError, SoundError
from hashgrain.library import codes_only
from hashgrain.media import DecodePool, medium, registry
from hashgrain.media.limits import Limits
from hashgrain.media.pictures import PICTURES
from hashgrain.media.sound import BANDS, SOUNDS, Recording, log_mel, mono, read_wav
from hashgrain.models import sound_code
from hashgrain.models.sound_code import sound_codes
from hashgrain.sources import Source, find
from hashgrain.store import New
from hashgrain.store.items import Parts
from test_images import as_bytes

RATE = 22_050
KINDS, EACH = ("hat", "cymbal", "snare", "tom", "kick"), 18
LIMITS = Limits(None, 1, 60.0, 4 << 30, 2 << 30, "sound")


def tone(seconds: float = 1.0, pitch: float = 440.0, rate: int = RATE) -> NDArray[np.float64]:
    at = np.arange(int(seconds * rate)) / rate
    return np.asarray(0.5 * np.sin(2 * np.pi * pitch * at) * np.exp(-2 * at))


def wav(
    samples: NDArray[np.float64], kind: int = 1, bits: int = 16, *, rate: int = RATE, extra: bytes = b"", size: int = -1
) -> bytes:
    """A WAV file of samples (n,) or (n, channels) from -1 to 1; `size` is what it says of its data."""
    frames = samples if samples.ndim == 2 else samples[:, None]
    if kind == 3:
        content = frames.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        content = (frames * 127 + 128).astype(np.uint8).tobytes()
    elif bits == 24:
        content = (frames * (2**23 - 1)).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        content = (frames * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes()
    channels = frames.shape[1]
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", 0xFFFE if extra else kind, channels, rate, 0, width, bits) + extra
    said = len(content) if size < 0 else size
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", said) + content
    return b"RIFF" + struct.pack("<I", len(chunks) + 4 & 0xFFFFFFFF) + b"WAVE" + chunks


def heard(content: bytes) -> NDArray[np.float32]:
    return np.asarray(SOUNDS.decode(content, LIMITS)[0])


@pytest.mark.parametrize(("kind", "bits"), [(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64)])
def test_every_way_to_write_samples_is_heard_as_the_same(kind: int, bits: int) -> None:
    loud = heard(wav(tone()))
    spectrogram = heard(wav(tone(), kind, bits))
    assert spectrogram.shape == (100, BANDS)
    assert np.abs(spectrogram - loud)[loud > -30].max() < 1.5  # dB: eight bits are coarse
    stereo = np.stack([tone(), tone()], 1)
    assert np.abs(heard(wav(stereo, kind, bits)) - spectrogram).max() < 0.1
    extensible = struct.pack("<HHIH", 22, bits, 0, kind) + b"\0" * 14
    assert np.array_equal(heard(wav(tone(), kind, bits, extra=extensible)), spectrogram)


def test_level_rate_and_a_size_that_is_not_known_change_little() -> None:
    loud = heard(wav(tone()))
    assert np.abs(heard(wav(0.1 * tone())) - loud)[loud > -40].max() < 1.0
    fast = heard(wav(tone(rate=44_100), rate=44_100))
    assert fast.shape == loud.shape
    assert np.abs(fast - loud)[loud > -20].max() < 3.0
    assert np.array_equal(heard(wav(tone(), size=0xFFFFFFFF)), loud)
    assert loud.mean(0).argmax() < 20  # 440 Hz is low
    assert heard(wav(tone(pitch=5000.0))).mean(0).argmax() > 40
    assert (heard(wav(np.zeros(500))) == -80).all()


def test_facts_say_how_long_and_no_size_in_pixels() -> None:
    _, facts = SOUNDS.decode(wav(np.stack([tone(), tone()], 1)), LIMITS)
    assert (facts.width, facts.height, facts.format) == (None, None, "wav")
    assert facts.details == {"seconds": 1.0, "sample_rate": RATE, "channels": 2}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"RIFF", "not a recording"),
        (b"ID3" + b"\0" * 100, "not a recording"),
        (wav(tone())[:5000], "cut short"),
        (wav(tone())[:30], "has no samples|format is cut"),
        (wav(np.zeros(0)), "no samples"),
        (wav(tone(), size=0xFFFFFFF0), "cut short"),
        (wav(tone(), rate=5), "damaged .*5 Hz"),
        (wav(tone(), rate=4_000_000_000), "damaged"),
        (wav(tone())[:20] + b"\x11\0" + wav(tone())[22:], "kind 17"),
        (wav(tone())[:22] + b"\0\0" + wav(tone())[24:], "0 channels"),
        (wav(tone())[:34] + b"\x0c\0" + wav(tone())[36:], "12 bits"),
        (wav(tone())[:12] + wav(tone())[36:], "before their format"),
        (wav(np.zeros(3_700_000), bits=8, rate=1000), "longer than 60 minutes"),
    ],
)
def test_what_is_no_recording_is_refused_and_says_why(content: bytes, reason: str) -> None:
    with pytest.raises(SoundError, match=reason):
        SOUNDS.decode(content, LIMITS)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), max_size=12), st.integers(0, 400))
def test_a_hostile_header_gives_a_recording_or_a_refusal_and_no_heap_of_memory(
    changes: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(wav(tone(0.02)))
    for place, value in changes:
        content[place] = value
    tracemalloc.start()
    try:
        levels, facts = SOUNDS.decode(bytes(content[: len(content) - cut]), LIMITS)
        assert medium.refusal_of(SOUNDS, levels.dtype.str, levels.shape, levels.nbytes) is None
        assert np.isfinite(levels).all()
        assert 0 < facts.details["seconds"] <= 3600
    except SoundError as error:
        assert str(error).startswith(": ")
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 150 << 20


def test_floats_that_are_no_numbers_are_silence() -> None:
    samples = tone()
    samples[:9] = [np.nan, np.inf, -np.inf, 1e300, -1e300, 0, 0, 0, 0]
    assert np.isfinite(heard(wav(samples, 3, 64))).all()


def test_what_takes_too_much_memory_is_refused_before_it_is_decoded() -> None:
    tight = Limits(None, 1, 60.0, 4 << 30, 10 << 20, "sound")
    with pytest.raises(SoundError, match="more memory"):
        SOUNDS.decode(wav(tone(60.0)), tight)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_pool_decodes_sounds_and_a_bad_one_costs_itself(workers: int, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF....WAVE")
    (tmp_path / "good.wav").write_bytes(wav(tone()))
    with DecodePool(None, workers=workers, medium=SOUNDS) as pool:
        asked = [wav(tone(0.3)), tmp_path / "bad.wav", tmp_path / "good.wav", as_bytes(make_picture(0), "jpeg")]
        results: list[Any] = [result for _, result in pool.open(enumerate(asked))]
    assert [type(each) for each in results] == [Recording, SoundError, Recording, SoundError]
    assert np.array_equal(results[2].spectrogram, heard(wav(tone())))
    assert "bad.wav: the file is damaged" in str(results[1])


class Nonsense:
    """A medium that cannot be trusted."""

    name, suffixes, dtype, axes = "nonsense", frozenset({".x"}), "<f4", 2
    gives: Any = None

    def begins(self, start: bytes) -> bool:
        return False

    def decode(self, data: bytes, limits: Limits) -> Any:
        return self.gives, SOUNDS.decode(wav(tone(0.1)), LIMITS)[1]

    def opened(self, array: Any, facts: Any) -> Any:
        return "taken"

    def error(self, reason: str) -> ImageError:
        return SoundError(reason)

    def thumbnail(self, data: bytes, *, edge: int) -> bytes:
        return b""


@pytest.mark.parametrize(
    ("gives", "reason"),
    [
        (np.zeros((3, 4)), "'<f8'"),
        (np.zeros((3, 4), np.uint8), "'|u1'"),
        (np.zeros((3, 4), object), "type"),
        (np.full((3, 4), np.nan, np.float32), "no numbers"),
        (np.full((3, 4), np.inf, np.float32), "no numbers"),
        (np.zeros((0, 4), np.float32), "empty"),
        (np.zeros(4, np.float32), "other than 2 axes"),
        (np.broadcast_to(np.float32(0), (1 << 12, 1 << 11)), "MB for one item"),
    ],
)
def test_a_medium_that_gives_nonsense_is_refused(
    gives: NDArray[Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = Nonsense()
    monkeypatch.setattr(registry, "MEDIA", (*registry.MEDIA, nonsense))
    monkeypatch.setattr(medium, "MAX_ARRAY_BYTES", 1 << 20)
    with DecodePool(None, workers=0, medium=nonsense) as pool:
        nonsense.gives = np.zeros((3, 4), np.float32)
        assert [result for _, result in pool.decode([(0, b"x")])] == ["taken"]
        nonsense.gives = gives
        ((_, result),) = pool.decode([(0, b"x")])
    assert isinstance(result, ImageError)
    assert reason.replace("\\", "") in str(result)


@pytest.mark.parametrize("shape", [[-3, 4], [3.0, 4], [True, 4], "34", None, [1 << 40, 1 << 40]])
def test_a_shape_that_a_worker_makes_up_is_refused(shape: Any) -> None:
    assert medium.refusal_of(SOUNDS, "<f4", shape, 48) is not None


def test_sources_take_the_files_of_their_medium(tmp_path: Path) -> None:
    for name in ("a.wav", "b.WAV", "c"):
        (tmp_path / name).write_bytes(wav(tone(0.1)))
    make_picture(0).save(tmp_path / "d.jpg")
    with tarfile.open(tmp_path / "e.tar", "w") as tar:
        tar.add(tmp_path / "a.wav", "in.wav")
        tar.add(tmp_path / "d.jpg", "in.jpg")
    passed: dict[str, int] = {}
    sounds = [each.path for each in find([tmp_path, tmp_path / "e.tar"], medium=SOUNDS, passed=passed)]
    assert [Path(path).name for path in sounds] == ["a.wav", "b.WAV", "c", "e.tar!in.wav"]
    assert passed == {".jpg": 2, ".tar": 1}
    pictures = [each.path for each in find([tmp_path, tmp_path / "e.tar"])]
    assert [Path(path).name for path in pictures] == ["d.jpg", "e.tar!in.jpg"]


def test_each_medium_knows_its_files_and_no_other_and_shows_them() -> None:
    files = {"picture": as_bytes(make_picture(0), "png"), "sound": wav(tone())}
    assert [each.name for each in registry.MEDIA] == list(files)
    for each in registry.MEDIA:
        assert [name for name, content in files.items() if each.begins(content[: medium.START])] == [each.name]
        shown = Image.open(io.BytesIO(each.thumbnail(files[each.name], edge=64)))
        assert shown.format == "JPEG"
        assert max(shown.size) <= 64
        assert registry.named(each.name) is each
    assert not PICTURES.suffixes & SOUNDS.suffixes


def test_codes_do_not_hear_the_level_and_are_the_same_everywhere() -> None:
    loud, quiet = (sound_codes(heard(wav(level * tone(2.0)))) for level in (1.0, 0.2))
    distance = np.bitwise_count(loud.whole.words ^ quiet.whole.words).sum()
    assert distance < 20
    assert loud.spans[0].tolist() == [0.0, 0.5]
    assert loud.spans[-1][1] == pytest.approx(2.0, abs=0.12)
    assert np.allclose(np.diff(loud.spans[:, 0]), 0.12)
    first = sound_code._directions(3).ravel()[:3]
    assert np.allclose(first, np.random.Generator(np.random.PCG64(20)).standard_normal(3))
    short = sound_codes(heard(wav(tone(0.1))))
    assert (len(short.parts), short.spans.tolist()) == (1, [[0.0, pytest.approx(0.1)]])
    assert short.parts == short.whole


@pytest.mark.parametrize("wrong", [np.zeros((0, 64)), np.zeros(9), np.full((9, 64), np.nan)])
def test_what_is_no_spectrogram_has_no_code(wrong: NDArray[Any]) -> None:
    with pytest.raises(SoundError, match="a spectrogram is"):
        sound_codes(wrong)


def test_a_long_recording_has_no_more_parts_than_an_item_can() -> None:
    levels = np.random.default_rng(0).uniform(-80, 0, (5_000, BANDS)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sound_code, "MOST_PARTS", 30)
        assert len(sound_codes(levels).parts) <= 30


def add_sounds(library: Library, folder: Path) -> None:
    """What adding does, of another medium: find, decode in the pool, encode, commit with parts."""
    sources = [each for each in find(folder, medium=SOUNDS) if isinstance(each, Source)]
    contents = [source.load() for source in sources]
    batch = []
    with DecodePool(None, workers=1, medium=SOUNDS) as pool:
        for source, result in pool.decode(zip(sources, contents, strict=True)):
            assert isinstance(result, Recording)
            codes, facts = sound_codes(result.spectrogram), result.facts
            content = hashlib.sha256(source.load()).hexdigest()
            fields: tuple[Any, ...] = (source.path, content, source.stamp, None, None, facts.format, None)
            parts = Parts(codes.parts.words, codes.spans)
            batch.append(New(*fields, codes.whole.words[0], details=facts.details, parts=parts))
    library.store.commit(batch)


@pytest.fixture(scope="module")
def drums(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, NDArray[np.int64]]]:
    """A folder of real drum samples, some of each kind, by name KIND-NUMBER.wav."""
    table = pytest.importorskip("pyarrow.parquet").read_table(data / "sounds" / "drums.parquet").to_pylist()
    folder, samples, taken = tmp_path_factory.mktemp("drums"), {}, Counter[str]()
    for row in sorted(table, key=lambda row: hashlib.sha256(row["audio"]["bytes"]).hexdigest()):
        if row["label"] not in KINDS or taken[row["label"]] == EACH:
            continue
        taken[row["label"]] += 1
        name = f"{row['label']}-{taken[row['label']]:02}.wav"
        samples[name], rate = samples_of(row["audio"]["bytes"], 0.6)
        assert rate == RATE
        (folder / name).write_bytes(as_wav(samples[name], rate))
    return folder, samples


@pytest.fixture
def new_library(tmp_path: Path) -> Iterator[Callable[[], Library]]:
    """A library of codes that the model of sounds makes."""
    made: list[Library] = []

    def make() -> Library:
        made.append(
            Library.create(tmp_path / "s.hg", codes_only.codes_only(sound_code.GRAINS, made_by=sound_code.NAME))
        )
        return made[-1]

    yield make
    for library in made:
        library.close()


def test_the_nearest_drum_is_of_the_same_kind(
    drums: tuple[Path, dict[str, NDArray[np.int64]]], new_library: Callable[[], Library]
) -> None:
    library = new_library()
    add_sounds(library, drums[0])
    items = library.items()
    assert len(items) == EACH * len(KINDS)
    assert {(item.width, item.height, item.format) for item in items} == {(None, None, "wav")}
    kinds = {item.id: Path(item.path).name.partition("-")[0] for item in items}
    right = [kinds[library.search(item.id, k=1)[0].id] == kinds[item.id] for item in items]
    assert np.mean(right) > 0.6  # one in five by chance
    assert library.verify() == []
    assert all(0 < item.details["seconds"] <= 0.6 for item in items)


def test_a_piece_of_a_recording_finds_the_recording_and_the_span(
    drums: tuple[Path, dict[str, NDArray[np.int64]]], new_library: Callable[[], Library], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    names, samples, folder = sorted(drums[1]), drums[1], tmp_path / "rhythms"
    folder.mkdir()
    rhythms = []
    for number, struck in enumerate(rng.permutation(len(names))[:88].reshape(11, 8)):  # each drum in one of them
        rhythms.append(np.concatenate([samples[names[i]][:, :1] for i in struck]))
        (folder / f"{number:02}.wav").write_bytes(as_wav(rhythms[-1], RATE))
    library = new_library()
    add_sounds(library, folder)
    with library.store.snapshot() as snapshot:
        parts = [each for each in snapshot.parts_of(range(1, 12)) if each is not None]
    owner = np.repeat(np.arange(11), [len(each) for each in parts])
    words = np.concatenate([each.codes for each in parts])
    spans = np.concatenate([each.positions for each in parts if each.positions is not None])
    recognized, placed = [], []
    for number in np.repeat(np.arange(11), 4).tolist():
        begin = rng.uniform(0, len(rhythms[number]) / RATE - 0.5)
        piece = rhythms[number][int(begin * RATE) : int((begin + 0.5) * RATE)]
        code: Codes = sound_codes(heard(as_wav(piece // 2, RATE))).whole
        best = int(np.bitwise_count(words ^ code.words).sum(1).argmin())
        recognized.append(owner[best] == number)
        overlap = min(spans[best][1], begin + 0.5) - max(spans[best][0], begin)
        placed.append(recognized[-1] and overlap > 0.3)
    assert np.mean(recognized) > 0.8  # one in eleven by chance
    assert np.mean(placed) > 0.7, np.mean(recognized)


def test_reading_by_hand_agrees_with_the_medium() -> None:
    form, content = read_wav(wav(tone()))
    assert np.array_equal(log_mel(mono(content, form), form.rate), heard(wav(tone())))
