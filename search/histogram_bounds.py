"""The bounds of all histograms, so that those of workers and of the API can be added up.

A metric is named ``anymodal_<what>_<unit>`` in base units (seconds, bytes); a counter ends in
``_total``. Labels are ``stage``, ``modality``, ``cost`` and ``outcome``.
"""

from __future__ import annotations

SECONDS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
    1800,
)
"""From a query's stage to a shard of films."""

ITEMS = (1, 2, 4, 8, 16, 32, 64, 128)
"""How many things were done at once."""
