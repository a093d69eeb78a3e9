"""Tokens of phrases, cut by a tokenizer that a stranger may have made.

It is data for a large Rust program, with patterns and replacements in it that may take any time and memory for the
right phrase. So it is loaded and run in a process of its own, within limits, which ends with its parent.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import BundleError, QueryError, WorkerError
from hashgrain.media import processes
from hashgrain.models.tower import TextTower

LOAD_SECONDS = 120.0  # a vocabulary of a quarter million tokens takes one or two
SECONDS = 20.0  # for one phrase, which takes a thousandth
BASE_MEMORY = 1 << 30  # address space
PER_BYTE = 100  # of a tokenizer: 250,000 tokens of Unigram in 7 MB of JSON become 680 MB of tables
MAX_MEMORY = 4 << 30
MOST_UNKNOWN = 20  # parts of a phrase that are named
TOKENIZER, PHRASE, READ, REFUSED = b"T", b"P", b"R", b"E"


@dataclass(frozen=True)
class Tokens:
    """A phrase as a text graph takes it, and how much of it was read."""

    ids: NDArray[np.int64]  # (length,)
    mask: NDArray[np.int64]  # 1 where there is a token, 0 where it is padded
    end: int  # characters that were read
    cut: bool  # whether the rest was cut off
    known: int  # tokens that stand for a part of the phrase
    unknown: tuple[str, ...]  # parts that the vocabulary has no token for


def require_tokenizers() -> None:
    if importlib.util.find_spec("tokenizers") is None:
        raise QueryError("this model reads sentences, which takes a package: pip install 'hashgrain[text]'")


class Tokenizer:
    """Safe to use from several threads, one after the other."""

    def __init__(self, tower: TextTower, model: str) -> None:
        self.tower = tower
        self.whose = f"the tokenizer of model {model!r}"
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def tokens(self, text: str) -> Tokens:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
            answer = self._asked(PHRASE, {"text": text}, b"", SECONDS, "reads this phrase")
        if len(answer["ids"]) > self.tower.length:
            raise BundleError(f"{self.whose} gives more tokens than its network takes; get the bundle again")
        left = self.tower.length - len(answer["ids"])
        ids = np.array(answer["ids"] + [self.tower.pad] * left, np.int64)
        mask = np.array([1] * len(answer["ids"]) + [0] * left, np.int64)
        return Tokens(ids, mask, answer["end"], answer["cut"], answer["known"], tuple(answer["unknown"]))

    def close(self) -> None:
        with self._lock:
            self._end()

    def _start(self) -> None:
        require_tokenizers()
        memory = min(BASE_MEMORY + PER_BYTE * len(self.tower.tokenizer), MAX_MEMORY)
        limits = json.dumps({"memory": memory, "length": self.tower.length})
        alone = {"TOKENIZERS_PARALLELISM": "false"}
        try:  # a thread that asks once must not take the process with it
            self._process = processes.start(__name__, limits, environment=alone, lasting=True)
        except WorkerError as error:
            raise BundleError(f"{self.whose} cannot be run: {error}") from None
        self._asked(TOKENIZER, {}, self.tower.tokenizer, LOAD_SECONDS, "is loaded")

    def _asked(self, kind: bytes, header: dict[str, Any], content: bytes, seconds: float, what: str) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        started = time.monotonic()
        timer = threading.Timer(seconds, process.kill)
        timer.daemon = True
        timer.start()
        try:
            processes.send(process.stdin, kind, header, content)
            answer_kind, answer, _ = processes.receive(process.stdout)
        except (OSError, EOFError):
            self._end()
            late = time.monotonic() - started >= seconds
            why = f"takes longer than {seconds:g} s" if late else "ends its process"
            raise BundleError(
                f"{self.whose} {why} while it {what}: it is damaged, too large, or made to do harm"
            ) from None
        except BaseException:  # such as Ctrl-C: an answer that nobody waits for must not be the next one's
            self._end()
            raise
        finally:
            timer.cancel()
        if answer_kind == REFUSED:
            self._end()
            raise BundleError(f"{self.whose} cannot be used: {answer['reason']}")
        return answer

    def _end(self) -> None:
        if self._process is not None:
            processes.end(self._process)
            self._process = None


def serve(described: str) -> None:
    """The whole life of the process: load a tokenizer, read phrases, until the pipe ends."""
    limits = json.loads(described)
    processes.cap_memory(limits["memory"])
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    tokenizer: Any = None
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            kind, header, content = processes.receive(stdin)
            processes.set_alarm(LOAD_SECONDS if kind == TOKENIZER else SECONDS)  # should the parent be gone
            try:
                if kind == TOKENIZER:
                    tokenizer, answer = _loaded(content, limits["length"]), {}
                else:
                    answer = _read(tokenizer, header["text"])
            except BaseException as error:  # a panic of Rust is no Exception
                processes.send(stdout, REFUSED, {"reason": _reason(error)})
            else:
                processes.send(stdout, READ, answer)
            processes.set_alarm(0)


def _loaded(content: bytes, length: int) -> Any:
    from tokenizers import Tokenizer as Loaded

    tokenizer = Loaded.from_buffer(content)
    tokenizer.no_padding()
    tokenizer.enable_truncation(length)
    return tokenizer


def _read(tokenizer: Any, text: str) -> dict[str, Any]:
    encoding = tokenizer.encode(text)
    own = [place for place, special in enumerate(encoding.special_tokens_mask) if not special]
    spans = [encoding.offsets[place] for place in own]
    unknown = [span for place, span in zip(own, spans, strict=True) if _is_unknown(tokenizer, encoding, place)]
    parts = [text[start:end] for start, end in unknown if end > start]
    return {
        "ids": encoding.ids,
        "end": max((end for _, end in spans), default=0) if encoding.overflowing else len(text),
        "cut": bool(encoding.overflowing),
        "known": len(own) - len(unknown),
        "unknown": list(dict.fromkeys(parts))[:MOST_UNKNOWN],
    }


def _is_unknown(tokenizer: Any, encoding: Any, place: int) -> bool:
    """Most models put a token of that name there; Unigram leaves the text, under the id of another token."""
    token = encoding.tokens[place]
    named = tokenizer.id_to_token(encoding.ids[place])
    return bool(named != token or token == getattr(tokenizer.model, "unk_token", None))


def _reason(error: BaseException) -> str:
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line if len(line) <= 200 else line[:200] + "…"
