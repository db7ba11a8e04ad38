"""The Model Context Protocol's own conformance suite, against `anymodal mcp` over HTTP."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_mcp import http_server

ROOT = Path(__file__).parents[2]
SUITE = ROOT / ".npm/node_modules/@modelcontextprotocol/conformance/dist/index.js"
EXPECTED = Path(__file__).with_name("mcp_expected_failures.yaml")


def suite(url: str, expected: Path) -> subprocess.CompletedProcess[str]:
    command = ["node", SUITE, "server", "--url", url, "--expected-failures", expected]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.node
@pytest.mark.timeout(600)  # 4 s on an idle machine
@pytest.mark.usefixtures("bundle_home")
def test_the_suite_finds_what_is_expected_and_nothing_else(tmp_path: Path) -> None:
    assert SUITE.exists(), "`make test-mcp` installs it"
    environment = {**os.environ, "ANYMODAL_DATA": str(tmp_path / "data")}
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(EXPECTED.read_text().replace("  - logging-set-level\n", "  - ping\n"))
    with http_server(environment) as url:
        found = suite(url, EXPECTED)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]
    with http_server(environment) as url:  # a new one, since nobody reads what the first one logs
        assert suite(url, wrong).returncode != 0
