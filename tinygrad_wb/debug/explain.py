"""`explain`: why a gradient is what it is, as the sum over all paths from the loss.

∂L/∂w is the sum, over all paths from L to w, of the product of the local derivatives along the path (Bauer, 1974).
There may be very many paths, so they are counted, not walked: from a node there are as many as from all its inputs
together. The strongest are found by a best-first search: a path that has come to v can at most be multiplied by the
largest product between v and w, which is known. On numbers these bounds are exact. On arrays, where only the partials
themselves know what they do, the gain of each in the backward pass, ‖contribution‖/‖upstream‖, stands for it; what is
reported is what comes out at w when the gradient goes along that path alone.
"""

from __future__ import annotations

import heapq
import itertools
import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygrad_wb.backprop import match
from tinygrad_wb.debug.step import Step, in_words
from tinygrad_wb.debug.stepper import Stepper
from tinygrad_wb.debug.trace import gained
from tinygrad_wb.draw import draw
from tinygrad_wb.draw.wording import amount, count_text
from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import REGISTRY
from tinygrad_wb.program.names import variables_in
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tinygrad_wb.debug.trace import Trace
    from tinygrad_wb.draw import Drawing

__all__ = ["Explanation", "Path", "explain", "explained_by"]

LIMIT = 1e6  # logarithms of gains stay within it, so that 0, inf and nan can be added up
LONGEST = 24  # edges of a path that are told one by one


class Path(NamedTuple):
    """One way from the loss to a Value: its steps, latest operation first, and what comes through it alone."""

    steps: tuple[Step, ...]
    contribution: Any


class Explanation:
    """Why ∂L/∂w is what it is: ``print`` it to read it, ``draw()`` it to see it.

    ``count`` is how many paths there are from the loss to w; ``paths`` has the strongest, strongest first, each with
    its ``steps`` and its ``contribution``. Over all paths the contributions add up to ``gradient``. Where an ``index``
    was asked for, they are those to that element.
    """

    def __init__(self, trace: Trace, w: Value, index: Any, count: int, paths: list[Path], gradient: Any) -> None:
        self.trace = trace
        self.w = w
        self.index = index
        self.count = count
        self.paths = paths
        self.gradient = gradient

    @property
    def shown(self) -> Any:
        """The sum of the contributions of ``paths``."""
        total: Any = 0.0
        with np.errstate(all="ignore"):
            for path in self.paths:
                total = total + path.contribution
        return total

    def draw(self, **choices: Any) -> Drawing:
        """A picture of the ways from the loss to w alone; ``choices`` are those of `draw`."""
        return draw(self.trace.result, path=(self.trace.result, self.w), **choices)

    @property
    def name(self) -> str:
        """What was asked about, such as ``w[0, 3]``."""
        inside = "" if self.index is None else ", ".join(map(str, self.index))
        return self.trace.called(self.w) + (f"[{inside}]" if inside else "")

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        name, loss = self.name, self.trace.called(self.trace.result)
        if not self.count:
            return f"There is no path from {loss} to {name}, so ∂L/∂{name} is not computed."
        number = "1 path" if self.count == 1 else f"{count_text(self.count)} paths"
        blocks = [f"∂L/∂{name} = {in_words(self.gradient)}, by {number} from L = {loss}"]
        for i, path in enumerate(self.paths, 1):
            blocks.append("\n".join(self._told(i, path)))
        left = self.count - len(self.paths)
        if left:
            which = "strongest path" if len(self.paths) == 1 else f"{len(self.paths)} strongest"
            blocks.append(f"sum of the {which}: {in_words(self.shown)}; {count_text(left)} more are left out")
        elif self.count > 1:
            blocks.append(f"sum of all {self.count}: {in_words(self.shown)}")
        return "\n\n".join(blocks)

    def _told(self, number: int, path: Path) -> Iterator[str]:
        values = _ends_of([*(step.node for step in path.steps), self.w])
        yield f"{number}. {' ← '.join('…' if x is None else self.trace.called(x) for x in values)}"
        rows = [("…", "") if step is None else _edge(step) for step in _ends_of(path.steps)]
        rows.append(("product" if len(path.steps) > 1 else "contribution", in_words(path.contribution)))
        width = max(len(text) for text, _ in rows)
        for text, value in rows:
            yield f"   {text:<{width}} {'= ' + value if value else ''}".rstrip()


