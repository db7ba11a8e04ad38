"""Uploads that are on another machine, fetched from the API that received them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from encoder.errors import InputError
from encoder.system.disk import writing
from search.errors import StoreUnavailableError
from search.uploads.folder import id_in_path

_WAIT_S = 30.0


@dataclass(frozen=True)
class RemoteUploads:
    """Fetches uploads that are not on this machine's disk.

    Args:
        url: the API's, ``http://api:8080``.
        key: with the scope read, if the API requires one.
    """

    url: str
    key: str | None = field(default=None, repr=False)

    def owner_of(self, path: str) -> str | None:
        """The asset id of an upload that is not here; None for any other path."""
        asset_id = id_in_path(path)
        return None if asset_id is None or Path(path).exists() else asset_id

    def fetch(self, path: str, folder: Callable[[], Path]) -> Path | None:
        """An upload as a new file in a folder; None if it is on this machine, or does not exist."""
        asset_id = self.owner_of(path)
        answer = self._asked(asset_id, "content") if asset_id else None
        if answer is None:
            return None
        home = folder() / str(asset_id)
        file = home / PurePosixPath(path).name
        with answer, writing(home.parent):
            home.mkdir(exist_ok=True)
            with file.open("wb") as out:
                shutil.copyfileobj(answer, out)
        return file

    def facts_of(self, path: str) -> Mapping[str, Any]:
        """The tags and metadata that came with an upload; raises as `fetch` does."""
        asset_id = self.owner_of(path)
        answer = self._asked(asset_id, "facts") if asset_id else None
        if answer is None:
            return {}
        with answer:
            facts: dict[str, Any] = json.load(answer)
        return facts

    def _asked(self, asset_id: str, what: str) -> HTTPResponse | None:
        """The open answer; None if there is no such upload."""
        url = f"{self.url.rstrip('/')}/v1/uploads/{asset_id}/{what}"
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            answer: HTTPResponse = urlopen(Request(url, headers=headers), timeout=_WAIT_S)
        except HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            if error.code in (401, 403):
                raise InputError(
                    "ANYMODAL_UPLOADS_KEY", got="a key that the API refused",
                    wanted="a key with the scope read (`anymodal keys create`)",
                ) from error  # fmt: skip
            raise self._away(f"answers {error.code}") from error
        except (OSError, HTTPException) as error:
            raise self._away(f"does not answer: {error}") from error
        return answer

    def _away(self, what: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"The API with the uploads, {self.url}, {what}.",
            remedy="Start it, or correct ANYMODAL_UPLOADS_URL.",
        )
