"""Weights from and to Keras 3, by its files: ``.weights.h5``, and ``.keras``, which is a zip with one of those inside.

Only numbers are read. How a ``.keras`` file describes its model, and what code that may hold, is never looked at.
"""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygrad_wb.atomic import write
from tinygrad_wb.errors import LoadError
from tinygrad_wb.nn.attention import MultiHeadAttention
from tinygrad_wb.nn.layers import Sequential
from tinygrad_wb.nn.module import Module
from tinygrad_wb.saving.files import Entry, entry_of, reading
from tinygrad_wb.saving.fitting import Fitting
from tinygrad_wb.saving.heads import places_in_heads
from tinygrad_wb.saving.tables import KERAS, KERAS_NAMES, Place, places_in

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["from_keras", "to_keras"]

INSIDE = "model.weights.h5"  # what the file with the weights is called in the zip
ZIP, HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
SPARE = 16  # times the model's own bytes, and megabytes: more than an optimizer adds to a file
DEEP, MANY = 64, 100_000  # groups in groups, and entries, in no file of a model
NOT_WEIGHTS = {"optimizer", "seed_generator"}


def _library() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            'reading and writing Keras files needs h5py: python -m pip install "tinygrad_wb[keras]"'
        ) from error
    return h5py


def from_keras(model: Module, path: str | os.PathLike[str]) -> None:
    """Take over the weights of a Keras 3 model of the same layers, from a ``.keras`` or ``.weights.h5`` file.

    Layers go by kind and order in Sequential (``layers/dense``, ``layers/dense_1``), and in a subclass of Keras's
    Model by the names of its attributes. Numbers are converted to the model's dtype. Keras itself is not needed, only
    ``[keras]``, which is h5py.

    ``LoadError`` lists all that does not fit, or says how the file is damaged; nothing is changed then. Nothing in the
    file is run, or read beyond what the model asks for.
    """
    places = _places(model)
    with _opened(Path(path), sum(place.read().nbytes for place in places.values())) as file:
        found = dict(_datasets(file))
        fitting = Fitting(
            f"{path} does not fit this {type(model).__name__}", {name: _entry(a) for name, a in found.items()}
        )
        for name, place in places.items():
            fitting.take(name, entry_of(place.read()), place.write, casting=True)
        fitting.refuse_others(list(found))
        fitting.finish(lambda name: _read(path, found[name]))


def to_keras(model: Module, path: str | os.PathLike[str]) -> Path:
    """Write the model's weights to a ``.weights.h5`` file, for ``keras_model.load_weights(path)``; returns the path.

    The Keras model has the same layers: Dense with its activation, and for a Module of your own a subclass of Keras's
    Model with the same attributes. Needs ``[keras]``.
    """
    h5py = _library()
    if not str(path).endswith(".weights.h5"):
        raise ValueError(f"to_keras: Keras takes weights from files called ….weights.h5 only, got {str(path)!r}")
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for name, place in _places(model).items():
            file.create_dataset(name, data=place.read())
    return write(path, content.getvalue())


# -- where Keras keeps what ------------------------------------------------------------------------------------------


def _places(model: Module) -> dict[str, Place]:
    """Each array of the model, by its path in a Keras file."""
    return {
        f"{path}{place.row.there}": place
        for path, module in _modules(model, "", set())
        for place in (places_in_heads(module) if isinstance(module, MultiHeadAttention) else places_in(module, KERAS))
    }


def _modules(module: Module, path: str, seen: set[int]) -> Iterator[tuple[str, Module]]:
    """Every module once, where Keras comes upon it: attributes in alphabetical order, in lists by kind and order."""
    if id(module) in seen:
        return
    seen.add(id(module))
    yield path, module
    for name, member in _members(module):
        if isinstance(member, Module):
            yield from _modules(member, f"{path}{name}/", seen)
            continue
        met: Counter[str] = Counter()
        for part in member:
            kind = _kind(part)
            number = f"_{met[kind]}" if met[kind] else ""
            met[kind] += 1
            yield from _modules(part, f"{path}{name}/{kind}{number}/", seen)


