"""The Model Context Protocol's own conformance suite, against `anymodal mcp` over HTTP."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.integration.test_serve import ANYMODAL, serving

ROOT = Path(__file__).parents[2]
SUITE = ROOT / ".npm/node_modules/@modelcontextprotocol/conformance/dist/index.js"
EXPECTED = Path(__file__).with_name("mcp_expected_failures.yaml")


def suite(folder: Path, expected: Path) -> subprocess.CompletedProcess[str]:
    """Of a new server each time, since nobody reads what one logs."""
    with serving(folder, command=(ANYMODAL, "mcp", "--http")) as (_, server):
        url = str(server.base_url).rstrip("/")
        command = ["node", SUITE, "server", "--url", url, "--expected-failures", expected]
        return subprocess.run(command, text=True, timeout=240, check=False)


@pytest.mark.node
@pytest.mark.timeout(600)  # 4 s on an idle machine
@pytest.mark.usefixtures("bundle_home")
def test_the_suite_finds_what_is_expected_and_nothing_else(tmp_path: Path) -> None:
    assert SUITE.exists(), "`make test-mcp` installs it"
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(EXPECTED.read_text().replace("  - logging-set-level\n", "  - ping\n"))
    assert suite(tmp_path, EXPECTED).returncode == 0
    assert suite(tmp_path, wrong).returncode != 0
