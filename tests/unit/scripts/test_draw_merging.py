import xml.etree.ElementTree as ET

import numpy as np

from encoder.dsre.picture import draw, page
from scripts.draw_merging import TARGET

_SVG = "{http://www.w3.org/2000/svg}"


def test_merged_tokens_share_colour_and_number() -> None:
    picture = ET.fromstring(draw(["<a>", "b", "##c", "d"], np.array([0, 1, 0, 2]), [4, 4, 3]))
    fills = [box.get("fill") for box in picture.findall(f"{_SVG}rect")][1:]
    assert fills[0] == fills[2] != "none"
    assert fills[1] == fills[3] == "none"
    said = [text.text for text in picture.findall(f"{_SVG}text")]
    assert said[:6] == ["<a>", "1", "b", "c", "1", "d"]
    assert said[-1] is not None
    assert said[-1].startswith("4 → 3 tokens")


def test_the_committed_picture_is_a_picture_of_merging() -> None:
    picture = ET.parse(TARGET).getroot()
    numbers = [text.text for text in picture.findall(f"{_SVG}text") if text.get("class") == "n"]
    assert len(numbers) > len(set(numbers)) > 3


def test_a_page_shows_each_layer_that_merges() -> None:
    places = np.array([[0, 1, 2], [0, 1, 1], [0, 1, 1]])
    html = page(["a", "<b>", "▁c"], places, "A & B")
    assert "<h1>A &amp; B</h1>" in html
    assert html.count("<details") == 1
    assert "after layer 2: 2 tokens" in html
    assert "&lt;b&gt;" in html
    assert "<script" not in html
    assert "No tokens were merged" in page(["a"], np.zeros((2, 1), np.int64), "short")
