"""`save` and `load`: a model's numbers, and all that training needs to go on as if it had never stopped."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.random import Generator

from tinygrad_wb.errors import LoadError
from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.optimizers import Optimizer
from tinygrad_wb.saving.files import File, entry_of, written
from tinygrad_wb.saving.fitting import Fitting
from tinygrad_wb.saving.generators import fits, generators_in, put, standing

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["TRAINING", "load", "load_training", "save", "save_training", "slots_of"]

TRAINING = "training/"  # what names of arrays begin with that are not the model's own
RNG = "training/rng"  # the caller's generator; those of the model go by their paths
MOST_REMEMBERED = 16  # of a parameter, by any optimizer
COUNT = 2**53  # no whole number in a state is as large as that


def save(
    model: Module, path: str | os.PathLike[str], optimizer: Optimizer | None = None,
    rng: Generator | None = None, notes: Any = None,
) -> Path:  # fmt: skip
    """Write a model's parameters, and what else its modules keep, to a safetensors file, and return the path.

    With its ``optimizer``, the file has what training needs to go on: the optimizer's memory, settings and count of
    steps, and where the model's random generators stand (those that a Module holds, as `Dropout` does). Your own
    ``rng``, and ``notes`` (anything that JSON can say), are kept if you give them. For `fit`, see `Checkpoint`.

    A crash at any moment leaves the old file or the new one, whole (and perhaps a file ``….unfinished`` beside it).
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
    model = _checked("save", model, optimizer, rng)
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
    model = _checked("load", model, optimizer, rng)
    return load_training(path, model, optimizer, {} if rng is None else {RNG: rng})


def _checked(call: str, model: Any, optimizer: Any, rng: Any) -> Module:
    """The model, or ``TypeError`` if one of these is something else."""
    found = inspect.unwrap(model)  # a compiled model is one
    for what, x, kind in (("model", found, Module), ("optimizer", optimizer, Optimizer), ("rng", rng, Generator)):
        if not isinstance(x, kind) and (x is not None or what == "model"):
            raise TypeError(f"{call}: {what} must be a {kind.__name__}, got {x!r:.80}")
    return found  # type: ignore[no-any-return]


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
    slots = slots_of(model)
    content = {name: slot.read() for name, slot in slots.items()} | {TRAINING + name: a for name, a in arrays.items()}
    told: dict[str, Any] = {"notes": notes}
    if optimizer is not None:
        content |= _parameters_besides(slots, optimizer) | _memory(slots, optimizer)
        told["optimizer"] = {
            "kind": type(optimizer).__name__,
            "steps": optimizer.steps,
            "schedule": _schedule(optimizer),
            "settings": _settings(optimizer),
        }
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
    slots = slots_of(model)
    with File(path) as file:
        own = [name for name in file.entries if not name.startswith(TRAINING)]
        fitting = Fitting(f"{file.path} does not fit {_what(model, optimizer)}", file.entries)
        for name, slot in slots.items():
            fitting.take(name, entry_of(slot.read()), slot.write)
        fitting.refuse_others(own)
        told = _told(file)
        if optimizer is not None:
            _fit_optimizer(fitting, told.get("optimizer"), slots, optimizer)
            generators = {**dict(generators_in(model)), **generators}
        _fit_generators(fitting, told.get("generators"), generators)
        if more is not None:
            more(fitting, told.get("notes"))
        fitting.finish(file.array)
    return told.get("notes")


def slots_of(model: Any) -> dict[str, Slot]:
    """A model's state by name; none, if the model is a function."""
    model = inspect.unwrap(model)
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


# -- the optimizer ---------------------------------------------------------------------------------------------------


def _names(slots: Mapping[str, Slot], optimizer: Optimizer) -> list[str]:
    """What each of the optimizer's parameters is called: its path, or its number if it is not the model's."""
    paths = {slot.owner: name for name, slot in slots.items() if slot.name == "data"}
    return [paths.get(p, str(i)) for i, p in enumerate(optimizer.parameters)]


def _parameters_besides(slots: Mapping[str, Slot], optimizer: Optimizer) -> dict[str, Any]:
    """Parameters that the optimizer changes though they are not the model's."""
    named = zip(_names(slots, optimizer), optimizer.parameters, strict=True)
    return {f"{TRAINING}parameter/{name}": p.data for name, p in named if name not in slots}


