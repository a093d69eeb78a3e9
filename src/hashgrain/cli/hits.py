"""How hits are printed: a table or lines for people, JSON or paths for programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from hashgrain.cli.output import print_json, print_paths, print_table
from hashgrain.report.page import file_address

if TYPE_CHECKING:
    from hashgrain.library import LibraryHit
    from hashgrain.search import Hit

Form = Literal["table", "json", "jsonl", "paths"]
Answers = Sequence[tuple[str, Sequence["LibraryHit"]]]  # the name of each query, and its hits


def print_answers(
    answers: Answers,
    form: Form,
    title: str,
    distance: str,
    *,
    folder: bool,
    several: bool,
    parts: bool,
    verified: bool = False,
) -> None:
    """A line names its query if a `folder` asks, its library if there are `several`, its part with `parts`, and how
    many points agree with `verified`."""
    if form == "paths":
        print_paths(match.hit.path for _, answer in answers for match in answer)
    elif form == "jsonl":
        for query, answer in answers:
            for match in answer:
                print_json(({"query": query} if folder else {}) | _document(match, several), indent=None)
    elif form == "json":
        documents = [
            {"query": query, "hits": [_document(match, several) for match in answer]} for query, answer in answers
        ]
        print_json(documents if folder else documents[0]["hits"])
    else:
        columns = [
            *["query"] * folder,
            "",
            distance,
            *["part"] * parts,
            *["points"] * verified,
            *["library"] * several,
            "id",
            "path",
        ]
        rows = [_row(query, match, folder, several, parts, verified) for query, answer in answers for match in answer]
        print_table(title, columns, rows, [file_address(row[-1]) for row in rows])


def _document(match: LibraryHit, several: bool) -> dict[str, Any]:
    return ({"library": str(match.library.path)} if several else {}) | match.hit.as_dict()


def _row(query: str, match: LibraryHit, folder: bool, several: bool, parts: bool, verified: bool) -> list[Any]:
    hit, library = match.hit, str(match.library.path)
    first = hit.word or f"{hit.score:.3f}"  # a phrase has no words for how near, only scores
    part = [*[_place(hit)] * parts, *[_points(hit)] * verified]
    return [*[query] * folder, first, hit.distance, *part, *[library] * several, hit.id, hit.path]


def _points(hit: Hit) -> str:
    """How many points of the query were found in the hit."""
    if hit.verified is None:
        return "-"
    return str(hit.verified.inliers) if hit.verified else "no"


def _place(hit: Hit) -> str:
    """Where the part that matched lies, in one word."""
    if hit.part is None or hit.part.index == 0:
        return "whole"
    if hit.part.box is not None:
        return ",".join(f"{edge:.2f}" for edge in hit.part.box)
    if hit.part.span is not None:
        return f"{hit.part.span[0]:.1f}-{hit.part.span[1]:.1f}s"
    return str(hit.part.index)