def _ends_of(items: Sequence[Any]) -> list[Any]:
    """The first and the last of many items, with None for those between."""
    half = LONGEST // 2
    return list(items) if len(items) <= LONGEST else [*items[:half], None, *items[-half:]]


def _edge(step: Step) -> tuple[str, str]:
    """The local derivative on an edge: formula and number."""
    y, x = step.trace.called(step.node), step.name
    if not step.is_local:
        return f"∂L/∂{x} from g = ∂L/∂{y}: {step.formula or step.op.name}", ""
    value = "" if step.local is None else in_words(step.local)
    return f"∂{y}/∂{x} = {step.formula}", value if value != step.formula else ""


def explain(loss: Value, w: Value | str, index: tuple[int, ...] | int | None = None, paths: int = 10) -> Explanation:
    """Why ∂Loss/∂w is what it is: the paths from ``loss`` to ``w``, and the product of local derivatives along each.

    ``w`` is a Value or its name. Of an array, ``index`` asks about one element, as does ``w[0, 3]``. Of more than
    ``paths`` paths, the strongest are found. On arrays their choice is by an estimate, what each one contributes is
    exact. A loss that is an array counts as its sum.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value(3.0, name="w")
    >>> loss = w * w + 2.0 * w
    >>> print(explain(loss, w))
    ∂L/∂w = 8, by 3 paths from L = loss
    <BLANKLINE>
    1. loss ← multiply_1 ← w
       ∂loss/∂multiply_1 = 1
       ∂multiply_1/∂w = w    = 3
       product               = 3
    <BLANKLINE>
    2. loss ← multiply_1 ← w
       ∂loss/∂multiply_1 = 1
       ∂multiply_1/∂w = w    = 3
       product               = 3
    <BLANKLINE>
    3. loss ← multiply_2 ← w
       ∂loss/∂multiply_2 = 1
       ∂multiply_2/∂w = 2
       product               = 2
    <BLANKLINE>
    sum of all 3: 8
    """
    if not isinstance(paths, int) or paths < 1:
        raise ValueError(f"explain(paths={paths!r:.60}): a whole number, at least 1")
    seed = np.ones(loss.shape, loss.dtype) if type(loss) is Value and loss.shape else None
    return explained_by(Stepper(loss, seed, variables=variables_in(sys._getframe(1))), w, index, paths)


def explained_by(stepper: Stepper, w: Value | str, index: Any = None, paths: int = 10) -> Explanation:
    """The same of a stepper's backward pass, wherever it stands, without its edits."""
    target = stepper.trace.value(w) if isinstance(w, str) else w
    if type(target) is not Value:
        raise TypeError(f"explain(loss, w): w is a Value or the name of one, got {w!r:.60}")
    if index is None and target not in stepper.trace.to and target.op is REGISTRY["getitem"]:  # such as w[0, 3]
        (target,), index = target.inputs, target.options["index"]
    return _Ways(stepper.from_the_start(), target).explanation(_index(target, index), paths)


def _index(w: Value, index: Any) -> tuple[int, ...] | None:
    """An index of one element of ``w``."""
    if index is None:
        return None
    found = index if isinstance(index, tuple) else (index,)
    whole = all(isinstance(i, (int, np.integer)) for i in found)
    if not whole or len(found) != w.ndim or any(not -n <= i < n for i, n in zip(found, w.shape, strict=True)):
        raise ShapeError(f"explain(index={index!r:.60}): w has shape {w.shape}; give one whole number for each axis")
    return tuple(int(i) for i in found)


