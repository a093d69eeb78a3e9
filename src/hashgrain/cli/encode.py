"""`hashgrain encode`: codes of pictures, without a library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.output import Json, MaxPixels, Model, Quiet, complain, print_json, progress_bar, say

if TYPE_CHECKING:
    from hashgrain.codes import Codes


def encode(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="What `hashgrain add` takes.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write .hgc, .npy, .parquet or .csv; else JSON lines on stdout."),
    ] = None,
    model: Model = "default",
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Processes that decode pictures.")] = None,
    max_pixels: MaxPixels = 400_000_000,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Turn pictures into codes, for other programs.

    Example: hashgrain encode photos/ --out photos.parquet
    """
    import numpy as np

    from hashgrain.codefiles import save_codes
    from hashgrain.codes import Codes
    from hashgrain.encoder import Encoder
    from hashgrain.images import decode_workers
    from hashgrain.library import encode_sources

    encoder = Encoder.load(model)
    paths, words, refused = [], [np.empty((0, encoder.grains.n_words), np.uint64)], []
    workers = decode_workers() if workers is None else workers
    with progress_bar("encoding", None, quiet) as advance:
        for path, code in encode_sources(encoder, sources, workers=workers, max_pixels=max_pixels):
            if not isinstance(code, Codes):
                refused.append({"path": path, "reason": str(code)})
                complain(f"refused: {path}: {code}")
                continue
            paths.append(path)
            if out is None and not as_json:
                print_json(_document(path, code), indent=None)
            else:
                words.append(code.words)
            advance(len(paths))
    codes = Codes(np.concatenate(words), encoder.grains)
    if out is not None:
        save_codes(out, codes, paths=paths, digest=encoder.digest)
        say(f"wrote {len(codes)} codes to {out}", quiet or as_json)
    if as_json and out is None:
        print_json([_document(path, codes[[row]]) for row, path in enumerate(paths)])
    elif as_json:
        print_json({"file": str(out), "codes": len(codes), "refused": refused})
    if refused:
        return 3 if paths else 1
    return 0


def _document(path: str, code: Codes) -> dict[str, str]:
    return {"path": path, "code": code.to_bytes().tobytes().hex()}
