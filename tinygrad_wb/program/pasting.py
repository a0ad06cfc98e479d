"""Functions as text: helpers of operations, and operations that know plain arrays alone, are pasted into a program."""

from __future__ import annotations

import ast
import dis
import inspect
import math
import textwrap
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.program.text import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["pasted"]

IMPORTED = {"np": np, "math": math}  # by every program that uses them


def pasted(functions: Iterable[Any]) -> dict[str, str]:
    """By name, the text of each function, after all that it calls and the constants that it reads."""
    found: dict[str, str] = {}
    for function in functions:
        _paste(function.__name__, function, found, function.__name__)
    return found


def _paste(name: str, content: Any, found: dict[str, str], needed_by: str) -> None:
    if isinstance(content, ModuleType):
        if IMPORTED.get(name) is content:
            return
        text = f"import {content.__name__} as {name}"
    elif isinstance(content, FunctionType) and content.__name__ == name:
        tree, text = _definition(content)
        if name not in found:
            found[name] = text  # it may call itself
            for used, what in _reads(content, tree).items():
                _paste(used, what, found, name)
            if found[name] == text:
                del found[name]  # below what it uses
    elif isinstance(content, (bool, int, float, str, tuple)):
        text = f"{name} = {literal(content, repr)[0]}"
    else:
        raise TypeError(
            f"{needed_by}() can't be pasted into a program, because it uses {name}, a {type(content).__name__}; "
            "let its operation say how it is written: @operation(numpy=…)"
        )
    if found.setdefault(name, text) != text:
        raise TypeError(f"{needed_by}() can't be pasted into a program: there are two different things named {name}")


def _definition(function: FunctionType) -> tuple[ast.FunctionDef, str]:
    """The syntax tree of a function, and its text without decorators and annotations."""
    try:
        lines = textwrap.dedent(inspect.getsource(function)).splitlines()
        tree: Any = ast.parse("\n".join(lines)).body[0]
    except (OSError, SyntaxError):
        tree = None
    if not isinstance(tree, ast.FunctionDef) or tree.name != function.__name__:
        raise TypeError(
            f"{function.__name__}() can't be pasted into a program: its source is not there, or is no def; "
            "put it into a file, or let its operation say how it is written: @operation(numpy=…)"
        )
    for node in ast.walk(tree.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    body = tree.body[0].lineno - 1
    while body and lines[body - 1].lstrip()[:1] in ("", "#"):  # comments above the first statement
        body -= 1
    if body < tree.lineno:  # all in one line
        tree.decorator_list, tree.returns = [], None
        return tree, ast.unparse(tree)
    return tree, "\n".join([f"def {tree.name}({ast.unparse(tree.args)}):", *lines[body:]])


def _reads(function: FunctionType, tree: ast.FunctionDef) -> dict[str, Any]:
    """What a function finds around itself, by name; what is built in is everywhere."""
    defaults = [node.id for node in ast.walk(tree.args) if isinstance(node, ast.Name)]
    known = function.__globals__
    found = {name: known[name] for name in (*_global_names(function.__code__), *defaults) if name in known}
    return found | dict(inspect.getclosurevars(function).nonlocals)


def _global_names(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)
