"""Rows, JSON and XML as lines of text, with the path of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from ingest.decode.windows import Section


class Line(NamedTuple):
    """The text at a path."""

    path: str
    text: str
    is_numbers: bool = False


def json_lines(value: Any, path: str = "") -> Iterator[Line]:
    """Each scalar with its name; a list of nothing but numbers stays one line.

    >>> [(path, text) for path, text, _ in json_lines({"a": [{"b": "x"}], "at": [1, 2]})]
    [('a[0].b', 'b: x'), ('at', 'at: [1, 2]')]
    """
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from json_lines(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and not _only_numbers(value):
        for index, inner in enumerate(value):
            yield from json_lines(inner, f"{path}[{index}]")
    elif value not in (None, "", {}):
        name = path.rpartition(".")[2].rstrip("0123456789[]")
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield Line(path, f"{name}: {text}" if name else text, isinstance(value, list))


def _only_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(_only_numbers(inner) for inner in value)
    return isinstance(value, int | float)


def xml_lines(root: Element) -> Iterator[Line]:
    """The text of each element that has text of its own, and attributes that contain words."""
    waiting = [(root, _tag(root))]
    while waiting:
        element, path = waiting.pop()
        for name, value in element.attrib.items():
            if " " in value.strip():
                yield Line(path, f"{_local(name)}: {value.strip()}")
        children = [child for child in element if isinstance(child.tag, str)]
        element_text = "".join([element.text or "", *(child.tail or "" for child in element)])
        if element_text.strip():
            yield Line(path, " ".join("".join(element.itertext()).split()))
        else:
            child_paths = [(child, f"{path}/{_tag(child)}") for child in children]
            waiting.extend(reversed(child_paths))


def _tag(element: Element) -> str:
    return _local(str(element.tag))


def _local(name: str) -> str:
    """The name without its namespace."""
    return name.rpartition("}")[2]


def packed(lines: Iterable[Line], window: int) -> Iterator[Section]:
    """Lines joined up to the length of a text segment; the path of the first is the place.

    Numbers do not count towards the length, since they are described, not spelled out.
    """
    path, texts, n_chars = "", list[str](), 0
    for line in lines:
        length = 0 if line.is_numbers else len(line.text) + 1
        if texts and n_chars + length > window:
            yield _section(path, texts)
            texts, n_chars = [], 0
        path = path if texts else line.path
        texts.append(line.text)
        n_chars += length
    if texts:
        yield _section(path, texts)


def _section(path: str, texts: list[str]) -> Section:
    return Section("\n".join(texts), {"path": path[-200:]} if path else {})
