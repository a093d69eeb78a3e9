"""Sums of pages: the same by the compiled kernel, without it, and by zlib."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashgrain.hamming import native
from hashgrain.hamming.checksums import page_sums


def by_zlib(content: bytes, page: int) -> list[int]:
    return [zlib.crc32(content[at : at + page]) for at in range(0, len(content), page)]


@given(st.binary(max_size=3000), st.sampled_from([64, 128, 1024]))
def test_the_sum_of_every_page_is_that_of_zlib(content: bytes, page: int) -> None:
    assert page_sums(content, page).tolist() == by_zlib(content, page)


def test_pages_of_the_catalogues_size_have_the_sums_of_zlib_with_and_without_the_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = bytes(range(256)) * 16 * 9 + b"short"
    assert page_sums(content, 4096).tolist() == by_zlib(content, 4096)
    monkeypatch.setattr(native, "kernels", None)
    assert page_sums(content, 4096).tolist() == by_zlib(content, 4096)


@pytest.mark.skipif(not native.compiled(), reason="the kernels are not compiled here")
def test_the_kernel_refuses_buffers_that_do_not_fit() -> None:
    for size, page, room in ((128, 64, 4), (100, 64, 8), (96, 48, 8), (64, 0, 4)):
        with pytest.raises(ValueError, match="do not fit"):
            native.kernels.page_sums(bytes(size), page, bytearray(room))
