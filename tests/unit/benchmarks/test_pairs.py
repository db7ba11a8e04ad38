from collections import Counter

import pytest

from benchmarks.corpora.debian_packages import (
    Described,
    Pair,
    choose,
    is_clear,
    read_descriptions,
    read_sources,
    split_of,
    tidy,
)

PACKAGES = """Package: libfoo1
Source: foo (1.2-3)
Version: 1.2-3+b1

Package: bar
Version: 1
"""

TRANSLATIONS = """Package: libfoo1
Description-md5: d943033bedada21853d2ae54a2578a7b
Description-en: shared library for foos
 It reads: foos.
 .
 And writes
 them.

Package: unknown
Description-en: no such package
 Nothing.

Package: bar
Description-en: only a title here
"""

LONG = "sentence after sentence about it " * 10


def described(package: str, source: str, title: str, body: str) -> Described:
    return Described(package, source, Pair(title, body))


def test_the_source_of_a_package_is_its_own_name_unless_said() -> None:
    assert read_sources(PACKAGES) == {"libfoo1": "foo", "bar": "bar"}


def test_descriptions_of_packages_with_a_known_source() -> None:
    found = list(read_descriptions(TRANSLATIONS, read_sources(PACKAGES)))
    assert found == [
        described("libfoo1", "foo", "shared library for foos", "It reads: foos.\nAnd writes them."),
        described("bar", "bar", "only a title here", ""),
    ]


def test_descriptions_in_another_language() -> None:
    index = TRANSLATIONS.replace("Description-en", "Description-pt_BR")
    sources = read_sources(PACKAGES)
    first, _ = read_descriptions(index, sources, "pt_BR")
    assert first.pair.title == "shared library for foos"
    assert {one.pair.title for one in read_descriptions(index, sources, "pt")} == {""}


def test_list_marks_go_and_hyphens_stay() -> None:
    body = " It has:\n  * multi-line\n    points\n  - more\n .\n End."
    assert tidy(body) == "It has: multi-line points more\nEnd."


def test_one_package_stands_for_its_source() -> None:
    short = described("a-doc", "a", "the docs of a", "x" + LONG)
    full = described("a", "a", "the program a", "y" + LONG + LONG)
    assert choose([short, full]) == [full]


def test_a_title_or_beginning_is_taken_once() -> None:
    first = described("a", "a", "one and only title", "a " + LONG)
    same_title = described("b", "b", "One and only Title", "b " + LONG)
    same_beginning = described("c", "c", "quite another title", "a " + LONG + "but it goes on")
    assert choose([same_beginning, same_title, first]) == [first]


@pytest.mark.parametrize(
    ("title", "body"),
    [
        ("a fine title", "too short"),
        ("two words", LONG),
        ("sentence after sentence", LONG),
        ("Sentence After Sentence", LONG),
    ],
)
def test_pairs_that_prove_nothing_are_unclear(title: str, body: str) -> None:
    assert not is_clear(Pair(title, body))


def test_a_title_in_other_words_is_clear() -> None:
    assert is_clear(Pair("many phrases on a matter", LONG))


def test_splits_are_about_a_tenth_a_tenth_and_the_rest() -> None:
    counts = Counter(split_of(f"source-{i}") for i in range(2000))
    assert counts["calibration"] == pytest.approx(200, abs=60)
    assert counts["validation"] == pytest.approx(200, abs=60)
    assert counts["test"] == pytest.approx(1600, abs=100)


def test_a_source_never_changes_its_split() -> None:
    assert [split_of(name) for name in ("ffmpeg", "coreutils", "0ad")] == ["test"] * 3
