"""Backprop: the history of a result, walked in reverse, each operation handing gradient to its inputs.

For y = f(a, b), with g = ∂Loss/∂y known, the chain rule gives a's contribution g · ∂y/∂a and b's g · ∂y/∂b;
a Value that is used several times gets the sum of its contributions. `pull_back` is that and no more.
`backward` is the same walk with gradients kept in the Values' own slots and the common forms written out,
because this is the loop that training time is spent in.
"""

from __future__ import annotations

import bisect
import functools
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.changed import changed_constant, changed_data, handed_out, large
from tinygrad_wb.constants import passing_on
from tinygrad_wb.errors import ShapeError, StaleGraphError
from tinygrad_wb.notices import warn_user
from tinygrad_wb.numpy_warnings import OF_STEPS, at_the_users_line, enter, leave, state, warned
from tinygrad_wb.on_gradient import Stops, listened, straight_on, with_stops
from tinygrad_wb.operation import ALL_AT_ONCE, ones
from tinygrad_wb.operations.reductions import sum
from tinygrad_wb.operations.shaping import astype, broadcast_to, reshape, shape_of
from tinygrad_wb.recording import recorders, replayable, watcher, watchers
from tinygrad_wb.taken import taken, warn_of_taken
from tinygrad_wb.value import UNRECORDED, Value, next_tick, own, raw, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = [
    "accumulate", "backward", "contribution", "contributions", "history", "latest", "match", "pull_back", "seed_of",
    "shared_anew",
]  # fmt: skip

_by_tick = attrgetter("tick")
_grad = attrgetter("grad")

# The tick at which backward() was last called: gradients of leaves assigned since then are older than they.
latest = [-1]

# Histories that reach back behind the previous backward(): how long each was, and how often in a row it had grown. The
# key is the tick of the first operation.
_grown: dict[int, tuple[int, int, int]] = {}
GROWTHS = 10  # warn after so many growths in a row


def history(result: Value) -> list[Value]:
    """The Values behind ``result`` that an operation made, latest first: every one stands before its inputs.

    Raises ``StaleGraphError`` where a leaf got new data after an operation had read it.
    """
    seen = {result}
    ahead = [result]
    made = []
    while ahead:
        node = ahead.pop()
        if node.inputs:
            made.append(node)
            tick = node.tick
            for x in node.inputs:
                if type(x) is Value:
                    if x.tick > tick:
                        raise _stale(x, node)
                    if x not in seen:
                        seen.add(x)
                        ahead.append(x)
    made.sort(key=_by_tick, reverse=True)
    if watchers and (watch := watcher()) is not None:
        watch.history_read(made)
    if handed_out and (changed := changed_data(made)) is not None:
        raise _changed(*changed)
    if large and (constant := changed_constant(made)) is not None:
        raise _refilled(*constant)
    return made


def _stale(x: Value, node: Value) -> StaleGraphError:
    op: Any = node.op
    return StaleGraphError(
        f"backward() through {op.name}: its input {x.name or 'a leaf'} of shape {x.shape} was given new data after it "
        "had been read, so the gradient would be wrong. Compute the loss again, then call backward() on it"
    )


def _changed(x: Value, node: Value) -> StaleGraphError:
    op: Any = node.op
    whose = f"its input {x.name or 'a Value' if x.inputs else x.name or 'a leaf'}" if x is not node else "its result"
    return StaleGraphError(
        f"backward() through {op.name}: the array of {whose} of shape {x.shape}, which .data "
        "handed out, was written to after the operation had read it, so the gradient would be wrong. Write to it after "
        "backward(), or compute the loss again"
    )


def _refilled(node: Value, which: Any, x: Any) -> StaleGraphError:
    op: Any = node.op
    what = f"option {which}" if type(which) is str else f"input {op.inputs[0 if op.variadic else which]}"
    return StaleGraphError(
        f"backward() through {op.name}: its {what}, an array of shape {x.shape}, was written to after the operation "
        "had read it, so the gradient would be wrong. Give each batch an array of its own, or refill the buffer after "
        "backward()"
    )


# -- the chain rule -------------------------------------------------------------------------------------------


