"""An optimizer in a file: what it is, what it remembers of each parameter, and how far it has come."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.saving.files import TRAINING, entry_of
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tinygrad_wb.optimizers import Optimizer
    from tinygrad_wb.saving.fitting import Fitting

__all__ = ["COUNT", "arrays_of", "fit_optimizer", "told_of"]

MEMORY, PARAMETER = f"{TRAINING}memory/", f"{TRAINING}parameter/"
MOST_REMEMBERED = 16  # of a parameter, by any optimizer
COUNT = 2**53  # no whole number in a state is as large as that


def _names(slots: Mapping[str, Slot], optimizer: Optimizer) -> list[str]:
    """What each of the optimizer's parameters is called: its path, or its number if it is not the model's."""
    paths = {slot.owner: name for name, slot in slots.items() if type(slot.owner) is Value}
    return [paths.get(p, str(i)) for i, p in enumerate(optimizer.parameters)]


def arrays_of(optimizer: Optimizer, slots: Mapping[str, Slot]) -> dict[str, Any]:
    """What it remembers of each parameter, and parameters that it changes though they are not the model's."""
    optimizer.separate()
    found: dict[str, Any] = {}
    for name, p, memory in zip(_names(slots, optimizer), optimizer.parameters, optimizer.memory, strict=True):
        if name not in slots:
            found[f"{PARAMETER}{name}"] = p.data
        found |= {f"{MEMORY}{name}/{word}": x for word, x in memory.items()}
    return found


def told_of(optimizer: Optimizer) -> dict[str, Any]:
    """What it is, as JSON has it."""
    return {
        "kind": type(optimizer).__name__,
        "steps": optimizer.steps,
        "schedule": _schedule(optimizer),
        "settings": _settings(optimizer),
    }


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


def fit_optimizer(fitting: Fitting, told: Any, slots: Mapping[str, Slot], optimizer: Optimizer) -> None:
    """Let the optimizer go on from what a file has for it, and what the file says of it."""
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
            elif type(own[name]) is float:
                settings[name] = float(x)
        fitting.then(lambda: vars(optimizer).update(settings, steps=steps))
    for name, p in zip(_names(slots, optimizer), optimizer.parameters, strict=True):
        if name not in slots:
            fitting.take(f"{PARAMETER}{name}", entry_of(p.data), Slot(p, "data").write)
    _fit_memory(fitting, _names(slots, optimizer), optimizer)
    fitting.refuse_others([name for name in fitting.entries if name.startswith((MEMORY, PARAMETER))])


def _could_be(x: Any, like: Any) -> bool:
    """Whether a setting may become ``x``: of the same type as now, or a number where there is one."""
    numbers = {type(x), type(like)} <= {int, float}
    return (numbers and abs(x) < COUNT) or (type(x) is type(like) and not numbers)  # nan is not below anything


def _fit_memory(fitting: Fitting, names: list[str], optimizer: Optimizer) -> None:
    """What is remembered of each parameter is a number or array like it, and the same of each."""
    fresh: list[dict[str, Any]] = [{} for _ in names]
    begins = [f"{MEMORY}{name}" for name in names]
    known = set(begins)
    found = {name.rpartition("/")[::2] for name in fitting.entries}
    words = sorted({word for begin, word in found if begin in known})
    if len(words) > MOST_REMEMBERED:
        fitting.problem(f"the optimizer remembers {len(words):,} things of each parameter")
        return
    for begin, p, memory in zip(begins, optimizer.parameters, fresh, strict=True):
        for word in words:
            fitting.take(f"{begin}/{word}", entry_of(p.data), partial(_remember, memory, word))

    def hand_over() -> None:
        optimizer.separate()
        for memory, new in zip(optimizer.memory, fresh, strict=True):
            memory.clear()
            memory.update(new)

    fitting.then(hand_over)


def _remember(memory: dict[str, Any], word: str, array: Any) -> None:
    memory[word] = array[()]  # of a scalar NumPy's number, as `step` makes it
