"""What the tests of drawing share: hostile names, ways to render, and how to find things in a drawing."""

import importlib.util
import shutil
import xml.etree.ElementTree as ET

import pytest

import tinygrad_wb as wb

HAS_DOT = shutil.which("dot") is not None
HAS_PYGRAPHVIZ = importlib.util.find_spec("pygraphviz") is not None
needs_dot = pytest.mark.skipif(not HAS_DOT, reason="the dot executable is not installed")
needs_pygraphviz = pytest.mark.skipif(not HAS_PYGRAPHVIZ, reason="pygraphviz is not installed")
needs_renderer = pytest.mark.skipif(not (HAS_DOT or HAS_PYGRAPHVIZ), reason="neither dot nor pygraphviz is installed")

HOSTILE = [
    "<b>", "</td>&lt;", "|{}<>", '"', "'", "\\", "\\N \\G\\l", "a\nb\r\tc", "x" * 10_000, "", "   ", "שלום", "\u202eab\u202c",
    "\x00\ud800", "<<i>x</i>>", "n1", "digraph", "]", "%s {0}", "日本 ∂ 🎲", "<script>window.hacked=1</script>",
    "javascript:window.hacked=1", '"><img src=x onerror=window.hacked=1>', "</script><script>window.hacked=1</script>",
    "-->", "<!-- --!>", "]]>", "{{}}", "{{window.hacked=1}}", "&amp;", "#quot;", "%% end", "end", "a|b", "`x`", "</template>",
    "<svg/onload=window.hacked=1>", "click n1 call window.hacked()", ":::marked",
]  # fmt: skip


def neuron():
    w, b = wb.Value(0.5, name="w"), wb.Value(-1.0, name="b")
    score = w * 3.0 + b
    score.name = "score"
    return wb.tanh(score)


class Part(wb.Module):
    """A module that names its one layer as it is told."""

    def __init__(self, name):
        self.parts = {name: wb.Dense(2, 2, "tanh", seed=0)}

    def forward(self, x):
        for part in self.parts.values():
            x = part(x)
        return x


def node(drawing, title):
    """The one node of a title."""
    found = [n for n in drawing.graph.nodes if n.title == title]
    assert len(found) == 1, f"{title!r} among {[n.title for n in drawing.graph.nodes]}"
    return found[0]


def facts(drawing, title):
    return dict(node(drawing, title).facts)


def titles(drawing, *kinds):
    return [n.title for n in drawing.graph.nodes if not kinds or n.kind in kinds]


def statements(drawing):
    return [n.statement for n in drawing.graph.nodes]


def edges(drawing):
    """(title of the source, title of the target) of every edge."""
    names = {n.id: n.title for n in drawing.graph.nodes}
    return [(names[e.source], names[e.target]) for e in drawing.graph.edges]


def edge(drawing, source, target):
    """The one edge between two titles."""
    names = {n.id: n.title for n in drawing.graph.nodes}
    found = [e for e in drawing.graph.edges if (names[e.source], names[e.target]) == (source, target)]
    assert len(found) == 1, f"{source} → {target} among {edges(drawing)}"
    return found[0]


def listed(drawing):
    """The text with single spaces, to be read in tests."""
    return [" ".join(line.split()) for line in str(drawing).splitlines()]


def words_of(svg):
    """All pieces of text in a picture, and what is shown when the mouse rests on a box."""
    root = ET.fromstring(svg)
    texts = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    tips = [e.get("{http://www.w3.org/1999/xlink}title") for e in root.iter("{http://www.w3.org/2000/svg}a")]
    return [t.replace("\xa0", " ") for t in texts], [tip for tip in tips if tip.strip()]


def sound(graph, most=None):
    """A graph hangs together, and is no larger than it may be."""
    ids = [n.id for n in graph.nodes]
    assert len(set(ids)) == len(ids)
    at = {name: i for i, name in enumerate(ids)}
    for e in graph.edges:
        assert e.source in at, "an edge from nowhere"
        assert e.target in at, "an edge to nowhere"
        if not e.again and not graph.reverse:
            assert at[e.source] < at[e.target], "a node before what it reads"
    groups = {g.id: g for g in graph.groups}
    assert len(groups) == len(graph.groups)
    assert not groups.keys() & at.keys()
    for n in graph.nodes:
        assert n.group == "" or n.group in groups
    for g in graph.groups:
        assert g.parent == "" or g.parent in groups
    if most is not None:
        assert sum(n.kind != "left out" for n in graph.nodes) <= most
        assert sum(n.kind == "left out" for n in graph.nodes) <= 1
