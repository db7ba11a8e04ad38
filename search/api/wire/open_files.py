"""How many files the process may have open, of which each connection is one."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)

_OTHERS = 256  # the store, the model, uploads, pictures, children
_FILES_PER_CONNECTION = 2  # the connection, and what it downloads or uploads


def allow_open_files(connections: int) -> int:
    """Raise the soft limit of open files to what this many connections need.

    Returns:
        How many connections are possible; fewer if the hard limit is too low.
    """
    import resource

    wanted = connections * _FILES_PER_CONNECTION + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return connections
    fits = max(1, (soft - _OTHERS) // _FILES_PER_CONNECTION)
    logger.warning(
        "Only %d connections instead of %d: the hard limit of open files is %d (`ulimit -Hn`).",
        fits,
        connections,
        hard,
    )
    return fits
