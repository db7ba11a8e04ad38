"""OpenTelemetry spans, if ``anymodal[otel]`` is installed; ``OTEL_*`` configures the exporter."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.system.environment import variable
from encoder.system.extras import install_command

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

logger = logging.getLogger(__name__)

_ASKED_BY = (
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


def start() -> None:
    """Start exporting this process's spans, if a variable asks for it.

    Call it after a fork, since spans are sent by a thread.
    """
    if not any(map(variable, _ASKED_BY)):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning("No spans are sent; run: %s", install_command("otel"))
        return
    service = {} if variable("OTEL_SERVICE_NAME") else {"service.name": "anymodal"}
    provider = TracerProvider(resource=Resource.create().merge(Resource(service)))
    for name in filter(None, (variable("OTEL_TRACES_EXPORTER") or "otlp").split(",")):
        for exporter in _exporters(name.strip()):
            provider.add_span_processor(BatchSpanProcessor(exporter.load()()))
    trace.set_tracer_provider(provider)


def _exporters(name: str) -> EntryPoints:
    """The installed exporters of a name; of several protocols, the one over HTTP."""
    entry_name = {"otlp": "otlp_proto_http"}.get(name, name)
    exporters = entry_points(group="opentelemetry_traces_exporter", name=entry_name)
    if not exporters and name != "none":
        logger.warning(
            "No spans are sent to %r: no exporter of that name is installed (OTEL_TRACES_EXPORTER)",
            name,
        )
    return exporters


def stop() -> None:
    """Send the remaining spans; a process of a pool must do this before it ends."""
    if _tracer() is not None:
        from opentelemetry import trace

        end = getattr(trace.get_tracer_provider(), "shutdown", None)
        if end:
            end()


def span(
    name: str, parent: dict[str, str] | None = None, **attributes: str
) -> AbstractContextManager[object]:
    """A span around a block, within the current one, or within that of a `carrier`."""
    tracer = _tracer()
    if tracer is None:
        return nullcontext()
    from opentelemetry import propagate

    return tracer.start_as_current_span(
        f"anymodal.{name}",
        propagate.extract(parent) if parent else None,
        attributes={f"anymodal.{key}": value for key, value in attributes.items()},
    )


@contextmanager
def embedding(model: str, dimensions: int) -> Iterator[None]:
    """A span around a call of the model, by OpenTelemetry's conventions for generative AI."""
    tracer = _tracer()
    if tracer is None:
        yield
        return
    name = f"dir:{Path(model).name}" if model.startswith("dir:") else model
    attributes: dict[str, str | int] = {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "anymodal",
        "gen_ai.request.model": name,
        "gen_ai.embeddings.dimension.count": dimensions,
    }
    with tracer.start_as_current_span(f"embeddings {name}", attributes=attributes) as current:
        try:
            yield
        except Exception as error:
            current.set_attribute("error.type", type(error).__qualname__)
            raise


def carrier() -> dict[str, str]:
    """The current span as message headers; empty if there is none."""
    headers: dict[str, str] = {}
    if _tracer() is not None:
        from opentelemetry import propagate

        propagate.inject(headers)
    return headers


def received(request: Any) -> dict[str, str]:
    """The same headers, read from a Celery task's request."""
    if _tracer() is None:
        return {}
    from opentelemetry import propagate

    fields = propagate.get_global_textmap().fields
    values = {field: getattr(request, field, None) for field in fields}
    return {field: value for field, value in values.items() if isinstance(value, str)}


@cache
def _tracer() -> Tracer | None:
    try:
        from opentelemetry import trace
    except ImportError:
        return None
    return trace.get_tracer("anymodal")
