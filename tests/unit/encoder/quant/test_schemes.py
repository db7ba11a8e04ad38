"""Names and sizes of storage formats."""

from __future__ import annotations

import pytest

from encoder.errors import InputError
from encoder.quant.limits import parse_budget
from encoder.quant.schemes import FP16, FP32, INT3, INT4, INT5, INT6, INT8, Scheme

NAMES = [
    "int3",
    "int4",
    "int5",
    "int6",
    "int8",
    "int3g64",
    "int4g32",
    "int4g128",
    "int8g64",
    "fp16",
    "fp32",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back(name: str) -> None:
    assert Scheme.parse(name).name == Scheme.parse(name.upper()).name == name


def test_a_scheme_is_its_own_name() -> None:
    assert Scheme.parse(INT4) is INT4


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


def test_codes_and_groups() -> None:
    assert [scheme.largest_code for scheme in (INT3, INT4, INT5, INT6, INT8)] == [3, 7, 15, 31, 127]
    assert Scheme(4, 64).fits(128)
    assert not Scheme(4, 64).fits(96)
    assert INT4.fits(1)
    assert [FP16.is_integer, INT8.is_integer] == [False, True]


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
