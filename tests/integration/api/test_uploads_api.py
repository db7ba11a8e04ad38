"""Files over HTTP: in, followed, found, seen, removed."""

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from time import sleep
from xml.etree import ElementTree

import httpx
import numpy as np
import pytest
from PIL import Image

from encoder.errors import DiskError
from search.api.services import Services
from search.errors import StoreUnavailableError
from search.store.locks import exclusive
from search.types import IngestRequest
from search.uploads.remote import RemoteUploads
from tests.faults.disk import small_disk
from tests.support.media import picture, write_film, write_heic
from workers.config import Settings
from workers.serving.resources import Resources


def upload(client: httpx.Client, *files: tuple[str, bytes], **fields: object) -> httpx.Response:
    parts = [("file", (name, data)) for name, data in files]
    return client.post("/v1/assets", files=parts, data=fields)


def test_tags_that_a_user_changed_stay_when_the_file_is_uploaded_again(
    client: httpx.Client,
) -> None:
    note = ("tagged.txt", b"The ferryman counts his coins at dawn.")

    def tags(*files: tuple[str, bytes], **fields: object) -> list[str]:
        job = upload(client, *files, wait="true", **fields).json()["job"]
        assert job["failed"] == 0
        (asset_id,) = job["asset_ids"]
        found: dict[str, list[str]] = client.get(f"/v1/assets/{asset_id}").json()
        return found["tags"]

    assert tags(note, tags=["sea", "night"]) == ["sea", "night"]
    (asset_id,) = upload(client, note).json()["job"]["asset_ids"]
    change = {"add_tags": ["dawn"], "remove_tags": ["night"]}
    assert client.patch(f"/v1/assets/{asset_id}", json=change).json()["tags"] == ["sea", "dawn"]
    assert tags(note) == ["sea", "dawn"]
    assert tags(note, tags=["coins"]) == ["coins"]
    client.delete(f"/v1/assets/{asset_id}")


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_change_waits_for_others_who_write_the_asset(
    client: httpx.Client, parts: Services, method: str
) -> None:
    job = upload(client, ("held.txt", b"A seal on a rock."), wait="true").json()["job"]
    (asset_id,) = job["asset_ids"]
    url = f"/v1/assets/{asset_id}"
    change = {"json": {"add_tags": ["seal"]}} if method == "PATCH" else {}
    with ThreadPoolExecutor(1) as pool:
        with exclusive(parts.store, [asset_id]):
            before = parts.store.assets([asset_id])
            changing = pool.submit(client.request, method, url, **change)
            sleep(0.3)
            assert parts.store.assets([asset_id]) == before
        assert changing.result(30).is_success
    assert parts.store.assets([asset_id]) != before
    client.delete(url)


def test_an_upload_becomes_searchable(client: httpx.Client, parts: Services) -> None:
    text = b"The lighthouse keeper counts the ships at dusk."
    fields = {"tags": ["sea", "night"], "metadata": '{"license": "CC0"}', "wait": "true"}
    answer = upload(client, ("../../evil/keeper.txt", text), **fields)
    assert answer.status_code == 200, answer.text
    job = answer.json()["job"]
    assert (job["state"], job["ingested"], job["failed"]) == ("done", 1, 0)
    (asset_id,) = job["asset_ids"]
    home = parts.uploads.home_of(asset_id)
    assert (home / "keeper.txt").read_bytes() == text

    wanted = {"field": "metadata.license", "eq": "CC0"}
    listed = client.get("/v1/assets", params={"filter": json.dumps(wanted)}).json()["assets"]
    assert [asset["asset_id"] for asset in listed] == [asset_id]
    found = client.post("/v1/search", json={"query": "ships in the evening"}).json()
    assert found["hits"][0]["name"] == "keeper.txt"
    assert listed[0]["tags"] == ["sea", "night"]

    assert client.delete(f"/v1/assets/{asset_id}").status_code == 204
    assert not home.exists()
    assert client.get(f"/v1/assets/{asset_id}").status_code == 404
    assert client.delete(f"/v1/assets/{asset_id}").status_code == 404


