"""Writes operations.md from the registry: `python docs/make_operations.py`. It takes what the tests take.

Each formula is what the partial itself records, run on one of the tests' samples; each order is one to which all of the
samples are held against finite differences while the page is made. So nothing on the page is written twice.
"""

import inspect
import re
import sys
import textwrap
from pathlib import Path

import numpy as np

import tinygrad_wb as wb
from tinygrad_wb.backprop import history
from tinygrad_wb.draw.formula import partials
from tinygrad_wb.operations import REGISTRY, numpy_protocol
from tinygrad_wb.recording import Recorder
from tinygrad_wb.value import traced

DOCS = Path(__file__).parent
PAGE = DOCS / "operations.md"
sys.path.insert(0, str(DOCS.parent / "tests"))  # where the samples are
import test_operations as samples  # noqa: E402

INTRODUCTION = """\
# Operations

Every operation is [one row of a table](design.md#adding-an-operation): a forward computation and one partial for each
input. This page is printed from the registry of these rows.

- **Partials.** ∂y/∂a is the local derivative, where ∂L/∂y is merely multiplied by it. Where more happens, ∂L/∂a is
  shown: what the input gets, with `g` for ∂L/∂y and `y` for the result. Each formula was printed by running the partial
  itself on a sample, and has the sample's numbers in it, such as lengths. Sums that undo broadcasting are left out.
  One of more than 60 operations is not printed here; `y.program()` has it, an operation to a line.
- **NumPy.** The functions of NumPy's that record the operation when they are given a Value.
- *inside* marks what public functions and partials record, and nobody calls by that name.
- **Checked.** The order up to which derivatives were held against finite differences, by `wb.check_gradients`, and at
  how many samples, when this page was made. The tests do the same, and compare values, gradients and second
  derivatives with PyTorch's.
"""
BESIDES = """\
## What records other operations

A name is not yet an operation. These functions, and names of NumPy's, record what every reader knows already.
"""

# In the order of api.md; a table that is not named here comes last.
ORDER = (
    "arithmetic", "functions", "trigonometry", "activations", "rounding", "comparisons", "reductions", "scans",
    "sorting", "shaping", "indexing", "arranging", "padding", "joining", "linear_algebra", "einsum", "norms",
    "matrices", "decompositions", "neural", "convolution", "pooling", "windows", "normalisation", "attention", "losses",
)  # fmt: skip

# Which of its samples a row is shown by, where the first that holds arrays says less.
SHOWN = {"matmul": 3, "solve": 1, "stack": 1, "conv2d": 1, "scaled_dot_product_attention": 1}

LONGEST = 70  # letters of a formula inside a table
WIDTH = 88

M, ROW = wb.Value([[0.4, 0.7, 1.1], [0.2, 1.6, 0.9]]), wb.Value([0.4, 0.7, 1.1])
SQUARE = wb.Value([[2.0, 0.5], [0.5, 1.0]])
BESIDES_CALLS = {
    "abs": lambda: wb.abs(M),
    "array_split": lambda: wb.array_split(M, 2, axis=1),
    "average": lambda: wb.average(M, axis=0, weights=[1.0, 2.0]),
    "column_stack": lambda: wb.column_stack([ROW, ROW]),
    "dot": lambda: wb.dot(M, ROW),
    "dropout": lambda: wb.dropout(M, 0.5, np.random.default_rng(0)),
    "dstack": lambda: wb.dstack([M, M]),
    "expand_dims": lambda: wb.expand_dims(M, 0),
    "flip": lambda: wb.flip(M),
    "hstack": lambda: wb.hstack([M, M]),
    "inner": lambda: wb.inner(M, M),
    "kron": lambda: wb.kron(M, SQUARE),
    "meshgrid": lambda: wb.meshgrid(ROW, ROW),
    "moveaxis": lambda: wb.moveaxis(M, 0, 1),
    "outer": lambda: wb.outer(ROW, ROW),
    "ravel": lambda: wb.ravel(M),
    "split": lambda: wb.split(M, 3, axis=1),
    "squeeze": lambda: wb.squeeze(M[None]),
    "swapaxes": lambda: wb.swapaxes(M, 0, 1),
    "tensordot": lambda: wb.tensordot(M, ROW, 1),
    "trace": lambda: wb.trace(SQUARE),
    "vstack": lambda: wb.vstack([M, ROW]),
    "np.cumulative_prod": lambda: np.cumulative_prod(ROW),
    "np.cumulative_sum": lambda: np.cumulative_sum(ROW),
    "np.dsplit": lambda: np.dsplit(M[None], 3),
    "np.fliplr": lambda: np.fliplr(M),
    "np.flipud": lambda: np.flipud(M),
    "np.hsplit": lambda: np.hsplit(M, 3),
    "np.linalg.eigvalsh": lambda: np.linalg.eigvalsh(SQUARE),
    "np.linalg.matrix_norm": lambda: np.linalg.matrix_norm(M),
    "np.linalg.matrix_transpose": lambda: np.linalg.matrix_transpose(M),
    "np.linalg.svdvals": lambda: np.linalg.svdvals(M),
    "np.linalg.vector_norm": lambda: np.linalg.vector_norm(M),
    "np.matrix_transpose": lambda: np.matrix_transpose(M),
    "np.vsplit": lambda: np.vsplit(M, 2),
}


