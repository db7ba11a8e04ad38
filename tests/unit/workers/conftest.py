"""What several of these modules need."""

from pathlib import Path

import pytest

from encoder import MultiModalEncoder


@pytest.fixture(scope="session")
def encoder(bundle_home: Path) -> MultiModalEncoder:
    """The English bundle as it is served."""
    assert bundle_home.is_dir()
    return MultiModalEncoder()
