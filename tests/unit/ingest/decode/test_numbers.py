"""Numbers are described, prose is read."""

from pathlib import Path

import numpy as np
import pytest

from ingest import IngestConfig, Segment, identify, segments
from ingest.kinds.numbers import parts

CONFIG = IngestConfig()
POINTS = np.random.default_rng(3).normal(size=(2_000, 3))
ROWS = "\n".join(" ".join(f"{value:.4f}" for value in row) for row in POINTS)


def decode(path: Path, text: str) -> list[Segment]:
    path.write_text(text)
    return list(segments(identify(path, CONFIG), CONFIG))


def ply() -> str:
    properties = "\n".join(f"property float {axis}" for axis in "xyz")
    header = f"ply\nformat ascii 1.0\nelement vertex 2000\n{properties}\nend_header\n"
    return header + ROWS + "\n"


def pcd() -> str:
    return (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\n"
        "TYPE F F F\nCOUNT 1 1 1\nWIDTH 2000\nHEIGHT 1\nPOINTS 2000\nDATA ascii\n" + ROWS
    )


def obj() -> str:
    vertices = "\n".join(f"v {row}" for row in ROWS.splitlines())
    faces = "\n".join(f"f {i}/{i}/{i} {i + 1}/2/3 {i + 2}/5/1" for i in range(1, 500))
    return f"# Made by hand\no Bunny\n{vertices}\ns off\n{faces}\n"


def geojson() -> str:
    pairs = ",\n      ".join(f"[\n        {x:.5f},\n        {y:.5f}\n      ]" for x, y, _ in POINTS)
    return f'{{"type": "LineString",\n  "coordinates": [\n      {pairs}\n  ]\n}}\n'


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("bunny.xyz", ROWS, "bunny: 2,000 × 3 numbers"),
        ("scan.pts", f"2000\n{ROWS}", "scan: 2,000 × 3 numbers"),
        ("scan.asc", ROWS.replace(" ", "\t"), "scan: 2,000 × 3 numbers"),
        ("comma.txt", ROWS.replace(".", ",").replace(" ", ";"), "comma: "),
        ("bunny.ply", ply(), "bunny: 2,000 × 3 numbers\nply\nformat ascii 1.0"),
        ("bunny.pcd", pcd(), "bunny: 2,000 × 3 numbers\n# .PCD v0.7"),
        ("bunny.obj", obj(), "bunny: "),
        ("one-line.txt", ROWS.replace("\n", " "), "one-line: 6,000 numbers"),
        ("pi.txt", "3." + "1415926535" * 500, "pi: "),
        ("small.txt", "1 2 3\n4 5 6\n7 8 9\n10 11 12", "small: 4 × 3 numbers"),
        ("nan.txt", "nan -inf 1e-5\n" * 40, "nan: 40 × 3 numbers"),
        ("ids.csv", "0xff12, 0xab34\n" * 40, "ids: 40 × 2 numbers"),
    ],
)
def test_lists_of_numbers_are_described_by_name_and_shape(
    tmp_path: Path, name: str, text: str, told: str
) -> None:
    (segment,) = decode(tmp_path / name, text)
    assert segment.content.startswith(told)
    assert segment.snippet == segment.content
    assert len(segment.content) < 700
    assert (segment.char_start, segment.char_end) == (0, pytest.approx(len(text), abs=20))


def test_a_table_is_described_by_its_name_header_and_first_rows(tmp_path: Path) -> None:
    rows = "".join(f"{i % 24},{i / 7:.2f},{i * 3},{('dry', 'wet')[i % 2]}\n" for i in range(300))
    (segment,) = decode(tmp_path / "station.csv", "hour,temperature,pressure,soil\n" + rows)
    assert segment.content == (
        "station: 300 × 3 numbers\nhour,temperature,pressure,soil\n"
        "0,0.00,0,dry\n1,0.14,3,wet\n2,0.29,6,dry"
    )


def test_wide_rows_are_shown_in_part(tmp_path: Path) -> None:
    header = ",".join(f"band{i}" for i in range(60))
    row = ",".join(f"{i / 7:.17f}" for i in range(60))
    assert len(row) > 1_000
    (segment,) = decode(tmp_path / "wide.csv", f"{header}\n" + f"{row}\n" * 50)
    assert segment.content.splitlines()[:2] == ["wide: 50 × 60 numbers", header]
    assert all(row.endswith(" …") for row in segment.content.splitlines()[2:])


def test_prose_around_a_table_is_read(tmp_path: Path) -> None:
    before = "The tide was measured at the old pier for a whole year.\n" * 20
    after = "Nobody knows why the gauge stopped in December.\n" * 20
    text = f"{before}\nday height\n" + "12 3.45\n" * 100 + after
    found = decode(tmp_path / "tide.txt", text)
    (table,) = (s for s in found if s.content.startswith("tide: "))
    assert table.content == "tide: 100 × 2 numbers\nday height\n12 3.45\n12 3.45\n12 3.45"
    prose = [s for s in found if s is not table]
    for segment in prose:
        assert segment.content == text[segment.char_start : segment.char_end]
        assert not any(digit in segment.content for digit in "0123456789")
    assert sum("gauge" in segment.content for segment in prose) >= 1
    assert [s.index for s in found] == list(range(len(found)))
    starts = [s.char_start or 0 for s in found]
    assert starts == sorted(starts)


