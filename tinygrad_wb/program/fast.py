"""The fast form of a plan: the same steps, printed so that NumPy writes every result into memory it has already.

Arrays live in buffers that are handed on as soon as nothing needs their contents any more; an elementwise operation may
write over its own input. Numbers are Python floats, and what is used once is written where it is used.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.names import Names
from tinygrad_wb.program.plan import Step
from tinygrad_wb.program.source import expression
from tinygrad_wb.program.text import ATOM, literal, repeated
from tinygrad_wb.program.trace import is_scalar, on_numbers, text_of
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tinygrad_wb.program.plan import Plan

__all__ = ["FastForm"]

DEEPEST = 20  # nested parentheses of an expression
PART = 20_000  # lines of one function: Python's compiler takes more than twice as long for twice as many
SMALL = 1 << 16  # elements up to which a whole array of a constant is worth its memory

BLOCK = 1 << 16  # elements: what is computed from so many is still in the processor's cache when it is used
SHORT = 1 << 12  # elements up to which BLAS adds up as well as NumPy does, and starts sooner
LONG = 256  # elements of a row from which on it need not be repeated for each row
NARROW = 64  # columns up to which the largest of each row is found quicker in a transposed copy

ELEMENTWISE = {
    name
    for name in """absolute add cos divide equal exp greater greater_equal isfinite less less_equal log log1p logical_and
    maximum minimum multiply negative not_equal power sign sin sqrt square subtract tanh""".split()
    if isinstance(getattr(np, name), np.ufunc)
}
VIEWS = {"broadcast_to", "getitem", "reshape", "transpose"}
SCALAR = {  # quicker than the function that the readable form calls
    "maximum": "({1} if {0} <= {1} else {0})",
    "minimum": "({1} if {0} >= {1} else {0})",
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": "({0} * {1})",
    "divide": "({0} / {1})",
    "negative": "(-{0})",
    "square": "({0} * {0})",
}


class FastForm:
    """``function(*arguments, *gradients)`` replays a plan: it fills the gradient arrays and returns the other results.

    ``arguments`` are leaves, ``results`` steps, leaves or numbers that are returned, ``targets`` those that are written
    into the arrays which follow the arguments, ``decisions`` pairs of a step and the outcome that the plan is right for:
    where one comes out otherwise, the function returns None.
    """

    def __init__(
        self,
        plan: Plan,
        arguments: Sequence[tuple[str, Value]],
        results: Sequence[Any],
        targets: Sequence[tuple[str, Any]],
        decisions: Sequence[tuple[Any, bool]],
    ) -> None:
        self.plan = plan
        self.names = Names({"replay", "np", "math"})
        self.namespace: dict[str, Any] = {"np": np, "math": math}
        self.called: dict[Any, str] = {}
        self.lines: list[str] = []
        self._constants: dict[Any, str] = {}
        self._depth: dict[Any, int] = {}
        self._pool: dict[Any, list[str]] = {}
        self._bases: dict[str, Any] = {}
        self._buffer: dict[Any, str] = {}  # of a step that has one
        self._helpers: dict[str, Any] = {}
        heads = [self.names.new(name) for name, _ in (*arguments, *targets)]
        self.called |= {leaf: head for (_, leaf), head in zip(arguments, heads, strict=False)}
        self._escaping = {id(x) for x in results}
        self._targets: dict[Any, list[str]] = {}
        for (_, x), head in zip(targets, heads[len(arguments) :], strict=True):
            self._targets.setdefault(x, []).append(head)
        steps = _with_products(plan.steps)
        self._uses = Counter(x for step in steps for x in step.inputs if type(x) is Step)
        self._uses.update(
            x for x in (*results, *(x for _, x in targets), *(x for x, _ in decisions)) if type(x) is Step
        )
        self._owner = {}
        for step in steps:
            base = step.inputs[0] if step.op.name in VIEWS else None
            self._owner[step] = self._owner[base] if type(base) is Step and not base.number else step
        self._pending: Counter[Step] = Counter()
        for step, uses in self._uses.items():
            if not step.number:
                self._pending[self._owner[step]] += uses
        checks: dict[Any, list[bool]] = {}
        for x, outcome in decisions:
            checks.setdefault(x, []).append(outcome)
        for x, outcomes in checks.items():
            if type(x) is Value:
                self.lines += [f"if {'not ' if outcome else ''}{self._text(x)}: return None" for outcome in outcomes]
        for run in runs(steps):
            if len(run) > 1:
                write_in_blocks(self, run)
                continue
            (step,) = run
            self._write(step)
            for outcome in checks.get(step, ()):
                self.lines.append(f"if {'not ' if outcome else ''}{self.called[step]}: return None")
        for x, heads_of_x in self._targets.items():
            for head in heads_of_x:
                if self._buffer.get(x) != head:
                    self.lines.append(f"{self._function('copyto', np.copyto)}({head}, {self._text(x)})")
        returned = "".join(f"{self._returned(x)}, " for x in results)
        self.source = self._assembled(heads, f"return ({returned})")
        exec(compile(self.source, "<replay>", "exec"), self.namespace)  # noqa: S102 - our own text, names made safe
        self.function: Callable[..., Any] = self.namespace["replay"]

    # -- one step ---------------------------------------------------------------------------------------------------

    def _write(self, step: Step) -> None:
        if step.number:
            self._write_number(step)
        elif step.op.name in VIEWS:
            self._write_view(step)
        else:
            self._write_array(step)
        for x in step.inputs:
            if type(x) is Step and not x.number:
                self._release(x)

    def _write_number(self, step: Step) -> None:
        numbers = all([x.number if type(x) is Step else is_scalar(x) for x in step.inputs])
        if numbers and step.op.scalar is not None:
            text, depth = self._number(step)
        else:
            rule = REDUCED.get(step.op.name)
            text, depth = (rule and rule(self, step)) or self._expression(step), 0
        if numbers and self._uses[step] == 1 and depth < DEEPEST and step not in self._targets:
            self.called[step], self._depth[step] = text, depth
            return
        name = self.names.numbered("s")
        self.lines.append(f"{name} = {text}")
        self.called[step] = name

    def _number(self, step: Step) -> tuple[str, int]:
        """An operation on numbers as an expression, and how deeply it is nested."""
        depth = 1 + max([self._depth.get(x, 0) for x in step.inputs])
        form = SCALAR.get(step.op.name)
        if form is not None and not (step.op.name in ("maximum", "minimum") and type(step.inputs[1]) is not float):
            if form.count("{0}") > 1:
                return form.format(*(self._named(x) for x in step.inputs)), depth
            return form.format(*map(self._text, step.inputs)), depth
        template = text_of(step.node) or ""
        operand = self._named if repeated(template) else self._text
        text = expression(self.plan.trace, step.node, lambda x: (operand(self.plan.of(x)), ATOM), repr, {})[0]
        if "math." in text:
            text = text.replace("math.", "math_")
            self.namespace |= {f"math_{name}": getattr(math, name) for name in dir(math) if f"math_{name}(" in text}
            text = text.replace("math_inf", "math.inf").replace("math_nan", "math.nan")
        return f"({text})", depth

    def _named(self, x: Any) -> str:
        """A number's name, for where it stands twice."""
        text = self._text(x)
        if type(x) is Step and not text.isidentifier():
            name = self.names.numbered("s")
            self.lines.append(f"{name} = {text}")
            self.called[x], self._depth[x] = name, 0
            return name
        return text

    def _write_view(self, step: Step) -> None:
        (base,) = step.inputs
        text = self._expression(step)
        owner = self._owner[step]
        buffer = self._buffer.get(owner) if owner is not step else None
        if buffer in self.namespace and self._fixed(base):  # the memory never moves: look at it once
            view = eval(text, self.namespace)  # noqa: S307 - our own text
            if np.shares_memory(view, self._bases[buffer]):
                name = self.names.numbered("view")
                self.namespace[name] = view
                self.called[step] = name
                return
        name = self.names.numbered("a")
        self.lines.append(f"{name} = {text}")
        self.called[step] = name

    def _fixed(self, x: Any) -> bool:
        return self.called.get(x) in self.namespace

    def _write_array(self, step: Step) -> None:
        name = step.op.name
        rule = ARRAYS.get(name) or (_elementwise if name in ELEMENTWISE else None)
        if rule is None or id(step) in self._escaping:
            self._write_fresh(step)
            return
        if not rule(self, step):
            self._write_fresh(step)

    def _write_fresh(self, step: Step) -> None:
        """A statement whose result is a new array."""
        name = self.names.numbered("a")
        self.lines.append(f"{name} = {self._expression(step)}")
        self.called[step] = name

    # -- operands -----------------------------------------------------------------------------------------------------

    def _text(self, x: Any) -> str:
        if x in self.called:
            return self.called[x]
        if type(x) is Value:  # an array that the function closes over
            self.called[x] = name = self.names.new(x.name or "", "constant")
            self.namespace[name] = x._data
            return name
        return literal(x, self._array)[0]

    def _array(self, a: Any) -> str:
        return self._text(self.plan.of(a))

    def _expression(self, step: Step) -> str:
        """A step as the readable form has it."""
        text = expression(
            self.plan.trace, step.node, lambda x: (self._text(self.plan.of(x)), ATOM), self._array, self._helpers
        )[0]
        self.namespace |= self._helpers
        return text

    def _weak(self, x: Any, step: Step, whole: bool = False) -> str:
        """An operand of an elementwise operation; a number as an array already, which NumPy need not make of it."""
        if type(x) is not float:
            return self._text(x)
        other = next((_data(i) for i in step.inputs if type(i) is not float and np.ndim(_data(i))), None)
        if other is None:
            return repr(x)
        dtype = np.result_type(other.dtype, 0.0)
        shape: tuple[int, ...] = ()
        if whole:  # NumPy's maximum and minimum are several times as quick with an array that is as long
            shape = step.data.shape[-1:] if step.data.shape[-1] >= LONG else step.data.shape * (step.data.size <= SMALL)
        key = (repr(x), dtype, shape)
        if key not in self._constants:
            self._constants[key] = name = self.names.numbered("c")
            self.namespace[name] = np.full(shape, x, dtype)
        return self._constants[key]

    def _function(self, name: str, function: Any) -> str:
        self.namespace.setdefault(name, function)
        self.names.taken.add(name)
        return name

    # -- memory -------------------------------------------------------------------------------------------------------

    def _place(self, step: Step, over: Sequence[Any] = ()) -> str:
        """Where a step's result goes: the caller's array, an input that nothing needs afterwards, or a buffer."""
        if targets := self._targets.get(step):
            self._buffer[step] = self.called[step] = targets[0]
            return targets[0]
        for x in over:
            buffer = self._buffer.get(x)
            if (
                type(x) is Step
                and buffer is not None
                and x not in self._targets
                and self._owner[x] is x
                and self._pending[x] == sum(i is x for i in step.inputs)
                and x.data.shape == step.data.shape
                and x.data.dtype == step.data.dtype
            ):
                self._buffer[step] = self.called[step] = self.called[x]
                self._bases[self.called[x]] = self._bases[buffer]
                self._given_away.add(x)
                return self.called[x]
        free = self._pool.get((step.data.dtype, step.data.size))
        base = free.pop() if free else np.empty(step.data.size, step.data.dtype)
        name = next(
            (n for n, b in self._bases.items() if b is base and self.namespace[n].shape == step.data.shape), None
        )
        if name is None:
            name = self.names.numbered("b")
            self.namespace[name] = base.reshape(step.data.shape)
            self._bases[name] = base
        self._buffer[step] = self.called[step] = name
        return name

    @functools.cached_property
    def _given_away(self) -> set[Any]:
        return set()

    def _release(self, x: Step) -> None:
        """One use of ``x`` is done; after the last, its buffer is free."""
        owner = self._owner[x]
        self._pending[owner] -= 1
        buffer = self._buffer.get(owner)
        if not self._pending[owner] and buffer in self._bases and owner not in self._given_away:
            base = self._bases[buffer]
            self._pool.setdefault((base.dtype, base.size), []).append(base)

    def _returned(self, x: Any) -> str:
        text = self._text(x)
        if type(x) is Value and not is_scalar(x):
            return f"{text}.copy()"
        if type(x) is Step and not x.number and (x.op.name in VIEWS or x in self._buffer):
            return f"{text}.copy()"
        return text

    # -- the whole ------------------------------------------------------------------------------------------------------

    def _assembled(self, heads: Sequence[str], last: str) -> str:
        if len(self.lines) <= PART:
            body = "\n    ".join([*self.lines, last])
            return f"def replay({', '.join(heads)}):\n    {body}\n"
        return _in_parts(heads, self.lines, last)


