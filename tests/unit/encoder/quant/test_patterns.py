import pytest

from encoder.errors import InputError
from encoder.quant.allocate import match, pinned
from encoder.quant.schemes import FP16, INT4

NAMES = ["conv1", "layers.0.conv1", "layers.1.ffn.out", "layers.10.ffn.out", "classifier.1"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("conv1", ["conv1"]),
        ("layers.1", ["layers.1.ffn.out"]),
        ("ffn.out", ["layers.1.ffn.out", "layers.10.ffn.out"]),
        ("classifier", ["classifier.1"]),
        ("*.conv*", ["layers.0.conv1"]),
        ("layers.[01].*", ["layers.0.conv1", "layers.1.ffn.out"]),
        ("*", NAMES),
    ],
)
def test_the_nearest_reading_counts(pattern: str, found: list[str]) -> None:
    assert match(pattern, NAMES) == found


def test_what_means_nothing_lists_near_names() -> None:
    with pytest.raises(InputError, match=r"'clasifier'.*similar names are classifier\.1"):
        match("clasifier", NAMES)
    with pytest.raises(InputError, match="there are conv1, "):
        match("zzz", NAMES)


def test_later_patterns_override() -> None:
    pins = pinned(NAMES, {"*": "int4", "classifier": FP16})
    assert pins == {**dict.fromkeys(NAMES, INT4), "classifier.1": FP16}
