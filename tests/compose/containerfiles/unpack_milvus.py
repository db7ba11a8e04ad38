"""Unpacks the wheel of Milvus inside the image: ``unpack_milvus.py DATA_FOLDER TO``."""

from __future__ import annotations

import lzma
import re
import sys
from pathlib import Path

FOLDERS = {
    "etcd_data_dir": "/var/lib/milvus/etcd",
    "local_storage_dir": "/var/lib/milvus/data",
    "rocksmq_data_dir": "/var/lib/milvus/rdb_data",
    "system_log_path": '""',  # logs go to its output only
}
FIELD = re.compile(r"\{\{\s*(\w+)(?:\(\w+\))?(?::\s*(.*?))?\s*\}\}")


def settings(template: str) -> str:
    """The wheel's template with the folders of the official image, and its defaults."""
    return FIELD.sub(lambda found: FOLDERS.get(found[1], found[2] or ""), template)


def write_settings(data: Path, to: Path) -> None:
    """Write ``TO/configs``."""
    (to / "configs").mkdir()
    template = (data / "config.yaml.template").read_text()
    (to / "configs" / "milvus.yaml").write_text(settings(template))
    (to / "configs" / "glog.conf").write_bytes((data / "glog.conf").read_bytes())


def main() -> None:
    """Programs to ``TO/bin``, settings to ``TO/configs``."""
    data, to = map(Path, sys.argv[1:])
    (to / "bin").mkdir(parents=True)
    for packed in data.glob("bin/*.lzma"):
        file = to / "bin" / packed.stem
        file.write_bytes(lzma.decompress(packed.read_bytes()))
        file.chmod(0o755)
    write_settings(data, to)


if __name__ == "__main__":
    main()
