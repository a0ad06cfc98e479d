"""`export_onnx`: a model as an ONNX file, from the statements of its program."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.atomic import write
from tinygrad_wb.compiling.compiled import Compiled
from tinygrad_wb.compiling.tree import is_nested, others
from tinygrad_wb.nn.module import Module, in_mode
from tinygrad_wb.onnx.counts import Count, DiffersError, Stretched
from tinygrad_wb.onnx.graph import Graph, Tensor, onnx
from tinygrad_wb.onnx.record import Leaf, Record, Statement
from tinygrad_wb.onnx.rows import ROWS
from tinygrad_wb.onnx.rows.shaping import expanded
from tinygrad_wb.onnx.table import LACKING, UNKNOWN
from tinygrad_wb.value import Value, constant, raw

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["export_onnx"]

OPSET, IR_VERSION = 21, 10  # those of ONNX 1.16, of 2024; later ones have nothing that is needed here
LARGEST = 2**31 - 1  # bytes in a file, by the format that ONNX stands on
MORE = (0, 1, 3)  # batches of so many more are recorded: three tell what is in proportion, and what only seems to be


def export_onnx(model: Callable[..., Any], path: str | os.PathLike[str], example: Any, *, batch: bool = True) -> Path:
    """Write a model, as it is in use, to an ONNX file that onnxruntime and others run, and return the path.

    ``model`` is a Module or a function of arrays; ``example`` is an input, or a tuple of several: an array, a list or a
    number, of which shape and dtype count. The model is run on it, in use (`Dropout` off, `BatchNorm` with what it has
    kept), and each statement that it records becomes what ONNX calls it. Inputs are called as the function's
    parameters, parameters of the model by their paths, the result ``output``, several ``output_0`` … or by their keys.

    With ``batch`` the first axis of the first input is the batch, and that of every input as long: the file takes any
    number of items. Other lengths stay the example's. To see what follows the batch, the model is run with three sizes
    of it; what does not is refused, as are noise and branches on numbers. Which way Python went because of a *length*
    is not seen. ``batch=False`` is for the example's own shapes.

    Results are ours to 1e-6, in float32 to what that can tell. ``TypeError`` lists what can't be exported, and where it
    stands. ONNX lacks cholesky, det (of float64), eigh, inv, pinv, slogdet, solve and svd. Needs ``[onnx]``.
    """
    onnx()  # which says what to install
    model = model.function if isinstance(model, Compiled) else model
    if not callable(model):
        raise TypeError(f"export_onnx: a model or a function is wanted, got {model!r:.80}")
    inputs = [_native(constant(raw(x))) for x in (example if isinstance(example, tuple) else (example,))]
    own = next((len(x) for x in inputs if np.ndim(x)), None) if batch else None
    sizes, given = _batches(inputs, own)
    with in_mode(model, False):
        try:
            record = Record(model, given, sizes, sizes[0] if own is None else own)
            content = _Export(model, record).content()
        except TypeError as error:
            raise TypeError(f"export_onnx: {error}") from error
    return write(path, content)


def _native(x: Any) -> Any:
    """An input in this machine's byte order."""
    if isinstance(x, np.ndarray) and x.dtype.char not in "?bhilqBHILQefd":
        raise TypeError(f"export_onnx: an input holds {x.dtype}; numbers up to float64 are wanted")
    return x if type(x) is float or x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _batches(inputs: list[Any], n: int | None) -> tuple[list[int], list[list[Any]]]:
    """Sizes of batches, and inputs for each: those that are n long with as many items, some of them once more."""
    if n is None:
        return [1, 1], [inputs, inputs]  # twice the same: so random numbers show
    if not n:
        raise ValueError("export_onnx: the example has no items, its first length is 0; give a batch of one at least")
    sizes = [max(n, 2) + more for more in MORE]  # never 1, which broadcasts
    return sizes, [[x[np.arange(size) % n] if np.ndim(x) and len(x) == n else x for x in inputs] for size in sizes]


