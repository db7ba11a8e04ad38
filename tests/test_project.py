"""What a project has besides code: workflows, forms, citation, releases."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.github-issue-config": [GITHUB / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.github-issue-forms": [
        GITHUB / "ISSUE_TEMPLATE" / name for name in ("bug.yml", "feature.yml")
    ],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_are_what_their_readers_expect(schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    ran = subprocess.run(
        [*command, *map(str, SCHEMAS[schema])], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_the_makefile(path: Path) -> None:
    jobs = yaml.safe_load(path.read_text())["jobs"].values()
    script = "\n".join(step.get("run", "") for job in jobs for step in job["steps"])
    called = set(re.findall(r"^make ([\w-]+)", script, re.MULTILINE))
    assert called <= TARGETS
    assert not re.search(r"^\s*(pytest|ruff|mypy|python\d? -m) ", script, re.MULTILINE)


def test_one_version_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = re.findall(
        r"^## \[(\d[\w.]*)\] - (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    latest, date = released[0]
    assert project["version"] == citation["version"] == latest
    assert citation["date-released"] == date


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    ("folders", "forbidden"),
    [
        (("tests",), {"benchmarks"}),
        (("scripts",), {"benchmarks", "tests"}),
        (("benchmarks",), {"scripts", "tests"}),
        (("encoder", "ingest", "search", "workers"), {"benchmarks", "scripts", "tests"}),
    ],
    ids=["tests", "scripts", "benchmarks", "product"],
)
def test_what_is_beside_the_product_imports_downwards(
    folders: tuple[str, ...], forbidden: set[str]
) -> None:
    """Tests may read scripts; benchmarks stand alone."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert files
    assert [path for path in files if imported(path) & forbidden] == []


def test_what_the_demo_and_the_tests_install_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*project["project"]["dependencies"], *project["dependency-groups"]["test"]]
    lines = (ROOT / "tests" / "requirements.lock").read_text().splitlines()
    pins = list(map(Requirement, lines))
    pinned = {canonicalize_name(pin.name): pin for pin in pins}
    assert len(pinned) == len(pins), (
        "one version for every Python: what was tested on one runs on all"
    )
    assert not {"torch", "torchvision"} & pinned.keys(), "some machines have builds of their own"
    for requirement in map(Requirement, asked):
        if requirement.name != "anymodal":
            pin = pinned.get(canonicalize_name(requirement.name))
            assert pin, f"{requirement.name} is not pinned: make test-lock"
            version = str(pin.specifier).removeprefix("==")
            assert version in requirement.specifier, f"{requirement}: {pin}: make test-lock"


def test_make_reads_all_tests_of_the_genuine_server() -> None:
    """Files are found by the mark; a room whose conftest sets it is named."""
    named = re.findall(r"^OF_MILVUS := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    marking = [
        path.parent.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("conftest.py")
        if "mark.milvus" in path.read_text()
    ]
    assert marking == named
