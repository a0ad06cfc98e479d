"""A drawing as one HTML file: pan, zoom, open and close layers, click a node to read all that is known of it.

It needs no network and no server; without JavaScript it is the picture and its text. Each way that layers can stand
open is laid out beforehand, because a browser has no Graphviz.
"""

from __future__ import annotations

import itertools
from html import escape
from typing import TYPE_CHECKING, Any

from tinygrad_wb.draw.dot import dot_text
from tinygrad_wb.draw.frame import TOOLS, document, picture
from tinygrad_wb.draw.graph import closed
from tinygrad_wb.draw.render import render
from tinygrad_wb.draw.theme import variables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tinygrad_wb.draw.drawing import Drawing
    from tinygrad_wb.draw.graph import Graph

__all__ = ["page_text"]

VIEWS = 12  # ways to stand open that are laid out one by one; with more layers, only some of them


def page_text(drawing: Drawing, timeout: float) -> str:
    """The page of a drawing."""
    whole = drawing.opened
    first = _standing_open(whole, drawing.graph)
    views = _views(whole, first)
    svgs = []
    for view in views:
        svg = render(dot_text(closed(whole, view), drawing.direction, drawing.theme), "svg", timeout).decode()
        svgs.append(picture(svg))
    pictures = "\n".join(
        f'<template data-open="{" ".join(sorted(view))}">{svg}</template>'
        for view, svg in zip(views, svgs, strict=True)
    )
    title = next((node.statement for node in reversed(drawing.graph.nodes)), "")
    body = BODY.format(
        title=escape(title),
        tools=TOOLS.format(before=LAYERS),
        first=svgs[0],
        pictures=pictures,
        text=escape(drawing.text),
    )
    return document(title, body, _data(whole), variables(drawing.theme), "tinygrad_wb.draw", drawing.theme)


LAYERS = """<button id="closer" title="Close every layer">Close layers</button>
<button id="opener" title="Open every layer">Open layers</button>
"""

BODY = """<header>
<h1>{title}</h1>
{tools}
</header>
<main>
<figure id="picture">{first}</figure>
<aside id="details" aria-live="polite">
<p class="hint">Click a box, or reach it with Tab, to read all that is known of it.</p>
</aside>
</main>
<details id="text"><summary>As text</summary><pre>{text}</pre></details>
{pictures}"""


def _standing_open(whole: Graph, drawn: Graph) -> frozenset[str]:
    """The layers of the whole that stand open in what was drawn."""
    if drawn is whole:
        return frozenset(group.id for group in whole.groups if group.closed is not None)
    parents = [group for group in whole.groups if group.closed is not None]
    open_titles = {group.title for group in drawn.groups}
    return frozenset(
        group.id for group in parents if group.title in open_titles and _above_is_open(group, whole, open_titles)
    )


def _above_is_open(group: Any, whole: Graph, titles: set[str]) -> bool:
    by_id = {g.id: g for g in whole.groups}
    while group.parent:
        group = by_id[group.parent]
        if group.closed is not None and group.title not in titles:
            return False
    return True


def _views(whole: Graph, first: frozenset[str]) -> list[frozenset[str]]:
    """The ways that layers can stand open that the page has, the first one first."""
    parents = {group.id: group.parent for group in whole.groups if group.closed is not None}

    def valid(view: Iterable[str]) -> bool:
        opened = set(view)
        return all(parents.get(group, "") in (*opened, "") for group in opened)

    every = list(parents)
    if 2 ** len(every) <= 2**VIEWS:
        subsets = [frozenset(s) for n in range(len(every) + 1) for s in itertools.combinations(every, n) if valid(s)]
        if len(subsets) <= VIEWS:
            return list(dict.fromkeys([first, *subsets]))
    levels: list[frozenset[str]] = [frozenset()]
    while True:
        deeper = frozenset(g for g in every if parents[g] in (*levels[-1], "")) | levels[-1]
        if deeper == levels[-1]:
            break
        levels.append(deeper)
    one_more = [frozenset({*first, g}) for g in every if g not in first and parents[g] in (*first, "")]
    return list(dict.fromkeys([first, *levels, *one_more]))[: 4 * VIEWS]


def _data(graph: Graph) -> dict[str, Any]:
    """What the page tells of each node and layer."""
    titles = {node.id: node.title for node in graph.nodes}
    nodes: dict[str, Any] = {}
    for node in (*graph.nodes, *(group.closed for group in graph.groups if group.closed is not None)):
        edges = [edge for edge in graph.edges if edge.target == node.id and (edge.formula or edge.label)]
        nodes[node.id] = {
            "title": node.title, "kind": node.kind, "statement": node.statement, "symbol": node.symbol,
            "facts": node.facts, "details": node.details, "repeated": node.repeated,
            "edges": [[titles[edge.source], edge.label, edge.formula, edge.number] for edge in edges],
        }  # fmt: skip
    groups = {g.id: {"title": g.title, "parent": g.parent} for g in graph.groups if g.closed is not None}
    return {"nodes": nodes, "groups": groups}
