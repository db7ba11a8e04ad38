from __future__ import annotations

import pytest

from encoder.errors import InputError
from encoder.quant.allocate import BudgetWarning, Option, allocate, match, pinned
from encoder.quant.limits import parse_budget
from encoder.quant.schemes import FP16, FP32, INT3, INT4, INT5, INT6, INT8, Scheme


def layer(n_values: int, loss: float, schemes: tuple[Scheme, ...] = (INT4, INT8, FP16, FP32)):
    """Options whose loss falls sixteen times for each four bits, as rounding's does."""
    return [
        Option(scheme, 0.0 if scheme == FP32 else loss * 2.0 ** -(scheme.bits - 4), nbytes)
        for scheme in schemes
        for nbytes in [n_values * scheme.bits // 8]
    ]


@pytest.mark.parametrize("tiny", [1e-10, 1e-9, 6e-8, 5e-7, 1e-5])
def test_a_tiny_loss_beside_a_large_one_is_taken(tiny: float) -> None:
    options = {
        "fragile": [Option(INT4, 1.0, 1), Option(INT8, 0.0, 2)],
        "robust": [Option(INT4, tiny, 1), Option(INT8, 0.0, 2)],
        "any": [Option(INT4, 0.0, 1), Option(INT8, 0.0, 1)],
    }
    for max_loss in (0.25, 0.5, 0.9):
        chosen = allocate(options, max_loss=max_loss)
        assert (chosen.schemes["fragile"], chosen.schemes["robust"]) == (INT8, INT4)


def test_the_rest_counts_in_the_size() -> None:
    options = {"a": layer(1000, 1.0)}
    assert allocate(options, max_bytes=1000).schemes["a"] == INT8
    chosen = allocate(options, max_bytes=1000, rest_bytes=1)
    assert chosen.schemes["a"] == INT4
    assert chosen.nbytes == 501


def test_groups_share_a_scheme_and_groups_that_overlap_become_one() -> None:
    losses = (1e-5, 1e-5, 1, 1)
    options = {name: layer(1000, loss) for name, loss in zip("abcd", losses, strict=True)}
    free = allocate(options, max_bytes=3000)
    assert free.schemes == {"a": INT4, "b": INT4, "c": INT8, "d": INT8}
    chosen = allocate(options, max_bytes=3000, groups=[("a", "b"), ("b", "c")])
    assert chosen.schemes == {"a": INT4, "b": INT4, "c": INT4, "d": INT8}
    assert chosen.nbytes <= 3000


def test_noise_below_zero_is_no_gain() -> None:
    noisy = [Option(INT4, -1.0, 50), Option(INT8, 0.0, 100), Option(FP32, 0.0, 400)]
    chosen = allocate({"a": noisy, "b": layer(100, 1.0)}, max_loss=0.01)
    assert chosen.schemes["b"] == FP16
    assert chosen.loss > 0


def test_a_size_out_of_reach_is_explained_by_its_arithmetic() -> None:
    options = {"body.0": layer(20_000_000, 1.0), "classifier": layer(2_000_000, 1.0)}
    with pytest.warns(BudgetWarning) as caught:
        chosen = allocate(options, max_bytes=11_000_000, keep={"classifier": "fp16"}, rest_bytes=10)
    message = str(caught[0].message)
    assert message.startswith("11 MB cannot be met: classifier kept at fp16 4 MB")
    assert (
        "the other layers at their smallest 10 MB + what is not quantized 10 bytes = 14 MB"
        in message
    )
    assert "classifier at fp16 with {int4, int8, fp16, fp32} caps this model at 6.3×" in message
    assert chosen.schemes == {"body.0": INT4, "classifier": FP16}
    assert not chosen.met
    assert chosen.nbytes == 14_000_010


def test_a_loss_out_of_reach_gives_the_most_exact() -> None:
    options = {"a": layer(100, 1.0), "head": layer(100, 1.0)}
    with pytest.warns(BudgetWarning, match=r"A loss of 0\.1 cannot be met: .*head at int4 1"):
        chosen = allocate(options, max_loss=0.1, keep={"head": "int4"})
    assert chosen.schemes == {"a": FP32, "head": INT4}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "one of the two"),
        ({"max_bytes": 1, "max_loss": 1.0}, "one of the two"),
        ({"max_bytes": 1, "groups": [("a", "z")]}, r"\['z'\]"),
        ({"max_bytes": 1, "keep": {"heads": "fp16"}}, "similar names are head"),
        ({"max_bytes": 1, "keep": {"a": "int3"}}, "keep: got int3 for a"),
        (
            {"max_bytes": 1, "groups": [("a", "head")], "keep": {"a": "int4", "head": "int8"}},
            "int8",
        ),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        allocate({"a": layer(100, 1.0), "head": layer(100, 1.0)}, **settings)


def test_losses_must_be_numbers() -> None:
    with pytest.raises(InputError, match="finite"):
        allocate({"a": [Option(INT4, float("nan"), 10)]}, max_bytes=100)


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


@pytest.mark.parametrize(
    "name", "int3 int4 int5 int6 int8 int3g64 int4g32 int4g128 int8g64 fp16 fp32".split()
)
def test_names_come_back(name: str) -> None:
    assert Scheme.parse(name).name == Scheme.parse(name.upper()).name == name


@pytest.mark.parametrize("name", ["int7", "int2", "int4g16", "int", "fp8", "fp16g64", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="scheme"):
        Scheme.parse(name)


@pytest.mark.parametrize(
    ("scheme", "n_columns", "nbytes"),
    [
        (INT8, 5, 5 + 2),
        (INT4, 5, 3 + 2),
        (INT3, 5, 2 + 2),
        (INT3, 8, 3 + 2),
        (INT5, 8, 5 + 2),
        (INT5, 3, 2 + 2),
        (INT6, 5, 4 + 2),
        (Scheme(4, 32), 96, 48 + 3 * 2),
        (FP16, 5, 10),
        (FP32, 5, 20),
    ],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_bytes_of_a_row(scheme: Scheme, n_columns: int, nbytes: int) -> None:
    assert scheme.nbytes(7, n_columns) == 7 * nbytes


@pytest.mark.parametrize(
    ("budget", "nbytes"),
    [
        ("1/8", 1_000_000),
        ("12.5%", 1_000_000),
        ("8x", 1_000_000),
        ("6.4×", 1_250_000),
        (0.125, 1_000_000),
        ("0.125", 1_000_000),
        ("3MB", 3_000_000),
        (" 1.5 MiB ", 1_572_864),
        ("2000", 2000),
        (2000, 2000),
    ],
)
def test_sizes_as_people_write_them(budget: str | int, nbytes: int) -> None:
    assert parse_budget(budget, fp32_nbytes=8_000_000) == nbytes


def test_bits_are_an_average_over_the_whole_model() -> None:
    assert parse_budget(bits=4.6, fp32_nbytes=32_000) == 4600


@pytest.mark.parametrize(
    "budget", ["", "small", "1/0", "0x", "-1", "1/8/2", 0, -5, float("nan"), None]
)
def test_what_is_no_size_is_refused(budget: str | int | None) -> None:
    with pytest.raises(InputError):
        parse_budget(budget, fp32_nbytes=8_000_000)


def test_bits_and_a_budget_exclude_each_other() -> None:
    with pytest.raises(InputError, match="one of them"):
        parse_budget("1/8", bits=4, fp32_nbytes=8_000_000)
    with pytest.raises(InputError, match="bits: got -1"):
        parse_budget(bits=-1, fp32_nbytes=8_000_000)
