import pytest

from encoder.config import EncoderConfig


@pytest.mark.parametrize(
    ("value", "wanted"), [("auto", "auto"), ("none", None), ("", None), ("/a/folder", "/a/folder")]
)
def test_quantization_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, wanted: str | None
) -> None:
    monkeypatch.setenv("ANYMODAL_ENCODER__QUANTIZATION", value)

    assert EncoderConfig().quantization == wanted
    assert "quantization" in EncoderConfig().model_fields_set


def test_threads_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert EncoderConfig().n_threads is None
    monkeypatch.setenv("ANYMODAL_ENCODER__N_THREADS", "3")
    assert EncoderConfig().n_threads == 3
