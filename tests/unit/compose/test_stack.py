"""The stack of compose."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from shutil import copytree
from typing import Any

import click
import pytest
import yaml

from encoder.config import EncoderConfig
from encoder.settings import EnvironmentSettings
from ingest.config import IngestConfig
from search.api.config import ApiConfig
from tests.support.compose_files import (
    COMPOSE,
    DOCKERFILE,
    OURS,
    SERVICES,
    STACK,
    VARIABLE,
    Loader,
    filled,
    seconds,
    size_bytes,
)
from tests.support.http_server import answering
from tests.unit.compose.test_kubernetes import OBJECTS
from workers.cli import anymodal
from workers.config import Settings
from workers.pipeline.files import CLASSES

ALL = pytest.mark.parametrize("name", SERVICES)
OUR = pytest.mark.parametrize("name", OURS)


@ALL
def test_a_service_may_do_nothing_that_it_need_not(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"} & set(service)
    sources = [str(volume).split(":")[0] for volume in service.get("volumes", [])]
    assert not [source for source in sources if filled(source).startswith("/")]
    # Milvus writes beside its programs, and its 2.6 image starts as root alone.
    assert service["read_only"] is (name != "milvus")
    if name in OURS:
        assert re.search(r"^USER (?!0|root)\S+$", DOCKERFILE, re.MULTILINE)
        assert "user" not in service
    elif name != "milvus":
        assert str(service["user"]).split(":")[0] not in ("", "0", "root")


@ALL
def test_it_is_limited_starts_again_and_waits_for_what_it_depends_on(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert float(filled(str(limits["cpus"]))) > 0
    assert size_bytes(limits["memory"]) >= 512 * 2**20
    assert service["restart"] == "unless-stopped"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    for depends in service.get("depends_on", {}).values():
        assert depends == {"condition": "service_healthy"}


def test_stopping_is_graceful() -> None:
    for name, service in OURS.items():
        grace_s = seconds(service["stop_grace_period"])
        if name == "api":
            assert grace_s > ApiConfig.model_fields["timeout_s"].default
        else:
            assert grace_s > float(service["environment"]["ANYMODAL_SHUTDOWN_S"])
    assert all("stop_grace_period" in service for service in SERVICES.values())


def test_every_kind_of_file_has_a_worker() -> None:
    queues = [SERVICES[name]["command"] for name in ("worker-text", "worker-media")]
    named = [kind for c in queues for kind in c[c.index("--queues") + 1].split(",")]
    assert sorted(named) == sorted(CLASSES)


def test_redis_never_throws_a_job_away() -> None:
    lines = (COMPOSE / "redis" / "redis.conf").read_text().splitlines()
    settings = dict(line.split(maxsplit=1) for line in lines if line and line[0] != "#")
    assert settings["appendonly"] == "yes"
    assert settings["maxmemory-policy"] == "noeviction"
    limit = SERVICES["redis"]["deploy"]["resources"]["limits"]["memory"]
    assert size_bytes(settings["maxmemory"]) < size_bytes(limit)


SETTINGS: dict[str, type[EnvironmentSettings]] = {
    "ANYMODAL_ENCODER__": EncoderConfig,
    "ANYMODAL_INGEST__": IngestConfig,
    "ANYMODAL_API__": ApiConfig,
    "ANYMODAL_": Settings,
}


@OUR
def test_its_variables_are_settings(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = SERVICES[name]["environment"]
    environment = {k: filled(str(v)) for k, v in given.items() if v is not None}
    environment.pop("ANYMODAL_HEALTH_URL", None)  # the Dockerfile's
    environment.pop("OMP_NUM_THREADS")  # for the libraries
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
        prefix = next(prefix for prefix in SETTINGS if key.startswith(prefix))
        field = key.removeprefix(prefix).lower()
        assert field in SETTINGS[prefix].model_fields
    for settings in SETTINGS.values():
        settings()


@OUR
def test_its_command_exists(name: str) -> None:
    words = [filled(word) for word in SERVICES[name]["command"]]
    assert 'ENTRYPOINT ["anymodal"]' in DOCKERFILE
    command = anymodal.get_command(click.Context(anymodal), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])


def test_secrets_are_files_that_the_script_makes(tmp_path: Path) -> None:
    folder = tmp_path / "compose"
    copytree(COMPOSE, folder, ignore=lambda *_: {"secrets"})

    def made() -> dict[str, str]:
        subprocess.run([folder / "secrets.sh"], check=True)
        return {path.name: path.read_text().strip() for path in (folder / "secrets").iterdir()}

    first = made()
    assert made() == first
    user, milvus_password = first["anymodal_store_login"].split(":")
    assert yaml.safe_load(first["milvus_user"])["common"]["security"] == {
        "authorizationEnabled": True,
        "defaultRootPassword": milvus_password,
    }
    assert (user, len(milvus_password) >= 32) == ("root", True)
    files = {str(secret["file"]) for secret in STACK["secrets"].values()}
    assert files == {f"./secrets/{name}" for name in first}
    word, password = first["redis_auth"].split()
    assert word == "requirepass"
    assert first["anymodal_broker"] == f"redis://:{password}@redis:6379/0"
    assert len(password) >= 32
    assert (folder / "secrets").stat().st_mode & 0o077 == 0


def test_who_logs_in_to_milvus_and_redis_has_the_passwords_from_files() -> None:
    for service in OURS.values():
        assert set(service["secrets"]) == {"anymodal_broker", "anymodal_store_login"}
    (user,) = SERVICES["milvus"]["secrets"]
    assert user == {"source": "milvus_user", "target": "/milvus/configs/user.yaml"}
    for service in SERVICES.values():
        for key in service.get("environment", {}):
            assert key.endswith("__FILE") or not re.search("PASSWORD|SECRET|TOKEN|BROKER", key)


def test_the_example_of_variables_is_complete_and_shows_the_defaults() -> None:
    used = dict(VARIABLE.findall((COMPOSE / "compose.yaml").read_text()))
    lines = (COMPOSE / ".env.example").read_text().splitlines()
    told = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert told == used


(KUBERNETES,) = (
    o["data"] for o in OBJECTS if o["kind"] == "ConfigMap" and o["metadata"]["name"] == "anymodal"
)
ADDED: dict[str, Any] = yaml.load((COMPOSE / "compose.proxy.yaml").read_text(), Loader)["services"]


def test_the_proxy_may_do_nothing_that_it_need_not() -> None:
    proxy = ADDED["proxy"]
    for key in ("restart", "read_only", "tmpfs", "cap_drop", "security_opt", "logging"):
        assert proxy[key] == SERVICES["redis"][key], key
    assert proxy["user"] not in ("root", "0")
    assert size_bytes(proxy["deploy"]["resources"]["limits"]["memory"]) > 0
    assert proxy["depends_on"] == {"api": {"condition": "service_healthy"}}


@pytest.mark.parametrize("settings", [ADDED["api"]["environment"], KUBERNETES])
def test_the_api_knows_the_proxy(settings: dict[str, str]) -> None:
    """Otherwise all of its clients would share the limits of one address."""
    proxies = json.loads(settings["ANYMODAL_API__PROXIES"])
    networks = ApiConfig.model_validate({"proxies": proxies}).proxies
    for inside in ("10.1.2.3", "172.20.0.3", "192.168.16.5"):
        assert any(ip_address(inside) in network for network in networks)


def test_the_proxy_caps_its_clients() -> None:
    conf = (COMPOSE / "proxy" / "nginx.conf").read_text()
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in conf
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in conf
    assert re.search(r"limit_conn addresses \d+;", conf)
    for timeout in ("client_header_timeout", "client_body_timeout", "send_timeout"):
        assert re.search(rf"{timeout} \d+s;", conf)
    (kept,) = re.findall(r"keepalive_timeout (\d+)s;", conf)
    assert int(kept) < ApiConfig().keep_alive_s


SCRIPT = COMPOSE / "health.sh"


class Answers(BaseHTTPRequestHandler):
    """Answers with the server's status."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class Patient:
    """A process with a unique name, and its health check."""

    def __init__(self, folder: Path, url: str) -> None:
        self.name = f"m{uuid.uuid4().hex[:12]}"  # the kernel keeps 15 characters
        self.folder = folder
        self.url = url
        program = folder / self.name
        shutil.copy(shutil.which("sleep") or "", program)
        self.process = subprocess.Popen([program, "600"])

    def check(self) -> int:
        ask = ["curl", "--fail", "--silent", "--max-time", "8", self.url]
        words = ["sh", SCRIPT, self.name, self.folder, *ask]
        return subprocess.run(words, check=False, capture_output=True).returncode


