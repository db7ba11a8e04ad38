"""The page's pure modules, called in the browser that runs them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

CALL = "async ([module, name, values]) => (await import(`/js/${module}.js`))[name](...values)"


def call(page: Page, module: str, name: str, *values: object) -> Any:
    if page.url == "about:blank":
        page.goto("/")
    return page.evaluate(CALL, [module, name, values])


@pytest.mark.parametrize(
    ("typed", "words", "without"),
    [
        ("beach -people", "beach", ["people"]),
        ('beach -"many people" sunset', "beach sunset", ["many people"]),
        ("-rain", "", ["rain"]),
        ("a well-known state - of mind", "a well-known state - of mind", []),
    ],
)
def test_words_with_a_minus_are_left_out(
    page: Page, typed: str, words: str, without: list[str]
) -> None:
    assert call(page, "query", "splitNegatives", typed) == {"words": words, "without": without}


def test_a_state_survives_its_address(page: Page) -> None:
    address = (
        "?q=a+b&term=text%3A-0.5%3Ared%3A+car&term=asset%3A2%3Aabc&in=image%2Cvideo"
        "&tags=x%2Cy&threshold=1.5&open=abc&at=12.5"
    )
    state = call(page, "state", "parse", address)
    assert state["terms"] == [
        {"kind": "text", "weight": -0.5, "value": "red: car"},
        {"kind": "asset", "weight": 2, "value": "abc"},
    ]
    assert state["form"]["threshold"] == 1.5
    assert call(page, "state", "format", state) == address
    assert call(page, "state", "format", call(page, "state", "parse", "")) == ""


def test_what_an_address_must_not_say_is_left_out(page: Page) -> None:
    state = call(page, "state", "parse", "?view=x&term=smell:1:a&term=text:0:a&term=text&at=x")
    assert (state["view"], state["terms"], state["at"]) == ("search", [], 0)


def test_the_form_becomes_a_filter(page: Page) -> None:
    state = call(page, "state", "parse", '?in=image&tags=a, b&min_s=5&filter={"not":{}}')
    assert call(page, "filter_tree", "toFilter", state) == {
        "and": [
            {"field": "modality", "in": ["image"]},
            {"field": "tags", "contains": "a"},
            {"field": "tags", "contains": "b"},
            {"field": "duration_s", "gte": 5},
            {"not": {}},
        ]
    }
    assert call(page, "filter_tree", "toFilter", call(page, "state", "parse", "")) is None


def test_the_last_day_of_a_range_is_within_it(page: Page) -> None:
    state = call(page, "state", "parse", "?since=2026-01-31&until=2026-01-31")
    day = call(page, "filter_tree", "toFilter", state)
    assert day["lt"] - day["gte"] == 86_400


def test_words_are_marked_by_their_stem_and_shown_around_the_first(page: Page) -> None:
    words = call(page, "highlight", "wordsOf", ["How to bake THE bread"])
    assert words == ["bake", "bread"]
    pieces = call(page, "highlight", "marked", "Baking breads, broadly", words)
    assert [piece["text"] for piece in pieces if piece["marked"]] == ["Baking", "breads"]
    text = "# Title\n\n" + "word " * 200 + "bread " + "more " * 200
    shown = call(page, "highlight", "excerpt", text, ["bread"], 100)
    assert "bread" in shown
    assert shown.startswith("… word")
    assert len(shown) < 120


def test_a_film_is_shown_where_the_scene_of_what_is_said_has_begun(page: Page) -> None:
    said = {"modality": "text", "start_s": 6, "end_s": 10}
    assert call(page, "cards", "shownAt", said) == 8
    assert call(page, "cards", "shownAt", {**said, "modality": "image"}) == 6
    assert call(page, "cards", "shownAt", {"modality": "audio", "start_s": None}) == 0


def test_terms_of_an_explanation_have_names(page: Page) -> None:
    address = "?q=a b&term=text:-0.5:red&term=image:1:0a&term=asset:2:0b"
    state = call(page, "state", "parse", address)
    names = ["“a b”", "“red”", "the file", "what is stored"]
    assert call(page, "query", "termNames", state) == names
    assert len(call(page, "query", "toRequest", state)["query"]) == len(names)


def test_the_powers_of_ten_are_named_on_an_axis_of_times(page: Page) -> None:
    assert call(page, "scale", "decades", 350) == [0.1, 1, 10, 100]
    assert call(page, "scale", "decades", 101) == [0.1, 1, 10]  # 100 would touch the end
    rounded = [call(page, "scale", "roundUp", n) for n in (0.3, 1, 63, 186, 501)]
    assert rounded == pytest.approx([0.5, 1, 100, 200, 1000])


def test_stages_of_a_waterfall_follow_each_other(page: Page) -> None:
    latency = {"search": 5, "queue": 1, "encode_text": 3, "total": 10}
    stages = call(page, "waterfall", "stagesOf", latency, 12)
    assert [(s["name"], s["from"], s["ms"]) for s in stages] == [
        ("queue", 0, 1),
        ("encode_text", 1, 3),
        ("search", 4, 5),
        ("other", 9, 1),
        ("network", 10, 2),
    ]


CARD = """async ([hit]) => {
  const { card } = await import("/js/cards.js");
  return card(hit, { words: ["ferry"], best: 1, place: 1, onLike() {}, link: "?" }).outerHTML;
}"""


@pytest.mark.parametrize(("modality", "is_quoted"), [("text", True), ("image", False)])
def test_a_picture_that_is_found_by_its_text_says_so(
    page: Page, modality: str, is_quoted: bool
) -> None:
    page.goto("/")
    expect(page.get_by_role("checkbox", name="Pictures")).to_be_visible()  # the kinds are known
    hit = {
        "asset_id": "a",
        "segment_id": "s",
        "modality": modality,
        "media_type": "image/png",
        "title": "door",
        "score": 1.0,
        "snippet": "The ferry leaves at nine" if is_quoted else "",
        "thumbnail_url": "/v1/assets/a/thumbnail",
        "moments": [{"modality": "text", "snippet": "Another text"}],
    }
    shown = page.evaluate(CARD, [hit])
    assert ("Text in the picture" in shown) is is_quoted
    assert ("<mark>ferry</mark>" in shown) is is_quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("# Bread\n**Knead** the dough", "Bread\nKnead the dough"),
        ("| Town | People |\n| --- | ---: |\n| Bern | 9 |", "Town · People\nBern · 9"),
        ("From: Mina \\<mina@example.org\\>", "From: Mina <mina@example.org>"),
        ("f(**a, **b) and grep x | wc", "f(**a, **b) and grep x | wc"),
    ],
)
def test_texts_are_shown_without_their_marks(page: Page, text: str, shown: str) -> None:
    assert call(page, "highlight", "withoutMarks", text) == shown
    assert call(page, "highlight", "excerpt", text, [], 200) == " ".join(shown.split())


def test_a_date_is_dropped_with_what_belongs_to_it(page: Page) -> None:
    for words, phrase, rest in (
        ("a clock in May 2024", "in May 2024", "a clock"),
        ("an animal in München, May 2024", "May 2024", "an animal in München"),
        ("im Mai 2024, ein Tier", "im Mai 2024", "ein Tier"),
        ("2024年5月的猫", "2024年5月", "的猫"),
    ):
        assert call(page, "query", "withoutPhrase", words, phrase) == rest
