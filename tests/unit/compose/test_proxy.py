"""compose.proxy.yaml puts one more service in front, as confined as the others."""

from __future__ import annotations

from typing import Any

import yaml

from tests.unit.compose.files import COMPOSE, SERVICES, size_bytes


class Loader(yaml.SafeLoader):
    """Reads Compose's ``!reset`` as nothing."""


Loader.add_constructor("!reset", lambda *_: None)
ADDED: dict[str, Any] = yaml.load((COMPOSE / "compose.proxy.yaml").read_text(), Loader)["services"]


def test_the_proxy_takes_the_place_of_the_api() -> None:
    proxy = ADDED["proxy"]
    assert proxy["ports"] == SERVICES["api"]["ports"]
    assert proxy["networks"] == SERVICES["api"]["networks"]
    assert ADDED["api"]["networks"] == ["inside"]
    assert ADDED["api"]["ports"] is None


def test_the_proxy_may_do_nothing_that_it_need_not() -> None:
    proxy = ADDED["proxy"]
    for key in ("restart", "read_only", "tmpfs", "cap_drop", "security_opt", "logging"):
        assert proxy[key] == SERVICES["redis"][key], key
    assert proxy["user"] not in ("root", "0")
    assert size_bytes(proxy["deploy"]["resources"]["limits"]["memory"]) > 0
    assert proxy["depends_on"] == {"api": {"condition": "service_healthy"}}


def test_the_proxy_reads_what_is_mounted() -> None:
    (mount,) = ADDED["proxy"]["volumes"]
    source, target, mode = mount.split(":")
    assert mode == "ro"
    assert target in ADDED["proxy"]["command"]
    assert "server api:8080" in (COMPOSE / source).read_text()
