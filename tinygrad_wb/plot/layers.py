"""What comes out of each layer: how it is distributed, and which of it is dead or saturated."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.module import Module, in_mode
from tinygrad_wb.plot.axes import COLORS, INK, MARKED, SMALL_LEGEND, axes_for, shown
from tinygrad_wb.recording import no_grad
from tinygrad_wb.value import raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["activations"]

BINS = 100
TALL = 0.42  # half the height of the highest bar in a row; rows are 1 apart
KEY = ("outputs", "dead or saturated", "middle half", "median")
TWO_LINES = 27.0  # points that they need
FLAT = 0.05  # saturated: where the slope is below this share of the steepest


def activations(model: Module, x: Any, ax: Any = None) -> Any:
    """How the outputs of each layer of ``model`` are distributed for the inputs ``x``, the first layer at the top.

    Each row is a histogram, whose height grows with the square root of the number, so that thin tails show; the bar in
    it holds the middle half. The axis is linear from -1 to 1 and logarithmic beyond. Marked are the units that are
    *dead* after relu, 0 for every input, and the outputs that are *saturated* after tanh or sigmoid, where the slope is
    below 5 % of the steepest (Glorot and Bengio, 2010). Layers are the Modules with no Modules inside. The model is as
    it is in use (Dropout passes everything), records nothing and stays as it was. Returns the axes.
    """
    if not isinstance(model, Module):
        raise TypeError(f"activations: model must be a Module, whose layers can be found, got {model!r:.80}")
    with no_grad(), in_mode(model, training=False), _outputs(model) as noted:
        model(raw(x))
    rows = [(name, function, np.concatenate(outputs)) for (name, function, _), outputs in noted.items()]
    numbers = np.concatenate([y[np.isfinite(y)] for _, _, y in rows] or [[]])
    if not numbers.size:
        raise ValueError(f"activations: the layers of the {model.label} gave no numbers; does it call them?")
    ax = axes_for(ax, 7.0, min(1.6 + 0.6 * len(rows), 12.0))
    edges = _edges(numbers.min(), numbers.max())
    captions, key = [], dict.fromkeys(KEY)  # in this order
    for row, (name, function, y) in enumerate(rows):
        marked, words = MARKS.get(function, _unmarked)(y)
        finite = np.isfinite(y)
        lost = "" if finite.all() else f"{1.0 - finite.mean():.1%} nan or inf"
        captions.append([text for text in (f"{shown(name)} {shown(function)}".strip(), words, lost) if text])
        if finite.any():
            key |= _row(ax, row, y[finite], marked[finite], edges)
    key = {name: handle for name, handle in key.items() if handle is not None}
    ax.legend(key.values(), key, loc="upper right", ncols=2, **SMALL_LEGEND | {"frameon": False})
    _name_rows(ax, captions)
    if max(-edges[0], edges[-1]) > 1.0:  # within ±1 the same as linear, whose ticks are better
        ax.set_xscale("symlog", linthresh=1.0)
    ax.set_xlim(edges[0], edges[-1])
    ax.xaxis.set_major_formatter("{x:g}")
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.set(xlabel="output", ylabel="layer")
    return ax


# -- which outputs are marked, by the function that made them: a mask, and the words for it ---------------------------


def _dead(y: Any) -> tuple[Any, str]:
    """Units that are 0 for every input: no gradient goes through them, so they learn nothing."""
    units = (y == 0.0).all(axis=0)
    return np.broadcast_to(units, y.shape), f"{units.sum()} of {len(units)} dead"


def _saturated(slope: Any) -> tuple[Any, str]:
    flat = slope < FLAT
    return flat, f"{flat.mean():.1%} saturated"


def _unmarked(y: Any) -> tuple[Any, str]:
    return np.zeros(y.shape, bool), ""


MARKS: dict[str, Callable[[Any], tuple[Any, str]]] = {
    "relu": _dead,
    "tanh": lambda y: _saturated(1.0 - y * y),
    "sigmoid": lambda y: _saturated(4.0 * y * (1.0 - y)),  # steepest in the middle, 1/4
}


# -- drawing ----------------------------------------------------------------------------------------------------------


def _edges(low: float, high: float) -> Any:
    """Edges of bins that are equally wide on the axis: v itself from -1 to 1, and ± (1 + log10 |v|) beyond."""
    ends = [np.sign(v) * (1.0 + np.log10(abs(v))) if abs(v) > 1.0 else v for v in (low, high)]
    margin = 0.03 * (ends[1] - ends[0]) or 0.1
    u = np.linspace(ends[0] - margin, ends[1] + margin, BINS + 1)
    return np.where(np.abs(u) > 1.0, np.sign(u) * 10.0 ** (np.abs(u) - 1.0), u)


def _row(ax: Any, row: int, y: Any, marked: Any, edges: Any) -> dict[str, Any]:
    """One layer's histogram, with what is marked in it and where its middle is; what is to be explained, by name."""
    drawn = {}
    counts = np.histogram(y, edges)[0]
    for name, part, color in (
        ("outputs", counts, COLORS[5]),
        ("dead or saturated", np.histogram(y[marked], edges)[0], MARKED),
    ):
        if part.any():
            half = TALL * np.sqrt(part / counts.max())
            drawn[name] = ax.stairs(row + half, edges, baseline=row - half, fill=True, color=color)
    quarter, median, three_quarters = np.percentile(y, [25, 50, 75])
    (drawn["middle half"],) = ax.plot([quarter, three_quarters], [row, row], color=INK, lw=3.0, solid_capstyle="butt")
    (drawn["median"],) = ax.plot([median], [row], "o", color="white", markeredgecolor=INK, markersize=5.0)
    return drawn


