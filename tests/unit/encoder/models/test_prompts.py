import pytest

from encoder.models.prompts import Prompts
from encoder.types import IMAGE, TEXT


@pytest.mark.parametrize(
    ("declared", "default", "query", "document"),
    [
        ({}, None, "", ""),
        ({"query": "q: ", "document": ""}, None, "q: ", ""),
        ({"query": "q: ", "passage": "p: "}, None, "q: ", "p: "),
        ({"query": "q: ", "Document": "d: ", "document": ""}, None, "q: ", "d: "),
        ({"query": "q: ", "document": "d: "}, "query", "q: ", "d: "),
        ({"query": "q: "}, "query", "q: ", ""),
        ({"query": "q: ", "document": "d: "}, "document", "q: ", "d: "),
        ({"document": "d: "}, "document", "", "d: "),
        ({"sts": "s: "}, "sts", "s: ", "s: "),
        ({"sts": "s: ", "query": "q: "}, "sts", "q: ", "s: "),
        ({"sts": "s: "}, None, "", ""),
        ({"SearchQuery": "q: ", "Retrieval-document": "d: ", "STS": "s: "}, None, "q: ", "d: "),
        ({"retrieval.query": "q: ", "retrieval.passage": "p: "}, None, "q: ", "p: "),
        ({"s2p_query": "q: ", "s2s_query": "s: "}, None, "q: ", ""),
    ],
)
def test_a_text_has_the_prompt_of_its_role(
    declared: dict[str, str], default: str | None, query: str, document: str
) -> None:
    prompts = Prompts(declared, default)
    assert (prompts.of(TEXT, "query"), prompts.of(TEXT, "document")) == (query, document)


def test_media_have_the_default_prompt_or_one_that_is_named_after_them() -> None:
    texts = {"query": "q: ", "document": "d: "}
    assert Prompts(texts).of(IMAGE, "query") == ""
    assert Prompts({**texts, "any": "a: "}, "any").of(IMAGE, "document") == "a: "
    own = Prompts({**texts, "image-query": "seen: "})
    assert (own.of(IMAGE, "query"), own.of(IMAGE, "document")) == ("seen: ", "")


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("intfloat/e5-base-v2", "query: ", "passage: "),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("nomic-ai/nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("intfloat/multilingual-e5-large-instruct", "", ""),
        ("somebody/e5-small", "", ""),
    ],
)
def test_models_that_declare_nothing_are_known_by_their_names(
    name: str, query: str, document: str
) -> None:
    prompts = Prompts({"query": "", "document": ""}, None, name)
    assert (prompts.of(TEXT, "query"), prompts.of(TEXT, "document")) == (query, document)
    declared = Prompts({"query": "own: "}, None, name)
    assert (declared.of(TEXT, "query"), declared.of(TEXT, "document")) == ("own: ", "")
