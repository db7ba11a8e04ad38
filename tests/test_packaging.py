"""What is shipped: names, contents, and how cheap the first import is."""

import subprocess
import sys
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


@pytest.mark.parametrize("module", ["encoder", "ingest", "search", "workers", "workers.cli"])
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
        assert "anymodal = workers.cli:main" in archive.read(entry_points).decode()
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
    assert "encoder/models/LICENSES.md" in names
    assert {"search/web/index.html", "search/web/js/main.js"} <= set(names)
    assert any(name.startswith("encoder/models/sources/bundle/tables/") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {*PACKAGES, "anymodal"}


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
