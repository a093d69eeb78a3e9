from typing import Any

def scan(
    query: Any, words: Any, ids: Any, alive: Any, n_words: int, bits: int, k: int, radius: int, /
) -> bytes: ...
