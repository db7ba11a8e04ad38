"""Files that a browser cannot show by itself."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.browser.acts import drop, hits, results, search, until
from tests.browser.library import sample
from tests.browser.server import Server
from tests.support.documents import write_pptx
from tests.support.media import write_heic, write_pdf


def add(page: Page, file: Path) -> None:
    """Drop a file into the library."""
    page.goto("/?view=add")
    drop(page, "add", [file])
    expect(page.locator(".job").first).to_contain_text("1 added", timeout=60_000)


def remove(dialog: Locator) -> None:
    """Take what is open out of the library."""
    dialog.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name="Remove from the library?").click()
    expect(dialog).to_be_hidden()


def test_a_phone_s_heic_is_seen_and_searched_with(
    page: Page, library: Path, tmp_path: Path
) -> None:
    clock = np.array(Image.open(sample(library, "wall-clock.png")).convert("RGB"))
    photo = write_heic(tmp_path / "IMG_0042.HEIC", clock, 6, 256)
    add(page, photo)
    page.goto("/")
    drop(page, "search", [photo])
    results(page)
    expect(page.locator(".chip")).to_have_count(1)
    expect(page.locator(".chip svg").first).to_be_visible()
    expect(page.locator(".chip img")).to_have_count(0)
    expect(hits(page).first.locator("h3")).to_have_text("IMG_0042")
    until(page, "document.querySelector('.hit img').naturalWidth > 0")

    page.locator(".hit a.open").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("image/heic")
    until(page, "document.querySelector('dialog img')?.naturalHeight > 0")
    upright = "(img => img.naturalHeight / img.naturalWidth)(document.querySelector('dialog img'))"
    assert abs(page.evaluate(upright) - clock.shape[1] / clock.shape[0]) < 0.02
    remove(dialog)


def test_a_hit_in_a_document_names_its_place(page: Page, tmp_path: Path) -> None:
    talk = "The narwhal swims below the ice of Baffin Bay."
    pdf = write_pdf(tmp_path / "talk.pdf", ["Agenda of the meeting.", talk])
    add(page, pdf)
    search(page, talk)
    page.locator(".hit a.open").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Text")).to_contain_text("page 2")
    expect(dialog.get_by_role("img", name="Page 2")).to_be_visible()
    until(page, "document.querySelector('dialog img')?.naturalWidth > 0")
    remove(dialog)

    slides = write_pptx(tmp_path / "talk.pptx", [("Agenda", "Of the meeting."), ("Arctic", talk)])
    add(page, slides)
    page.goto("/")
    tile = page.locator(".hit.text", has_text="talk.pptx").locator(".screen img")
    tile.scroll_into_view_if_needed()
    shown = "[...document.querySelectorAll('.hit.text img')].some((img) => img.naturalWidth > 0)"
    until(page, shown)
    search(page, talk)
    page.locator(".hit a.open").first.click()
    expect(dialog.get_by_label("Text")).to_contain_text("slide 2")
    remove(dialog)


def test_the_lines_of_a_page_that_answer_are_framed(page: Page, library: Path) -> None:
    add(page, sample(library, "bees.pdf"))
    dialog = page.get_by_role("dialog")
    frames = dialog.locator(".boxes polygon")
    for question, reason in (
        ("nectar from flowers", "found by its words “nectar”, “flowers” · page 1"),
        ("insects that make something sweet", "found by what it says · page 1"),
    ):
        search(page, question)
        page.locator(".hit", has_text="bees").locator("a.open").click()
        expect(dialog.locator(".because")).to_contain_text(reason)
        expect(frames).to_have_count(1)  # the line, or the region of all four
        if "nectar" in question:
            page.keyboard.press("Escape")
    remove(dialog)


TEXTS = {
    "gb18030": "这是一个中文句子，猫坐在垫子上。狗在花园里跑，鸟在天上飞。",
    "big5": "這是一個中文句子，貓坐在墊子上。狗在花園裡跑，鳥在天上飛。",
    "shift_jis": "これは日本語の文章です。猫がマットの上に座っています。",
    "euc_kr": "이것은 한국어 문장입니다. 고양이가 매트 위에 앉아 있습니다.",
    "cp1251": "Привет, мир! Это короткий текст о погоде и о море.",
    "koi8_r": "Привет, мир! Это текст о погоде на русском языке. " * 5,
    "latin-1": "Die Vögel fliegen über den Fluß, größer als früher.",
    "utf-16": "Grüße von der Brücke, und eine 猫.",
    "utf-16-be": "\ufeffGrüße von der Brücke, und noch eine 猫.",
}


def test_a_text_is_shown_in_the_encoding_in_which_it_was_searched(
    page: Page, server: Server
) -> None:
    files = [("file", (f"{codec}.txt", text.encode(codec))) for codec, text in TEXTS.items()]
    with httpx.Client(base_url=server.url, timeout=120) as client:
        job = client.post("/v1/assets", files=files, data={"wait": "true"}).json()["job"]
        assets = [client.get(f"/v1/assets/{asset_id}").json() for asset_id in job["asset_ids"]]
        assert len(assets) == len(TEXTS)
        for asset in assets:
            text = TEXTS[asset["name"].removesuffix(".txt")].strip("\ufeff ")
            page.goto(f"/?open={asset['asset_id']}")
            expect(page.get_by_role("dialog").get_by_label("Text")).to_have_text(text)
            page.goto(asset["content_url"])
            expect(page.locator("pre")).to_have_text(text)
            client.delete(f"/v1/assets/{asset['asset_id']}")
