"""`hashgrain restore`: complete a damaged or small picture from its nearest relative."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.exit_codes import OK, PARTLY
from hashgrain.cli.output import DEFAULT_MAX_PIXELS, Json, LibraryPath, MaxPixels, Quiet, print_facts, print_json, say

if TYPE_CHECKING:
    from hashgrain.apps.restore import Quality, Restored


def restore(
    library: LibraryPath,
    damaged: Annotated[Path, typer.Argument(metavar="PICTURE", help="The damaged or small picture.")],
    out: Annotated[Path, typer.Option("--out", help="The restored picture: a .png or .jpg file.")],
    mask: Annotated[
        Path | None, typer.Option("--mask", help="A picture of the same size: what is white in it is missing.")
    ] = None,
    box: Annotated[
        str | None, typer.Option("--box", metavar="L,T,R,B", help="What is missing: edges in pixels or fractions.")
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Take areas of one flat color for missing, as paint and holes leave them.")
    ] = False,
    enlarge: Annotated[
        bool, typer.Option("--enlarge", help="Give a small picture the size and pixels of its largest relative.")
    ] = False,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="The true picture: report PSNR and SSIM of the restored one.")
    ] = None,
    page: Annotated[Path | None, typer.Option("--page", help="Write a page with both pictures to this file.")] = None,
    max_pixels: MaxPixels = DEFAULT_MAX_PIXELS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Complete a damaged PICTURE from the picture in LIBRARY that shows the same, or enlarge a small one.

    The nearest pictures are matched with it point by point. The pixels of the best match are warped into place, fitted
    to its colors, and take the place of the missing ones. Without a match, missing pixels are guessed from those around
    them by OpenCV's inpainting. The result says where its pixels come from, whether it is to be trusted, and why. Exit
    code 3: it is not. Needs the extra: pip install 'hashgrain[verify]'.

    Example: hashgrain restore photos.hg torn.jpg --box 0,0.7,0.4,1 --out whole.png --page restored.html
    """
    from hashgrain.apps import restore as app
    from hashgrain.cli.values import box_of
    from hashgrain.files import write_atomically
    from hashgrain.library import Library

    given = sum((mask is not None, box is not None, auto, enlarge))
    if given != 1:
        raise typer.BadParameter("give one of these: --mask, --box, --auto, --enlarge")
    app.check_suffix(out)
    with Library.open(library) as opened:
        if enlarge:
            restored = app.enlarge(opened, damaged, max_pixels=max_pixels)
        else:
            missing = app.mask_of(damaged, mask=mask, box=None if box is None else box_of(box), max_pixels=max_pixels)
            restored = app.restore(opened, damaged, missing, max_pixels=max_pixels)
    quality = None if truth is None else app.quality_of(restored, truth, max_pixels=max_pixels)
    write_atomically(out, app.encoded(restored.pixels, out))
    if page is not None:
        from hashgrain.apps.restore_page import restored_page

        write_atomically(page, restored_page(damaged, restored).encode())
        say(f"wrote {page}", quiet)
    if as_json:
        print_json(
            {
                "out": str(out),
                "page": None if page is None else str(page),
                **restored.as_dict(),
                "quality": None if quality is None else dataclasses.asdict(quality),
            }
        )
    else:
        print_facts(_facts(out, restored, quality))
    return OK if restored.trusted else PARTLY


def _facts(out: Path, restored: Restored, quality: Quality | None) -> dict[str, object]:
    facts: dict[str, object] = {"out": out}
    facts["pixels"] = ", ".join(f"{count:,} {name}" for name, count in restored.counts().items() if count)
    if restored.relative is not None:
        facts["relative"] = restored.relative.path
    facts["trusted"] = f"{'yes' if restored.trusted else 'no'}: {restored.reason}"
    if quality is not None:
        facts["PSNR"] = "equal pixels" if quality.psnr is None else f"{quality.psnr:.2f} dB"
        facts["SSIM"] = "unknown" if quality.ssim is None else f"{quality.ssim:.4f}"
    return facts
