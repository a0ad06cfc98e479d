"""`History`: what training measured, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["History"]

# One for each thing measured, dashed for validation; a colour-blind reader can tell them apart (Okabe and Ito, 2008).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


class History:
    """What `fit` measured: ``history["loss"]`` is a list with one number for each finished epoch.

    The names are ``loss``, each metric, and with validation ``val_loss`` and ``val_`` each metric. ``batch_losses``
    has the loss of every batch, also of an epoch that was broken off; ``interrupted`` says whether one was.
    """

    def __init__(self) -> None:
        self.epochs: dict[str, list[float]] = {}
        self.batch_losses: list[float] = []
        self.interrupted = False

    def add(self, measured: dict[str, float]) -> None:
        for name, number in measured.items():
            self.epochs.setdefault(name, []).append(number)

    def __getitem__(self, name: str) -> list[float]:
        if name not in self.epochs:
            raise KeyError(f"{name!r} was not measured; there are: {', '.join(self.epochs) or 'no finished epochs'}")
        return self.epochs[name]

    def keys(self) -> list[str]:
        """The names of what was measured; so ``dict(history)`` is a dictionary of the lists."""
        return list(self.epochs)

    def __iter__(self) -> Iterator[str]:
        return iter(self.epochs)

    def __contains__(self, name: object) -> bool:
        return name in self.epochs

    def __len__(self) -> int:
        return len(next(iter(self.epochs.values()), []))

    def __repr__(self) -> str:
        last = "".join(f", {name} {numbers[-1]:.4g}" for name, numbers in self.epochs.items())
        return f"<History of {len(self)} epochs{last}{', interrupted' if self.interrupted else ''}>"

    def plot(self, ax: Any = None) -> Any:
        """The training curve: one line for each thing measured, losses on the left axis, metrics on the right.

        Returns the matplotlib axes with the losses; draws on ``ax`` if given. Needs ``[plot]``.
        """
        try:
            from matplotlib import pyplot as plt
            from matplotlib.ticker import MaxNLocator
        except ImportError as error:
            raise ImportError('History.plot needs matplotlib: python -m pip install "tinygrad_wb[plot]"') from error
        if ax is None:
            _, ax = plt.subplots(figsize=(7.0, 4.0), layout="constrained")
        metrics = {name: numbers for name, numbers in self.epochs.items() if not name.endswith("loss")}
        right: Any = ax.twinx() if metrics else None
        lines = []
        things = list(dict.fromkeys(name.removeprefix("val_") for name in self.epochs))
        for name, numbers in self.epochs.items():
            side = right if name in metrics else ax
            color = COLORS[things.index(name.removeprefix("val_")) % len(COLORS)]
            style = "--" if name.startswith("val_") else "-"
            dot = "o" if len(numbers) == 1 else None
            lines += side.plot(range(1, len(numbers) + 1), numbers, style, color=color, marker=dot, label=name)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.spines[["top"]].set_visible(False)
        if right is not None:
            right.set_ylabel(", ".join(dict.fromkeys(name.removeprefix("val_") for name in metrics)))
            right.spines[["top"]].set_visible(False)
        if lines:
            ax.legend(handles=lines, frameon=False, loc="center right")
        return ax
