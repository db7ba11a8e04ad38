"""The page of settings has every setting with its default, as the classes have them."""

from __future__ import annotations

from pathlib import Path

from scripts.settings_table import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def rows(text: str) -> list[tuple[str, str]]:
    """Each variable and its default; their descriptions may be edited apart."""
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [(first, last) for first, *_, last in cells]


def test_the_page_has_every_setting_and_its_default() -> None:
    wanted = rows(page())
    assert len(wanted) > 50
    assert rows(PAGE.read_text()) == wanted, "python -m scripts.settings_table > docs/settings.md"
