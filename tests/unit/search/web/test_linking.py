"""The page's files: linked modules, sheets, and how they are sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from search.api.responses.page import linked_modules, page

WEB = Path(__file__).parents[4] / "search/web"
MODULES = {
    "first": 'import { b as c } from "./second.js";\nconst a = c;\nawait a;\n',
    "second": 'import { d } from "./third.js";\n'
    "export const b = d;\nexport async function e() {}\n",
    "third": "export const d = 1;\n",
    "later": 'import { d } from "./third.js";\nimport { f } from "./other.js";\n',
    "other": "export function* f() {}\n",
}


@pytest.mark.parametrize(
    ("third", "problem"),
    [
        ('import { b } from "./second.js";\n', "import each other"),
        ("export default 1;\n", "third.js has a statement that cannot be linked: export default"),
        ('import "./other.js";\n', "cannot be linked: import"),
        ("export let d = 1;\n", "cannot be linked: export let d"),
        ("export { d };\n", "cannot be linked"),
    ],
)
def test_what_cannot_be_linked_is_refused(third: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        linked_modules({**MODULES, "third": third}, "first")


def test_the_page_needs_at_once_what_it_does_and_no_more() -> None:
    modules = {path.stem: path.read_text() for path in (WEB / "js").glob("*.js")}
    linked = linked_modules(modules, "main")
    inside = {name for name in modules if f"const ${name} =" in linked["main"]}
    assert {"main", "search", "hits", "cards", "i18n"} <= inside
    assert not {"detail", "uploads", "latency", "selection", "chips", "scrubber"} & inside


FIRST = ("", "css/first.css", "js/early.js", "js/main.js")


@pytest.fixture
def client() -> TestClient:
    app = Starlette()
    app.router.default = page()
    return TestClient(app)


def test_the_document_names_all_that_is_needed_at_once(client: TestClient) -> None:
    document = client.get("/").text
    named = re.findall(r'<(?:link rel="stylesheet" href|script[^>]* src)="([^"]+)"', document)
    assert sorted(["", *named]) == sorted(FIRST)
    for path in FIRST[1:]:
        assert not re.search(r"@import|^import ", client.get(path).text, re.MULTILINE)


@pytest.mark.parametrize("path", FIRST)
def test_files_come_compressed_to_who_takes_them_so(client: TestClient, path: str) -> None:
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    small = client.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert "content-encoding" not in plain.headers
    assert small.headers["content-encoding"] == "gzip"
    assert small.content == plain.content
    assert int(small.headers["content-length"]) < int(plain.headers["content-length"])
    assert small.headers["vary"] == "Accept-Encoding"


def test_what_the_browser_has_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/js/main.js")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/js/main.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    other = client.get("/js/main.js", headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize("path", ["/js/none.js", "/js", "/../app.py", "/js/../../app.py"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_files_are_only_read(client: TestClient) -> None:
    assert client.post("/js/main.js").status_code == 405
    assert client.head("/js/main.js").headers["content-type"].startswith("text/javascript")
