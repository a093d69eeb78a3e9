"""What is said of the library, and what the OpenAPI description cannot read from the code."""

from __future__ import annotations

from typing import Any

from hashgrain import __version__
from hashgrain.library import Library
from hashgrain.library.contents import fields_of
from hashgrain.library.models import reads

PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture, as they are in its file.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
PRIVATE = {"Cache-Control": "private, max-age=1800"}
SANDBOX = "default-src 'none'; sandbox"  # of a picture that is opened as a page


def library_document(library: Library, writable: bool) -> dict[str, Any]:
    """What `GET /api/v1/library` answers."""
    info = library.parts_info()
    bundle = library.bundle
    return {
        "name": library.path.name,
        "pictures": len(library),
        "items_with_parts": info.items,
        "detail": info.detail,
        "grains": [{"name": name, "bits": bits} for name, bits in library.grains.items()],
        "default_grain": library.grains.finest,
        "model": bundle.name,
        "text": reads(bundle) != "no words",
        "writable": writable,
        "version": __version__,
        "fields": fields_of(library.store),
    }
