"""Where a model decides: the plane of its two inputs, with the line between one decision and the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.nn.module import in_mode
from tinygrad_wb.plot.axes import COLORS, INK, SMALL_LEGEND, axes_for, scale
from tinygrad_wb.recording import no_grad
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["decision_boundary"]

CLASSES = (COLORS[1], COLORS[0], *COLORS[2:])  # two of them as in RdBu, which shades scores: red is no, blue is yes
MARKERS = "os^DvPX"  # one more than colours, so that 42 classes look different
SIDE = 200  # the model is asked on a grid of so many points each way
LINE = 1.8  # the boundary's width


def decision_boundary(model: Callable[[Any], Any], x: Any, y: Any, ax: Any = None, threshold: float = 0.0) -> Any:
    """What ``model`` decides around the points ``x`` (n, 2), the line where that changes, and the points by label.

    ``model`` is anything that takes points (n, 2). If it gives one score each, (n,) or (n, 1), the score is the shading
    and the line is where it equals ``threshold`` (0.5 for probabilities); labels ``y`` are 1 for yes, 0 or -1 for no.
    Of scores (n, classes) the largest decides; labels are 0, 1, …, or one-hot rows. A Module is asked as it is in use
    (Dropout passes everything), recording nothing. Returns the axes. Raises ``ShapeError`` or ``ValueError`` for other
    data.
    """
    x, y = np.asarray(raw(x)), np.asarray(raw(y))
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ShapeError(
            f"decision_boundary: the picture is a plane, so x must be points (n, 2), got shape {x.shape}; "
            "of more inputs choose two, and give a function that fills in the others"
        )
    if x.dtype.kind not in "fiub" or not np.isfinite(x).all():
        raise ValueError("decision_boundary: x must hold numbers, without nan or inf")
    across, up = (_span(column) for column in x.T)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    scores = _scores(model, grid.astype(x.dtype if x.dtype.kind == "f" else float))
    classes = scores.shape[-1]
    if classes > 1 and threshold:
        raise ValueError(f"decision_boundary: threshold={threshold} is for one score, the model gives {classes}")
    labels = _labels(y, len(x), classes)
    ax = axes_for(ax, 7.0, 5.0)
    if classes == 1:
        _by_score(ax, across, up, scores[..., 0], threshold)
    else:
        _by_class(ax, across, up, scores)
    for label in np.unique(labels):
        look = int(label > 0 if classes == 1 else label)
        ax.scatter(
            *x[labels == label].T, s=26, c=CLASSES[look % len(CLASSES)], marker=MARKERS[look % len(MARKERS)],
            edgecolors="white", linewidths=0.6, label=f"label {label:g}", zorder=3,
        )  # fmt: skip
    ax.set(xlabel="first input", ylabel="second input", xlim=across[[0, -1]], ylim=up[[0, -1]])
    ax.legend(loc="best", ncols=-(-len(np.unique(labels)) // 6), columnspacing=0.8, **SMALL_LEGEND)
    return ax


def _span(column: Any) -> Any:
    """Numbers from one side of the picture to the other, with a margin around the points."""
    low, high = float(column.min()), float(column.max())
    margin = 0.1 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, SIDE)


def _scores(model: Callable[[Any], Any], grid: Any) -> Any:
    """The model's scores on the grid: (SIDE, SIDE, classes), of which there is 1 if it gives one score."""
    with no_grad(), in_mode(model, training=False):
        parts = [np.asarray(raw(model(part))) for part in np.split(grid, SIDE // 20)]  # wide layers need memory
    for part in parts:
        if part.shape[:1] != (len(grid) // len(parts),) or part.ndim > 2 or not part.size:
            raise ShapeError(
                f"decision_boundary: of points {grid[: len(grid) // len(parts)].shape} the model must give one score "
                f"each, or (points, classes); it gave shape {part.shape}"
            )
    scores = np.concatenate(parts).reshape(SIDE, SIDE, -1).astype(float)
    if not np.isfinite(scores).all():
        raise ValueError("decision_boundary: the model gives nan or inf here; are its weights finite?")
    return scores


def _labels(y: Any, points: int, classes: int) -> Any:
    """One whole number for each point."""
    if classes > 1 and y.shape == (points, classes):
        y = y.argmax(axis=1)
    if y.size != points:
        raise ShapeError(f"decision_boundary: {points} points need as many labels, got y of shape {y.shape}")
    known = (-1, 0, 1) if classes == 1 else tuple(range(classes))
    if not (fits := np.isin(y, known)).all():
        what = (
            "one score: labels are 0 or -1, and 1" if classes == 1 else f"{classes} scores: labels are 0 … {known[-1]}"
        )
        raise ValueError(f"decision_boundary: the model gives {what}; y has {y[~fits][0]!r}")
    return y.ravel().astype(int)


def _by_score(ax: Any, across: Any, up: Any, scores: Any, threshold: float) -> None:
    """Blue above the threshold, red below, the deeper the further from it."""
    limit = float(np.abs(scores - threshold).max()) or 1.0
    half_x, half_y = (across[1] - across[0]) / 2.0, (up[1] - up[0]) / 2.0  # pixels stand around their points
    shading = ax.imshow(
        scores, cmap="RdBu", vmin=threshold - limit, vmax=threshold + limit, alpha=0.7, origin="lower", aspect="auto",
        extent=(across[0] - half_x, across[-1] + half_x, up[0] - half_y, up[-1] + half_y), interpolation="bilinear",
    )  # fmt: skip
    scale(ax, shading, "score").axhline(threshold, color=INK, linewidth=LINE)
    _line(ax, across, up, scores - threshold)


def _by_class(ax: Any, across: Any, up: Any, scores: Any) -> None:
    """Each class's region in its colour: where its score is larger than the largest of the others."""
    for c in range(scores.shape[-1]):
        lead = scores[..., c] - np.delete(scores, c, axis=-1).max(axis=-1)
        if lead.max() > 0.0:
            ax.contourf(across, up, lead, levels=[0.0, lead.max() + 1.0], colors=[CLASSES[c % len(CLASSES)]], alpha=0.3)
        if c:  # every boundary has two sides, and one of them is not class 0's
            _line(ax, across, up, lead)


def _line(ax: Any, across: Any, up: Any, height: Any) -> None:
    """The line where ``height`` is 0, if it is in the picture."""
    if height.min() < 0.0 < height.max():
        ax.contour(across, up, height, levels=[0.0], colors=INK, linewidths=LINE)