LETTER = """Sehr geehrte Frau Weber,

zum 31.12.2025 weist Ihr Konto DE12 5001 0517 0648 4898 90 einen Saldo von 12.345,67 EUR auf.
Die Gebühren betragen 4,90 EUR im Monat, also 58,80 EUR im Jahr 2025.
Bitte überweisen Sie bis zum 15.01.2026 den Betrag von 1.200,00 EUR.
"""
RECIPE = """Bread
500 g flour
350 ml water
10 g salt
7 g yeast
Bake at 240 °C for 15 minutes, then at 200 °C for 30 minutes.
"""
CHINESE = "2024年3月5日，全市共有1234家企业参加，其中78%来自外省，总金额达到5.6亿元。\n" * 12
CODE = (
    """def area(width, height):
    if width < 0 or height < 0:
        raise ValueError(1, 2, 3)
    return 0.5 * width * height + 12 / 7
"""
    * 8
)
POEM = """1914
We went to war in 1914,
1915
and sang in 1915,
1916
and in 1916 we wept.
1917
1918
Then bells, at 11 on 11/11.
"""
SUBTITLES = "".join(
    f"{i}\n00:0{i % 6}:01,000 --> 00:0{i % 6}:03,500\nWhere have you been, {i} years or more?\n\n"
    for i in range(60)
)
PLACES = "place,lat,lon\n" + "".join(
    f"{name}{i},{50 + i / 10},{8 + i / 9}\n"
    for i, name in enumerate(["Berlin", "Bonn", "Kiel", "Ulm", "Jena", "Trier"] * 10)
)
LEAGUE = "".join(
    f"{name} {i} 34 {i} 99:38 80\n" for i, name in enumerate(["Bayern", "Leipzig", "Mainz"] * 20)
)
LOG = "".join(f"2026-01-05 12:00:{i:02} INFO request {i} took 12 ms\n" for i in range(60))
HINDI = "".join(f"नमस्ते: {i}, किताब: {i * 3}\n" for i in range(80))


@pytest.mark.parametrize(
    "text",
    [LETTER, RECIPE, CHINESE, CODE, POEM, SUBTITLES, PLACES, LEAGUE, LOG, "42", "Room 42", HINDI],
    ids="letter recipe chinese code poem subtitles places league log number room hindi".split(),
)
def test_prose_with_numbers_is_read_in_whole(text: str) -> None:
    if text is LEAGUE:
        text = "".join(f"{line[:3]}{i}{line[3:]}\n" for i, line in enumerate(text.splitlines()))
    assert [tuple(span) for span in parts(text, "name")] == [(0, len(text), "")]


def test_this_project_s_documents_are_prose() -> None:
    pages = [*Path("docs").glob("*.md"), Path("README.md"), Path("CONTRIBUTING.md")]
    assert len(pages) > 8
    for page in pages:
        assert not any(span.table for span in parts(page.read_text(), page.stem)), page


@pytest.mark.slow
@pytest.mark.parametrize("word", ["1" * 990 + "x", "+1" * 490 + "x"], ids=["digits", "signs"])
def test_what_is_nearly_a_number_does_not_hold_anything_up(word: str) -> None:
    """A careless pattern takes longer for this than a test may (300 s)."""
    text = f"{word} " * 12_000
    assert len(list(parts(text, "name"))) == 1


def test_numbers_in_a_page_and_in_an_encoding(tmp_path: Path) -> None:
    cells = "".join(f"<tr><td>{i}</td><td>{i / 7:.3f}</td></tr>" for i in range(200))
    page = (
        f"<html><title>Gauge</title><p>{'The river rose. ' * 60}</p><table>{cells}</table></html>"
    )
    found = decode(tmp_path / "a.html", page)
    assert found[-1].content == "Gauge: 400 numbers"
    assert {"The river rose."} == {s.content[:15] for s in found[:-1]}
    (tmp_path / "b.txt").write_bytes(ROWS.encode("utf-16"))
    (told,) = segments(identify(tmp_path / "b.txt", CONFIG), CONFIG)
    assert told.content == "b: 2,000 × 3 numbers"


def test_coordinates_within_json_are_described(tmp_path: Path) -> None:
    (segment,) = decode(tmp_path / "walk.geojson", geojson())
    assert segment.content.startswith("walk: 4,000 numbers")
    assert len(segment.content) < 700


def test_the_labels_of_all_rows_are_kept(tmp_path: Path) -> None:
    """Only the first rows are shown, and a hit for "Rostock" was lost with the others."""
    names = ["Kiel", "Oslo", "Bergen", "Turku", "Rostock"]
    rows = [f"{name},{','.join(str(n * 7.5) for n in range(30))}" for name in names]
    (told,) = decode(tmp_path / "ports.csv", "\n".join(rows))
    assert told.content.startswith("ports: 5 × 30 numbers")
    assert all(told.content.count(name) == 1 for name in names)
