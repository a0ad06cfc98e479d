"""A backward pass as one HTML file: the graph, the program, the source and the numbers move together, step by step.

All that is told stands in the page as text from the start; the script only says which of it is seen. So it reads
without JavaScript too, as the first frame and a transcript of every step.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

from tinygrad_wb.atomic import write
from tinygrad_wb.debug.explain import explained_by
from tinygrad_wb.debug.listing import Listing, program_listing, source_listings
from tinygrad_wb.debug.picture import NOT_YET, pictured
from tinygrad_wb.debug.step import block, factor, in_words
from tinygrad_wb.debug.stepper import Stepper
from tinygrad_wb.draw.formula import G, typeset
from tinygrad_wb.draw.frame import TOOLS, document
from tinygrad_wb.draw.render import PATIENCE, LayoutTimeoutError, RendererNotFoundError
from tinygrad_wb.draw.theme import in_the_dark, variables
from tinygrad_wb.draw.wording import cropped, value_text
from tinygrad_wb.program.names import variables_in

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator
    from pathlib import Path

    from tinygrad_wb.debug.explain import Explanation
    from tinygrad_wb.debug.explain import Path as Way
    from tinygrad_wb.debug.step import Step
    from tinygrad_wb.value import Value

__all__ = ["in_notebook", "page_text", "save_page"]

PLACE_LENGTH = 80  # letters of a layer's path
WAYS = 3  # the strongest of a Value's, told each
WAY_LENGTH = 8  # names on a way that are told
EFFORT = 40_000  # steps walked to find ways, in all: beyond it Values have their contributions alone


def save_page(
    loss: Value | Stepper,
    path: str | os.PathLike[str],
    seed: Any = None,
    *,
    max_steps: int = 300,
    max_nodes: int = 150,
    timeout: float = PATIENCE,
) -> Path:
    """Write the backward pass of ``loss`` as a page to step through, one HTML file, and return its path.

    ``loss`` is a Value, with ``seed`` as for ``backward()``, or a `Stepper`, whose edits then count, and where the page
    opens. Every ``.grad`` stays as it is. Record the loss under ``with wb.source_lines():`` to see the source on it. Of
    more than ``max_steps`` steps the first are told one by one, and the rest at once; of a graph of more than
    ``max_nodes`` nodes, layers are closed and repeats folded, as in `draw`; the layout may take
    ``timeout`` seconds. The page says what was left out.
    """
    for name, count in (("max_steps", max_steps), ("max_nodes", max_nodes)):
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"save_page({name}={count!r:.60}): a whole number, at least 1")
    stepper = loss if isinstance(loss, Stepper) else Stepper(loss, seed, variables=variables_in(sys._getframe(1)))
    return write(path, page_text(stepper, max_steps, max_nodes, timeout).encode())


def page_text(stepper: Stepper, max_steps: int = 300, max_nodes: int = 150, timeout: float = PATIENCE) -> str:
    """The page of a stepper, which opens where that stands."""
    return _Page(stepper, max_steps, max_nodes, timeout).text()


def in_notebook(stepper: Stepper) -> dict[str, str]:
    """What a notebook shows: the page, in a frame of its own so that its names and keys are; and text."""
    shown = {"text/plain": repr(stepper)}
    with contextlib.suppress(RendererNotFoundError, LayoutTimeoutError):
        shown["text/html"] = FRAME.format(escape(page_text(stepper)))
    return shown


FRAME = (
    '<iframe srcdoc="{}" title="Backprop, step by step" sandbox="allow-scripts" '
    'style="width:100%;height:720px;border:1px solid #8884;border-radius:8px"></iframe>'
)


@dataclass
class _Told:
    """A Value's gradient as the page tells it: ``texts`` from the ``stops`` on at which they begin."""

    value: Value
    stops: list[int] = field(default_factory=lambda: [0])
    texts: list[str] = field(default_factory=lambda: [NOT_YET])


