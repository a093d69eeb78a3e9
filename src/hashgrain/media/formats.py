"""Which picture formats are opened, how they begin, and how large their files may be."""

from __future__ import annotations

MAX_BYTES = 512 << 20  # of one picture's file: more is no picture, and would fill the memory
FORMATS = {
    "JPEG": "jpeg",
    "MPO": "jpeg",  # what some cameras write: a JPEG with more pictures behind the first
    "PNG": "png",
    "WEBP": "webp",
    "GIF": "gif",
    "BMP": "bmp",
    "TIFF": "tiff",
    "AVIF": "avif",
    "HEIF": "heic",
    "JXL": "jxl",
}
EXTRA_FORMATS = ("HEIF", "JXL", "MPO")  # not among those that are tried on any file
KNOWN = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, HEIC, JPEG XL or RAW"
# In a folder, what does not look like a picture is passed over; a file named outright is always tried.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif"}
    | {".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl"}
    | {".cr2", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf"}
)
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
RAW_AND_JXL = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\x00\x00\x00\x0cJXL \r\n\x87\n")
START = 32  # bytes that identify a picture


def looks_like_a_picture(start: bytes) -> bool:
    """Whether the first START bytes are those of a picture; its decoder may still refuse it."""
    return (
        start.startswith(SIGNATURES + RAW_AND_JXL)
        or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")
        or (start[:2] == b"BM" and start[6:10] == b"\0\0\0\0" and start[15:18] == b"\0\0\0")
        or (start[4:8] == b"ftyp" and start[8:12] in (*HEIC_BRANDS, b"avif", b"avis"))
    )
