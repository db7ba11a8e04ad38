"""Milvus with the password of the stack's own secret files."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pymilvus import MilvusClient

from search.errors import StoreError, StoreUnavailableError
from search.store.open import open_store
from tests.support.compose_files import COMPOSE
from tests.support.milvus_server import MilvusServer
from workers.config import Settings

SPACE = "0123456789abcdef"

pytestmark = pytest.mark.milvus


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What secrets.sh makes."""
    folder = tmp_path_factory.mktemp("compose")
    shutil.copy(COMPOSE / "secrets.sh", folder)
    subprocess.run([folder / "secrets.sh"], check=True)
    return folder / "secrets"


@pytest.fixture(scope="module")
def address(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that requires the login; its URL without one.

    Milvus 2.3 takes no initial password from its settings, so it is changed once it runs.
    """
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    file = server.folder / "configs" / "milvus.yaml"
    settings = yaml.safe_load(file.read_text())
    wanted = yaml.safe_load((secrets / "milvus_user").read_text())["common"]["security"]
    settings["common"]["security"] |= {"authorizationEnabled": wanted["authorizationEnabled"]}
    file.write_text(yaml.safe_dump(settings))
    address = server.uri
    server.uri = address.replace("//", "//root:Milvus@")
    with server:
        client = MilvusClient(server.uri)
        client.update_password("root", "Milvus", wanted["defaultRootPassword"])
        client.close()
        yield address


def test_a_process_logs_in_by_its_secret_file(
    address: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_SECRETS", str(secrets))
    monkeypatch.setenv("ANYMODAL_STORE", address)
    store = open_store(Settings().store, SPACE, 8)
    assert store.count() == 0
    store.close()


@pytest.mark.parametrize("login", ["", "root:Milvus@", "root:wrong-password@"])
def test_nobody_gets_in_without_it(address: str, login: str) -> None:
    with pytest.raises(StoreError, match="login") as refused:
        open_store(address.replace("//", f"//{login}"), SPACE, 8, connect_timeout_s=5)
    assert not isinstance(refused.value, StoreUnavailableError)
    assert "wrong-password" not in str(refused.value)
