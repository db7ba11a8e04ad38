"""The queues of the broker: one for each cost class, so that a film does not hold up a text."""

from __future__ import annotations

from workers.pipeline.files import CLASSES

PRIORITIES = {"interactive": 0, "normal": 3, "bulk": 6}
"""By name; a lower number is served first."""


def queue_name(cost: str) -> str:
    """The broker's queue of a cost class."""
    return f"anymodal.{cost}"


QUEUES = tuple(map(queue_name, CLASSES))
"""All of them."""
