"""Long texts that are installed anyway: the libraries' documentation."""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterator
from importlib import import_module

from encoder.dsre.fitting.documents import Document, as_document

_SUBMODULES = {
    "numpy": "linalg fft random polynomial ma",
    "torch": "nn nn.functional optim optim.lr_scheduler distributions fft linalg special sparse",
    "scipy": "stats signal optimize linalg sparse special spatial ndimage interpolate integrate "
    "fft cluster.hierarchy",
}


def documented(*libraries: str) -> list[Document]:
    """The functions and classes of installed libraries: the summary is the query for the rest.

    A text that starts like another one is left out, as is a summary that several share.
    """
    taken = set[str]()
    found = []
    for text in _docstrings(libraries):
        document = as_document(text)
        if document is None:
            continue
        keys = {document.title.lower(), document.body[:120].lower()}
        if not keys & taken:
            found.append(document)
        taken |= keys
    return found


def _docstrings(libraries: tuple[str, ...]) -> Iterator[str]:
    for library in libraries:
        names = [library, *(f"{library}.{name}" for name in _SUBMODULES[library].split())]
        for module in map(import_module, names):
            for name in dir(module):
                # old names warn when they are looked up
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    member = getattr(module, name)
                    text = inspect.getdoc(member) if callable(member) else None
                if text and not name.startswith("_"):
                    yield without_signature(text)


def without_signature(text: str) -> str:
    """A docstring without the call that some start with.

    >>> without_signature("add(x, y, /)\\n\\nAdd two arrays.")
    'Add two arrays.'
    """
    return re.sub(r"\A\s*[\w.]+\(.*?\n\s*\n", "", text, flags=re.DOTALL)
