"""All that ``anymodal search`` can be asked for; the command runs in this process."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from encoder.errors import AnymodalError
from tests.integration.conftest import ANYMODAL, Run
from workers.cli import anymodal as command

Ask = Callable[..., Any]


@pytest.fixture
def ask(here: Run, media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask for something; return the parsed JSON. Errors of our hierarchy are raised."""
    here("ingest", media)
    monkeypatch.setenv("ANYMODAL_STORE", str(tmp_path / "data" / "store"))

    def run(*words: object) -> Any:
        done = CliRunner().invoke(command, ["search", *map(str, words)], standalone_mode=False)
        if done.exception:
            raise done.exception
        return json.loads(done.stdout)

    return run


def names(result: Any) -> list[str]:
    return [Path(hit["uri"]).name for hit in result["hits"]]


def test_every_way_to_ask(ask: Ask, media: Path) -> None:
    stored = ask("--like", media / "checks.png", "--limit", 20)
    assert "checks.png" not in names(stored)
    assert "gradient.jpg" in names(stored)
    asset_id = ask("--image", media / "checks.png", "--limit", 1)["hits"][0]["asset_id"]
    assert names(ask("--like", asset_id, "--limit", 20)) == names(stored)
    unknown = media.parent / "new.txt"
    unknown.write_text("Bake a loaf of bread.")
    assert names(ask("--like", unknown, "--modality", "text"))[0] == "bread.txt"
    unknown.write_bytes(unknown.read_text().encode("utf-16"))
    assert names(ask("--like", unknown, "--modality", "text"))[0] == "bread.txt"

    for name in ("bread.txt", "checks.png", "gradient.jpg"):  # any kind, and itself first
        (file,) = media.rglob(name)
        assert names(ask("--query-file", f"{file}^2"))[0] == name
    kinds = ("--kind", "image", "--kind", "audio")
    assert {hit["media_type"].partition("/")[0] for hit in ask("bread", *kinds)["hits"]} == {
        "image",
        "audio",
    }

    quotas = ask("bread", "--quota", "image=2", "--quota", "audio=1", "--explain")
    assert sorted(hit["modality"] for hit in quotas["hits"]) == ["audio", "image", "image"]
    assert quotas["hits"][0]["explanation"]["rank"] == 1
    assert quotas["explain"]["terms"] == [{"term": 0, "modality": "text", "weight": 1.0}]

    plain = ("--filter", "media_type=text/plain", "--path", media / "texts")
    within = ask("bake", "bread", *plain)
    assert names(within) == ["bread.txt"]
    found = within["hits"][0]
    assert [found["snippet"][start:end] for start, end in found["matches"]] == ["bake"]
    assert names(ask("bread", "--filter", '{"field": "modality", "eq": "audio"}', "--limit", 2))
    assert names(ask("bread", "--tag", "none")) == []
    assert names(ask("bread", "--threshold", 100)) == []
    assert len(ask("bread", "--segments", "--diversity", 0.5, "--limit", 7)["hits"]) == 7

    near, far = (names(ask("baking", *more)) for more in ((), ("--not", "bread^3")))
    assert far.index("bread.txt") > near.index("bread.txt") == 0
    mixed = ask("--text", "orbit^2", "--text", "bread^0.5", "--modality", "text", "--strong")
    assert names(mixed) == ["space.md", "bread.txt"]

    first = ask("bread", "--limit", 4)
    second = ask("bread", "--limit", 4, "--page", first["next_cursor"])
    assert len({*names(first), *names(second)}) == 6
    assert second["next_cursor"] == ""

    by_size = ask("bread", "--sort", "-size_bytes", "--threshold", "-99")
    sizes = [Path(hit["uri"]).stat().st_size for hit in by_size["hits"] if not hit["weak"]]
    assert sizes == sorted(sizes, reverse=True)
    assert by_size["total"] == len(sizes) > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x", "--quota", "image"], "KIND=NUMBER"),
        (["x", "--filter", "tags"], "FIELD=VALUE"),
        (["x", "--filter", "{"], "--filter.*JSON"),
        (["x", "--filter", "smell=bad"], "smell"),
        (["x", "--kind", "smell"], "one of archive, audio, cards, .*video"),
    ],
)
@pytest.mark.usefixtures("bundle_home")
def test_what_cannot_be_understood_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANYMODAL_STORE", str(tmp_path / "data" / "store"))
    done = CliRunner().invoke(command, ["search", *words], standalone_mode=False)
    assert isinstance(done.exception, AnymodalError)
    with pytest.raises(AnymodalError, match=message):
        raise done.exception


