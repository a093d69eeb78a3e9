"""Questions with pictures: decoded by workers that stay warm, in batches, and each costs at most itself."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from conftest import fill, make_picture
from hashgrain import Codes, Encoder, Library
from hashgrain.apps.answer_page import write_answer_page
from hashgrain.errors import HashgrainError, ImageError, ImageTooLargeError, LibraryError, QueryError
from hashgrain.media import DecodePool, Picture, image, open_picture, processes, thumbnail
from test_images import as_bytes, children

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="signals and limits as Linux has them")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of 30 pictures, closed, beside their folder."""
    folder = tmp_path_factory.mktemp("asking")
    with Library.create(folder / "test.hg") as library:
        library.add(fill(folder / "pictures", 30), workers=0)
    return folder / "test.hg"


@pytest.fixture
def library(path: Path) -> Iterator[Library]:
    with Library.open(path) as opened:
        yield opened


def files(path: Path) -> list[Path]:
    return sorted((path.parent / "pictures").iterdir())


def worker(library: Library) -> psutil.Process:
    (only,) = [each.process for each in library._query_encoder.pool._workers if each.process is not None]
    return psutil.Process(only.pid)


def test_a_process_starts_with_the_first_picture_stays_and_ends_with_the_library(path: Path) -> None:
    before = len(children())
    with Library.open(path) as library:
        library.search(3)
        library.search(make_picture(3))
        library.search(np.asarray(make_picture(3)))
        assert len(children()) == before  # an item, an image and an array are decoded already
        for file in files(path)[:5]:
            library.search(file)
        first = worker(library)
        library.search(files(path)[6].read_bytes())
        assert worker(library) == first
        assert len(children()) == before + 1
    assert len(children()) == before


def test_a_library_that_is_forgotten_leaves_no_process_behind(path: Path) -> None:
    before = len(children())
    library = Library.open(path)
    library.search(files(path)[0])
    library.store.close()
    del library
    gc.collect()
    assert len(children()) == before


def test_no_workers_decode_in_the_process_itself(path: Path) -> None:
    before = len(children())
    with Library.open(path, workers=0) as library:
        assert library.search(files(path)[4], k=1)[0].id == 5
        assert len(library.search_many(files(path))) == 30
        assert len(children()) == before


@pytest.mark.parametrize("workers", [-1, 1.5, True, "2"])
def test_workers_are_a_number_of_processes(path: Path, workers: object) -> None:
    with pytest.raises(LibraryError, match="number of processes"):
        Library.open(path, workers=workers)  # type: ignore[arg-type]


def test_every_way_to_give_a_picture_gives_one_code_and_the_errors_name_it(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "one.png"
    make_picture(77).save(file)
    ways = [file, str(file), file.read_bytes(), bytearray(file.read_bytes()), make_picture(77)]
    codes = [library.code(way) for way in ways]
    assert all(code == codes[0] for code in codes)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    (tmp_path / "empty.jpg").write_bytes(b"")
    wrong = [tmp_path / "broken.jpg", tmp_path / "empty.jpg", tmp_path, tmp_path / "none.jpg", b"", b"no picture", 1.5]
    for each in wrong:
        with pytest.raises(ImageError) as here:
            open_picture(each)
        with pytest.raises(ImageError) as asked:
            library.search(each)  # type: ignore[arg-type]
        assert (str(asked.value), asked.value.path) == (str(here.value), here.value.path)
    with pytest.raises(ImageTooLargeError, match=r"one\.png.*raise the limit"):
        library.search(file, max_pixels=100)
    assert library.search(file, k=1)


def test_the_first_of_many_that_cannot_be_used_is_the_error(library: Library, tmp_path: Path) -> None:
    good = files(library.path)[0]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 not really")
    other = library.codes()[0][:2]  # two codes are no query
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        library.search_many([good, broken, other, tmp_path / "none.jpg"])
    with pytest.raises(QueryError, match="one code"):
        library.search_many([good, make_picture(1), other, broken])
    with pytest.raises(ImageError, match=r"none\.jpg"):
        library.search_many([good] * 200 + [tmp_path / "none.jpg", broken])
    with pytest.raises(QueryError, match="takes a picture"):
        library.search_many([good, library.code(good), broken], rerank=5)


def test_many_questions_of_every_kind_are_answered_in_their_order(library: Library) -> None:
    asked = [file if i % 3 else Image.open(file) for i, file in enumerate(files(library.path))] * 5
    asked[7] = library.code(files(library.path)[7])  # type: ignore[call-overload]
    asked[8] = files(library.path)[8].read_bytes()  # type: ignore[call-overload]
    results = library.search_many(iter(asked), k=1)
    assert [hits[0].id for hits in results] == list(range(1, 31)) * 5
    single = [library.search(each, k=4, rerank=4) for each in files(library.path)[:9]]
    assert library.search_many(files(library.path)[:9], k=4, rerank=4) == single


@linux_only
def test_a_picture_that_hangs_its_decoder_costs_its_own_question(library: Library) -> None:
    library.search(files(library.path)[0])
    pool = library._query_encoder.pool
    pool.limits = replace(pool.limits, timeout=1.0)
    os.kill(worker(library).pid, signal.SIGSTOP)  # as good as an endless loop
    with pytest.raises(ImageError, match=r"00001\.jpg: took longer than 1 s"):
        library.search(files(library.path)[1])
    pool.limits = replace(pool.limits, timeout=60.0)
    assert library.search(files(library.path)[1], k=1)[0].id == 2


@linux_only
def test_a_picture_that_takes_too_much_memory_costs_its_own_question(library: Library) -> None:
    pool = library._query_encoder.pool
    usual, pool.limits = pool.limits, replace(pool.limits, memory=300 << 20)
    large = as_bytes(Image.new("RGB", (9_000, 9_000)), "png")
    with pytest.raises(ImageError, match="picture: "):
        library.search(large)
    assert library.search(files(library.path)[2], k=1)[0].id == 3
    pool.limits = usual  # the same worker may take more again
    assert library.search(large)


def test_a_picture_that_kills_its_decoder_costs_its_own_question(library: Library) -> None:
    library.search(files(library.path)[0])
    worker(library).kill()
    psutil.wait_procs([worker(library)], timeout=5)
    assert library.search(files(library.path)[1], k=1)[0].id == 2


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Library]:
    """A library of three pictures that may be changed, open for writing, with one worker that is ready."""
    with Library.create(tmp_path / "few.hg", workers=1) as library:
        library.add(fill(tmp_path / "pictures", 3))
        yield library


