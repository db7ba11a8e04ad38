"""Variables of the environment that look like ours and are not."""

from __future__ import annotations

from collections.abc import Iterator

from encoder.system.environment import variables
from workers.environment import READ_BY_NAME


def unread_variables() -> Iterator[str]:
    """A sentence about each ``ANYMODAL_…`` variable that nothing reads, with the nearest name."""
    names = {name for name in variables() if name.startswith("ANYMODAL_")} - READ_BY_NAME
    if not names:
        return
    from difflib import get_close_matches

    from workers.config import variable_names

    known = {*variable_names(), *READ_BY_NAME}
    for name in sorted(names - known):
        nearest = get_close_matches(name, sorted(known), n=1, cutoff=0.75)
        hint = f"Did you mean {nearest[0]}?" if nearest else "See docs/settings.md."
        yield f"The variable {name} is not a setting of anymodal. {hint}"
