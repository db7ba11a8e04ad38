"""Spaces, settings, extras, disks and folders of the encoder."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import encoder
from encoder.config import EncoderConfig
from encoder.errors import DiskError, MissingExtraError, ModelError
from encoder.models.hub import open_joint
from encoder.prepare.bundle.networks import load_network
from encoder.prepare.quantized_tower import quantize_tower
from encoder.quant.report import SensitivityReport
from encoder.runtime.openvino import OpenVinoSession
from encoder.space import Calibration, Centring, Space, l2_normalize
from encoder.system import children, extras
from encoder.system.disk import check_room, disk_error, disk_error_in, temporary_folder, writing
from encoder.types import AUDIO, IMAGE, TEXT


def test_calibration_makes_cosines_comparable() -> None:
    space = Space(4, {"model": "m"}, {IMAGE: Calibration(mu=0.2, c=0.1)})
    cosines = np.array([0.2, 0.3])
    assert np.allclose(space.calibration_of(IMAGE).apply(cosines), [0.0, 1.0])
    assert np.array_equal(space.calibration_of(AUDIO).apply(cosines), cosines)


def test_the_fingerprint_follows_all_that_changes_a_vector() -> None:
    space = Space(4, {"model": "m", "quantization": "none"})
    assert space.fingerprint == Space(4, {"quantization": "none", "model": "m"}).fingerprint
    assert space.fingerprint != Space(8, {"model": "m", "quantization": "none"}).fingerprint
    assert space.fingerprint != Space(4, {"model": "m", "quantization": "int8"}).fingerprint
    calibrated = Space(4, space.identity, {IMAGE: Calibration(0.1, 0.2)})
    assert space.fingerprint == calibrated.fingerprint


def test_a_query_is_centred_if_the_constants_of_texts_ask_for_it() -> None:
    deviations = np.array([[0, 1, -1, 0], [0, -1, 1, 0]], np.float32) / 4
    common = np.array([1.25, 0, 0, 0], np.float32)
    query = l2_normalize(np.array([[3.0, 1.0, 0.0, 2.0]]))
    space = Space(4, {"model": "m"}, centring=Centring(deviations, 2 * deviations, common))
    assert space.asked(query, 0.5) == (query, [0.5])
    space = replace(space, calibration={TEXT: Calibration(share=0.5)})
    asked, levels = space.asked(query)
    assert np.allclose(space.asked(query[0])[0], asked[0])
    assert np.allclose(asked, query - 0.5 * sum((query @ d)[:, None] * 2 * d for d in deviations))
    assert np.allclose(levels, 1 + 0.5 * (1.25 * query[:, 0] - 1))
    assert replace(space, centring=None).asked(query)[0] is query
    assert space.fingerprint == Space(4, {"model": "m"}).fingerprint


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("quantization", "auto", "auto"),
        ("quantization", "none", None),
        ("quantization", "", None),
        ("quantization", "/a/folder", "/a/folder"),
        ("n_threads", "3", 3),
        ("enable_dsre", "True", True),
        ("enable_dsre", "false", False),
        ("enable_dsre", "none", False),
        ("enable_dsre", "auto", "auto"),
        ("enable_dsre", "a.npz", "a.npz"),
    ],
)
def test_settings_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, field: str, value: str, wanted: object
) -> None:
    monkeypatch.setenv(f"ANYMODAL_ENCODER__{field.upper()}", value)
    config = EncoderConfig()
    assert getattr(config, field) == wanted
    assert field in config.model_fields_set
    assert EncoderConfig(enable_dsre=True).enable_dsre is True


ROOT = Path(__file__).parents[3]
HERE = Path("here")
APART = {"all", "azure", "gcs", "sftp"}
"""Not part of `all`: clouds that few use, and a library under the LGPL."""
NEEDS: dict[str, tuple[str, Callable[[], object]]] = {
    "Quantizer": ("torch", lambda: encoder.Quantizer),
    "network": ("torch", lambda: load_network("bundle:english", "text")),
    "quantize": ("torch", lambda: quantize_tower("bundle:english", "text", HERE)),
    "hub": ("hub,torch", lambda: open_joint("org/name", None, None)),
    "openvino": ("openvino", lambda: OpenVinoSession(HERE)),
    "plot": ("plot", lambda: SensitivityReport((), "kl", 1, 1).plot(HERE)),
}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda _: False)


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", NEEDS)
def test_what_needs_an_extra_names_it(name: str) -> None:
    extra, use = NEEDS[name]
    with pytest.raises(MissingExtraError) as caught:
        use()
    assert str(caught.value).endswith(extras.install_command(extra))


def test_every_extra_that_is_named_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = project["optional-dependencies"]
    for module, extra in extras._EXTRAS.items():
        assert any(one.replace("-", "_").startswith(module) for one in asked[extra]), module
    assert set(asked["all"][0].removeprefix("anymodal[")[:-1].split(",")) == asked.keys() - APART


def test_the_error_crosses_processes() -> None:
    error = MissingExtraError("A test", ["torch"], "pip install 'anymodal[torch]'")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.modules) == (str(error), ("torch",))
    assert isinstance(error, ModelError)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_what_the_system_says_becomes_place_reason_and_remedy(number: int) -> None:
    with pytest.raises(DiskError) as caught, writing("/data"):
        raise OSError(number, os.strerror(number))
    assert caught.value.problem == f"/data cannot be written: {os.strerror(number)}."
    assert caught.value.remedy
    assert not caught.value.retryable


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(FileNotFoundError), writing("/data"):
        raise FileNotFoundError(errno.ENOENT, "No such file")
    assert disk_error(ValueError("x"), "/data") is None
    assert disk_error_in("[Errno 2] No such file or directory", "/data") is None
    assert disk_error_in("collection not found", "/data") is None


def test_the_cause_of_an_error_is_looked_at() -> None:
    error = RuntimeError("it failed")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(disk_error(error, "/data"), DiskError)


def test_what_a_server_says_of_its_disk_is_known() -> None:
    for text in ("[Errno 28] No space left on device", "write x: no space left on device"):
        assert isinstance(disk_error_in(text, "/data"), DiskError)


def test_room_is_looked_for_where_the_folder_will_be(tmp_path: Path) -> None:
    check_room(tmp_path / "not" / "yet" / "there")
    with pytest.raises(DiskError, match=r"not cannot be written: .* MB of its disk are free"):
        check_room(tmp_path / "not", 2**60)


def as_nobody(action: Callable[[], None]) -> str:
    """What an action raises in a process of a user without privileges."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            action()
        except DiskError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as answer:
        return answer.read()


