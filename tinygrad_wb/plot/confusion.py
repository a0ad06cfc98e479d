"""The confusion matrix: which classes are taken for which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.plot.axes import INK, axes_for, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["confusion"]

MOST_WRITTEN = 15  # classes whose counts stand in the picture; more would be too small to read
MOST_NAMED = 40
LETTERS = 24  # of all names in one row


def confusion(matrix: Any, ax: Any = None, names: Sequence[Any] | None = None) -> Any:
    """A confusion matrix as a picture: a row for each true class, a column for each predicted one, and the counts.

    ``matrix`` (classes, classes) is `confusion_matrix`'s, or an epoch's of `History`. The darker, the larger the share
    of its row: what stands off the diagonal is wrong. ``names`` are the classes', else their numbers. Returns the axes.
    Raises ``ShapeError`` for a matrix that is not square, or other than one name for each class.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ShapeError(f"confusion: the matrix must be of shape (classes, classes), got {counts.shape}")
    if counts.dtype.kind not in "fiu" or not (np.isfinite(counts) & (counts >= 0)).all():
        raise ValueError("confusion: the matrix must hold counts: numbers from 0 up")
    classes = len(counts)
    names = [shown(str(name)) for name in names or ()]
    if names and len(names) != classes:
        raise ShapeError(f"confusion: {classes} classes need as many names, got {len(names)}")
    ax = axes_for(ax, *[1.6 + min(0.45 * max(classes, 5), 5.4)] * 2)
    rows = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    ax.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    if names or classes <= MOST_WRITTEN:
        words, every = names or range(classes), -(-classes // MOST_NAMED)
        long = sum(len(str(word)) for word in words) > LETTERS
        ax.set_xticks(range(0, classes, every), words[::every], rotation=90 if long else 0)
        ax.set_yticks(range(0, classes, every), words[::every])
    else:
        for axis in (ax.xaxis, ax.yaxis):
            axis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    if classes <= MOST_WRITTEN:
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if share[row, column] > 0.5 else INK
            ax.text(column, row, f"{count:g}", ha="center", va="center", color=color, fontsize="small")
    return ax
