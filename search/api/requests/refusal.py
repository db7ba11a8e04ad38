"""Why a request is refused before any work is done for it."""

from __future__ import annotations

from encoder.errors import AnymodalError


class TooLargeError(AnymodalError):
    """The body is larger than it may be."""


class HeadTooLargeError(AnymodalError):
    """The head of a request is larger than it may be."""


class TooSlowError(AnymodalError):
    """The client kept the server waiting, or took nothing of the answer."""


class ContentTypeError(AnymodalError):
    """The body is of a kind that is not read here."""


class UnauthorizedError(AnymodalError):
    """There is no key, or none that is known."""


class ForbiddenError(AnymodalError):
    """The key does not allow it, or the request comes from elsewhere."""


class RateLimitError(AnymodalError):
    """The key asks too often.

    Args:
        problem: what is wrong.
        remedy: what to do.
        wait_s: after how many seconds it may ask again.
    """

    retryable = True

    def __init__(self, problem: str, remedy: str = "", wait_s: float = 1.0) -> None:
        super().__init__(problem, remedy)
        self.wait_s = wait_s
