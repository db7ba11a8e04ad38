"""Photos by one model, sounds by another, texts by the bundle: one store, one list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw, ImageFont

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import InputError, ModelError
from encoder.models.lanes import canonical
from encoder.models.spec import DEFAULT_MODEL
from encoder.system.cache import cache_home
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, Item, Waveform
from examples.speech import Speaker
from ingest import IngestConfig
from search.engine import SearchEngine
from search.errors import NotFoundError, SpaceMismatchError
from search.query.query import Query, Term
from search.store.stored_spaces import drop_former
from search.types import IngestRequest, SearchResult
from tests.contract.rows import stored_spaces
from tests.integration.conftest import Run
from tests.support import tiny_models as tiny
from tests.support.waiting import wait_for
from workers.cli.running import engine_of
from workers.config import Settings
from workers.evaluation.judging import judge
from workers.evaluation.questions import Content, Question, QuestionSet
from workers.library.check import checked
from workers.library.portable import Manifest, export_store, import_store, open_export
from workers.library.reindex import ReindexPlan, move
from workers.pipeline.calibration import LEAST_OF_NEW, calibrate
from workers.pipeline.commit_rows import remove
from workers.serving.resources import Resources

pytestmark = pytest.mark.slow

RATE = 16_000
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, multilingual_home: Path) -> str:
    assert multilingual_home.is_dir()
    photos = tiny.save("clip", tmp_path_factory.mktemp("clip"))
    sounds = tiny.save("clap", tmp_path_factory.mktemp("clap"))
    return f"bundle:multilingual,image=dir:{photos},audio=dir:{sounds}"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    scan = Image.new("RGB", (960, 720), "white")
    font = ImageFont.load_default(32)
    ImageDraw.Draw(scan).text((80, 80), "Ferry to Oslo at nine", fill="black", font=font)
    scan.save(folder / "scan.png")
    Image.new("RGB", (64, 64), "red").save(folder / "red.png")
    hiss = np.random.default_rng(0).normal(0, 0.05, 3 * RATE)
    soundfile.write(folder / "hiss.wav", hiss, RATE)
    (folder / "note.txt").write_text("An oven for bread.")
    return folder


@pytest.fixture(scope="module")
def filled(
    models: str, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Resources]]:
    store = tmp_path_factory.mktemp("store") / "store"
    with opened(store, models) as resources:
        report = resources.pipeline().ingest(IngestRequest(sorted(map(str, files.iterdir()))))
        assert report.failures == []
        assert report.limits == {}
        yield store, resources


@contextmanager
def opened(store: Path, model: str = DEFAULT_MODEL) -> Iterator[Resources]:
    config = EncoderConfig(model=model)
    ingest = IngestConfig(isolate=False)
    resources = Resources(Settings(store=str(store), encoder=config, ingest=ingest))
    try:
        yield resources
    finally:
        resources.close()


def answered(resources: Resources, query: Query) -> SearchResult:
    with ExitStack() as stack:
        return engine_of(resources, stack).search(query)


def names(result: SearchResult) -> list[str]:
    return [Path(hit.uri).name for hit in result.hits]


def test_a_sentence_finds_all_kinds_in_one_list(filled: tuple[Path, Resources]) -> None:
    _, resources = filled
    query = Query([Item(TEXT, "the ferry to Oslo", QUERY)], explain=True)
    with ExitStack() as stack:
        engine = engine_of(resources, stack)
        wait_for(lambda: not engine.search(query).warnings, 60, "the names of the files")
        result = engine.search(query)
    assert names(result)[0] == "scan.png"
    assert {*names(result)} == {"scan.png", "red.png", "hiss.wav", "note.txt"}
    assert result.explain is not None
    of_kinds = {kind: facts["model"] for kind, facts in result.explain["modalities"].items()}
    assert of_kinds["text"] == "bundle:multilingual"
    assert of_kinds["image"].startswith("dir:")
    assert len({*of_kinds.values()}) == 3


def test_the_store_remembers_its_models(filled: tuple[Path, Resources], models: str) -> None:
    store, _ = filled
    with opened(store) as resources:
        assert canonical(resources.encoder().model) == canonical(models)
        found = answered(resources, Query([Item(TEXT, "bread", QUERY)]))
        assert names(found)[0] == "note.txt"
        assert not resources.is_left_behind(resources.encoder())


def test_a_model_that_takes_no_such_query_is_left_out_and_named(
    filled: tuple[Path, Resources],
) -> None:
    _, resources = filled
    hiss = Waveform(np.random.default_rng(0).normal(0, 0.05, 3 * RATE).astype(np.float32), RATE)
    result = answered(resources, Query([Item(AUDIO, hiss, QUERY)]))
    assert names(result)[0] == "hiss.wav"
    assert "red.png" not in names(result)
    (warning,) = result.warnings
    assert "image" in warning
    with pytest.raises(InputError, match="audio"):
        answered(resources, Query([Item(AUDIO, hiss, QUERY)], modalities=(IMAGE,)))


def test_more_like_a_photo_are_photos(filled: tuple[Path, Resources]) -> None:
    _, resources = filled
    rows = {Path(row.locations[0]).name: row.asset_id for row in resources.store().scan()}
    result = answered(resources, Query([Term(asset_id=rows["red.png"])]))
    assert names(result) == ["scan.png"]
    assert any("text" in warning for warning in result.warnings)
    with pytest.raises(NotFoundError):
        answered(resources, Query([Term(asset_id="0" * 64)]))


def test_what_is_ingested_again_is_known_and_what_is_deleted_is_gone(
    models: str, files: Path, tmp_path: Path
) -> None:
    with opened(tmp_path / "store", models) as resources:
        first = resources.pipeline().ingest(IngestRequest(sorted(map(str, files.iterdir()))))
        again = resources.pipeline().ingest(IngestRequest(sorted(map(str, files.iterdir()))))
        assert (first.ingested, again.ingested, again.unchanged) == (4, 0, 4)
        store = resources.store()
        assert checked(store, resources.uploads, lambda _done, _all: None)["differences"] == []
        assert remove(store, str(files)) == 4
        assert dict(store.sizes()) == {}
        assert list(store.scan()) == []


def test_a_store_moves_to_several_models_and_back(models: str, files: Path, tmp_path: Path) -> None:
    store, photos = tmp_path / "store", models.split(",")[1].removeprefix("image=")
    with opened(store, photos) as resources:
        report = resources.pipeline().ingest(IngestRequest(sorted(map(str, files.iterdir()))))
        assert [Path(each.uri).name for each in report.failures] == ["hiss.wav"]
        moved = move(resources, ReindexPlan(model=models, n_queries=2))
        assert (moved.switched, moved.reason) == (True, "")
        assert resources.is_left_behind(resources.encoder())
    with opened(store) as resources:
        assert canonical(resources.encoder().model) == canonical(models)
        assert names(answered(resources, Query([Item(TEXT, "bread", QUERY)])))[0] == "note.txt"
        assert move(resources, ReindexPlan(rollback=True)).switched
    with opened(store) as resources:
        assert resources.encoder().model == photos
        found = answered(resources, Query([Item(TEXT, "bread", QUERY)]))
        assert {*names(found)} == {"scan.png", "red.png", "note.txt"}
    drop_former(str(store))
    with opened(store) as resources:
        assert len(stored_spaces(str(store))) == 1


def test_each_lane_is_measured_by_its_own_model(models: str, files: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(LEAST_OF_NEW):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    with opened(tmp_path / "store", models) as resources:
        pipeline = resources.pipeline()
        pipeline.ingest(IngestRequest(sorted(map(str, [*files.iterdir(), *photos.iterdir()]))))
        pipeline.calibrate_if_due(is_last=True)
        store, encoder = resources.store(), resources.encoder()
        with closing(SearchEngine(encoder.home, store, lanes=encoder.lanes)) as engine:
            constants = engine.space().calibration
        assert constants[TEXT] == encoder.space.calibration[TEXT]
        assert constants[IMAGE] != encoder.space.calibration[IMAGE]
        sounds = store.lanes.space(AUDIO).fingerprint
        assert AUDIO not in store.calibrations.scoring(sounds).constants  # one sound is too few
        assert AUDIO in constants  # by the bank
        measured = calibrate(encoder, store)["measured"]
        assert measured.keys() == {"text", "image", "audio"}
        calibrate(encoder, store, shipped=True)  # of the bundle's lane; the others ship none
        assert store.calibrations.scoring().constants == encoder.space.calibration
        pictures = store.lanes.space(IMAGE).fingerprint
        assert store.calibrations.scoring(pictures).constants.keys() == {IMAGE}


def test_a_folder_of_photos_scans_speech_and_recordings_by_commands(
    here: Run,
    multilingual_home: Path,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert multilingual_home.is_dir()
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    photos, folder = tiny.save("clip", tmp_path / "clip"), tmp_path / "files"
    copytree(files, folder)
    speaker = Speaker(cache_home())
    said = speaker.say("The museum is closed on Monday while the paintings are restored.")
    soundfile.write(folder / "talk.wav", said, speaker.sampling_rate)

    finds = {
        lane["model"]: lane["finds"]
        for lane in here("models", "use", f"image=dir:{photos}")["lanes"]
    }
    assert finds == {"bundle:multilingual": ["text", "audio"], f"dir:{photos}": ["image"]}
    report = here("ingest", folder)
    assert (report["ingested"], report["failures"], report["limits"]) == (5, [], {})
    here("models", "use", "--reset")  # the store keeps its own
    for question, name in (("ferry to Oslo", "scan.png"), ("is the museum closed", "talk.wav")):
        best = here("search", question)["hits"][0]
        assert (Path(best["uri"]).name, best["modality"]) == (name, "text")
    kinds = {hit["modality"] for hit in here("search", "something red")["hits"]}
    assert kinds >= {"image", "audio"}
    lanes = here("models", "list")["lanes"]
    assert {lane["model"]: lane["finds"] for lane in lanes} == finds
    assert lanes[0]["cpu_ms"].keys() == {"text", "audio"}  # what was prepared is measured
    assert min(lanes[0]["cpu_ms"].values()) > 0
    found = {finding["part"]: finding for finding in here("doctor")["findings"]}
    assert found["model"]["facts"]["lanes"]["image"]["model"] == f"dir:{photos}"
    assert found["services"]["facts"] == {"reads": True, "hears": True, "limits": []}


def test_a_hub_model_is_brought_to_a_machine_without_a_network(
    here: Run,
    multilingual_home: Path,
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    assert multilingual_home.is_dir()
    monkeypatch.setenv("ANYMODAL_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ANYMODAL_ENCODER__MODEL")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    here("models", "use", "image=hf:org/photos")
    said = here("ingest", files, fails=1)
    told = re.search(r"`hf download org/photos` .* copy (\S+) .* to (\S+) here", said)
    assert told, said
    # As that command leaves it in the cache of the other machine.
    brought = Path(told[2]) / told[1]
    tiny.save("clip", brought / "snapshots" / COMMIT)
    (brought / "refs").mkdir()
    (brought / "refs" / "main").write_text(COMMIT)
    assert here("ingest", files)["failures"] == []
    hits = here("search", "something red")["hits"]
    assert {"image", "audio"} <= {hit["modality"] for hit in hits}
    assert all(0 <= hit["probability"] <= 1 for hit in hits)
    lanes = {lane["model"]: lane["finds"] for lane in here("models", "list")["lanes"]}
    assert lanes["hf:org/photos"] == ["image"]


def test_each_kind_is_judged_in_its_own_space(models: str, files: Path) -> None:
    photo, scan, note, hiss = (
        Content(file=files / name) for name in ("red.png", "scan.png", "note.txt", "hiss.wav")
    )
    words, sound = Content("a red square"), Content(file=files / "hiss.wav")
    questions = [Question(words, {photo: 1.0, note: 1.0}), Question(sound, {photo: 1.0})]
    asked = QuestionSet("list", questions, [photo, scan, note, hiss])
    of_lanes = judge("lanes", MultiModalEncoder(models), asked, IngestConfig())
    bundle, photos = models.split(",")[0], models.split(",")[1].removeprefix("image=")
    for kind, model in ((TEXT, bundle), (IMAGE, photos)):
        alone = judge("alone", MultiModalEncoder(model), asked, IngestConfig())
        assert of_lanes.pairs[TEXT, kind] == alone.pairs[TEXT, kind]
    assert of_lanes.pairs.keys() == {(TEXT, TEXT), (TEXT, IMAGE)}
    assert of_lanes.failed == {str(sound): f"{photos} takes no audio"}


def test_lanes_are_exported_and_imported(
    filled: tuple[Path, Resources], models: str, tmp_path: Path
) -> None:
    _, resources = filled
    said, folder = Manifest.of(resources.encoder()), tmp_path / "out"
    store, progress = resources.store(), lambda _done, _all: None
    assert export_store(store, folder, said, progress, assets_at_once=3).whole
    manifest = open_export(folder)
    manifest.check_space(said)
    with pytest.raises(SpaceMismatchError, match="--model"):
        manifest.check_space(replace(said, lanes={}))
    with opened(tmp_path / "store", models) as other:
        assert import_store(other.store(), folder, manifest, progress).n_added == 4
        assert import_store(other.store(), folder, manifest, progress).n_added == 0
        assert dict(other.store().sizes()) == dict(store.sizes())
        assert list(other.store().scan()) == list(store.scan())
        query = Query([Item(TEXT, "the ferry to Oslo", QUERY)])
        assert names(answered(other, query)) == names(answered(resources, query))


def test_embeddings_of_several_models_are_not_fused(models: str) -> None:
    encoder = MultiModalEncoder(models)
    picture = np.zeros((32, 32, 3), np.uint8)
    encoded = encoder.encode_multimodal(text="rain", image=picture)
    assert encoded.text is not None
    assert encoded.image is not None
    assert encoded.text.shape != encoded.image.shape
    with pytest.raises(InputError, match="space of their own"):
        _ = encoded.fused
    with pytest.raises(InputError, match="encode_rows"):
        encoder.encode_items([Item(TEXT, "rain"), Item(IMAGE, picture)])
    rows = encoder.encode_rows([Item(IMAGE, picture), Item(TEXT, "rain")])
    np.testing.assert_allclose(rows[0][0], encoded.image, atol=1e-5)
    np.testing.assert_allclose(rows[1][0], encoded.text, atol=1e-5)


def test_models_by_modality_are_one_name(models: str) -> None:
    home, photos, sounds = models.split(",")
    by_modality = {
        "text": home,
        "image": photos.removeprefix("image="),
        "audio": sounds.removeprefix("audio="),
    }
    encoder = MultiModalEncoder(models=by_modality)
    assert sorted(encoder.model.split(",")) == sorted(models.split(","))
    with pytest.raises(ModelError, match="no tower for audio"):
        MultiModalEncoder(f"{home},audio={photos.removeprefix('image=')}")
