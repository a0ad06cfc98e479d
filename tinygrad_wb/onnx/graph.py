"""An ONNX graph while it is built, and `Tensor`, with which its rows are written as formulas."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.onnx.counts import Count

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Graph", "Tensor", "choose", "make", "onnx"]

LONGEST = 200  # characters in a name
ELEMENTWISE = {
    "Abs", "Add", "And", "Cast", "Ceil", "Div", "Equal", "Exp", "Floor", "Greater", "GreaterOrEqual", "IsNaN", "Less",
    "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pow", "Reciprocal", "Round", "Sign", "Sqrt",
    "Sub", "Where", "Xor",
}  # fmt: skip
FIRST, LAST = -(2**63), 2**63 - 1


def onnx() -> Any:
    """The library."""
    try:
        import onnx
    except ImportError as error:
        raise ImportError('export_onnx needs onnx: python -m pip install "tinygrad_wb[onnx]"') from error
    return onnx


class Tensor:
    """A named result in a graph. ``shape`` is known of what statements compute, and may have `Count`s in it.

    Operators add nodes. A number beside a Tensor has its dtype, and of two Tensors both get the wider one.
    """

    __slots__ = ("dtype", "graph", "name", "shape")

    def __init__(self, graph: Graph, name: str, dtype: Any, shape: tuple[Any, ...] | None = None) -> None:
        self.graph, self.name, self.dtype, self.shape = graph, name, np.dtype(dtype), shape

    def cast(self, dtype: Any) -> Tensor:
        if self.dtype == dtype:
            return self
        to = onnx().helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return make("Cast", self, dtype=dtype, to=to)

    def shaped(self, shape: tuple[Any, ...] | None) -> Tensor:
        self.shape = shape
        return self

    @property
    def axes(self) -> tuple[Any, ...]:
        """The lengths of its axes, where they are known."""
        if self.shape is None:
            raise TypeError(f"the shape of {self.name} is not known")
        return self.shape

    def _with(self, kind: str, other: Any, dtype: Any = None, swapped: bool = False) -> Tensor:
        a, b = self, other
        if not isinstance(b, Tensor):
            b = self.graph.number(b, self.dtype)
        both = np.result_type(a.dtype, b.dtype)
        a, b = a.cast(both), b.cast(both)
        return make(kind, *((b, a) if swapped else (a, b)), dtype=dtype or both)

    def __add__(self, other: Any) -> Tensor:
        return self._with("Add", other)

    def __radd__(self, other: Any) -> Tensor:
        return self._with("Add", other, swapped=True)

    def __sub__(self, other: Any) -> Tensor:
        return self._with("Sub", other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._with("Sub", other, swapped=True)

    def __mul__(self, other: Any) -> Tensor:
        return self._with("Mul", other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._with("Mul", other, swapped=True)

    def __truediv__(self, other: Any) -> Tensor:
        return self._with("Div", other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._with("Div", other, swapped=True)

    def __matmul__(self, other: Tensor) -> Tensor:
        return self._with("MatMul", other)

    def __pow__(self, other: Any) -> Tensor:
        return self._with("Pow", other)

    def __gt__(self, other: Any) -> Tensor:
        return self._with("Greater", other, np.bool_)

    def __ge__(self, other: Any) -> Tensor:
        return self._with("GreaterOrEqual", other, np.bool_)

    def __lt__(self, other: Any) -> Tensor:
        return self._with("Less", other, np.bool_)

    def __le__(self, other: Any) -> Tensor:
        return self._with("LessOrEqual", other, np.bool_)

    def equals(self, other: Any) -> Tensor:
        return self._with("Equal", other, np.bool_)

    def __and__(self, other: Tensor) -> Tensor:
        return make("And", self, other)

    def __or__(self, other: Tensor) -> Tensor:
        return make("Or", self, other)

    def __invert__(self) -> Tensor:
        return make("Not", self)

    def __neg__(self) -> Tensor:
        return make("Neg", self)

    def __abs__(self) -> Tensor:
        return make("Abs", self)


def _broadcast(a: tuple[Any, ...] | None, b: tuple[Any, ...] | None) -> tuple[Any, ...] | None:
    """The shape of two arrays' elementwise result; None for what is not known."""
    if a is None or b is None:
        return None
    ndim = max(len(a), len(b))
    pairs = zip((1,) * (ndim - len(a)) + a, (1,) * (ndim - len(b)) + b, strict=True)
    return tuple(m if n in (1, m) else n if m == 1 else None for n, m in pairs)


