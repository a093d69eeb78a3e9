"""The rooms of the package, for the documentation: a drawing made from its imports, and the table that a test holds.

    python scripts/rooms.py FILE.svg

As a hook of MkDocs it adds `images/rooms.svg` and puts the table in place of `<!-- the table of rooms -->`. It stops
where imports make a circle or are not in the table, so nothing is drawn that the tests refuse.
"""

from __future__ import annotations

import ast
import sys
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from pathlib import Path
from typing import Any

import grimp

ROOT = Path(__file__).parent.parent
MARK = "<!-- the table of rooms -->"
# Every room may import `errors`; the package itself and `python -m hashgrain` are doors to the rest.
UNDRAWN = {"errors", "__init__", "__main__"}
WIDTH, HEIGHT, GAP_X, GAP_Y = 92, 30, 24, 46
STYLE = """
  .box { fill: #eef2ff; stroke: #4f5d95; rx: 6px } text { font: 14px sans-serif; fill: #1f2547; text-anchor: middle }
  path { fill: none; stroke: #8a93b8; stroke-width: 1.3 } .head { fill: #8a93b8; stroke: none }
  @media (prefers-color-scheme: dark) { .box { fill: #2b3152; stroke: #9aa5d8 } text { fill: #e8ebff } }
"""

Rooms = dict[str, set[str]]


def table() -> Rooms:
    """What each room may import, bottom to top, as tests/test_rooms.py says."""
    tree = ast.parse((ROOT / "tests" / "test_rooms.py").read_text(encoding="utf-8"))
    (rows,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == ["ROOMS"]
    ]
    return {room: set(row.split()) for room, row in rows.items()}


def modules() -> Rooms:
    """What each module imports, as grimp reads it, functions included.

    A module that asks its own package for a name of its `__init__`, or for a compiled module, is left out: grimp
    shows both as an import of the package.
    """
    graph = grimp.build_graph("hashgrain", cache_dir=None)
    return {
        module: {other for other in graph.find_modules_directly_imported_by(module) if not _is_inside(module, other)}
        for module in graph.modules
    }


def _is_inside(module: str, package: str) -> bool:
    return module.startswith(f"{package}.")


def rooms(imported: Rooms) -> Rooms:
    """What each room imports, but `errors`."""
    found: Rooms = {"__init__": set()}
    for module, names in imported.items():
        room = _room_of(module)
        others = {_room_of(other) for other in names}
        found.setdefault(room, set()).update(others - {room, *UNDRAWN})
    return found


