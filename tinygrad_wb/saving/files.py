"""Files of named arrays: written whole or not at all, and never believed when they are read."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.atomic import write
from tinygrad_wb.errors import LoadError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["TRAINING", "Entry", "File", "entry_of", "reading", "refuse_other_formats", "written"]

DTYPES = {  # safetensors' words for them
    "F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip
SUMS = "crc32"  # the text with a checksum for each array: the format itself would not notice a number that changed
RESERVED = "__metadata__"  # a name that the format has for itself; under it are the checksums of the other texts
TRAINING = "training/"  # what names of arrays begin with that are not the model's own

OTHERS = {  # suffixes of other formats, and what writes those
    ".pt .pth": "torch.save(wb.to_torch(model), path)",
    ".h5 .hdf5 .keras": "wb.to_keras(model, 'model.weights.h5')",
    ".onnx": "wb.export_onnx(model, path, example)",
    ".npz": "np.savez(path, **{name: p.data for name, p in model.named_parameters()})",
    ".pkl .pickle": "pickle.dump(model, file)",
}


def refuse_other_formats(call: str, path: str | os.PathLike[str]) -> None:
    """``ValueError`` if other programs would take ``path``, by its suffix, for something else than it is."""
    suffix = Path(path).suffix.lower()
    for suffixes, writes in OTHERS.items():
        if suffix in suffixes.split():
            raise ValueError(
                f"{call}: {str(path)!r} would be in the safetensors format, whatever its suffix says; call it "
                f"{Path(path).stem}.safetensors. What writes a {suffix} file is {writes}"
            )


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError('saving and loading needs safetensors: python -m pip install "tinygrad_wb[save]"') from error
    return safetensors


def written(path: str | os.PathLike[str], arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> Path:
    """Write arrays by name, and texts by name, in the safetensors format."""
    safetensors = _library()
    # The library takes an array's memory as it lies there, and so a transposed or cut one would come back wrong.
    whole = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    for name, a in whole.items():
        if a.dtype.name not in DTYPES.values():
            raise TypeError(f"save: {name} holds {a.dtype}; numbers are wanted: {', '.join(DTYPES.values())}")
        if name == RESERVED:
            raise ValueError(f"save: {name!r} can't be a name in a file: the format has it for itself")
    sums: dict[str, Any] = {name: zlib.crc32(a.tobytes()) for name, a in whole.items()}
    sums[RESERVED] = {name: zlib.crc32(text.encode()) for name, text in metadata.items()}
    return write(path, safetensors.numpy.save(whole, {**metadata, SUMS: json.dumps(sums)}))


class Entry(NamedTuple):
    """What a file says of an array, before it is read."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} of shape {self.shape}" if self.shape else f"one {self.dtype}"


def entry_of(x: Any) -> Entry:
    """What a file would say of a number or an array."""
    return Entry(np.shape(x), np.asarray(x).dtype.name)


@contextlib.contextmanager
def reading(path: Any, format: str) -> Iterator[None]:
    """Inside the block every error is a ``LoadError``: what a damaged file makes a library raise, nobody knows."""
    try:
        yield
    except LoadError:
        raise
    except Exception as error:
        raise LoadError(f"{path} is no whole {format} file ({error!s:.200}); nothing was changed") from error


class File(contextlib.AbstractContextManager["File"]):
    """A file of named arrays, open for reading: ``entries`` tells what is there, ``metadata`` its texts by name.

    ``LoadError`` where it is damaged or no such file; nothing in it is run, and an array is read only when asked for.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        safetensors = _library()
        if not self.path.exists():
            raise FileNotFoundError(f"load: there is no file {str(path)!r}")
        with reading(self.path, "safetensors"):
            self._file = safetensors.safe_open(os.fspath(path), "numpy", backend="pread")
            self.metadata: dict[str, str] = dict(self._file.metadata() or {})
            self._sums = dict(json.loads(self.metadata.get(SUMS, "{}")))  # other programs write none
            for name, sum_ in dict(self._sums.get(RESERVED, {})).items():  # nor did this one, once
                if zlib.crc32(self.metadata.get(name, "").encode()) != sum_:
                    raise LoadError(f"{path} is damaged: its text {name!r:.80} has changed; nothing was changed")
            self.entries = {name: self._entry(name) for name in self._file.keys()}  # noqa: SIM118 - it is no mapping

    def _entry(self, name: str) -> Entry:
        found = self._file.get_slice(name)
        return Entry(tuple(found.get_shape()), DTYPES.get(found.get_dtype(), found.get_dtype()))

    def array(self, name: str) -> Any:
        with reading(self.path, "safetensors"):
            found = self._file.get_tensor(name)
        if self._sums and self._sums.get(name) != zlib.crc32(found.tobytes()):
            raise LoadError(
                f"{self.path} is damaged: {name!r:.80} has other numbers than were saved; nothing was changed"
            )
        return found

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(None, None, None)
