"""The parts of the DSRE benchmark that need no long run."""

from benchmarks.dsre import tokens
from benchmarks.manuals import documented, topics, without_signature
from encoder.models import bundle


def test_manuals_ask_for_themselves() -> None:
    found = documented("numpy")
    titles = [one.title for one in found]
    assert len(found) > 300
    assert len(set(titles)) == len(titles)
    assert not any(title.startswith("add(") for title in titles)
    assert len(topics()) > 40


def test_a_documentation_without_a_call_is_left_alone() -> None:
    assert without_signature("Add two arrays.\n\nSlowly.") == "Add two arrays.\n\nSlowly."


def test_texts_are_cut() -> None:
    folder = bundle.fetch() / "text"
    assert [len(one) for one in tokens(folder, ["rain", "word " * 90], 64)] == [3, 64]
