"""``/v1/session``: a cookie in place of a key, for pictures and players, which send no headers."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from search.api.access.auth import COOKIE, READ
from search.api.services import Parts, refusals

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
    services: Parts,
    sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Response:
    """Open a session for the key of this request: a cookie for GET only, hidden from scripts.

    It replaces the request's session, if any.
    """
    answer = Response(status_code=204)
    key = services.access.key_of(sent.credentials) if sent else None
    if key:
        old = request.cookies.get(COOKIE, "")
        token = await to_thread.run_sync(services.sessions.open, key.key_id, old)
        is_secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", secure=is_secure)
    return answer


@router.delete("/v1/session", operation_id="close_session", status_code=204)
async def close_session(request: Request, services: Parts) -> Response:
    """End the session of this request, and delete its cookie."""
    await to_thread.run_sync(services.sessions.close, request.cookies.get(COOKIE, ""))
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE)
    return answer
