"""Words as queries: captions of stamps among their pictures, and what phrases that people type are read as."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain import Codes, Encoder
from hashgrain.models import Bundle
from hashgrain.models.chinese import PACKAGE
from hashgrain.models.dictionary import TABLES, dictionary
from hashgrain.models.phrases import Phrase, read_phrase
from hashgrain.models.text import read_table, text_code
from report import HERE, need_data, table, write_section

EXAMPLES = 20
OF_CLASS = 10  # pictures of each class of Tiny ImageNet
Halves = Sequence[tuple[str, NDArray[np.bool_]]]


@dataclass(frozen=True)
class Stamps:
    """Pictures with captions. `choosing` is the half that choices are made on; the other is reported on."""

    codes: Codes
    features: NDArray[np.float32]
    captions: list[str]
    others: list[dict[str, str]]  # captions in other languages
    photographs: NDArray[np.bool_]
    choosing: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="default")
    parser.add_argument("--choose", action="store_true", help="print figures of the choosing half, and nothing else")
    asked = parser.parse_args()
    bundle = Bundle.read(asked.model)
    words = read_table(bundle.others, bundle.grains.bits, bundle.name)
    if words is None:
        sys.exit(f"the model {bundle.name!r} knows no words")
    encoder = Encoder(bundle)
    stamps = read_stamps(encoder)
    phrases = [read_phrase(caption) for caption in stamps.captions]
    if asked.choose:
        print(ranking(stamps, phrases, words, [("choosing", stamps.choosing)]))
        return
    everything = np.ones(len(phrases), np.bool_)
    halves = [("reporting half", ~stamps.choosing), ("all captions", everything)]
    text = "\n\n".join(
        [
            introduction(stamps, phrases),
            ranking(stamps, phrases, words, halves),
            names(encoder, words),
            *chinese(stamps, words),
            examples(stamps, phrases, words),
            cost(),
            typed(),
        ]
    )
    write_section("5b-words", "Words as queries", "python benchmarks/words.py", text)


def read_stamps(encoder: Encoder) -> Stamps:
    import pyarrow.parquet

    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(need_data() / "stamps/train.parquet").to_pylist()
    pictures = [row["image"]["bytes"] for row in rows]
    return Stamps(
        encoder.encode(pictures),
        encoder.features(pictures),
        [row["caption"] for row in rows],
        [json.loads(row["captions"]) for row in rows],
        np.array([not row["drawn"] for row in rows]),
        np.array([hashlib.sha256(picture).digest()[0] % 2 == 0 for picture in pictures]),
    )


# ---- ranks


def outputs_of(phrases: Sequence[Phrase], words: NDArray[np.float32]) -> NDArray[np.float32]:
    """A row a phrase; zeros where it has nothing that is seen."""
    none = np.zeros(words.shape[1], np.float32)
    return np.stack([none if each.weights is None else text_code(words, each.weights) for each in phrases])


def real(outputs: NDArray[np.float32], codes: Codes, bits: int) -> NDArray[np.float64]:
    return np.asarray(outputs[:, :bits].astype(np.float64) @ (codes.bits()[:, :bits] * 2.0 - 1).T)


def signs(outputs: NDArray[np.float32], codes: Codes, bits: int) -> NDArray[np.float64]:
    return real(np.where(outputs >= 0, 1, -1).astype(np.float32), codes, bits)


def cosines(phrases: Sequence[Phrase], features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The same weights on the rows of the network's own classifier, compared with its features."""
    from hashgrain.learn.photo.make import WEIGHTS, classifier_of
    from hashgrain.models.weights import read_weights

    rows = classifier_of(read_weights(WEIGHTS)).weight
    none = np.zeros(len(rows), np.float32)
    shares = np.stack([none if each.weights is None else each.weights for each in phrases])
    texts, pictures = shares @ (rows - rows.mean(axis=0)), features - features.mean(axis=0)
    texts = texts / np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-9)
    return np.asarray(texts @ (pictures / np.linalg.norm(pictures, axis=1, keepdims=True)).T, np.float64)


def ranks(scores: NDArray[np.float64], phrases: Sequence[Phrase]) -> NDArray[np.float64]:
    """The rank of each phrase's own picture, in the middle of its ties; last, where nothing of the phrase is seen."""
    own = np.diag(scores)[:, None]
    better, tied = (scores > own + 1e-9).sum(1), (np.abs(scores - own) <= 1e-9).sum(1)
    seen = np.array([each.weights is not None for each in phrases])
    return np.where(seen, 1 + better + (tied - 1) / 2, len(scores))


