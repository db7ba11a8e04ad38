"""Where an ONNX network's weights are stored: in the file, or in another one next to it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

_ALIGNMENT_BYTES = 4096
"""ONNX Runtime maps weights that begin on a page boundary."""

_SMALL_BYTES = 1024
"""Shapes and the like stay in the file: readers look at them before they look at weights."""


def tensor_array(tensor: TensorProto, folder: Path) -> NDArray[Any]:
    """A tensor's values, mapped if they are in a file in ``folder``."""
    from onnx import external_data_helper, helper, numpy_helper

    if not external_data_helper.uses_external_data(tensor):
        return np.asarray(numpy_helper.to_array(tensor))
    dtype = helper.tensor_dtype_to_np_dtype(tensor.data_type)
    info = external_data_helper.ExternalDataInfo(tensor)
    n_values = math.prod(tensor.dims)
    if n_values == 0:
        return np.zeros(tuple(tensor.dims), dtype)
    if info.length not in (None, n_values * dtype.itemsize):  # two codes of 4 bits in a byte
        loaded = type(tensor)()
        loaded.CopyFrom(tensor)
        external_data_helper.load_external_data_for_tensor(loaded, str(folder))
        return np.asarray(numpy_helper.to_array(loaded))
    path = folder / info.location
    return np.memmap(path, dtype, "r", offset=info.offset or 0, shape=tuple(tensor.dims))


def stored_bytes(tensor: TensorProto) -> int:
    """How many bytes a tensor's values take."""
    from onnx import helper

    n_values = int(math.prod(tensor.dims))
    return n_values * int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


class Storage:
    """Writes a network: weights one after the other, then the file that refers to them."""

    def __init__(self, target: Path, *, external: bool) -> None:
        self.folder = target.parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self._target = target
        self._data = target.with_name(target.name + ".data")
        self._data.unlink(missing_ok=True)
        self._end = 0 if external else None

    def moved(self, tensor: TensorProto, folder: Path) -> TensorProto:
        """Store a tensor of another file, whose weights may be in ``folder``, here."""
        from onnx import external_data_helper

        is_outside = external_data_helper.uses_external_data(tensor)
        moves_out = self._end is not None and stored_bytes(tensor) >= _SMALL_BYTES
        if not is_outside and not moves_out:
            return tensor
        return self.tensor(tensor.name, tensor_array(tensor, folder))

    def tensor(self, name: str, array: NDArray[Any]) -> TensorProto:
        """Store an array under a name."""
        from onnx import TensorProto, helper, numpy_helper

        if self._end is None or array.nbytes < _SMALL_BYTES:
            return numpy_helper.from_array(np.asarray(array, order="C"), name)
        proto = TensorProto(name=name, dims=array.shape)
        proto.data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
        proto.data_location = TensorProto.EXTERNAL
        offset = self._append(array)
        facts = {"location": self._data.name, "offset": offset, "length": array.nbytes}
        for key, value in facts.items():
            proto.external_data.add(key=key, value=str(value))
        return proto

    def _append(self, array: NDArray[Any]) -> int:
        """Append an array to the weights and return its offset."""
        assert self._end is not None
        offset = -(-self._end // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        with self._data.open("r+b" if self._data.exists() else "wb") as file:
            file.truncate(offset)
            file.seek(offset)
            array.tofile(file)
        self._end = offset + array.nbytes
        return offset

    def write(self, model: ModelProto) -> None:
        """Write the file itself."""
        self._target.write_bytes(model.SerializeToString())
