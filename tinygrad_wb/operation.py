"""What an operation is: a forward computation, one partial derivative per input, and its text.

A row of a table is one decorated function:

    @operation("{a} * {b}", da=lambda g, y, a, b: g * b, db=lambda g, y, a, b: g * a)
    def multiply(a, b):
        return a * b

`g` is ∂Loss/∂y and `y` the result; the partial `da` gives ∂Loss/∂a = g · ∂y/∂a (a vector-Jacobian product).
A partial is written with operators and the library's own operations, so it is *polymorphic*: given plain
numbers and arrays it computes, given Values it records, and so has derivatives of its own. It need not
mind broadcasting: `backprop.match` gives every contribution the shape of the input it is for.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
import math
import string
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.changed import note_large
from tinygrad_wb.constants import FIXED, copy_of, kept
from tinygrad_wb.errors import explained
from tinygrad_wb.foreign import GivesWay, as_array
from tinygrad_wb.numpy_warnings import OF_STEPS, OF_UFUNC, as_numpy, state, warned
from tinygrad_wb.pending import BYSTANDER
from tinygrad_wb.recording import noters, recorder, recorders, this_thread
from tinygrad_wb.value import NO_OPTIONS, Value, constant, promoted, record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Text = str | Callable[..., str]

__all__ = [
    "ALL_AT_ONCE", "REGISTRY", "Operation", "apply", "binary", "elementwise", "of_one_number", "ones", "operation",
    "plain",
]  # fmt: skip

ALL_AT_ONCE = -1  # the arity of a compiled function, which has all its gradients ready, in arrays that it gives away

# Every operation by name. Tests, documents and NumPy's protocols walk it.
REGISTRY: dict[str, Operation] = {}


class Operation:
    """One row: plain data that every reader of the graph understands.

    ``inputs`` and ``defaults`` are the names of the forward's parameters: those with a partial (``None`` for an input
    that has no derivative, such as labels), and the options with their default values; ``signature`` is both, as users
    give them. ``arity`` is 1, 2 or 3 for operations without options, which have a fast path in the engine, and 0 for
    all others. ``shared`` computes what the forward and the partials both need, once. A ``variadic`` operation takes a
    sequence of inputs and has one partial for all of them, which is told the input's ``position``.

    ``template`` prints a call as Python; ``numpy`` does so with NumPy alone (a text, or a function of the options that
    gives one), ``scalar`` for floats with `math` alone (a text, or a function of the inputs). ``helper`` is a
    self-contained function that these texts call. An operation that has neither text, or is ``fused`` of simpler ones,
    is printed as what its forward does with Values. The derivatives of a ``symmetric`` operation are those among
    symmetric matrices, of which it reads one triangle. ``below`` tells, by the shape of the first input and the
    options, which bound whole numbers without a derivative (labels, indices) have to keep; an operation that
    ``may_raise`` refuses other numbers, as the inverse of a singular matrix does.
    """

    __slots__ = (
        "arity",
        "below",
        "da",
        "db",
        "dc",
        "defaults",
        "deferrable",
        "forward",
        "function",
        "helper",
        "inputs",
        "name",
        "numpy",
        "partials",
        "scalar",
        "shared",
        "signature",
        "states",
        "symmetric",
        "template",
        "variadic",
    )

    def __init__(
        self,
        forward: Callable[..., Any],
        template: str | None,
        partials: Mapping[str, Callable[..., Any] | None],
        shared: Callable[..., Any] | None = None,
        variadic: bool = False,
        numpy: Text | None = None,
        scalar: Text | None = None,
        helper: Callable[..., Any] | None = None,
        fused: bool = False,
        name: str | None = None,
        symmetric: bool = False,
        below: Callable[..., int] | None = None,
        may_raise: bool = False,
    ) -> None:
        signature = inspect.signature(forward)
        parameters = [p for p in signature.parameters.values() if p.name != "shared"]
        self.signature = signature.replace(parameters=parameters)
        self.name = name or forward.__name__
        self.forward = forward
        self.inputs = tuple(p.name for p in parameters[: len(partials)])
        self.defaults = {p.name: p.default for p in parameters[len(partials) :]}
        if tuple(partials) != tuple("d" + name for name in self.inputs):
            raise TypeError(f"operation {self.name}{tuple(self.inputs)} has partials named {tuple(partials)}")
        self.partials = tuple(partials.values())
        for text in (template, numpy, scalar):
            if isinstance(text, str):
                _check_text(self, text, helper)
        self.template = template or self._call_template()
        self.numpy = None if fused else numpy or template
        self.scalar = None if fused else scalar or (None if numpy else template)
        self.helper = helper
        self.shared = shared
        self.variadic = variadic
        self.symmetric = symmetric
        self.below = below
        # Whether it may be computed later than it is called: the package's own are, but for those that raise by number.
        self.deferrable = str(forward.__module__).startswith("tinygrad_wb.") and not may_raise
        simple = not (self.defaults or shared or variadic) and None not in self.partials
        self.arity = len(self.inputs) if simple and len(self.inputs) <= 3 else 0
        self.da: Any
        self.da, self.db, self.dc = (*self.partials, None, None)[:3]
        # NumPy's warning settings while the operation computes with arrays; Python's floats do not use them.
        self.states = OF_UFUNC if isinstance(getattr(np, self.name, None), np.ufunc) else OF_STEPS
        self.function: Callable[..., Any] = forward  # what users call; `operation` sets it

    def _call_template(self) -> str:
        words = [f"{{{name}}}" for name in self.inputs] + [f"{name}={{{name}}}" for name in self.defaults]
        return f"{self.name}({', '.join(words)})"

    def __repr__(self) -> str:
        return f"<operation {self.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _registered, (self.name,)


def _registered(name: str) -> Operation:
    return REGISTRY[name]


def _check_text(op: Operation, text: str, helper: Callable[..., Any] | None) -> None:
    """Raise ``TypeError`` for a text that a printed program could not run."""
    told = f"operation {op.name}: its text {text!r}"
    fields = {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    if strange := fields.difference(op.inputs, op.defaults):
        known = ", ".join(f"{{{name}}}" for name in (*op.inputs, *op.defaults))
        raise TypeError(f"{told} has {{{min(strange)}}}, which is not an argument; it can have {known}")
    try:
        tree = ast.parse(text.format(**dict.fromkeys(fields, "np")), mode="eval")
    except SyntaxError:
        raise TypeError(f"{told} is not a Python expression") from None
    known_names = {"np", "math", *dir(builtins), *([helper.__name__] if helper else ())}
    if strange := {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} - known_names:
        raise TypeError(
            f"{told} names {min(strange)}, which a printed program does not have. Write it with np and math, give the "
            f"function as helper=, or leave the text away: then {op.name}(…) is shown, and programs print what its "
            "forward computes"
        )


def operation(
    template: str | None = None,
    *,
    shared: Callable[..., Any] | None = None,
    variadic: bool = False,
    numpy: Text | None = None,
    scalar: Text | None = None,
    helper: Callable[..., Any] | None = None,
    fused: bool = False,
    name: str | None = None,
    symmetric: bool = False,
    below: Callable[..., int] | None = None,
    may_raise: bool = False,
    **partials: Callable[..., Any] | None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated forward computation, with its partials, into the registry.

    What it returns takes Values, numbers and arrays: with a Value among them it records, otherwise it
    computes. A partial is called as ``partial(g, y, *inputs, **options)``. ``name`` is what users called, where that is
    another function, which calls this one. The same definition may be run again, in a notebook say, and replaces the
    first. Raises ``TypeError`` for a text that names what a printed program does not have.
    """

    def enter(forward: Callable[..., Any]) -> Callable[..., Any]:
        op = Operation(
            forward,
            template,
            partials,
            shared,
            variadic,
            numpy,
            scalar,
            helper,
            fused,
            name,
            symmetric,
            below,
            may_raise,
        )
        if (known := REGISTRY.get(op.name)) is not None and not _again(known.forward, forward):
            raise ValueError(f"there is an operation {op.name} already: give yours another name")
        make = _variadic if variadic else (_general, _unary, binary, _ternary)[op.arity]
        function = make(op)
        function.__name__ = function.__qualname__ = op.name
        function.__module__ = forward.__module__
        function.__doc__ = forward.__doc__
        function.__signature__ = op.signature  # type: ignore[attr-defined]
        op.function = function
        REGISTRY[op.name] = op
        return function

    return enter


