"""The five seed systems by their commands, from pictures to an answer: python benchmarks/seeds.py [--each 100].

On CIFAR-10 and on the stamps, as one table. What is asked and searched, nobody learnt from: of CIFAR-10 its test
part, of the stamps the pictures whose content hash begins with an odd byte. Nothing is chosen by these figures.

The systems that stand on a pretrained ResNet-50 take `bundle:photo` (EfficientNet-Lite0 with ImageNet weights) unless
--resnet50 brings weights, and AlexNet begins at random unless --alexnet does, at 64 px unless --full. It is sized for
less than 25 minutes on two cores.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow.parquet as parquet
from PIL import Image

from hashgrain.codefiles import load_codes
from hashgrain.codes import Codes
from hashgrain.evaluate import average_precision, tally
from report import need_data, table, write_section

PHOTO = ("trained=head", "backbone=bundle:photo", "size=224")
LEAST = 8  # stamps of a group that is a class
Shot = tuple[str, str, bytes]  # kind, thing, bytes of the picture


@dataclass(frozen=True)
class System:
    """A seed system: how it is trained, and the search it describes."""

    name: str
    recipe: str
    settings: tuple[str, ...]
    search: tuple[str, ...] = ()
    more: tuple[str, ...] = ()  # options beside --set


@dataclass(frozen=True)
class Data:
    name: str
    folder: Path  # with learn/, asked/, searched/, arrays/
    counts: tuple[int, int, int]
    held_out: int


def systems(options: argparse.Namespace) -> list[System]:
    def epochs(usual: float) -> str:
        return f"epochs={usual * options.epochs:g}"

    small = () if options.full else ("size=64",)
    frozen, on = (PHOTO, ()) if not options.resnet50 else ((), ("--weights", options.resnet50))
    alexnet = ("--weights", options.alexnet or "random")
    random_hashes = ("backbone=bundle:photo", "size=224") if not options.resnet50 else ()
    follow = PHOTO if not options.resnet50 else ("backbone=timm:resnet50", "size=224")
    return [
        System("000, target codes", "label-codes", (*frozen, epochs(60)), (), on),
        System("001, coarse then fine", "coarse-fine", (epochs(30),), ("--coarse-to-fine", "--shortlist", "100")),
        System("002, AlexNet, triplets", "triplet", (*small, epochs(8), "batch=32"), (), alexnet),
        System("003, LSH", "resnet-lsh", random_hashes, (), on),
        System("003, distances kept", "feature-distances", (*follow, epochs(60)), (), on),
        System("004, level by level", "levels", (epochs(12),), ("--stages", "deep:200,middle:60", "-g", "shallow")),
    ]


def cifar(each: int) -> dict[str, list[Shot]]:
    """The first `each` of every thing to learn from, half as many to ask, twice as many to search."""
    found: dict[str, list[Shot]] = defaultdict(list)
    for part in ("train", "test"):
        counts: Counter[str] = Counter()
        for row in parquet.read_table(need_data() / "cifar-10" / f"{part}.parquet").to_pylist():
            kind, thing = str(row["superclass"]), str(row["label"])
            counts[thing] += 1
            place = "learn" if counts[thing] <= each else ""
            if part == "test":
                place = "asked" if counts[thing] <= each // 2 else "searched" if counts[thing] <= 5 * each // 2 else ""
            if place:
                found[place].append((kind, thing, row["image"]["bytes"]))
    return found


def stamps() -> dict[str, list[Shot]]:
    """Groups of two levels; of the half that nobody learns from every third asks."""
    rows = parquet.read_table(need_data() / "stamps" / "train.parquet").to_pylist()
    things = Counter("/".join(row["group"].split("/")[:2]) for row in rows)
    found: dict[str, list[Shot]] = defaultdict(list)
    for row in rows:
        kind, *finer = row["group"].split("/")[:2]
        if not finer or things[f"{kind}/{finer[0]}"] < LEAST:
            continue
        content = row["image"]["bytes"]
        digest = hashlib.sha256(content).digest()
        place = "learn" if digest[0] % 2 == 0 else "asked" if digest[1] % 3 == 0 else "searched"
        found[place].append((kind, finer[0], content))
    return found


def lay_out(name: str, shots: dict[str, list[Shot]], top: Path, held_out: int) -> Data:
    """To learn from, folders kind/kind-thing/; to ask and search, one folder each, in no order of classes, since of
    pictures at the same distance those added first come first; and arrays with a target code for each picture."""
    for part, some in shots.items():
        for kind, thing, content in some:
            place = top / part / kind / f"{kind}-{thing}" if part == "learn" else top / part
            place.mkdir(parents=True, exist_ok=True)
            file = f"{hashlib.sha256(content).hexdigest()}.{kind}-{thing}.png"
            Image.open(io.BytesIO(content)).convert("RGB").save(place / file)
    arrays = top / "arrays"
    arrays.mkdir()
    things = sorted({(kind, thing) for kind, thing, _ in shots["learn"]})
    codes = np.random.default_rng(0).integers(0, 2, (len(things), 16), np.uint8)
    opened = [Image.open(io.BytesIO(content)).convert("RGB").resize((224, 224)) for *_, content in shots["learn"]]
    np.save(arrays / "data.npy", np.stack([np.asarray(picture) for picture in opened]))
    np.save(arrays / "labels.npy", codes[[things.index((kind, thing)) for kind, thing, _ in shots["learn"]]])
    counts = len(shots["learn"]), len(shots["asked"]), len(shots["searched"])
    return Data(name, top, counts, held_out)


def hashgrain(*arguments: object) -> bytes:
    command = [sys.executable, "-m", "hashgrain", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def measure(system: System, data: Data, out: Path) -> list[str]:
    """A row of the table: trained, searched and encoded by commands."""
    settings = [*system.settings, f"held_out={data.held_out}"]
    sets = [part for each in settings for part in ("--set", each)]
    source = ("--data", data.folder / "learn")
    if system.recipe == "label-codes":
        source = ("--data", data.folder / "arrays", "--targets", data.folder / "arrays/labels.npy")
    started = perf_counter()
    trained = ("--recipe", system.recipe, "--out", out / "model", "--run", out / "run")
    hashgrain("train", *source, *trained, *sets, *system.more, "-q")
    seconds = perf_counter() - started
    hashgrain("add", out / "some.hg", data.folder / "searched", "--model", out / "model", "-q")
    answers = json.loads(
        hashgrain("search", out / "some.hg", data.folder / "asked", "-k", 10, *system.search, "--json")
    )
    right = [thing_of(hit["path"]) == thing_of(each["query"]) for each in answers for hit in each["hits"]]
    codes = [encoded(data.folder / part, out) for part in ("asked", "searched")]
    truths = [np.unique([thing_of(path) for path in paths], return_inverse=True)[1] for _, paths in codes]
    found = average_precision(tally(codes[0][0], codes[1][0], *truths)).mean()
    named = " ".join(["--recipe", system.recipe, *(f"--set {each}" for each in system.settings), *told(system.more)])
    learnt, asked, searched = data.counts
    described = f"{data.name}: {learnt:,} learnt, {asked:,} ask {searched:,}"
    search = " ".join(system.search) or "by the whole code"
    return [system.name, f"`{named}`", described, f"{seconds:.0f} s", f"{found:.3f}", f"{np.mean(right):.3f}", search]


def told(options: Sequence[str]) -> list[str]:
    """Without the place of a file."""
    return [Path(each).name for each in options]


def encoded(folder: Path, out: Path) -> tuple[Codes, list[str]]:
    file = out / f"{folder.name}.hgc"
    hashgrain("encode", folder, "--model", out / "model", "--out", file, "-q")
    read = load_codes(file)
    return read.codes, list(read.paths or ())


def thing_of(path: str) -> str:
    return Path(path).stem.partition(".")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--each", type=int, default=100, help="pictures of each thing of CIFAR-10 to learn from")
    parser.add_argument("--epochs", type=float, default=1.0, help="times the epochs of each system")
    parser.add_argument("--resnet50", default="", help="weights, .safetensors")
    parser.add_argument("--alexnet", default="", help="weights, .safetensors")
    parser.add_argument("--only", default="", help="systems whose name begins so: 004")
    parser.add_argument("--full", action="store_true", help="AlexNet at 224 px")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        sets = [
            lay_out("CIFAR-10", cifar(options.each), top / "cifar", max(2, options.each // 20)),
            lay_out("stamps", stamps(), top / "stamps", 2),
        ]
        for system in (each for each in systems(options) if each.name.startswith(options.only)):
            for data in sets:
                out = top / f"out{len(rows)}"
                out.mkdir()
                rows.append(measure(system, data, out))
                print(rows[-1], file=sys.stderr, flush=True)
    text = table(["system", "command", "data", "training", "mAP@ALL", "P@10", "searched"], rows)
    print(text)
    if len(sys.argv) == 1:  # as run_all has it; a part of the table is not to take the place of the whole
        write_section("b-seeds", "The five seed systems", "python benchmarks/seeds.py", f"{__doc__}\n{text}")


if __name__ == "__main__":
    main()
