"""A graph in DOT, the language of Graphviz."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING, Any

import graphviz

from tinygrad_wb.draw.formula import typeset
from tinygrad_wb.draw.graph import contents
from tinygrad_wb.draw.theme import THEMES
from tinygrad_wb.draw.wording import NOT_COMPUTED, number

if TYPE_CHECKING:
    from tinygrad_wb.draw.graph import Edge, Graph, Group, Node
    from tinygrad_wb.draw.theme import Theme

__all__ = ["dot_text"]

FONT, FIXED = "Helvetica,Arial,sans-serif", "Menlo,Consolas,monospace"
CAPTION_WIDTH, FORMULA_WIDTH = 90, 32  # letters
TABLE = '<table border="0" cellborder="0" cellspacing="0" cellpadding="{padding}">{rows}</table>'

STRIP = '<tr><td height="2"></td></tr>'


def dot_text(graph: Graph, direction: str = "LR", theme: str = "light", dpi: int | None = None) -> str:
    """The graph as DOT text, flowing in ``direction`` (LR, RL, TB or BT)."""
    text: str = _Dot(graph, direction, THEMES[theme], dpi).dot.source
    return text


class _Dot:
    def __init__(self, graph: Graph, direction: str, theme: Theme, dpi: int | None) -> None:
        self.graph, self.theme, self.upright = graph, theme, direction in ("TB", "BT")
        self.groups = {group.id: group for group in graph.groups}
        self.dot = graphviz.Digraph(
            graph_attr={
                "rankdir": direction, "ordering": "in",  # the first input on top
                "bgcolor": theme.ground, "pad": "0.25", "nodesep": "0.28", "ranksep": "0.55", "fontname": FONT,
                "fontsize": "10", "fontcolor": theme.faint, "labelloc": "b", "labeljust": "l",
                **({"label": caption} if (caption := self._caption()) else {}),
                **({"dpi": str(dpi)} if dpi else {}),
            },
            node_attr={
                "shape": "box", "style": "rounded,filled", "margin": "0.12,0.08", "height": "0.3", "width": "0.3",
                "fontname": FONT, "fontsize": "11", "fontcolor": theme.ink,
            },
            edge_attr={
                "weight": "8", "color": theme.line, "arrowsize": "0.7", "fontname": FONT, "fontsize": "9",
                "fontcolor": theme.faint,
            },
        )  # fmt: skip
        self.contents = contents(graph)
        self._fill(self.dot, "")
        nodes = {node.id: node for node in graph.nodes}
        for i, edge in enumerate(graph.edges, 1):
            self._edge(f"e{i}", edge, nodes[edge.source], nodes[edge.target])

    def _fill(self, dot: Any, group: str) -> None:
        """The nodes of a group, and the groups in it."""
        nodes, boxes = self.contents[group]
        for node in nodes:
            self._node(dot, node)
        for inner in boxes:
            with dot.subgraph(name=f"cluster_{inner.id}", graph_attr=self._box(inner)) as box:
                self._fill(box, inner.id)

    # -- nodes, boxes, edges ---------------------------------------------------------------------------------------

    def _node(self, dot: Any, node: Node) -> None:
        fill, line, width = self.theme.boxes[node.kind]
        ink, label = self.theme.ink, self._label(node)
        if node.heat is not None:
            fill, ink = self._shade(node.heat), self.theme.scale_ink if node.heat >= 2 / 3 else ink
            if node.heat >= 1 / 3:  # where fainter colours can't be read
                for color in (self.theme.faint, self.theme.gradient):
                    label = label.replace(f'color="{color}"', f'color="{ink}"')
        if node.marked:
            line, width = self.theme.accent, "3"
        style = "rounded,dashed" if node.kind == "left out" else "rounded,filled"
        tooltip = escape(node.statement).replace("\\", 4 * "\\")  # which Graphviz halves, twice
        dot.node(
            node.id, label, tooltip=tooltip, id=node.id, fillcolor=fill, color=line, penwidth=width,
            fontcolor=ink, style=style, **{"class": node.kind.replace(" ", "-")},
        )  # fmt: skip

    def _shade(self, heat: float) -> str:
        scale = self.theme.scale
        return scale[min(int(heat * len(scale)), len(scale) - 1)]

    def _box(self, group: Group) -> dict[str, str]:
        repeat = group.kind == "repeat"
        return {
            "label": f"<{_text(group.title)}>", "id": group.id, "class": group.kind, "labelloc": "t", "labeljust": "l",
            "style": "rounded,dashed" if repeat else "rounded,filled", "fontsize": "10.5", "margin": "12",
            "fontcolor": self.theme.ink if repeat else self.theme.faint, "tooltip": " ",
            "color": self.theme.ink if repeat else self.theme.layer_line, "penwidth": "1.1",
            "fillcolor": self.theme.layer_ground,
        }  # fmt: skip

    def _edge(self, name: str, edge: Edge, source: Node, target: Node) -> None:
        attributes = {"id": name}
        if source.kind == "constant" and not self.graph.reverse:
            attributes["weight"] = (
                "1"  # constants stand aside, so that what depends on one another lies on a straight line
            )
        if source.kind == "left out" or edge.again:
            attributes["style"] = "dashed"
        if edge.again:
            attributes |= {"constraint": "false", "color": self.theme.ink}
        if edge.marked:
            attributes |= {"color": self.theme.accent, "penwidth": "2.2"}
        in_a_box = self._boxes(source.group) & self._boxes(target.group)
        ground = self.theme.layer_ground if in_a_box else self.theme.ground
        self.dot.edge(edge.source, edge.target, self._over_the_line(edge, ground), **attributes)

    def _boxes(self, group: str) -> set[str]:
        """A group and those around it that have a ground of their own."""
        found = set()
        while group:
            if self.groups[group].kind == "layer":
                found.add(group)
            group = self.groups[group].parent
        return found

    # -- labels ----------------------------------------------------------------------------------------------------

    def _label(self, node: Node) -> str:
        rows = [self._heading(node)] + [self._row(word, text, node.kind) for word, text in node.facts]
        if node.repeated:
            rows.append(f'<tr><td colspan="2" align="left"><b>{_text(node.repeated)}</b></td></tr>')
        return f"<{TABLE.format(padding=1, rows=''.join(rows))}>"

    def _heading(self, node: Node) -> str:
        title, sign = _text(node.title), ""
        if node.kind == "constant":
            title = _text(typeset(node.title))
        elif node.given or node.kind == "layer":
            title = f"<b>{title}</b>"
        elif node.kind != "left out":
            title = f'<font color="{self.theme.faint}">{title}</font>'
        if node.kind == "layer":
            row = '<tr><td colspan="2" align="left">{}</td></tr>'
            name = f'<font color="{self.theme.faint}">{_text(node.title)}</font>'
            return row.format(f"<b>{_text(node.symbol)}</b>") + row.format(name)
        if node.symbol and (node.given or not node.symbol.isidentifier()):
            size = 12 if node.symbol.isidentifier() else 15
            shown = node.symbol if node.symbol in ("**", "//") else node.symbol.translate(OPERATORS)
            sign = f'<font point-size="{size}">{_text(shown)}</font>'
            return f'<tr><td align="left">{title}   </td><td align="right">{sign}</td></tr>'
        return f'<tr><td colspan="2" align="left">{title}</td></tr>'

    def _row(self, word: str, text: str, kind: str) -> str:
        if kind == "failed":
            fixed = _text(text).replace(" ", "\u00a0")  # shapes stand under one another
            return f'<tr><td colspan="2" align="left"><font face="{FIXED}" point-size="10">{fixed}</font></td></tr>'
        faint = f'<font color="{self.theme.faint}">'
        indent = "   " if word.startswith("from ") or word == "other passes" else ""
        if not (word and text):
            return f'<tr><td colspan="2" align="left">{indent}{faint}{_text(word or text)}</font></td></tr>'
        shown = _text(_typeset_number(text))
        if NOT_COMPUTED in text:
            shown = f"{faint}<i>{shown}</i></font>"
        elif word == "gradient" or word.startswith("from "):
            shown = f'<font color="{self.theme.gradient}">{shown}</font>'
        return f'<tr><td align="left">{indent}{faint}{_text(word)}  </font></td><td align="right">{shown}</td></tr>'

    def _over_the_line(self, edge: Edge, ground: str) -> str:
        """An edge's label that no line runs through: opaque, beside a transparent strip that keeps it off its own."""
        rows = []
        if edge.label and not edge.formula:
            rows.append(_text(edge.label))
        lines = textwrap.wrap(edge.formula, FORMULA_WIDTH, break_long_words=False)
        lines += [f"= {_typeset_number(edge.number)}"] * bool(edge.number)
        rows += [f'<font color="{self.theme.gradient}">{_text(line)}</font>' for line in lines]
        if not rows:
            return ""
        aside = '<td width="5"></td>' if self.upright else ""
        cells = "".join(f'<tr>{aside}<td bgcolor="{ground}"> {row} </td></tr>' for row in rows)
        return f"<{TABLE.format(padding=0, rows=cells + ('' if self.upright else STRIP))}>"

    def _caption(self) -> str:
        """What is said of the whole, and the scale of colours."""
        rows = [
            f'<tr><td align="left" colspan="8">{_text(line)}</td></tr>'
            for remark in self.graph.caption
            for line in textwrap.wrap(remark, CAPTION_WIDTH)
        ]
        if self.graph.scale is not None:
            low, high = (_text(number(x, 2)) for x in self.graph.scale)
            cells = "".join(
                f'<td bgcolor="{color}" width="26" height="12" fixedsize="true"></td>' for color in self.theme.scale
            )
            rows.append(f'<tr><td align="right">gradient {low}  </td>{cells}<td align="left">  {high}</td></tr>')
        return f"<{TABLE.format(padding=2, rows=''.join(rows))}>" if rows else ""


OPERATORS = str.maketrans({"*": "×", "/": "÷", "-": "−"})


def _text(text: str) -> str:
    # In a label Graphviz reads backslashes as well as HTML (\N is the node's id); older versions trip over a lone "]".
    return escape(text).replace("\\", "\\\\").replace("]", "&#93;")


def _typeset_number(number: str) -> str:
    return number.replace("-", "−")
