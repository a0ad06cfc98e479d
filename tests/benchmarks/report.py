"""The results as a page of Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import machine
import moons
from layered import Layered
from peers import COMPILED, FOLLOWED, KNOWN, OURS, PEERS, PROMISED
from targets import IMPORTING, TARGETS
from turns import ratio
from work import (
    AROUND,
    CHAIN,
    CHAIN_MEMORY,
    CHECKED,
    CURVATURE,
    FIT,
    GUARDING,
    LETTERS,
    MOONS,
    OWN,
    ROW,
    SCALAR_MEMORY,
    STEP_MEMORY,
    THREADS,
    TRANSFORMER,
    WORK,
    Compiling,
    Net,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from turns import Outcome, Results

COMMAND = 'python -m pip install ".[bench]" && python tests/benchmarks/run.py'
BELOW = "below 1, this package is faster"


def number(x: float) -> str:
    """Three digits, and no fewer before the point."""
    size = abs(x)
    return f"{x:,.0f}" if size >= 100 else f"{x:.1f}" if size >= 10 else f"{x:.2f}"


def cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return ""
    if outcome.problem or not outcome.rounds:
        return (outcome.problem or "").replace("|", r"\|")
    spread = f" ({number(min(outcome.rounds))}–{number(max(outcome.rounds))})" if len(outcome.rounds) > 1 else ""
    return f"**{number(outcome.median)}**{spread}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def quotient(outcomes: dict[str, Outcome], of: str, to: str) -> str:
    value = ratio(outcomes, of, to)
    return "–" if value is None else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def took_part(results: Results, names: Iterable[str]) -> list[str]:
    """The peers that any of this work was asked of."""
    names = list(names)
    return [peer.title for peer in PEERS if any(peer.title in results[name] for name in names)]


def of_each(work: Any, results: Results) -> str:
    """One piece of work: what each peer took, and what ours is of that, as it is and promised."""
    outcomes = results[work.name]
    rows = []
    for title in took_part(results, [work.name]):
        ratios = ["" if title == ours else quotient(outcomes, ours, title) for ours in (OURS, PROMISED)]
        rows.append([title, cell(outcomes[title]), *ratios])
    return table(["", work.unit, f"{OURS} ÷ it", f"{PROMISED} ÷ it"], rows)


# -- sections ---------------------------------------------------------------------------------------------------


def net_names(results: Results) -> list[str]:
    return [work.name for work in WORK if type(work) is Net and work.name in results]


def summary(results: Results) -> str:
    names = net_names(results)
    titles = took_part(results, names)
    rows = []
    for ours in (PROMISED, FOLLOWED, OURS):
        others = [title for title in titles if title not in COMPILED and title != ours]
        if ours in titles:
            rows += [[f"{ours} ÷ {title}", *(quotient(results[n], ours, title) for n in names)] for title in others]
    return (
        f"""## In short

The time of one training step divided by each peer's ({BELOW}):

{table(["", *names], rows)}
"""
        if rows
        else ""
    )


def nets(results: Results) -> str:
    names = net_names(results)
    if not names:
        return ""
    rows = [[title, *(cell(results[n].get(title)) for n in names)] for title in took_part(results, names)]
    return f"""## One training step

Forward, backward and SGD update in float32, on {THREADS} threads, relu between the layers; binary cross-entropy for the one
output, cross-entropy for ten. Median time in µs, and the least and most of the rounds:

{table(["", *names], rows)}
"""


def layered(results: Results) -> str:
    parts = [
        f"{work.description}; batch {work.batch}:\n\n{of_each(work, results)}\n"
        for work in WORK
        if isinstance(work, Layered) and work.name in results
    ]
    head = "## Other layers\n\nOne training step as above, of networks with other layers than dense ones.\n"
    return "\n".join([head, *parts]) if parts else ""


def ways(results: Results) -> str:
    works = [work for work in (*OWN, LETTERS, TRANSFORMER) if work.name in results]
    if not works:
        return ""
    titles = [title for title in (OURS, *COMPILED) if title in took_part(results, [work.name for work in works])]
    rows = [[title, *(cell(results[work.name].get(title)) for work in works)] for title in titles]
    ratios = [
        [f"{title} ÷ {OURS}", *(quotient(results[work.name], title, OURS) for work in works)] for title in titles[1:]
    ]
    return f"""## The ways of compiling

