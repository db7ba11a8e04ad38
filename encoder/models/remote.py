"""Models that a server runs, behind OpenAI's ``/v1/embeddings``.

Ollama, text-embeddings-inference, vLLM, Infinity and the services of vendors take texts. A server
of ours (`anymodal serve`) takes pictures and sounds too; it cuts texts and puts prompts itself.

Nothing that a server says is believed: an answer has a finite vector of the space's size for each
input, or it is an error. A name says little of the weights behind it, so the vectors of fixed
inputs (`encoder.models.probes`) are compared: a store notes them when it is made, and refuses
others, and each request takes the shortest along. What a server was when it answered last is kept
in the cache, so that a model that is away can be opened, and costs no more than what it encodes.
"""

from __future__ import annotations

import base64
import json
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from textwrap import shorten
from typing import Any, TypeAlias
from urllib.parse import quote

import httpx2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, SecretStr, ValidationError

from encoder.errors import InputError, ModelError, ModelTimeoutError, ModelUnavailableError
from encoder.media.image import png_bytes
from encoder.media.sound import flac_bytes
from encoder.models.probes import PROBES, check_same, written
from encoder.models.prompts import Prompts, served_prompts
from encoder.models.spec import ModelSpec
from encoder.runtime.base import all_at_once
from encoder.space import Space
from encoder.system.backoff import asked_wait_s, backoff_s
from encoder.system.batched import in_batches
from encoder.system.cache import cache_folder
from encoder.system.disk import writing
from encoder.system.stopping import current_check
from encoder.towers.base import Encoded, Prepared
from encoder.towers.model import Model
from encoder.towers.tokens import cut_text, pool, readable
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT, Embeddings, Item, Modality, Role

RemoteInput: TypeAlias = str | dict[str, str]
"""A text; for a server of ours also a picture or a sound, as ``{"image": "Base64"}``."""

DEADLINE_S = 120.0
"""For an answer, all tries together: a server may have to load the model first."""
_CONNECT_S = 10.0
_TRIES = 4
_AWAY = (429, 502, 503)
_CUT_SHORT = (408, 504)
_FAILED = 500

_AT_ONCE = 4
_INPUTS = {TEXT: 16, IMAGE: 4, AUDIO: 4}
"""In one request, of which `_AT_ONCE` are under way: text-embeddings-inference takes 32, and our
server 48 MB."""
_WINDOW_BYTES = 1500
"""Of a text's window in UTF-8, three to five to a token in most scripts: what fits into 512 tokens,
which most models take. Servers refuse longer texts, or cut them and do not say so."""
_WINDOW_BYTES_OF_OURS = 60_000


class _Row(BaseModel):
    embedding: list[float]
    index: int | None = None


class _Answer(BaseModel):
    data: list[_Row]


