"""Read the tensors of a ``.pth`` file, in either format of ``torch.save``, without torch.

The file is a pickle, and a pickle can run code. Here it may name tensors, and nothing else.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.errors import ModelError

Tensors: TypeAlias = dict[str, NDArray[Any]]

_MAGIC = 0x1950A86A20F9469CFC6C
"""The first pickle of a file in the format before torch 1.6."""

_STORAGES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8",
    "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "|i1", "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}  # fmt: skip

_NUMBERS = {
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
"""NumPy scalars that some checkpoints hold besides their tensors; they are not read."""


def read_tensors(path: Path) -> Tensors:
    """The tensors of a state dict, or of the first state dict of a tuple, by name.

    Raises:
        ModelError: the file is damaged, names anything but tensors, or holds no state dict.
    """
    try:
        loaded = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        top = loaded[0] if isinstance(loaded, tuple) and loaded else loaded
        if not isinstance(top, Mapping):
            raise ValueError(f"a {type(top).__name__} instead of a state dict")
        return {str(name): view.read() for name, view in top.items() if isinstance(view, _View)}
    # a damaged pickle can make its reader raise any of these
    except (
        OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError,
        pickle.UnpicklingError, zipfile.BadZipFile, OverflowError, MemoryError,
    ) as error:  # fmt: skip
        raise ModelError(
            f"{path} holds no tensors that can be read: {error}.",
            remedy="Fetch the file again, with `anymodal bundle fetch` if it is of the bundle.",
        ) from error


@dataclass(eq=False)
class _Storage:
    """Values in a row; ``values`` may be filled after the tensors that view them are made."""

    dtype: str
    n_values: int
    values: NDArray[Any] | None = None

    def fill(self, data: bytes) -> None:
        values = np.frombuffer(data, self.dtype)
        if len(values) != self.n_values:
            raise ValueError(f"a storage of {len(values)} values instead of {self.n_values}")
        self.values = values


@dataclass(frozen=True, eq=False)
class _View:
    """A tensor: where in a storage its values are."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> NDArray[Any]:
        values, size = self.storage.values, math.prod(self.shape)
        if values is None or len(self.shape) != len(self.strides):
            raise ValueError("a tensor without values")
        reach = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        lowest = min((self.offset, *self.shape, *self.strides))
        if lowest < 0 or (size and self.offset + reach >= len(values)):
            raise ValueError("a tensor that reaches beyond its storage")
        steps = tuple(step * values.itemsize for step in self.strides)
        tail = values[self.offset :] if size else values[:0]
        return np.lib.stride_tricks.as_strided(tail, self.shape, steps, writeable=False).copy()


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in _NUMBERS:
            return _number
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is not a tensor")

    def persistent_load(self, record: Any) -> _Storage:
        word, dtype, key, _, n_values, *_ = record
        if word != "storage" or dtype not in _STORAGES.values() or not isinstance(key, str):
            raise pickle.UnpicklingError(f"{word!r} is not a storage")
        return self.storages.setdefault(key, _Storage(dtype, int(n_values)))


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _View:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without a storage")
    return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


class _Number:
    """A placeholder for what is not read."""

    def __setstate__(self, state: object) -> None:
        del state


def _number(*_: object) -> _Number:
    return _Number()


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        pickled = next((name for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if pickled is None:
            raise ValueError("an archive without data.pkl")
        unpickler = _TensorUnpickler(io.BytesIO(archive.read(pickled)))
        loaded = unpickler.load()
        folder = pickled.removesuffix("data.pkl")
        for key, storage in unpickler.storages.items():
            storage.fill(archive.read(f"{folder}data/{key}"))
    return loaded


def _read_legacy(path: Path) -> Any:
    with path.open("rb") as file:
        if _TensorUnpickler(file).load() != _MAGIC:
            raise ValueError("neither an archive nor the format before it")
        _TensorUnpickler(file).load(), _TensorUnpickler(file).load()  # the protocol, the machine
        unpickler = _TensorUnpickler(file)
        loaded, keys = unpickler.load(), _TensorUnpickler(file).load()
        for key in keys:
            storage = unpickler.storages[key]
            file.read(8)  # the number of values again
            storage.fill(file.read(storage.n_values * np.dtype(storage.dtype).itemsize))
    return loaded
