"""The picture head: its data, what is held back from it, and the fit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corpora.photo_captions import FURTHER, LANGUAGES, asked, held_back, not_asked
from encoder.space import l2_normalize
from encoder.towers.picture.head import load_image_head
from scripts import captioned_pictures
from scripts.train_picture_head import answering, fit, write

RNG = np.random.default_rng(0)


def listing(captions: dict[int, list[str]]) -> str:
    images = [{"id": number, "license": 1 + number % 8} for number in captions]
    said = [{"image_id": n, "caption": one} for n, ones in captions.items() for one in ones]
    return json.dumps({"images": images, "annotations": said})


def touch(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    val = {7: ["A dog runs. ", "A dog\n outside"], 12: ["Two cats"], 30: ["A  train"]}
    touch(tmp_path / "COCO_Dataset/annotations/captions_val2017.json", listing(val))
    touch(
        tmp_path / "tiny_coco_dataset/tiny_coco/annotations/captions_train2017.json",
        listing({99: ["A boat"]}),
    )
    touch(tmp_path / "COCO-MINI/annotations/captions_train2017.json", listing({}))
    for place in ("coco_yolo/coco/images/val2017", "COCO-MINI/val2017", "COCO_Tiny/val2017"):
        touch(tmp_path / place / "000000000012.jpg")
    touch(tmp_path / "coco_yolo/coco/images/train2017/000000000007.jpg")
    touch(tmp_path / "tiny_coco_dataset/tiny_coco/train2017/000000000099.jpg")
    touch(tmp_path / "coco128_yolo/images/val2017/000000000555.jpg")  # which has no captions
    single = tmp_path / "semantic-image-search/data"
    said = ["A red bus", "a man surfs", "A man surfs.", "A dog, outside", "missing"]
    touch(single / "captions.csv", "".join(f'sample_{i}.jpg,"{s}"\n' for i, s in enumerate(said)))
    for i in range(4):
        touch(single / f"images/sample_{i}.jpg")
    for language in LANGUAGES + FURTHER:
        described = {7: "A dog runs.", 1: "A red bus.", 2: "a man surfs", 3: "A bird"}
        lines = [
            json.dumps({"sentences": [f"{said}"], "img_path": f"COCO_val2014_{n:012}.jpg"})
            for n, said in described.items()
        ]
        lines.append(json.dumps({"sentences": ["A kite"], "img_path": "1007129816.jpg"}))
        touch(
            tmp_path / f"iglue/datasets/xFlickrCO/annotations/{language}/test.jsonl",
            "\n".join(lines),
        )
    return tmp_path


def test_repositories_are_fetched_at_their_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tmp_path / "github" / "someone" / "photos"
    commits = []
    for text in ("then", "now"):
        touch(origin / "file.txt", text)
        for command in ("init", "add .", f"-c user.name=a -c user.email=a commit -qm {text}"):
            subprocess.run(["git", "-C", str(origin), *command.split()], check=True)
        head = ["git", "-C", str(origin), "rev-parse", "HEAD"]
        commits.append(subprocess.check_output(head, text=True).strip())
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", f"url.file://{tmp_path}/github/.insteadOf")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "https://github.com/")
    monkeypatch.setattr(captioned_pictures, "REPOSITORIES", {"someone/photos": commits[0]})

    captioned_pictures.fetch(tmp_path / "data")
    captioned_pictures.fetch(tmp_path / "data")

    assert (tmp_path / "data" / "photos" / "file.txt").read_text() == "then"


def test_each_photograph_is_read_once_with_its_captions(data: Path) -> None:
    pictures = captioned_pictures.read(data)

    names = ["7", "12", "99", "sample_0", "sample_1", "sample_2", "sample_3"]
    assert [picture.name for picture in pictures] == names
    assert pictures[0].captions == ("A dog runs.", "A dog outside")
    assert [picture.licence for picture in pictures] == [8, 5, 4, 0, 0, 0, 0]
    assert pictures[1].path == data / "coco_yolo/coco/images/val2017/000000000012.jpg"


def test_asked_for_is_what_one_number_or_caption_shows(data: Path) -> None:
    tests = asked(data, captioned_pictures.read(data))

    found = [(test.picture.name, test.sentences[1]) for test in tests]
    assert found == [("7", "A dog runs."), ("sample_0", "A red bus.")]  # two men surf


def test_what_shares_a_caption_is_held_back_too(data: Path) -> None:
    assert held_back(data, captioned_pictures.read(data)) == {"7", "sample_0", "sample_3"}


def test_sentences_of_other_photographs_are_reported(data: Path) -> None:
    others = not_asked(data, captioned_pictures.read(data))

    assert others == [("a man surfs",) * 8, ("A bird",) * 8]


def test_fit_finds_a_linear_map(tmp_path: Path) -> None:
    n_features, dim = 40, 12
    true = RNG.normal(size=(n_features, dim))
    features = RNG.normal(3, RNG.uniform(0.1, 9, n_features), (300, n_features))
    said = (features - 3) @ true
    said = l2_normalize(said / said.std() + 5)  # captions share a direction
    features = features.astype(np.float32)

    head = fit(features[:250], [30, 10], said[:250], np.eye(dim), RNG.normal(size=(3, dim)))
    write(head, tmp_path / "head.npz")
    write(head, tmp_path / "again.npz")

    assert (tmp_path / "head.npz").read_bytes() == (tmp_path / "again.npz").read_bytes()
    rows = load_image_head(tmp_path / "head.npz").describe(features[250:])
    scores = rows @ (said[250:] - said[:250].mean(axis=0)).T
    assert (scores.argmax(axis=1) == np.arange(50)).mean() > 0.5


def test_wide_outputs_weigh_no_more_than_narrow_ones() -> None:
    features = RNG.normal(size=(50, 110)).astype(np.float32)

    head = fit(features, [100, 10], l2_normalize(RNG.normal(size=(50, 4))), np.eye(4), np.eye(4))

    variances = (features * head.scale).var(axis=0)
    assert variances[:100].sum() == pytest.approx(variances[100:].sum())


def test_labels_are_centred_and_turned() -> None:
    features, labels = RNG.normal(size=(9, 5)).astype(np.float32), RNG.normal(size=(3, 4))
    turned = RNG.normal(size=(4, 4))

    head = fit(features, [5], l2_normalize(RNG.normal(size=(9, 4))), turned, labels)

    np.testing.assert_allclose(head.labels.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(head.labels[1] - head.labels[0], (labels[1] - labels[0]) @ turned,
                               rtol=1e-5)  # fmt: skip


def test_rows_that_answer_hold_neither_language_nor_what_captions_share() -> None:
    languages, common = RNG.normal(size=(3, 8)), RNG.normal(size=8)
    said = RNG.normal(size=(500, 1, 8)) + languages + 0.1 * RNG.normal(size=(500, 3, 8)) + common

    turned = answering(said, common)

    means = said.mean(axis=0)
    for gone in (means[1] - means[0], means[2] - means[0], common):
        np.testing.assert_allclose(turned @ gone, 0, atol=1e-9)


def test_directions_of_wording_count_for_less() -> None:
    wording = np.array([1.0] * 4 + [5.0] * 4)
    said = RNG.normal(size=(4000, 1, 8)) + wording * RNG.normal(size=(4000, 3, 8))

    turned = answering(said, RNG.normal(size=8))

    kept = np.linalg.norm(turned, axis=1)
    assert kept[:4].mean() > 1.5 * kept[4:].mean()