def contributions(
    node: Value, g: Any, record: bool = False, operands: list[Any] | None = None, shared: Any = None
) -> list[tuple[Value, Any]]:
    """For each input of ``node`` that is a Value, with g = ∂Loss/∂node: the input, and what it gets of g.

    Plain data comes out; with ``record`` the partials are given the Values themselves, and what comes out are Values
    that can be differentiated again. What the partials are then told, the inputs and what they share with the forward
    computation, may be given as ``operands`` and ``shared``.
    """
    op: Any = node.op
    options = node.options
    if op.arity == ALL_AT_ONCE:
        call, result = options["call"], options["result"]
        all_of_it = call.recorded(result, g, node.inputs) if record else call.gradients(result, g)
        return [(x, d) for x, d in zip(node.inputs, all_of_it, strict=True) if _varies(x._data)]
    y = node if record else node._data
    operands = operands or [x._data if type(x) is Value and not record else x for x in node.inputs]
    if op.shared is not None and record:
        options = shared_anew(op, operands, options, shared)
    found = []
    for i, x in enumerate(node.inputs):
        if type(x) is Value and _varies(x._data):
            d = contribution(op, i, g, y, operands, options)
            if d is not None:
                found.append((x, d))
    return found


def contribution(op: Any, i: int, g: Any, y: Any, operands: list[Any], options: Mapping[str, Any]) -> Any:
    """What input number ``i`` gets of g; None where there is no partial by it."""
    partial = functools.partial(op.da, position=i) if op.variadic else op.partials[i]
    if partial is None:
        return None
    try:
        return partial(g, y, *operands, **options)
    except ArithmeticError:  # a float was divided by zero
        return partial(_ieee(g), _ieee(y), *map(_ieee, operands), **options)


def shared_anew(op: Any, operands: list[Any], options: Mapping[str, Any], shared: Any = None) -> dict[str, Any]:
    """The options, with what forward and partials share computed from ``operands``, unless it is given."""
    others = {k: v for k, v in options.items() if k != "shared"}
    return {**others, "shared": op.shared(*operands, **others) if shared is None else shared}


def _varies(data: Any) -> bool:
    """Whether there is a gradient by it: not by the whole numbers and truths in a recorded program."""
    return type(data) is float or (type(data) is np.ndarray and data.dtype.kind == "f")


def _ieee(x: Any) -> Any:
    """A number on which a division by zero is inf or nan, where Python's floats would raise."""
    return np.float64(x) if type(x) is float else x


@at_the_users_line
def pull_back(
    result: Value, seed: Any, record: bool = False, walk: Callable[..., Iterable[Value]] = straight_on
) -> dict[Value, Any]:
    """∂result/∂v, weighted by ``seed``, for every Value v behind ``result``; touches no ``.grad``.

    ``walk`` goes along the history, and may stop on the way, as `with_stops` does.
    """
    gradients = {result: seed}
    nodes = history(result)
    path = walk(result, nodes, gradients)
    if (watch := watcher()) is None:
        _hand_on(path, gradients, record)
    else:
        with watch.going_back(path) as watched:
            _hand_on(watched, gradients, record)
        watch.went_back(nodes, seed, gradients.get)
    return gradients


def _hand_on(path: Iterable[Value], gradients: dict[Value, Any], record: bool) -> None:
    for node in path:
        if node not in gradients:  # a comparison, in a recorded program: no gradient goes through it
            continue
        for x, d in (_recorded if record else contributions)(node, gradients[node]):
            fitted = match(d, x._data)
            gradients[x] = gradients[x] + fitted if x in gradients else fitted


def _recorded(node: Value, g: Any) -> list[tuple[Value, Any]]:
    """`contributions` as Values. What records them does not copy arrays that ``node`` has copies of already."""
    if not hasattr(node, "given"):
        return contributions(node, g, True)
    with passing_on(node):
        return contributions(node, g, True)


# -- shapes are mended here, once, so that no partial has to ---------------------------------------------------


@functools.lru_cache(maxsize=4096)
def _summed_axes(shape: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | int:
    """The axes of ``shape`` along which ``target`` was broadcast."""
    extra = len(shape) - len(target)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(target) if n == 1 != shape[extra + i])
    return axes[0] if len(axes) == 1 else axes