def make(kind: str, *inputs: Any, dtype: Any = None, **attributes: Any) -> Tensor:
    """The result of a new node, of the first input's dtype unless ``dtype`` says otherwise.

    An input that is a list or an array of whole numbers (`Count`s among them) is made a constant; None is left out.
    """
    made = make_all(1, kind, *inputs, dtype=dtype, **attributes)[0]
    if kind in ELEMENTWISE:
        made.shape = functools.reduce(_broadcast, [x.shape for x in inputs if isinstance(x, Tensor)])
    return made


def make_all(count: int, kind: str, *inputs: Any, dtype: Any = None, **attributes: Any) -> list[Tensor]:
    """The results of a new node that has several."""
    graph = next(x.graph for x in inputs if isinstance(x, Tensor))
    tensors = [x if isinstance(x, Tensor) or x is None else graph.whole(x) for x in inputs]
    names = ["" if x is None else x.name for x in tensors]
    while not names[-1]:
        names.pop()
    made = graph.add(kind, names, count, attributes)
    return [Tensor(graph, name, dtype or tensors[0].dtype) for name in made]  # type: ignore[union-attr]


def choose(condition: Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, b elsewhere; one of them may be a number."""
    like = a if isinstance(a, Tensor) else b
    a, b = (x if isinstance(x, Tensor) else like.graph.number(x, like.dtype) for x in (a, b))
    both = np.result_type(a.dtype, b.dtype)
    return make("Where", condition, a.cast(both), b.cast(both), dtype=both)


class Graph:
    """Nodes and initializers.

    ``wide`` is the dtype of numbers that no array is beside; ``label`` is what the nodes to come are called.
    """

    def __init__(self, wide: Any) -> None:
        self.wide = np.dtype(wide)
        self.nodes: list[Any] = []
        self.initializers: dict[str, Any] = {}
        self.label = ""
        self.batched: Tensor | None = None  # an input whose first length is the batch
        self._names: set[str] = set()
        self._repeated: dict[str, int] = {}
        self._constants: dict[Any, Tensor] = {}

    # -- names --------------------------------------------------------------------------------------------------------

    def named(self, wanted: str) -> str:
        """A name that nothing else has: letters, digits and ``_.-/``, whatever users call things."""
        base = re.sub(r"[^\w./-]", "_", wanted)[:LONGEST] or "_"
        name = base
        while name in self._names:
            self._repeated[base] = count = self._repeated.get(base, 1) + 1
            name = f"{base}_{count}"
        self._names.add(name)
        return name

    # -- what is there without computing ------------------------------------------------------------------------------

    def initializer(self, wanted: str, data: Any) -> Tensor:
        """Numbers of the model, under a name of their own."""
        data = np.asarray(data)
        name = self.named(wanted)
        self.initializers[name] = onnx().numpy_helper.from_array(np.ascontiguousarray(data).reshape(data.shape), name)
        return Tensor(self, name, data.dtype, data.shape)

    def constant(self, data: Any) -> Tensor:
        """Numbers that go without a name; equals are one."""
        data = np.asarray(data)
        key = (data.dtype, data.shape, data.tobytes())
        if key not in self._constants:
            self._constants[key] = self.initializer("constant", data)
        return self._constants[key]

    def number(self, x: Any, dtype: Any) -> Tensor:
        """A single number; a `Count` is computed from the batch."""
        if not isinstance(x, Count):
            with np.errstate(over="ignore"):
                return self.constant(np.asarray(x).astype(dtype))
        batch = self._batch().cast(dtype)
        product = batch if x.each == 1 else batch * x.each
        return product + x.more if x.more else product

    def whole(self, x: Any) -> Tensor:
        """Whole numbers, a list of them or an array; with `Count`s in the list it is put together from the batch."""
        if not isinstance(x, np.ndarray) and any(isinstance(n, Count) for n in x):
            parts = [make("Unsqueeze", self.number(n, np.int64), [0]) for n in x]
            return make("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
        return self.constant(np.asarray(x, np.int64))

    def _batch(self) -> Tensor:
        """The size of the batch, read off an input."""
        key = "batch"
        if key not in self._constants:
            if self.batched is None:
                raise TypeError("no input has a batch")
            shape = make("Shape", self.batched, dtype=np.int64, start=0, end=1)
            self._constants[key] = make("Squeeze", shape, [0])
        return self._constants[key]

    # -- nodes --------------------------------------------------------------------------------------------------------

    def add(self, kind: str, inputs: Sequence[str], outputs: int, attributes: dict[str, Any]) -> list[str]:
        """A node, and the names of its results."""
        made = [self.named(self.label or kind) for _ in range(outputs)]
        self.nodes.append(onnx().helper.make_node(kind, list(inputs), made, name=made[0], **attributes))
        return made

    def rename(self, names: dict[str, str]) -> None:
        """Give results of nodes other names, from old to new."""
        for node in self.nodes:
            for found in (node.input, node.output):
                for i, name in enumerate(found):
                    found[i] = names.get(name, name)
