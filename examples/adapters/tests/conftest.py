"""A server with the real bundle, on a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anymodal_client import Anymodal

from search.api.services import Services
from tests.conftest import bundle_home as bundle_home
from tests.integration.api.conftest import encoder as encoder
from tests.integration.api.conftest import folder as folder
from tests.integration.api.conftest import parts as parts
from tests.integration.api.conftest import served


@pytest.fixture(scope="module")
def server(parts: Services) -> Iterator[Anymodal]:
    """A client of a server that holds a text, a page, a picture and a sound."""
    with served(parts) as http, Anymodal(str(http.base_url)) as client:
        yield client
