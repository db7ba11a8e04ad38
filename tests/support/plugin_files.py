"""Point clouds and ECGs as files, drawn by the scripts of the example packages."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np

PLUGINS = Path(__file__).parents[2] / "examples" / "plugins"


def write_points(folder: Path, seed: int = 7) -> dict[str, Path]:
    """A cloud of each format, by what it shows."""
    import laspy
    import trimesh

    script = _script("points", "make_shapes")
    random = np.random.default_rng(seed)
    named = {"ring": ".ply", "chair": ".ply", "table": ".las", "cone": ".xyz", "tree": ".npy"}
    files = {
        word: folder / f"{number}{suffix}" for number, (word, suffix) in enumerate(named.items())
    }
    clouds = {
        word: script.drawn(make, random)
        for name, make in script.SHAPES.items()
        if (word := name.split(",")[0].split()[:2][-1]) in files
    }
    for word, encoding in (("ring", "ascii"), ("chair", "binary")):
        made = trimesh.PointCloud(clouds[word]).export(file_type="ply", encoding=encoding)
        files[word].write_bytes(made)
    las = laspy.create(point_format=0, file_version="1.2")
    las.header.scales = [1e-4] * 3
    las.xyz = clouds["table"].astype(np.float64)
    las.write(files["table"])
    np.savetxt(files["cone"], clouds["cone"], fmt="%.6f")
    np.save(files["tree"], clouds["tree"])
    return files


def write_ecgs(folder: Path, seed: int = 7) -> dict[str, Path]:
    """A recording of each format, of 25 s, by its rhythm."""
    import edfio
    import wfdb

    script = _script("ecg", "make_rhythms")
    script.LENGTH_S = 25
    random = np.random.default_rng(seed)
    leads = {name.partition(",")[0]: script.drawn(random, name) for name in script.NAMES}
    edf = edfio.Edf(
        [
            edfio.EdfSignal(random.normal(size=25 * 10), 10, label="Resp"),
            edfio.EdfSignal(leads["atrial fibrillation"], 125, label="ECG II"),
        ]
    )
    edf.write(folder / "a.edf")
    slow = leads["bradycardia"][:, None].astype(np.float64)
    wfdb.wrsamp(
        "b", fs=125, units=["mV"], sig_name=["II"], p_signal=slow, fmt=["16"], write_dir=str(folder)
    )
    times_s = np.arange(25 * 125) / 125
    flat = np.column_stack([times_s, leads["asystole"]])
    np.savetxt(folder / "c.csv", flat, "%.4f", ",", header="time,ECG", comments="")
    return {
        "atrial fibrillation": folder / "a.edf",
        "bradycardia": folder / "b.hea",
        "asystole": folder / "c.csv",
    }


def _script(package: str, name: str) -> ModuleType:
    if name not in sys.modules:
        spec = spec_from_file_location(name, PLUGINS / package / f"{name}.py")
        assert spec
        assert spec.loader
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
