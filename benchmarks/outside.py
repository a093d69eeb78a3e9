"""Codes of other programs, made by the scripts of docs/howto.md word for word, and scored on CIFAR-10."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from report import HERE, need_data, table, write_section

SHOWN = ("mAP@ALL hash", "mAP@1000 hash", "mAP@1000 ir", "P@10")


def scripts() -> dict[str, str]:
    text = (HERE.parent / "docs" / "howto.md").read_text()
    return dict(re.findall(r"```python title=\"(\w+\.py)\"\n(.*?)```", text, re.DOTALL))


def hashgrain(folder: Path, *arguments: object) -> str:
    command = [sys.executable, "-m", "hashgrain", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder, data = Path(name), need_data() / "cifar-10"
        hashgrain(folder, "protocols", "cifar10-1", "--data", data, "--out", "split", "--features", "small")
        for script in scripts().values():
            subprocess.run([sys.executable, "-c", script], cwd=folder, check=True)
        for codes in ("sklearn-64", "faiss-64"):
            printed = hashgrain(folder, "evaluate", codes, "--manifest", "split/manifest.json.gz", "--json", "--quiet")
            (result,) = json.loads(printed)
            figures = [result["rows"][0]["figures"][figure] for figure in SHOWN]
            cells = [
                f"{each['value']:.3f}" + (f" ({each['worst']:.3f} to {each['best']:.3f})" if "worst" in each else "")
                for each in figures
            ]
            rows.append([codes, *cells, f"`{result['protocol']['manifest'][:12]}`"])
    text = (
        "`cifar10-1`, seed 0; the features are the default model's, the codes are made by the two scripts of"
        " `docs/howto.md` (scikit-learn's random projections, Faiss's `IndexLSH`) and read from .npy files. In brackets"
        " what the order of ties could make of a figure.\n\n" + table(["codes", *SHOWN, "manifest"], rows)
    )
    write_section("d-outside", "Codes of other programs, scored", "python benchmarks/outside.py", text)


if __name__ == "__main__":
    main()
