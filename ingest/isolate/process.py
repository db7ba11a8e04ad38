"""A decoder process, seen from outside."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import clock_gettime, perf_counter
from typing import Any, TypeVar

from encoder.errors import CorruptMediaError, MediaError, MediaLimitError
from encoder.system import children
from encoder.system.environment import variables
from encoder.system.stopping import current_check
from ingest.errors import DecoderProcessError
from ingest.isolate import wire
from ingest.isolate.kernel_limits import Confinement
from ingest.isolate.wire import Channel, Message
from ingest.kinds.reading import Clock

T = TypeVar("T")

_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 10.0
_LOOK_S = 0.25
"""How often to look whether anybody still waits for an answer."""
# A picture or some seconds of sound; by default a pipe takes 64 KB, and each part costs a context
# switch.
_PIPE_BYTES = 2**20
# Nothing else: the environment also holds passwords of brokers and stores.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TZ")
_LIBRARIES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYDANTIC_DISABLE_PLUGINS": "__all__",
}


class DecoderProcess:
    """Decodes one file at a time, within limits enforced by the kernel.

    Args:
        memory_bytes: the most address space.
        area: the only folder (or file) that it can read, where the kernel knows Landlock.

    Raises:
        DecoderProcessError: it does not start.
    """

    def __init__(self, memory_bytes: int, area: Path) -> None:
        self.memory_bytes = memory_bytes
        self.area = area
        self.n_files = 0
        self.is_busy = True
        requests, to_child = os.pipe()
        from_child, answers = os.pipe()
        with suppress(OSError):  # the system may grant less
            fcntl.fcntl(from_child, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            self._process = subprocess.Popen(
                children.python(__package__ + ".child", requests, answers, memory_bytes, area),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(requests, answers),
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the parent
            )
        finally:
            os.close(requests)
            os.close(answers)
        self._channel = Channel(from_child, to_child, memory_bytes)
        self.confinement = self._wait_until_ready()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def ask(
        self, request: Mapping[str, Any], clock: Clock, parse: Callable[[Message], T], cpu_s: float
    ) -> Iterator[T]:
        """Send a request about the file ``request["uri"]``; yield the answers, parsed.

        It may use ``cpu_s`` of CPU time; then the kernel ends it.

        Raises:
            MediaError: reported by the child, or how it ended.
        """
        self.is_busy = True
        self.n_files += 1
        uri = request["uri"]
        self._grant_cpu(cpu_s)
        try:
            self._channel.send(Message(request))
            while "end" not in (answer := self._receive(clock)).head:
                if "error" in answer.head:
                    self.is_busy = False
                    raise wire.error_of(answer.head)
                yield parse(answer)
                if "header" in answer.head:
                    break
        except (EOFError, BrokenPipeError) as error:
            raise self._obituary(uri) from error
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptMediaError(
                f"{uri}: its decoder sent an invalid answer ({error}).",
                remedy="The file may be hostile. If you trust it, export it again.",
            ) from error
        self.is_busy = False

    def end(self) -> None:
        """Kill it and close its pipes."""
        self._process.kill()
        self._process.wait(_END_TIMEOUT_S)
        self._channel.close()

    def forget(self) -> None:
        """Forget it in a forked process: it belongs to the parent."""
        self._process.returncode = 0  # else it would be waited for
        self._channel.close()

    def _grant_cpu(self, seconds: float) -> None:
        pid = self._process.pid
        with suppress(OSError):  # it has ended, which its channel reports
            used_s = clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) names its clock
            until_s = int(used_s + seconds) + 1
            resource.prlimit(pid, resource.RLIMIT_CPU, (until_s, resource.RLIM_INFINITY))

    def _receive(self, clock: Clock) -> Message:
        started = perf_counter()
        if check := current_check():
            ends = started + clock.left_s
            while not self._channel.has_come(min(_LOOK_S, ends - perf_counter())):
                if perf_counter() >= ends:
                    break
                check()  # if it raises, the process is still busy, and its pool ends it
        try:
            answer = self._channel.receive(max(0.0, clock.left_s + started - perf_counter()))
        except TimeoutError:
            # A hair more than the time left, so that the clock is past the deadline afterwards.
            clock.spend(max(perf_counter() - started, clock.left_s + 1e-3))
            raise
        clock.has_played(answer.head.get("segment", {}).get("end_s") or 0.0)
        clock.spend(perf_counter() - started)
        return answer

    def _wait_until_ready(self) -> Confinement:
        try:
            report = self._channel.receive(_START_TIMEOUT_S).head
            confinement = Confinement(
                str(report["calls"]), str(report["files"]), int(report["landlock"])
            )
        except (EOFError, KeyError, TimeoutError, ValueError) as error:
            self.end()
            raise DecoderProcessError(
                f"A decoder process exited with {self._process.returncode} as it started.",
                remedy="See its messages above, or set ANYMODAL_INGEST__ISOLATE=false.",
            ) from error
        self.is_busy = False
        return confinement

    def _obituary(self, uri: str) -> MediaError:
        try:
            code = self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:  # its pipes are closed but it still runs
            code = 0
        if code == -signal.SIGXCPU:
            return MediaLimitError(
                f"{uri}: its decoder used up its processor time.",
                remedy="Raise ANYMODAL_INGEST__MAX_DECODE_S if you trust the file.",
            )
        if code == -signal.SIGKILL:
            return MediaLimitError(
                f"{uri}: its decoder was killed, most likely for lack of memory.",
                remedy="If it opens elsewhere, split it or scale it down.",
            )
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return CorruptMediaError(
            f"{uri}: its decoder crashed ({name}).",
            remedy="The file is damaged or hostile. If you trust it, export it again.",
        )


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in variables().items() if name in _ENVIRONMENT}
    # The child imports from the same places as this process.
    return {**environment, **_LIBRARIES, "PYTHONPATH": children.import_path(), "LANG": "C.UTF-8"}
