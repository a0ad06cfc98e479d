"""`fit`: predict, measure the error, follow the gradient downhill, epoch by epoch."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.foreign import as_array
from tinygrad_wb.nn.module import in_mode
from tinygrad_wb.notices import warn_user
from tinygrad_wb.operations.ranges import made_by
from tinygrad_wb.optimizers import Optimizer
from tinygrad_wb.training.callbacks import AfterEpoch, Callback
from tinygrad_wb.training.checks import all_pairs, check_optimizer, parameters_of, warn_of_late
from tinygrad_wb.training.history import History
from tinygrad_wb.training.measuring import Meter, check_targets, loss_named, measured, metrics_named
from tinygrad_wb.training.metrics import confusion_matrix
from tinygrad_wb.training.progress import Progress
from tinygrad_wb.value import Value, raw

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["Training", "check_settings", "checked_data", "fit"]


class Training:
    """A training run as callbacks see it."""

    def __init__(
        self,
        model: Callable[[Any], Any],
        optimizer: Optimizer,
        loss: Any,
        metrics: Any,
        callbacks: Any,
        epochs: int,
        compile: bool,
        seed: int | None,
        pure: bool = False,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss_named(loss)
        self.metrics = metrics_named(metrics)
        self.measures = ["loss", *self.metrics]  # the names in history
        given = [callbacks] if isinstance(callbacks, Callback) or callable(callbacks) else callbacks
        self.callbacks = sorted(map(_callback, given), key=lambda callback: callback.last)
        self.epochs = epochs
        self.epoch = 0  # the one that is running, from 1
        self.last_batch = False  # whether it is the epoch's last
        self.rng = np.random.default_rng(seed)  # of the shuffling
        self.history = History()
        self.stop = False
        self.made = ""  # by which operation the predictions were, as `ranges.made_by` finds it, where metrics ask
        self.interruption: KeyboardInterrupt | None = None
        self.objective = _objective(model, self.loss, bool(self.metrics))
        self.unseen: dict[Value, str] | None = parameters_of(model)  # of the model, until the first step was looked at
        self.late: dict[Value, str] = {}  # parameters that the first call made, until the second step
        if compile:
            from tinygrad_wb.compiling import compiled_step  # loaded on use

            self.objective = compiled_step(self.objective, model, self.loss, pure)

    @property
    def compiled(self) -> bool:
        """Whether programs compute the batches."""
        return self.way in ("known", "followed", "promised")

    @property
    def way(self) -> str:
        """How batches are computed: "known", "followed", "promised", or "eager" and why; "" if nothing is compiled."""
        way = getattr(self.objective, "way", None)
        if way is None:
            return ""
        return f"eager: {way.reason}" if way.name == "eager" else str(way.name)

    def is_matrix(self, measure: str) -> bool:
        """Whether what history has for each epoch is a matrix, not a number."""
        metric = self.metrics.get(measure.removeprefix("val_"))
        return getattr(metric, "func", metric) is confusion_matrix  # also as a functools.partial

    def tell(self, moment: str) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self)

    def interrupted_by(self, error: KeyboardInterrupt) -> None:
        """Record the interruption in the history, and attach the history to the exception."""
        self.interruption = error
        self.history.interrupted = True
        error.history = self.history  # type: ignore[attr-defined]

    def descend(self, x: Any, y: Any) -> tuple[Value, Any]:
        """One batch: predict, measure the error, follow the gradient downhill; what the objective found."""
        error, prediction = self.objective(x, y)
        self.optimizer.zero_grad()
        error.backward()
        if self.unseen is not None:
            self.late = check_optimizer(self.model, self.unseen, self.optimizer)
            self.unseen = None
        elif self.late:
            warn_of_late(self.model, self.late)
            self.late = {}
        self.optimizer.step()
        return error, prediction

    def step(self, x: Any, y: Any, meter: Meter) -> None:
        """`descend`, and note what came of it."""
        error, prediction = self.descend(x, y)
        self.made = made_by(prediction) if self.metrics else ""
        if not math.isfinite(error.data) and all(map(math.isfinite, self.history.batch_losses)):
            warnings.warn(
                f"a loss of {error.data} was encountered in epoch {self.epoch}: the weights may be lost; "
                "lower the learning rate, or look at the data",
                RuntimeWarning,
                stacklevel=4,
            )
        self.history.batch_losses.append(error.data)
        meter.add(error.data, raw(prediction), y, self.made)

    def learn(self, x: Any, y: Any, batch_size: int, bar: Progress) -> Meter:
        """One epoch: every row once, in a new order; fewer if training is to stop."""
        meter = Meter(self.metrics, self.loss, y)
        order = self.rng.permutation(len(x))
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            self.last_batch = start + batch_size >= len(x)
            self.tell("on_batch_start")
            self.step(x.take(rows, 0), y.take(rows, 0), meter)
            bar.batch(self, meter)
            self.tell("on_batch")
            if self.stop:
                break
        return meter


def _objective(model: Callable[[Any], Any], loss: Callable[..., Any], with_prediction: bool) -> Callable[..., Any]:
    """What each batch computes: the error and, for metrics, the prediction."""
    seen = False

    def objective(x: Any, y: Any) -> tuple[Value, Any]:
        nonlocal seen
        prediction = model(x)
        error = loss(prediction, y)
        if not isinstance(error, Value):
            raise TypeError(f"the loss must return a Value computed from the prediction, got {error!r:.80}")
        if not seen:  # the first batch shows it, as far as it is recorded
            seen = True
            if wrong := all_pairs(error, prediction if isinstance(prediction, (tuple, list)) else [prediction]):
                warn_user(wrong)
        return error, prediction if with_prediction else None

    return objective


def fit(
    model: Callable[[Any], Any],
    x: Any,
    y: Any,
    *,
    loss: Any,
    optimizer: Optimizer,
    epochs: int = 1,
    batch_size: int = 32,
    validation: tuple[Any, Any] | None = None,
    metrics: Iterable[Any] = (),
    callbacks: Iterable[Any] = (),
    seed: int | None = None,
    progress: bool = True,
    allow_nan: bool = False,
    compile: bool = True,
    pure: bool = False,
    resume: str | os.PathLike[str] | None = None,
) -> History:
    """Train ``model`` on x (rows, …) and y (rows, …), in shuffled batches, and return the `History`.

    ``loss`` is a function of (prediction, y) or the name of one: ``cross_entropy``, ``mean_squared_error``,
    ``binary_cross_entropy``, ``hinge_loss``, ``mean_absolute_error``, ``huber``, ``kl_divergence``,
    ``negative_log_likelihood``. ``metrics`` are names: ``accuracy``, ``precision``, ``recall``, ``f1`` and
    ``confusion_matrix`` (of scores or probabilities, by what the model ends with; each of all rows of the epoch),
    ``mean_absolute_error``, ``mean_squared_error``; or functions of the plain (prediction, y), whose mean over the
    batches is taken. ``functools.partial(wb.f1, threshold=0.3)`` decides at another number than the middle.
    ``validation`` is another pair (x, y), measured after each epoch. ``callbacks`` are `Callback` objects, or functions
    called after each epoch. ``seed`` repeats the shuffling. Afterwards each layer is in the mode it was in before: call
    ``model.eval()`` before using one with Dropout.

    What a batch computes is compiled, unless ``compile`` is False. Layers and losses of the package are *known*: they
    run as one program. A model or loss with Python of yours is *followed*: the Python runs in each batch, a program
    does the arithmetic. With ``pure=True`` you promise that it is pure: it is traced once (see `compile`). The progress
    bar says which of these it is.

    ``resume`` is a file that `Checkpoint` wrote: training goes on from the epoch after that, up to ``epochs`` in all,
    to the same numbers as if it had never stopped.

    Ctrl-C ends training after the running batch, with the weights of that batch (a second Ctrl-C ends it at once). At a
    prompt or in a notebook, `fit` then returns the history, which says ``interrupted``. In a script it raises
    ``KeyboardInterrupt``, whose ``.history`` it is, so that the script ends and saves nothing half trained; so does a
    task that Ray or Dask cancels. Callbacks hear of the end either way.

    Raises ``ValueError`` for empty or unequal x and y, and for nan or inf in the data unless ``allow_nan``.

    >>> import tinygrad_wb as wb
    >>> x, y = wb.datasets.moons(200, seed=0)
    >>> model = wb.MLP(2, [16], 2, seed=0)
    >>> optimizer = wb.Adam(model.parameters(), learning_rate=0.05)
    >>> history = wb.fit(model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=20, seed=0,
    ...                  metrics=["accuracy"], progress=False)
    >>> history["accuracy"][-1] > 0.95
    True
    """
    x, y = checked_data("fit", "x and y", x, y, allow_nan)
    if validation is not None:
        if not isinstance(validation, (tuple, list)) or len(validation) != 2:
            raise TypeError("fit: validation is a pair (x, y) of data that training does not see")
        validation = checked_data("fit", "validation x and y", *validation, allow_nan)
    check_settings("fit", optimizer, epochs=epochs, batch_size=batch_size)
    training = Training(model, optimizer, loss, metrics, callbacks, epochs, compile, seed, pure)
    training.measures += [f"val_{name}" for name in training.measures] if validation is not None else []
    check_targets("fit", training.loss, y)
    with in_mode(model, training=True), Progress(epochs, len(x), progress) as bar:
        training.tell("on_start")
        if resume is not None:
            from tinygrad_wb.saving.checkpoint import resume as resumed  # loaded on use

            resumed(training, resume)
        with _stopped_by_ctrl_c(training):
            while training.epoch < epochs and not training.stop:
                training.epoch += 1
                meter = training.learn(x, y, batch_size, bar)
                if meter.rows < len(x):  # broken off: an epoch that is not whole is not recorded
                    break
                found = meter.result("fit")
                if validation is not None:
                    unseen = Meter(training.metrics, training.loss, validation[1])
                    unseen_found = measured("fit", model, *validation, training.loss, unseen, made=training.made)
                    found |= {f"val_{name}": number for name, number in unseen_found.items()}
                training.history.add(found)
                bar.epoch(training.epoch, found)
                training.tell("on_epoch")
        training.tell("on_end")
    if training.interruption is not None and not _is_interactive():
        raise training.interruption
    return training.history


def _callback(callback: Any) -> Callback:
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, type) or not callable(callback):
        raise TypeError(f"fit: a callback is a Callback object, or a function of the training, got {callback!r:.80}")
    return AfterEpoch(callback)


def check_settings(call: str, optimizer: Any, **numbers: Any) -> None:
    """Refuse what is no optimizer, and numbers that count nothing."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"{call}: optimizer must be an optimizer such as wb.SGD(model.parameters()), got {optimizer!r:.80}"
        )
    for name, number in numbers.items():
        if not isinstance(number, (int, np.integer)) or number < 1:
            raise ValueError(f"{call}: {name} must be a positive whole number, got {number!r}")