def test_an_empty_answer_says_what_was_searched(ask: Ask, tmp_path: Path) -> None:
    empty = ask("bread", "--tag", "none", "--modality", "text", "--threshold", 2)
    assert empty["hits"] == []
    assert empty["searched"] == {
        "store": str(tmp_path / "data" / "store"),
        "assets": 6,
        "matching_assets": 0,
        "modalities": ["text"],
        "score_threshold": 2.0,
    }
    assert "searched" not in ask("bread")


def test_what_a_filter_names_and_no_file_has_is_said(ask: Ask, here: Run) -> None:
    for words in (["--filter", "language = “english”"], ["--tag", "none"]):
        (said,) = ask("bread", *words)["warnings"]
        (listed,) = here("list", *words)["warnings"]
        assert listed == said
    assert names(ask("bake bread", "--filter", 'media_type = "text/plain"'))[0] == "bread.txt"


@pytest.mark.parametrize("words", [["search", "bread"], ["delete", "/bread.txt"]])
def test_a_store_that_is_not_there_is_an_error_and_not_made(
    here: Run, words: list[str], tmp_path: Path
) -> None:
    typo = tmp_path / "typo"
    assert f"There is no store at {typo}." in here(*words, "--store", typo, fails=1)
    assert not typo.exists()


def test_help_names_what_is_registered() -> None:
    said = CliRunner().invoke(command, ["search", "--help"]).stdout
    for known in ("Matroska", "EPUB", "audio,", "pptx,"):
        assert known in " ".join(said.split())
    assert "pptx," in " ".join(CliRunner().invoke(command, ["delete", "--help"]).stdout.split())


def test_what_is_mistyped_or_misses_a_broker_says_what_to_do(here: Run) -> None:
    assert "Did you mean one of: 'search'" in here("serch", "bread", fails=2)
    assert "Did you mean 'show'?" in here("jobs", "shwo", "x", fails=2)
    for words in (["jobs"], ["jobs", "retry", "x"], ["jobs", "cancel", "x"]):
        assert "--broker redis://HOST:6379/0 or set ANYMODAL_BROKER" in here(*words, fails=2)


@pytest.mark.usefixtures("bundle_home")
def test_no_command_passes_an_escape_sequence_on(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202egnp"
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / f"{evil}\udc80.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    (folder / f"{evil}.txt").write_text("The tide comes in twice a day.")

    def told(*words: object) -> str:
        """All that was sent to a terminal that serves as both streams."""
        mine, its = os.openpty()
        env = {**os.environ, "ANYMODAL_STORE": str(tmp_path / "data" / "store"), "NO_COLOR": "1"}
        process = subprocess.Popen([ANYMODAL, *words], stdout=its, stderr=its, stdin=its, env=env)
        os.close(its)
        sent = b""
        with suppress(OSError):  # the end of a terminal
            while part := os.read(mine, 65536):
                sent += part
        os.close(mine)
        process.wait(60)
        return sent.decode()

    sent = [
        told("ingest", folder),
        told("search", "ebb and flow", "--weak"),
        told("search", "x", "--like", f"{folder}/{evil}.txt", "--filter", evil.replace("=", "")),
        told("delete", f"{folder}/{evil}.gif", "--store", tmp_path / evil),
        told(f"se{evil}rch"),
        told("ingest", folder / f"no{evil}"),
    ]
    assert "set aside" in sent[0]
    assert "no store at" in sent[3]
    for text in sent:
        assert "\\x1b]0;owned\\x07" in text
        assert "\x1b]" not in text
        assert not {"\x07", "\x9b", "\u202e"} & set(text)