def ranking(
    stamps: Stamps,
    phrases: Sequence[Phrase],
    words: NDArray[np.float32],
    halves: Sequence[tuple[str, NDArray[np.bool_]]],
) -> str:
    """R@1, 5, 10 and the median rank of captions among pictures, by pool, half, grain and kind of ranking."""
    rows = []
    outputs, alike = outputs_of(phrases, words), cosines(phrases, stamps.features)
    ways: dict[str, Callable[..., NDArray[np.float64]]] = {"text real-valued": real, "Hamming": signs}
    for pool, inside in (("photographs", stamps.photographs), ("all pictures", np.ones_like(stamps.photographs))):
        at = np.flatnonzero(inside)
        for half, asked in halves:
            some = asked[at]
            found = ranks(alike[np.ix_(at, at)], [phrases[i] for i in at])[some]
            rows.append([f"{pool} ({len(at)})", f"{half} ({some.sum()})", "features", "float cosine", *figures(found)])
            for grain, bits in stamps.codes.grains.items():
                for way, score in ways.items():
                    found = ranks(score(outputs[at], stamps.codes[at], bits), [phrases[i] for i in at])[some]
                    name = f"{pool} ({len(at)})", f"{half} ({some.sum()})", f"{grain} {bits}", way
                    rows.append([*name, *figures(found)])
    return table(["among", "asked with", "grain", "ranked by", "R@1", "R@5", "R@10", "median rank"], rows)


def figures(found: NDArray[np.float64]) -> list[str]:
    return [*(f"{(found <= k).mean():.3f}" for k in (1, 5, 10)), f"{np.median(found):.0f}"]


# ---- the rest of the section


def introduction(stamps: Stamps, phrases: Sequence[Phrase]) -> str:
    unseen = sum(each.weights is None for each in phrases)
    return (
        f"{len(phrases)} English captions of the stamps, {stamps.photographs.sum()} of them of photographs, each asked"
        " against all pictures of its pool; the right answer is the one picture it was written for. No picture with"
        f" words was used to train the model. {unseen} captions have nothing that is seen, such as letters and notes of"
        " music; their pictures count as found last. Choices were made on the half of the pictures whose SHA-256 begins"
        " with an even byte, which also entered the fit of the model, without labels or captions; the reporting half"
        " did not. The backbone was trained on ImageNet, and the stamps are of another source."
    )


def chinese(stamps: Stamps, words: NDArray[np.float32]) -> list[str]:
    """Captions in Chinese beside the English ones of the same pictures; nothing where no dictionary is installed."""
    texts = [each.get("zh") for each in stamps.others]
    if importlib.util.find_spec(PACKAGE) is None:
        return []
    rows = []
    for pool, inside in (("photographs", stamps.photographs), ("all pictures", np.ones_like(stamps.photographs))):
        at = np.flatnonzero(inside)
        asked = np.array([bool(texts[i]) for i in at])
        for half, some in (("reporting half", asked & ~stamps.choosing[at]), ("all", asked)):
            for language, written in (("Chinese", texts), ("English", stamps.captions)):
                phrases = [read_phrase(written[i] or "nothing") for i in at]
                found = ranks(real(outputs_of(phrases, words), stamps.codes[at], words.shape[1]), phrases)[some]
                name = f"{pool} ({len(at)})", f"{half} ({some.sum()})", language
                rows.append([*name, *figures(found)])
    lead = "Captions in Chinese, and the English ones of the same pictures, by the whole code:"
    head = ["among", "asked with", "language", "R@1", "R@5", "R@10", "median rank"]
    return [f"### Chinese\n\n{lead}\n\n" + table(head, rows)]


