"""What tests of every kind share."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoder.models import bundle


@pytest.fixture(scope="session")
def bundle_home() -> Path:
    """The real bundle's folder; fetched once, into the user's own cache."""
    return bundle.fetch()