class _Page:
    """All that one page is made from.

    A stop is a position that the page shows: 0, 1, 2 … as far as steps are told one by one, and the end.
    """

    def __init__(self, stepper: Stepper, max_steps: int, max_nodes: int, timeout: float) -> None:
        self.stepper, self.trace = stepper, stepper.trace
        self.steps = list(itertools.islice(stepper, max_steps))
        self.left = len(stepper) - len(self.steps)
        self.stops = [*range(len(self.steps) + 1), *([len(stepper)] if self.left else [])]
        self.finished = stepper._scout().gradients
        self.told = self._texts()
        texts = {x: told.texts for x, told in self.told.items()}
        self.picture = pictured(stepper, texts, max_nodes, timeout)
        drawn, late = self.picture.boxes, len(self.steps) + 1
        self.told = {x: told for x, told in self.told.items() if x in drawn or told.stops[1:] != [late]}
        self.numbers = {x: i for i, x in enumerate(self.told)}
        self.program = program_listing(stepper, len(self.steps))
        program = [self.program] if isinstance(self.program, Listing) else []
        self.listings = [*program, *source_listings(stepper, len(self.steps))]
        few = len(self.told) * len(self.trace) <= EFFORT
        self.explanations = {
            x: explained_by(stepper, x, paths=WAYS) for x in self.told if few and x is not stepper.loss
        }

    def _texts(self) -> dict[Value, _Told]:
        """What is told of each gradient, from each stop on."""
        told = {x: _Told(x) for x in self.trace.to}
        told[self.stepper.loss].texts = [in_words(self.stepper.from_the_start().gradients[self.stepper.loss])]
        for stop, step in enumerate(self.steps, 1):
            number, of = step.contribution_number, step.contributions
            told[step.input].stops.append(stop)
            told[step.input].texts.append(_slope(step.after) + (f" ({number} of {of})" if number < of else ""))
        if self.left:
            for x in {self.trace.input(i) for i in range(len(self.steps), len(self.trace))}:
                told[x].stops.append(len(self.stops) - 1)
                told[x].texts.append(_slope(self.finished[x]))
        return told

    # -- the whole --------------------------------------------------------------------------------------------------

    def text(self) -> str:
        loss = self.trace.called(self.stepper.loss)
        count = f"{len(self.trace):,} step{'s' * (len(self.trace) != 1)}"
        title = f"Backprop of {loss} = {in_words(self.stepper.loss._data)}, in {count}"
        body = BODY.format(
            title=f"Backprop of <b>{escape(loss)}</b> = {escape(in_words(self.stepper.loss._data))}",
            tools=TOOLS.format(before=""), picture=self.picture.svg, last=len(self.stops) - 1,
            steps="\n".join(self._items()), listings="\n".join(map(_listing, range(len(self.listings)), self.listings)),
            rows="\n".join(self._rows()), whys="\n".join(map(self._why, self.told)), remarks=self._remarks(),
        )  # fmt: skip
        colors = "\n".join([variables("light"), in_the_dark()])
        return document(title, body, self._data(), colors, "tinygrad_wb.debug", "light dark")

    def _remarks(self) -> str:
        remarks = list(self.picture.remarks)
        if self.left:
            remarks.append(
                f"{len(self.trace):,} steps: the first {len(self.steps):,} are told one by one, "
                f"the other {self.left:,} at once; "
                f"{len(self.trace.to) - len(self.told):,} later gradients are not listed."
            )
        if isinstance(self.program, str):
            remarks.append(f"The program is not shown: {self.program}.")
        if all(self.trace.line(step.node) is None for step in self.steps) and self.steps:
            remarks.append("Your source is not shown: record the loss under “with wb.source_lines():” to see it here.")
        if self.steps and not self.explanations:
            remarks.append(
                "Of each gradient its contributions are told, and not the paths that they came by: there are too many."
            )
        if self.stepper.edits:
            remarks.append("Gradients were edited. The paths that are told are those without edits.")
        return "\n".join(f"<p>{escape(remark)}</p>" for remark in remarks)

    def _data(self) -> dict[str, Any]:
        """What the script reads: ids and texts of gradients."""
        picture, steps = self.picture, self.steps
        start = self.stepper.position
        return {
            "stops": self.stops,
            "start": max(i for i, stop in enumerate(self.stops) if stop <= start),
            "values": [
                {"box": picture.boxes.get(x, ""), "place": picture.places.get(x, ""), "name": self.trace.called(x),
                 "stops": told.stops, "texts": told.texts,
                 "count": len(self.trace.to[x]), "way": self._strongest_way(x)}
                for x, told in self.told.items()
            ],
            "edges": picture.edges[: len(steps)],
            "boxes": [[picture.boxes.get(step.node, ""), picture.boxes.get(step.input, "")] for step in steps],
            "inputs": [self.numbers[step.input] for step in steps],
            "lines": [[f"l{i}-{n}" for i, at in enumerate(lines) for n in at] for lines in self._lines()],
        }  # fmt: skip

    def _lines(self) -> list[list[list[int]]]:
        """For each step, and each listing, the numbers of the lines that it is at."""
        return [[listing.at[k] for listing in self.listings] for k in range(len(self.steps))]

    def _strongest_way(self, x: Value) -> list[str]:
        """The edges of the strongest path from the loss, those that are drawn."""
        ways = self.explanations[x].paths if x in self.explanations else []
        return [edge for step in ways[0].steps if (edge := self.picture.edges[step.index])] if ways else []

    # -- steps --------------------------------------------------------------------------------------------------------

    def _items(self) -> Iterator[str]:
        """What is told at each stop."""
        loss = self.trace.called(self.stepper.loss)
        first = in_words(self.finished[self.stepper.loss])
        yield _item(
            0, f"The start. The gradient of {loss} with respect to itself is {first}.",
            f"<h2>At the start</h2><p class='chain'>∂L/∂{escape(loss)} = <b>{escape(first)}</b></p>"
            f"<p class='hint'>L = {escape(loss)}. Each step multiplies a gradient by one local derivative, "
            "and adds the product to the gradient of an input.</p>",
        )  # fmt: skip
        for stop, step in enumerate(self.steps, 1):
            yield _item(stop, self._said(step), self._step(step))
        if self.left:
            told = f"{self.left:,} more steps, to the end"
            yield _item(self.stops[-1], told, f"<h2>{told}</h2><p class='hint'>They are not told one by one.</p>")

    def _said(self, step: Step) -> str:
        which = f", contribution {step.contribution_number} of {step.contributions}" if step.contributions > 1 else ""
        return (
            f"Step {step.index + 1} of {len(self.trace)}: {step.statement}. The gradient of {step.name} gets "
            f"{in_words(step.contribution)}{which}, and is now {in_words(step.after)}."
        )

    def _step(self, step: Step) -> str:
        y, x = self.trace.called(step.node), step.name
        dy, dx, slope = f"∂L/∂{y}", f"∂L/∂{x}", f"∂{y}/∂{x}"
        upstream, got = in_words(step.upstream), in_words(step.contribution)
        if step.is_local:
            local = "" if step.local is None else in_words(step.local)
            rows = [("upstream", dy, upstream)]
            rows.append(("local", f"{slope} = {step.formula}" if step.formula != local else slope, local))
            chain = f"{dx} += {dy} · {slope}"
            if type(step.local) is float and type(step.contribution) is float:
                got = f"{upstream} · {factor(step.local)} = {got}"
        else:
            made = step.formula or f"what {step.op.name} makes of {G}"
            rows = [("upstream", f"{G} = {dy}", upstream), ("local", f"{G} ↦ {made}", "")]
            chain = f"{dx} += {made}"
        before = "0" if step.before is None else _slope(step.before)
        number = f"contribution {step.contribution_number} of {step.contributions}" + ", edited" * step.edited
        place = [step.line.short] if step.line else []
        place += [f"in {cropped(step.layer, PLACE_LENGTH)}"] if step.layer else []
        terms = " ".join(f"<span>{escape(term)}</span>" for term in chain.split())
        numbers = "\n".join(block(step.after))
        parts = [
            f"<h2><span>Step {step.index + 1} of {len(self.trace):,}</span> <code>{escape(step.statement)}</code></h2>",
            f"<p class='place'>{escape(' '.join(place))}</p>" if place else "",
            f"<p class='chain'>{terms}<br><b>{escape(got)}</b></p>",
            f"<dl>{''.join(_row(*row) for row in rows)}<dt>total</dt><dd><span>{escape(dx)}</span> ",
            f"<b>{escape(before)} → {escape(_slope(step.after))}</b><small>{number}</small></dd></dl>",
            f"<pre>{escape(numbers)}</pre>" if numbers else "",
        ]
        return "".join(parts)

    # -- Values -------------------------------------------------------------------------------------------------------

    def _rows(self) -> Iterator[str]:
        """The table of gradients, as they are at the end."""
        for x, told in self.told.items():
            i = self.numbers[x]
            yield (
                f"<tr><th scope='row'><a href='#why-{i}'>{escape(self.trace.called(x))}</a></th>"
                f"<td>{escape(_slope(x._data))}</td><td class='slope' id='v{i}'>{escape(told.texts[-1])}</td></tr>"
            )

    def _why(self, x: Value) -> str:
        """Where a gradient came from: its contributions, and the strongest paths."""
        name, i = escape(self.trace.called(x)), self.numbers[x]
        gradient = in_words(self.finished[x]) if x in self.finished else NOT_YET
        parts = [f"<h3>Where ∂L/∂{name} = <b>{escape(gradient)}</b> comes from</h3>"]
        mine = [index for index in self.trace.to[x] if index < len(self.steps)]
        rows = [
            f"<li><a href='#step={index + 1}'>step {index + 1}</a> <code>{escape(self.steps[index].statement)}</code> "
            f"<b>{escape(in_words(self.steps[index].contribution))}</b></li>"
            for index in mine
        ]
        later = len(self.trace.to[x]) - len(mine)
        if later:
            rows.append(f"<li>{later:,} later contribution{'s' * (later != 1)}</li>")
        if not rows:
            rows.append("<li>It is where the backward pass starts.</li>")
        parts.append(f"<ul>{''.join(rows)}</ul>")
        if x in self.explanations:
            parts.append(_ways(self.explanations[x]))
        return f"<section class='why' id='why-{i}' tabindex='-1'>{''.join(parts)}</section>"