def _in_parts(heads: Sequence[str], lines: Sequence[str], last: str) -> str:
    """A long program as several functions; what one makes and another reads is a global variable."""
    parts = [lines[i : i + PART] for i in range(0, len(lines), PART)]
    words = [set(WORD.findall(" ".join(part))) for part in (*parts, [last])]
    out = []
    for i, part in enumerate(parts):
        made = dict.fromkeys(line.split(" = ", 1)[0] for line in part if ASSIGNS.match(line))
        read = set().union(*words[i + 1 :])
        shared = [name for name in made if name in read]
        head = f"    global {', '.join(shared)}\n" if shared else ""
        out.append(f"def part_{i}():\n{head}    " + "\n    ".join(part) + "\n    return True\n")
    given = ", ".join(f"{head}_" for head in heads)
    copies = "".join(f"    {head} = {head}_\n" for head in heads)
    calls = "".join(f"    if not part_{i}(): return None\n" for i in range(len(parts)))
    share = f"    global {', '.join(heads)}\n{copies}" if heads else ""
    return "\n".join(out) + f"\ndef replay({given}):\n{share}{calls}    {last}\n"


WORD = re.compile(r"\b[^\W\d]\w*")
ASSIGNS = re.compile(r"[^\W\d]\w* = ")


def _data(x: Any) -> Any:
    return x.data if type(x) is Step else x._data if type(x) is Value else x


