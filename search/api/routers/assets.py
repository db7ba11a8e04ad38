"""Stored assets: ``/v1/assets``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse

from encoder.types import TEXT
from search.api.access.auth import READ, WRITE
from search.api.access.paths import filter_for
from search.api.bounded_threads import Turn
from search.api.errors import PATHS, ForbiddenError, sees_paths
from search.api.file_manager import show_in_folder
from search.api.requests.bodies import json_body, read_sent
from search.api.responses import card
from search.api.responses.contents import (
    STILL_POLICY,
    content_of,
    not_here,
    on_disk,
    picture_headers,
    picture_of,
)
from search.api.responses.passages import passages_json, passages_of, window
from search.api.responses.plain_values import FacetsAnswer, asset_json, facets_json
from search.api.schemas import AssetChange, AssetOut, AssetsAnswer, PassagesAnswer
from search.api.services import Parts, Services, refusals
from search.errors import NotFoundError
from search.filters import Filter
from search.query.unmatched import unmatched
from search.ranking.grouping import same_photos, stacks_of
from search.store.locks import exclusive
from search.store.overview import LAST, Order, dated_of, folders_below, within_roots
from search.types import AssetRow

router = APIRouter(tags=["assets"])

AssetId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]
_SORT = (
    "`newest`: by `taken` or `modified`; `oldest`: the reverse; `auto`: newest first if the store "
    "has an order of dates; `added`: the last to arrive first if it knows them, else as `auto`."
)
_BY: dict[str, Order] = {"added": "arrival"}
_FEW = 2000
"""So many assets are ordered by their dates even if all are read for it."""
_ON_CARD = 3
"""Segments; the first of them fills a card, unless it is short."""
Cursor = Annotated[str, Query(pattern=r"^[A-Za-z0-9_.-]{0,128}$")]


async def _wanted(
    request: Request,
    services: Parts,
    filter: Annotated[str, Query(max_length=4000, description="As in a search.")] = "",
) -> Filter | None:
    if not filter:
        return None
    return filter_for(filter, request.state.scopes, services.config.public_roots)


Wanted = Annotated[Filter | None, Depends(_wanted)]


@router.get(
    "/v1/assets",
    operation_id="list_assets",
    dependencies=READ,
    response_model=AssetsAnswer,
    responses=refusals(422, 503, 504),
)
async def list_assets(
    services: Parts,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: Cursor = "",
    sort: Annotated[
        Literal["id", "newest", "oldest", "auto", "added"], Query(description=_SORT)
    ] = "id",
    stacks: Annotated[bool, Query(description="List shots of one photo as one asset.")] = False,
) -> Response:
    """Assets in the order of their ids, or the newest or the oldest first, page by page.

    Of `newest`, the cursor `1767225600_` begins with what is older than that second; of `oldest`,
    with what is of that second or newer.
    """

    def page(turn: Turn) -> bytes:
        order = sort
        if sort == "added" and not services.store.has_overview:
            order = "auto"
        if order == "auto":
            is_cheap = services.store.has_overview or services.store.count() <= _FEW
            order = "newest" if is_cheap else "id"
        if order == "id":
            rows, following = _page(services, wanted, limit, cursor)
        else:
            rows, following = _dated(services, wanted, limit, cursor, order)
        listed = _stacked(rows) if stacks else list(map(asset_json, rows))
        # Written in this thread: a thousand assets would hold up the event loop.
        answer = AssetsAnswer.model_validate(
            {
                "assets": listed,
                "next_cursor": following,
                "sort": order,
                "warnings": unmatched(
                    wanted, services.store, is_empty=not rows, check=turn.deadline.check
                ),
            }
        )
        return answer.model_dump_json().encode()

    return Response(await services.workbench.run(page), media_type="application/json")


@router.get(
    "/v1/facets",
    operation_id="list_facets",
    dependencies=READ,
    response_model=FacetsAnswer,
    responses=refusals(422, 503, 504),
)
async def list_facets(
    request: Request,
    services: Parts,
    wanted: Wanted,
    folder: Annotated[str, Query(max_length=4000, description="Only folders below it.")] = "",
) -> Response:
    """How many of the assets that a filter leaves have which values."""

    def count(_turn: Turn) -> bytes:
        facets = services.store.facets(wanted)
        uploads = f"{services.uploads.root}/"
        folders = {uri: n for uri, n in facets.folders.items() if not uri.startswith(uploads)}
        if not sees_paths(request.state.scopes):
            folders = within_roots(folders, services.config.public_roots)
        answer = FacetsAnswer.model_validate(facets_json(facets, folders_below(folders, folder)))
        return answer.model_dump_json().encode()

    return Response(await services.workbench.run(count), media_type="application/json")


@router.get(
    "/v1/assets/{asset_id}",
    operation_id="get_asset",
    dependencies=READ,
    response_model=AssetOut,
    responses=refusals(404, 422, 503, 504),
)
async def get_asset(asset_id: AssetId, services: Parts) -> dict[str, object]:
    """One asset."""
    return await services.workbench.run(lambda _: asset_json(_asset(services, asset_id)))


@router.patch(
    "/v1/assets/{asset_id}",
    operation_id="change_asset",
    dependencies=WRITE,
    response_model=AssetOut,
    responses=refusals(404, 413, 415, 422, 503, 504, 507),
    openapi_extra=json_body(AssetChange),
)
async def change_asset(asset_id: AssetId, request: Request, services: Parts) -> dict[str, object]:
    """Change an asset's tags; returns it as it is now. A tag in both lists is added."""
    body = await read_sent(request)

    def retag(_turn: Turn) -> AssetRow:
        change = body.parsed(AssetChange)
        if services.store.read_only:
            services.store.check_writable()
        with exclusive(services.store, [asset_id]):
            asset = _asset(services, asset_id)
            tags_left = [tag for tag in _tags(asset) if tag not in change.remove_tags]
            added = filter(None, map(str.strip, change.add_tags))
            tags = list(dict.fromkeys([*tags_left, *added]))
            changed = replace(asset, metadata={**asset.metadata, "tags": tags})
            if changed != asset:
                services.store.write([changed], [])
        return changed

    return await services.workbench.run(lambda turn: asset_json(retag(turn)))


