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


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("True", True), ("false", False), ("none", False), ("auto", "auto"), ("a.npz", "a.npz")],
)
def test_dsre_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str, wanted: bool | str
) -> None:
    monkeypatch.setenv("ANYMODAL_ENCODER__ENABLE_DSRE", value)

    assert EncoderConfig().enable_dsre == wanted
    assert EncoderConfig(enable_dsre=True).enable_dsre is True