def match(d: Any, like: Any) -> Any:
    """A contribution in the shape and dtype of the plain number or array ``like`` that it is for.

    Forward, a smaller operand is stretched over a larger (broadcasting); backward, its gradient is the sum of all
    that it was stretched to. A reduction is the other way round: its gradient is stretched over what it summed.
    """
    if type(d) is np.ndarray and type(like) is np.ndarray and d.shape[1:] == like.shape and d.dtype == like.dtype:
        # The bias under a batch, in every layer.
        return ones(len(d), d.dtype).dot(d) if d.ndim == 2 and d.itemsize >= 4 else np.add.reduce(d, 0)
    shape, target = shape_of(d), np.shape(like)
    if shape != target:
        if len(shape) >= len(target) and (axes := _summed_axes(shape, target)) != ():
            d = sum(d, axes)
        if shape_of(d) != target:
            d = reshape(d, target) if np.size(raw(d)) == np.size(like) else broadcast_to(d, target)
    if not target:
        return d if isinstance(d, Value) else float(d)
    return d if raw(d).dtype == like.dtype else astype(d, like.dtype)


def accumulate(x: Value, d: Any, g: Any) -> None:
    """∂Loss/∂x += d, where ``d`` was made from ``g``.

    A leaf keeps an array of its own, because optimizers and users change it in place; all other gradients may
    share memory with one another and are never written to.
    """
    data = x._data
    if type(data) is float:
        if type(d) is not float:
            d = match(d, data)
    elif type(d) is not np.ndarray or d.shape != data.shape or d.dtype is not data.dtype:
        d = match(d, data)
    if x.grad is not None:
        x.grad = x.grad + d
    elif not x.inputs and (d is g or (type(d) is np.ndarray and d.base is not None)):
        x.grad = d.copy() if type(d) is np.ndarray else d
    else:
        x.grad = d


# -- backward() ---------------------------------------------------------------------------------------------------


def backward(self: Value, seed: Any = None, record: bool = False) -> None:
    """Fill ``.grad`` of every Value behind this one with the derivative of this one by it.

    Leaves add up over calls, as in PyTorch, until ``.grad`` is set to None; all other Values keep what the latest
    call found. ``seed`` (of this Value's shape) weights the elements; only a scalar does without. With ``record``
    the leaves' gradients are Values, which can be differentiated again; take them off the leaves when done, because
    a gradient that remembers its leaf and a leaf that holds its gradient keep each other alive.

    >>> import tinygrad_wb as wb
    >>> x = wb.Value(3.0)
    >>> (x**3).backward(record=True)
    >>> slope, x.grad = x.grad, None
    >>> slope.backward()
    >>> slope.data, x.grad
    (27.0, 18.0)
    """
    if recorders:
        replayable("backward() inside it", "call it on the result")
    seed = seed_of(self, seed)
    if not self.inputs:
        refuse_lost_history(self, "backward()")
    before, latest[0] = latest[0], next_tick()
    if taken:
        warn_of_taken(self, history(self))
    if record:
        for x, d in pull_back(self, seed, record, with_stops).items():
            if x.inputs:
                x.grad = raw(d)
            else:
                d_value = d if type(d) is Value else Value(d)
                x.grad = d_value if x.grad is None else x.grad + d_value
        return
    seed = raw(seed)
    nodes = history(self)
    if nodes and nodes[-1].tick < before:
        _notice_growth(nodes)
    for node in nodes:
        node.grad = None
    if listened:
        _walk_heard(self, nodes, seed)
    else:
        accumulate(self, seed, seed)
        token = enter(OF_STEPS[state()])
        try:
            _walk(nodes)
        finally:
            leave(token)
    settle()
    if watchers and (watch := watcher()) is not None:
        watch.went_back(nodes, seed, _grad)


def refuse_lost_history(result: Value, call: str) -> None:
    """Raise ``RuntimeError`` for a Value that looks like a leaf, but was computed, and has lost its history."""
    if result.options is UNRECORDED:
        raise RuntimeError(
            f"{call}: {result!r:.80} was computed under no_grad(), which records nothing, so it can't hand a gradient "
            "on. Compute the loss outside the no_grad() block"
        )
    if result.op is not None:
        raise RuntimeError(
            f"{call}: {result!r:.80} is a copy, and copy.deepcopy and pickle leave the history behind, so it can't "
            "hand a gradient on. Call it on the original, or compute the loss again from the copied model"
        )


