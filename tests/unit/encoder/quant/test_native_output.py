"""What C prints does not reach standard output."""

import ctypes
import sys

import pytest

from encoder.quant.allocate import native_output_to_stderr


def test_native_lines_go_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    libc = ctypes.CDLL(None)
    with native_output_to_stderr():
        libc.printf(b"a debug line\n")
    sys.stdout.write("the answer\n")
    sys.stdout.flush()
    libc.printf(b"native again\n")
    libc.fflush(None)
    out, err = capfd.readouterr()
    assert out == "the answer\nnative again\n"
    assert err == "a debug line\n"


def test_output_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), native_output_to_stderr():
        _ = 1 / 0
    sys.stdout.write("still here\n")
    assert capfd.readouterr().out == "still here\n"
