"""Dependencies of endpoints."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from search.api.schemas import ErrorAnswer
from search.api.services import Services


# Not a plain function: FastAPI would run that in a thread, for every request.
async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Parts = Annotated[Services, Depends(_services)]
"""The services, as an endpoint's argument."""


async def disconnected(request: Request) -> None:
    """Returns once the client has gone; to be called after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses=``: these statuses answer with an error, and those of keys and hosts."""
    return {status: {"model": ErrorAnswer} for status in sorted({401, 403, 429, *statuses})}
