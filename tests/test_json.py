"""What verbs print with --json is what docs/reference/json.md says, key by key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import fill, make_picture
from hashgrain import Library
from hashgrain.cli.app import GROUPS, VERBS
from hashgrain.cli.keys import NAMED, snake_keys
from hashgrain.store import Parts, PartsReplaced
from in_process import hashgrain

PAGE = Path(__file__).parent.parent / "docs/reference/json.md"
SNAKE = re.compile("[a-z][a-z0-9]*(_[a-z0-9]+)*")
DEEPEST = 10  # keys on a path
Path_ = tuple[str, ...]


def sections() -> dict[str, dict[str, str]]:
    """The table of each section: paths of keys, and what is said of each."""
    parts = re.split(r"^##+ (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.M)
    titled = zip(parts[1::2], parts[2::2], strict=True)
    return {title: dict(re.findall(r"^\| `([^`]+)` \| ?(.*) \|$", text, re.M)) for title, text in titled}


def steps(path: str) -> Path_:
    return tuple(part for part in path.replace("[]", ".[]").split(".") if part)


def documented(title: str, prefix: Path_ = ()) -> dict[Path_, str]:
    """The paths of a section with those of the sections it points to."""
    keys_of: dict[Path_, str] = {}
    text = PAGE.read_text(encoding="utf-8")
    intro = re.search(rf"^##+ {re.escape(title)}\n\n(?!\|)(.*?)\n\n", text, re.M | re.S)
    if intro and title in ("add", "update"):
        keys_of |= documented("run of pictures", prefix)
    for path, said in sections()[title].items():
        keys = (*prefix, *steps(path))
        keys_of[keys] = said
        for pointed in re.findall(r"\[\w+\]\(#(hit|info|group|scene)\)", said):
            if len(keys) > DEEPEST:  # groups hold groups
                continue
            inner = documented(pointed, (*prefix, *steps(path)))
            keys_of |= {at: said if said.startswith("where") else what for at, what in inner.items()}
    return keys_of


def paths_of(value: Any, at: Path_ = ()) -> Iterator[Path_]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*at, key)
            yield from paths_of(inner, (*at, key))
    elif isinstance(value, list):
        for inner in value:
            yield (*at, "[]")
            yield from paths_of(inner, (*at, "[]"))


def fits(path: Path_, pattern: Path_) -> bool:
    """Whether a pattern, or the beginning of one, stands for the path."""
    for place, step in enumerate(path):
        if place == len(pattern):
            return False
        if pattern[place] == "**":
            return True
        if pattern[place] not in (step, "*"):
            return False
    return True


def check(title: str, *documents: Any) -> None:
    """Nothing is printed that is not documented, and nothing documented is missing."""
    patterns = documented(title)
    for document in documents:
        paths = set(paths_of(document))
        for path in paths:
            assert any(fits(path, pattern) for pattern in patterns), f"{title}: {path} is not in the table"
            names = {pattern[len(path) - 1] for pattern in like(path, patterns)}
            named = "*" in names or any(step in NAMED for step in path[:-1])
            assert named or path[-1] == "[]" or SNAKE.fullmatch(path[-1]), path
    every = {path for document in documents for path in paths_of(document)}
    for pattern, said in patterns.items():
        if not said.startswith("where") and pattern[-1] not in ("*", "**"):
            here = [path for path in every if len(path) == len(pattern) and fits(path, pattern)]
            beside = [path for path in every if len(path) == len(pattern) and fits(path[:-1], pattern[:-1])]
            assert here or not beside, f"{title}: {pattern} is documented and was not printed"


def like(path: Path_, patterns: dict[Path_, str]) -> list[Path_]:
    return [pattern for pattern in patterns if len(pattern) >= len(path) and fits(path, pattern)]


def printed(*arguments: object, code: int = 0) -> Any:
    done = hashgrain(*arguments, "--json")
    assert done.exit_code == code, (arguments, done.output, done.exception)
    return json.loads(done.stdout)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "pics/a", 6)
    fill(tmp_path / "pics/b", 6, start=6)
    return tmp_path


def test_every_verb_has_a_section() -> None:
    nested = [f"{group} {verb}" for group, (_, verbs) in GROUPS.items() for verb in verbs]
    assert {*VERBS, *nested} <= set(sections())


def test_verbs_of_a_library_print_what_is_documented(here: Path) -> None:
    (here / "pics/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (here / "pics/notes.txt").write_bytes(b"no picture")
    added = printed("add", "a.hg", "pics", "--meta", "The City=Rome", code=3)
    check("add", added)
    assert (added["passed"], len(added["refused"])) == ({".txt": 1}, 1)
    picture = here / "pics/a/00001.jpg"
    hits = printed("search", "a.hg", picture, "-k", 2)
    check("search", hits)
    assert hits[0]["meta"] == {"The City": "Rome"}  # names of people's own stay as they are
    check("search", printed("search", "a.hg", "pics/a", "-k", 1))
    check("search", printed("search", "a.hg", "--id", 1, "-k", 2, "--explain", "--stages", "kind:3"))
    printed("add", "b.hg", "pics/b")
    check("search", printed("search", "a.hg", picture, "-k", 2, "--also", "b.hg"))
    wide = "kind:32,thing:64,look:128"  # all is one group
    check("search", printed("search", "a.hg", picture, "--group"))
    check("search", printed("search", "a.hg", picture, "--group", "--radius", wide, "--explain"))
    check("scenes", printed("scenes", "a.hg", "--radius", wide), printed("scenes", "b.hg"))
    line = json.loads(hashgrain("search", "a.hg", picture, "-k", 1, "--jsonl").stdout)
    check("search", [line])
    check(
        "search",
        printed("search", "a.hg", picture, "--min-score", 0.1),
        printed("search", "a.hg", "--min-score", 1, "--id", 1),
    )
    check("search", printed("search", "a.hg", "--like", 1, "--like", 2, "--unlike", 3))
    check("info", printed("info", "a.hg"))
    check("remove", printed("remove", "a.hg", "--id", 1))
    check("meta", printed("meta", "a.hg", "--id", 2, "--set", "a=1"), printed("meta", "a.hg", "--id", 2))
    check("index", printed("index", "a.hg"))
    picture.unlink()
    check("update", printed("update", "a.hg", code=3))
    check("export", printed("export", "a.hg"), printed("export", "a.hg", "out.hgc"))
    check("import", printed("import", "c.hg", "out.hgc", "--made-by", "x"))
    check("encode", printed("encode", "pics/b"), printed("encode", "pics/b", "--out", "codes.npy"))
    check("migrate", printed("migrate", "b.hg"), printed("migrate", "b.hg", "--undo"))
    check("rebuild", printed("rebuild", "b.hg"), printed("rebuild", "b.hg", "--model", "small"))
    check("bench search", printed("bench", "search", "a.hg", "--queries", 2))
    check("doctor", printed("doctor", "a.hg"), printed("doctor"))
    check("verify", printed("verify", "a.hg"))
    for segment in (here / "a.hg/segments").glob("*.w00"):
        segment.unlink()
    check("verify", printed("verify", "a.hg", code=1))
    check("doctor", printed("doctor", "a.hg", code=1))


def test_a_calibration_is_printed_as_documented(here: Path) -> None:
    printed("add", "c.hg", fill(here / "pics/c", 24))
    pairs = [f"{a},{b},{(a + b) % 2}" for a in range(1, 25) for b in range(1, a)]
    (here / "pairs.csv").write_text("\n".join(["a,b,same", *pairs]))
    calibrated = printed("calibrate", "c.hg", "--pairs", "pairs.csv")
    check("calibrate", calibrated, printed("calibrate", "c.hg", "--reset"))
    assert set(calibrated["grains"]) == {"kind", "thing", "look"}


def test_a_text_is_printed_as_documented(here: Path) -> None:
    printed("add", "p.hg", "pics/a", "--model", "photo")
    check("search", printed("search", "p.hg", "--text", "a red dog zyxgrbl", "-k", 2, "--explain"))


def test_verified_hits_are_printed_as_documented(here: Path) -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    dice = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(dice).resize((480, 360), Image.Resampling.NEAREST).save(here / "pics/corners.png")
    printed("add", "v.hg", "pics")
    hits = printed("search", "v.hg", "pics/corners.png", "--verify", "--verify-seconds", 60)
    check("search", hits)
    assert [bool(hit["verified"]["outline"]) for hit in hits] == [True] + [False] * 9


def test_a_restored_picture_is_told_as_documented(here: Path) -> None:
    pytest.importorskip("cv2", reason="needs the verify extra")
    dice = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    whole = Image.fromarray(dice).resize((480, 360), Image.Resampling.NEAREST)
    whole.save(here / "pics/corners.png")
    whole.paste((9, 9, 9), (100, 100, 200, 180))
    whole.save(here / "torn.png")
    printed("add", "r.hg", "pics")
    torn = ("restore", "r.hg", "torn.png", "--out", "out.png")
    told = printed(*torn, "--auto", "--truth", "pics/corners.png")
    assert told["trusted"]
    make_picture(1).save(here / "other.png")
    guessed = printed("restore", "r.hg", "other.png", "--box", "0,0,0.2,0.2", "--out", "out.png", code=3)
    check("restore", told, guessed)


def test_the_account_of_a_hit_is_printed_as_documented(here: Path) -> None:
    printed("add", "a.hg", "pics/a")
    printed("add", "p.hg", "pics/a", "--model", "photo", "--detail", "low")
    check("why", printed("why", "p.hg", "pics/b/00006.jpg", 2, "--out", "why.png"))
    check("why", printed("why", "p.hg", 1, 2, "--grain", "kind"), printed("why", "a.hg", 1, 2, "--grain", "kind"))


def test_parts_are_printed_as_documented(here: Path) -> None:
    printed("add", "a.hg", "pics/a")
    with Library.open(here / "a.hg", "w") as library:
        codes = library.codes()[0].words
        spans = np.array([[0, 1.5], [1, 2.5]], np.float32)
        library.store.set_grid([(0, 0, 0.5, 1), (0.5, 0, 1, 1)])
        library.store.commit([PartsReplaced(1, Parts(codes[3:5])), PartsReplaced(2, Parts(codes[4:6], spans))])
    hits = printed("search", "a.hg", "--id", 4, "-k", 5, "--parts")
    check("search", hits)
    assert hits[0]["part"] == {"index": 1, "box": [0, 0, 0.5, 1], "span": None}
    assert {"index": 0, "box": None, "span": None} in [hit["part"] for hit in hits]
    check("search", printed("search", "a.hg", "--id", 5, "-k", 5, "--parts", "--explain"))
    check("search", printed("search", "a.hg", "--id", 4, "-k", 5))


def test_duplicates_are_printed_as_documented(here: Path) -> None:
    (here / "pics/a/copy.jpg").write_bytes((here / "pics/a/00000.jpg").read_bytes())
    printed("add", "a.hg", "pics/a")
    with Library.open(here / "a.hg", "w") as library:
        library.store.set_grid([(0, 0, 0.5, 1)])
        library.store.commit([PartsReplaced(2, Parts(library.codes()[0].words[4:5]))])
    check("duplicates", printed("duplicates", "a.hg"))
    found = printed("duplicates", "a.hg", "--within", 3, "--parts", "--delete")
    check("duplicates", found)
    assert [part["part"]["box"] for part in found["parts"]] == [[0, 0, 0.5, 1]]
    done = printed("duplicates", "a.hg", "--delete", "--yes")
    check("duplicates", done)
    (here / "pics/a/copy.jpg").write_bytes(b"another file")
    (here / "pics/a/00000.jpg").write_bytes(b"another file")
    check("duplicates", printed("duplicates", "a.hg", "--undo", done["undo_file"], code=3))


def test_labels_are_printed_as_documented(here: Path) -> None:
    printed("add", "a.hg", "pics")
    check("tag", printed("tag", "a.hg", "--from", "label", "--ask", 2))
    for number, label in ((1, "cat"), (2, "cat"), (3, "dog"), (4, "dog")):
        printed("meta", "a.hg", "--id", number, "--set", f"label={label}")
    check(
        "tag",
        printed("tag", "a.hg", "--from", "label"),
        printed("tag", "a.hg", "--from", "label", "--min-confidence", 1),
        printed("tag", "a.hg", "--from", "label", "--min-confidence", 0, "--yes"),
    )
    check("tag", printed("tag", "a.hg", "--from", "label", "--undo"))
    (here / "pics/a/00005.jpg.xmp").write_text("no XML")
    check("tag", printed("tag", "a.hg", "--from", "label", "--min-confidence", 0, "--write", "xmp", "--yes", code=3))
    (here / "pics/broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    check("classify", printed("classify", "a.hg", "pics", "--from", "label", code=3))
    check("classify", printed("classify", "a.hg", "--from", "label", "-k", 3))


def test_verbs_of_models_print_what_is_documented(here: Path) -> None:
    check("models", printed("models"))
    check("model show", printed("model", "show", "photo"))
    check("verify", printed("verify", "small", "--pictures", "pics/a"))
    check(
        "recipes",
        printed("recipes"),
        printed("recipes", "csq"),
        printed("recipes", "photo"),
        printed("recipes", "adapt"),
    )
    check("protocols", printed("protocols"), printed("protocols", "folder"))
    check("protocols", printed("protocols", "folder", "--data", "pics", "--out", "split"))
    check("evaluate", runs := printed("evaluate", "small", "--data", "pics", "--references", "none"))
    assert "mAP@ALL hash" in runs[0]["rows"][0]["figures"]
    check("compare", printed("compare", runs[0]["run"]))
    np.save(here / "f.npy", np.random.default_rng(0).normal(size=(64, 16)).astype(np.float32))
    features = ("features", "train", "--features", "f.npy", "--hasher", "ITQ", "--bits", 8, "--out", "h.npz")
    check("features train", printed(*features))
    check("features encode", printed("features", "encode", "f.npy", "--head", "h.npz", "--out", "f.hgc"))


def test_verbs_that_make_models_print_what_is_documented(here: Path) -> None:
    pytest.importorskip("torch")
    check("train", printed("train", "--data", "pics", "--recipe", "adapt", "--set", "steps=5", "--out", "made"))
    check("shrink", printed("shrink", "small", "--half", "--out", "half", "--pictures", "pics"))
    check("join", printed("join", "small", "half", "--out", "both", "--pictures", "pics"))
    check("join", printed("join", "small", "half", "--out", "apart", "--side-by-side", "a,b"))


def test_keys_become_words_joined_by_underscores_but_names_stay() -> None:
    own = {
        "bytes of Indexes": 1,
        "pi-heif": 2,
        "list": [{"made by": ({"cut-off": 3},)}],
        "meta": {"My Key": {"a b": 4}},
    }
    assert snake_keys(own) == {
        "bytes_of_indexes": 1,
        "pi_heif": 2,
        "list": [{"made_by": [{"cut_off": 3}]}],
        "meta": {"My Key": {"a b": 4}},
    }


def test_a_key_that_is_not_documented_is_noticed() -> None:
    with pytest.raises(AssertionError, match="not in the table"):
        check("remove", {"removed": 1, "more": 2})
    with pytest.raises(AssertionError, match="was not printed"):
        check("info", {"path": "a"})
