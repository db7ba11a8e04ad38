"""``/v1/session``: a key as a cookie, for pictures and players, which cannot send headers."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from search.api.auth import COOKIE, READ
from search.api.depends import refusals

router = APIRouter(tags=["session"])

_bearer = HTTPBearer(auto_error=False)


@router.post(
    "/v1/session",
    operation_id="open_session",
    dependencies=READ,
    status_code=204,
    responses=refusals(401, 403, 429),
)
async def open_session(
    request: Request,
    sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Response:
    """Keep the key of this request as a cookie that scripts cannot read; it opens GET only."""
    answer = Response(status_code=204)
    if sent:
        answer.set_cookie(
            COOKIE,
            sent.credentials,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return answer


@router.delete("/v1/session", operation_id="close_session", status_code=204)
async def close_session() -> Response:
    """Forget the cookie."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE)
    return answer
