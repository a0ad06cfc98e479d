"""`Checkpoint`: `fit`, saved after each epoch, and going on from there."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.saving.files import TRAINING, Entry, entry_of, refuse_other_formats
from tinygrad_wb.saving.optimizing import COUNT
from tinygrad_wb.saving.state import RNG, load_training, save_training
from tinygrad_wb.training.callbacks import Callback

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from tinygrad_wb.nn.slots import Slot
    from tinygrad_wb.saving.fitting import Fitting
    from tinygrad_wb.training.loop import Training

__all__ = ["Checkpoint", "resume"]


class Checkpoint(Callback):
    """Save all that training needs to go on to ``path``, after every ``every``-th epoch and the last.

    ``fit(…, resume=path)``, told the same otherwise, goes on from there to the same numbers, bit for bit, as if it had
    never stopped: parameters, what layers keep, the optimizer, the shuffling, the random numbers of layers such as
    `Dropout`, history, and early stopping. The file is one that `load` takes, too. Needs ``[save]``.

    What draws from NumPy's global generator, and settings of your own callbacks without a ``state``, are not in it.
    """

    last = True

    def __init__(self, path: str | os.PathLike[str], every: int = 1) -> None:
        if not isinstance(every, (int, np.integer)) or every < 1:
            raise ValueError(f"Checkpoint: every must be a positive whole number of epochs, got {every!r}")
        refuse_other_formats("Checkpoint", path)
        self.path, self.every = path, every

    def on_epoch(self, training: Training) -> None:
        if training.epoch % self.every and not training.stop and training.epoch < training.epochs:
            return
        history = training.history
        arrays = {f"history/{name}": np.array(numbers) for name, numbers in history.epochs.items()}
        arrays["batch_losses"] = np.array(history.batch_losses)
        arrays |= {name: slot.read() for name, slot in _slots(training)}
        # Who was interrupted wants to go on; who was stopped by a callback is done.
        notes = {"epoch": training.epoch, "stop": bool(training.stop) and not history.interrupted}
        save_training(self.path, training.model, training.optimizer, {RNG: training.rng}, notes, arrays)


def resume(training: Training, path: str | os.PathLike[str]) -> None:
    """Let training stand where it stood when ``path`` was saved; ``LoadError``, and no change, if that does not fit."""

    def more(fitting: Fitting, notes: Any) -> None:
        epoch, stop = (notes.get("epoch"), notes.get("stop")) if isinstance(notes, dict) else (None, None)
        if type(epoch) is not int or not 0 < epoch < COUNT or type(stop) is not bool:
            fitting.problem("it does not say how far training had come: it was not saved by Checkpoint")
            return
        epochs: dict[str, Any] = {}
        for name in training.measures:
            found = fitting.entries.get(f"{TRAINING}history/{name}")
            classes = found.shape[-1] if found is not None and found.shape else 0  # as many as there were
            matrices, numbers = Entry((epoch, classes, classes), "int64"), Entry((epoch,), "float64")
            wanted = matrices if training.is_matrix(name) else numbers
            fitting.take(f"{TRAINING}history/{name}", wanted, _as_list(epochs, name))
        found = fitting.entries.get(f"{TRAINING}batch_losses")
        losses: dict[str, Any] = {}
        any_number = found.shape if found is not None and len(found.shape) == 1 else (0,)
        fitting.take(f"{TRAINING}batch_losses", Entry(any_number, "float64"), _as_list(losses, "batch"))
        for name, slot in _slots(training):
            fitting.take(TRAINING + name, entry_of(slot.read()), slot.write)
        fitting.refuse_others([name for name in fitting.entries if name.startswith(TRAINING)])

        def go_on() -> None:
            training.epoch, training.stop = epoch, stop
            training.history.update(epochs)
            training.history.batch_losses = losses["batch"]

        fitting.then(go_on)

    load_training(path, training.model, training.optimizer, {RNG: training.rng}, more)


def _as_list(into: dict[str, Any], name: str) -> Any:
    return lambda array: into.update({name: array.tolist() if array.ndim == 1 else list(array)})


def _slots(training: Training) -> Iterator[tuple[str, Slot]]:
    """What the callbacks keep; of several of a kind, by their order."""
    met: Counter[str] = Counter()
    for callback in training.callbacks:
        kind = type(callback).__name__
        for name, slot in callback.state():
            yield f"callback/{kind}/{met[kind]}/{name}", slot
        met[kind] += 1