def test_a_worker_without_the_data_folder_fetches_uploads(
    client: httpx.Client, parts: Services
) -> None:
    text = b"A worker on another machine reads about herons."
    answer = upload(client, ("herons.txt", text), tags="far", wait="true").json()
    (asset_id,) = answer["job"]["asset_ids"]
    home = parts.uploads.home_of(asset_id)
    path = f"/of/the/api/uploads/{'0' * 16}/{home.relative_to(parts.uploads.folder)}/herons.txt"
    gone = f"/of/the/api/uploads/{'0' * 16}/ab/{'ab' * 16}/a.txt"
    far = Resources(Settings(store="memory:", uploads_url=str(client.base_url)))
    report = far.pipeline().ingest(IngestRequest([path, gone, "/of/the/api/other.txt"]))
    (row,) = far.store().scan()
    assert (row.asset_id, row.locations, row.metadata["tags"]) == (asset_id, [path], ["far"])
    assert (report.ingested, [one.uri for one in report.failures]) == (
        1,
        [gone, "/of/the/api/other.txt"],
    )
    far.close()
    client.delete(f"/v1/assets/{asset_id}")


@pytest.mark.parametrize("what", ["content", "facts"])
def test_what_was_not_uploaded_is_not_there(client: httpx.Client, what: str) -> None:
    assert client.get(f"/v1/uploads/{'ab' * 16}/{what}").status_code == 404
    assert client.get(f"/v1/uploads/..%2f..%2fkeys.json/{what}").status_code in (404, 422)


def test_a_worker_waits_for_an_api_that_is_away() -> None:
    far = RemoteUploads("http://127.0.0.1:1")
    with pytest.raises(
        StoreUnavailableError, match=r"The API with the uploads, .* does not answer"
    ):
        far.fetch(f"/uploads/{'0' * 16}/ab/{'ab' * 16}/a.txt", Path)


def test_a_job_is_followed_to_its_end(client: httpx.Client, parts: Services) -> None:
    files = [(f"{n}.txt", f"Note {n} about the tide.".encode()) for n in range(5)]
    answer = upload(client, *files, ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40))
    assert answer.status_code == 202
    job_id = answer.json()["job"]["id"]
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]
    assert lines[0] == "event: progress"
    assert lines[-2] == "event: end"
    job = json.loads(lines[-1].removeprefix("data: "))
    assert (job["ingested"], job["failed"]) == (5, 1)
    assert job["failures"][0]["name"] == "broken.png"
    assert str(parts.uploads.folder) not in lines[-1]
    assert job["id"] in [known["id"] for known in client.get("/v1/jobs").json()["jobs"]]
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "done"
    assert client.delete(f"/v1/jobs/{job_id}").json() == {"id": job_id, "cancelled": False}
    for asset_id in job["asset_ids"]:
        client.delete(f"/v1/assets/{asset_id}")


