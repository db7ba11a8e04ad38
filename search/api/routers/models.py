"""``GET /v1/models``, as in OpenAI's API."""

from __future__ import annotations

from fastapi import APIRouter

from encoder.models.spec import stands_for
from search.api.access.auth import READ
from search.api.services import Parts, Services, refusals
from search.api.vendors.openai import ModelOut, ModelsAnswer, NamedModelOut, OpenAIRoute
from search.errors import NotFoundError

router = APIRouter(tags=["models"], dependencies=READ, route_class=OpenAIRoute)


@router.get("/v1/models", operation_id="list_models", responses=refusals())
async def list_models(services: Parts) -> ModelsAnswer:
    """The models that are served."""
    named = [NamedModelOut(name=services.model, endpoints=["embed"])]
    if services.reranker:
        named.append(NamedModelOut(name=services.reranker.name, endpoints=["rerank"]))
    return ModelsAnswer(object="list", data=[_described(services)], models=named)


# Hub names contain a slash.
@router.get("/v1/models/{model:path}", operation_id="get_model", responses=refusals(404))
async def get_model(model: str, services: Parts) -> ModelOut:
    """One model."""
    if not stands_for(model, services.model):
        raise NotFoundError(f"The model {model!r} is not served.", f"Use {services.model}.")
    return _described(services)


def _described(services: Services) -> ModelOut:
    embed_dim = services.encoder.space.embed_dim
    return ModelOut(
        id=services.model,
        object="model",
        created=int(services.opened),
        owned_by="anymodal",
        embed_dim=embed_dim,
        dimensions=[*services.tokens.cuts, embed_dim],
        modalities=services.modalities,
    )
