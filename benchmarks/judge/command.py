"""Run two commits in turns over HTTP, and print CPU ratios.

    python -m benchmarks judge BEFORE [AFTER] [--files FOLDER] [--pairs 150] [--only WORDS]

Each commit (HEAD if AFTER is not given) has its own work tree, data folder and store, and this
environment. Both ingest the same files (XQuAD's paragraphs in three languages, unless a folder is
given), then do the same in pairs, the first of a pair in turn: whole text queries by words and
meaning and by meaning alone, drawn from the texts that are stored (see `paired.drawn`), uploads of
one text each, and recordings of Common Voice as spoken questions. CPU is user and system time of a
server's process tree, without the client's. Above 1, AFTER needs more. Pairs go on until the
standard error is at most .01, from --pairs to four times as many.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import fmean, median

import httpx

from benchmarks.bundle_quality.questions import read
from benchmarks.harness.processes import free_port, started, tree_cpu_s, tree_pss_bytes
from benchmarks.harness.reporting import Settings, note
from benchmarks.harness.results_pages import cpu_model, table
from benchmarks.harness.sources import COMMON_VOICE
from benchmarks.judge.paired import drawn, ratio
from encoder.types import TEXT
from ingest import IngestConfig, identify, segments

_PAIRS, _ENOUGH, _MOST, _WARM_UP = 150, 0.01, 4, 12
_UPLOADS, _SPOKEN = 100, 50
_LONGEST_S = 300
"""Of an answer: on a busy machine one to a recording takes longer than servers allow."""
_HEAD = ("what", "pairs", "before, CPU-ms", "after, CPU-ms", "after ÷ before", "median of pairs")
_ROOT = Path(__file__).parents[2]

Ask = Callable[[httpx.Client], object]
"""Sends one piece of work to a server; raises if that cannot do it."""


@dataclass(frozen=True)
class Side:
    """A server of one commit: its process, a client, and CPU-seconds of filling its store."""

    pid: int
    client: httpx.Client
    fill_cpu_s: float


def main(settings: Settings) -> None:
    """Fill both stores, ask both servers in turns, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks judge", description=__doc__)
    parser.add_argument("before", help="a commit")
    parser.add_argument("after", nargs="?", default="HEAD", help="a commit")
    parser.add_argument("--files", type=Path, help="folder of files to store")
    parser.add_argument("--pairs", type=int, default=settings.items(_PAIRS, 10))
    parser.add_argument("--only", default="", help="how the name of the work begins")
    given = parser.parse_args(settings.words)
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anymodal-judge-")))
        files = given.files or _paragraphs(work / "files", settings.items(120, 20))
        texts = [text for text in stored_texts(files) if len(text.split()) > 3 or len(text) > 30]
        note(f"{len(texts)} passages")
        sides = [
            stack.enter_context(_serving(commit, work / name, files))
            for name, commit in (("before", given.before), ("after", given.after))
        ]
        old, new = (1e3 * side.fill_cpu_s for side in sides)
        rows = [["filling the store", 1, f"{old:.0f}", f"{new:.0f}", f"{new / old:.3f}", ""]]
        for what, (asks, n) in _work(texts, given.pairs, settings).items():
            if not what.startswith(given.only):
                continue
            note(what)
            rows.append([what, *_row(*measured(sides, asks, n))])
            print(table(_HEAD, rows[-1:]), file=sys.stderr)
        memory = " and ".join(f"{tree_pss_bytes(side.pid) / 1e6:.0f} MB" for side in sides)
    print(f"{given.before} and {given.after}, {cpu_model()}, load at the end "
          f"{os.getloadavg()[0]:.1f}; memory of the servers then {memory} (PSS).\n")  # fmt: skip
    print(table(_HEAD, rows))


def _paragraphs(folder: Path, n_each: int) -> Path:
    """A file for each of the first paragraphs of XQuAD in each of three languages."""
    folder.mkdir(parents=True, exist_ok=True)
    for language in ("en", "de", "zh"):
        for number, text in enumerate(read(language).paragraphs[:n_each]):
            (folder / f"{language}-{number:03}.txt").write_text(text, "utf-8")
    return folder


def stored_texts(folder: Path) -> list[str]:
    """The passages that a store of the files holds, as this version cuts them."""
    config = IngestConfig()
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    found = (segment for path in paths for segment in segments(identify(path, config), config))
    return [str(segment.content) for segment in found if segment.modality == TEXT]


