"""Adding files: by drop and by choice, with progress, reasons and tags."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import APIResponse, Page, Route, expect

from tests.browser.acts import drop, hits, results, search, titles
from tests.browser.library import sample


def test_dropped_files_can_be_found_seconds_later(
    page: Page, library: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40)
    page.goto("/?view=add")
    page.get_by_label("Tags for added files").fill("kitchen, new")
    drop(page, "add", [sample(library, "traffic-light.gif"), broken])
    job = page.locator(".job").first
    expect(job.get_by_role("progressbar")).to_be_visible()
    expect(job).to_contain_text("1 added, 1 set aside", timeout=60_000)
    expect(job.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")
    expect(job.locator(".failures")).to_contain_text("broken.png")

    page.reload()  # the reason stays available
    expect(page.locator(".failures")).to_contain_text("broken.png")

    page.keyboard.press("s")
    search(page, "a traffic light")
    assert titles(page)[0] == "traffic-light"
    page.get_by_role("button", name="Filters").click()
    page.get_by_role("textbox", name="Tags", exact=True).fill("kitchen")
    expect(hits(page)).to_have_count(1)
    expect(hits(page).first).to_contain_text("#kitchen")

    page.locator(".hit a.open").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Remove").click()
    dialog.get_by_role("button", name="Remove from the library?").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#notice")).to_contain_text("No files match the filters")


def test_a_file_dropped_on_the_search_view_is_added_or_searched_with(
    page: Page, tmp_path: Path
) -> None:
    note = tmp_path / "lighthouse.txt"
    note.write_text("The lighthouse keeper counts the ships that pass at night.")
    page.goto("/")
    drop(page, "add", [note])
    expect(page.locator(".job").first).to_contain_text("1 added", timeout=60_000)
    search(page, "the keeper of a lighthouse")
    assert "lighthouse" in titles(page)[0]

    drop(page, "search", [note])
    expect(page.locator(".chip")).to_have_text("lighthouse.txt")
    results(page)
    assert titles(page)[0] == "lighthouse"


def test_a_file_that_no_kind_reads_says_what_is_read(
    page: Page, tmp_path: Path, expected: list[str]
) -> None:
    expected.append("415")
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    page.goto("/")
    drop(page, "search", [tmp_path / "a.bin"])
    expect(page.get_by_role("alert")).to_contain_text("of a kind that is not supported")
    expect(page.get_by_role("alert")).to_contain_text("as PDF")


def test_a_job_goes_on_that_was_listed_before_its_upload_was_answered(
    page: Page, tmp_path: Path
) -> None:
    note = tmp_path / "harbour.txt"
    note.write_text("The harbour master writes down which ships lie at the quay.")
    lists: list[Route] = []
    uploads: list[tuple[Route, APIResponse]] = []
    streams: list[Route] = []
    page.route("**/v1/jobs", lambda route: lists.append(route))
    page.route("**/v1/assets", lambda route: uploads.append((route, route.fetch())))
    page.route("**/v1/jobs/*/events", lambda route: streams.append(route))
    page.goto("/?q=ships")
    drop(page, "add", [note])  # this switches to another view, which lists the jobs
    while not (lists and uploads):
        page.wait_for_timeout(50)
    [(upload, answer)] = uploads
    job = answer.json()["job"]
    lists[0].fulfill(json={"jobs": [job]})
    row = page.locator(f"#job-{job['id']}")
    row.get_by_role("button", name="Cancel").focus()
    while not streams:
        page.wait_for_timeout(50)
    upload.fulfill(response=answer)
    expect(row).to_contain_text("harbour.txt")  # the uploader's own row has replaced it
    expect(row.get_by_role("button", name="Cancel")).to_be_focused()

    page.unroute("**/v1/jobs/*/events")
    for stream in streams:
        stream.continue_()
    expect(row).to_contain_text("1 added")
    expect(row).to_be_focused()  # a job that has ended cannot be cancelled


def test_a_job_whose_events_are_cut_short_is_followed_to_its_end(
    page: Page, tmp_path: Path
) -> None:
    note = tmp_path / "pilot.txt"
    note.write_text("A pilot boards the ship before it enters the harbour.")
    asked: list[Route] = []

    def cut_the_first(route: Route) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()
        else:  # what is left of a long answer that a proxy cut off
            route.fulfill(content_type="text/event-stream", body=": still here\n\n")

    page.route("**/v1/jobs/*/events", cut_the_first)
    page.goto("/?view=add")
    drop(page, "add", [note])
    expect(page.locator(".job", has_text="pilot.txt")).to_contain_text("1 added")


def event(**job: object) -> dict[str, str]:
    """The answer to a client that follows a job, with one event."""
    told = json.dumps({"files": 9, "failed": 0, **job})
    return {"content_type": "text/event-stream", "body": f"event: progress\ndata: {told}\n\n"}


def test_many_jobs_leave_connections_for_the_rest_of_the_page(page: Page) -> None:
    streams: list[Route] = []
    jobs = [{"id": f"job-{n}", "state": "running", "files": 9} for n in range(7)]
    last = {**jobs[6], "state": "done"}
    page.route("**/v1/jobs", lambda route: route.fulfill(json={"jobs": jobs}))
    page.route("**/v1/jobs/*", lambda route: route.fulfill(json=jobs[5]))
    page.route("**/v1/jobs/job-6", lambda route: route.fulfill(json=last))
    page.route("**/v1/jobs/*/events", lambda route: streams.append(route))
    page.goto("/?view=add")
    expect(page.locator("#job-job-6")).to_contain_text("nothing added")
    while len(streams) < 3:
        page.wait_for_timeout(50)
    assert len(streams) == 3
    streams[0].fulfill(**event(id="job-0", state="done"))
    expect(page.locator("#job-job-0")).to_contain_text("nothing added")
    while len(streams) < 4:
        page.wait_for_timeout(50)


def test_a_job_is_cancelled_though_it_goes_on_under_the_finger(page: Page) -> None:
    streams: list[Route] = []
    job = {"id": "one", "state": "running", "files": 9}
    page.route("**/v1/jobs", lambda route: route.fulfill(json={"jobs": [job]}))
    page.route("**/v1/jobs/one", lambda route: route.fulfill(json={"id": "one"}))
    page.route("**/v1/jobs/one/events", lambda route: streams.append(route))
    page.goto("/?view=add")
    page.get_by_role("button", name="Cancel").hover()
    page.mouse.down()
    while not streams:
        page.wait_for_timeout(50)
    streams[0].fulfill(**event(id="one", state="running", left_s=7))
    expect(page.locator(".job")).to_contain_text("about 0:07 left")
    with page.expect_request(lambda asked: asked.method == "DELETE"):
        page.mouse.up()


def test_reasons_keep_the_focus_while_their_job_goes_on(page: Page) -> None:
    streams: list[Route] = []
    job = {"id": "one", "state": "running", "files": 9}
    failures = [{"name": f"{n}.png", "reason": "it is cut off"} for n in range(5)]
    told = {"id": "one", "failed": 4, "failures": failures[:4]}
    page.route("**/v1/jobs", lambda route: route.fulfill(json={"jobs": [job]}))
    page.route("**/v1/jobs/one", lambda route: route.fulfill(json={**job, **told}))
    page.route("**/v1/jobs/one/events", lambda route: streams.append(route))
    page.goto("/?view=add")
    while not streams:
        page.wait_for_timeout(50)
    streams[0].fulfill(**event(state="running", **told))
    reasons = page.locator(".job summary")
    reasons.focus()
    page.keyboard.press("Enter")
    while len(streams) < 2:  # it is followed again
        page.wait_for_timeout(50)
    streams[1].fulfill(**event(state="done", **{**told, "failures": failures}))
    expect(reasons).to_have_text("5 files set aside")
    expect(reasons).to_be_focused()
    expect(page.locator(".failures li").last).to_be_visible()


def test_what_was_added_comes_to_the_library_without_a_jump(page: Page, tmp_path: Path) -> None:
    note = tmp_path / "quay.txt"
    note.write_text("Crates are stacked on the quay until the crane lifts them.")
    streams: list[Route] = []
    page.route("**/v1/jobs/*/events", lambda route: streams.append(route))
    page.set_viewport_size({"width": 800, "height": 500})
    page.goto("/")
    expect(hits(page).last).to_contain_text("cat")
    drop(page, "add", [note])
    while not streams:
        page.wait_for_timeout(50)
    page.keyboard.press("s")
    cat = hits(page).last
    cat.focus()
    cat.scroll_into_view_if_needed()
    cat.evaluate("card => { card.isTheSame = true; }")
    before = cat.bounding_box()
    streams[0].continue_()
    expect(hits(page).filter(has_text="quay")).to_be_attached()
    expect(hits(page).last).to_be_focused()
    assert hits(page).last.evaluate("card => card.isTheSame")
    after = hits(page).last.bounding_box()
    assert before is not None
    assert after is not None
    assert after["y"] == pytest.approx(before["y"], abs=1)


def test_an_upload_that_is_tried_again_keeps_the_focus(
    page: Page, tmp_path: Path, expected: list[str]
) -> None:
    expected.append("ERR_FAILED")
    note = tmp_path / "mooring.txt"
    note.write_text("A mooring line holds the ship at its place.")
    page.route("**/v1/assets", lambda route: route.abort())
    page.goto("/?view=add")
    drop(page, "add", [note])
    again = page.get_by_role("button", name="Try again")
    again.focus()
    page.unroute("**/v1/assets")
    page.keyboard.press("Enter")
    job = page.locator(".job", has_text="mooring.txt")
    expect(job).to_contain_text("1 added")
    expect(job).to_be_focused()


def test_a_list_of_jobs_that_fails_says_so_and_is_asked_for_again(
    page: Page, expected: list[str]
) -> None:
    expected.append("503")
    answers = [{"status": 503, "json": {"error": {"message": "The server is starting."}}}]
    page.route(
        "**/v1/jobs",
        lambda route: route.fulfill(**answers.pop()) if answers else route.continue_(),
    )
    page.goto("/?view=add")
    notice = page.get_by_role("alert")
    expect(notice).to_contain_text("The server is starting.")
    notice.get_by_role("button", name="Try again").click()
    expect(notice).to_be_hidden()


def test_a_part_that_cannot_be_loaded_says_so(page: Page, expected: list[str]) -> None:
    expected += ["uploads.js", "ERR_FAILED"]
    page.route("**/js/uploads.js", lambda route: route.abort())
    page.goto("/?view=add")
    expect(page.get_by_role("alert")).to_contain_text(
        re.compile("could not be loaded.*Reload the page.")
    )
