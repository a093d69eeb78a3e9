"""Write requirements/*.txt: what each `make` target installs, with the SHA-256 of every file of that version.

    python scripts/lock.py HASHED

HASHED is constraints.txt with hashes, as any tool that can ask the index for them writes it, for example
`uv pip compile constraints.txt --universal --python-version 3.12 --no-deps --generate-hashes --no-annotate -o HASHED`.
Which packages belong to which extra is read from the environment this runs in: run it where all of them are installed.

pip takes no hashes beside an editable install, and none in a file of constraints. So a target first installs its list
with --require-hashes and --no-deps, then HashGrain itself, for which nothing is left to fetch.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "requirements"
EXTRAS = {"core": "", "dev": "dev", "train": "keras,openclip", "bench": "bench", "docs": "docs", "serve": "serve"}
# Some machines have builds of their own of torch and what comes with it; no list of hashes would hold on those.
UNHASHED = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(constraints: str) -> dict[str, str]:
    """The line of each package, by its normalized name."""
    lines = [line for line in constraints.splitlines() if "==" in line and not line.startswith("#")]
    return {normal(line.partition("==")[0]): line.strip() for line in lines}


def hashes(compiled: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for entry in compiled.replace("\\\n", " ").splitlines():
        if "==" in entry:
            found[normal(entry.partition("==")[0])] = sorted(re.findall(r"sha256:[0-9a-f]{64}", entry))
    return found


def requirements_of(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """What a package asks for, on whatever system: (name, extras)."""
    for text in metadata.requires(name) or ():
        requirement, _, marker = text.partition(";")
        asked = EXTRA.findall(marker)
        if asked and not extras.intersection(map(normal, asked)):
            continue
        match = NAME.match(requirement)
        assert match, text
        wanted = re.search(r"\[([^]]*)\]", requirement)
        yield normal(match[0]), frozenset(map(normal, re.findall(NAME, wanted[1]))) if wanted else frozenset()


def closure(extra: str, pins: dict[str, str]) -> set[str]:
    """The pinned packages that HashGrain with this extra asks for, directly and not."""
    seen, left = set(), [("hashgrain", frozenset(extra.split(",")) - {""})]
    while left:
        entry = left.pop()
        if entry in seen:
            continue
        seen.add(entry)
        try:
            asked = list(requirements_of(*entry))
        except metadata.PackageNotFoundError:  # of another system; its own requirements are not known here
            continue
        left += [one for one in asked if one[0] in pins or one[0] == "hashgrain"]
    return {name for name, _ in seen} - {"hashgrain"}


def main(hashed: Path) -> None:
    pins = pinned((ROOT / "constraints.txt").read_text())
    known = hashes(hashed.read_text())
    core = closure("", pins)
    sets = {file: closure(extra, pins) - core for file, extra in EXTRAS.items()}
    for file, names in {**sets, "core": core, "build": {"setuptools"}}.items():
        lines = [f"# Made by scripts/lock.py from constraints.txt: what `{file}` installs."]
        for name in sorted(names):
            if UNHASHED.fullmatch(name):
                continue
            if not known.get(name):
                raise SystemExit(f"{name} has no hashes in {hashed}")
            lines.append(" \\\n    ".join([pins[name], *(f"--hash={each}" for each in known[name])]))
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{file}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
