"""The training curve: what `fit` measured, epoch by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygrad_wb.plot.axes import COLORS, axes_for, shown

if TYPE_CHECKING:
    from tinygrad_wb.training.history import History

__all__ = ["training_curve"]


def training_curve(history: History, ax: Any = None) -> Any:
    """The training curve: one line for each thing measured, losses on the left axis, metrics on the right.

    What is measured on validation data is dashed; a matrix is no curve (see `confusion`). Returns the axes with the
    losses. `History.plot` is the same.
    """
    ax = axes_for(ax)
    from matplotlib.ticker import MaxNLocator

    curves = history.curves()
    metrics = [name for name in curves if not name.endswith("loss")]
    right: Any = ax.twinx() if metrics else None
    lines = []
    things = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    for name, numbers in curves.items():
        side = right if name in metrics else ax
        color = COLORS[things.index(name.removeprefix("val_")) % len(COLORS)]
        style = "--" if name.startswith("val_") else "-"
        dot = "o" if len(numbers) == 1 else None
        lines += side.plot(range(1, len(numbers) + 1), numbers, style, color=color, marker=dot, label=shown(name))
    ax.set(xlabel="epoch", ylabel="loss")
    ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.spines[["top"]].set_visible(False)
    if right is not None:
        right.set_ylabel(", ".join(dict.fromkeys(shown(name.removeprefix("val_")) for name in metrics)))
        right.spines[["top"]].set_visible(False)
    if lines:
        ax.legend(handles=lines, frameon=False, loc="center right")
    return ax
