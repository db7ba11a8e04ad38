"""Errors as in OpenAI's API: an invalid request is a 400, and the message says everything."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from encoder.errors import AnymodalError
from search.api.errors import error_answer


class OpenAIRoute(APIRoute):
    """An endpoint whose errors OpenAI's clients show in full.

    They raise a 400 as `BadRequestError`, and show only the message of the body.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See `APIRoute`."""
        handle = super().get_route_handler()

        async def refusing(request: Request) -> Response:
            try:
                return await handle(request)
            except (AnymodalError, ValidationError) as error:
                answer = error_answer(error, joined=True)
                if answer.status_code == 500:
                    raise  # to be logged
                if answer.status_code == 422:
                    answer.status_code = 400
                return answer

        return refusing
