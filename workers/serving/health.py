"""Whether this container's role is ready: HEALTHCHECK runs ``python -m workers.serving.health``.

`anymodal serve` and `anymodal worker` say it themselves, at ``/readyz``.
"""

from __future__ import annotations

import sys
from urllib.error import HTTPError
from urllib.request import urlopen

from encoder.system.environment import variables

_TIMEOUT_S = 8.0


def problem_at(url: str) -> str:
    """Why the service at a URL is not ready; empty if it is."""
    try:
        urlopen(url, timeout=_TIMEOUT_S).close()
    except HTTPError as error:
        return f"{url}: {error} {error.read().decode(errors='replace')}"
    except OSError as error:
        return f"{url}: {error}"
    return ""


def main() -> None:
    """Ask ``ANYMODAL_HEALTH_URL``; exit with 1, and the reason, if it is not ready."""
    sys.exit(problem_at(variables()["ANYMODAL_HEALTH_URL"]) or 0)


if __name__ == "__main__":
    main()