def test_what_was_refused_or_cancelled_does_not_stay_on_the_disk(
    client: httpx.Client, parts: Services
) -> None:
    broken = upload(client, ("broken.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 40), wait="true").json()
    assert broken["job"]["failed"] == 1
    notes = [(f"{n}.txt", f"Number {n} of what nobody wants.".encode()) for n in range(400)]
    job_id = upload(client, *notes).json()["job"]["id"]
    assert client.delete(f"/v1/jobs/{job_id}").json()["cancelled"]
    with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
        events = list(stream.iter_lines())
    assert "event: end" in events
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "cancelled"
    kept = {asset_id for asset_id, _ in parts.uploads.files()}
    assert not kept & set(broken["job"]["asset_ids"])
    listed = client.get("/v1/assets", params={"limit": 1000}).json()["assets"]
    assert kept <= {asset["asset_id"] for asset in listed}
    parts.store.delete(list(kept))
    for asset_id in kept:
        parts.uploads.remove(asset_id)


def test_an_upload_that_became_no_asset_can_be_removed(
    client: httpx.Client, parts: Services
) -> None:
    arriving = parts.uploads.begin("note.txt")
    arriving.write(b"Sent, but never ingested.")
    home = arriving.keep({}).parent
    assert client.delete(f"/v1/assets/{home.name}").status_code == 204
    assert not home.exists()
    outside = parts.uploads.folder.parent / "other"
    outside.mkdir(exist_ok=True)
    assert client.delete("/v1/assets/%2E%2E").status_code in (404, 405)
    assert not parts.uploads.remove("..")
    outside.rmdir()  # it is still there


@pytest.mark.parametrize("path", ["/v1/jobs/unknown", "/v1/jobs/unknown/events"])
def test_an_unknown_job_is_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"metadata": "{"}, "metadata"),
        ({"metadata": "[1]"}, "metadata"),
        ({"metadata": '{"duration_s": 1}'}, "metadata"),
        ({"metadata": '{"title": 1}'}, "metadata.title"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_field_leaves_nothing_behind(
    client: httpx.Client, parts: Services, fields: dict[str, str], field: str
) -> None:
    answer = upload(client, ("a.txt", b"x"), **fields)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field
    assert list((parts.uploads.folder / "incoming").iterdir()) == []


def test_what_is_no_multipart_is_refused(client: httpx.Client) -> None:
    assert client.post("/v1/assets", json={}).status_code == 415
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert client.post("/v1/assets", content=b"--x\r\n", headers=kind).status_code == 422
    assert client.post("/v1/assets", content=b"nonsense", headers=kind).status_code == 422
    assert client.post("/v1/assets", data={"tags": "a"}).status_code == 415


def test_thumbnails_of_pictures_and_films(client: httpx.Client, tmp_path: Path) -> None:
    film = write_film(tmp_path / "film.mp4", "mpeg4", None, size=(64, 48))
    answer = upload(client, ("film.mp4", film.read_bytes()), wait="true").json()
    (asset_id,) = answer["job"]["asset_ids"]
    url = f"/v1/assets/{asset_id}/thumbnail"
    colours = []
    for t in (0.0, 2.5, 99.0):
        picture = client.get(url, params={"t": t, "size": 32})
        assert picture.headers["content-type"] == "image/webp"
        image = Image.open(io.BytesIO(picture.content))
        assert image.size == (32, 24)
        colours.append("rgb"[int(np.argmax(image.getpixel((16, 12))))])
    assert colours == ["r", "g", "b"]
    client.delete(f"/v1/assets/{asset_id}")

    hits = client.post("/v1/search", json={"query": "anything"}).json()["hits"]
    by_name = {hit["name"]: hit for hit in hits}
    assert client.get(by_name["sky.jpg"]["thumbnail_url"]).status_code == 200
    assert client.get(by_name["tone.wav"]["thumbnail_url"]).status_code == 404


def test_a_document_without_pictures_has_a_card(client: httpx.Client) -> None:
    answer = upload(client, ("<rent>.csv", b"what,cost\nrent,1150"), wait="true").json()
    (asset_id,) = answer["job"]["asset_ids"]
    card = client.get(f"/v1/assets/{asset_id}/thumbnail")
    assert card.headers["content-type"] == "image/svg+xml"
    assert "sandbox" in card.headers["content-security-policy"]
    assert "1150" in "".join(ElementTree.fromstring(card.content).itertext())
    client.delete(f"/v1/assets/{asset_id}")


def test_thumbnails_in_two_sizes_are_kept_until_the_asset_is_deleted(
    client: httpx.Client, parts: Services, tmp_path: Path
) -> None:
    path = tmp_path / "green.png"
    Image.new("RGB", (1400, 700), "green").save(path)
    answer = upload(client, ("green.png", path.read_bytes()), wait="true").json()
    (asset_id,) = answer["job"]["asset_ids"]
    url = f"/v1/assets/{asset_id}/thumbnail"
    home = parts.thumbnails.folder / asset_id[:2] / asset_id
    sizes = []
    for size in (480, 1024, 100):
        made = client.get(url, params={"size": size})
        sizes.append(Image.open(io.BytesIO(made.content)).width)
        assert "immutable" in made.headers["cache-control"]
    assert sizes[0] == 480 < sizes[1] <= 1024
    assert sizes[2] == 100
    kept = sorted(home.iterdir())
    assert [file.name for file in kept] == ["0.000-1-1024.webp", "0.000-1-480.webp"]
    kept[1].write_bytes(b"from the disk")
    assert client.get(url, params={"size": 480}).content == b"from the disk"

    stranger = parts.thumbnails.folder / "ab" / ("ab" * 16)
    stranger.mkdir(parents=True)
    parts.thumbnails.sweep(parts.store.assets, Event())
    assert not stranger.exists()
    assert home.exists()
    client.delete(f"/v1/assets/{asset_id}")
    assert not home.exists()


def test_a_phone_s_heic_is_found_shown_and_searched_with(
    client: httpx.Client, tmp_path: Path
) -> None:
    data = write_heic(tmp_path / "IMG_1.HEIC", picture(1024, 768), 6, 256).read_bytes()
    job = upload(client, ("IMG_1.HEIC", data), wait="true").json()["job"]
    assert (job["state"], job["ingested"]) == ("done", 1)
    (asset_id,) = job["asset_ids"]
    found = client.post("/v1/search", files={"image": ("q.heic", data, "image/heic")}).json()
    best = found["hits"][0]
    assert (best["asset_id"], best["media_type"]) == (asset_id, "image/heic")
    sent = {"query": [{"image": base64.b64encode(data).decode()}]}
    assert client.post("/v1/search", json=sent).json()["hits"][0]["asset_id"] == asset_id
    seen = client.get(f"/v1/assets/{asset_id}/thumbnail", params={"size": 64})
    assert Image.open(io.BytesIO(seen.content)).size == (48, 64)
    content = client.get(f"/v1/assets/{asset_id}/content")
    assert (content.headers["content-type"], content.content) == ("image/heic", data)
    client.delete(f"/v1/assets/{asset_id}")


def test_a_picture_that_moves_is_searched_with_as_a_picture(client: httpx.Client) -> None:
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    file = io.BytesIO()
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:], duration=500)
    moving = {"image": ("q.avif", file.getvalue(), "image/avif")}
    assert client.post("/v1/search", files=moving).status_code == 200


