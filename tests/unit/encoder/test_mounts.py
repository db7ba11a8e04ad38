"""Which disk a path lies on."""

from pathlib import Path

import pytest

from encoder.system import mounts
from search.errors import StoreError
from search.store.open import open_store

TABLE = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / {folder}/nas rw,relatime shared:9 - nfs4 server:/export rw,vers=4.2
31 30 0:41 / {folder}/nas/local\\040disk rw - ext4 /dev/sdb1 rw
32 22 0:42 / {folder}/cloud rw,nosuid - fuse.sshfs me@host: rw
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE.format(folder=tmp_path))
    monkeypatch.setattr(mounts, "_MOUNTS", table)
    return tmp_path


def test_the_innermost_mount_decides(folder: Path) -> None:
    assert mounts.network_filesystem(folder / "nas" / "photos") == "nfs4"
    assert mounts.network_filesystem(folder / "nas" / "local disk" / "photos") == ""
    assert mounts.network_filesystem(folder / "cloud") == "fuse.sshfs"
    assert mounts.network_filesystem(folder / "nasty") == ""
    assert str(folder / "nas" / "local disk") in mounts.mount_points()


def test_a_store_on_a_network_disk_is_refused_by_name(folder: Path) -> None:
    (folder / "nas").mkdir()
    with pytest.raises(StoreError, match=r"on a network disk \(nfs4\).*a Milvus server"):
        open_store(str(folder / "nas" / "store"), "0123456789abcdef", 4)
    assert not (folder / "nas" / "store").exists()
