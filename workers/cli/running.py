"""What a command works with in its own process."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.engine import SearchEngine
    from workers.serving.resources import Resources


@contextmanager
def opened() -> Iterator[Resources]:
    """Resources of the settings, until the block ends."""
    from workers.config import current_settings
    from workers.serving.resources import Resources

    gc.freeze()  # what was imported stays, and the collector need not count it
    with closing(Resources(current_settings(), counted=False)) as resources:
        yield resources


def engine_of(resources: Resources, stack: ExitStack) -> SearchEngine:
    """An engine over the store, until the stack ends."""
    from search.engine import SearchEngine

    store = resources.existing_store()
    encoder = resources.encoder()
    engine = stack.enter_context(closing(SearchEngine(encoder.home, store, lanes=encoder.lanes)))
    engine.prepare()
    return engine
