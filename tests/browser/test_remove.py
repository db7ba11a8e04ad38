"""Removing a file while the page still waits for answers about it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import soundfile
from PIL import Image
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.browser.acts import hits, results
from tests.support.media import write_film


def picture(path: Path) -> None:
    """A picture of one colour."""
    Image.new("RGB", (320, 240), (12, 90, 60)).save(path)


def sound(path: Path) -> None:
    """Two seconds of a tone."""
    soundfile.write(path, 0.3 * np.sin(np.arange(32_000) / 7.7), 16_000)


def film(path: Path) -> None:
    """Two seconds of one colour."""
    write_film(path, sound_codec=None, seconds=2, size=(64, 48))


def text(path: Path) -> None:
    """A sentence."""
    path.write_text("The customs officer weighs a barrel of nails.")


KINDS = {"green.png": picture, "tone.flac": sound, "purple.mp4": film, "barrel.txt": text}


def added(page: Page, path: Path, tag: str) -> str:
    """The id of a file that has been added."""
    kind = "application/octet-stream"
    file: FilePayload = {"name": path.name, "mimeType": kind, "buffer": path.read_bytes()}
    answer = page.request.post("/v1/assets?wait=true", multipart={"file": file, "tags": tag})
    return str(answer.json()["job"]["asset_ids"][0])


def remove(page: Page) -> None:
    """Remove the file that is shown in full; a double click still asks for confirmation."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Remove").dblclick()
    dialog.get_by_role("button", name="Remove from the library?").click()


