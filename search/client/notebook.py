"""Hits as pictures, for notebooks."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

from search.api.schemas import HitOut
from search.client.errors import ServerError

MOST_SHOWN = 24
_WITHOUT = (404, 415)  # gone meanwhile, or of a kind without pictures
_CARD = "display:inline-block;width:{size}px;margin:4px;vertical-align:top;font:12px sans-serif"


class Shown:
    """Hits with their pictures; a notebook shows them.

    Args:
        hits: best first.
        pictures: a WebP for each, or nothing.
        size: the longer side of a picture, in pixels.
    """

    def __init__(self, hits: Sequence[HitOut], pictures: Sequence[bytes | None], size: int) -> None:
        self.hits = hits
        self.pictures = pictures
        self._size = size

    def _repr_html_(self) -> str:
        cards = map(self._card, self.hits, self.pictures)
        return f"<div>{''.join(cards)}</div>"

    def _card(self, hit: HitOut, picture: bytes | None) -> str:
        inner = escape(hit.snippet)
        if picture:
            data = base64.b64encode(picture).decode()
            inner = (
                f'<img alt="" style="max-width:100%" src="data:image/webp;base64,{data}">{inner}'
            )
        at = "" if hit.start_s is None else f" · {hit.start_s:.1f} s"
        name = f"<div><b>{escape(hit.name)}</b> {hit.score:.2f}{at}</div>"
        return f'<div style="{_CARD.format(size=self._size)}">{inner}{name}</div>'


def without_picture(error: ServerError) -> bool:
    """Whether an error only says that there is no picture."""
    return error.status in _WITHOUT


def is_card(picture: bytes) -> bool:
    """Whether it is a document's card: a notebook shows the words of the hit instead."""
    return picture.startswith(b"<svg")
