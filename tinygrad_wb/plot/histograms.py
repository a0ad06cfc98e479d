"""How weights, biases and their gradients are distributed, and how that moves while a model learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tinygrad_wb.nn.module import Module
from tinygrad_wb.nn.names import named
from tinygrad_wb.plot.axes import MARKED, SMALL_LEGEND, axes_for, scale, shown
from tinygrad_wb.training.callbacks import Callback

if TYPE_CHECKING:
    from tinygrad_wb.training.loop import Training

__all__ = ["Distributions", "distributions", "shares"]

PERCENT = np.arange(101.0)
BINS = 50


class Distributions(Callback):
    """Notes, before training and after each epoch, how every parameter of ``model`` and its gradient are distributed.

    Give it to `fit` as a callback, or call ``note()`` in a loop of your own, and see it with `distributions`. What it
    keeps are the 101 percentiles, from the smallest number to the largest: a histogram whose bins hold 1 % each. The
    gradient is that of the epoch's last batch. Another `fit` goes on where the one before ended.

    >>> import tinygrad_wb as wb
    >>> x, y = wb.datasets.moons(100, seed=0)
    >>> model = wb.MLP(2, [8], 2, seed=0)
    >>> record = wb.plot.Distributions(model)
    >>> history = wb.fit(model, x, y, loss="cross_entropy", optimizer=wb.Adam(model.parameters()), epochs=3, seed=0,
    ...                  callbacks=[record], progress=False)
    >>> record
    <Distributions of 0.weight, 0.bias, 1.weight, 1.bias over 3 epochs>
    """

    def __init__(self, model: Module) -> None:
        if not isinstance(model, Module):
            raise TypeError(f"Distributions: model must be a Module, whose parameters have names, got {model!r:.80}")
        self.model = model
        self.notes: list[dict[str, dict[str, Any]]] = []  # of each epoch, of each parameter: its own, its gradient's

    @property
    def epochs(self) -> int:
        """How many epochs were noted, besides the state before training."""
        return max(len(self.notes) - 1, 0)

    def note(self) -> None:
        """Note how everything is distributed now: the first time before training, then after each epoch."""
        self.notes.append({
            name: {"parameter": percentiles(parameter.data), "gradient": percentiles(parameter.grad)}
            for name, parameter in self.model.named_parameters()
        })  # fmt: skip

    def on_start(self, training: Training) -> None:  # noqa: ARG002
        if not self.notes:
            self.note()

    def on_epoch(self, training: Training) -> None:  # noqa: ARG002
        self.note()

    def __repr__(self) -> str:
        names = [name for name, _ in self.model.named_parameters()]
        return f"<Distributions of {', '.join(names)} over {self.epochs} epochs>"


def percentiles(numbers: Any) -> Any:
    """The 101 percentiles of the finite ones among ``numbers``; nan if there are none, or no numbers (None)."""
    numbers = np.asarray(numbers, dtype=float)  # None becomes nan
    numbers = numbers[np.isfinite(numbers)]
    return np.percentile(numbers, PERCENT) if numbers.size else np.full(len(PERCENT), np.nan)


def shares(percentiles: Any, edges: Any) -> Any:
    """Which share of the numbers, in percent, lies between each two ``edges``: how far their percentiles are apart."""
    return np.diff(np.interp(edges, percentiles, PERCENT, left=0.0, right=100.0))


def distributions(
    record: Distributions, name: str, of: Literal["parameter", "gradient"] = "parameter", ax: Any = None
) -> Any:
    """How the numbers of the parameter called ``name``, or its ``of="gradient"``, were distributed in each epoch.

    The darker, the more of them; the lines are the median, and the 5th and 95th percentile. Returns the axes.
    """
    if not isinstance(record, Distributions):
        raise TypeError(f"distributions: record must be a wb.plot.Distributions, got {record!r:.80}")
    if of not in ("parameter", "gradient"):
        raise ValueError(f'distributions: of={of!r}; it is "parameter" or "gradient"')
    if not record.notes:
        raise ValueError("distributions: nothing was noted yet; give the record to fit(…, callbacks=[record])")
    named("parameter", name, record.notes[-1])
    empty = np.full(len(PERCENT), np.nan)
    table = np.array([note[name][of] if name in note else empty for note in record.notes])
    known = np.isfinite(table[:, 0])
    if not known.any():
        raise ValueError(f"distributions: no {of} of {name!r} was noted that has numbers in it")
    ax = axes_for(ax)
    from matplotlib.ticker import MaxNLocator

    first = int(known.argmax())  # there is no gradient before training
    table, known = table[first:], known[first:]
    low, high = table[known, 1].min(), table[known, 99].max()
    margin = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
    edges = np.linspace(low - margin, high + margin, BINS + 1)
    histograms = np.full((len(table), BINS), np.nan)
    histograms[known] = [shares(row, edges) for row in table[known]]
    epochs = np.arange(first, first + len(table))
    shading = ax.imshow(
        histograms.T, cmap="Blues", vmin=0.0, vmax=np.nanpercentile(histograms, 99), origin="lower", aspect="auto",
        extent=(epochs[0] - 0.5, epochs[-1] + 0.5, edges[0], edges[-1]), interpolation="nearest",
    )  # fmt: skip
    scale(ax, shading, f"% in each of {BINS} bins", "max")
    dot = "o" if len(epochs) == 1 else None
    ax.plot(epochs, table[:, 50], "-", color=MARKED, marker=dot, label="median")
    ax.plot(
        epochs, table[:, [5, 95]], "--", color=MARKED, marker=dot, markerfacecolor="white", label=["5 %, 95 %", "_"]
    )
    ax.set(xlabel="epoch", ylabel=shown(name) if of == "parameter" else f"∂Loss/∂{shown(name)}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend(loc="best", **SMALL_LEGEND)
    return ax
