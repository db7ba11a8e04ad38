"""Settings are read where a process begins and handed down; they are passed on in no other way."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from encoder.system import children, environment
from encoder.system.environment import begin
from scripts.settings_table import page
from tests.support.milvus_server import free_port
from workers.config import Settings, current_settings

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("encoder", "ingest", "search", "workers")
PRODUCT = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]


def users_of(words: str) -> set[str]:
    return {str(p.relative_to(ROOT)) for p in PRODUCT if re.search(words, p.read_text())}


def test_one_file_reads_and_writes_the_environment() -> None:
    assert users_of(r"\benvironb?\b|\b(get|put|unset)env\b") == {"encoder/system/environment.py"}


def test_only_variables_of_libraries_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment.LIBRARIES:
        monkeypatch.setenv(name, "")
        environment.set_for_library(name, "1")
        assert environment.variable(name) == "1"
    environment.set_for_library("GRPC_VERBOSITY", "2")
    assert environment.variable("GRPC_VERBOSITY") == "1"
    with pytest.raises(KeyError, match="ANYMODAL_STORE is not a variable of a library"):
        environment.set_for_library("ANYMODAL_STORE", "x")


def test_options_go_before_variables_for_the_life_of_a_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANYMODAL_STORE", "/of/the/variable")
    monkeypatch.setenv("ANYMODAL_ENCODER__MODEL", "bundle:multilingual")
    monkeypatch.setenv("ANYMODAL_API__PORT", "9000")
    begin({"ANYMODAL_ENCODER__MODEL": "bundle:english", "ANYMODAL_API__PORT": "9001"})
    settings = current_settings()
    assert settings.store == "/of/the/variable"
    assert settings.encoder.model == "bundle:english"
    assert settings.api.port == 9001
    monkeypatch.setenv("ANYMODAL_STORE", "/another")
    assert current_settings() is settings
    with pytest.raises(ValueError, match="frozen"):
        settings.store = "x"  # type: ignore[misc]


def test_a_child_reads_the_same_settings(tmp_path: Path) -> None:
    begin(
        {
            "ANYMODAL_STORE": str(tmp_path / "stored"),
            "ANYMODAL_BROKER": "redis://host:6379/0",
            "ANYMODAL_ENCODER__MODEL": "bundle:multilingual",
            "ANYMODAL_INGEST__URL_HOSTS": '["example.org"]',
            "ANYMODAL_METRICS_PORT": "9100",
        }
    )
    secret = "{'ingest': {'storage_options'}}"  # written as asterisks
    program = (
        "from workers.config import current_settings as settings\n"
        f"print(settings().model_dump_json(exclude={secret}))"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        env=children.environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    assert Settings.model_validate_json(told.stdout) == current_settings()


PAGE = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def rows(text: str) -> list[tuple[str, str]]:
    """Each variable and its default; their descriptions may be edited apart."""
    cells = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return [(first, last) for first, *_, last in cells]


def test_the_page_has_every_setting_and_its_default() -> None:
    wanted = rows(page())
    assert len(wanted) > 50
    assert rows(PAGE.read_text()) == wanted, "python -m scripts.settings_table > docs/settings.md"


def test_no_port_is_given_out_twice() -> None:
    ports = [free_port() for _ in range(1000)]
    assert len(set(ports)) == len(ports)


def test_two_processes_are_not_given_the_same_port() -> None:
    """Of 15,000 ports, two times 1,500 would have some in common."""
    code = (
        "from tests.support.milvus_server import free_port as f; print({f() for _ in range(1500)})"
    )
    ours = {free_port() for _ in range(1500)}
    theirs = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT)
    assert not ours & {int(port) for port in theirs.strip("{}\n").split(",")}
