"""What is reported about a disk that takes no more data."""

import errno
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from encoder.errors import DiskError
from encoder.system.disk import check_room, disk_error, disk_error_in, temporary_folder, writing


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
