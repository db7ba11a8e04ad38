"""The prompts that a hub model expects before content, by modality and by role."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from encoder.types import DOCUMENT, QUERY, TEXT, Modality, Role

_NAMES: Mapping[Role, tuple[str, ...]] = {
    QUERY: ("query", "searchquery", "retrievalquery", "s2pquery"),
    DOCUMENT: ("document", "passage", "corpus", "searchdocument", "retrievaldocument",
               "retrievalpassage"),
}  # fmt: skip
"""What models call the prompts of a role, best first; case, ``-``, ``_`` and ``.`` are ignored."""

_E5 = {QUERY: "query: ", DOCUMENT: "passage: "}
_BGE = {QUERY: "Represent this sentence for searching relevant passages: "}
_BGE_ZH = {QUERY: "为这个句子生成表示以用于检索相关文章："}
_NOMIC = {QUERY: "search_query: ", DOCUMENT: "search_document: "}
_UNDECLARED: Mapping[str, Mapping[Role, str]] = {
    r"intfloat/(multilingual-)?e5-(small|base|large)(-v2|-unsupervised)?": _E5,
    r"BAAI/bge-(small|base|large)-en(-v1\.5)?": _BGE,
    r"BAAI/bge-(small|base|large)-zh(-v1\.5)?": _BGE_ZH,
    r"nomic-ai/nomic-embed-text-v1(\.5)?": _NOMIC,
}
"""Models whose prompts are given in their model cards, not in their files."""

_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query"
_SERVED: Mapping[str, Mapping[Role, str]] = {
    r"e5-.*instruct|e5-mistral": {QUERY: f"{_INSTRUCT}\nQuery: "},
    r"qwen3-embedding": {QUERY: f"{_INSTRUCT}\nQuery:"},
    r"\be5-(small|base|large)": _E5,
    r"bge-(small|base|large)-zh": _BGE_ZH,
    r"bge-(small|base|large)|mxbai-embed-large": _BGE,
    r"arctic-embed(2|.*-v2)": {QUERY: "query: "},
    r"arctic-embed": _BGE,
    r"nomic-embed-text": _NOMIC,
    r"embedding-?gemma": {QUERY: "task: search result | query: ",
                          DOCUMENT: "title: none | text: "},
}  # fmt: skip
"""By what is in a served model's name, the first that fits: servers put no prompts before texts."""


@dataclass(frozen=True)
class Prompts:
    """A model's prompts by name, and the default's, from ``config_sentence_transformers.json``.

    Older models declare nothing and are recognised by their ``name`` on the hub.
    """

    declared: Mapping[str, str]
    default: str | None = None
    name: str = ""

    def of(self, modality: Modality, role: Role) -> str:
        """The prompt; empty where the model has none.

        The role's own prompt comes first, then the model's default. For content other than text,
        the name of the role's prompt begins with the modality, such as ``image_query``.

        >>> known = Prompts({"query": "query: ", "Document": "passage: "})
        >>> known.of(TEXT, "query"), known.of(TEXT, "document")
        ('query: ', 'passage: ')
        """
        declared = {_plain(name): prompt for name, prompt in self.declared.items() if prompt}
        prefix = "" if modality == TEXT else str(modality)
        for name in _NAMES[role]:
            if prompt := declared.get(prefix + name):
                return prompt
        if not declared:
            return self._undeclared(role) if modality == TEXT else ""
        default = _plain(self.default or "")
        is_others = any(default in names for other, names in _NAMES.items() if other != role)
        return "" if is_others else declared.get(default, "")

    def _undeclared(self, role: Role) -> str:
        for pattern, prompts in _UNDECLARED.items():
            if re.fullmatch(pattern, self.name):
                return prompts.get(role, "")
        return ""


def served_prompts(name: str) -> Prompts:
    """The prompts of a model that a server calls so; none where the name says nothing.

    >>> served_prompts("nomic-embed-text:v1.5").of(TEXT, "query")
    'search_query: '
    """
    for pattern, prompts in _SERVED.items():
        if re.search(pattern, name.lower()):
            return Prompts({str(role): prompt for role, prompt in prompts.items()})
    return Prompts({})


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