def names(encoder: Encoder, words: NDArray[np.float32]) -> str:
    """The names of Tiny ImageNet's classes, typed, among pictures of `val`: how many of the first ten are right."""
    import pyarrow.parquet

    folder = need_data() / "tiny-imagenet-200"
    typed = [each["name"] for each in json.loads((folder / "hierarchy.json").read_text())["classes"]]
    rows = pyarrow.parquet.read_table(folder / "val-00-of-01.parquet", columns=["image", "label"]).to_pylist()
    of_class: dict[int, list[bytes]] = {}
    for row in rows:
        of_class.setdefault(row["label"], []).append(row["image"]["bytes"])
    pictures = [picture for label in range(len(typed)) for picture in of_class[label][:OF_CLASS]]
    labels = np.repeat(np.arange(len(typed)), OF_CLASS)
    codes, phrases = encoder.encode(pictures), [read_phrase(name) for name in typed]
    outputs = outputs_of(phrases, words)
    rows = [["features", "float cosine", precision(cosines(phrases, encoder.features(pictures)), labels)]]
    for grain, bits in codes.grains.items():
        rows.append([f"{grain} {bits}", "text real-valued", precision(real(outputs, codes, bits), labels)])
        rows.append([f"{grain} {bits}", "Hamming", precision(signs(outputs, codes, bits), labels)])
    lead = (
        f"The names of the {len(typed)} classes of Tiny ImageNet (*goldfish*, *bullfrog*), each a phrase, among"
        f" {len(pictures):,} pictures of `val`, {OF_CLASS} of each class. They were not in the fit; the backbone was"
        " trained on pictures of these classes."
    )
    return f"### Classes by name\n\n{lead}\n\n" + table(["grain", "ranked by", "P@10"], rows)


def precision(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> str:
    first = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return f"{(labels[first] == np.arange(len(scores))[:, None]).mean():.3f}"


def examples(stamps: Stamps, phrases: Sequence[Phrase], words: NDArray[np.float32]) -> str:
    """Captions of photographs of the reporting half, drawn by SHA-256, with what was found."""
    at = np.flatnonzero(stamps.photographs)
    scores = real(outputs_of([phrases[i] for i in at], words), stamps.codes[at], stamps.codes.grains.bits)
    found = ranks(scores, [phrases[i] for i in at])
    drawn = sorted(
        (j for j, i in enumerate(at) if not stamps.choosing[i]),
        key=lambda j: hashlib.sha256(stamps.captions[at[j]].encode()).digest(),
    )
    rows = []
    for j in drawn[:EXAMPLES]:
        best = [stamps.captions[at[i]] for i in np.argsort(-scores[j], kind="stable")[:3]]
        rows.append([stamps.captions[at[j]], f"{found[j]:.0f}", " / ".join(best)])
    lead = f"{EXAMPLES} captions of the reporting half, drawn by SHA-256, among the {len(at)} photographs:"
    return f"### Examples\n\n{lead}\n\n" + table(["asked", "rank of its own picture", "first three answers"], rows)


def cost() -> str:
    """What the dictionary takes: room, the time to load it in a fresh process, and a look-up."""
    code = "import time\nfrom hashgrain.models.dictionary import dictionary\nt = time.perf_counter()\ndictionary()\n"
    code += "print(time.perf_counter() - t)"
    loads = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    dictionary()
    times = []
    for phrase in phrases_typed():
        began = time.perf_counter()
        read_phrase(phrase)
        times.append(1000 * (time.perf_counter() - began))
    size = sum(file.stat().st_size for file in TABLES.parent.iterdir())
    return (
        f"### Cost\n\nThe dictionary takes {size / 1e6:.2f} MB on disk and {1000 * statistics.median(loads):.0f} ms to"
        f" load in a fresh process; reading a phrase takes {statistics.median(times):.2f} ms in the median of a hundred"
        f" phrases and {max(times):.2f} ms at most."
    )


def phrases_typed() -> list[str]:
    return (HERE / "phrases.txt").read_text().splitlines()


def typed() -> str:
    """The hundred phrases people type, fixed before anything was chosen, and how each is read."""
    read = [read_phrase(phrase) for phrase in phrases_typed()]
    known = sum(any(not one.guessed for one in each.nouns) for each in read)
    guessed = sum(bool(each.nouns) and all(one.guessed for one in each.nouns) for each in read)
    unknown = sum(bool(each.unknown) for each in read)
    lead = (
        f"Of a hundred phrases that people type, fixed before anything was chosen: {known} name a class, or what is"
        f" above or below one; {guessed} are only guessed, by what they are like; {len(read) - known - guessed} have"
        f" nothing that is seen; in {unknown} a word is unknown."
    )
    return f"### Phrases that people type\n\n{lead}\n\n" + table(
        ["phrase", "read as"], [[r.text, r.summary()] for r in read]
    )


if __name__ == "__main__":
    main()
