"""Prints ``docs/settings.md``: every setting, from the classes that read them.

python -m scripts.settings_table > docs/settings.md
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise
from textwrap import dedent

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from encoder.config import EncoderConfig
from encoder.settings import EnvironmentSettings
from ingest.config import IngestConfig
from search.api.config import ApiConfig
from workers.config import Settings

_HEAD = """\
# Settings

Set anymodal by options of the command line, by these variables, or by files named
`anymodal_<field>` in `ANYMODAL_SECRETS` (`/run/secrets`); the first that sets a value holds. Write
lists and objects as JSON. [`anymodal models use`](lanes.md) writes the models of new stores into
`settings.toml` in the data folder.

A process reads them once, at its start, into one frozen object, `workers.config.Settings`. The
command warns of an `ANYMODAL_…` variable that nothing reads. In Python, pass the classes below as
`config=`; they also take their constants.

Models lie in `ANYMODAL_HOME` (by default in the user's cache), what a machine measures and builds
in `ANYMODAL_CACHE` (the same), and the embedded store, uploads and keys in `ANYMODAL_DATA`. A
container's health check asks `ANYMODAL_HEALTH_URL`; `ANYMODAL_DEBUG=1` prints tracebacks.
"""

_PARTS: tuple[tuple[str, type[EnvironmentSettings]], ...] = (
    ("A process", Settings),
    ("The model", EncoderConfig),
    ("Reading files", IngestConfig),
    ("The API", ApiConfig),
)


def page() -> str:
    """The whole page, as Markdown."""
    return "\n".join([_HEAD, *(_section(title, part) for title, part in _PARTS)])


def _section(title: str, settings: type[EnvironmentSettings]) -> str:
    said = descriptions(settings)
    rows = [
        f"| `{settings.variable(name)}` | {said[name]} | {_shown(field)} |"
        for name in settings.settable()
        if not _is_part(field := settings.model_fields[name])
    ]
    head = f"## {title}\n\n`{settings.__module__}.{settings.__name__}`\n"
    return "\n".join([head, "| variable | what | default |", "|---|---|---|", *rows, ""])


def descriptions(settings: type[EnvironmentSettings]) -> dict[str, str]:
    """The docstring of each field, on one line."""
    (body,) = ast.parse(dedent(inspect.getsource(settings))).body
    assert isinstance(body, ast.ClassDef)
    return dict(_documented(body.body))


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            if not (isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)):
                continue
            words = " ".join(str(text.value.value).split())
            yield field.target.id, words.replace("``", "`").replace("|", "\\|")


def _is_part(field: FieldInfo) -> bool:
    return inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel)


def _shown(field: FieldInfo) -> str:
    default = field.default
    if default is None or default == () or isinstance(default, SecretStr):
        return "none"
    if isinstance(default, tuple):
        return ", ".join(f"`{one}`" for one in default)
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    print(page(), end="")
