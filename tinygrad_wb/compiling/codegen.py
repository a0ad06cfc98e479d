"""The fast form of a plan: the same steps, printed so that NumPy writes every result into memory it has already.

Arrays live in buffers that are handed on as soon as nothing needs their contents any more; an elementwise operation may
write over its own input, or the memory that this is a view of. Numbers are Python floats, and what is used once is
written where it is used.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.compiling.lowering.rules import ARRAYS, ELEMENTWISE, REDUCED, VIEWS, elementwise, with_products
from tinygrad_wb.compiling.plan import Step, data_of
from tinygrad_wb.compiling.strides import axes_in_memory, lying_as
from tinygrad_wb.compiling.tiling import stretches, write_in_blocks
from tinygrad_wb.program.names import Names
from tinygrad_wb.program.source import expression
from tinygrad_wb.program.text import ATOM, literal, repeated
from tinygrad_wb.program.trace import is_scalar, text_of
from tinygrad_wb.recording import REPLAY
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tinygrad_wb.compiling.plan import Plan

__all__ = ["FastForm"]

DEEPEST = 20  # nested parentheses of an expression
PART = 20_000  # lines of one function: Python's compiler takes more than twice as long for twice as many
SMALL = 1 << 16  # elements up to which a whole array of a constant is worth its memory
LONG = 256  # elements of a row from which on it need not be repeated for each row

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
    into the arrays which follow the arguments, ``decisions`` pairs of a step and the outcome that the plan is right
    for: where one comes out otherwise, the function returns None.
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
        self._pool: dict[Any, list[Any]] = {}
        self._bases: dict[str, Any] = {}
        self._buffer: dict[Any, str] = {}  # of a step that has one
        self._helpers: dict[str, Any] = {}
        self._given_away: set[Any] = set()  # steps whose buffer another step has written over
        heads = [self.names.new(name) for name, _ in (*arguments, *targets)]
        self.called |= {leaf: head for (_, leaf), head in zip(arguments, heads, strict=False)}
        self._escaping = {id(x) for x in results}
        self._targets: dict[Any, list[str]] = {}
        for (_, x), head in zip(targets, heads[len(arguments) :], strict=True):
            self._targets.setdefault(x, []).append(head)
        steps = with_products(plan.steps)
        self._uses = Counter(x for step in steps for x in step.inputs if type(x) is Step)
        self._uses.update(
            x for x in (*results, *(x for _, x in targets), *(x for x, _ in decisions)) if type(x) is Step
        )
        self._owner: dict[Step, Step] = {}  # whose buffer a step's result stands in: another's, if it is a view
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
        for stretch in stretches(steps):
            if len(stretch) > 1:
                write_in_blocks(self, stretch)
                continue
            (step,) = stretch
            self._write(step)
            for outcome in checks.get(step, ()):
                self.lines.append(f"if {'not ' if outcome else ''}{self.called[step]}: return None")
        for x, heads_of_x in self._targets.items():
            for head in heads_of_x:
                if self._buffer.get(x) != head:
                    self.lines.append(f"{self._function('copyto', np.copyto)}({head}, {self._text(x)})")
        returned = "".join(f"{self._returned(x)}, " for x in results)
        functions = _functions(heads, self.lines, f"return ({returned})")
        self.source = "\n".join(functions)
        for text in functions:  # one at a time: Python's compiler needs a thousand times the memory of the text
            exec(compile(text, REPLAY, "exec"), self.namespace)  # noqa: S102 - our own text, names made safe
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
        numbers = all(x.number if type(x) is Step else is_scalar(x) for x in step.inputs)
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
                self.called[step] = self._kept(view)
                return
        name = self.names.numbered("a")
        self.lines.append(f"{name} = {text}")
        self.called[step] = name

    def _fixed(self, x: Any) -> bool:
        return self.called.get(x) in self.namespace

    def _write_array(self, step: Step) -> None:
        name = step.op.name
        rule = ARRAYS.get(name) or (elementwise if name in ELEMENTWISE else None)
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
        other = next((data_of(i) for i in step.inputs if type(i) is not float and np.ndim(data_of(i))), None)
        if other is None:
            return repr(x)
        dtype = np.result_type(other.dtype, 0.0)
        like = np.empty(())
        if whole and step.data.size:  # with an array as long, NumPy's maximum and minimum are several times as quick
            if step.data.shape[-1] >= LONG and step.data.flags.c_contiguous:
                like = step.data[(0,) * (step.data.ndim - 1)]
            elif step.data.size <= SMALL:
                like = step.data
        key = (repr(x), dtype, like.shape, axes_in_memory(like))
        if key not in self._constants:
            self._constants[key] = self._kept(np.full_like(like, x, dtype), "c")
        return self._constants[key]

    def _function(self, name: str, function: Any) -> str:
        if ("function", name) not in self._constants:
            self._constants["function", name] = self.names.new(name)
            self.namespace[self._constants["function", name]] = function
        return self._constants["function", name]

    def _kept(self, array: Any, called: str = "view") -> str:
        """A name for an array, or a view of one, that never moves."""
        name = self.names.numbered(called)
        self.namespace[name] = array
        return name

    def _seen_as(self, text: str, shape: tuple[int, ...], axes: tuple[int, ...] = ()) -> str:
        """What is called ``text`` with its axes cut or joined, and turned: a view, made once if its memory is ours."""
        view = f"{text}.reshape({shape}){f'.transpose{axes}' if axes else ''}"
        if text in self.namespace:
            return self._kept(eval(view, self.namespace))  # noqa: S307 - our own text
        name = self.names.numbered("a")
        self.lines.append(f"{name} = {view}")
        return name

    # -- memory -------------------------------------------------------------------------------------------------------

    def _place(self, step: Step, over: Sequence[Any] = (), as_numpy: bool = False) -> str:
        """Where a step's result goes: the caller's array, an input that nothing needs afterwards, or a buffer.

        A buffer has its axes in order, or ``as_numpy`` has them in memory.
        """
        if targets := self._targets.get(step):
            self._buffer[step] = self.called[step] = targets[0]
            return targets[0]
        axes = axes_in_memory(step.data) if as_numpy else tuple(range(step.data.ndim))
        for x in over:
            if self._dies_in(step, x) and axes_in_memory(self.namespace[self.called[x]]) == axes:
                owner, name = self._owner[x], self.called[x]
                self._buffer[step] = self.called[step] = name
                self._bases[name] = self._bases[self._buffer[owner]]
                self._given_away.add(owner)
                return name
        free = self._pool.get((step.data.dtype, step.data.size))
        base: Any = free.pop() if free else np.empty(step.data.size, step.data.dtype)
        memory = lying_as(base, step.data.shape, axes)
        alike = {(self.namespace[n].shape, self.namespace[n].strides): n for n, b in self._bases.items() if b is base}
        name = alike.get((memory.shape, memory.strides), "")
        if not name:
            name = self._kept(memory, "b")
            self._bases[name] = base
        self._buffer[step] = self.called[step] = name
        return name

    def _dies_in(self, step: Step, x: Any) -> bool:
        """Whether an input is as large as the result, in memory of ours, and nothing needs it afterwards."""
        if type(x) is not Step or x.number or x in self._targets or not self._fixed(x):
            return False
        owner = self._owner[x]
        return (
            owner in self._buffer
            and owner not in self._targets
            and owner not in self._given_away
            and self._pending[owner] == sum(i is x for i in step.inputs)
            and x.data.shape == step.data.shape
            and owner.data.size == step.data.size
            and x.data.dtype == owner.data.dtype == step.data.dtype
        )

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


def _functions(heads: Sequence[str], lines: Sequence[str], last: str) -> list[str]:
    """The program's functions; if it is long, several, and what one makes and another reads is a global variable."""
    if len(lines) <= PART:
        body = "\n    ".join([*lines, last])
        return [f"def replay({', '.join(heads)}):\n    {body}\n"]
    parts = [lines[i : i + PART] for i in range(0, len(lines), PART)]
    read = set(WORD.findall(last))  # by later parts
    out = []
    for i, part in reversed(list(enumerate(parts))):
        made = dict.fromkeys(line.split(" = ", 1)[0] for line in part if ASSIGNS.match(line))
        shared = [name for name in made if name in read]
        head = f"    global {', '.join(shared)}\n" if shared else ""
        out.append(f"def part_{i}():\n{head}    " + "\n    ".join(part) + "\n    return True\n")
        read.update(WORD.findall(" ".join(part)))
    given = ", ".join(f"{head}_" for head in heads)
    copies = "".join(f"    {head} = {head}_\n" for head in heads)
    calls = "".join(f"    if not part_{i}(): return None\n" for i in range(len(parts)))
    share = f"    global {', '.join(heads)}\n{copies}" if heads else ""
    return [*out[::-1], f"def replay({given}):\n{share}{calls}    {last}\n"]


WORD = re.compile(r"\b[^\W\d]\w*")
ASSIGNS = re.compile(r"[^\W\d]\w* = ")
