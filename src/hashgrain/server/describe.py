"""What is said of the library, and what the OpenAPI description cannot read from the code."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from hashgrain import __version__
from hashgrain.library import Library
from hashgrain.library.contents import fields_of
from hashgrain.library.models import reads
from hashgrain.server.problems import MEDIA_TYPE
from hashgrain.server.settings import Settings

PICTURE_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture, as they are in its file.",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
PROBLEM = {"$ref": "#/components/schemas/Problem"}
PRIVATE = {"Cache-Control": "private, max-age=1800"}
SANDBOX = "default-src 'none'; sandbox"  # of a picture that is opened as a page


def tidy(app: FastAPI) -> None:
    """Leave out of the description what no request gets: the framework's own form of errors."""
    described = app.openapi()
    for methods in described["paths"].values():
        for call in methods.values():
            call["responses"].pop("422", None)
            for answer in call["responses"].values():
                content = answer.get("content", {})
                if content.get("application/json", {}).get("schema") == PROBLEM:
                    content[MEDIA_TYPE] = content.pop("application/json")
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(name, None)


def library_document(library: Library, settings: Settings) -> dict[str, Any]:
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
        "writable": settings.writable,
        "version": __version__,
        "fields": fields_of(library.store),
        "features": settings.features(),
    }