def _again(known: Callable[..., Any], forward: Callable[..., Any]) -> bool:
    """Whether the same definition is run once more, as a notebook's cell is: then the new one takes its place."""
    return (known.__module__, known.__qualname__) == (forward.__module__, forward.__qualname__)


# -- calling an operation: one way for each form, so that the common forms are short -------------------


def _unary(op: Operation) -> Callable[..., Any]:
    on_float, on_array = getattr(op.forward, "halves", (op.forward, op.forward))

    def call(a: Any) -> Any:
        if noters and (noted := noters.get(this_thread(), BYSTANDER).one(op, a)) is not None:
            return noted
        try:
            x = a._data if (tracked := type(a) is Value) else constant(a)
            if type(x) is float:
                data = on_float(x)
            elif op.states[given := state()] is given:
                data = on_array(x)
            else:
                data = warned(op.states, on_array, x)
        except (ValueError, TypeError) as error:
            raise explained(error, op, (a,)) from None
        return record(op, (a,), data) if tracked else data

    return call


def binary(op: Operation, read: Callable[[Any], Any] = as_array) -> Callable[..., Any]:
    """Two inputs. An operator of Value has another way to ``read`` an operand, which may leave it to its class."""
    forward = op.forward

    def call(a: Any, b: Any) -> Any:
        if noters and (noted := noters.get(this_thread(), BYSTANDER).two(op, a, b)) is not None:
            return noted
        try:
            x = a._data if type(a) is Value else (a := constant(a, read))
            y = b._data if type(b) is Value else (b := constant(b, read))
            if (type(x) is float and type(y) is float) or op.states[given := state()] is given:
                data = forward(x, y)
            else:
                data = warned(op.states, forward, x, y)
        except GivesWay:
            return NotImplemented
        except (ValueError, TypeError) as error:
            raise explained(error, op, (a, b)) from None
        if type(a) is Value:
            if type(b) is Value or type(b) is float:
                return record(op, (a, b), data)
            if (copy := copy_of(b)) is not None:
                return record(op, (a, copy), data, NO_OPTIONS, ((a, b), NO_OPTIONS))
        elif type(b) is Value:
            if type(a) is float:
                return record(op, (a, b), data)
            if (copy := copy_of(a)) is not None:
                return record(op, (copy, b), data, NO_OPTIONS, ((a, b), NO_OPTIONS))
        else:
            return data
        return _beside(op, (a, b), data)

    return call


