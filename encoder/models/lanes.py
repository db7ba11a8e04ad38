"""Several models under one name: ``bundle:default,image=hf:org/name,audio=dir:path``.

The table ``[models]`` of the settings file is another spelling of it: a model for each modality.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from encoder.errors import InputError, ModelError
from encoder.models.spec import DEFAULT_MODEL, ModelSpec
from encoder.system.disk import writing
from encoder.system.environment import data_folder
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
    home, *pairs = _LANE.split(name)
    names = [Modality(modality) for modality in pairs[::2]]
    if twice := {modality for modality in names if names.count(modality) > 1} | ({TEXT} & {*names}):
        raise ModelError(
            f"{name!r} names the model of {', '.join(sorted(twice))} twice.",
            remedy="Name that of texts first, then each other modality once.",
        )
    return home, {
        modality: model for modality, model in zip(names, pairs[1::2], strict=True) if model != home
    }


def canonical(name: str) -> str:
    """The name with defaults and folders written out.

    Raises:
        ModelError: one of the models is of no known kind, or does not exist.
    """
    home, other_models = read_lanes(name)
    specs = {modality: str(ModelSpec.parse(spec)) for modality, spec in other_models.items()}
    return written_lanes(str(ModelSpec.parse(home)), specs)


def written_lanes(home: str, other_models: Mapping[Modality, str]) -> str:
    """The name by which `read_lanes` reads them.

    >>> written_lanes("bundle:default", {"image": "hf:google/siglip2"})
    'bundle:default,image=hf:google/siglip2'
    """
    return ",".join(
        [home, *(f"{modality}={other_models[modality]}" for modality in sorted(other_models))]
    )


def settings_file() -> Path:
    """The file in the data folder that names the models of new stores."""
    return data_folder() / "settings.toml"


def chosen_models() -> dict[str, str]:
    """The table ``[models]`` of the settings file, by modality; empty if there is none.

    Raises:
        InputError: the file is something else.
    """
    path = settings_file()
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    import tomllib

    try:
        settings = tomllib.loads(text)
        models = dict(settings.pop("models", {}))
        if settings or not all(isinstance(spec, str) for spec in models.values()):
            raise ValueError("has more than [models], with a model for each modality")
    except (ValueError, TypeError) as error:
        raise InputError(
            str(path), got=f"a file that cannot be read: {error}", wanted="a table [models]"
        ) from None
    return models


def chosen_name(models: Mapping[str, str]) -> str:
    """What is chosen, as one name.

    >>> chosen_name({"image": "hf:google/siglip2"})
    'bundle:default,image=hf:google/siglip2'
    """
    other_models = {
        Modality(modality): spec for modality, spec in models.items() if modality != TEXT
    }
    return written_lanes(models.get(TEXT, DEFAULT_MODEL), other_models)


def choose(models: Mapping[str, str]) -> None:
    """Write the table ``[models]``; none removes the file.

    Raises:
        DiskError: it cannot be written.
    """
    path = settings_file()
    with writing(path):
        if not models:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            f"{modality} = {json.dumps(spec, ensure_ascii=False)}"
            for modality, spec in models.items()
        ]
        new = path.with_suffix(".new")
        new.write_text("\n".join(["[models]", *lines, ""]), "utf-8")
        new.replace(path)
