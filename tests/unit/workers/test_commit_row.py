"""The commit row of a content, from its files."""

from __future__ import annotations

from dataclasses import replace

from encoder.types import TEXT
from ingest.sources.objects import VERSIONS, ObjectFacts, version_of
from ingest.types import Asset
from search.types import AssetRow
from workers.pipeline.commit_rows import Labels, commit_row


def asset(uri: str, modified: float, **facts: str) -> Asset:
    metadata = {"title": uri.strip("/"), "modified": modified, **facts}
    return Asset("id", uri, TEXT, "text/plain", 5, metadata)


def row(
    *copies: Asset,
    current: AssetRow | None = None,
    language: str = "",
    labels: Labels | None = None,
) -> AssetRow:
    found: Labels = {"language": language} if language else {}
    return commit_row(copies, current, n_segments=2, labels_found=found, labels=labels or {})


def test_a_new_content() -> None:
    made = row(asset("/a", 7.5), asset("/b", 6.5), language="en", labels={"tags": ["sea"]})
    assert (made.asset_id, made.n_segments, list(made.locations)) == ("id", 2, ["/a", "/b"])
    assert made.metadata == {"title": "a", "modified": 7.5, "language": "en", "tags": ["sea"]}


def test_the_latest_change_counts_in_any_order() -> None:
    first, second = asset("/a", 7.5), asset("/b", 9.0)
    for one, other in ((first, second), (second, first)):
        assert row(other, current=row(one)).metadata["modified"] == 9.0
    assert row(first, current=row(first)) == row(first)


def test_labels_replace_only_what_is_given() -> None:
    stored = row(asset("/a", 1.0), language="en", labels={"tags": ["old"], "year": 1999})
    again = row(asset("/a", 1.0), current=stored, labels={"tags": ["new"], "title": "Mine"})
    assert again.metadata == {
        "title": "Mine",
        "modified": 1.0,
        "language": "en",
        "tags": ["new"],
        "year": 1999,
    }
    assert row(asset("/a", 1.0), current=again) == again


def test_a_row_from_before_there_were_numbers() -> None:
    old = AssetRow("id", TEXT, "text/plain", 5, 2, ["/a"], {"title": "a", "duration_s": "2.000"})
    assert row(asset("/a", 3.0), current=old).metadata["modified"] == 3.0


def test_the_version_of_each_object_is_the_last_and_goes_with_its_location() -> None:
    def held(key: str, tag: str) -> Asset:
        facts = ObjectFacts(f"s3://b/{key}", 5, 1.0, tag)
        stored = asset(facts.url, 1.0)
        return replace(stored, metadata={**stored.metadata, VERSIONS: [facts.version]})

    def versions(made: AssetRow) -> list[str]:
        return list(made.metadata[VERSIONS])

    both = row(held("a", "1"), held("c", "1"))
    assert len(set(versions(both))) == 2
    later = row(held("a", "2"), current=both)
    assert len(versions(later)) == 2
    assert version_of(versions(later), "s3://b/a") == versions(row(held("a", "2")))[0]
    assert version_of(versions(later), "s3://b/c") == version_of(versions(both), "s3://b/c")
    moved = replace(later, locations=["s3://b/c"])
    assert len(versions(row(held("c", "1"), current=moved))) == 1
    assert VERSIONS not in row(asset("/a", 1.0)).metadata