One training step as above, in each way that this package has: as it is, under `wb.compile` (followed), as `fit` trains models
of its own layers (known), and under `wb.compile(…, pure=True)` (promised); mean squared error for the one output. The
GPT is a class of the benchmark's own, so it is not known. Median time in µs:

{table(["", *(work.name for work in works)], [*rows, *ratios])}
"""


def beside(results: Results) -> str:
    rows = [[work.name, cell(results[work.name].get(FOLLOWED))] for work in AROUND if work.name in results]
    if GUARDING.name in results:
        rows.append([GUARDING.name, cell(results[GUARDING.name].get(KNOWN))])
    return (
        f"""## What compiling looks at

How much longer a followed call takes than the function as it is, if there is much around the function that it uses a
small piece of; and how long the known way looks, in each call, whether a network is as it was:

{table(["", AROUND[0].unit], rows)}
"""
        if rows
        else ""
    )


def curvature(results: Results) -> str:
    if CURVATURE.name not in results:
        return ""
    return f"""## Second derivatives

The Hessian of the loss of {CURVATURE.net.name}, by all its {CURVATURE.point().size:,} weights as one flat array, times a direction: `wb.hvp`,
`autograd.hessian_vector_product`, `torch.autograd.functional.vhp`, and JAX's `jvp` of `grad`, jitted:

{of_each(CURVATURE, results)}
"""


def memory(results: Results) -> str:
    if STEP_MEMORY.name not in results:
        return ""
    return f"""## Memory of training

By how many MB the process grows, at its largest, in the first {STEP_MEMORY.steps} steps of {STEP_MEMORY.net.name}. Data and weights
({_weights_mb():.0f} MB) are there before, and do not count; what compiling needs does.

{of_each(STEP_MEMORY, results)}
"""


def _weights_mb() -> float:
    return sum(w.nbytes + b.nbytes for w, b in STEP_MEMORY.net.layers()) / 1e6


def fitting(results: Results) -> str:
    if FIT.name not in results:
        return ""
    rows = [[title, cell(results[FIT.name][title])] for title in took_part(results, [FIT.name])]
    return f"""## Training by `fit`

What `fit` takes for each batch, shuffling and gathering it included, beyond what a step by hand takes on a batch that
is there already; {FIT.net.name}, {FIT.batches} batches in an epoch, no metrics, no progress bar:

{table(["", FIT.unit], rows)}
"""


def one_row(results: Results) -> str:
    if ROW.name not in results:
        return ""
    return f"""## One row through a net

Scores of a single row by {"-".join(map(str, ROW.net.sizes))} in float32, nothing recorded (`wb.no_grad()`, `torch.inference_mode()`):

{of_each(ROW, results)}
"""


def chains(results: Results) -> str:
    parts = []
    if CHAIN.name in results:
        parts.append(f"""20 cheap elementwise operations, one after another, on {CHAIN.size:,} float32, forward only. Written by hand they are 20
NumPy calls, each with a fresh result:

{of_each(CHAIN, results)}
""")
    if CHAIN_MEMORY.name in results:
        parts.append(f"""The memory they need beyond their input, at the most during a call, in arrays of {4 * CHAIN.size / 1e6:g} MB; what is kept from
call to call counts too. As NumPy reports it, so of those that work in NumPy's memory only:

{of_each(CHAIN_MEMORY, results)}
""")
    return "\n".join(["## Elementwise operations\n", *parts]) if parts else ""


def scalars(results: Results) -> str:
    rows = []
    for work in (MOONS, SCALAR_MEMORY):
        if work.name in results:
            outcomes = results[work.name]
            cells = [cell(outcomes.get(title)) for title in (OURS, PROMISED, "micrograd")]
            factors = [quotient(outcomes, "micrograd", ours) for ours in (OURS, PROMISED)]
            rows.append([work.name, work.unit, *cells, *factors])
    if not rows:
        return ""
    head = ["", "unit", OURS, PROMISED, "micrograd", f"micrograd ÷ {OURS}", f"micrograd ÷ {PROMISED}"]
    return f"""## Graphs of scalars

