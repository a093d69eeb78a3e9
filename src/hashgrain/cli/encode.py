"""`hashgrain encode`: codes of pictures, without a library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.exit_codes import FAILED, OK, PARTLY
from hashgrain.cli.output import (
    DEFAULT_MAX_PIXELS,
    Json,
    MaxPixels,
    Model,
    Quiet,
    complain,
    print_json,
    progress_bar,
    say,
)
from hashgrain.cli.remedies import error_text

if TYPE_CHECKING:
    from hashgrain.codes import Codes


def encode(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help="What `hashgrain add` takes.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write .hgc, .npy, .parquet, .csv or .txt; else JSON lines on stdout."),
    ] = None,
    model: Model = "default",
    form: Annotated[
        str, typer.Option("--format", help="hex, or bits: zeros and ones, bit 0 first; an .npy is then (n, bits).")
    ] = "hex",
    workers: Annotated[int | None, typer.Option("--workers", min=0, help="Processes that decode pictures.")] = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Turn pictures into codes, for other programs.

    A bit is 1 where the output is 0 or more, that is, where its sigmoid is 0.5 or more. With --format bits, codes are
    zeros and ones: text in JSON, .csv and .txt (one code a line), an array in .npy.

    Example: hashgrain encode photos/ --out photos.parquet
    """
    import numpy as np

    from hashgrain.codefiles import save_bits, save_codes
    from hashgrain.codes import Codes
    from hashgrain.library import encode_sources
    from hashgrain.media import decode_workers
    from hashgrain.models import Encoder

    if form not in ("hex", "bits"):
        raise typer.BadParameter(f"--format {form}: it is hex or bits")
    encoder = Encoder.load(model)
    paths, words, refused = [], [np.empty((0, encoder.grains.n_words), np.uint64)], []
    workers = decode_workers() if workers is None else workers
    with progress_bar("encoding", None, quiet) as advance:
        for path, code in encode_sources(encoder, sources, workers=workers, max_pixels=max_pixels):
            if not isinstance(code, Codes):
                refused.append({"path": path, "reason": error_text(code)})
                complain(f"refused: {path}: {error_text(code)}")
                continue
            paths.append(path)
            if out is None and not as_json:
                print_json(_document(path, code, form), indent=None)
            else:
                words.append(code.words)
            advance(len(paths))
    codes = Codes(np.concatenate(words), encoder.grains)
    if out is not None:
        if form == "bits":
            save_bits(out, codes, paths=paths)
        else:
            save_codes(out, codes, paths=paths, digest=encoder.digest)
        say(f"wrote {len(codes)} codes to {out}", quiet or as_json)
    if as_json and out is None:
        print_json([_document(path, codes[[row]], form) for row, path in enumerate(paths)])
    elif as_json:
        print_json({"file": str(out), "codes": len(codes), "refused": refused})
    if refused:
        return PARTLY if paths else FAILED
    return OK


def _document(path: str, code: Codes, form: str) -> dict[str, str]:
    from hashgrain.codefiles import bit_strings

    return {"path": path, "code": bit_strings(code)[0] if form == "bits" else code.to_bytes().tobytes().hex()}