# -- what there is ------------------------------------------------------------------------------------------------


def tables():
    """Each table's module with its rows, in order."""
    found = {}
    for op in REGISTRY.values():
        if op.name not in samples.COMPILED:
            found.setdefault(sys.modules[op.function.__module__], []).append(op)
    names = {module: module.__name__.rpartition(".")[2] for module in found}
    place = {name: i for i, name in enumerate(ORDER)}
    for module in sorted(found, key=lambda module: place.get(names[module], len(place))):
        yield module, found[module]


def public(module):
    """The functions of a table that users call, by name."""
    return {
        name: f
        for name in getattr(module, "__all__", ())
        if callable(f := getattr(module, name)) and not inspect.isclass(f)
    }


def numpy_names():
    """NumPy's names for each of our functions, by our name; those for which we have no name, by their own."""
    ours = {f: name for module, _ in tables() for name, f in public(module).items()}
    ours |= {op.function: op.name for op in REGISTRY.values()}
    found = {}
    for where, place in (("np", np), ("np.linalg", np.linalg)):
        for name in sorted(dir(place)):
            theirs = getattr(place, name)
            if name.startswith("_") or not callable(theirs) or inspect.isclass(theirs):
                continue
            target = numpy_protocol.REACHED.get(theirs)
            plain = theirs in numpy_protocol.PLAIN and name in REGISTRY
            if target is not None or plain:
                known = ours.get(target, name if name in ours.values() else f"{where}.{name}")
                found.setdefault(known, []).append(f"{where}.{name}")
    for method, names in numpy_protocol.METHODS.items():
        for ufunc, name in names.items():
            found[name].append(f"np.{ufunc.__name__}.{method}")
    return found


# -- words --------------------------------------------------------------------------------------------------------


def sentence(function):
    """The first sentence of a docstring, for a cell."""
    first = inspect.getdoc(function).split("\n\n")[0].replace("\n", " ")
    return first.replace("|", r"\|")


def headed(module):
    """A table's docstring, "The table of this: that.", as a title and a sentence."""
    title, about = re.match(r"(?:The table of )?(.+?)[:.] (.+)", inspect.getdoc(module).split("\n")[0]).groups()
    return title[0].upper() + title[1:], about[0].upper() + about[1:]


def signature(name, function):
    words = [
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in inspect.signature(function).parameters.values()
    ]
    return f"{name}({', '.join(words)})"


def operator_of(op):
    """How Python's own signs write it, if they record it."""
    if not re.search(r"[-+*/%@<>=&\[]", re.sub(r"{\w+}|\w+=", "", op.template)) or op.variadic:
        return ""
    text = op.template.format(**{name: name for name in (*op.inputs, *op.defaults)})
    for data in (np.eye(2), 1.0):
        with Recorder().running(lines=False):
            try:
                y = eval(text, {}, {"index": 0, **{name: traced(data) for name in op.inputs}})  # noqa: S307 - a row's
            except (TypeError, ValueError):
                continue
        if getattr(y, "op", None) is op:
            return text
    return ""


def code(text):
    return f"`{text}`".replace("|", r"\|")


def table(heads, rows):
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


# -- one row ------------------------------------------------------------------------------------------------------


def shown_sample(op):
    """The sample that a row is shown by."""
    row = samples.ROWS[op.name]
    if op.name in SHOWN:
        return row.cases[SHOWN[op.name]]
    of_arrays = [case for case in row.cases if np.ndim(row.inputs(case)[0])]
    return row.cases[0] if row.elementwise or not of_arrays else of_arrays[0]