def checked_data(call: str, what: str, x: Any, y: Any, allow_nan: bool = False) -> tuple[Any, Any]:
    """x and y as arrays of as many rows, with numbers in them."""
    x, y = as_array(x), as_array(y)
    if not x.ndim or not y.ndim or len(x) != len(y):
        raise ValueError(
            f"{call}: {what} need one row for each example, as many in both; got shapes {x.shape} and {y.shape}"
        )
    if not len(x):
        raise ValueError(f"{call}: {what} are empty, shapes {x.shape} and {y.shape}; there is nothing to learn from")
    for name, data in (("x", x), ("y", y)):
        if data.dtype.kind not in "fiub":
            raise TypeError(f"{call}: {name} of {what} must hold numbers, got {data.dtype}")
        if not allow_nan and data.dtype.kind == "f" and not np.isfinite(data).all():
            row = int(np.argwhere(~np.isfinite(data))[0][0])
            raise ValueError(
                f"{call}: {name} of {what} has nan or inf, first in row {row}; one of them makes every weight nan. "
                "Remove or fill those rows, or say allow_nan=True"
            )
    return x, y


@contextlib.contextmanager
def _stopped_by_ctrl_c(training: Training) -> Iterator[None]:
    """Let Ctrl-C end training after the running batch, when no weight is half changed; a second one, at once."""
    import signal  # slow to import, and wanted only here

    def stop(signum: int, frame: Any) -> None:
        training.stop = True
        training.interrupted_by(
            KeyboardInterrupt(f"training stopped after a batch of epoch {training.epoch}; this error has the .history")
        )
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt as error:
        training.interrupted_by(error)
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)


def _is_interactive() -> bool:
    """Whether a prompt waits for what comes back: Python's own, IPython's or a notebook's."""
    return hasattr(sys, "ps1")
