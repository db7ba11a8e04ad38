"""What is shipped: names, contents, and how cheap the first import is."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = str(Path(sys.executable).with_name("uv"))
PACKAGES = ("encoder", "ingest", "search", "workers")
HEAVY = ("torch", "onnxruntime", "pymilvus", "av", "PIL", "librosa", "celery", "transformers")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_ships_our_generic_names(package: str) -> None:
    assert set(packages_distributions().get(package, ())) <= {"anymodal"}
    spec = find_spec(package)
    assert spec is not None
    assert Path(str(spec.origin)).parent == ROOT / package


@pytest.mark.parametrize("module", [*PACKAGES, "workers.cli", "anymodal"])
def test_imports_are_cheap(module: str) -> None:
    code = f"import {module}, sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['anymodal', '--help']\n"
        "from workers.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print(*sorted(set({(*HEAVY, 'rich')!r}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *_, heavy = ran.stdout.splitlines()
    assert "ingest" in ran.stdout
    assert heavy == ""


def test_the_wheel_holds_the_packages_their_data_and_the_licences(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*build, str(tmp_path), str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("anymodal-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        entry_points = next(name for name in names if name.endswith("entry_points.txt"))
        assert "anymodal = anymodal:main" in archive.read(entry_points).decode()
    tracked = subprocess.run(
        ["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(tracked) - {"workers/anymodal.py"} <= set(names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        *PACKAGES,
        "anymodal.py",
        "anymodal",
    }


def test_the_licences_name_every_table_that_is_shipped() -> None:
    named = (ROOT / "encoder" / "models" / "LICENSES.md").read_text()
    shipped = subprocess.run(
        ["git", "ls-files", "*.npz", "*.json", "*.tsv", "*.zip"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    ours = {Path(path) for path in shipped if path.split("/")[0] in PACKAGES}
    ours = {path for path in ours if "i18n" not in path.parts}  # our own words
    assert len(ours) >= 10
    unnamed = {p for p in ours if p.name not in named and f"`{p.parent.name}/`" not in named}
    assert unnamed == set()


def test_the_metadata_names_the_licences_of_the_tables() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "encoder/models/LICENSES.md" in project["license-files"]
    named = (ROOT / "encoder" / "models" / "LICENSES.md").read_text()
    for spdx, words in (
        ("CC-BY-4.0", "GeoNames (geonames.org, CC BY 4.0)"),
        ("Unicode-3.0", "(Unicode-3.0"),
        ("LicenseRef-WordNet-3.0", "WordNet 3.0"),
    ):
        assert spdx in project["license"].split(" AND ")
        assert words in named


def test_the_docs_install_what_there_is() -> None:
    """From a clone, until a release is on PyPI; extras, where anymodal is installed already."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]
    text = "\n".join(page.read_text() for page in pages if page.name != "CHANGELOG.md")
    assert re.findall(r"^(?:pip|uv pip) install anymodal\b(?!\[)", text, re.MULTILINE) == []
    extras = {
        name for names in re.findall(r"anymodal\[([\w,]+)\]", text) for name in names.split(",")
    }
    assert extras
    assert extras <= set(project["optional-dependencies"])


@pytest.mark.slow
def test_adapters_are_packages_without_our_code(tmp_path: Path) -> None:
    """`make test-adapters` runs them beside their frameworks."""
    sources = sorted((ROOT / "examples" / "adapters").glob("*/pyproject.toml"))
    for source in sources:
        build = [UV, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), str(source.parent)]
        subprocess.run(build, check=True)
    names = [set(zipfile.ZipFile(wheel).namelist()) for wheel in tmp_path.glob("*.whl")]
    held = {name.split("/")[0] for one in names for name in one if "dist-info" not in name}
    assert held == {"langchain_anymodal", "llama_index_anymodal"}


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """A folder of a user whose files have the names of our packages."""
    for name in PACKAGES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of the user')")
    return tmp_path


def run_in(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    environment["PYTHONPATH"] = os.pathsep  # two empty entries: the working folder
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command",
    [[str(Path(sys.executable).with_name("anymodal"))], [sys.executable, "-m", "anymodal"]],
    ids=["command", "module"],
)
def test_the_command_does_not_import_what_lies_in_the_working_folder(
    beside: Path, command: list[str]
) -> None:
    ran = run_in(beside, *command, "store", "stats", "--store", str(beside / "none"))
    assert ran.stderr.startswith("Error: There is no store"), ran.stderr + ran.stdout
    assert ran.returncode == 1


@pytest.mark.parametrize("name", PACKAGES)
def test_a_script_beside_a_file_of_our_name_gets_a_line(beside: Path, name: str) -> None:
    for other in set(PACKAGES) - {name}:
        (beside / f"{other}.py").unlink()
    script = beside / "script.py"
    script.write_text("import anymodal\n")
    *_, line = run_in(beside, sys.executable, str(script)).stderr.splitlines()
    assert f"{beside / name}.py" in line
    assert f"`{name}`" in line


def test_the_facade_offers_what_its_name_says(tmp_path: Path) -> None:
    code = (
        "import anymodal; print(anymodal.__version__, *(getattr(anymodal, name).__name__"
        " for name in anymodal.__all__ if name not in ('Quantizer', '__version__')))"
    )
    ran = run_in(tmp_path, sys.executable, "-c", code)
    version, *names = ran.stdout.split()
    assert version == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {"IngestPipeline", "MultiModalEncoder", "SearchEngine"} <= set(names)


REFUSED = """
import sys
sys.path.insert(0, {client!r})
sys.modules |= dict.fromkeys({packages!r})  # an import of them fails
from anymodal_client import Anymodal, AsyncAnymodal, HitOut, UnreachableError
try:
    Anymodal("http://127.0.0.1:9", retries=0).search("a bicycle")
except UnreachableError as error:
    print(error)
"""


def test_the_client_works_without_the_rest(tmp_path: Path) -> None:
    project = [sys.executable, "-m", "scripts.client_package", str(tmp_path)]
    subprocess.run(project, cwd=ROOT, check=True)
    code = REFUSED.format(client=str(tmp_path), packages=PACKAGES)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "127.0.0.1:9" in ran.stdout
    needed = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {re.split("[<>=]", name)[0] for name in needed} == {"httpx2", "numpy", "pydantic"}
