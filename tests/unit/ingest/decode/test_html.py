import pytest

from encoder.errors import MediaLimitError
from ingest.kinds import html


def html_text(data: bytes) -> str:
    return html.html_text(data, "a.html")


def html_title(data: bytes) -> str:
    return html.html_title(data, "a.html")


def test_only_visible_text_remains() -> None:
    page = b"""<!doctype html><html><head><title>T</title><style>p {color: red}</style></head>
    <body><script>alert(1)</script><nav>Menu</nav><p>One <b>bo</b>ld
    word.</p><p hidden>no</p><noscript>no</noscript><ul><li>a<li>b</ul>x<br>y
    <template>no</template><!-- no --><div>Caf&eacute; &amp; bar</div></body></html>"""
    assert html_text(page) == "Menu\nOne bold word.\na\nb\nx\ny\nCafé & bar"


def test_declared_encodings() -> None:
    page = '<html><head><meta charset="windows-1251"></head><body>Привет'.encode("cp1251")
    assert html_text(page) == "Привет"
    old = '<meta http-equiv=Content-Type content="text/html; charset=shift_jis"><p>猫'
    assert html_text(old.encode("shift_jis")) == "猫"


def test_broken_and_deep_pages() -> None:
    assert html_text(b"<p>open <b>tags <p>and</i> more") == "open tags\nand more"
    assert html_text(b"<div>" * 1_900 + b"deep") == "deep"
    assert html_text(b"<p><li><br><x></x>" * 9_000 + b"flat").endswith("flat")
    assert html_text(b"<html></html>") == ""


def test_titles() -> None:
    assert html_title(b"<title> A\n title </title><h1>no</h1>") == "A title"
    assert html_title(b"<title></title><h1>Heading</h1>") == "Heading"
    assert html_title(b"<p>none") == ""
    assert len(html_title(b"<title>" + b"x" * 5000)) == 200


@pytest.mark.parametrize("part", [b"<div>", b"<x-y></z>", b"<b><p>", b"<DIV></p>"])
def test_pages_that_nest_too_deeply_are_refused(part: bytes) -> None:
    with pytest.raises(MediaLimitError, match=r"a\.html nests HTML elements more than 2,000"):
        html_text(part * 100_000)