def _room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def check_circles(imported: Rooms) -> None:
    """Stop where modules import each other, directly or not, within a room too."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        raise SystemExit(f"imports make a circle: {' <- '.join(error.args[1])}") from None


def check_rows(imported: Rooms, rows: Rooms) -> None:
    """Stop where a room imports what its row does not name, or what is above it."""
    above = {room: number for number, room in enumerate(rows)}
    for room, others in imported.items():
        if room not in rows or not others <= rows[room]:
            raise SystemExit(f"{room} imports {sorted(others - rows.get(room, set()))}, which is not in its row")
        if up := sorted(other for other in others if above[other] >= above[room]):
            raise SystemExit(f"{room} imports {up}, which is not below it")


def without_detours(imported: Rooms) -> Rooms:
    """Only the arrows that no longer way of arrows stands for."""
    reached: Rooms = {}

    def reach(room: str) -> set[str]:
        if room not in reached:
            reached[room] = set().union(*({other} | reach(other) for other in imported[room]))
        return reached[room]

    return {
        room: {other for other in others if not any(other in reach(via) for via in others)}
        for room, others in imported.items()
    }


def levels_of(arrows: Rooms) -> dict[str, int]:
    """How many floors a room is above the ground: one more than the highest that it imports."""
    levels: dict[str, int] = {}

    def level(room: str) -> int:
        if room not in levels:
            levels[room] = 1 + max((level(other) for other in arrows[room]), default=-1)
        return levels[room]

    for room in arrows:
        level(room)
    return levels


def places(arrows: Rooms) -> tuple[dict[str, tuple[float, int]], list[list[str]]]:
    """Where each room stands (column, floor), and each arrow as the stations it passes, one on each floor."""
    levels = levels_of(arrows)
    ways = []
    for room, others in sorted(arrows.items()):
        for other in sorted(others):
            between = range(levels[room] - 1, levels[other], -1)
            ways.append([room, *(f"{room}>{other}@{floor}" for floor in between), other])
            levels.update({f"{room}>{other}@{floor}": floor for floor in between})
    floors = [sorted(each for each in levels if levels[each] == floor) for floor in range(max(levels.values()) + 1)]
    near: dict[str, set[str]] = {each: set() for each in levels}
    for first, second in (pair for way in ways for pair in pairwise(way)):
        near[first].add(second)
        near[second].add(first)
    return _columns(floors, near, levels), ways


def _columns(floors: list[list[str]], near: Rooms, levels: dict[str, int]) -> dict[str, tuple[float, int]]:
    """Order each floor by the mean column of its neighbors, down and up in turn, until that is quiet."""
    column = {each: index - len(floor) / 2 for floor in floors for index, each in enumerate(floor)}
    for turn in range(40):
        for floor in floors if turn % 2 else floors[::-1]:
            wanted = {each: _mean([column[other] for other in near[each]], column[each]) for each in floor}
            order = sorted(floor, key=lambda each: (wanted[each], each))
            placed: list[float] = []
            for each in order:
                room_needed = 0.45 if "@" in each else 1.0
                placed.append(max(wanted[each], placed[-1] + room_needed) if placed else wanted[each])
            shift = _mean([wanted[each] - at for each, at in zip(order, placed, strict=True)], 0.0)
            column.update({each: at + shift for each, at in zip(order, placed, strict=True)})
    return {each: (column[each], levels[each]) for each in column}


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def drawing(arrows: Rooms) -> str:
    where, ways = places(arrows)
    left, top = min(x for x, _ in where.values()), max(floor for _, floor in where.values())
    spots = {
        each: (10 + (x - left) * (WIDTH + GAP_X), 10 + (top - floor) * (HEIGHT + GAP_Y))
        for each, (x, floor) in where.items()
    }
    width = round(max(x for x, _ in spots.values())) + WIDTH + 10
    parts = [_arrow([spots[each] for each in way]) for way in ways]
    for room in sorted(arrows):
        x, y = spots[room]
        parts.append(f'<rect class="box" x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}"/>')
        parts.append(f'<text x="{x + WIDTH / 2:.0f}" y="{y + HEIGHT / 2 + 5:.0f}">{room}</text>')
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {(top + 1) * (HEIGHT + GAP_Y)}" role="img">',
            f"<title>Rooms of hashgrain: arrows lead down to the rooms imported</title><style>{STYLE}</style>",
            f'<defs>{head}<path class="head" d="M0 0 8 4 0 8z"/></marker></defs>',
            *parts,
            "</svg>\n",
        ]
    )


def _arrow(stations: list[tuple[float, float]]) -> str:
    """A curve from the lower edge of the first box to the upper edge of the last, upright at every station."""
    points = [(x + WIDTH / 2, y + HEIGHT / 2) for x, y in stations]
    (x, y), bends = points[0], []
    y += HEIGHT / 2
    start = f"M{x:.0f} {y:.0f}"
    for index, (to_x, middle) in enumerate(points[1:], 2):
        to_y = middle - HEIGHT / 2
        half = (y + to_y) / 2
        bends.append(f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {to_y:.0f}")
        x, y = to_x, to_y
        if index < len(points):
            y += HEIGHT
            bends.append(f"V{y:.0f}")
    return f'<path marker-end="url(#head)" d="{start}{"".join(bends)}"/>'


def made() -> str:
    imported = modules()
    check_circles(imported)
    imported = rooms(imported)
    check_rows(imported, table())
    return drawing({room: others for room, others in without_detours(imported).items() if room not in UNDRAWN})


def as_markdown(rows: Rooms) -> str:
    lines = ["| room | may import, beside `errors` |", "|---|---|"]
    for room, others in reversed(rows.items()):
        names = " ".join(f"`{each}`" for each in rows if each in others) or "nothing"
        lines.append(f"| `{room}` | {names} |")
    return "\n".join(lines)


def on_files(files: Any, config: Any) -> Any:
    """MkDocs: add the drawing to what the site is made of."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "images/rooms.svg", content=made()))
    return files


def on_page_markdown(markdown: str, page: Any, **others: Any) -> str:
    """MkDocs: put the table where a page asks for it."""
    return markdown.replace(MARK, as_markdown(table()))


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(made(), encoding="utf-8")