def _ternary(op: Operation) -> Callable[..., Any]:
    forward = op.forward

    def call(a: Any, b: Any, c: Any) -> Any:
        if noters and (noted := noters.get(this_thread(), BYSTANDER).three(op, a, b, c)) is not None:
            return noted
        try:
            x = a._data if type(a) is Value else (a := constant(a))
            y = b._data if type(b) is Value else (b := constant(b))
            z = c._data if type(c) is Value else (c := constant(c))
            data = forward(x, y, z) if op.states[given := state()] is given else warned(op.states, forward, x, y, z)
        except (ValueError, TypeError) as error:
            raise explained(error, op, (a, b, c)) from None
        if type(a) is Value or type(b) is Value or type(c) is Value:
            if type(a) is np.ndarray or type(b) is np.ndarray or type(c) is np.ndarray:
                if type(b) is Value and type(c) is Value and (copy := copy_of(a)) is not None:  # a batch, and a layer
                    return record(op, (copy, b, c), data, NO_OPTIONS, ((a, b, c), NO_OPTIONS))
                return _beside(op, (a, b, c), data)
            return record(op, (a, b, c), data)
        return data

    return call


def _beside(op: Operation, inputs: tuple[Any, ...], data: Any) -> Value:
    """Record what was computed from Values and plain arrays."""
    found, _, given, large = kept(inputs, {})
    value = record(op, tuple(found), data, NO_OPTIONS, given)
    if large:
        note_large(value)
    return value


def _general(op: Operation) -> Callable[..., Any]:
    """Any number of inputs, and options, by position or by name."""
    count, most = len(op.inputs), len(op.inputs) + len(op.defaults)
    names = tuple(op.defaults)

    def call(*args: Any, **given: Any) -> Any:
        if len(args) == count:
            return apply(op, args, {**op.defaults, **given} if given else op.defaults.copy())
        if count < len(args) <= most and not given:
            return apply(op, args[:count], {**op.defaults, **dict(zip(names, args[count:], strict=False))})
        options = _bound(op, args, given)
        return apply(op, tuple([options.pop(name) for name in op.inputs]), options)

    return call


def _variadic(op: Operation) -> Callable[..., Any]:
    """A sequence of inputs, and options."""

    def call(*args: Any, **given: Any) -> Any:
        options = _bound(op, args, given)
        parts = options.pop(op.inputs[0])
        if not isinstance(parts, Iterable):
            raise TypeError(
                f"{op.name}({op.inputs[0]}): give a list, or another iterable, of Values or arrays, got {parts!r:.80}"
            )
        return apply(op, tuple(parts), options)

    return call


