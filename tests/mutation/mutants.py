"""Mutants of a Python file: each is the file with one small mistake in it.

A mistake is a node of the syntax tree and the text that takes its place. The rest of the file stays as it is, to the byte.
"""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OTHER: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.MatMult: ast.Mult,
}  # fmt: skip
ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
# With swapped arguments these raise at once, which tests nothing, or give what they gave.
UNSWAPPED = (
    "isinstance", "getattr", "map", "min", "max", "minimum", "maximum", "np.minimum", "np.maximum", "np.fmin", "np.vdot",
    "np.result_type", "np.broadcast_shapes",
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    source: str
    original: str

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.file}: {self.source}".encode()).hexdigest()[:16]

    @property
    def differences(self) -> list[str]:
        lines = difflib.unified_diff(self.original.splitlines(), self.source.splitlines(), n=0, lineterm="")
        return [line for line in lines if line[:3] not in ("---", "+++") and line[:2] != "@@"]

    @property
    def shown(self) -> str:
        """The first new line, as plan.toml quotes it."""
        return next(line[1:].strip() for line in self.differences if line[0] == "+")


def changed(node: ast.AST, **fields: Any) -> str:
    node = copy.copy(node)
    vars(node).update(fields)
    return f"({ast.unparse(node)})" if isinstance(node, ast.expr) else ast.unparse(node)


def mistakes(node: ast.AST) -> Iterator[str]:
    """What may stand in the place of this node."""
    match node:
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield changed(node, ops=[*ops[:i], OTHER[type(op)](), *ops[i + 1 :]])
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OTHER:
            yield changed(node, op=OTHER[type(op)]())
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=operand):
            yield f"({ast.unparse(operand)})"
        case ast.Constant(value=bool(truth)):
            yield str(not truth)
        case ast.Constant(value=int(number)):
            yield "0" if number == 1 else str(number + 1)
        case ast.Constant(value=float(number)):
            yield str({0.0: 1.0, 1.0: 0.0}.get(number, 2.0 * number))
        case ast.Call(args=args, keywords=keywords):
            swapped = len(args) > 1 and ast.unparse(node.func) not in UNSWAPPED and not isinstance(args[1], ast.Starred)
            if swapped and ast.unparse(args[0]) != ast.unparse(args[1]):
                yield changed(node, args=[args[1], args[0], *args[2:]])
            for i, keyword in enumerate(keywords):
                if keyword.arg not in (None, "strict"):
                    yield changed(node, keywords=keywords[:i] + keywords[i + 1 :])
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) not in ("None", "False"):
            yield "return None"


def negated(test: ast.expr) -> Iterator[str]:
    """The opposite of a condition, unless `mistakes` has it already."""
    equal = isinstance(test, ast.Compare) and len(test.ops) == 1 and not isinstance(test.ops[0], ORDER)
    if not equal and not isinstance(test, ast.UnaryOp):
        yield f"(not ({ast.unparse(test)}))"


def dispensable(node: ast.AST) -> bool:
    """Whether the program still runs, and means something else, without this statement."""
    match node:
        case ast.Expr(value=ast.Call()):
            return True
        case ast.Assign(targets=[target], value=value):
            read = {n.id for n in ast.walk(value) if isinstance(n, ast.Name)}
            return isinstance(target, ast.Attribute | ast.Subscript) or getattr(target, "id", None) in read
    return isinstance(node, ast.AugAssign | ast.Raise | ast.Delete | ast.Break | ast.Continue)


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What runs: neither annotations nor code for type checkers, nor texts of errors, nor what decorators declare.

    And not `strict=True`, which guards against mistakes such as these.
    """
    match node:
        case ast.JoinedStr() | ast.keyword(arg="strict") | ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
    yield node
    if isinstance(node, ast.Raise):
        return
    declared = set(getattr(node, "decorator_list", ()))
    for child in ast.iter_child_nodes(node):
        if child in declared:
            for keyword in getattr(child, "keywords", ()):
                yield from nodes(keyword.value)
        elif child not in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            yield from nodes(child)


def mutants(root: Path, file: str) -> Iterator[Mutant]:
    original = (root / file).read_text(encoding="utf-8")
    lines = [line.encode() for line in original.splitlines(keepends=True)]  # the tree counts columns in bytes

    def mutant(node: Any, text: str) -> Mutant:
        line = lines[node.lineno - 1].decode().strip()
        text += f"  # {line}" if isinstance(node, ast.stmt) else ""  # so that one `pass` can be told from another
        before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
        after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
        return Mutant(file, node.lineno, (before + text.encode() + after).decode(), original)

    for node in nodes(ast.parse(original)):
        yield from (mutant(node, text) for text in mistakes(node))
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            yield from (mutant(node.test, text) for text in negated(node.test))
        if dispensable(node):
            yield mutant(node, "pass")
