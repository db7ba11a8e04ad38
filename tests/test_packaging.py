"""What is shipped: names, contents, and how cheap the first import is."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from time import sleep

import httpx2
import pytest

from scripts.try_wheel import new_user, try_wheel
from tests.support.milvus_server import free_port

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
def test_the_wheel_runs_the_demo_in_an_empty_environment(tmp_path: Path) -> None:
    """The demo fails if a query misses what it should find."""
    build = [UV, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path / "dist"), str(ROOT)]
    subprocess.run(build, check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    home = tmp_path / "home"
    anymodal = try_wheel(wheel, home, ["--constraint", str(ROOT / "tests/requirements.lock")])
    for words, name in (
        ("a hot drink in a cup", "coffee.png"),
        ("how do bees make honey?", "bees.pdf"),
        ("When does the train to London leave?", "speech-train.wav"),
    ):
        search = [anymodal, "search", "--store", ".demo/store", "--json", words]
        ran = subprocess.run(search, cwd=home, env=new_user(), capture_output=True, check=True)
        assert Path(json.loads(ran.stdout)["hits"][0]["uri"]).name == name


@contextmanager
def package_index(folder: Path) -> Iterator[str]:
    """The address of an index of packages whose files lie in ``folder``."""
    address = f"127.0.0.1:{free_port()}"
    host, port = address.split(":")
    command = [UV, "tool", "run", "--quiet", "--from", "pypiserver==2.4.2", "pypi-server", "run"]
    options = ["--interface", host, "--port", port, "--authenticate", ".", "--passwords", "."]
    with subprocess.Popen([*command, *options, "--disable-fallback", str(folder)]) as server:
        try:
            while True:
                try:
                    httpx2.get(f"http://{address}/simple/")
                    break
                except httpx2.TransportError:
                    assert server.poll() is None
                    sleep(0.1)
            yield f"http://{address}"
        finally:
            server.terminate()


@pytest.mark.slow
def test_a_release_is_clean_new_uploaded_and_tagged(tmp_path: Path) -> None:
    """Of a small project with our names, since the index only looks at those."""
    clone, files = tmp_path / "clone", tmp_path / "files"
    clone.mkdir()
    files.mkdir()
    project = '[project]\nname = "anymodal"\nversion = "3.2.1"\n'
    (clone / "pyproject.toml").write_text(project)
    (clone / "anymodal.py").touch()
    (clone / ".gitignore").write_text("dist\n*.egg-info\nbuild\n")

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        ran = subprocess.run(["git", *who, *words], cwd=clone, capture_output=True, check=True)
        return ran.stdout.decode()

    def commit() -> None:
        git("add", ".")
        git("commit", "--message", "Release")

    with package_index(files) as address:
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "UV_PUBLISH_URL": f"{address}/",
            "UV_PUBLISH_CHECK_URL": f"{address}/simple/",
            "UV_PUBLISH_USERNAME": "anyone",
            "UV_PUBLISH_PASSWORD": "any",
            "GIT_COMMITTER_NAME": "a",
            "GIT_COMMITTER_EMAIL": "a@b",
        }

        def release(step: str) -> str:
            ran = subprocess.run(
                [sys.executable, "-m", "scripts.release", step],
                cwd=clone, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            return "" if ran.returncode == 0 else ran.stderr

        git("init", "--quiet")
        assert "pyproject.toml" in release("ready")  # not committed
        commit()
        assert release("ready") == ""
        subprocess.run([UV, "build", "--quiet"], cwd=clone, check=True)
        (clone / "dist" / "anymodal-3.2.0-py3-none-any.whl").touch()  # of an earlier build
        assert release("publish") == ""
        assert {file.name for file in files.iterdir()} == {
            "anymodal-3.2.1-py3-none-any.whl",
            "anymodal-3.2.1.tar.gz",
        }
        assert git("tag").split() == ["v3.2.1"]
        assert "v3.2.1" in release("publish")  # the tag
        git("tag", "--delete", "v3.2.1")
        assert address in release("ready")  # the index
        (clone / "pyproject.toml").write_text(project.replace("3.2.1", "3.2.2"))
        commit()
        assert release("ready") == ""


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
