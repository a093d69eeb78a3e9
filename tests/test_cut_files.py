"""A file that another program cuts short while it is mapped is an error, never the end of the process."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from hashgrain.errors import LibraryError
from hashgrain.hamming import compiled
from hashgrain.hamming.mapping import Mapping, map_file
from hashgrain.store import Store, segments
from test_store import child, code_of, live, make, new
from test_store import no_waiting_for_the_disk as no_waiting_for_the_disk

pytestmark = pytest.mark.skipif(
    not compiled() or sys.platform == "win32", reason="mappings are watched by the compiled kernels"
)


def test_a_mapping_that_was_cut_reads_as_zeros_and_says_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000)
    with file.open("rb") as opened:
        cut, whole = map_file(opened.fileno(), 100_000), map_file(opened.fileno(), 100_000)
    assert bytes(cut.view[50_000:50_002]) == b"xx"
    assert not cut.cut()
    os.truncate(file, 4096)
    assert bytes(cut.view[:4]) == b"xxxx"
    assert bytes(cut.view[50_000:50_004]) == bytes(4)
    assert cut.cut()
    assert not whole.cut()  # not read yet
    slot = cut.slot
    del cut
    with file.open("rb") as opened:
        again = map_file(opened.fileno(), 4096)
    assert again.slot == slot  # given back
    assert not again.cut()


def test_a_segment_cut_under_a_reader_is_an_error_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "a.hg"
    with make(path) as store:
        store.segment_rows = 1 << 20
        store.commit([new(number) for number in range(4000)])
    with Store.open(path) as reader:
        with reader.snapshot() as snapshot:
            assert len(live(snapshot)) == 4000
            os.truncate(path / "segments/000001.w01", 64)
            assert int(snapshot.segments[0].planes[1][3000]) == 0
            with pytest.raises(Exception, match=r"cut short.*rebuild the library"):
                snapshot.check_segments()
        with pytest.raises(Exception, match=r"000001\.w01.*rebuild the library"), reader.snapshot():
            pass
        with Store.open(path, "w", mend=True) as store:
            store.rebuild()
        with reader.snapshot() as snapshot:
            assert live(snapshot)[7] == code_of(6).tobytes()


def test_a_segment_cut_between_a_look_at_its_size_and_its_mapping_is_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.hg"
    with make(path) as store:
        store.commit([new(number) for number in range(2_000)])

    def cut_first(descriptor: int, size: int) -> Mapping:
        os.truncate(path / "segments/000001.w00", 64)
        return map_file(descriptor, size)

    monkeypatch.setattr(segments, "map_file", cut_first)
    damage = pytest.raises(LibraryError, match=r"has 64 bytes where \d+ are committed")
    with Store.open(path) as reader, damage, reader.snapshot():
        pass


def test_a_reader_goes_on_asking_while_segments_are_cut(tmp_path: Path) -> None:
    """A real search in another process, cut at every moment of it: right answers, then errors, and no signal."""
    script = """
    from hashgrain.codes import Codes
    from hashgrain.engines import EmbeddedEngine
    path = Path(sys.argv[1])
    with Store.open(path) as reader:
        print("ready", flush=True)
        for _ in range(100_000):
            try:
                with reader.snapshot() as snapshot:
                    engine = EmbeddedEngine(snapshot.segments, GRAINS, ())
                    (found,) = engine.nearest(Codes(code_of(7)[None], GRAINS), 1, grain="look")
                    snapshot.check_segments()
                    assert found.ids.tolist() == [8], found.ids
            except LibraryError as error:
                print("rebuild" in str(error), flush=True)
                break
    """
    path = tmp_path / "a.hg"
    with make(path) as store:
        store.segment_rows = 1 << 20
        store.commit([new(number) for number in range(20_000)])
    reader = child(script, path)
    assert reader.stdout
    assert reader.stdout.readline() == "ready\n"
    for size in np.linspace(150_000, 64, 20).astype(int).tolist():
        os.truncate(path / "segments/000001.w00", size)
    assert (reader.communicate(timeout=60)[0], reader.returncode) == ("True\n", 0)


def test_a_bus_error_elsewhere_still_ends_the_process(tmp_path: Path) -> None:
    script = """
    import mmap
    file = Path(sys.argv[1])
    file.write_bytes(b"x" * 100_000)
    with file.open("rb") as opened:
        from hashgrain.hamming.mapping import map_file
        watched = map_file(opened.fileno(), 100_000)
        other = mmap.mmap(opened.fileno(), 100_000, access=mmap.ACCESS_READ)
    os.truncate(file, 0)
    print(bytes(watched.view[:2]), flush=True)
    print(other[50_000])
    """
    process = child(script, tmp_path / "file")
    assert process.communicate()[0] == "b'\\x00\\x00'\n"
    assert process.returncode == -7