def hold(page: Page, asset_id: str) -> list[Route]:
    """Hold the page's requests about an asset without an answer; only DELETE passes."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        if route.request.method == "DELETE":
            route.continue_()
        else:
            held.append(route)

    page.route(f"**/v1/assets/{asset_id}**", keep)
    return held


@pytest.mark.parametrize(("name", "make"), KINDS.items(), ids=KINDS)
@pytest.mark.parametrize("words", ["", "anything"], ids=["listed", "found"])
def test_what_the_page_waits_for_is_given_up_before_the_file_is_removed(
    page: Page, tmp_path: Path, name: str, make: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / name
    make(path)
    held = hold(page, added(page, path, "unwanted"))
    # The page is never loaded whole: a picture that it waits for may be one of the requests held.
    page.goto(f"/?q={words}&tags=unwanted", wait_until="domcontentloaded")
    if words:
        results(page)
    expect(hits(page)).to_have_count(1)
    page.wait_for_timeout(300)  # for the requests that are sent when a card is near the screen
    page.locator(".hit a.open").click()
    remove(page)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#notice")).to_contain_text("No files match the filters")

    assert held
    for route in held:
        route.continue_()  # if the page still waits, it gets an error, and the watcher sees it
    page.wait_for_timeout(300)


def test_a_file_that_is_searched_with_is_no_longer_searched_with(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "green.png"
    picture(path)
    asset_id = added(page, path, "unwanted")
    page.goto(f"/?q=green&term=asset:1:{asset_id}&open={asset_id}")
    remove(page)
    expect(page.locator(".chip")).to_have_count(0)
    results(page)
    expect(page).not_to_have_url(re.compile(asset_id))


def test_a_file_that_could_not_be_removed_is_shown_again(
    page: Page, tmp_path: Path, expected: list[str]
) -> None:
    expected.append("status of 503")
    path = tmp_path / "purple.mp4"
    film(path)
    asset_id = added(page, path, "wanted")
    refusal = {"error": {"type": "StoreError", "message": "The store is away.", "remedy": ""}}

    def refuse(route: Route) -> None:
        route.fulfill(status=503, content_type="application/json", body=json.dumps(refusal))

    page.goto("/?tags=wanted")
    page.locator(".hit a.open").click()
    page.route(f"**/v1/assets/{asset_id}", refuse)
    remove(page)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The store is away.")
    expect(dialog.locator("video")).to_have_js_property("videoWidth", 64)
    page.unroute(f"**/v1/assets/{asset_id}")
    dialog.get_by_role("button", name="Remove from the library?").click()
    expect(dialog).to_be_hidden()


def test_a_file_that_somebody_else_has_removed_is_gone(
    page: Page, tmp_path: Path, expected: list[str]
) -> None:
    expected.append("404")
    path = tmp_path / "barrel.txt"
    text(path)
    asset_id = added(page, path, "doomed")
    page.goto("/?tags=doomed")
    expect(hits(page)).to_have_count(1)
    page.request.delete(f"/v1/assets/{asset_id}")
    page.locator(".hit a.open").click()
    remove(page)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#notice")).to_contain_text("No files match the filters")


def test_several_files_are_picked_removed_and_brought_back(page: Page, tmp_path: Path) -> None:
    for n in range(4):
        path = tmp_path / f"nail-{n}.txt"
        path.write_text(f"The customs officer weighs barrel {n} of nails.")
        added(page, path, "several")
    page.goto("/?tags=several")
    expect(hits(page)).to_have_count(4)
    bar = page.get_by_role("region", name="Selection")
    hits(page).nth(0).hover()
    hits(page).nth(0).locator(".pick").click()
    hits(page).nth(2).locator(".pick").click(modifiers=["Shift"])
    expect(bar).to_contain_text("3 files selected")
    hits(page).nth(1).locator("a.open").click()  # picks, while some are picked
    expect(bar).to_contain_text("2 files selected")
    kept = [hits(page).nth(n).get_attribute("data-asset") for n in (1, 3)]
    bar.get_by_role("button", name="Remove").click()
    expect(hits(page)).to_have_count(2)
    hits(page).first.focus()
    bar.get_by_role("button", name="Undo").evaluate("button => button.click()")
    expect(hits(page)).to_have_count(4)
    expect(bar).to_be_hidden()
    expect(page.locator(f".hit[data-asset='{kept[0]}']")).to_be_focused()

    for n in (0, 2):
        hits(page).nth(n).focus()
        page.keyboard.press("x")
    expect(bar).to_contain_text("2 files selected")
    bar.get_by_role("button", name="Remove").click()
    expect(bar).to_contain_text("2 files removed")
    page.goto("about:blank")  # leaving the page confirms the removal
    there = "/v1/assets?filter=" + json.dumps({"field": "tags", "contains": "several"})
    while len(found := [one["asset_id"] for one in page.request.get(there).json()["assets"]]) > 2:
        sleep(0.1)
    assert sorted(found) == sorted(map(str, kept))
    for asset_id in found:
        page.request.delete(f"/v1/assets/{asset_id}")


def test_several_files_get_a_tag_and_lose_it_by_the_keyboard(page: Page, tmp_path: Path) -> None:
    ids = []
    for n in range(2):
        path = tmp_path / f"rope-{n}.txt"
        path.write_text(f"The sailor splices rope number {n}.")
        ids.append(added(page, path, "ropes"))
    page.request.patch(f"/v1/assets/{ids[0]}", data={"add_tags": ["harbour"]})
    page.goto("/?tags=ropes")
    bar = page.get_by_role("region", name="Selection")

    def choose(tag: str, button: str) -> None:
        for n in range(2):
            hits(page).nth(n).focus()
            page.keyboard.press("x")
        expect(bar).to_contain_text("2 files selected")
        page.keyboard.press("#")
        page.keyboard.type(tag)
        bar.get_by_role("button", name=button).press("Enter")

    def tagged() -> int:
        there = "/v1/assets?filter=" + json.dumps({"field": "tags", "contains": "harbour"})
        return len(page.request.get(there).json()["assets"])

    choose("harbour", "Add tag")
    expect(hits(page).get_by_text("#harbour")).to_have_count(2)
    assert tagged() == 2
    expect(bar).to_contain_text("1 file tagged")  # the other one had the tag already
    expect(bar.get_by_role("button", name="Undo")).to_be_focused()
    page.keyboard.press("Enter")  # on Undo
    expect(hits(page).get_by_text("#harbour")).to_have_count(1)
    expect(bar).to_be_hidden()
    assert tagged() == 1

    choose("harbour", "Remove tag")
    expect(bar).to_contain_text("Tag removed from 1 file")
    expect(hits(page).get_by_text("#harbour")).to_have_count(0)
    assert tagged() == 0
    for asset_id in ids:
        page.request.delete(f"/v1/assets/{asset_id}")
