"""URLs through a whole job; the server is on the loopback, which only this test allows."""

from pathlib import Path

from encoder import MultiModalEncoder
from ingest import IngestConfig
from search.store.memory import MemoryStore
from tests.support.http_server import files_at
from workers.pipeline.ingest_job import IngestJob


def test_a_url_is_stored_under_its_own_name(bundle_home: Path, tmp_path: Path) -> None:
    assert bundle_home.is_dir()
    (tmp_path / "ferry.txt").write_text("The ferry leaves at nine.")
    encoder = MultiModalEncoder(quantization=None, enable_dsre=False)
    store = MemoryStore(encoder.embed_dim)
    config = IngestConfig(url_hosts=("127.0.0.1",), url_networks=("127.0.0.1/32",))
    with files_at(tmp_path) as base:
        urls = [f"{base}/ferry.txt", f"{base}/none.txt", "http://elsewhere.example/a.txt"]
        report = IngestJob(encoder, store, config).run(urls)
    (row,) = store.scan()
    assert (list(row.locations), row.metadata["title"]) == ([urls[0]], "ferry")
    assert [failure.uri for failure in report.failures] == urls[1:]
    assert "404" in report.failures[0].reason
    assert "elsewhere.example is not allowed" in report.failures[1].reason
