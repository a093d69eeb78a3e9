"""Make the dictionary that searching by words reads: python scripts/make_words.py FOLDER_OF_WORDNET

The folder is WordNet 3.0's own (its `dict`; Debian's package wordnet-base), and takes the extra `train` for the list
of classes. The licence of WordNet is written beside the tables.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hashgrain.files import write_atomically
from hashgrain.learn.words.tables import build_arrays, imagenet_classes, write_tables
from hashgrain.learn.words.wordnet import read_license, read_wordnet
from hashgrain.models.dictionary import TABLES

LICENCE = "LICENSE-WordNet.txt"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    wordnet = read_wordnet(folder)
    arrays = build_arrays(wordnet, imagenet_classes())
    write_tables(arrays, TABLES)
    write_atomically(TABLES.with_name(LICENCE), read_license(folder).encode())
    print(f"{TABLES}: {len(wordnet.senses):,} nouns, {len(arrays['sure']):,} meanings, {TABLES.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
