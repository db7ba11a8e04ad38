"""The results of a sensitivity analysis as a table, a picture or a file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from encoder.errors import InputError
from encoder.quant.report.losses import Losses, Row
from encoder.quant.report.plot import draw
from encoder.quant.report.table import render
from encoder.quant.schemes import Scheme

_VERSION = 1


@dataclass(frozen=True)
class SensitivityReport(Losses):
    """Losses that can be shown and saved."""

    def table(self, *, color: bool | None = None) -> str:
        """Layers by schemes, as text.

        Args:
            color: whether to use colours; None to use them on a terminal.
        """
        return render(self, color=color)

    def plot(self, path: str | Path) -> Path:
        """Draw layers by schemes into a ``.png``, ``.svg`` or ``.pdf``; see `report.plot`.

        Raises:
            ModelError: matplotlib is not installed.
        """
        return draw(self, Path(path))

    def save(self, path: str | Path) -> Path:
        """Write as JSON."""
        rows = [{**vars(row), "scheme": row.scheme.name} for row in self.rows]
        content = {**asdict(self), "rows": rows, "version": _VERSION}
        Path(path).write_text(json.dumps(content, indent=1), "utf-8")
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> SensitivityReport:
        """Read what `save` wrote.

        Raises:
            InputError: the file is not a report of this version.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            if content.pop("version") != _VERSION:
                raise ValueError("another version")
            rows = tuple(_row(row) for row in content.pop("rows"))
            return cls(rows=rows, **_tuples(content))
        except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
            raise InputError(
                "path",
                got=f"{path}, which cannot be read ({error})",
                wanted="a file that SensitivityReport.save of this version wrote",
            ) from error


def _row(fields: Mapping[str, Any]) -> Row:
    return Row(**{**fields, "scheme": Scheme.parse(fields["scheme"])})


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:  # as they were before JSON
    return {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
