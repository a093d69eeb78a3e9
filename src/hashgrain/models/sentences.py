"""How a text tower read a phrase: it reads whole sentences, so no single word is found or ignored."""

from __future__ import annotations

from dataclasses import dataclass

SHOWN = 60  # characters of a phrase


@dataclass(frozen=True)
class Sentence:
    text: str
    read: str  # as far as it was read, without controls
    cut: bool  # whether there was more
    unknown: tuple[str, ...] = ()  # parts that the tokenizer has no token for
    # Fields of a phrase that is read noun by noun; always empty here.
    nouns: tuple[()] = ()
    ignored: tuple[()] = ()
    not_seen: tuple[()] = ()

    def summary(self) -> str:
        """How it was read, in one line."""
        parts = [f"read as a sentence: {_start(self.read)}"]
        parts += [f"too long, read up to: {_end(self.read)}"] if self.cut else []
        parts += [f"unknown: {', '.join(map(_start, self.unknown))}"] if self.unknown else []
        return "; ".join(parts)

    def as_dict(self) -> dict[str, object]:
        """With the keys of a phrase that is read noun by noun, where they mean something."""
        read = {"read": self.read, "cut": self.cut}
        return {"text": self.text, "found": [], "ignored": [], "unknown": list(self.unknown), "not_seen": [], **read}


def _start(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _end(text: str) -> str:
    return text if len(text) <= SHOWN else "…" + text[-SHOWN:]
