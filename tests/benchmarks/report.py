"""The results as a page of Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import machine
from peers import OURS, PEERS
from targets import IMPORTING, TARGETS
from turns import ratio
from work import CHECKED, THREADS, WORK, Net

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from turns import Outcome, Results

COMMAND = 'python -m pip install ".[bench]" && python tests/benchmarks/run.py'


def number(x: float) -> str:
    """Three digits, and no fewer before the point."""
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}" if x >= 10 else f"{x:.2f}"


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


def nets(results: Results) -> str:
    names = [work.name for work in WORK if isinstance(work, Net) and work.name in results]
    if not names:
        return ""
    titles = [peer.title for peer in PEERS if any(peer.title in results[name] for name in names)]
    times = table(["", *names], [[title, *(cell(results[n].get(title)) for n in names)] for title in titles])
    others = [title for title in titles if title != OURS]
    ratios = [[f"÷ {title}", *(_ratio(results[n], title) for n in names)] for title in others]
    return f"""## One training step

Forward, backward and SGD update in float32, on {THREADS} threads, relu between the layers; binary cross-entropy for the one
output, cross-entropy for ten. Median time in µs, and the least and most of the rounds:

{times}

The time of `{OURS}` divided by each peer's (below 1, `{OURS}` is faster):

{table(["", *names], ratios)}
"""


def _ratio(outcomes: dict[str, Outcome], title: str) -> str:
    value = ratio(outcomes, OURS, title)
    return "–" if value is None else f"{value:.2f}"


def scalars(results: Results) -> str:
    rows = []
    for work in WORK:
        if isinstance(work, Net) or work.name not in results:
            continue
        outcomes = results[work.name]
        factor = ratio(outcomes, "micrograd", OURS)
        times = "–" if factor is None else f"{factor:.1f}"
        rows.append([work.name, work.unit, cell(outcomes.get(OURS)), cell(outcomes.get("micrograd")), times])
    if not rows:
        return ""
    return f"""## Graphs of scalars

micrograd's own demo, one training step over 100 samples with every number a `Value` (garbage collector as Python sets it), and what
one operation of a live graph holds in memory:

{table(["", "unit", OURS, "micrograd", f"micrograd ÷ {OURS}"], rows)}
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


def quiet(results: Results) -> str:
    outcomes = [outcome for name in results if name != IMPORTING for outcome in results[name].values()]
    disturbed, turns = sum(o.disturbed for o in outcomes), sum(len(o.rounds) for o in outcomes)
    return f"Other programs used the processors during {disturbed} of the {turns} turns." if turns else ""


def page(results: Results) -> str:
    """The whole page."""
    versions = [[p.title, f"{p.package} {p.version}" if p.version else "not installed"] for p in PEERS]
    return "\n".join(
        part
        for part in (
            f"""# Performance

Written by a run of this command; run it to have your own machine's figures:

    {COMMAND}

Every framework has a process of its own. They take turns, round after round, with a pause between, so that none is disturbed by
another's threads and all see the same state of the machine. All start from the same weights, and the losses of each one's first
{CHECKED} steps are held against a reference: who computes something else gets an error here, not a time. Ratios are
taken round by round; shown is their median. Absolute times are this machine's, ratios travel better. {quiet(results)}
""",
            goals(results),
            nets(results),
            scalars(results),
            imports(results),
            "## Measured with\n",
            table(["", ""], [*machine.facts().items()]) + "\n",
            table(["peer", "version"], versions) + "\n",
        )
        if part
    )