def test_thumbnails_and_headers_of_imported_files_are_not_decoded_in_this_process(
    few: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open_image", "facts_of", "_opened"):
        monkeypatch.delattr(image, name)
    small = few.thumbnail(1, edge=33)
    assert few.import_codes(few.code(1), [files(few.path)[1]], replace=True).files == 1
    assert (few.item(2).width, few.item(2).format) == (few.item(1).width, "jpeg")
    monkeypatch.undo()
    assert small == thumbnail(files(few.path)[0], edge=33)  # and are as they would be here


@linux_only
def test_a_picture_that_hangs_its_decoder_costs_its_own_thumbnail_and_its_own_header(few: Library) -> None:
    pool = few._query_encoder.pool
    pool.limits = replace(pool.limits, timeout=1.0)
    os.kill(worker(few).pid, signal.SIGSTOP)  # as good as an endless loop
    with pytest.raises(ImageError, match=r"took longer than 1 s"):
        few.thumbnail(1, edge=33)
    pool.limits = replace(pool.limits, timeout=60.0)
    assert few.thumbnail(1, edge=33)
    pool.limits = replace(pool.limits, timeout=1.0)
    os.kill(worker(few).pid, signal.SIGSTOP)
    codes = Codes.concatenate([few.code(1), few.code(2)])
    pool.limits = replace(pool.limits, timeout=1.0)
    assert few.import_codes(codes, files(few.path)[:2], replace=True).files == 2
    assert [few.item(item).format for item in (1, 2)] == ["", "jpeg"]


@linux_only
def test_a_picture_that_takes_too_much_memory_costs_its_own_thumbnail(few: Library) -> None:
    pool = few._query_encoder.pool
    pool.limits = replace(pool.limits, memory=300 << 20)
    files(few.path)[0].write_bytes(as_bytes(Image.new("RGB", (9_000, 9_000)), "png"))
    before = psutil.Process().memory_info().rss
    with pytest.raises(ImageError):
        few.thumbnail(1, edge=33)
    assert few.thumbnail(2, edge=33)
    assert psutil.Process().memory_info().rss - before < 50 << 20


def test_the_picture_on_a_page_of_hits_is_decoded_by_a_worker(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits = library.search(files(library.path)[0], k=2)
    monkeypatch.delattr(image, "open_image")
    page = write_answer_page(library, files(library.path)[0], hits, tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == 3


def test_several_threads_ask_at_once(library: Library) -> None:
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda file: library.search(file, k=1)[0].id, files(library.path) * 3))
    assert results == list(range(1, 31)) * 3


def test_adding_and_asking_share_their_workers(path: Path, tmp_path: Path) -> None:
    with Library.create(tmp_path / "new.hg") as library:
        library.search(make_picture(0))
        library.add(files(path)[:3])
        pids = {each.process.pid for each in library._query_encoder.pool._workers if each.process}
        for file in files(path)[:3]:
            assert library.search(file, k=1)[0].path == str(file)
        assert {each.process.pid for each in library._query_encoder.pool._workers if each.process} == pids


def test_a_closed_library_says_that_it_is(path: Path) -> None:
    library = Library.open(path)
    library.search(files(path)[0])
    library.close()
    for query in (files(path)[0], make_picture(1)):
        with pytest.raises(LibraryError, match="closed; open it again"):
            library.search(query)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_workers_of_its_own(library: Library) -> None:
    library.search(files(library.path)[0])
    pool, content = library._query_encoder.pool, files(library.path)[1].read_bytes()
    child = os.fork()
    if not child:
        ((_, result),) = pool.decode([(0, content)])
        pool.close()
        os._exit(0 if isinstance(result, Picture) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert worker(library).is_running()
    assert library.search(files(library.path)[2], k=1)[0].id == 3


def test_one_after_the_other_never_takes_a_second_worker() -> None:
    content = as_bytes(make_picture(1), "jpeg")
    with DecodePool((16, 16), workers=4) as pool:
        for _ in range(50):
            ((_, result),) = pool.decode([(0, content)])
            assert isinstance(result, Picture)
        assert len(pool._workers) == 1
        assert len(list(pool.decode((i, content) for i in range(50)))) == 50
        assert len(pool._workers) <= 4


def test_a_message_that_says_it_is_longer_than_any_is_taken_for_the_end_of_its_sender() -> None:
    stream = io.BytesIO(b"P" + processes.LENGTH.pack(2) + b"{}" + processes.LENGTH.pack(2**60) + b"pixels")
    with pytest.raises(EOFError):
        processes.receive(stream)
    ended = io.BytesIO(b"P" + processes.LENGTH.pack(2) + b"{}" + processes.LENGTH.pack(6) + b"pixels")
    assert processes.receive(ended) == (b"P", {}, b"pixels")


def test_what_a_worker_says_that_is_no_answer_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    content = as_bytes(make_picture(1), "jpeg")
    with DecodePool((16, 16), workers=1) as pool:
        list(pool.decode([(0, content)]))
        good = {"dtype": "|u1", "shape": [16, 16, 3], "facts": {"x": 1}, "detail": None}
        for header, reason in (
            ({}, "died"),
            (good, "died"),  # no such fact
            (good | {"dtype": "<f4"}, "numbers of type '<f4'"),
            (good | {"shape": "no"}, "shape 'no'"),
            (good | {"shape": [7, 7, 3]}, "768 bytes for an array of 147"),
        ):
            with monkeypatch.context() as patch:
                patch.setattr(processes, "receive", lambda stream, h=header: (b"P", h, bytes(768)))
                ((_, result),) = pool.decode([(0, content)])
            assert isinstance(result, ImageError)
            assert reason in str(result)


def test_a_pool_that_is_closed_refuses_at_once() -> None:
    pool = DecodePool((16, 16), workers=2)
    list(pool.decode([(0, b"x")]))
    pool.close()
    pool.close()
    ((_, result),) = pool.decode([(0, b"x")])
    assert "stopped" in str(result)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_batches_that_run_at_once_give_what_they_give_alone(threads: int) -> None:
    encoder, alone = Encoder.load(threads=threads), Encoder.load(threads=1)
    pixels = np.stack([np.asarray(make_picture(seed, (64, 64))) for seed in range(170)])
    np.testing.assert_array_equal(
        encoder.outputs(pixels), np.concatenate([alone.outputs(pixels[i : i + 1]) for i in range(170)])
    )


def test_refusals_among_many_batches_stay_in_their_place() -> None:
    encoder = Encoder.load(threads=2)
    images = [(i, b"no" if i % 7 == 0 or 100 <= i < 180 else make_picture(i % 5)) for i in range(300)]
    results = list(encoder.encode_each(images))
    assert [token for token, _ in results] == list(range(300))
    refused = {token for token, result in results if isinstance(result, ImageError)}
    assert refused == {i for i in range(300) if i % 7 == 0 or 100 <= i < 180}


def test_a_network_that_fails_in_one_of_many_batches_is_an_error() -> None:
    encoder = Encoder.load(threads=2)
    pixels = np.zeros((256, 64, 64, 3), np.uint8)
    encoder.outputs(pixels)

    class Failing:
        def run(self, *_: object) -> object:
            raise RuntimeError("on purpose")

    encoder._stream_session = Failing()  # type: ignore[assignment]
    with pytest.raises(HashgrainError, match="on purpose"):
        encoder.outputs(pixels)