@contextmanager
def _serving(commit: str, folder: Path, files: Path) -> Iterator[Side]:
    """Fill a store by the command of a commit, then run its server until the block ends."""
    tree = folder / "tree"
    _run("git", "worktree", "add", "--force", "--detach", str(tree), commit)
    try:
        _run(sys.executable, "-m", "compileall", "-q", str(tree))  # else the fill pays for it
        env = {"PYTHONPATH": str(tree), "ANYMODAL_DATA": str(folder / "data")}
        env |= {"ANYMODAL_STORE": str(folder / "store"), "ANYMODAL_API__TIMEOUT_S": str(_LONGEST_S)}
        note(f"{commit} fills its store")
        anymodal = str(Path(sys.executable).with_name("anymodal"))
        command = [anymodal, "ingest", str(files.resolve()), "--json"]
        began = getrusage(RUSAGE_CHILDREN)
        ran = subprocess.run(
            command, cwd=tree, env={**os.environ, **env}, stdout=subprocess.PIPE, check=True
        )
        ended = getrusage(RUSAGE_CHILDREN)
        note(f"{json.loads(ran.stdout)['ingested']} files")
        cpu_s = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
        port = free_port()
        words = [anymodal, "serve", "--port", port, "--processes", "1"]
        with (
            started(words, port, "/readyz", folder / "serve.log", env, cwd=tree) as pid,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_LONGEST_S) as client,
        ):
            yield Side(pid, client, cpu_s)
    finally:
        _run("git", "worktree", "remove", "--force", str(tree))


def _run(*words: str) -> None:
    subprocess.run(words, cwd=_ROOT, check=True, stdout=subprocess.DEVNULL)


def _work(
    texts: Sequence[str], n_pairs: int, settings: Settings
) -> Mapping[str, tuple[Iterator[Ask], int]]:
    """What is asked of both servers, and at least how often."""
    queries = drawn(texts)
    clips = [
        clip
        for language in ("en", "de", "zh-CN", "fr", "es", "ru")
        for clip in sorted((COMMON_VOICE.files() / language / "clips").glob("*.mp3"))[:60]
    ]
    both = (partial(_search, query=query) for query in queries)
    by_meaning = (partial(_search, query=query, lexical=False) for query in queries)
    new_texts = (f"{query}\n\n{text}" for query, text in zip(drawn(texts, 1), cycle(texts)))
    return {
        "text, by words and meaning": (both, n_pairs),
        "text, by meaning alone": (by_meaning, n_pairs),
        "upload of a text": (
            (partial(_upload, text=text) for text in new_texts), settings.items(_UPLOADS, 4),
        ),
        "spoken question": (
            (partial(_speak, clip=clip) for clip in clips), settings.items(_SPOKEN, 4),
        ),
    }  # fmt: skip


def _search(client: httpx.Client, query: str, **options: object) -> None:
    asked = {"query": query, "limit": 10, **options}
    client.post("/v1/search", json=asked).raise_for_status()


def _upload(client: httpx.Client, text: str) -> None:
    file = ("note.txt", text.encode())
    client.post("/v1/assets", files={"file": file}, data={"wait": "true"}).raise_for_status()


def _speak(client: httpx.Client, clip: Path) -> None:
    headers = {"Content-Type": "audio/mpeg"}
    answer = client.post("/v1/search", content=clip.read_bytes(), headers=headers)
    if answer.status_code != httpx.codes.UNPROCESSABLE_ENTITY:  # no words were heard
        answer.raise_for_status()


def measured(
    sides: Sequence[Side], asks: Iterator[Ask], n_least: int
) -> tuple[list[float], list[float]]:
    """CPU-seconds of both sides for the same work, pair by pair, until the error is small.

    What a server still does after an answer counts in the pair in which it does it.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    for number, ask in enumerate(islice(asks, _WARM_UP + _MOST * n_least), -_WARM_UP):
        before = [tree_cpu_s(side.pid) for side in sides]
        for side in sides if number % 2 else reversed(sides):
            ask(side.client)
        if number < 0:  # the first pairs warm up
            continue
        for of_side, side, cpu_s in zip(taken, sides, before, strict=True):
            of_side.append(tree_cpu_s(side.pid) - cpu_s)
        if number + 1 >= n_least and ratio(*taken).error <= _ENOUGH:
            break
    return taken


def _row(before: Sequence[float], after: Sequence[float]) -> list[object]:
    means = (f"{1e3 * fmean(cpu_s):.1f}" for cpu_s in (before, after))
    each = sorted(b / a for a, b in zip(before, after, strict=True) if a)
    return [len(before), *means, ratio(before, after), f"{median(each):.3f}"]