def formulas(op, case):
    """What each input is called, whether the formula is the local derivative alone, and the formula."""
    given = samples.with_values(op, samples.ROWS[op.name].inputs(case))
    y = samples.call(op, given, case.options)
    names = [f"{op.inputs[0]}[{i}]" for i in range(len(given))] if op.variadic else op.inputs

    def called(x):
        return "y" if x is y else next(name for name, v in zip(names, y.inputs, strict=True) if v is x)

    return [(called(x), partial.local, partial.formula) for x, partial in partials(y, called)]


def told_of(op, case):
    """The sample in words: shapes and options."""
    inputs = samples.ROWS[op.name].inputs(case)
    names = [f"{op.inputs[0]}[{i}]" for i in range(len(inputs))] if op.variadic else op.inputs
    words = [f"{name} {np.shape(x)}".replace(",)", ")") for name, x in zip(names, inputs, strict=True) if np.ndim(x)]
    words += [f"{name}={x!r}" for name, x in case.options.items()]
    return ", ".join(words)


def checked(op):
    """Hold all samples against finite differences, and say so."""
    if op.name in samples.WITHOUT_DERIVATIVE:
        return ""
    row = samples.ROWS[op.name]
    for case in row.cases:
        samples.check_sample(op.name, case)
    return f"order {row.order}<br>{len(row.cases)}\N{NO-BREAK SPACE}samples"


def entry(op, names):
    """A row's cells, and the formulas that are too long for one."""
    function = public(sys.modules[op.function.__module__]).get(op.name)
    call = f"**{code(signature(op.name, function or op.function))}**"
    sign = operator_of(op)
    head = ", ".join(filter(None, [call, sign and code(sign), "" if function else "*inside*"]))
    cell = [head, sentence(function or op.function)]
    derived, long = [], []
    if op.name in samples.WITHOUT_DERIVATIVE:
        derived.append("none")
    else:
        case = shown_sample(op)
        if sample := told_of(op, case):
            cell.append(f"*shown for* {code(sample)}")
        for name, local, formula in formulas(op, case):
            of = f"∂{'y' if local else 'L'}/∂{name}"
            if formula == "…":
                derived.append(f"{of}: more than 60 operations")
            elif len(formula) > LONGEST:
                derived.append(f"{of}: below")
                long.append(f"{of} of {op.name}:\n\n" + block(formula))
            else:
                derived.append(f"{of} = {code(formula)}")
    reached = ", ".join(map(code, names.get(op.name, ())))
    return ["<br>".join(cell), "<br>".join(derived), reached, checked(op)], long


def block(formula):
    lines = textwrap.wrap(formula, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(["```text", *lines, "```"])


def recorded(call):
    """The operations that a call records, in order, each once."""
    results = call()
    results = list(results) if isinstance(results, (list, tuple)) else [results]
    made = sorted({v for y in results for v in history(y)}, key=lambda v: v.tick)
    return list(dict.fromkeys(v.op.name for v in made))


# -- the page -----------------------------------------------------------------------------------------------------


def made():
    """The page as it would be today."""
    with np.errstate(all="ignore"):  # means over nothing, and points that formulas are printed at
        return "\n".join(_parts())


def _parts():
    names = numpy_names()
    besides = {}
    yield INTRODUCTION
    for module, rows in tables():
        title, about = headed(module)
        entries = [entry(op, names) for op in rows]
        yield f"## {title}\n\n{about}\n"
        yield table(["operation", "partials", "NumPy", "checked"], [cells for cells, _ in entries]) + "\n"
        yield from (f"{text}\n" for _, long in entries for text in long)
        besides |= {name: f for name, f in public(module).items() if name not in REGISTRY}
    besides |= {name: None for name in names if name.startswith("np.")}
    rows = []
    for name in sorted(besides):
        function = besides[name]
        call = [f"**{code(signature(name, function))}**", sentence(function)] if function else [f"**{code(name)}**"]
        rows.append(
            [
                "<br>".join(call),
                ", ".join(map(code, recorded(BESIDES_CALLS[name]))),
                ", ".join(map(code, names.get(name, ()))),
            ]
        )
    yield BESIDES
    yield table(["function", "records", "NumPy"], rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(made(), encoding="utf-8")
