"""Encode files where they lie, with Ray Data or Daft, and bring the embeddings to one store.

    pip install -e '.[parquet]' "ray[data]" daft
    python -m examples.cluster ray ~/Pictures exports
    for folder in exports/*; do anymodal store import "$folder" --store ./library; done

Each batch of paths becomes an export: Parquet with checksums, which any store of the same model
takes. A task that is repeated after a failure writes the same assets, and an import skips what is
stored. Paths must mean the same on every machine, as on a shared disk.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

FILES_AT_ONCE = 200


class Ingest:
    """One model in memory, in each worker of the cluster."""

    def __init__(self, exports: str) -> None:
        from encoder import MultiModalEncoder

        self.encoder, self.exports = MultiModalEncoder(), Path(exports)

    def __call__(self, paths: Sequence[str]) -> tuple[str, int, list[str]]:
        """The folder of an export, how many files it holds, and why others are not in it."""
        from search import open_store
        from workers.library.portable import Manifest, export_store
        from workers.pipeline import IngestPipeline

        space = self.encoder.space
        store = open_store("memory:", space.fingerprint, space.embed_dim)
        report = IngestPipeline(self.encoder, store).run([*map(str, paths)])
        folder = self.exports / uuid.uuid4().hex
        export_store(store, folder, Manifest.of(self.encoder), lambda _done, _all: None)
        reasons = [f"{failure.uri}: {failure.reason}" for failure in report.failures]
        return str(folder), report.ingested, reasons


def with_ray(paths: Sequence[str], exports: str) -> list[Mapping[str, Any]]:
    """By an actor for each two processors."""
    import ray.data

    class Batch(Ingest):
        def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:  # type: ignore[override]
            folder, n_files, failures = super().__call__(batch["item"])
            return {"export": [folder], "files": [n_files], "failures": ["\n".join(failures)]}

    batches = ray.data.from_items(list(paths)).map_batches(
        Batch,
        batch_size=FILES_AT_ONCE,
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=64),
        fn_constructor_args=(exports,),
        num_cpus=2,
    )
    return list(batches.take_all())


def with_daft(paths: Sequence[str], exports: str) -> list[Mapping[str, Any]]:
    """In this process, or where Daft's runner is."""
    import daft

    text = daft.DataType.string()
    row = daft.DataType.struct({"export": text, "files": daft.DataType.int64(), "failures": text})

    @daft.cls(max_concurrency=1)
    class Batch:
        def __init__(self) -> None:
            self.ingest = Ingest(exports)

        @daft.method.batch(return_dtype=row, batch_size=FILES_AT_ONCE)
        def run(self, batch: Any) -> list[Mapping[str, Any]]:
            asked = batch.to_pylist()
            folder, n_files, failures = self.ingest(asked)
            whole = {"export": folder, "files": n_files, "failures": "\n".join(failures)}
            return [whole, *({"export": "", "files": 0, "failures": ""} for _ in asked[1:])]

    answers = daft.from_pydict({"path": list(paths)}).select(
        Batch().run(daft.col("path")).alias("row")
    )
    return [one["row"] for one in answers.to_pylist() if one["row"]["export"]]


ENGINES: Mapping[str, Callable[[Sequence[str], str], list[Mapping[str, Any]]]] = {
    "ray": with_ray,
    "daft": with_daft,
}


def main(engine: str, files: str, exports: str) -> None:
    """Print each export, and what was set aside."""
    paths = sorted(str(path) for path in Path(files).resolve().rglob("*") if path.is_file())
    for answer in ENGINES[engine](paths, str(Path(exports).resolve())):
        sys.stdout.write(f"{answer['files']} files in {answer['export']}\n")
        if answer["failures"]:
            sys.stderr.write(f"{answer['failures']}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
