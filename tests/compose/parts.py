"""The stack without images: its services as processes in namespaces of their own.

A service gets what ``docker-compose config`` says of it: its command, environment, user, mounts,
secrets, network and health check, no capabilities, and a root that it cannot write to. That root
shows this machine's, with what the service's image has: the packages of ``requirements.lock``,
nginx, Redis and Milvus. Left out are limits, restarts, and Docker's DNS, which ``/etc/hosts``
stands in for; and a new volume belongs to whoever mounts it first, whatever the image has there.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.compose_files import COMPOSE, ROOT

PROGRAMS = ("docker-compose", "nginx", "redis-server", "tini", "ip", "unshare", "nsenter")
FILES = ("compose.yaml", "compose.proxy.yaml")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HEALTHY_S = 180.0


@dataclass(frozen=True)
class Image:
    """What a Dockerfile's last stage says; ``mounts`` are its files, as this machine has them."""

    environment: dict[str, str]
    entrypoint: list[str]
    health: list[str]
    user: str
    folder: str
    mounts: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path, mounts: dict[str, Path]) -> Image:
        """Read a Dockerfile; the files that are in the image are given."""
        stage = file.read_text().replace("\\\n", " ").rpartition("\nFROM ")[2]
        says = dict(
            re.findall(r"^(USER|WORKDIR|ENTRYPOINT|HEALTHCHECK) +(.+)", stage, re.MULTILINE)
        )
        environment = {"PATH": _PATH}
        for words in re.findall(r"^ENV +(.+)", stage, re.MULTILINE):
            for name, _, value in (word.partition("=") for word in shlex.split(words)):
                environment[name] = value.replace("$PATH", environment["PATH"])
        health = says.get("HEALTHCHECK", "").partition("CMD ")[2]
        return cls(
            environment,
            json.loads(says.get("ENTRYPOINT", "[]")),
            ["CMD", *json.loads(health or "[]")],
            says.get("USER", "root"),
            says.get("WORKDIR", "/"),
            mounts,
        )


