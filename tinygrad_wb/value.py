"""`Value`: a number or array that remembers how it was computed.

A Value holds its data and, unless it is a leaf, the record of the one operation that made it: the
operation, its inputs, its options. That record is plain data, points only backwards in time, and is all
that any reader (backprop, drawing, stepping) ever sees. The operators (`+`, `@`, `v.exp()` …) are the
rows of the tables in `operations/`, which attach themselves to this class.
"""

from __future__ import annotations

import functools
import itertools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.changed import hand_out, handed_out
from tinygrad_wb.constants import given_inputs
from tinygrad_wb.foreign import as_array
from tinygrad_wb.memory import bytes_of
from tinygrad_wb.recording import (
    Place,
    is_recording,
    noters,
    paused,
    placing,
    recorder,
    recorders,
    replayable,
    settle_noted,
    this_place,
    this_thread,
    tracing_threads,
    watcher,
    watchers,
)  # fmt: skip
from tinygrad_wb.taken import note_copied, note_taken, taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType

    from tinygrad_wb.constants import Arguments
    from tinygrad_wb.on_gradient import Listener
    from tinygrad_wb.operation import Operation
    from tinygrad_wb.program import Program

__all__ = [
    "Value", "constant", "dtype_behind", "own", "promoted", "raw", "record", "settle", "settled_since", "traced",
]  # fmt: skip

# The one clock. Order of ticks is order of execution, in every thread.
next_tick = itertools.count().__next__

NO_OPTIONS: Mapping[str, Any] = {}
PENDING = "tinygrad_wb.pending"  # the module of Value's one subclass
UNRECORDED: Mapping[str, Any] = {}  # the options of a result of no_grad; no leaf that a user made has them
TRACED: Mapping[str, Any] = {}  # the options of a leaf that represents an argument of a program


