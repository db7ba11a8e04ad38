"""Whether this container's role is ready: HEALTHCHECK runs ``python -m workers.serving.health``.

The API reports it itself. A worker's metrics show whether its broker answers.
"""

from __future__ import annotations

import sys
from urllib.error import URLError
from urllib.request import urlopen

from encoder.system.environment import variables

_TIMEOUT_S = 8.0
_BROKER_AWAY = "anymodal_broker_up 0.0"


def problem_at(url: str) -> str:
    """Why the service at a URL is not ready; empty if it is."""
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
    except (URLError, OSError) as error:
        return f"{url}: {error}"
    return f"{url}: the broker does not answer" if _BROKER_AWAY in lines else ""


def main() -> None:
    """Ask ``ANYMODAL_HEALTH_URL``; exit with 1, and the reason, if it is not ready."""
    sys.exit(problem_at(variables()["ANYMODAL_HEALTH_URL"]) or 0)


if __name__ == "__main__":
    main()