def _with_products(steps: Sequence[Step]) -> list[Step]:
    """Sums of products that are used for nothing else as one step: the dot product of the two."""
    out, folded = [], set()
    for step in steps:
        if step.op.name == "sum" and step.number and type(step.inputs[0]) is Step:
            (product,) = step.inputs
            pair = product.inputs * 2 if product.op.name == "square" else product.inputs
            if (
                product.op.name in ("multiply", "square")
                and product.uses == 1
                and all(map(_plain, pair, (product,) * 2))
            ):
                step.inputs, step.op = pair, VDOT
                folded.add(product)
        out.append(step)
    return [step for step in out if step not in folded]


def _plain(x: Any, like: Step) -> bool:
    data = _data(x)
    return (
        isinstance(data, np.ndarray)
        and data.shape == like.data.shape
        and data.dtype == like.data.dtype
        and data.dtype.char in "fd"
        and data.flags.c_contiguous
        and type(x) is Step
    )


def runs(steps: Sequence[Step]) -> list[list[Step]]:
    """The steps, one by one, and stretches of elementwise ones on large arrays of one shape together."""
    out: list[list[Step]] = []
    for step in steps:
        if _in_blocks(step) and out and _in_blocks(out[-1][0]) and out[-1][0].data.shape == step.data.shape:
            out[-1].append(step)
        else:
            out.append([step])
    return out


