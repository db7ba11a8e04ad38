"""The documentation is true: its Python runs, its commands exist, its links lead somewhere."""

import doctest
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
import soxr
from PIL import Image

from encoder.system.cache import cache_home
from encoder.system.environment import READ_BY_NAME
from examples.speech import Speaker
from tests.integration.test_serve import serving
from tests.support.media import write_sound
from workers.cli import anymodal
from workers.config import variable_names

ROOT = Path(__file__).parent.parent
FOLDERS = (ROOT, ROOT / "docs", ROOT / "examples")
PAGES = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))
CHINESE = ROOT / "docs/README.zh.md"
SERVER = re.compile(r"(?:localhost|127\.0\.0\.1):8080")  # the address of the pages' server
PACKAGES = ("encoder", "ingest", "search", "workers")
WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a language, but for those under `<!-- not run by the tests: why -->`."""
    fence = rf"(?<!-->\n)^```{language}\n(.*?)^```"
    return re.findall(fence, page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
@pytest.mark.usefixtures("bundle_home")
def test_doctests(name: str) -> None:
    ran = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert ran.attempted
    assert ran.failed == 0


def sessions(page: Path) -> list[str]:
    """The Python of a page: a block without an import at its start goes on with the last one."""
    started: list[str] = []
    for block in blocks(page, "python"):
        if started and not block.startswith(("import ", "from ")):
            started[-1] += block
        else:
            started.append(block)
    return started


SESSIONS = [
    pytest.param(code, id=f"{page.name}-{number}")
    for page in PAGES
    if page != CHINESE
    for number, code in enumerate(sessions(page), 1)
]


@pytest.fixture(scope="module")
def server(multilingual_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a separate `anymodal serve`, with something to find."""
    assert multilingual_home.is_dir()
    home, model = tmp_path_factory.mktemp("served"), {"ANYMODAL_ENCODER__MODEL": "bundle:default"}
    with serving(home, **model) as (_, client):
        note = {"file": ("ferry.txt", b"The ferry leaves at nine.")}
        client.post("/v1/assets", files=note, data={"wait": "true"}).raise_for_status()
        yield f"{client.base_url.host}:{client.base_url.port}"


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder with the files that pages name."""
    for name in ("photo.jpg", "a.jpg"):
        Image.new("RGB", (64, 48), "teal").save(tmp_path / name)
    for name in ("note.txt", "b.txt"):
        (tmp_path / name).write_text(f"The text of {name}.")
    write_sound(tmp_path / "memo.m4a", "aac", seconds=1.0)
    return tmp_path


@pytest.fixture(scope="module")
def microphone() -> bytes:
    """What `arecord -t raw -f S16_LE -r 16000` writes while somebody asks."""
    speaker = Speaker(cache_home())
    asked = soxr.resample(speaker.say("When does the ferry leave?"), speaker.sampling_rate, 16_000)
    return bytes((32_767 * np.asarray(asked)).astype("<i2").tobytes())


@pytest.mark.parametrize("code", SESSIONS)
@pytest.mark.usefixtures("bundle_home", "multilingual_home")
def test_python_examples_run_and_end(
    code: str, reader: Path, microphone: bytes, request: pytest.FixtureRequest
) -> None:
    """Each as a reader runs it: in a process and a folder of its own, without our settings."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    del environment["ANYMODAL_ENCODER__MODEL"]
    if SERVER.search(code):
        code = SERVER.sub(request.getfixturevalue("server"), code)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=reader,
        env=environment,
        input=microphone,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    if "sys.stdin" in code:
        assert "ferry" in done.stdout.decode()


def test_the_chinese_readme_has_the_code_of_the_english_one() -> None:
    """The English code is run; its comments are translated."""
    english, chinese = (
        [re.sub(" *#.*", "", block) for block in blocks(page, "(?:bash|python)")]
        for page in (ROOT / "README.md", CHINESE)
    )
    assert chinese == english


def commands(page: Path) -> list[list[str]]:
    lines = "\n".join(blocks(page, "(?:bash|console|sh)")).replace("\\\n", " ").splitlines()
    ours = [line for line in lines if re.match(r"(\$ )?(\S*/)?anymodal\b", line)]
    return [shlex.split(line.removeprefix("$ "), comments=True)[1:] for line in ours]


COMMANDS = [pytest.param(c, id=f"{p.name}: {' '.join(c)}") for p in PAGES for c in commands(p)]


@pytest.mark.parametrize("words", COMMANDS)
def test_commands_of_the_docs_exist_with_their_options(words: list[str]) -> None:
    command: click.Command = anymodal
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found, f"no command {words[0]!r}"
        command, words = found, words[1:]
    flags = (p.opts + p.secondary_opts for p in command.params)
    known = {flag for names in flags for flag in names} | {"--help"}
    used = {word.split("=")[0] for word in words if word.startswith("--")}
    assert used <= known


def test_commands_within_sentences_exist() -> None:
    """`anymodal store check` in a line of text, up to the first word that is no command."""
    context = click.Context(anymodal)
    for page in PAGES:
        for line in re.findall(r"`anymodal ([a-z][a-z-]*(?: [a-z][a-z-]*)*)", page.read_text()):
            command: click.Command = anymodal
            for word in line.split():
                if not isinstance(command, click.Group):
                    break
                subcommand = command.get_command(context, word)
                assert subcommand, f"{page.name}: no command {line!r}"
                command = subcommand


def test_variables_exist() -> None:
    """Also those of the stack."""
    stack = re.findall(r"\bANYMODAL_\w+", (ROOT / "compose" / ".env.example").read_text())
    known = {*variable_names(), *READ_BY_NAME, *stack}
    for page in PAGES:
        named = set(re.findall(r"\bANYMODAL_[A-Z0-9_]*[A-Z0-9]", page.read_text()))
        assert {name for name in named - known if f"{name}__<" not in page.read_text()} == set(), (
            page
        )


def requests(page: Path) -> str:
    """The lines of a page that ask a running server, as one script."""
    lines = "\n".join(blocks(page, "bash")).splitlines()
    kept, inside = [], False
    for line in lines:
        inside = line.startswith("curl ") or (inside and not line.startswith("anymodal "))
        kept += [line] if inside else []
    return "\n".join(kept)


@pytest.mark.parametrize("page", [p for p in PAGES if requests(p)], ids=lambda p: p.name)
def test_requests_of_the_docs_are_answered(page: Path, server: str, reader: Path) -> None:
    script = SERVER.sub(server, requests(page)).replace("curl ", "curl --fail-with-body ")
    ran = subprocess.run(
        ["bash", "-euc", script], cwd=reader, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout[-500:] + ran.stderr
    assert '"failed":1' not in ran.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_fences_name_a_language_alone(page: Path) -> None:
    """The site does not see a fence with more words, and takes the page's rest for code."""
    assert re.findall(r"^ *```\w+ .*", page.read_text(), re.MULTILINE) == []
