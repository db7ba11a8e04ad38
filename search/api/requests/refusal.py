"""Errors that refuse a request before any work is done."""

from __future__ import annotations

from encoder.errors import AnymodalError


class TooLargeError(AnymodalError):
    """The body is too large."""


class HeadTooLargeError(AnymodalError):
    """The head of a request is too large."""


class HostHeaderError(AnymodalError):
    """The request names several hosts."""


class TooSlowError(AnymodalError):
    """The client sent or read too slowly."""


class ContentTypeError(AnymodalError):
    """The content type is not supported."""


class UnauthorizedError(AnymodalError):
    """The key is missing or unknown."""


class ForbiddenError(AnymodalError):
    """The key lacks the scope, or the request comes from another site."""


class RateLimitError(AnymodalError):
    """The key exceeds its rate.

    Args:
        problem: what is wrong.
        remedy: what to do.
        wait_s: seconds until the next request is allowed.
    """

    retryable = True

    def __init__(self, problem: str, remedy: str = "", wait_s: float = 1.0) -> None:
        super().__init__(problem, remedy)
        self.wait_s = wait_s
