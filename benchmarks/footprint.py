"""What installing and importing cost, in a fresh environment."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import need_data, table, write_section

ROOT = Path(__file__).parent.parent


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        environment = place / "env"
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        empty = megabytes(environment)
        python = environment / "bin/python"
        source = place / "source"  # built aside, so that no build folder is left in the tree
        ignored = shutil.ignore_patterns(".git", ".venv*", "runs", "demo", "build", "*.so")
        shutil.copytree(ROOT, source, ignore=ignored)
        install = [python, "-m", "pip", "install", "--quiet", "-c", source / "constraints.txt", source]
        started = time.monotonic()
        subprocess.run(install, check=True, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - started
        size = megabytes(environment)

        def cold(code: str) -> float:
            times = []
            for _ in range(11):
                started = time.perf_counter()
                subprocess.run([python, "-c", code], check=True)
                times.append(time.perf_counter() - started)
            return statistics.median(times)

        bare, imported = cold("pass"), cold("import hashgrain")
        used = cold("from hashgrain import Library, Encoder, Codes")
        library = place / "photos.hg"
        command = [environment / "bin/hashgrain"]
        photo = sorted(need_data().glob("photos/*.jpg"))[0]
        added = subprocess.run(
            [*command, "add", library, need_data() / "photos"], check=True, capture_output=True, text=True
        ).stdout.strip()
        found = subprocess.run(
            [*command, "search", library, photo, "-k", "1"], check=True, capture_output=True, text=True
        ).stdout.split("\t")
        assert found[:2] == ["same", "0"], found
        rows = [
            ["`pip install .` into an empty environment", f"{seconds:.0f} s"],
            ["size of that environment", f"{size:.0f} MB ({empty:.0f} MB of it before)"],
            ["`import hashgrain`, cold process, over `python -c pass`", f"{(imported - bare) * 1000:.0f} ms"],
            ["`python -c 'import hashgrain'`, whole process", f"{imported * 1000:.0f} ms"],
            ["`from hashgrain import Library, Encoder, Codes`, whole process", f"{used * 1000:.0f} ms"],
        ]
        text = table(["what", "cost"], rows)
        text += f"\n\nIn it, `hashgrain add photos.hg photos` said: {added.replace(str(place), '…')}"
        text += " Asking for the first photograph found itself at distance 0."
        write_section("1-footprint", "Installing and importing", "python benchmarks/footprint.py", text)


if __name__ == "__main__":
    main()
