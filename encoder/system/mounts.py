"""What Linux says of the disks of this process."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MOUNTS = Path("/proc/self/mountinfo")
_POINT = 4
_NETWORK = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4"}
    | {"ocfs2", "smb2", "smb3", "smbfs"}
    | {"fuse.ceph-fuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs"}
)


class Mount(NamedTuple):
    """A mount point and the type of its file system."""

    point: str
    filesystem: str


def mounts() -> Iterator[Mount]:
    """The mounts of this process, in the order in which they were made.

    None where the system does not list them.
    """
    try:
        lines = os.fsdecode(_MOUNTS.read_bytes()).splitlines()
    except OSError:
        return
    for line in lines:
        fields, _, source = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields.split(" ")[_POINT])
        yield Mount(point, source.split(" ")[0])


def mount_points() -> set[str]:
    return {mount.point for mount in mounts()}


def network_filesystem(path: Path) -> str:
    """The type of the network file system on which a path lies; empty for a local one."""
    real = os.path.realpath(path)
    mount = Mount("/", "")
    for candidate in mounts():
        point = candidate.point.rstrip("/")
        if f"{real}/".startswith(f"{point}/") and len(point) >= len(mount.point.rstrip("/")):
            mount = candidate
    return mount.filesystem if mount.filesystem in _NETWORK else ""