class ModelServer:
    """A server's HTTP interface, safe to use from threads; ``shown`` is for errors."""

    def __init__(self, shown: str, url: str, key: SecretStr | None, deadline_s: float) -> None:
        self.shown = shown
        self._url, self._deadline_s = url, deadline_s
        headers = {"Authorization": f"Bearer {key.get_secret_value()}"} if key else {}
        self._client = httpx2.Client(headers=headers, limits=httpx2.Limits(keepalive_expiry=30.0))
        weakref.finalize(self, self._client.close)  # encoders are not closed, but forgotten

    def described(self, model: str) -> dict[str, Any]:
        """What a server of ours says of a model; empty from others."""
        try:
            facts = json.loads(self._answer("GET", f"/models/{quote(model)}"))
        except ModelUnavailableError:
            raise
        except (ModelError, ValueError):
            return {}
        return facts if isinstance(facts, dict) and facts.get("owned_by") == "anymodal" else {}

    def embed(self, body: Mapping[str, Any]) -> Embeddings:
        """Unit rows [n, size] for the ``input`` of a request, in its order.

        Raises:
            ModelUnavailableError, ModelTimeoutError: after several tries.
            ModelError: the server refuses the request, or its answer is wrong.
        """
        content = self._answer("POST", "/embeddings", body)
        n_inputs = len(body["input"])
        try:
            data = _Answer.model_validate_json(content).data
        except ValidationError as error:
            raise self.wrong(f"something else: {error.errors()[0]['msg']}") from None
        if len(data) != n_inputs:
            raise self.wrong(f"{len(data)} embeddings for {n_inputs} inputs")
        places = [at if row.index is None else row.index for at, row in enumerate(data)]
        if sorted(places) != list(range(n_inputs)):
            raise self.wrong(f"embeddings numbered {shorten(str(places), 80)}")
        if len({len(row.embedding) for row in data}) > 1:
            raise self.wrong("embeddings of different sizes")
        rows = np.array([data[at].embedding for at in np.argsort(places)])
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not (np.isfinite(norms).all() and norms.all()):
            raise self.wrong("embeddings that are not finite, or nothing but zeros")
        return np.asarray(rows / norms, np.float32)

    def wrong(self, what: str) -> ModelError:
        """The error of an answer with something wrong in it."""
        return ModelError(
            f"{self.shown}: the server answered with {what}.",
            remedy="Check that it serves embeddings under this name, and its log.",
        )

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        end_s = time.monotonic() + self._deadline_s
        for attempt in count(1):
            if check := current_check():
                check()
            try:
                response, content = self._sent(method, path, body, end_s)
            except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                failure, wait_s = self._failed(error), backoff_s(attempt)
            else:
                if response.is_success:
                    return content
                failure = self._refused(response, content)
                wait_s = backoff_s(attempt, asked_wait_s(response.headers.get("retry-after", "")))
                if response.status_code not in (*_AWAY, *_CUT_SHORT, _FAILED):
                    raise failure
            if attempt == _TRIES or wait_s is None or time.monotonic() + wait_s > end_s:
                raise failure
            time.sleep(wait_s)
        raise AssertionError

    def _sent(
        self, method: str, path: str, body: Mapping[str, Any] | None, end_s: float
    ) -> tuple[httpx2.Response, bytes]:
        left_s = max(0.001, end_s - time.monotonic())
        timeout = httpx2.Timeout(left_s, connect=min(_CONNECT_S, left_s))
        content = bytearray()
        with self._client.stream(method, self._url + path, json=body, timeout=timeout) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if time.monotonic() > end_s:
                    raise httpx2.ReadTimeout("it sends too slowly")
        return response, bytes(content)

    def _failed(self, error: Exception) -> ModelError:
        is_away = isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
        failure = ModelUnavailableError if is_away else ModelTimeoutError
        in_time = f" within {self._deadline_s:g} s" if isinstance(error, httpx2.ReadTimeout) else ""
        return failure(
            f"{self.shown}: no answer{in_time} ({error or type(error).__name__}).",
            remedy="Check the URL, and that the server runs.",
        )

    def _refused(self, response: httpx2.Response, content: bytes) -> ModelError:
        status = response.status_code
        reason = _said(content) or response.headers.get("location", "")
        problem = f"{self.shown}: the server answered {status}: {reason}."
        if status in _AWAY:
            return ModelUnavailableError(problem, "Try again when it has less to do.")
        if status in _CUT_SHORT:
            return ModelTimeoutError(problem, "Try again when it has less to do.")
        if status in (401, 403):
            keys = json.dumps({self._url: "…"}, ensure_ascii=False)
            return ModelError(problem, f"Check the key: ANYMODAL_ENCODER__KEYS='{keys}'.")
        if status == 404 or response.has_redirect_location:
            return ModelError(problem, "Check the name and the URL, which mostly ends in /v1.")
        return ModelError(problem, "See the server's log and its limits.")


def _said(content: bytes) -> str:
    """The message in an error's body, in one short line."""
    try:
        fault = json.loads(content)
    except ValueError:
        fault = content.decode("utf-8", "replace")
    for name in ("error", "message", "detail"):
        fault = fault.get(name, fault) if isinstance(fault, dict) else fault
    text = fault if isinstance(fault, str) else json.dumps(fault, ensure_ascii=False)
    return shorten("".join(c if c.isprintable() else " " for c in text), 200).rstrip(".")


class RemoteFacts(BaseModel):
    """What a server says of a model, and shows by the vectors of `PROBES`."""

    name: str
    is_ours: bool
    modalities: list[str]
    embed_dim: int
    probes: tuple[str, ...]
    asked_probe: tuple[str, ...]
    """The first one, asked as a query."""
    cuts: list[int]


class RemoteModel:
    """A model on a server, opened. Safe to use from threads.

    Args:
        server: where it runs.
        name: the model's there.
        memory: a file that remembers what it is, for when the server is away.
    """

    def __init__(self, server: ModelServer, name: str, memory: Path) -> None:
        self._server = server
        try:
            facts = self._asked(name)
        except (ModelUnavailableError, ModelTimeoutError) as error:
            facts = _remembered(memory, error)
        else:
            with suppress(OSError), writing(memory):  # such as a read-only cache
                memory.parent.mkdir(parents=True, exist_ok=True)
                memory.write_text(facts.model_dump_json(), "utf-8")
        self.facts, self.modalities = facts, list(map(Modality, facts.modalities))
        self._probe = _input_of(PROBES[self.modalities[0]][0])
        self._rows_of_probe = {DOCUMENT: facts.probes[:1], QUERY: facts.asked_probe}

    def _asked(self, name: str) -> RemoteFacts:
        ours = self._server.described(name)
        model, is_ours = str(ours.get("id", name)), bool(ours)
        modalities = [m for m in (TEXT, IMAGE, AUDIO) if m in ours.get("modalities", [TEXT])]
        probes = [_input_of(item) for m in modalities for item in PROBES[m]]
        rows = self._server.embed(_body(model, is_ours, probes, DOCUMENT))
        question_rows = (
            self._server.embed(_body(model, True, probes[:1], QUERY)) if ours else rows[:1]
        )
        n_dims = rows.shape[1]
        return RemoteFacts(
            name=model,
            is_ours=is_ours,
            modalities=list(map(str, modalities)),
            embed_dim=n_dims,
            probes=written(rows),
            asked_probe=written(question_rows),
            cuts=[n for n in ours.get("dimensions", ()) if n < n_dims],
        )

    def rows(self, inputs: Sequence[RemoteInput], role: Role) -> Embeddings:
        """Unit rows [len(inputs), embed_dim].

        Raises:
            ModelError: as `ModelServer.embed`, or it is another model by now.
        """
        facts = self.facts
        body = _body(facts.name, facts.is_ours, [self._probe, *inputs], role)
        rows = self._server.embed(body)
        opened_by = "the one that this process opened"
        check_same(self._server.shown, written(rows[:1]), self._rows_of_probe[role], opened_by)
        return rows[1:]