class _Export:
    """The translation of one record, statement by statement."""

    def __init__(self, model: Callable[..., Any], record: Record) -> None:
        self.model, self.record = model, record
        self.graph = Graph(_widest(record))
        self.called = _names_of_parameters(model)
        self.tensors: dict[Any, Tensor] = {}
        self.lacking: list[str] = []  # what can't be exported, and where it stands
        self.inputs = [
            self._input(leaf, name)
            for leaf, name in zip(record.arguments, _names_of_inputs(model, len(record.arguments)), strict=True)
        ]

    def content(self) -> bytes:
        """The file."""
        names = [self.graph.named(name) for name in _names_of_results(self.record)]
        for statement in self.record.statements:
            self._statement(statement, statement)
        if self.lacking:
            raise TypeError("ONNX has no words for\n  " + "\n  ".join(dict.fromkeys(self.lacking)))
        return self._file(self._outputs(names))

    # -- what there is ------------------------------------------------------------------------------------------------

    def _input(self, leaf: Leaf, name: str) -> Tensor:
        tensor = Tensor(self.graph, self.graph.named(name), leaf.dtype or self.graph.wide, leaf.shape)
        if self.graph.batched is None and any(isinstance(n, Count) for n in leaf.shape):
            self.graph.batched = tensor
        self.tensors[leaf] = tensor
        return tensor

    def _tensor(self, x: Any) -> Tensor:
        """What stands in the graph for a statement, a leaf or a constant."""
        if isinstance(x, (Statement, Leaf)):
            if x not in self.tensors:
                self.tensors[x] = self._leaf(x)
            return self.tensors[x]
        if isinstance(x, Stretched):
            return expanded(self.graph.constant(x.part), x.shape)
        return self.graph.constant(x) if isinstance(x, np.ndarray) else self.graph.number(x, self.graph.wide)

    def _leaf(self, leaf: Any) -> Tensor:
        name = self.called.get(leaf.value) or leaf.value.name
        if name is None or isinstance(leaf.data, Stretched):
            return self._tensor(leaf.data)
        return self.graph.initializer(name, np.asarray(leaf.data, leaf.dtype or self.graph.wide))

    # -- statements ---------------------------------------------------------------------------------------------------

    def _statement(self, statement: Statement, told: Statement) -> None:
        """Add what computes ``statement``; ``told`` is the one of the user's that it belongs to."""
        calls = self.record.calls.get(told.nodes[0], ())
        path = calls[-1].path.replace(".", "/") if calls else ""
        self.graph.label = f"{path}/{statement.op.name}" if path else statement.op.name
        try:
            made = self._row(statement)
            if made is None:
                made = self._opened(statement, told)
        except DiffersError as error:
            place = self.record.place(told)
            raise TypeError(
                f"{place}: {error}, which can't be said for batches of any size; give batch=False"
            ) from None
        dtype = statement.dtype or self.graph.wide
        self.tensors[statement] = Tensor(self.graph, made.cast(dtype).name, dtype, statement.shape)

    def _row(self, statement: Statement) -> Tensor | None:
        """By the row of its operation, if it has one."""
        op = statement.op
        if op.name not in ROWS:
            return None
        dtype = statement.dtype or self.graph.wide
        partials = op.partials * len(statement.inputs) if op.variadic else op.partials
        operands = [
            self._tensor(x) if partial is None else self._tensor(x).cast(dtype)
            for x, partial in zip(statement.inputs, partials, strict=True)
        ]
        made: Tensor | None = ROWS[op.name](*([operands] if op.variadic else operands), **statement.options)
        return made

    def _opened(self, statement: Statement, told: Statement) -> Tensor:
        """By the simpler operations that it is made of."""
        opened = self.record.opened(statement)
        if opened is None:
            name, place = statement.op.name, self.record.place(told)
            within = "" if statement is told else f"{name}, in "
            self.lacking.append(f"{within}{place}: {LACKING.get(name, UNKNOWN)}")
            return Tensor(self.graph, "", statement.dtype or self.graph.wide, statement.shape)  # to look on
        parts, result = opened
        for part in parts:
            self._statement(part, told)
        return self._tensor(result)

    # -- the whole ----------------------------------------------------------------------------------------------------

    def _outputs(self, names: list[str]) -> list[Tensor]:
        """The results under these names: what a node computes is renamed, all else passes through a node of its own."""
        made = {name for node in self.graph.nodes for name in node.output}
        renamed: dict[str, str] = {}
        outputs = []
        for result, name in zip(self.record.results, names, strict=True):
            tensor = self._tensor(result)
            outputs.append(Tensor(self.graph, name, tensor.dtype, tensor.shape))
            if tensor.name in made and tensor.name not in renamed:
                renamed[tensor.name] = name
            else:
                self.graph.nodes.append(onnx().helper.make_node("Identity", [tensor.name], [name], name=name))
        self.graph.rename(renamed)
        return outputs

    def _file(self, outputs: list[Tensor]) -> bytes:
        """The model as the bytes of a file, after ONNX's own checks."""
        from tinygrad_wb import __version__

        library, graph = onnx(), self.graph
        helper = library.helper
        size = sum(len(x.raw_data) for x in graph.initializers.values())
        if size > LARGEST:
            raise ValueError(f"export_onnx: {size:,} bytes of numbers, an ONNX file holds {LARGEST:,} at most")
        model = helper.make_model(
            helper.make_graph(
                graph.nodes,
                graph.named(getattr(self.model, "__name__", type(self.model).__name__)),
                [_described(x) for x in self.inputs],
                [_described(x) for x in outputs],
                list(graph.initializers.values()),
            ),
            producer_name="tinygrad_wb",
            producer_version=__version__,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        library.checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString()
        return content


def _described(tensor: Tensor) -> Any:
    """What a file says of an input or output: its name, dtype and shape."""
    lengths = ["batch" if n == Count(1, 0) else n if isinstance(n, int) else None for n in tensor.axes]
    helper = onnx().helper
    return helper.make_tensor_value_info(tensor.name, helper.np_dtype_to_tensor_dtype(tensor.dtype), lengths)


def _widest(record: Record) -> Any:
    """The dtype of single numbers: that of the widest array; without arrays of floats float64."""
    known = [x for statement in record.statements for x in (statement, *statement.inputs)] + record.results
    dtypes = [x.dtype for x in known if isinstance(x, (Statement, Leaf, np.ndarray))]
    floats = [dtype for dtype in dtypes if dtype is not None and dtype.kind == "f"]
    return np.result_type(*floats) if floats else np.dtype(np.float64)


def _names_of_inputs(model: Callable[..., Any], count: int) -> list[str]:
    """What the function calls its arguments."""
    try:
        parameters = list(inspect.signature(model.forward if isinstance(model, Module) else model).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for parameter in parameters:
        if parameter.kind == parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}_{i}" for i in range(count - len(names))]
        else:
            names.append(parameter.name)
    return (names + [f"input_{i}" for i in range(count)])[:count]


def _names_of_parameters(model: Any) -> dict[Value, str]:
    """The path of each Value that is saved of a model."""
    slots = model.state() if isinstance(model, Module) else ()
    return {slot.owner: path for path, slot in slots if type(slot.owner) is Value}


def _names_of_results(record: Record) -> list[str]:
    """``output``; of several, by their keys or their places."""
    for x in others(record.layout):
        raise TypeError(f"it returns {x!r:.80}; return Values, alone or in tuples, lists and dictionaries")
    if not record.results:
        raise TypeError("it returns nothing")
    return list(_paths(record.layout, ""))


def _paths(layout: Any, path: str) -> Iterator[str]:
    if not is_nested(layout):
        yield path or "output"
    elif isinstance(layout, dict) or hasattr(layout, "_fields"):
        for name, part in layout.items() if isinstance(layout, dict) else layout._asdict().items():
            yield from _paths(part, f"{path}_{name}" if path else str(name))
    else:
        for i, part in enumerate(layout):
            yield from _paths(part, f"{path or 'output'}_{i}")