def _members(module: Module) -> list[tuple[str, Any]]:
    """Attributes that are Modules, or hold some; as in Keras, ``layers`` are all of them in order."""
    if isinstance(module, MultiHeadAttention):
        return []  # its own list of places names them
    found: dict[str, list[Module] | Module] = {}
    for name, member in vars(module).items():
        if isinstance(member, Module):
            found[name] = member
        elif isinstance(member, (list, tuple, dict)):
            parts = member.values() if isinstance(member, dict) else member
            if modules := [part for part in parts if isinstance(part, Module)]:
                found[name] = modules
    if isinstance(module, Sequential):
        return [("layers", found.pop("layers", [])), *sorted(found.items(), key=_private_last)]
    every = [part for member in found.values() for part in ([member] if isinstance(member, Module) else member)]
    return sorted(({"layers": every} | found).items(), key=_private_last)


def _private_last(item: tuple[str, Any]) -> str:
    return "~" * item[0].startswith("_") + item[0]


def _kind(module: Module) -> str:
    """What Keras calls a layer in a list: its class, in small letters."""
    for kind in type(module).__mro__:
        if kind in KERAS_NAMES:
            return KERAS_NAMES[kind]
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", type(module).__name__)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


# -- reading what others wrote ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path, size: int) -> Iterator[Any]:
    """The HDF5 file at ``path``, or the one inside a zip, for a model of so many bytes."""
    h5py = _library()
    with path.open("rb") as file, reading(path, "Keras"), contextlib.ExitStack() as stack:
        begins = file.read(8)
        file.seek(0)
        source: Any = file
        if begins.startswith(ZIP):
            source = stack.enter_context(zipfile.ZipFile(file))
            source = io.BytesIO(_unpacked(source, SPARE * (size + (1 << 20))))
        elif begins != HDF5:
            raise LoadError(f"{path} is neither a .keras nor a .weights.h5 file; nothing was changed")
        hdf = stack.enter_context(h5py.File(source, "r"))
        if "model_weights" in hdf or "layer_names" in hdf.attrs:
            raise LoadError(f"{path} is of Keras 2: load it with Keras 3, and save it as .keras or .weights.h5")
        yield hdf


def _unpacked(archive: zipfile.ZipFile, limit: int) -> bytes:
    """The weights' file. A few bytes may unpack to what fills the memory, so no more than ``limit`` are unpacked.

    Of the ways to pack that a zip knows, these two alone can be unpacked up to a limit; Keras uses no other.
    """
    if INSIDE not in archive.namelist():
        raise LoadError(f"{archive.filename} has no {INSIDE} in it, as .keras files have; nothing was changed")
    entry = archive.getinfo(INSIDE)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise LoadError(f"{archive.filename} is packed in another way than .keras files are; nothing was changed")
    if entry.file_size > limit:
        raise LoadError(f"{archive.filename} holds more than {limit:,} bytes, too many for this model")
    with archive.open(entry) as packed:
        return packed.read(limit + 1)  # which gives no more than the size above, and unpacks no more than asked for


def _datasets(file: Any) -> Iterator[tuple[str, Any]]:
    """Name and dataset of each array of weights; links to other places and other files are refused."""
    h5py = _library()
    ahead = [("", file)]
    count = 0
    while ahead:
        path, group = ahead.pop()
        for name in group:
            count += 1
            if count > MANY or path.count("/") > DEEP:
                raise LoadError(f"it has more than {MANY:,} entries, or groups in groups without end")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise LoadError(f"{path + name!r} in it is a link to another place; nothing was changed")
            part = group[name]
            if isinstance(part, h5py.Group):
                if name not in NOT_WEIGHTS:
                    ahead.append((f"{path}{name}/", part))
            else:
                yield path + name, part


def _entry(dataset: Any) -> Entry:
    return Entry(tuple(dataset.shape or ()), dataset.dtype.name)


def _read(path: Any, dataset: Any) -> Any:
    """The numbers of a dataset that lies in the file as Keras writes it: in one piece, and not packed."""
    if dataset.chunks is not None or dataset.external or dataset.is_virtual:
        raise LoadError(f"{path}: {dataset.name!r} is packed, or lies elsewhere; nothing was changed")
    with reading(path, "Keras"):
        return dataset[()]
