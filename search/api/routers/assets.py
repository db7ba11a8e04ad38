"""What is stored: ``/v1/assets``."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import FileResponse

from search.api.answers import asset_json
from search.api.contents import content_headers, content_type, file_of
from search.api.depends import Parts, refusals
from search.api.models import AssetOut
from search.api.services import Services
from search.api.workbench import Turn
from search.errors import NotFoundError
from search.types import AssetRow

router = APIRouter(tags=["assets"])


@router.get(
    "/v1/assets/{asset_id}",
    operation_id="get_asset",
    response_model=AssetOut,
    responses=refusals(404, 422, 503, 504),
)
async def get_asset(asset_id: str, services: Parts) -> dict[str, object]:
    """One asset."""
    return await services.workbench.run(lambda _: asset_json(_asset(services, asset_id)))


@router.get(
    "/v1/assets/{asset_id}/content",
    operation_id="get_content",
    response_class=FileResponse,
    responses=refusals(404, 422, 503, 504),
)
async def get_content(asset_id: str, services: Parts) -> FileResponse:
    """The file itself; ranges are answered, so that players can seek."""

    def find(_: Turn) -> FileResponse:
        asset = _asset(services, asset_id)
        path = file_of(asset)
        headers = content_headers(asset, path)
        return FileResponse(path, media_type=content_type(asset.media_type), headers=headers)

    return await services.workbench.run(find)


def _asset(services: Services, asset_id: str) -> AssetRow:
    found = services.store.assets([asset_id])
    if asset_id not in found:
        raise NotFoundError(f"There is no asset {asset_id!r}.", "Take an id from a search.")
    return found[asset_id]
