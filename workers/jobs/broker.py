"""Whether a broker answers, before work is sent to it."""

from __future__ import annotations

from encoder.errors import AnymodalError
from workers.app import app
from workers.observe.logs import clean


class BrokerError(AnymodalError):
    """The broker does not answer."""

    retryable = True


def check_broker(timeout_s: float = 5.0) -> None:
    """Connect once.

    Raises:
        BrokerError: nobody answers within ``timeout_s``.
    """
    from kombu.exceptions import OperationalError

    from search.store.milvus.link import without_password

    url = without_password(app.conf.broker_url)
    try:
        with app.connection_for_write(connect_timeout=timeout_s) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=timeout_s)
    except (OperationalError, OSError) as error:
        raise BrokerError(
            f"The broker {url} does not answer: {clean(str(error))}.",
            "Start it, or leave --broker out to do the work in this process.",
        ) from error


def n_workers(timeout_s: float = 1.0) -> int:
    """How many workers answer."""
    return len(app.control.ping(timeout=timeout_s))
