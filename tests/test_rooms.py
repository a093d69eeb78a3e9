"""The plan of the house holds: which room imports which, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "hashgrain"
# Top to bottom: a room may import the rooms above it, and nothing else.
ROOMS = (
    "errors",
    "files",
    "inside",
    "codes",
    "codefiles",
    "hashers",
    "images",
    "sources",
    "labelled",
    "models",
    "encoder",
    "hamming",
    "store",
    "engines",
    "search",
    "library",
    "evaluate",
    "learn",
    "apps",
    "server",
    "cli",
)
HEAVY = ("torch", "onnxruntime", "numba", "pyarrow")


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("hashgrain.")}
    return found


def modules() -> list[Path]:
    return [path for path in SRC.rglob("*.py") if path.parent != SRC or room_of(path) in ROOMS]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(SRC)))
def test_a_room_imports_only_rooms_above_it(path: Path) -> None:
    room = room_of(path)
    allowed = set(ROOMS[: ROOMS.index(room) + 1])
    assert imported_rooms(path) <= allowed


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
    assert "hashgrain.library.wording" not in loaded_after(opened)


def test_every_public_name_can_be_imported() -> None:
    import hashgrain

    for name in hashgrain.__all__:
        assert getattr(hashgrain, name) is not None
    with pytest.raises(AttributeError):
        hashgrain.nonsense  # noqa: B018