class Value:
    """A number or array that remembers how it was computed.

    ``data`` is copied. A scalar is kept as a Python ``float``; an array keeps float16, float32 or float64,
    integers and booleans become float64. Complex, text and object data raise ``TypeError``.

    >>> import tinygrad_wb as wb
    >>> w = wb.Value(3.0, name="w")
    >>> loss = (w * 2.0 - 1.0) ** 2
    >>> loss.backward()
    >>> loss.data, w.grad
    (25.0, 20.0)
    """

    __slots__ = (
        "__weakref__",
        "_data",
        "_entry",
        "_place",
        "calls",
        "given",
        "grad",
        "inputs",
        "listeners",
        "name",
        "op",
        "options",
        "origin",
        "tick",
    )

    _data: Any  # the engine reads this slot; `data` is the same thing for everyone else
    grad: Any  # ∂Loss/∂self; None means "not computed", never zero
    name: str | None
    op: Operation | None  # None for a leaf
    inputs: tuple[Any, ...]  # Values, and constants as plain floats and arrays
    options: Mapping[str, Any]  # what else the operation was told: axis, shape, index …
    given: Arguments  # inputs and options with the caller's own arrays; set only where the record has copies of them
    calls: tuple[Any, ...]  # of Modules that returned it (nn/calls.py); set only if there are any
    listeners: list[Listener]  # to its gradient; set only if there are any
    origin: np.dtype[Any] | None  # dtype of the data that a number was computed from; looked up on first use
    _entry: Any  # of a pending Value (pending.py): the operation that it stands for
    _place: tuple[CodeType, int]  # a `Place`; set only while `source_lines` asks for it
    tick: int  # when the data was made or last assigned

    def __init__(self, data: Any, name: str | None = None) -> None:
        if isinstance(data, Value):
            replayable("a copy of v by wb.Value(v)", "compute with v itself")
            _keep_history("wb.Value(v)", "compute with v itself, or write wb.Value(v.data)")
        self._data = own(data)
        if taken:
            note_copied(data, self)
        self.grad = None
        self.name = name
        self.op = None
        self.inputs = ()
        self.options = NO_OPTIONS
        self.origin = dtype_behind(data) if isinstance(data, Value) and type(self._data) is float else None
        self.tick = next_tick()

    def __init_subclass__(cls) -> None:
        if cls.__module__ == PENDING:
            return
        raise TypeError("Value can't be subclassed: hold one in an attribute, or add an operation to the table")

    # -- what it holds -------------------------------------------------------------------------------

    @property
    def data(self) -> Any:
        """The plain number (``float``) or array. Assigning to a leaf copies, and makes older graphs stale."""
        if recorders:
            replayable("v.data", "compute with v itself")
        if noters and (noter := noters.get(this_thread())) is not None and noter.hand_out(self):
            return self._data
        data = self._data
        # The caller may write to it, behind a graph that has read it; and what made a result may read that right away.
        if type(data) is np.ndarray and not settled_since(NEVER if self.inputs else self.tick):
            hand_out(self, next_tick())
        return data

    @data.setter
    def data(self, new: Any) -> None:
        if recorders:
            replayable("an assignment to v.data", "assign it outside the function")
        if noters:
            settle_noted()
        if self.inputs and self.op is not None:
            raise TypeError(f"{self!r} was computed by {self.op.name}: only a leaf's data can be assigned")
        quiet = settled_since(NEVER)
        handed_out.pop(id(self), None)
        if new is not self._data:  # `w.data -= …` on an array hands back the very same array
            self._data = own(new)
        self.tick = next_tick()
        if quiet:
            settle()

    @property
    def shape(self) -> tuple[int, ...]:
        """Length along each axis; ``()`` for a scalar."""
        return np.shape(self._data)

    @property
    def ndim(self) -> int:
        """Number of axes; 0 for a scalar."""
        return np.ndim(self._data)

    @property
    def size(self) -> int:
        """Number of elements; 1 for a scalar."""
        return int(np.size(self._data))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the elements; a scalar is a Python float, so float64."""
        return self._data.dtype if type(self._data) is np.ndarray else np.dtype(np.float64)

    @property
    def place(self) -> Place:
        """Where in the source it was computed; ``AttributeError`` unless `source_lines` asked for it then."""
        return Place._make(self._place)

    def item(self) -> float:
        """The one element as a Python float; ``ValueError`` if there is not exactly one."""
        replayable("v.item()", "compute with v itself")
        if self.size != 1:
            raise ValueError(f"item() takes a Value of one element, this has shape {self.shape}")
        return float(self._data if type(self._data) is float else self._data.item())

    def argmax(self, axis: int | None = None) -> Any:
        """Index of the largest element, as a plain integer or array: nothing to differentiate."""
        replayable("v.argmax()", "take it of the result")
        return np.argmax(self._data, axis)

    def argmin(self, axis: int | None = None) -> Any:
        """Index of the smallest element, as a plain integer or array: nothing to differentiate."""
        replayable("v.argmin()", "take it of the result")
        return np.argmin(self._data, axis)

    def __float__(self) -> float:
        replayable("float(v)", "compute with v itself, by wb's or NumPy's functions")
        _keep_history("float(v), and so math.exp(v) and the like,", "use wb.exp(v) or np.exp(v), or v.item()")
        number = self.item()
        if type(self) is Value and is_recording():  # a pending one did the same in a call before
            note_taken(self, number, next_tick())
        return number

    def __bool__(self) -> bool:
        outcome = bool(self._data)
        if (current := recorder()) is not None:
            current.decisions.append((self, outcome))  # every replay looks whether it comes out the same
        return outcome

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar Value has no length")
        return self.shape[0]

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "a Value can't be changed in place: build a new one with wb.set_at(v, index, new) or "
            "wb.where(condition, new, old), or assign a leaf's .data"
        )

    # Values hash by identity, though == compares their data (operations/comparisons.py).
    __hash__ = object.__hash__

    def program(self) -> Program:
        """This Value's history as Python: forward and, if it is one number, backward, a line for every partial.

        Its variables have the names that you gave (``name=``, a parameter's path in its model, your own variables).
        Under ``with wb.source_lines():`` what is recorded remembers the lines it came from, and the program shows them.
        Raises ``StaleGraphError`` where a leaf was assigned after an operation had read it.
        """
        from tinygrad_wb.program import Program  # loaded on use

        return Program(self, sys._getframe(1))

    # -- showing and copying ------------------------------------------------------------------------

    def __repr__(self) -> str:
        shown = (
            repr(self._data)
            if type(self._data) is float
            else np.array2string(self._data, separator=", ", prefix="Value(", threshold=50)
        )
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Value({shown}{name}{'' if self.op is None else f', op={self.op.name}'})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy carries the data, not the history: however deep the graph, copying is one step.
        return _restore, (
            self._data,
            self.name,
            raw(self.grad),
            self.op,
            self.op is None and self.options is not NO_OPTIONS,
            dtype_behind(self) if type(self._data) is float else None,
        )

    def __sizeof__(self) -> int:
        """Its bytes with those of its data and gradient, without its history: what ``sys.getsizeof`` tells."""
        return object.__sizeof__(self) + bytes_of(self._data) + bytes_of(raw(self.grad))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "NumPy can't turn a Value into an array without losing its history: "
            "take .data for the plain numbers, or wb.stack([…]) to keep the gradient; "
            "and if it was table @ value, write wb.matmul(table, value)"
        )

    # Others leave an operator to a class of higher priority than their own: array classes that are older than
    # __array_ufunc__ (np.matrix has 10), and pandas (Index 2000, Series 3000, DataFrame 4000).
    __array_priority__ = 1000
    __pandas_priority__ = 5000

    @property
    def _mask(self) -> Any:
        # np.ma looks here first. It takes the numbers of whatever has a ``_data``, and would lose the history.
        raise TypeError(
            "NumPy's masked arrays can't compute with a Value without losing its history: "
            "take x.filled(number) or x.data of the masked array, and wb.where(x.mask, …) of the result"
        )

    if TYPE_CHECKING:
        # Attached by the rooms above: the operators and methods by `operations`, the rest by `backprop`.
        def backward(self, seed: Any = None, record: bool = False) -> None: ...
        def on_gradient(self, f: Callable[[Any], Any]) -> Listener: ...
        def breakpoint(self, when: Callable[[Any], Any] | None = None) -> Listener: ...
        def __iter__(self) -> Iterator[Value]: ...  # by `nn`, which knows the layers
        def __add__(self, other: Any) -> Value: ...
        def __radd__(self, other: Any) -> Value: ...
        def __sub__(self, other: Any) -> Value: ...
        def __rsub__(self, other: Any) -> Value: ...
        def __mul__(self, other: Any) -> Value: ...
        def __rmul__(self, other: Any) -> Value: ...
        def __truediv__(self, other: Any) -> Value: ...
        def __rtruediv__(self, other: Any) -> Value: ...
        def __floordiv__(self, other: Any) -> Value: ...
        def __rfloordiv__(self, other: Any) -> Value: ...
        def __mod__(self, other: Any) -> Value: ...
        def __rmod__(self, other: Any) -> Value: ...
        def __pow__(self, other: Any) -> Value: ...
        def __rpow__(self, other: Any) -> Value: ...
        def __matmul__(self, other: Any) -> Value: ...
        def __rmatmul__(self, other: Any) -> Value: ...
        def __neg__(self) -> Value: ...
        def __pos__(self) -> Value: ...
        def __abs__(self) -> Value: ...
        def __getitem__(self, index: Any) -> Value: ...
        @property
        def T(self) -> Value: ...  # noqa: N802
        def reshape(self, *shape: Any) -> Value: ...
        def transpose(self, *axes: Any) -> Value: ...
        def flatten(self) -> Value: ...

        abs: Callable[..., Value]
        arccos: Callable[..., Value]
        arccosh: Callable[..., Value]
        arcsin: Callable[..., Value]
        arcsinh: Callable[..., Value]
        arctan: Callable[..., Value]
        arctan2: Callable[..., Value]
        arctanh: Callable[..., Value]
        argsort: Callable[..., Any]
        astype: Callable[..., Value]
        broadcast_to: Callable[..., Value]
        cbrt: Callable[..., Value]
        ceil: Callable[..., Value]
        clip: Callable[..., Value]
        cos: Callable[..., Value]
        cosh: Callable[..., Value]
        cumprod: Callable[..., Value]
        cumsum: Callable[..., Value]
        diagonal: Callable[..., Value]
        dot: Callable[..., Value]
        elu: Callable[..., Value]
        erf: Callable[..., Value]
        exp: Callable[..., Value]
        expm1: Callable[..., Value]
        floor: Callable[..., Value]
        gelu: Callable[..., Value]
        hard_tanh: Callable[..., Value]
        hypot: Callable[..., Value]
        leaky_relu: Callable[..., Value]
        log: Callable[..., Value]
        log10: Callable[..., Value]
        log1p: Callable[..., Value]
        log2: Callable[..., Value]
        log_softmax: Callable[..., Value]
        logaddexp: Callable[..., Value]
        logsumexp: Callable[..., Value]
        max: Callable[..., Value]
        maximum: Callable[..., Value]
        mean: Callable[..., Value]
        median: Callable[..., Value]
        min: Callable[..., Value]
        minimum: Callable[..., Value]
        mish: Callable[..., Value]
        prod: Callable[..., Value]
        ptp: Callable[..., Value]
        ravel: Callable[..., Value]
        reciprocal: Callable[..., Value]
        relu: Callable[..., Value]
        repeat: Callable[..., Value]
        rint: Callable[..., Value]
        round: Callable[..., Value]
        selu: Callable[..., Value]
        sigmoid: Callable[..., Value]
        sign: Callable[..., Value]
        silu: Callable[..., Value]
        sin: Callable[..., Value]
        sinh: Callable[..., Value]
        softmax: Callable[..., Value]
        softplus: Callable[..., Value]
        softsign: Callable[..., Value]
        sort: Callable[..., Value]
        sqrt: Callable[..., Value]
        square: Callable[..., Value]
        squeeze: Callable[..., Value]
        std: Callable[..., Value]
        sum: Callable[..., Value]
        swapaxes: Callable[..., Value]
        take: Callable[..., Value]
        tan: Callable[..., Value]
        tanh: Callable[..., Value]
        trace: Callable[..., Value]
        trunc: Callable[..., Value]
        var: Callable[..., Value]


def _keep_history(what: str, instead: str) -> None:
    """Refuse what would cut a history unawares, inside a function that is being differentiated."""
    if this_thread() in tracing_threads:
        raise TypeError(
            f"{what} would lose v's history inside a function that is being differentiated: {instead} where a plain "
            "number is meant"
        )


def _restore(
    data: Any,
    name: str | None,
    grad: Any,
    op: Operation | None,
    unrecorded: bool = False,
    origin: np.dtype[Any] | None = None,
) -> Value:
    value = Value(data, name)
    value.grad = grad
    value.origin = origin
    value.op = op  # without inputs it is a leaf to backprop; but what was computed does not become a parameter
    value.options = UNRECORDED if unrecorded else NO_OPTIONS
    return value


# -- data ------------------------------------------------------------------------------------------------


def raw(x: Any) -> Any:
    """The plain number or array inside a Value; anything else as it is."""
    return x._data if isinstance(x, Value) else x


def constant(x: Any, read: Callable[[Any], Any] = as_array) -> Any:
    """A plain number as a float, an array (or what ``read`` makes one of) as an array; not copied.

    Python and NumPy scalars become Python floats, so that they never widen a float32 array (NEP 50).
    """
    if type(x) is float:
        return x
    if type(x) is not np.ndarray:
        if isinstance(x, (int, float)):
            return float(x)
        x = read(x)
    if x.dtype.kind not in "fiub":
        raise TypeError(f"numbers are wanted (float, integer or boolean), got {_described(x)}")
    return x if x.ndim else float(x)


def own(data: Any) -> Any:
    """A float, or a fresh floating-point array, from anything that holds real numbers."""
    data = constant(raw(data))
    if type(data) is float:
        return data
    dtype = data.dtype.newbyteorder("=")
    return np.array(data, dtype=dtype if dtype in (np.float16, np.float32, np.float64) else np.float64)


def _described(x: np.ndarray[Any, Any]) -> str:
    sample = x.item() if x.ndim == 0 else x.flat[0] if x.size else None
    return f"{x.dtype} data of shape {x.shape}, such as {sample!r:.60}"


# -- when nothing was recorded ------------------------------------------------------------------------------

NEVER = -2  # no tick

_settled = [-1]  # the latest tick up to which no graph waits for its backward()


def settle() -> None:
    """Say that no graph waits: a ``backward()`` has just walked it, or its leaves were assigned."""
    _settled[0] = next_tick()


def settled_since(tick: int) -> bool:
    """Whether nothing was recorded since ``tick``, or since `settle`."""
    now = next_tick()
    if now != _settled[0] + 1:
        return now == tick + 1
    _settled[0] = now
    return True


# -- the dtype of numbers --------------------------------------------------------------------------------

# A number is a Python float, and so has no dtype of its own. Where an array is made of numbers that came from float32
# data, it is to be float32 too. So the dtype is looked up in the number's history, once, when it is needed.


def promoted(op: Operation, inputs: tuple[Any, ...], options: Mapping[str, Any]) -> np.dtype[Any] | None:
    """The dtype that the arrays behind ``inputs`` have together; None where numbers and leaves alone are behind them.

    Inputs without a derivative, such as labels, do not count.
    """
    if "dtype" in options:  # astype was told
        told: np.dtype[Any] = np.dtype(options["dtype"])
        return told
    partials = op.partials * len(inputs) if op.variadic else op.partials
    counted = [x for x, partial in zip(inputs, partials, strict=False) if partial is not None]
    found = {dtype for x in counted if (dtype := dtype_behind(x)) is not None}
    together: np.dtype[Any] | None = np.result_type(*found) if found else None
    return together if together is not None and together.kind == "f" else None


def dtype_behind(x: Any) -> np.dtype[Any] | None:
    """The dtype of an array; of a computed number the one that it came from; None for other numbers."""
    if type(raw(x)) is not float:
        return np.asarray(raw(x)).dtype
    if type(x) is not Value:
        return None
    ahead = [x] if _unknown(x) else []
    while ahead:
        number = ahead[-1]
        behind = [v for v in number.inputs if _unknown(v)]
        if not behind:
            number.origin = promoted(number.op, number.inputs, number.options)  # type: ignore[arg-type]
            ahead.pop()
        ahead += behind
    return x.origin


def _unknown(x: Any) -> bool:
    """Whether it is a computed number whose origin was not asked for yet."""
    return type(x) is Value and bool(x.inputs) and type(x._data) is float and not hasattr(x, "origin")


# -- recording -------------------------------------------------------------------------------------------

blank = functools.partial(object.__new__, Value)  # quicker than to look both up each time


def record(
    op: Operation,
    inputs: tuple[Any, ...],
    data: Any,
    options: Mapping[str, Any] = NO_OPTIONS,
    given: Arguments | None = None,
) -> Value:
    """A new Value that remembers its operation (unless this thread is inside ``no_grad``).

    ``given`` are the inputs and options as the caller gave them, where arrays are among them.
    """
    value = blank()
    value._data = data
    value.grad = None
    value.name = None
    value.tick = next_tick()
    if paused and this_thread() in paused:
        if recorders:
            replayable(f"{op.name} under no_grad()", "leave no_grad away")
        if type(data) is np.ndarray and data.base is not None:
            value._data = data.copy()  # a leaf's array is its own, not a view into another's
        value.op = None
        value.inputs = ()
        value.options = UNRECORDED
        value.origin = None
        if type(data) is float:  # what it comes from is noted now, since a leaf has no history to look it up in
            for x in inputs:
                if type(x) is not float and (
                    type(x) is not Value or x.inputs or x.origin or type(x._data) is not float
                ):
                    value.origin = promoted(op, inputs, options)
                    break
        if watchers and (watch := watcher()) is not None:
            watch.computed(value, op, inputs, options)
    else:
        value.op = op
        value.inputs = inputs
        value.options = options
        if given is not None:
            value.given = given
        if placing and (thread := this_thread()) in placing:
            value._place = this_place(value.tick)
            if watchers and (watch := watchers.get(thread)) is not None:
                watch.computed(value, op, given_inputs(value), options)
    return value


def traced(data: Any, name: str | None = None) -> Value:
    """A leaf for a program that is being recorded: it holds ``data`` itself, whole numbers and booleans included."""
    value = blank()
    value._data = data
    value.grad = None
    value.name = name
    value.op = None
    value.inputs = ()
    value.options = TRACED
    value.origin = None
    value.tick = next_tick()
    return value
