"""The two clients cannot differ."""

from scripts.sync_client import TARGET, generated


def test_the_synchronous_client_is_written_from_the_other() -> None:
    assert TARGET.read_text() == generated(), "run `python -m scripts.sync_client`"
