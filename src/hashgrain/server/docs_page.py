"""The reference of the API as a page of plain HTML, made from its OpenAPI description: nothing comes from outside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any


def docs_page(description: Mapping[str, Any]) -> str:
    """The page for an OpenAPI description."""
    title = escape(f"{description['info']['title']} {description['info']['version']}: HTTP API")
    rows = "".join(_sections(description))
    schemas = "".join(_schemas(description["components"]["schemas"]))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{title}</title><body><main><h1>{title}</h1><p><a href="/openapi.json">openapi.json</a></p>'
        f"{rows}<h2>Schemas</h2>{schemas}</main></body></html>"
    )


def _sections(description: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in description["paths"].items():
        for method, call in methods.items():
            yield f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(call.get('summary', ''))}</p>"
            values = call.get("parameters", [])
            if values:
                lines = "".join(f"<li><code>{escape(each['name'])}</code> {_note(each)}</li>" for each in values)
                yield f"<ul>{lines}</ul>"
            for media, content in call.get("requestBody", {}).get("content", {}).items():
                yield f"<p>Body: <code>{escape(media)}</code> {_reference(content.get('schema', {}))}</p>"
            for status, answer in call.get("responses", {}).items():
                content = answer.get("content", {})
                kinds = ", ".join(
                    f"<code>{escape(media)}</code> {_reference(each.get('schema', {}))}"
                    for media, each in content.items()
                )
                yield f"<p>{escape(status)}: {kinds or escape(answer.get('description', ''))}</p>"


def _note(value: Mapping[str, Any]) -> str:
    needed = "" if value.get("required") else " (optional)"
    return escape(str(value.get("description", "")) + needed)


def _reference(schema: Mapping[str, Any]) -> str:
    name = schema.get("$ref", "").rpartition("/")[2]
    return f'<a href="#{escape(name)}">{escape(name)}</a>' if name else ""


def _schemas(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p><dl>'
        for field, value in schema.get("properties", {}).items():
            facts = {key: each for key, each in value.items() if key not in ("title", "description")}
            note = escape(value.get("description", ""))
            yield f"<dt><code>{escape(field)}</code></dt><dd>{note} <code>{escape(json.dumps(facts))}</code></dd>"
        yield "</dl>"
        for example in schema.get("examples", []):
            yield f"<pre>{escape(json.dumps(example))}</pre>"