@router.delete(
    "/v1/assets/{asset_id}",
    operation_id="delete_asset",
    dependencies=WRITE,
    status_code=204,
    responses=refusals(404, 422, 503, 504),
)
async def delete_asset(asset_id: AssetId, services: Parts) -> Response:
    """Delete an asset, and its file if it was uploaded; other files stay on disk.

    Also deletes an upload that did not become an asset.
    """

    def delete(_turn: Turn) -> None:
        if services.store.read_only:
            services.store.check_writable()
        with exclusive(services.store, [asset_id]):
            if stored := services.store.assets([asset_id]):
                services.store.delete(list(stored))
                services.thumbnails.remove(asset_id)
            if not (services.uploads.remove(asset_id, was_seen=bool(stored)) or stored):
                raise _unknown(asset_id)

    await services.workbench.run(delete)
    return Response(status_code=204)


@router.get(
    "/v1/assets/{asset_id}/passages",
    operation_id="get_passages",
    dependencies=READ,
    response_model=PassagesAnswer,
    responses=refusals(404, 422, 503, 504),
)
async def get_passages(
    asset_id: AssetId,
    services: Parts,
    around: Annotated[
        str, Query(max_length=200, description="The `segment_id` of one that is in the middle.")
    ] = "",
    start: Annotated[int, Query(ge=0, description="The place of the first.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, object]:
    """The text of a file as it was read: of any document, a transcript, or in a picture."""

    def read(_: Turn) -> dict[str, object]:
        _asset(services, asset_id)
        passages = passages_of(services.store.embeddings(asset_id))
        first, end = window(passages, around, start, limit)
        texts = passages_json(passages, first, end)
        return {"passages": texts, "start": first, "total": len(passages)}

    return await services.workbench.run(read)


@router.post(
    "/v1/assets/{asset_id}/folder",
    operation_id="show_in_folder",
    dependencies=READ,
    status_code=204,
    responses=refusals(403, 404, 422, 503, 504),
)
async def show_folder(asset_id: AssetId, services: Parts, request: Request) -> Response:
    """Open the file's folder on this machine; only for its own user, without a key."""
    if PATHS not in request.state.scopes:
        raise ForbiddenError(
            "Only this machine's user can open folders on it.", "Download the file instead."
        )

    def show(_: Turn) -> None:
        asset = _asset(services, asset_id)
        if (path := on_disk(asset)) is None:
            raise not_here(asset)
        show_in_folder(path)

    await services.workbench.run(show)
    return Response(status_code=204)


@router.head("/v1/assets/{asset_id}/content", dependencies=READ, include_in_schema=False)
@router.get(
    "/v1/assets/{asset_id}/content",
    operation_id="get_content",
    dependencies=READ,
    response_class=FileResponse,
    responses={
        200: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        206: {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "Not modified: `If-None-Match` matches its `ETag`."},
        416: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **refusals(404, 422, 503, 504),
    },
)
async def get_content(asset_id: AssetId, services: Parts, request: Request) -> Response:
    """The file itself. Supports ranges, so that players can seek."""

    def find(_: Turn) -> Response:
        headers = {**request.headers, "method": request.method}
        return content_of(_asset(services, asset_id), services.decoder, headers)

    return await services.workbench.run(find)


@router.get(
    "/v1/assets/{asset_id}/thumbnail",
    operation_id="get_thumbnail",
    dependencies=READ,
    response_class=Response,
    responses={
        200: {
            "content": {
                "image/webp": {"schema": {"type": "string", "format": "binary"}},
                card.MEDIA_TYPE: {"schema": {"type": "string"}},
            }
        },
        **refusals(404, 413, 415, 422, 503, 504),
    },
)
async def get_thumbnail(
    asset_id: AssetId,
    services: Parts,
    t: Annotated[float, Query(ge=0, le=1e6, description="The time in a film, in seconds.")] = 0.0,
    page: Annotated[int, Query(ge=1, le=1_000_000, description="The page of a document.")] = 1,
    size: Annotated[int, Query(ge=16, le=4096, description="The longer side in pixels.")] = 320,
) -> Response:
    """A small WebP of a picture, a film at a time or a page of a PDF.

    Other documents have a card, an SVG with the beginning of what was read in them; what has no
    text has none (404). WebPs of 480 and 1024 pixels are kept on the disk.
    """

    def make(_: Turn) -> Response:
        asset = _asset(services, asset_id)
        kinds = [kind for kind in services.kinds if asset.media_type in kind.media_types]
        if asset.modality == TEXT and not any(kind.shows for kind in kinds):
            return _card(services, asset)
        picture = partial(picture_of, asset, services.decoder, t, page, size)
        webp = services.thumbnails.get(asset_id, t, page, size, picture)
        return Response(webp, media_type="image/webp", headers=picture_headers())

    return await services.workbench.run(make)


def _card(services: Services, asset: AssetRow) -> Response:
    def draw() -> bytes:
        segments = sorted(services.store.embeddings(asset.asset_id), key=lambda row: row.index)
        texts = [row.snippet for row in segments if row.snippet and not row.row][:_ON_CARD]
        if not texts:
            raise NotFoundError(f"Nothing was read in {asset.asset_id}.", "Show its name instead.")
        return card.card_of(asset, texts)

    # In memory: to read all segments of a long document takes .4 s for 20,000.
    svg = services.thumbnails.get(asset.asset_id, 0.0, 1, card.HEIGHT, draw)
    headers = {**picture_headers(), "Content-Security-Policy": STILL_POLICY}
    return Response(svg, media_type=card.MEDIA_TYPE, headers=headers)


def _asset(services: Services, asset_id: str) -> AssetRow:
    rows = services.store.assets([asset_id])
    if asset_id not in rows:
        raise _unknown(asset_id)
    return rows[asset_id]


def _tags(asset: AssetRow) -> list[str]:
    tags = asset.metadata.get("tags")
    return list(map(str, tags)) if isinstance(tags, list | tuple) else []


def _unknown(asset_id: str) -> NotFoundError:
    return NotFoundError(f"There is no asset {asset_id!r}.", "Use an id from a search.")


def _stacked(rows: Sequence[AssetRow]) -> list[dict[str, object]]:
    """As `AssetOut`, shots of one photo behind the first of them."""
    stacks = [
        [asset_json(rows[place]) for place in places] for places in stacks_of(same_photos(rows))
    ]
    return [{**first, "stack": others} for first, *others in stacks]


def _page(
    services: Services, condition: Filter | None, limit: int, cursor: str
) -> tuple[list[AssetRow], str]:
    ids = list(services.store.select(condition, limit=limit + 1, after=cursor))
    rows = services.store.assets(ids[:limit])
    listed = [rows[asset_id] for asset_id in ids[:limit] if asset_id in rows]
    return listed, ids[limit - 1] if len(ids) > limit else ""


def _dated(
    services: Services, condition: Filter | None, limit: int, cursor: str, order: str
) -> tuple[list[AssetRow], str]:
    reverse, by = order == "oldest", _BY.get(order, "date")
    after = LAST if reverse and not cursor else dated_of(cursor)
    dated = services.store.newest(condition, limit + 1, after, reverse, by)
    rows = services.store.assets([entry.asset_id for entry in dated[:limit]])
    return list(rows.values()), dated[limit - 1].cursor if len(dated) > limit else ""
