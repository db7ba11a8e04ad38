"""How OpenAI's API refuses: what is wrong with a request is a 400, and the message says all."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError

from encoder.errors import AnymodalError
from search.api.errors import error_answer


class OpenAIRoute(APIRoute):
    """An endpoint whose refusals OpenAI's clients show whole.

    They raise a 400 as `BadRequestError`, and show of the body the message alone.
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
