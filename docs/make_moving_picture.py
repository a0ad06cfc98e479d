"""Makes the README's moving picture with the package as it is: `python docs/make_moving_picture.py`.

A neuron's backward pass, one partial at a time: an SVG that style sheets animate, because no script runs in a README.
What stands in the picture without the animation is its end, for readers who want no motion.
"""

import re
from html import escape
from pathlib import Path

import tinygrad_wb as wb
from tinygrad_wb.debug.listing import program_listing, source_listings
from tinygrad_wb.debug.picture import NOT_YET, pictured
from tinygrad_wb.debug.step import factor, in_words
from tinygrad_wb.draw.theme import in_the_dark, variables

PICTURE = Path(__file__).parent / "pictures" / "stepping.svg"
STILL = PICTURE.with_name("stepping_still.svg")
WIDTH, HEIGHT = 830, 590
SLOT = 2.4  # seconds for a step
HOLD = 2  # slots that the end stays
PANEL = 400  # where the texts at the right begin


def neuron():
    w, x, b = wb.Value(0.5, name="w"), 2.0, wb.Value(-0.3, name="b")
    with wb.source_lines():
        z = w * x + b
        h = wb.tanh(z)
        error = h - 1.0
        loss = error ** 2  # fmt: skip
    return loss  # noqa: RET504 - the name is what the picture calls it


class Clock:
    """The slots of the animation: one before the first step, one for each step, and the end."""

    def __init__(self, steps):
        self.slots = 1 + steps + HOLD
        self.rules = [f".t{{animation:{self.slots * SLOT:g}s step-end infinite}}"]

    def percent(self, slot):
        return f"{100 * min(slot / self.slots, 1):.2f}%"

    def class_of(self, start, end, during, otherwise, after=None):
        """A class with the properties ``during`` from slot to slot, ``otherwise`` before them and ``after`` after."""
        name = f"k{len(self.rules)}"
        frames = {self.percent(0): otherwise, self.percent(start): during}
        if end < self.slots:
            frames[self.percent(end)] = after or otherwise
        self.rules.append(
            f"@keyframes {name}{{{''.join(f'{at}{{{what}}}' for at, what in frames.items())}}}"
            f".{name}{{animation-name:{name}}}"
        )
        return f"t {name}"

    def seen(self, start, end=None):
        """A class of what is seen from one slot to another; without the animation, of what is there at the end."""
        end = self.slots if end is None else end
        still = "" if end >= self.slots else " gone"
        return self.class_of(start, end, "opacity:1", "opacity:0") + still


def with_gradients(svg, place, texts, clock):
    """The text of a gradient, once for each that it becomes: ``texts`` are (slot, text)."""
    ends = [slot for slot, _ in texts[1:]] + [clock.slots]
    found = re.search(rf'<text id="{place}" class="[^"]*"([^>]*)>[^<]*</text>', svg)
    rows = [
        f'<text class="gradient{" pending" * (text == NOT_YET)} {clock.seen(slot, end)}"{found[1]}>'
        f"{escape(text)}</text>"
        for (slot, text), end in zip(texts, ends, strict=True)
    ]
    return svg.replace(found[0], "".join(rows))


def card(step, count):
    """What is told of a step: (class, height, text) of each line."""
    y, x = step.trace.called(step.node), step.name
    return [
        ("count", 34, f"step {step.index + 1} of {count}"),
        ("code", 60, step.statement),
        ("formula", 98, f"∂L/∂{x} += ∂L/∂{y} · ∂{y}/∂{x}"),
        (
            "formula",
            124,
            f"∂{y}/∂{x} = {step.formula}"
            + (f" = {in_words(step.local)}" if step.formula != in_words(step.local) else ""),
        ),
        ("numbers", 156, f"{in_words(step.upstream)} · {factor(step.local)} = {in_words(step.contribution)}"),
    ]


def texts(lines, name):
    inside = "".join(f'<text class="{kind}" x="{PANEL}" y="{y}">{escape(text)}</text>' for kind, y, text in lines)
    return f'<g class="{name}">{inside}</g>'


