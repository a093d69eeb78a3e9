"""Write a software bill of materials of HashGrain as a user installs it, in CycloneDX 1.6 JSON.

    python scripts/sbom.py FILE

It lists what HashGrain without extras asks for, directly and not, as far as it is installed where this runs, with
version, license and the SHA-256 sums that pip was held to: from the metadata of what is installed, and
requirements/core.txt. Nothing in it hangs on the day, the place or a random number.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ITSELF = "hashgrain"
SPACE = uuid.UUID("6ba7b812-9dad-11d1-80b4-00c04fd430c8")  # of names that are object identifiers, RFC 4122


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_by(name: str) -> list[str]:
    """What an installed package asks for, extras apart, as far as it is installed: what is not is of other systems."""
    found = set()
    for text in metadata.requires(name) or ():
        requirement, _, marker = text.partition(";")
        match = NAME.match(requirement)
        if match and "extra" not in marker and _installed(match[0]):
            found.add(normal(match[0]))
    return sorted(found)


def _installed(name: str) -> bool:
    try:
        metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def hashes(requirements: str) -> dict[str, list[str]]:
    """The SHA-256 of the files that each version may come as."""
    found = {}
    for entry in requirements.replace("\\\n", " ").splitlines():
        if "==" in entry:
            found[normal(entry.partition("==")[0])] = sorted(re.findall(r"sha256:([0-9a-f]{64})", entry))
    return found


def component(name: str, known: dict[str, list[str]]) -> dict[str, Any]:
    facts = metadata.metadata(name)
    version = facts["Version"]
    described: dict[str, Any] = {
        "type": "application" if name == ITSELF else "library",
        "bom-ref": f"pkg:pypi/{name}@{version}",
        "name": facts["Name"],
        "version": version,
        "purl": f"pkg:pypi/{name}@{version}",
    }
    if licenses := _licenses(facts):
        described["licenses"] = licenses
    if known.get(name):
        # Several files have this version, one for each system: any of these sums may be that of the one installed.
        described["properties"] = [{"name": "hashgrain:sha256", "value": each} for each in known[name]]
    return described


def _licenses(facts: metadata.PackageMetadata) -> list[dict[str, Any]]:
    for expression in facts.get_all("License-Expression") or ():
        return [{"expression": expression}]
    classified = [
        line.split(" :: ")[-1] for line in facts.get_all("Classifier") or () if line.startswith("License :: ")
    ]
    said = "".join(facts.get_all("License") or ()).strip()
    names = classified or ([said] if said and len(said) < 80 and "\n" not in said else [])
    return [{"license": {"name": name}} for name in sorted(set(names))]


def bill() -> dict[str, Any]:
    known = hashes((ROOT / "requirements" / "core.txt").read_text())
    graph: dict[str, list[str]] = {}
    left = [ITSELF]
    while left:
        name = left.pop()
        if name not in graph:
            graph[name] = asked_by(name)
            left += graph[name]
    parts = {name: component(name, known) for name in sorted(graph)}
    itself = parts.pop(ITSELF)
    body: dict[str, Any] = {
        "metadata": {"component": itself},
        "components": list(parts.values()),
        "dependencies": [
            {"ref": ref, "dependsOn": sorted({**parts, ITSELF: itself}[each]["bom-ref"] for each in graph[name])}
            for name, ref in sorted((name, {**parts, ITSELF: itself}[name]["bom-ref"]) for name in graph)
        ],
    }
    serial = uuid.uuid5(SPACE, json.dumps(body, sort_keys=True))
    head = {"bomFormat": "CycloneDX", "specVersion": "1.6", "serialNumber": f"urn:uuid:{serial}", "version": 1}
    return {**head, **body}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(bill(), indent=1) + "\n", encoding="utf-8")
