"""The two commands of the README in a fresh clone with a fresh environment: do they pass, and what do they cost?"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from footprint import megabytes
from report import DATA, table, write_section

ROOT = Path(__file__).parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        clone = Path(scratch) / "hashgrain"
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
        environment = {**os.environ, "HASHGRAIN_DATA": str(DATA)}
        rows, said = [], {}
        for target in ("demo", "test"):
            started = time.monotonic()
            done = subprocess.run(
                ["make", target], cwd=clone, env=environment, capture_output=True, text=True, check=False
            )
            seconds = time.monotonic() - started
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
            said[target] = done.stdout
            size = megabytes(clone / ".venv")
            rows.append([f"`make {target}`", f"{seconds:.0f} s", f"{size:.0f} MB"])
        rights = re.findall(r"^ +(\w+) +(\d+) bits: +([\d.]+%) +\(guess ([\d.]+%)\)", said["demo"], re.MULTILINE)
        tests = re.findall(r"\d+ passed.*", said["test"])
        text = table(["command, one after the other", "with all its set-up", "environment after it"], rows)
        text += "\n\nThe demo's nearest picture was right at " + ", ".join(
            f"{grain} ({bits} bits) {right} (guess {guess})" for grain, bits, right, guess in rights
        )
        text += f".\n\nThe tests: {tests[-1] if tests else 'passed'}."
        write_section("0-fresh-clone", "A fresh clone", "python benchmarks/fresh_clone.py", text)


if __name__ == "__main__":
    main()
