"""Several models under one name: ``bundle:default,image=hf:org/name,audio=dir:path``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from encoder.errors import ModelError
from encoder.models.spec import ModelSpec
from encoder.types import TEXT, Modality

# A path may hold a comma.
_LANE = re.compile(r",([a-z][a-z0-9_]*)=(?=[a-z]+:)")


def read_lanes(name: str) -> tuple[str, dict[Modality, str]]:
    """The model of texts, and those of modalities that have another.

    Raises:
        ModelError: a modality is named twice.

    >>> read_lanes("bundle:default,image=hf:google/siglip2")
    ('bundle:default', {'image': 'hf:google/siglip2'})
    """
    home, *rest = _LANE.split(name)
    names = [Modality(modality) for modality in rest[::2]]
    if twice := {modality for modality in names if names.count(modality) > 1} | ({TEXT} & {*names}):
        raise ModelError(
            f"{name!r} names the model of {', '.join(sorted(twice))} twice.",
            remedy="Name that of texts first, then each other modality once.",
        )
    return home, {
        modality: model for modality, model in zip(names, rest[1::2], strict=True) if model != home
    }


def canonical(name: str) -> str:
    """The name with defaults and folders written out.

    Raises:
        ModelError: one of the models is of no known kind, or does not exist.
    """
    home, others = read_lanes(name)
    specs = {modality: str(ModelSpec.parse(spec)) for modality, spec in others.items()}
    return written_lanes(str(ModelSpec.parse(home)), specs)


def written_lanes(home: str, others: Mapping[Modality, str]) -> str:
    """The name by which `read_lanes` reads them.

    >>> written_lanes("bundle:default", {"image": "hf:google/siglip2"})
    'bundle:default,image=hf:google/siglip2'
    """
    return ",".join([home, *(f"{modality}={others[modality]}" for modality in sorted(others))])
