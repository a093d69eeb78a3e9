"""The plan of the house holds: which room imports which, and what importing costs."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from conftest import ROOT, script

SRC = ROOT / "src" / "hashgrain"
# Bottom to top: what each room may import, besides `errors` and itself.
ROOMS = {
    "errors": "",
    "lazy": "",
    "files": "",
    "inside": "files",
    "codes": "",
    "types": "codes",
    "codefiles": "codes files",
    "hashers": "codes files",
    "media": "files types lazy",
    "sources": "files media",
    "labelled": "sources",
    "models": "codes files inside media types lazy",
    "graphs": "codes hashers models",
    "hamming": "codes inside",
    "store": "codes files hamming inside lazy",
    "engines": "codes hamming inside store",
    "search": "codes engines hamming media models store types",
    "library": "codefiles codes engines files inside media models search sources store types lazy",
    "client": "search store types",
    "evaluate": "codefiles codes files hamming hashers labelled media models",
    "report": "codes evaluate labelled media types",
    "learn": "codes evaluate files graphs hashers labelled media models types",  # the only room with torch
    "apps": "codefiles codes engines evaluate files hamming labelled library media models report search sources store"
    " types",
    "server": "apps library search store types",
    "cli": "apps codefiles codes engines evaluate files graphs hashers labelled learn library media models report"
    " search server sources store",
    "__init__": "client codes library models search types lazy",
    "__main__": "cli",
}
HEAVY = ("torch", "onnxruntime", "numba", "pyarrow")


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("hashgrain.")}
    return found & {room_of(path) for path in modules()}


@cache
def modules() -> tuple[Path, ...]:
    return tuple(SRC.rglob("*.py"))


def test_every_module_is_in_a_room() -> None:
    assert {room_of(path) for path in modules()} <= set(ROOMS)


def test_no_arrow_leads_up() -> None:
    order = list(ROOMS)
    for room, row in ROOMS.items():
        assert {order.index(each) for each in row.split()} <= set(range(order.index(room))), room


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_room_imports_only_the_rooms_of_its_row(path: Path) -> None:
    room = room_of(path)
    assert imported_rooms(path) <= {room, "errors", *ROOMS[room].split()}


def test_a_row_names_only_rooms_that_are_imported() -> None:
    imported = {room: set().union(*(imported_rooms(p) for p in modules() if room_of(p) == room)) for room in ROOMS}
    built = {room for room in ROOMS if room in {room_of(path) for path in modules()}}
    assert {room: set(ROOMS[room].split()) - imported[room] for room in built} == {room: set() for room in built}


@pytest.fixture(scope="module")
def drawn() -> ModuleType:
    """What draws the rooms, and reads the imports a second time."""
    pytest.importorskip("grimp")
    return script("rooms")


def test_modules_import_each_other_in_no_circle_and_two_readers_agree_about_rooms(drawn: ModuleType) -> None:
    modules = drawn.modules()
    drawn.check_circles(modules)
    drawn.check_rows(drawn.rooms(modules), drawn.table())
    with pytest.raises(SystemExit, match="circle: a <- b <- a"):
        drawn.check_circles({"a": {"b"}, "b": {"a"}})
    with pytest.raises(SystemExit, match=r"codes imports \['store'\], which is not in its row"):
        drawn.check_rows({"codes": {"store"}}, drawn.table())
    with pytest.raises(SystemExit, match=r"codes imports \['store'\], which is not below it"):
        drawn.check_rows({"codes": {"store"}}, {"codes": {"store"}, "store": set()})


def test_the_drawing_has_every_room_and_its_arrows_lead_down(drawn: ModuleType) -> None:
    drawing = drawn.made()
    rooms = {room_of(path) for path in modules()} - drawn.UNDRAWN
    assert set(re.findall(r"<text .*>(\w+)</text>", drawing)) == rooms
    arrows = re.findall(r'd="M\d+ (\d+)(.*?)"/>', drawing)
    assert len(arrows) > len(rooms)
    for start, way in arrows:
        heights = [int(start), *(int(y) for y in re.findall(r"(\d+)(?=[CV]|$)", way))]
        assert heights == sorted(set(heights))


def test_the_docs_show_the_table_and_contributing_every_room_in_its_order(drawn: ModuleType) -> None:
    assert drawn.table() == {room: set(row.split()) for room, row in ROOMS.items()}
    assert drawn.MARK in (ROOT / "docs/explanation/rooms.md").read_text()
    shown = drawn.on_page_markdown(drawn.MARK, page=None)
    assert shown.count("\n") == len(ROOMS) + 1
    assert "| `hashers` | `files` `codes` |" in shown
    told = (ROOT / "CONTRIBUTING.md").read_text().split("## Where things are")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", told, re.MULTILINE)
    listed = [name for row in rows for name in re.findall(r"`(\w+)(?:\.py|/)`", row)]
    built = {room_of(path) for path in modules()} - {"__init__", "__main__"}
    assert listed == [room for room in ROOMS if room in built]


def test_only_learn_computes_with_torch_and_the_command_line_looks_for_it() -> None:
    importers = {room_of(path) for path in modules() if re.search(r"^\s*(import|from) torch\b", path.read_text(), re.M)}
    assert importers == {"learn", "cli"}


def test_nothing_that_searches_imports_learn() -> None:
    importers = {room_of(path) for path in modules() if "learn" in imported_rooms(path)}
    assert importers <= {"learn", "cli"}


def loaded_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    return set(printed.split())


def test_importing_hashgrain_loads_nothing_heavy() -> None:
    assert not loaded_after("import hashgrain") & {*HEAVY, "numpy", "PIL", "typer"}


def test_opening_a_library_class_loads_no_training_and_no_runtime() -> None:
    assert not loaded_after("from hashgrain import Library, Encoder, Codes") & set(HEAVY)


def test_the_dictionary_is_loaded_by_who_asks_with_words() -> None:
    opened = "from hashgrain import Library, Encoder, Codes; import hashgrain.library.library"
    assert not {name for name in loaded_after(opened) if name.startswith("hashgrain.models.") and "dict" in name}
    assert "hashgrain.search.text_search" not in loaded_after(opened)


def test_a_program_that_asks_with_a_file_loads_neither_pillow_nor_filters(tmp_path: Path) -> None:
    """A worker decodes it, and starts while the model is loaded: nothing slow may come before."""
    from PIL import Image

    from hashgrain import Library

    picture, place = str(tmp_path / "red.png"), str(tmp_path / "a.hg")
    Image.new("RGB", (64, 64), "red").save(picture)
    with Library.create(place) as library:
        library.add(picture)
    loaded = loaded_after(
        f"from hashgrain import Library\nwith Library.open({place!r}) as a:\n    assert len(a.search({picture!r})) == 1"
    )
    assert "hashgrain.media.worker_group" in loaded
    assert not loaded & {"PIL", "hashgrain.store.filter_parser", "hashgrain.store.migration"}


def test_every_public_name_can_be_imported() -> None:
    import hashgrain

    for name in hashgrain.__all__:
        assert getattr(hashgrain, name) is not None
    with pytest.raises(AttributeError):
        hashgrain.nonsense  # noqa: B018