def _notice_growth(nodes: Sequence[Value]) -> None:
    """Warn when the graph behind the loss grows with every backward()."""
    first = nodes[-1].tick
    length, growths, before = _grown.pop(first, (len(nodes), 0, -1))
    again = len(nodes) > length and not _has_tick(nodes, before)  # a loss of a loss is no longer than it must be
    growths = growths + 1 if again else 0
    if len(_grown) > 16:
        _grown.clear()
    _grown[first] = len(nodes), growths, nodes[0].tick
    if growths == GROWTHS:
        warn_user(
            f"the graph behind this loss grows with every backward(), to {len(nodes):,} operations by now: it reaches "
            "back through all earlier steps, and each takes longer than the one before. An update such as "
            "w = w - rate * w.grad makes a new Value that remembers the old one; assign the number instead, "
            "w.data = w.data - rate * w.grad, or use an optimizer's step()"
        )


def _has_tick(nodes: Sequence[Value], tick: int) -> bool:
    """Whether one of ``nodes``, latest first, has this tick."""
    i = bisect.bisect_left(nodes, -tick, key=lambda node: -node.tick)
    return i < len(nodes) and nodes[i].tick == tick


def _walk(nodes: Sequence[Value]) -> None:
    """Hand the gradient of each of ``nodes`` on to its inputs."""
    for node in nodes:
        g = node.grad
        y = node._data
        op: Any = node.op
        arity = op.arity
        try:
            if arity == 2:
                a, b = node.inputs
                p = a._data if type(a) is Value else a
                q = b._data if type(b) is Value else b
                da = op.da(g, y, p, q) if type(a) is Value else None
                db = op.db(g, y, p, q) if type(b) is Value else None
                if da is not None:
                    accumulate(a, da, g)
                if db is not None:
                    accumulate(b, db, g)
                continue
            if arity == ALL_AT_ONCE:
                for x, d in zip(node.inputs, node.options["call"].gradients(node.options["result"], g)):
                    x.grad = d if x.grad is None else x.grad + d
                continue
            if arity == 1:
                (a,) = node.inputs
                accumulate(a, op.da(g, y, a._data), g)
                continue
            if arity == 3:
                a, b, c = node.inputs
                p = a._data if type(a) is Value else a
                q = b._data if type(b) is Value else b
                r = c._data if type(c) is Value else c
                da = op.da(g, y, p, q, r) if type(a) is Value else None
                db = op.db(g, y, p, q, r) if type(b) is Value else None
                dc = op.dc(g, y, p, q, r) if type(c) is Value else None
                if da is not None:
                    accumulate(a, da, g)
                if db is not None:
                    accumulate(b, db, g)
                if dc is not None:
                    accumulate(c, dc, g)
                continue
        except ArithmeticError:
            pass  # a float was divided by zero: `contributions` knows what is wanted
        for x, d in contributions(node, g):
            accumulate(x, d, g)


def _walk_heard(result: Value, nodes: Sequence[Value], seed: Any) -> None:
    """The same, with stops for listeners. They hear what this walk brings to a leaf, without what it had before."""
    stops = Stops(result, nodes)
    earlier = {leaf: leaf.grad for leaf in stops.leaves if leaf.grad is not None}
    for leaf in earlier:
        leaf.grad = None
    try:
        accumulate(result, seed, seed)
        for stretch in stops.stretches(_grad, _set_grad):
            warned(OF_STEPS, _walk, stretch)
    finally:
        for leaf, g in earlier.items():
            leaf.grad = g if leaf.grad is None else g + leaf.grad


def _set_grad(x: Value, g: Any) -> None:
    x.grad = g


def seed_of(result: Value, seed: Any) -> Any:
    """What ``backward(seed)`` starts from: 1 unless told otherwise, in the shape and dtype of ``result``."""
    if seed is None:
        if type(result._data) is not float:
            raise ShapeError(
                f"backward() starts from one number, this Value has shape {result.shape}: "
                "reduce it first (.sum(), .mean(), a loss), or give a seed of that shape, the weight of each element"
            )
        return 1.0
    shape = shape_of(seed)
    if shape != result.shape:
        raise ShapeError(
            f"backward(seed): the seed has shape {shape}, this Value {result.shape}; they must be the same"
        )
    return match(seed if type(seed) is Value else own(seed), result._data)


Value.backward = backward  # type: ignore[method-assign]