def _memory(slots: Mapping[str, Slot], optimizer: Optimizer) -> dict[str, Any]:
    optimizer.separate()
    named = zip(_names(slots, optimizer), optimizer.memory, strict=True)
    return {f"{TRAINING}memory/{name}/{what}": x for name, memory in named for what, x in memory.items()}


def _schedule(optimizer: Optimizer) -> str | None:
    """A schedule in words. It is a function of the steps taken, so nothing else of it needs keeping."""
    rate = optimizer.learning_rate
    if not callable(rate):
        return None
    return repr(rate) if hasattr(rate, "__dataclass_fields__") else getattr(rate, "__qualname__", type(rate).__name__)


def _settings(optimizer: Optimizer) -> dict[str, Any]:
    """The numbers among its settings."""
    return {
        name: float(x) if isinstance(x, float) else x  # NumPy's, too
        for name, x in vars(optimizer).items()
        if name != "steps" and isinstance(x, (int, float, type(None)))
    }


def _fit_optimizer(fitting: Fitting, told: Any, slots: Mapping[str, Slot], optimizer: Optimizer) -> None:
    if not isinstance(told, dict):
        fitting.problem("it has no optimizer: it was saved without one")
        return
    for word, wanted in (("kind", type(optimizer).__name__), ("schedule", _schedule(optimizer))):
        if told.get(word) != wanted:
            fitting.problem(f"the optimizer's {word} is {told.get(word)!r:.200}, wanted is {wanted!r}")
    steps, settings = told.get("steps"), told.get("settings")
    if type(steps) is not int or not 0 <= steps < COUNT:
        fitting.problem(f"the optimizer's steps are {steps!r:.80}")
    own = _settings(optimizer)
    if not isinstance(settings, dict) or settings.keys() != own.keys():
        fitting.problem(f"the optimizer's settings are {settings!r:.200}, wanted are {', '.join(own)}")
    else:
        for name, x in settings.items():
            if not _could_be(x, own[name]):
                fitting.problem(f"the optimizer's {name} is {x!r:.80}, here it is {own[name]!r}")
        fitting.then(lambda: vars(optimizer).update(settings, steps=steps))
    for name, p in zip(_names(slots, optimizer), optimizer.parameters, strict=True):
        if name not in slots:
            fitting.take(f"{TRAINING}parameter/{name}", entry_of(p.data), Slot(p, "data").write)
    _fit_memory(fitting, _names(slots, optimizer), optimizer)
    fitting.refuse_others(
        [name for name in fitting.entries if name.startswith((f"{TRAINING}memory/", f"{TRAINING}par"))]
    )


def _could_be(x: Any, like: Any) -> bool:
    """Whether a setting may become ``x``: of the same type as now, and a number that could be one."""
    return type(x) is type(like) and (x is None or abs(x) < COUNT)  # not so for nan


def _fit_memory(fitting: Fitting, names: list[str], optimizer: Optimizer) -> None:
    """What is remembered of each parameter is a number or array like it, and the same of each."""
    fresh: list[dict[str, Any]] = [{} for _ in names]
    begins = [f"{TRAINING}memory/{name}/" for name in names]
    found = {name.rpartition("/")[::2] for name in fitting.entries}
    words = sorted({word for begin, word in found if f"{begin}/" in begins})
    if len(words) > MOST_REMEMBERED:
        fitting.problem(f"the optimizer remembers {len(words):,} things of each parameter")
        return
    for begin, p, memory in zip(begins, optimizer.parameters, fresh, strict=True):
        for word in words:
            fitting.take(begin + word, entry_of(p.data), partial(_remember, memory, word))

    def hand_over() -> None:
        optimizer.separate()
        for memory, new in zip(optimizer.memory, fresh, strict=True):
            memory.clear()
            memory.update(new)

    fitting.then(hand_over)


def _remember(memory: dict[str, Any], word: str, array: Any) -> None:
    memory[word] = array[()]  # of a scalar NumPy's number, as `step` makes it


# -- random generators -----------------------------------------------------------------------------------------------


def _fit_generators(fitting: Fitting, told: Any, generators: Mapping[str, Generator]) -> None:
    states = told if isinstance(told, dict) else {}
    for name, generator in generators.items():
        if name not in states:
            fitting.problem(f"the state of the random generator {name!r} is missing")
        elif not fits(states[name], generator):
            kind = type(generator.bit_generator).__name__
            fitting.problem(f"the state of the random generator {name!r} is none of a {kind}")
        else:
            fitting.then(partial(put, generator, states[name]))
