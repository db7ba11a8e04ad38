"""compose.proxy.yaml puts one more service in front, as confined as the others."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from typing import Any

import pytest
import yaml

from search.api.config import ApiConfig
from tests.support.compose_files import COMPOSE, SERVICES, Loader, size_bytes
from tests.unit.compose.test_kubernetes import OBJECTS

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