def _name_rows(ax: Any, captions: list[list[str]]) -> None:
    """The rows from top to bottom, each with its words in letters that fit, below room for the legend."""
    height = ax.bbox.height * 72.0 / ax.figure.dpi  # in points, as letters are
    for_legend = min(36.0, 0.5 * height)
    each = (height - for_legend) / len(captions)
    ax.set_ylim(len(captions) - 0.5, -0.5 - for_legend / each)
    texts = [("\n" if each > TWO_LINES else ", ").join(words) for words in captions]
    ax.set_yticks(range(len(captions)), texts, fontsize=float(np.clip(0.8 * each, 4.0, 10.0)))
    ax.tick_params(axis="y", length=0)


# -- hearing what each layer gives ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _outputs(model: Module) -> Iterator[dict[tuple[str, str, int], list[Any]]]:
    """What each layer gives in this block, as arrays (n, units), by its name, its function and its units.

    For so long, each has a ``forward`` of its own that stands before its class's and keeps what that returns.
    """
    noted: dict[tuple[str, str, int], list[Any]] = {}

    def noting(path: str, layer: Module) -> Callable[..., Any]:
        forward, name, function = layer.forward, path or type(layer).__name__, _function(layer)

        def noting_forward(*args: Any, **kwargs: Any) -> Any:
            y = forward(*args, **kwargs)
            array = raw(y)
            passed_on = any(y is x for x in args)  # as Dropout does in use: there is nothing to see
            if isinstance(array, np.ndarray) and array.size and not passed_on:
                units = array.shape[-1]
                noted.setdefault((name, function, units), []).append(array.reshape(-1, units))
            return y

        return noting_forward

    layers = [(path, part) for path, part in model.named_modules() if len(list(part.named_modules())) == 1]
    before = [vars(layer).get("forward") for _, layer in layers]
    try:
        for path, layer in layers:
            vars(layer)["forward"] = noting(path, layer)
        yield noted
    finally:
        for (_, layer), forward in zip(layers, before, strict=True):
            vars(layer).pop("forward", None)
            if forward is not None:
                vars(layer)["forward"] = forward


def _function(layer: Module) -> str:
    """The name of the function that a layer ends in, if it has one: Dense's activation, Activation's function."""
    return getattr(getattr(layer, "activation", None) or getattr(layer, "function", None), "__name__", "")
