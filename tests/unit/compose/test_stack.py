"""What an operator may rely on in compose.yaml, without a container."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from shutil import copytree

import click
import pytest
import yaml
from pydantic_settings import BaseSettings

from encoder.config import EncoderConfig
from ingest.config import IngestConfig
from search.api.config import ApiConfig
from tests.support.compose_files import (
    COMPOSE,
    DOCKERFILE,
    OURS,
    SERVICES,
    STACK,
    VARIABLE,
    filled,
    seconds,
    size_bytes,
)
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


SETTINGS: dict[str, type[BaseSettings]] = {
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
