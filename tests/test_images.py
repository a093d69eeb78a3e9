"""Pictures nobody vouches for: opened by clear rules, or refused with a reason."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from conftest import make_picture
from hashgrain.errors import ImageError
from hashgrain.media import DecodePool, Picture, open_picture, thumbnail

FORMATS = {
    "jpeg": {"quality": 92},
    "png": {},
    "webp": {"lossless": True},
    "gif": {},
    "bmp": {},
    "tiff": {},
    "avif": {"quality": 90},
}


def as_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def close(a: np.ndarray, b: np.ndarray, within: float = 6.0) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(float) - b).mean()) < within


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_opens_to_the_same_picture(kind: str) -> None:
    original = make_picture(3)
    opened = open_picture(as_bytes(original, kind, **FORMATS[kind]))
    assert close(opened.pixels, np.asarray(original), 10.0)
    assert (opened.facts.width, opened.facts.height, opened.facts.format) == (120, 90, kind)


def test_heic_opens_as_phones_make_it() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    opened = open_picture(as_bytes(make_picture(3), "HEIF", quality=90))
    assert opened.facts.format == "heic"
    assert close(opened.pixels, np.asarray(make_picture(3)), 10.0)


def test_heic_without_its_decoder_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(ImageError, match="pip install pi-heif"):
        open_picture(b"\x00\x00\x00\x18ftypheic" + bytes(100))


def test_the_bytes_decide_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(as_bytes(make_picture(1), "png"))
    assert open_picture(path).facts.format == "png"


def test_the_first_frame_stands_for_an_animation() -> None:
    frames = [make_picture(seed).quantize() for seed in range(3)]
    content = as_bytes(frames[0], "gif", save_all=True, append_images=frames[1:])
    assert close(open_picture(content).pixels, np.asarray(make_picture(0)), 12.0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, (64, 64), (60, 40)])
def test_a_turned_photograph_is_seen_upright(orientation: int, size: tuple[int, int] | None) -> None:
    upright = make_picture(5, (96, 64))
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # transposes that store the picture turned
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_picture(as_bytes(stored, "jpeg", quality=95, exif=exif), size=size)
    expected = np.asarray(upright.resize(size, Image.Resampling.BILINEAR) if size else upright)
    assert close(opened.pixels, expected)
    assert (opened.facts.width, opened.facts.height) == (96, 64)


def test_colors_of_every_kind_become_rgb() -> None:
    gray = np.asarray(make_picture(2).convert("L"))
    rgb = np.repeat(gray[:, :, None], 3, axis=2)
    wide = Image.fromarray(gray.astype(np.uint16) * 257)
    cases = {
        "L": as_bytes(Image.fromarray(gray), "png"),
        "I;16": as_bytes(wide, "png"),
        "I;16 tiff": as_bytes(wide, "tiff"),
        "float tiff": as_bytes(Image.fromarray(gray.astype(np.float32) / 100), "tiff"),
    }
    for name, content in cases.items():
        pixels = open_picture(content).pixels
        if "float" in name:
            low, high = int(gray.min()), int(gray.max())
            expected = ((rgb.astype(float) - low) / (high - low) * 255).astype(np.uint8)
            assert close(pixels, expected, 1.5), name
        else:
            assert close(pixels, rgb, 1.0), name
    cmyk = make_picture(2).convert("CMYK")
    assert close(open_picture(as_bytes(cmyk, "jpeg", quality=95)).pixels, np.asarray(cmyk.convert("RGB")), 8.0)
    bits = make_picture(2).convert("1")
    assert set(np.unique(open_picture(as_bytes(bits, "png")).pixels)) <= {0, 255}


def test_what_is_transparent_lies_on_white() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    half = Image.new("RGBA", (20, 20), (0, 0, 0, 128))
    assert (open_picture(as_bytes(clear, "png")).pixels == 255).all()
    assert abs(int(open_picture(as_bytes(half, "png")).pixels[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (20, 20), 0)
    palette.putpalette([10, 20, 30] * 256)
    assert (open_picture(as_bytes(palette, "png", transparency=0)).pixels == 255).all()
    assert (open_picture(as_bytes(Image.new("LA", (20, 20), (0, 0)), "png")).pixels == 255).all()


def test_arrays_and_pil_images_are_pictures_too() -> None:
    pixels = np.asarray(make_picture(4))
    for source in (pixels, Image.fromarray(pixels), np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])):
        assert close(open_picture(source).pixels, pixels, 0.1)
    assert open_picture(pixels[:, :, 0]).pixels.shape == (90, 120, 3)
    for wrong in (pixels.astype(float), pixels[0, 0], np.zeros((0, 5, 3), np.uint8), np.zeros((5, 5, 2), np.uint8), 3):
        with pytest.raises(ImageError):
            open_picture(wrong)


def test_shrinking_while_decoding_looks_like_shrinking_after(data: Path) -> None:
    for path in sorted(data.glob("photos/*.jpg"))[:8]:
        slow = Image.open(path).convert("RGB").resize((64, 64), Image.Resampling.BILINEAR)
        assert close(open_picture(path, size=(64, 64)).pixels, np.asarray(slow), 2.5)


def test_the_date_is_read_and_nonsense_is_not_believed() -> None:
    for text, expected in (
        ("2021:05:01 13:20:11", "2021-05-01T13:20:11"),
        ("0000:00:00 00:00:00", None),
        ("yesterday", None),
        ("2021:13:01 13:20:11", None),
    ):
        exif = Image.Exif()
        exif[306] = text
        assert open_picture(as_bytes(make_picture(1), "jpeg", exif=exif)).facts.taken == expected
    content = as_bytes(make_picture(1), "jpeg", exif=b"Exif\x00\x00broken beyond repair")
    assert open_picture(content).facts.taken is None


def test_an_enormous_picture_is_refused_before_it_costs_anything() -> None:
    large = as_bytes(Image.new("1", (12_000, 12_000)), "png")
    header = b"IHDR" + struct.pack(">II", 30_000, 30_000) + large[24:29]
    bomb = large[:12] + header + struct.pack(">I", zlib.crc32(header)) + large[33:]
    assert len(bomb) < 20_000
    before = psutil.Process().memory_info().rss
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=r"30000 x 30000 .*max_pixels"):
            open_picture(bomb)
    assert psutil.Process().memory_info().rss - before < 20_000_000
    with pytest.raises(ImageError, match="more than the 100 million allowed"):
        open_picture(large, max_pixels=100_000_000)
    assert open_picture(large, size=(8, 8)).pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"just text", "not a picture"),
        (b"%PDF-1.7 ...", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", "not a picture"),
        (b"\xff\xd8\xff", "damaged|cut short|not a picture"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=f"holiday.*({reason})"):
        open_picture(content, name="holiday")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_file_is_refused(kind: str) -> None:
    content = as_bytes(make_picture(3, (300, 200)), kind, **FORMATS[kind])
    with pytest.raises(ImageError):
        open_picture(content[: len(content) // 2])


def test_paths_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.jpg", tmp_path):
        with pytest.raises(ImageError, match=path.name):
            open_picture(path)


def test_hostile_files_are_opened_or_refused_and_nothing_else() -> None:
    dice = random.Random(11)
    corpus = [as_bytes(make_picture(1, (40, 30)), kind, **options) for kind, options in FORMATS.items()]
    outcomes = {True: 0, False: 0}
    for _ in range(700):
        content = bytearray(dice.choice(corpus))
        for _ in range(dice.randint(1, 12)):
            content[dice.randrange(len(content))] = dice.randrange(256)
        if dice.random() < 0.3:
            del content[dice.randrange(len(content)) :]
        try:
            outcomes[isinstance(open_picture(bytes(content), size=(16, 16)), Picture)] += 1
        except ImageError:
            outcomes[False] += 1
    assert min(outcomes.values()) > 50  # both happened, so both were tried


def test_a_thumbnail_is_small_upright_and_bare() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[306] = 6, "2021:05:01 13:20:11"
    made = Image.open(io.BytesIO(thumbnail(as_bytes(make_picture(1, (400, 200)), "jpeg", exif=exif), edge=100)))
    assert made.size == (50, 100)
    assert not made.getexif()


def numbered(n: int) -> list[tuple[int, bytes]]:
    return [(i, as_bytes(make_picture(i), "jpeg")) for i in range(n)]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_the_pool_gives_every_picture_in_order(workers: int) -> None:
    items = numbered(250)
    items[7] = (7, b"broken")
    with DecodePool((32, 32), workers=workers) as pool:
        results = list(pool.decode(items))
        again = list(pool.decode(items[:5]))
    assert [token for token, _ in results] == list(range(250))
    assert isinstance(results[7][1], ImageError)
    for i in (0, 8, 249):
        np.testing.assert_array_equal(results[i][1].pixels, open_picture(items[i][1], size=(32, 32)).pixels)
        assert results[i][1].facts == open_picture(items[i][1]).facts
    assert len(again) == 5


def test_the_pool_never_runs_far_ahead_of_its_reader() -> None:
    pulled = 0

    def endless():
        nonlocal pulled
        while True:
            pulled += 1
            yield pulled, b"broken"

    with DecodePool(None, workers=2) as pool:
        stream = pool.decode(endless())
        next(stream)
        assert pulled < 200
        stream.close()  # type: ignore[attr-defined]


def test_a_picture_that_kills_its_decoder_is_lost_alone() -> None:
    items = numbered(60)
    with DecodePool((16, 16), workers=1) as pool:
        stream = pool.decode(items)
        results = [next(stream)]
        pool._workers[0].process.kill()
        results += stream
    lost = [token for token, result in results if isinstance(result, ImageError)]
    assert len(lost) <= 1  # the one in flight, if any was
    assert len(results) == 60


def test_a_decoder_that_hangs_is_ended_at_its_deadline() -> None:
    import signal

    with DecodePool((16, 16), workers=1, timeout=4.0) as pool:
        list(pool.decode(numbered(1)))
        os.kill(pool._workers[0].process.pid, signal.SIGSTOP)  # as good as an endless loop
        (first, second) = pool.decode(numbered(2))
    assert "longer than 4 s" in str(first[1])
    assert isinstance(second[1], Picture)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory cap is the system's, and only Linux keeps to it")
def test_a_picture_that_needs_too_much_memory_is_lost_alone() -> None:
    large = as_bytes(Image.new("RGB", (9_000, 9_000)), "png")
    items = [(0, large), *numbered(3)]
    with DecodePool((16, 16), workers=1, memory=300 << 20) as pool:
        results = [result for _, result in pool.decode(items)]
    assert isinstance(results[0], ImageError)
    assert all(isinstance(result, Picture) for result in results[1:3])


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def test_leaving_early_leaves_no_process_behind() -> None:
    before = len(children())
    with DecodePool((16, 16), workers=2) as pool:
        for token, _ in pool.decode(numbered(200)):
            if token == 3:
                break
    assert len(children()) == before


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from hashgrain.media import DecodePool\n"
        "pool = DecodePool((16, 16), workers=1)\n"
        "list(pool.decode([(0, b'x')])); print(pool._workers[0].process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_a_file_in_the_working_folder_cannot_pose_as_a_library(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported the wrong numpy')")
    script = (
        "import sys; sys.path.remove('')\n"
        "from hashgrain.media import DecodePool, Picture\n"
        "with DecodePool((16, 16), workers=1) as pool:\n"
        "    ((_, result),) = pool.decode([(0, open('a.jpg', 'rb').read())])\n"
        "assert isinstance(result, Picture), result"
    )
    make_picture(1).save(tmp_path / "a.jpg")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_script_without_a_main_guard_is_not_run_again_by_workers(tmp_path: Path) -> None:
    make_picture(1).save(tmp_path / "a.jpg")
    (tmp_path / "script.py").write_text(
        "print('started')\n"
        "from hashgrain.media import DecodePool\n"
        "pool = DecodePool((16, 16), workers=2)\n"
        "print(len(list(pool.decode([(i, open('a.jpg', 'rb').read()) for i in range(9)]))))\n"
        "pool.close()\n"
    )
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["started", "9"]


def test_closing_a_busy_pool_does_not_wait_for_its_work() -> None:
    pool = DecodePool(None, workers=1, timeout=60)
    stream = pool.decode([(i, as_bytes(Image.new("RGB", (6_000, 6_000)), "png")) for i in range(4)])
    started = time.monotonic()
    next(stream)
    pool.close()
    assert time.monotonic() - started < 50