class _Ways:
    """The steps on a way from the loss to ``w``, with how many ways go on from each Value and the best of them."""

    def __init__(self, stepper: Stepper, w: Value) -> None:
        self.trace, self.w = stepper.trace, w
        self.seed = stepper.gradients[stepper.loss]
        self.gradients = dict(stepper.finish())
        self.counts: dict[Value, int] = {w: 1}
        self.best: dict[Value, float] = {w: 0.0}
        self.edges: dict[
            Value, list[tuple[int, float]]
        ] = {}  # by Value: the steps on, and the logarithms of their gains
        with np.errstate(all="ignore"):
            for node in reversed(self.trace.nodes):
                on = [i for i in self.trace.of(node) if self.trace.input(i) in self.counts]
                if on and node is not w:
                    gains = self._gains(node)
                    self.edges[node] = [(i, gains[self.trace.rank(i)]) for i in on]
                    self.counts[node] = sum(self.counts[self.trace.input(i)] for i in on)
                    self.best[node] = max(gain + self.best[self.trace.input(i)] for i, gain in self.edges[node])

    def _gains(self, node: Value) -> list[float]:
        """log |∂node/∂x| for each input; on arrays, by how much the gradient grew on its way."""
        g = 1.0 if type(node._data) is float else self.gradients[node]
        whole = amount(g)
        return [_log(amount(match(d, x._data)) / whole if whole else 0.0) for x, d in gained(node, g)]

    def explanation(self, index: tuple[int, ...] | None, most: int) -> Explanation:
        gradient = self.gradients.get(self.w)
        count = self.counts.get(self.trace.result, 0)
        found = [self._along(way, index) for way in itertools.islice(self._strongest(), most)]
        found.sort(key=lambda path: -_log(amount(path.contribution)))
        if gradient is not None and index is not None:
            gradient = float(np.asarray(gradient)[index])
        return Explanation(self.trace, self.w, index, count, found, gradient)

    def _strongest(self) -> Iterator[_Way | None]:
        """The ways from the loss to w, by their bounds: the largest first."""
        start = self.trace.result
        order = itertools.count(0, -1)  # of equals the latest first, so that the search goes deep and not wide
        ahead: list[tuple[float, int, float, Value, _Way | None]] = []
        if start in self.counts:
            ahead.append((-self.best[start], next(order), 0.0, start, None))
        while ahead:
            _, _, product, value, way = heapq.heappop(ahead)
            if value is self.w:
                yield way
                continue
            for i, gain in self.edges[value]:
                x = self.trace.input(i)
                bound = round(product + gain + self.best[x], 6)  # what differs by rounding alone is equal
                heapq.heappush(ahead, (-bound, next(order), product + gain, x, _Way(i, way)))

    def _along(self, way: _Way | None, index: tuple[int, ...] | None) -> Path:
        """Pull the gradient back along one way alone."""
        edges: list[_Way] = []
        while way is not None:
            edges.append(way)
            way = way.before
        g = self.seed
        with np.errstate(all="ignore"):
            for edge in reversed(edges):
                if edge.step is None:
                    node = self.trace.steps[edge.index][0]
                    x, d = gained(node, g)[self.trace.rank(edge.index)]
                    d = match(d, x._data)
                    edge.step = Step(self.trace, edge.index, g, d, None, d, False)
                g = edge.step.contribution
        steps = tuple(edge.step for edge in reversed(edges) if edge.step is not None)
        return Path(steps, g if index is None else float(np.asarray(g)[index]))


class _Way:
    """A way from the loss: its last edge, and the way up to there, which it shares with all that begin alike.

    ``step`` is that edge's, with what comes through along this way alone; None until it is worked out.
    """

    __slots__ = ("before", "index", "step")

    def __init__(self, index: int, before: _Way | None) -> None:
        self.index = index
        self.before = before
        self.step: Step | None = None


def _log(x: float) -> float:
    return max(-LIMIT, min(LIMIT, math.log(x))) if 0.0 < x < math.inf else -LIMIT if x == 0.0 else LIMIT
