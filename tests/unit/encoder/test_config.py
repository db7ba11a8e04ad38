import pytest

from encoder.config import EncoderConfig


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("quantization", "auto", "auto"),
        ("quantization", "none", None),
        ("quantization", "", None),
        ("quantization", "/a/folder", "/a/folder"),
        ("n_threads", "3", 3),
        ("enable_dsre", "True", True),
        ("enable_dsre", "false", False),
        ("enable_dsre", "none", False),
        ("enable_dsre", "auto", "auto"),
        ("enable_dsre", "a.npz", "a.npz"),
        ("enable_dsre", '{"chunks": 0.75}', {"chunks": 0.75}),
    ],
)
def test_settings_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str, wanted: object
) -> None:
    monkeypatch.setenv(f"ANYMODAL_ENCODER__{field.upper()}", value)
    config = EncoderConfig()
    assert getattr(config, field) == wanted
    assert field in config.model_fields_set
    assert EncoderConfig(enable_dsre=True).enable_dsre is True


def test_a_mapping_that_is_cut_off_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_ENCODER__ENABLE_DSRE", "{chunks")
    with pytest.raises(ValueError, match="enable_dsre"):
        EncoderConfig()
