import pytest

from encoder.errors import InputError
from encoder.quant.limits import parse_budget


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