class Network:
    """A bridge that this process reaches, with a namespace for each part."""

    def __init__(self) -> None:
        self._name = f"am{os.getpid()}"
        self._net = f"10.{200 + os.getpid() % 50}.{os.getpid() % 250}"
        self._names: list[str] = []
        self.hosts = "127.0.0.1 localhost\n"
        run("ip", "link", "add", self._name, "type", "bridge")
        run("ip", "address", "add", f"{self._net}.1/24", "dev", self._name)
        run("ip", "link", "set", self._name, "up")

    def join(self, service: str) -> tuple[str, str]:
        """A new namespace, and its address there; others find it by the service's name."""
        number = len(self._names) + 2
        name, address = f"{self._name}-{number}", f"{self._net}.{number}"
        self._names.append(name)
        self.hosts += f"{address} {service}\n"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", name, "master", self._name, "up")
        run("ip", "-n", name, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            run("ip", "-n", name, "link", "set", device, "up")
        return name, address

    def close(self) -> None:
        for name in self._names:
            run("ip", "netns", "delete", name)
        run("ip", "link", "delete", self._name)


class Part:
    """A service that runs.

    Args:
        folder: its own, for its root and its log.
        service: from the configuration.
        binds: files and folders of this machine, by where the service sees them, and whether it
            may write there.
    """

    def __init__(
        self,
        folder: Path,
        service: dict[str, Any],
        image: Image,
        network: Network,
        binds: dict[str, tuple[Path, bool]],
        command: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.service = service
        self.image = image
        self._namespace, self.address = network.join(service["name"])
        self._hosts = network.hosts
        self._binds = binds
        words = [*image.entrypoint, *(command or service["command"])]
        if service.get("init"):
            words = ["tini", "--", *words]
        folder.mkdir(parents=True)
        self._log = folder / "log"
        script = "\n".join(
            [*self._mounts(), f"exec chroot root {shlex.join(self._as_user(words))}"]
        )
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self._namespace),
                    *("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork"),
                    *("--kill-child", "sh", "-euc", script),
                ],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _mounts(self) -> Iterator[str]:
        """Make the root: a layer over this machine's."""
        yield f"echo {self.folder.name} >/proc/sys/kernel/hostname"
        yield "mkdir disk root; mount -t tmpfs tmpfs disk; mkdir disk/upper disk/work"
        yield "mount -t overlay overlay -o lowerdir=/,upperdir=disk/upper,workdir=disk/work root"
        yield f"printf %s {shlex.quote(self._hosts)} >root/etc/hosts"
        user = self._user()
        yield f"echo {user[0]}:x:{user[1]}:{user[2]}::/:/bin/sh >>root/etc/passwd"
        for hidden in {ROOT, Path.home()}:
            yield f"mount -t tmpfs tmpfs root{hidden}"
        yield "mount --rbind /dev root/dev; mount -t proc proc root/proc"
        for to in self.service.get("tmpfs", ()):
            yield f"mkdir -p root{to}; mount -t tmpfs -o mode=1777 tmpfs root{to}"
        for number, (to, path) in enumerate(self.image.mounts.items()):
            layers = f"upperdir=disk/upper{number},workdir=disk/work{number}"
            yield f"mkdir -p root{to} disk/upper{number} disk/work{number}"
            yield f"mount -t overlay overlay -o lowerdir={path},{layers} root{to}"
        for to, (path, is_writable) in sorted(self._binds.items()):
            make = "mkdir -p" if path.is_dir() else "touch"
            yield f"mkdir -p $(dirname root{to}); {make} root{to}; mount --bind {path} root{to}"
            if not is_writable:
                yield f"mount -o remount,bind,ro root{to}"
        yield f"mkdir -p root{self.image.folder}"
        if self.service.get("read_only"):
            for of in ("", *self.image.mounts):
                yield f"mount -o remount,bind,ro root{of}"

    def _user(self) -> tuple[str, int, int]:
        """Name and numbers of the user that the service runs as."""
        name, _, group = str(self.service.get("user") or self.image.user).partition(":")
        if name.isdigit():
            return f"user{name}", int(name), int(group or name)
        try:
            known = pwd.getpwnam(name)
        except KeyError:
            return name, 101, 101  # which the image has, and this machine does not
        return name, known.pw_uid, known.pw_gid

    def _as_user(self, words: Sequence[str]) -> list[str]:
        """The same command as the service's user, in its environment."""
        name, uid, gid = self._user()
        drop = ("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
        assert self.service["cap_drop"] == ["ALL"]
        environment = {"HOME": "/", "USER": name, **self.image.environment}
        environment |= {
            k: v for k, v in self.service.get("environment", {}).items() if v is not None
        }
        return [
            *("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *drop),
            *("env", "--ignore-environment", f"--chdir={self.image.folder}"),
            *(f"{key}={value}" for key, value in environment.items()),
            *words,
        ]

    def pid(self) -> int:
        """Of its first process, as this machine counts."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0])

    def start_in(self, *words: str) -> subprocess.Popen[str]:
        """Start a further command where the service runs."""
        enter = ("nsenter", f"--target={self.pid()}", "--mount", "--uts", "--ipc", "--net", "--pid")
        return subprocess.Popen(
            [*enter, "--root", "--wd", *self._as_user(words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run_in(self, *words: str, timeout_s: float = 60) -> str:
        """What such a command prints.

        Raises:
            RuntimeError: it failed.
        """
        with self.start_in(*words) as process:
            out, err = process.communicate(timeout=timeout_s)
        if process.returncode:
            raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}: {out}{err}")
        return out

    def problem(self) -> str:
        """What its own health check says; empty if it is well."""
        if self.process.poll() is not None:
            return f"ended with {self.process.returncode}"
        kind, *words = self.service.get("healthcheck", {}).get("test") or self.image.health
        try:
            self.run_in(*(["sh", "-c", *words] if kind == "CMD-SHELL" else words))
        except (RuntimeError, IndexError, FileNotFoundError) as error:
            return str(error)
        return ""

    def wait_until_well(self) -> None:
        """As ``condition: service_healthy``; with its log if it does not become so."""
        deadline = time.monotonic() + _HEALTHY_S
        while problem := self.problem():
            has_ended = self.process.poll() is not None
            if has_ended or time.monotonic() > deadline:
                raise RuntimeError(f"{self.folder.name}: {problem}\n{self.log()}")
            time.sleep(1)

    def log(self) -> str:
        """The end of what it wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-40:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its first process; -9 ends all of its processes."""
        if self.process.poll() is None:
            os.kill(self.pid(), number)


class Parts:
    """All services of the usual files, with the proxy.

    Args:
        folder: for volumes, secrets, logs; on a disk.
        images: by the name of the service that uses them first, others use our own.
        variables: as in ``.env``.
    """

    def __init__(self, folder: Path, images: dict[str, Image], **variables: str) -> None:
        self.folder = folder
        self.images = images
        shutil.copytree(COMPOSE, folder / "compose", ignore=lambda *_: {"secrets", "media", ".env"})
        run(folder / "compose" / "secrets.sh")
        files = [word for name in FILES for word in ("--file", str(folder / "compose" / name))]
        shown = run("docker-compose", *files, "config", "--format", "json", **variables)
        config = json.loads(shown.replace("$$", "$"))
        self.services: dict[str, dict[str, Any]] = config["services"]
        self._secrets: dict[str, Any] = config["secrets"]
        self.network = Network()
        self.running: dict[str, list[Part]] = {}

    def start(self, name: str, number: int = 1, command: Sequence[str] = ()) -> Part:
        """Start one container of a service."""
        service = self.services[name] | {"name": name}
        image = self.images.get(name, self.images["api"])
        label = f"{name}-{number}" if not command else f"{name}-{command[0]}"
        folder = self.folder / "parts" / label
        part = Part(folder, service, image, self.network, self._binds(service, image), command)
        self.running.setdefault(name, []).append(part)
        return part

    def _binds(self, service: dict[str, Any], image: Image) -> dict[str, tuple[Path, bool]]:
        binds: dict[str, tuple[Path, bool]] = {}
        for volume in service.get("volumes", ()):
            path = Path(volume["source"])
            if volume["type"] == "volume":
                path = self.folder / "volumes" / volume["source"]
                if not path.exists():
                    path.mkdir(parents=True)
                    user = str(service.get("user") or image.user).partition(":")[0]
                    shutil.chown(path, int(user) if user.isdigit() else user)
            binds[volume["target"]] = path, not volume.get("read_only", False)
        for secret in service.get("secrets", ()):
            target = secret.get("target") or f"/run/secrets/{secret['source']}"
            target = target if target.startswith("/") else f"/run/secrets/{target}"
            binds[target] = Path(self._secrets[secret["source"]]["file"]), False
        return binds

    def up(self) -> None:
        """Start all of them, each when those that it depends on are well; wait for them."""
        waiting = dict(self.services)
        while waiting:
            ready = [
                name
                for name, service in waiting.items()
                if not waiting.keys() & service.get("depends_on", {}).keys()
            ]
            started = [
                self.start(name, number + 1)
                for name in ready
                for number in range(waiting.pop(name).get("deploy", {}).get("replicas", 1))
            ]
            for part in started:
                part.wait_until_well()

    def close(self) -> None:
        """End all that runs."""
        for parts in self.running.values():
            for part in parts:
                part.signal(signal.SIGKILL)
                part.process.wait(30)
        self.network.close()


def run(*words: str | Path, **variables: str) -> str:
    """What a command of this machine prints."""
    environment = {**os.environ, **variables}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr}")
    return done.stdout


@contextmanager
def started(parts: Parts) -> Iterator[Parts]:
    """End all parts with the block, and show what they wrote if it fails."""
    try:
        yield parts
    except BaseException:
        for path in sorted(parts.folder.glob("parts/*/log")):
            end = "\n".join(path.read_text(errors="replace").splitlines()[-25:])
            sys.stderr.write(f"--- {path.parent.name}\n{end}\n")
        raise
    finally:
        parts.close()
