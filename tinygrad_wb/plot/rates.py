"""The loss at each learning rate that was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.plot.axes import COLORS, MARKED, SMALL_LEGEND, axes_for

if TYPE_CHECKING:
    from tinygrad_wb.training.rates import LearningRates

__all__ = ["learning_rates"]


def learning_rates(found: LearningRates, ax: Any = None) -> Any:
    """The loss over the learning rate, as it was and smoothed, with the suggestion marked; `LearningRates.plot`.

    The rates are on a logarithmic scale. What rises above the first losses by more than these fall is cut off.
    Returns the axes.
    """
    ax = axes_for(ax)
    ax.plot(found.rates, found.losses, color=COLORS[0], alpha=0.35, linewidth=1.0, label="loss of a batch")
    ax.plot(found.rates, found.smoothed, color=COLORS[0], label="smoothed")
    if (best := found.suggestion) is not None:
        height = found.smoothed[found.rates.index(best)]
        ax.plot([best], [height], "o", color=MARKED, label=f"suggestion {best:.2g}")
    low, start = min(found.losses), max(found.losses[: -(-len(found.losses) // 4)])
    high = min(max(found.losses), start + max(start - low, np.ptp(found.losses) / 20))
    margin = 0.05 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(loc="lower left", **SMALL_LEGEND)
    return ax