def test_assets_are_listed_page_by_page(client: httpx.Client) -> None:
    whole = [asset["asset_id"] for asset in client.get("/v1/assets").json()["assets"]]
    assert len(whole) == 4
    paged, cursor = [], ""
    while True:
        page = client.get("/v1/assets", params={"limit": 3, "cursor": cursor}).json()
        paged += [asset["asset_id"] for asset in page["assets"]]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert paged == whole == sorted(whole)


@pytest.mark.root
def test_a_full_disk_refuses_uploads_and_leaves_nothing_of_them(
    client: httpx.Client, parts: Services
) -> None:
    with small_disk(parts.uploads.folder, 1):
        answer = upload(client, ("large.txt", b"x" * 3 * 2**20))
        assert answer.status_code == 507, answer.text
        error = answer.json()["error"]
        assert error["type"] == "DiskError"
        assert str(parts.uploads.folder) not in answer.text
        assert list(parts.uploads.folder.glob("incoming/*")) == []
        assert upload(client, ("small.txt", b"There is room for a little."), wait="true").is_success


def test_an_upload_waits_on_the_disk_while_the_store_takes_no_more(
    client: httpx.Client, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise DiskError("/data/store cannot be written: No space left on device.")

    text = b"The ferryman sleeps until the bell rings."
    with monkeypatch.context() as patch:
        patch.setattr(type(parts.store), "check_writable", refuse)
        job = upload(client, ("ferryman.txt", text)).json()["job"]
        while not parts.jobs.status(job["id"]).waits_for:
            sleep(0.05)
        shown = client.get(f"/v1/jobs/{job['id']}")
        assert (shown.json()["state"], shown.json()["failed"]) == ("running", 0)
        assert "/data" not in shown.text
    while not parts.jobs.status(job["id"]).ended:
        sleep(0.05)
    assert parts.jobs.status(job["id"]).ingested == 1
