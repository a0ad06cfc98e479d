"""`save` and `load`: a model's numbers, and all that training needs to go on as if it had never stopped."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from numpy.random import Generator

from tinygrad_wb.errors import LoadError
from tinygrad_wb.nn.module import Module
from tinygrad_wb.optimizers import Optimizer
from tinygrad_wb.saving.files import TRAINING, File, entry_of, refuse_other_formats, written
from tinygrad_wb.saving.fitting import Fitting
from tinygrad_wb.saving.generators import fit_generators, generators_in, standing
from tinygrad_wb.saving.optimizing import arrays_of, fit_optimizer, told_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tinygrad_wb.nn.slots import Slot

__all__ = ["RNG", "load", "load_training", "save", "save_training"]

RNG = f"{TRAINING}rng"  # the caller's generator; those of the model go by their paths


def save(
    model: Module, path: str | os.PathLike[str], optimizer: Optimizer | None = None,
    rng: Generator | None = None, notes: Any = None,
) -> Path:  # fmt: skip
    """Write a model's parameters, and what else its modules keep, to a safetensors file, and return the path.

    With its ``optimizer``, the file has what training needs to go on: the optimizer's memory, settings and count of
    steps, and where the model's random generators stand (those that a Module holds, as `Dropout` does). Your own
    ``rng``, and ``notes`` (anything that JSON can say), are kept if you give them. For `fit`, see `Checkpoint`.

    A crash at any moment leaves the old file or the new one, whole (and perhaps a file ``….unfinished`` beside it).
    An old file's permissions stay, and a link stays one. A suffix of another format, such as ``.pt``, is refused.
    Arrays are named by their paths, as in `named_parameters`, what belongs to training by ``training/…``. Needs
    ``[save]``.

    >>> import tempfile, pathlib, tinygrad_wb as wb
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> model, other = wb.MLP(2, [8], 1, seed=0), wb.MLP(2, [8], 1, seed=1)
    >>> wb.save(model, path) == path
    True
    >>> wb.load(other, path)
    >>> bool((other[0].weight.data == model[0].weight.data).all())
    True
    """
    _check("save", model, optimizer, rng)
    refuse_other_formats("save", path)
    return save_training(path, model, optimizer, {} if rng is None else {RNG: rng}, notes, {})


def load(
    model: Module, path: str | os.PathLike[str], optimizer: Optimizer | None = None,
    rng: Generator | None = None,
) -> Any:  # fmt: skip
    """Take a model's numbers from a file that `save` or `Checkpoint` wrote, and return its ``notes``.

    Names, shapes and dtypes must be the model's own. With its ``optimizer`` (and ``rng``), training goes on as if it
    had never stopped: the optimizer has the file's memory, settings and count of steps, and so a schedule goes on
    where it was; a number as learning rate is the file's. Arrays are written in place; older graphs are stale then.
    The numbers that follow are the same bit for bit, if a function that you compiled was called three times before:
    what is recorded may be rounded otherwise than what is replayed (`fit` sees to that itself).

    ``LoadError`` lists everything that does not fit; nothing is changed then. A file is only ever read as numbers and
    JSON: whatever is in it, nothing of it is run. Needs ``[save]``.
    """
    _check("load", model, optimizer, rng)
    return load_training(path, model, optimizer, {} if rng is None else {RNG: rng})


def _check(call: str, model: Any, optimizer: Any, rng: Any) -> None:
    """``TypeError`` if one of these is something else."""
    model = inspect.unwrap(model)
    for what, x, kind in (("model", model, Module), ("optimizer", optimizer, Optimizer), ("rng", rng, Generator)):
        if not isinstance(x, kind) and (x is not None or what == "model"):
            raise TypeError(f"{call}: {what} must be of the type {kind.__name__}, got {x!r:.80}")


# -- the whole of it -------------------------------------------------------------------------------------------------


def save_training(
    path: str | os.PathLike[str],
    model: Any,
    optimizer: Optimizer | None,
    generators: Mapping[str, Generator],
    notes: Any,
    arrays: Mapping[str, Any],
) -> Path:
    """`save`, with ``generators`` and further ``arrays`` by name; a model that is a mere function has no state."""
    model = inspect.unwrap(model)  # a compiled model is one
    slots = _slots(model)
    content = {name: slot.read() for name, slot in slots.items()} | {TRAINING + name: a for name, a in arrays.items()}
    told: dict[str, Any] = {"notes": notes}
    if optimizer is not None:
        content |= arrays_of(optimizer, slots)
        told["optimizer"] = told_of(optimizer)
        generators = {**dict(generators_in(model)), **generators}
    told["generators"] = {name: standing(generator) for name, generator in generators.items()}
    return written(path, content, {"tinygrad_wb": json.dumps(told)})


def load_training(
    path: str | os.PathLike[str],
    model: Any,
    optimizer: Optimizer | None,
    generators: Mapping[str, Generator],
    more: Callable[[Fitting, Any], None] | None = None,
) -> Any:
    """`load`, with ``generators`` by name; ``more`` is told the `Fitting` and the notes, to fit further arrays."""
    model = inspect.unwrap(model)  # a compiled model is one
    slots = _slots(model)
    with File(path) as file:
        own = [name for name in file.entries if not name.startswith(TRAINING)]
        fitting = Fitting(f"{file.path} does not fit {_what(model, optimizer)}", file.entries)
        for name, slot in slots.items():
            fitting.take(name, entry_of(slot.read()), slot.write)
        fitting.refuse_others(own)
        told = _told(file)
        if optimizer is not None:
            fit_optimizer(fitting, told.get("optimizer"), slots, optimizer)
            generators = {**dict(generators_in(model)), **generators}
        fit_generators(fitting, told.get("generators"), generators)
        if more is not None:
            more(fitting, told.get("notes"))
        fitting.finish(file.array)
    return told.get("notes")


def _slots(model: Any) -> dict[str, Slot]:
    """A model's state by name; none, if the model is a function."""
    found = list(model.state()) if isinstance(model, Module) else []
    names = Counter(name for name, _ in found)
    for name, count in names.items():
        if count > 1 or name.startswith(TRAINING):
            why = "two things are called so" if count > 1 else f"{TRAINING}… is what belongs to training"
            raise ValueError(f"{name!r} can't be a name in a file: {why}; rename it in the model")
    return dict(found)


def _what(model: Any, optimizer: Optimizer | None) -> str:
    return f"this {type(model).__name__}" + (f" and its {type(optimizer).__name__}" if optimizer is not None else "")


def _told(file: File) -> dict[str, Any]:
    """What the file says besides arrays; whatever that is, a dictionary."""
    try:
        told = json.loads(file.metadata.get("tinygrad_wb", "{}"))
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{file.path} has metadata that is no JSON ({error!s:.200}); nothing was changed") from error
    if not isinstance(told, dict):
        raise LoadError(f"{file.path} has metadata that is no dictionary; nothing was changed")
    return told