def _body(model: str, is_ours: bool, inputs: Sequence[RemoteInput], role: Role) -> dict[str, Any]:
    body = {"model": model, "input": list(inputs)}
    return {**body, "input_type": role} if is_ours else body


def _remembered(memory: Path, error: ModelError) -> RemoteFacts:
    try:
        return RemoteFacts.model_validate_json(memory.read_text("utf-8"))
    except (OSError, ValueError):
        raise error from None


def _input_of(item: Item) -> RemoteInput:
    if item.modality == TEXT:
        return readable(item.content)
    data = png_bytes(item.content) if item.modality == IMAGE else flac_bytes(item.content)
    return {str(item.modality): base64.b64encode(data).decode()}


class RemoteTower:
    """Contents of a modality in a role; those of a text are its windows."""

    def __init__(self, model: RemoteModel, modality: Modality, role: Role, prompt: str) -> None:
        self._model, self._modality, self._role, self._prompt = model, modality, role, prompt

    def prepare(self, content: Any) -> NDArray[np.object_]:
        """The inputs to send, [n_windows]."""
        if self._modality != TEXT:
            return np.array([_input_of(Item(self._modality, content))], object)
        window_bytes = _WINDOW_BYTES_OF_OURS if self._model.facts.is_ours else _WINDOW_BYTES
        windows = cut_text(readable(content), _n_bytes, window_bytes) or [
            (" ", 1)
        ]  # if it is all blank
        return np.array([self._prompt + window for window, _ in windows], object)

    def forward(self, batch: Sequence[Prepared]) -> Encoded:
        """See `encoder.towers.base.Tower`."""
        jobs = [
            partial(self._model.rows, inputs, self._role)
            for inputs in in_batches([i for each in batch for i in each], _INPUTS[self._modality])
        ]
        rows = [r for group in in_batches(jobs, _AT_ONCE) for p in all_at_once(group) for r in p]
        ends = np.cumsum([len(windows) for windows in batch])
        per_item = zip(np.split(np.stack(rows), ends[:-1]), batch, strict=True)
        return Encoded(np.stack([pool(window, list(map(len, sent))) for window, sent in per_item]))

    def window_lengths(self, content: str) -> list[int]:
        """See `encoder.towers.tokens.TokenTower`; about, since only the server knows its tokens."""
        return [-(-_n_bytes(window) // 4) for window in self.prepare(content)]

    def text_of(self, ids: Sequence[int]) -> str:
        """See `encoder.towers.tokens.TokenTower`."""
        raise InputError("tokens", got=f"{len(ids)} ids for a model on a server", wanted="text")


def _n_bytes(text: str) -> int:
    return len(text.encode())


def load(
    spec: ModelSpec, keys: Mapping[str, SecretStr], *, deadline_s: float = DEADLINE_S
) -> Model:
    """Open a remote model.

    Raises:
        ModelUnavailableError: the server does not answer, and never did.
        ModelError: it has no such model, refuses the key, or answers with something else.
    """
    url = str(spec.url)
    memory = cache_folder("remote") / f"{sha256(str(spec).encode()).hexdigest()[:16]}.json"
    model = RemoteModel(ModelServer(str(spec), url, keys.get(url), deadline_s), spec.name, memory)
    facts = model.facts
    prompts = Prompts({}) if facts.is_ours else served_prompts(spec.name)
    prompt_of = {role: prompts.of(TEXT, role) for role in (DOCUMENT, QUERY)}

    def towers(role: Role) -> dict[Modality, RemoteTower]:
        return {m: RemoteTower(model, m, role, prompt_of[role]) for m in model.modalities}

    identity = {"remote": facts.name, "prompt": prompt_of[DOCUMENT]}
    differs = facts.is_ours or prompt_of[QUERY] != prompt_of[DOCUMENT]
    return Model(
        Space(facts.embed_dim, identity, probes=facts.probes),
        towers(DOCUMENT),
        queries=towers(QUERY) if differs else {},
        cuts=tuple(facts.cuts),
    )