micrograd's own demo, one training step over {moons.SAMPLES} samples with every number a `Value` (garbage collector as Python sets it), and what
one operation of a live graph holds in memory:

{table(head, rows)}
"""


def compiling(results: Results) -> str:
    rows = []
    for work in WORK:
        if isinstance(work, Compiling) and work.name in results:
            outcomes, count = results[work.name], moons.operations(work.samples)
            ours = outcomes.get(PROMISED)
            each = f"{ours.median / count * 1e6:.1f}" if ours and ours.rounds else "–"
            cells = [cell(outcomes.get(title)) for title in (PROMISED, OURS, "micrograd")]
            rows.append(
                [
                    f"{work.samples} samples, {count:,} operations",
                    cells[0],
                    each,
                    *cells[1:],
                    quotient(outcomes, PROMISED, "micrograd"),
                ]
            )
    if not rows:
        return ""
    head = [
        "",
        f"{PROMISED}, s",
        "µs per operation",
        f"a step of {OURS}, s",
        "a step of micrograd, s",
        f"{PROMISED} ÷ a step of micrograd",
    ]
    return f"""## Compiling graphs of scalars

Seconds that the same demo takes until it is compiled: its first step. Beside it, one step of those that compile
nothing.

{table(head, rows)}
"""


def imports(results: Results) -> str:
    if IMPORTING not in results:
        return ""
    rows = [[name, cell(outcome)] for name, outcome in results[IMPORTING].items()]
    return f"""## Import

Whole processes, started in turn, in ms:

{table(["", "ms"], rows)}
"""


def goals(results: Results) -> str:
    rows = []
    for target in TARGETS:
        if target.work in results:
            got = target.measured(results)
            unit = "" if target.unit == "×" else f" {target.unit}"
            rows.append([str(target), "–" if got is None else f"{got:.2f}{unit}", target.verdict(results)])
    return f"## Targets\n\n{table(['target', 'measured', ''], rows)}\n" if rows else ""


def measured_with(results: Results, env: Mapping[str, str]) -> str:
    rows = []
    for peer in PEERS:
        outcomes = [of[peer.title] for name, of in results.items() if name != IMPORTING and peer.title in of]
        kernels = sorted(set().union(*(outcome.kernels for outcome in outcomes)))
        version = f"{peer.package} {peer.version}" if peer.version else "not installed"
        rows.append([peer.title, version, "; ".join(kernels) or "–"])
    return f"""## Measured with

{table(["", ""], [*machine.facts(env).items()])}

The kernels are those that each peer's own processes said they ran:

{table(["peer", "version", "matrix products"], rows)}
"""


def quiet(results: Results) -> str:
    outcomes = [outcome for name in results if name != IMPORTING for outcome in results[name].values()]
    disturbed, turns = sum(o.disturbed for o in outcomes), sum(len(o.rounds) for o in outcomes)
    return f"Other programs used the processors during {disturbed} of the {turns} turns." if turns else ""


def introduction(results: Results) -> str:
    return f"""# Performance

Written by a run of this command; run it to have your own machine's figures:

    {COMMAND}

`{OURS}` is this package in eager mode. Our other entries are compiled: `{FOLLOWED}` is the same code
under `wb.compile`, `{PROMISED}` under `wb.compile(…, pure=True)`, `{KNOWN}` what `fit` does with the package's own layers.

Every framework has a process of its own. They take turns, round after round, with a pause between, so that none is disturbed by
another's threads and all see the same state of the machine. All start from the same weights, and the losses of each one's first
{CHECKED} steps are held against a reference: who computes something else gets an error here, not a time. Ratios are
taken round by round; shown is their median. Absolute times are this machine's, ratios travel better. {quiet(results)}
"""


SECTIONS = (
    introduction,
    summary,
    goals,
    nets,
    layered,
    ways,
    beside,
    curvature,
    memory,
    fitting,
    one_row,
    chains,
    scalars,
    compiling,
    imports,
)


def page(results: Results, env: Mapping[str, str]) -> str:
    """The whole page; ``env`` is the environment of the processes that were measured."""
    return "\n".join([*filter(None, (section(results) for section in SECTIONS)), measured_with(results, env)])