@pytest.mark.root
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_folder_of_another_user_is_refused() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:  # whose parents everyone may enter
        Path(name).chmod(0o755)
        said = as_nobody(lambda: check_room(Path(name) / "store"))
    assert f"{name}/store cannot be written: Permission denied. Let this user write there" in said


def test_a_machine_without_a_temporary_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(DiskError, match="cannot be written"), temporary_folder("anymodal-"):
        pass


CHECKOUT = Path(children.__file__).parents[2]


def test_no_entry_leads_to_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    kept = str(tmp_path / "installed")
    users = ["", ".", "relative", str(tmp_path), str(tmp_path / "link")]
    monkeypatch.setattr(sys, "path", [*users, kept])
    assert children.import_path() == kept
    assert children.environment()["PYTHONPATH"] == kept


def test_a_checkout_that_is_the_current_folder_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CHECKOUT)
    monkeypatch.setattr(sys, "path", ["", str(CHECKOUT)])
    assert children.import_path() == str(CHECKOUT)


def test_a_script_starts_children_that_do_not_see_its_folder(tmp_path: Path) -> None:
    (tmp_path / "struct.py").write_text("raise SystemExit('the script folder was imported')")
    script = tmp_path / "script.py"
    script.write_text(
        # the script itself sees its folder, so it takes what it needs beforehand
        "import sys; here = sys.path.pop(0)\n"
        "import subprocess; from encoder.system import children\n"
        "sys.path.insert(0, here)\n"
        "child = subprocess.run(children.python('struct'), env=children.environment())\n"
        "sys.exit(child.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=os.sep, capture_output=True, text=True, check=False
    )
    assert "imported" not in done.stderr
    assert done.returncode == 0, done.stderr
