"""A server that speaks S3, in threads of this process (moto)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import S3Backend
from moto.server import ThreadedMotoServer

from ingest import IngestConfig

BUCKET = "photos"


class S3Server:
    """One bucket. Objects are put into it without requests, which cost 10 ms each."""

    def __init__(self, access_key: str = "key", secret_key: str = "secret-key") -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.access_key, self.secret_key = access_key, secret_key
        self.backend: S3Backend = get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
        self.backend.reset()
        self.backend.create_bucket(BUCKET, "us-east-1")

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def options(self) -> dict[str, object]:
        """The options of fsspec's file system."""
        return {"endpoint_url": self.url, "key": self.access_key, "secret": self.secret_key}

    @property
    def setting(self) -> str:
        """``ANYMODAL_INGEST__STORAGE_OPTIONS``."""
        return json.dumps({"s3": self.options})

    def config(self, **fields: object) -> IngestConfig:
        """Settings that reach it."""
        return IngestConfig(storage_options=self.setting, **fields)

    def put(self, **objects: str | bytes) -> None:
        """Write objects, as `put_all`."""
        self.put_all(objects)

    def put_all(self, objects: dict[str, str | bytes]) -> None:
        """Write objects by name."""
        for key, value in objects.items():
            data = value.encode() if isinstance(value, str) else value
            self.backend.put_object(BUCKET, key, data)

    def remove(self, key: str) -> None:
        """Remove an object."""
        self.backend.delete_object(BUCKET, key)

    def stop(self) -> None:
        """End it; connections are refused from then on."""
        with suppress(AttributeError):
            self._server.stop()


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run one."""
    server = S3Server()
    try:
        yield server
    finally:
        server.stop()