def picture(moving):
    loss = neuron()
    stepper = wb.Stepper(loss)
    steps, clock = list(stepper), Clock(len(stepper))
    told = {x: [(0, NOT_YET)] for x in stepper.trace.to}
    told[loss] = [(0, "1")]
    for slot, step in enumerate(steps, 1):
        told[step.input].append((slot, in_words(step.after)))
    drawn = pictured(stepper, {x: [text for _, text in slots] for x, slots in told.items()}, 50, direction="BT")
    svg = drawn.svg
    for x, place in drawn.places.items():
        svg = with_gradients(svg, place, told[x], clock)
    for slot, step in enumerate(steps, 1):
        now = clock.class_of(
            slot, slot + 1, "stroke:var(--accent);stroke-width:3.2", "", "stroke:var(--gradient);stroke-width:1.7"
        )
        svg = svg.replace(f'<g id="{drawn.edges[step.index]}" class="edge"', f'<g class="edge {now}"')
        start = svg.index("<path ", svg.index(f'<g id="{drawn.boxes[step.input]}"'))
        outline = re.search(r' d="[^"]*"', svg[start:])[0]
        end = svg.index("/>", start) + 2
        svg = f'{svg[:end]}<path class="ring {clock.seen(slot, slot + 1)}"{outline}/>{svg[end:]}'
    end = [
        ("count", 34, "every gradient is there"),
        ("code", 60, "w ← w − η · ∂L/∂w"),
        *[
            ("formula", 98 + 26 * i, f"∂L/∂{stepper.trace.called(x)} = {in_words(stepper.finish()[x])}")
            for i, x in enumerate(leaves(stepper))
        ],
    ]
    start = [
        ("count", 34, "backprop"),
        ("code", 60, "∂L/∂loss = 1"),
        ("formula", 98, "from the loss back, one partial at a time"),
    ]
    cards = [texts(start, clock.seen(0, 1))]
    cards += [texts(card(step, len(steps)), clock.seen(slot, slot + 1)) for slot, step in enumerate(steps, 1)]
    cards.append(texts(end, clock.seen(len(steps) + 1)))
    return frame(svg, cards + code(stepper, clock), clock.rules if moving else [])


def leaves(stepper):
    return [x for x in stepper.trace.to if not x.inputs]


def code(stepper, clock):
    """The program that `loss.program()` prints, a line with each step; and the source, with the line that it is at."""
    program, source = program_listing(stepper, len(stepper)), source_listings(stepper, len(stepper))[0]
    slots = {n: [slot] for slot, numbers in enumerate(program.at, 1) for n in numbers}
    slots = {min(slots) - 1: [0], **slots}  # the loss's own is there from the start
    rows = [f'<text class="count" x="{PANEL}" y="206">the same, as Python</text>']
    for y, n in enumerate(sorted(slots)):
        rows += line(230 + 24 * y, dict(filter(None, program.lines))[n], slots[n], clock, clock.seen(slots[n][0]))
    rows.append(f'<text class="count" x="{PANEL}" y="434">your code</text>')
    lines = sorted({n for numbers in source.at for n in numbers})
    for y, n in enumerate(lines):
        slots_of_it = [slot for slot, numbers in enumerate(source.at, 1) if n in numbers]
        rows += line(458 + 24 * y, dict(filter(None, source.lines))[n], slots_of_it, clock, "")
    return rows


def line(y, text, slots, clock, seen):
    """A line of code, marked in some slots."""
    marks = [
        f'<rect class="marked {clock.seen(slot, slot + 1)}" x="{PANEL - 10}" y="{y - 17}" '
        f'width="{WIDTH - PANEL - 10}" height="24" rx="4"/>'
        for slot in slots
    ]
    return [*marks, f'<text class="line {seen}" x="{PANEL}" y="{y}">{escape(text.split("#")[0].strip())}</text>']


def frame(svg, parts, rules):
    """The whole picture: the graph at the left, what is told at the right."""
    wide, high = map(float, re.search(r'viewBox="[-\d.]+ [-\d.]+ ([\d.]+) ([\d.]+)"', svg).groups())
    scale = min((PANEL - 24) / wide, (HEIGHT - 8) / high)
    inside = svg[svg.index(">") + 1 : svg.rindex("</svg>")]
    inside = re.sub(r' font-family="[^"]*"| id="[^"]*"|<a [^>]*>|</a>', "", inside)
    at = f"translate({(PANEL - 16 - wide * scale) / 2:.1f} {(HEIGHT - high * scale) / 2:.1f}) scale({scale:.3f})"
    style = "\n".join([
        variables("light"), in_the_dark(),
        "text{font-family:Helvetica,Arial,sans-serif}.gone{opacity:0}.gradient{fill:var(--gradient);font-weight:bold}",
        ".gradient.pending{fill:var(--faint);font-weight:normal;font-style:italic}.ground{fill:var(--ground);stroke:var(--line)}",
        ".count{fill:var(--accent);font-size:13px;letter-spacing:.05em}",
        ".code,.formula,.numbers,.line{font-family:ui-monospace,Menlo,Consolas,monospace;fill:var(--ink);font-size:14.5px;white-space:pre}",
        ".code{font-size:19px;font-weight:bold}.numbers{fill:var(--accent);font-weight:bold;font-size:17px}.marked{fill:var(--marked)}",
        ".edge path,.edge polygon:first-of-type{stroke:inherit;stroke-width:inherit}",
        ".edge{stroke:#8a95a1}.edge text{stroke:none}",
        "svg .node path.ring{fill:none;stroke:var(--accent);stroke-width:3.4}",
        *rules,
        "@media (prefers-reduced-motion:reduce){.t{animation:none}}",
    ])  # fmt: skip
    title = "The backward pass of a neuron, one partial derivative at a time"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{title}">\n<title>{title}</title>\n<style>{style}</style>\n'
        f'<rect class="ground" x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="10"/>\n'
        f'<g transform="{at}">{inside}</g>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    PICTURE.write_text(picture(moving=True), encoding="utf-8")
    STILL.write_text(picture(moving=False), encoding="utf-8")