def _bound(op: Operation, args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Arguments by name, as Python itself would bind them."""
    bound = op.signature.bind(*args, **given)
    bound.apply_defaults()
    return bound.arguments


def apply(op: Operation, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Run an operation of any form, and record it if a Value is among its inputs."""
    if noters and (noted := noters.get(this_thread(), BYSTANDER).many(op, args, options)) is not None:
        return noted
    return _applied(op, args, options)


def _applied(op: Operation, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    inputs, operands, tracked, numbers, plain, inside = list(args), [], False, False, 0, False
    program = recorders and recorder() is not None  # every Value stays in the record
    partials = op.partials * len(args) if op.variadic else op.partials
    as_given, large = None, False
    try:
        for i, x in enumerate(args):
            if type(x) is Value:
                operands.append(x._data)
                if partials[i] is not None or program:
                    tracked = True
                    if type(x._data) is float:
                        numbers = True
                    continue
                inputs[i] = x._data  # without a derivative, it is as good as a constant
            else:
                inputs[i] = constant(x)
                operands.append(inputs[i])
            if type(inputs[i]) is np.ndarray:
                plain, at = plain + 1, i
        for name, option in options.items():
            if type(option) not in FIXED:
                if type(option) is Value:
                    raise TypeError(
                        f"there is no derivative by {name}, so it can't be a Value; give a plain number or array"
                    )
                inside = inside or type(option) is not tuple or not FIXED.issuperset(map(type, option))
        if tracked and (plain or inside):  # copied before it computes, as what `shared` finds may be views of arrays
            if plain == 1 and not inside and (copy := copy_of(inputs[at])) is not None:
                as_given = tuple(inputs), NO_OPTIONS
                inputs[at] = operands[at] = copy
            else:
                inputs, options, as_given, large = kept(inputs, options)
                operands = [x._data if type(x) is Value else x for x in inputs]
        usual = op.states[given := state()] is given
        data = _computed(op, operands, options) if usual else warned(op.states, _computed, op, operands, options)
    except (ValueError, TypeError, IndexError) as error:
        raise explained(error, op, args, options) from None
    if not tracked:
        return data
    value = record(op, tuple(inputs), data, options, as_given)
    if large:
        note_large(value)
    return _narrowed(value, op, tuple(inputs), options) if numbers and type(data) is np.ndarray else value


def _computed(op: Operation, operands: list[Any], options: dict[str, Any]) -> Any:
    if op.shared is not None:
        options["shared"] = op.shared(*operands, **options)
    return op.forward(operands, **options) if op.variadic else op.forward(*operands, **options)


def _narrowed(y: Value, op: Operation, inputs: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """An array that was made of numbers, in the dtype that they came from: float32 data stays float32.

    This is a part of the operation, which is noted as one.
    """
    dtype = promoted(op, inputs, options) if y.dtype == np.float64 else None
    return y if dtype is None or dtype == np.float64 else _applied(REGISTRY["astype"], (y,), {"dtype": dtype})


# -- helpers that rows are written with -------------------------------------------------------------------


def elementwise(scalar: Callable[[float], float], array: Callable[..., Any]) -> Callable[[Any], Any]:
    """A forward that uses ``scalar`` (from `math`, quick) on a float, and ``array`` (from NumPy) otherwise.

    Where `math` raises (overflow, domain) the result is what NumPy's IEEE arithmetic gives: inf or nan.
    """

    def on_float(a: float) -> float:
        try:
            return scalar(a)
        except (ValueError, OverflowError):
            return as_numpy(array, a)

    def forward(a: Any) -> Any:
        return on_float(a) if type(a) is float else array(a)

    forward.halves = on_float, array  # type: ignore[attr-defined]
    return forward


def of_one_number(
    module: str,
    name: str,
    scalar: Callable[[float], float],
    array: Callable[..., Any],
    da: Callable[..., Any],
    about: str,
    helper: Callable[..., Any] | None = None,
) -> Any:
    """The row of a function of one number, in one line: name, on floats, on arrays, partial, what it is."""
    forward = elementwise(scalar, array)
    forward.__name__, forward.__doc__, forward.__module__ = name, about, module
    word = f"np.{name}" if isinstance(array, np.ufunc) else helper and helper.__name__  # or else it is a formula
    own = scalar.__name__  # `math` calls NumPy's arcsin asin
    return operation(
        numpy=f"{word}({{a}})" if word else None,
        scalar=f"math.{own}({{a}})" if getattr(math, own, None) is scalar else None,
        helper=helper,
        da=da,
    )(forward)


@functools.lru_cache(maxsize=64)
def ones(n: int, dtype: np.dtype[Any]) -> Any:
    """A row of ones: its product with a matrix adds up the columns, and BLAS does that faster than a reduction."""
    return np.ones(n, dtype)


def plain(result: Any) -> Any:
    """A NumPy result as the engine keeps it: an array, or a Python float when it has no axes. A Value stays one."""
    return result if (type(result) is np.ndarray and result.ndim) or type(result) is Value else float(result)
