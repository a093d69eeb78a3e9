"""`hashgrain encode`: codes of pictures, without a library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.output import MaxPixels, Model, Quiet, complain, print_json, progress_bar, say


def encode(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="What `hashgrain add` takes.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write .hgc, .npy or .parquet; else JSON lines on stdout."),
    ] = None,
    model: Model = "default",
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Processes that decode pictures.")] = None,
    max_pixels: MaxPixels = 100_000_000,
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
    paths, words, refused = [], [np.empty((0, encoder.grains.n_words), np.uint64)], 0
    workers = decode_workers() if workers is None else workers
    with progress_bar("encoding", None, quiet) as advance:
        for path, code in encode_sources(encoder, sources, workers=workers, max_pixels=max_pixels):
            if not isinstance(code, Codes):
                refused += 1
                complain(f"refused: {path}: {code}")
            elif out is None:
                print_json({"path": path, "code": code.to_bytes().tobytes().hex()}, indent=None)
                paths.append(path)
            else:
                paths.append(path)
                words.append(code.words)
            advance(len(paths))
    if out is not None:
        codes = Codes(np.concatenate(words), encoder.grains)
        save_codes(out, codes, paths=paths, digest=encoder.digest)
        say(f"wrote {len(codes)} codes to {out}", quiet)
    if refused:
        return 3 if paths else 1
    return 0