def _in_blocks(step: Step) -> bool:
    """Whether a step can be done block by block of rows."""
    if step.number or step.op.name not in ELEMENTWISE or step.data.size < 8 * BLOCK or len(step.data) < 8:
        return False
    return all(
        type(x) is float or is_scalar(data := _data(x)) or data.shape == step.data.shape or data.ndim < step.data.ndim
        for x in step.inputs
    )


def write_in_blocks(form: FastForm, run: Sequence[Step]) -> None:
    """A loop over blocks of rows, each of which goes through all steps while it is in the cache.

    What only these steps need is never larger than a block.
    """
    shape = run[0].data.shape
    rows = shape[0]
    size = _block_rows(rows, max(1, BLOCK // (run[0].data.size // rows)))
    even = rows % size == 0
    uses = Counter(x for step in run for x in step.inputs if type(x) is Step)
    last = {x: step for step in run for x in step.inputs if type(x) is Step}
    blocks: dict[Step, str] = {}  # what exists for one block only
    spare: dict[Any, list[str]] = defaultdict(list)
    body: list[str] = []
    parts: dict[str, str] = {}  # the present block of whole arrays

    def part(whole: str) -> str:
        if whole not in parts:
            parts[whole] = name = form.names.numbered("part")
            body.append(f"{name} = {whole}[i:j]")
        return parts[whole]

    def text(x: Any, step: Step) -> str:
        if x in blocks:
            return blocks[x]
        if type(x) is float:
            return _block_constant(form, x, step, size) if step.op.name in ("maximum", "minimum") else form._weak(x, step)
        whole = form._text(x)
        return part(whole) if np.shape(_data(x)) == shape else whole

    for step in run:
        name = form._function(step.op.name, getattr(np, step.op.name))
        operands = [text(x, step) for x in step.inputs]
        dtype = step.data.dtype
        if uses[step] == form._uses[step] and step not in form._targets and id(step) not in form._escaping:
            dying = [x for x in step.inputs if x in blocks and last[x] is step and x.data.dtype == dtype]
            free = blocks[dying[0]] if dying else spare[dtype].pop() if spare[dtype] else ""
            if not free:
                free = form.names.numbered("block")
                form.namespace[free] = np.empty((size, *shape[1:]), dtype)
                free += "" if even else "[:j - i]"
            blocks[step] = place = free
        elif id(step) in form._escaping:
            form.called[step] = whole = form.names.numbered("a")
            form.lines.append(f"{whole} = {form._function('empty', np.empty)}({shape}, '{dtype.str}')")
            place = part(whole)
        else:
            place = part(form._place(step, step.inputs))
        body.append(f"{name}({', '.join(operands)}, out={place})")
        for x in dict.fromkeys(x for x in step.inputs if type(x) is Step):
            if x in blocks and last[x] is step and blocks[x] != place:
                spare[x.data.dtype].append(blocks[x])
        for x in step.inputs:
            if type(x) is Step and not x.number and x not in blocks:
                form._release(x)
    end = f"i + {size}" if even else f"min(i + {size}, {rows})"
    inner = "".join(f"\n        {line}" for line in body)
    form.lines.append(f"for i in range(0, {rows}, {size}):\n        j = {end}{inner}")


def _block_rows(rows: int, most: int) -> int:
    """How many rows a block has: if possible, so many that the last block is as large as the others."""
    return next((n for n in range(min(most, rows), most // 2, -1) if rows % n == 0), most)


def _block_constant(form: FastForm, x: float, step: Step, size: int) -> str:
    """A constant of a block's shape: NumPy's maximum and minimum are quicker with an array than with a number."""
    dtype, shape = step.data.dtype, (size, *step.data.shape[1:])
    key = ("block", repr(x), dtype, shape)
    if key not in form._constants:
        form._constants[key] = name = form.names.numbered("c")
        form.namespace[name] = np.full(shape, x, dtype)
    return form._constants[key] + ("" if step.data.shape[0] % size == 0 else "[:j - i]")


VDOT = SimpleNamespace(name="vdot", numpy="np.vdot({a}, {b})", scalar=None)


# -- how operations are written into memory: each rule adds a line, or says False if it can't ------------------------------


def _elementwise(form: FastForm, step: Step) -> bool:
    name = step.op.name
    whole = name in ("maximum", "minimum")
    operands = [form._weak(x, step, whole) for x in step.inputs]
    place = form._place(step, step.inputs)
    form.lines.append(
        f"{form._function(name, getattr(np, name))}({', '.join(operands)}, {'out=' if whole else ''}{place})"
    )
    return True


def _matmul(form: FastForm, step: Step) -> bool:
    a, b = step.inputs
    same = {_data(a).dtype, _data(b).dtype} == {step.data.dtype} and _data(a).ndim == _data(b).ndim == 2
    # `dot` is quicker to start, but it fills what it writes into with zeros first.
    quick = same and step.data.size <= SMALL
    name = form._function("dot", np.dot) if quick else form._function("matmul", np.matmul)
    left, right = form._text(a), form._text(b)
    form.lines.append(f"{name}({left}, {right}, {form._place(step)})")
    return True


def _sum(form: FastForm, step: Step) -> bool:
    (a,) = step.inputs
    data, axis, keepdims = _data(a), step.options["axis"], step.options["keepdims"]
    if data.dtype.kind == "f" and data.dtype.itemsize >= 4 and data.ndim == 2 and axis in (0, 1, -1) and data.size:
        # The product with a row of ones adds up too, and BLAS is quicker at it.
        text = form._text(a)
        ones = _ones(form, data.shape[0 if axis == 0 else 1], data.dtype)
        place = form._place(step)
        if keepdims:
            place = _flat(form, step, place)
        if not place:
            return False
        pair = (ones, text) if axis == 0 else (text, ones)
        form.lines.append(f"{form._function('dot', np.dot)}({', '.join(pair)}, {place})")
        return True
    return _reduce(form, step, "add")


def _flat(form: FastForm, step: Step, place: str) -> str:
    """The buffer of a step, seen as a row."""
    name = form.names.numbered("view")
    if place in form.namespace:
        form.namespace[name] = form.namespace[place].reshape(-1)
    else:
        form.lines.append(f"{name} = {place}.reshape(-1)")
    return name


def _ones(form: FastForm, n: int, dtype: Any) -> str:
    key = ("ones", n, dtype)
    if key not in form._constants:
        form._constants[key] = name = form.names.numbered("ones")
        form.namespace[name] = np.ones(n, dtype)
    return form._constants[key]


def _reduce(form: FastForm, step: Step, ufunc: str) -> bool:
    (a,) = step.inputs
    axis, keepdims = step.options["axis"], step.options["keepdims"]
    name = form._function(f"{ufunc}_reduce", getattr(np, ufunc).reduce)
    text = form._text(a)
    data = _data(a)
    if ufunc != "add" and axis in (1, -1) and data.ndim == 2 and 1 < data.shape[1] <= NARROW and data.size <= SMALL:
        columns, turned = form.names.numbered("t"), form.names.numbered("view")
        form.namespace[columns] = np.empty(data.shape[::-1], data.dtype)
        form.namespace[turned] = form.namespace[columns].T
        place = form._place(step)
        form.lines.append(f"{form._function('copyto', np.copyto)}({turned}, {text})")
        form.lines.append(f"{name}({columns}, 0, None, {_flat(form, step, place) if keepdims else place})")
        return True
    form.lines.append(f"{name}({text}, {axis!r}, None, {form._place(step)}, {keepdims})")
    return True


def _mean(form: FastForm, step: Step) -> bool:
    if step.data.dtype.itemsize < 4:
        return False  # NumPy adds up float16 in float32
    count = float(_data(step.inputs[0]).size / step.data.size)
    if not _sum(form, step):
        return False
    place = form.called[step]
    form._constants.setdefault(("n", count, step.data.dtype), name := form.names.numbered("c"))
    name = form._constants["n", count, step.data.dtype]
    form.namespace[name] = np.array(count, step.data.dtype)
    form.lines.append(f"{form._function('divide', np.divide)}({place}, {name}, {place})")
    return True


def _one_hot(form: FastForm, step: Step) -> bool:
    (labels,) = step.inputs
    if np.ndim(_data(labels)) != 1 or not step.data.size:
        return False
    classes, dtype = step.options["classes"], np.dtype(step.options["dtype"])
    rows = form._function(f"rows_{classes}_{dtype.name}", np.eye(classes, dtype=dtype).take)
    least, text = form._function("minimum_reduce", np.minimum.reduce), form._text(labels)
    form.lines.append(f"if {least}({text}) < 0: raise IndexError({text})")  # NumPy would take it from the end
    form.lines.append(f"{rows}({text}, 0, {form._place(step)})")
    return True


def _total(form: FastForm, step: Step) -> str:
    (a,) = step.inputs
    data, text = _data(a), form._text(a)
    if type(a) is Step and data.dtype.char in "fd" and data.flags.c_contiguous and 0 < data.size <= SHORT:
        return f"float({form._function('vdot', np.vdot)}({_ones(form, data.size, data.dtype)}, {text}))"
    return f"float({form._function('add_reduce', np.add.reduce)}({text}, None))"


def _full_mean(form: FastForm, step: Step) -> str:
    data = _data(step.inputs[0])
    return (
        "" if not isinstance(data, np.ndarray) or data.dtype.itemsize < 4 else f"{_total(form, step)} / {data.size}.0"
    )


def _vdot(form: FastForm, step: Step) -> str:
    a, b = map(form._text, step.inputs)
    return f"float({form._function('vdot', np.vdot)}({a}, {b}))"


ARRAYS: dict[str, Callable[[FastForm, Step], bool]] = {
    "matmul": _matmul,
    "sum": _sum,
    "mean": _mean,
    "max": functools.partial(_reduce, ufunc="maximum"),
    "min": functools.partial(_reduce, ufunc="minimum"),
    "one_hot": _one_hot,
}
REDUCED: dict[str, Callable[[FastForm, Step], str]] = {"sum": _total, "mean": _full_mean, "vdot": _vdot}