@pytest.fixture
def patient(tmp_path: Path) -> Iterator[Patient]:
    """A healthy one."""
    Answers.status = 200
    with answering(Answers) as server:
        patient = Patient(tmp_path, f"http://127.0.0.1:{server.server_port}/healthz")
        yield patient
    patient.process.kill()
    patient.process.wait()


def test_what_was_well_and_is_no_longer_is_ended_at_the_fifth_failure(patient: Patient) -> None:
    assert patient.check() == 0
    Answers.status = 500
    assert [patient.check() for _ in range(4)] == [1] * 4
    assert patient.process.poll() is None
    assert patient.check() == 1
    assert patient.process.wait(30) == -9


def test_failures_that_are_not_in_a_row_end_nothing(patient: Patient) -> None:
    for _ in range(3):
        Answers.status = 200
        assert patient.check() == 0
        Answers.status = 500
        assert [patient.check() for _ in range(4)] == [1] * 4
    assert patient.process.poll() is None


def test_what_begins_slowly_is_given_time(patient: Patient) -> None:
    Answers.status = 500
    assert [patient.check() for _ in range(29)] == [1] * 29
    assert patient.process.poll() is None
    assert patient.check() == 1
    assert patient.process.wait(30) == -9


@pytest.mark.parametrize("name", ["milvus", "redis"])
def test_compose_runs_it_where_an_end_is_followed_by_a_start(name: str) -> None:
    service = SERVICES[name]
    test = service["healthcheck"]["test"]
    words = test.split() if isinstance(test, str) else test[1:]  # after CMD
    shell, script, program, folder, *ask = words
    assert shell == "sh"
    assert f"./health.sh:{script}:ro" in service["volumes"]
    assert program == service["command"][0]
    assert ask
    assert folder in service["tmpfs"]  # empty at each start
    assert service["init"] is True  # the first process of a container ignores its own signals
    assert service["restart"] == "unless-stopped"
