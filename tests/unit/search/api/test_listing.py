"""A page of assets costs what the page holds, wherever in the list it is."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

from encoder.types import IMAGE
from search.api.routers.assets import _page
from search.api.services import Services
from search.store.memory import MemoryStore
from search.types import AssetRow


class Recording(MemoryStore):
    def select(self, *args: Any, **options: Any) -> Iterator[str]:
        self.asked = options
        return super().select(*args, **options)


def test_the_store_is_asked_for_one_page_after_the_cursor() -> None:
    store = Recording(2)
    store.write([AssetRow(f"a{n:02}", IMAGE, "image/png", 1, 0, ["/a"]) for n in range(30)], [])
    services = cast("Services", SimpleNamespace(store=store))
    page = _page(services, None, 3, "a10")
    assert store.asked == {"limit": 4, "after": "a10"}
    assert page["next_cursor"] == "a13"
    assert len(cast("list[object]", page["assets"])) == 3
    assert _page(services, None, 3, "a26")["next_cursor"] == ""