def _item(stop: int, said: str, inside: str) -> str:
    return f'<li id="step={stop}" data-said="{escape(said)}">{inside}</li>'


def _row(word: str, text: str, value: str) -> str:
    shown = f" <b>= {escape(value)}</b>" if value else ""
    return f"<dt>{word}</dt><dd><span>{escape(text)}</span>{shown}</dd>"


def _ways(explanation: Explanation) -> str:
    """The strongest paths to a Value: the names along each, and the product of the local derivatives."""
    count, shown = explanation.count, len(explanation.paths)
    few = (
        f"the {shown} strongest of {count:,} paths from L"
        if shown < count
        else f"{count} path{'s' * (count != 1)} from L"
    )
    rows = []
    for way in explanation.paths:
        names = [explanation.trace.called(explanation.trace.result), *[step.name for step in way.steps]]
        if len(names) > WAY_LENGTH:
            names = [*names[: WAY_LENGTH // 2], "…", *names[-WAY_LENGTH // 2 :]]
        rows.append(f"<li>{escape(' ← '.join(names))}<br><b>{escape(_product(way))}</b></li>")
    return f"<p>By {few}:</p><ol>{''.join(rows)}</ol>"


def _product(way: Way) -> str:
    """``−1.2 · 2 = −2.4``; of arrays what came by that way."""
    factors = [step.local for step in way.steps]
    seed = way.steps[0].upstream
    factors[:0] = [] if type(seed) is float and seed == 1.0 else [seed]
    if len(factors) > WAY_LENGTH or not all(type(x) is float for x in factors):
        return in_words(way.contribution)
    return f"{' · '.join(map(factor, factors))} = {in_words(way.contribution)}"


def _listing(number: int, listing: Listing) -> str:
    lines = [
        "<span class='gap'>…</span>"
        if line is None
        else f"<span id='l{number}-{line[0]}' data-n='{line[0]}'>{escape(line[1])}\n</span>"
        for line in listing.lines
    ]
    title = "The program" if listing.title == "program" else escape(listing.title)
    text = f"<pre tabindex='0' aria-label='{title}'>{''.join(lines)}</pre>"
    return f"<section class='listing'><h3>{title}</h3>{text}</section>"


def _slope(gradient: Any) -> str:
    return typeset(value_text(gradient))


BODY = """<header>
<h1>{title}</h1>
<p class="keys">← → step · Space plays · click a box to ask where its gradient came from</p>
{tools}
</header>
<main>
<figure id="picture" aria-label="The graph">{picture}</figure>
<div id="panel">
<ol id="steps">
{steps}
</ol>
<div id="whys">
{whys}
</div>
<table id="values"><caption>Gradients</caption>
<thead><tr><th scope="col">∂L/∂…</th><th scope="col">value</th><th scope="col">gradient</th></tr></thead>
<tbody>
{rows}
</tbody></table>
<div id="remarks">{remarks}</div>
</div>
<div id="listings">
{listings}
</div>
</main>
<nav id="controls" aria-label="Steps" hidden>
<button id="first" title="The start (Home)" aria-label="The start">⏮</button>
<button id="back" title="A step back (←)" aria-label="A step back">◀</button>
<button id="play" title="Play or pause (Space)">Play</button>
<button id="next" title="The next step (→)" aria-label="The next step">▶</button>
<button id="last" title="The end (End)" aria-label="The end">⏭</button>
<input id="slider" type="range" min="0" max="{last}" value="0" aria-label="Step">
<output id="count" for="slider"></output>
<label><span class="word">speed </span><select id="speed" aria-label="Speed">
<option value="2">½</option><option value="1" selected>1</option>
<option value="0.5">2</option><option value="0.25">4</option>
</select></label>
</nav>
<p id="spoken" role="status" aria-live="polite"></p>"""
