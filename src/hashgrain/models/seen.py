"""Which pictures a model learned from, as a Bloom filter: 2.4 bytes per picture, and no list of them.

It answers "was the picture with this SHA-256 among them?" with no false no, and one false yes in ten thousand. Pictures
are known by the digest of the file's bytes, so a picture that was saved again is another one.

    Burton H. Bloom: Space/time trade-offs in hash coding with allowable errors. CACM 13(7), 1970.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError

FALSE_YES = 1e-4
MAX_BYTES = 6 << 20  # 2.6 million pictures; of more, the share of false answers grows
MIN_BYTES = 1024  # in a smaller one the bits of a picture collide
MOST_HASHES = 13  # what FALSE_YES asks for
MAX_HASHES = 64  # that are accepted from a file
MAX_FILTERS = 64  # of the models from which a model was made
KEY = "seen"


@dataclass(frozen=True, eq=False)
class Seen:
    pictures: int
    hashes: int
    bits: NDArray[np.uint8]  # packed, eight to a byte

    @classmethod
    def of(cls, contents: Sequence[str]) -> Seen:
        """The filter of these SHA-256 digests, in hexadecimal."""
        different = sorted(set(contents))
        n = max(1, len(different))
        wanted = math.ceil(n * math.log(1 / FALSE_YES) / math.log(2) ** 2 / 8)
        size = min(MAX_BYTES, max(MIN_BYTES, wanted))
        hashes = min(MOST_HASHES, max(1, round(8 * size / n * math.log(2))))
        table = np.zeros(8 * size, np.bool_)
        for places in _places(different, hashes, 8 * size):
            table[places] = True
        return cls(len(different), hashes, np.packbits(table, bitorder="little"))

    def holds(self, contents: Sequence[str]) -> NDArray[np.bool_]:
        """For each digest, whether the model learned from its picture."""
        seen = np.ones(len(contents), np.bool_)
        for places in _places(contents, self.hashes, 8 * len(self.bits)):
            seen &= (self.bits[places >> 3] >> (places & 7).astype(np.uint8) & 1).astype(np.bool_)
        return seen

    @property
    def false_yes(self) -> float:
        """The share of other pictures that it takes for its own, by how full it is."""
        full = float(np.bitwise_count(self.bits).sum()) / (8 * len(self.bits))
        return float(full**self.hashes)

    def described(self) -> dict[str, Any]:
        """The value of `training.seen` in model.json."""
        text = base64.b64encode(self.bits.tobytes()).decode()
        return {"pictures": self.pictures, "hashes": self.hashes, "bloom": text}

    @classmethod
    def read(cls, described: Any) -> Seen:
        try:
            pictures, hashes, text = (described[key] for key in ("pictures", "hashes", "bloom"))
            if not _is_count(pictures, 1 << 40) or not _is_count(hashes, MAX_HASHES) or not isinstance(text, str):
                raise ValueError("its numbers")
            if not 0 < len(text) <= MAX_BYTES * 4 // 3 + 4:
                raise ValueError("its size")
            bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
            if not len(bits):
                raise ValueError("its size")
        except (KeyError, TypeError, ValueError, IndexError, binascii.Error) as error:
            raise BundleError(f"the model's record of its training pictures is damaged ({error})") from None
        return cls(pictures, hashes, bits)


def seen_by(training: Mapping[str, Any]) -> list[Seen]:
    """The filters of a model and of what it was made of, from `training` of its bundle. Models made before there were
    such records have none."""
    return [Seen.read(described) for described, _ in zip(_records(training), range(MAX_FILTERS), strict=False)]


def _records(training: Any) -> Iterator[Any]:
    """Of the model itself, of the backbone it stands on, and so on down, and of the models it was joined from."""
    left = [training]
    while left:
        one = left.pop()
        if not isinstance(one, dict):
            continue
        if KEY in one:
            yield one[KEY]
        backbone = one.get("backbone")
        left += [backbone["training"]] if isinstance(backbone, dict) and "training" in backbone else []
        for joined in ("average of", "side by side"):
            left += one[joined] if isinstance(one.get(joined), list) else []


def _places(contents: Iterable[str], hashes: int, bits: int) -> Iterator[NDArray[np.int64]]:
    """Where each digest has its bits, one hash after the other. A digest is as random as numbers get, so two halves
    of it make all the hashes (Kirsch and Mitzenmacher, 2006)."""
    digests = b"".join(bytes.fromhex(content) for content in contents)
    numbers = np.frombuffer(digests, "<u8").reshape(-1, 4)
    first, step = numbers[:, 0], numbers[:, 1] | np.uint64(1)
    for number in range(hashes):
        yield ((first + np.uint64(number) * step) % np.uint64(bits)).astype(np.int64)


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
