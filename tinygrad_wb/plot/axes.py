"""What all pictures share: axes to draw on, and colours."""

from __future__ import annotations

from typing import Any

__all__ = ["COLORS", "INK", "MARKED", "SMALL_LEGEND", "axes_for", "scale", "shown"]

# A colour-blind reader can tell them apart (Okabe and Ito, 2008): blue, vermilion, green, purple, orange, sky blue.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKED = COLORS[1]  # for what a reader should look at
INK = "#222222"
LONGEST = 28  # letters of a name

SMALL_LEGEND = {"fontsize": "small", "framealpha": 0.9, "handlelength": 1.5, "borderpad": 0.3, "labelspacing": 0.3}


def axes_for(ax: Any, width: float = 7.0, height: float = 4.0) -> Any:
    """``ax`` itself, or if it is None new axes in a figure of ``width`` × ``height`` inches."""
    try:
        from matplotlib import pyplot as plt
        from matplotlib.axes import Axes
    except ImportError as error:
        raise ImportError('wb.plot needs matplotlib: python -m pip install "tinygrad_wb[plot]"') from error
    if ax is None:
        _, ax = plt.subplots(figsize=(width, height), layout="constrained")
    if not isinstance(ax, Axes):
        raise TypeError(f"wb.plot: ax takes one matplotlib axes, such as plt.subplots()[1], got {type(ax).__name__}")
    return ax


def shown(name: str) -> str:
    """A name that a user gave, for matplotlib: on one line, of a long one the end, and its $ begin no formula."""
    name = " ".join(name.split())
    return (name if len(name) <= LONGEST else "…" + name[1 - LONGEST :]).replace("$", r"\$")


def scale(ax: Any, image: Any, label: str, extend: str = "neither") -> Any:
    """The axes of a colour scale for ``image``, at the right of ``ax``."""
    return ax.figure.colorbar(image, ax=ax, label=label, extend=extend, fraction=0.06, pad=0.03).ax
