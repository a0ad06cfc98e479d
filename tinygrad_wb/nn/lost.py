"""What a Module would lose in silence: parameters that something else takes the place of, or that it can't find."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.value import NO_OPTIONS, Value

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "HIDING", "alone_text", "check_hidden", "check_name", "of_class", "of_class_text", "replaced_text", "stands_alone",
]  # fmt: skip

HIDING = (set, frozenset, deque, np.ndarray)  # where no Module looks for parameters


def check_name(module: Any, name: str, member: Any, shadows: bool) -> None:
    """Refuse an attribute that hides what a Module needs under this name: one of its methods, or its mode."""
    kind = (module if isinstance(module, type) else type(module)).__name__
    if name == "training":
        if not isinstance(member, (bool, int, np.bool_)):
            raise TypeError(
                f"{kind}.training says whether the module is in training, and train() and eval() set it, got "
                f"{_what(member)}: give the attribute another name, such as self.training_data"
            )
    elif shadows:
        raise TypeError(
            f"{kind}.{name} = {_what(member)} would hide the method {name}() of every Module, which fit, save or repr "
            f"call: give the attribute another name, such as self.own_{name}"
        )


def check_hidden(module: Any, name: str, member: Any, parts: tuple[type, ...]) -> None:
    """Refuse a collection in which the module does not look for parameters, if there is a part in it."""
    if isinstance(member, np.ndarray):
        member, kind = (member.flat if member.dtype == object else ()), "array"
    else:
        kind = type(member).__name__
    if isinstance(member, HIDING) or kind == "array":
        found = next((x for x in member if isinstance(x, parts)), None)
        if found is not None:
            raise TypeError(
                f"{type(module).__name__}.{name}: parameters inside a {kind} are not found, and it holds "
                f"{_what(found)}; use a list or a dict"
            )


def replaced_text(module: Any, path: str, content: Any) -> str:
    """The text of the error for ``content`` where a parameter was."""
    place = _place(path)
    steps = (f"[{part}]" if part.isdigit() else f".{part}" for part in module._path.split(".") if part)
    target = f"model{''.join(steps)}.{place}"
    text = f"{module.label}: {place} is a parameter, and {_what(content)} in its place can't be trained: "
    if callable(content):
        return (
            f"{text}it has no parameters. Write {target} = wb.Activation(function), or del {target} first if that is "
            "what you want"
        )
    other = f"{target}.data - rate * {target}.grad" if isinstance(content, Value) else "…"
    return (
        f"{text}no optimizer changes it, and it is missing in files. Write {target}.data = {other} to give the "
        f"parameter other numbers, or {target} = wb.Value(…) for a new parameter, before the optimizer is made"
    )


def alone_text(module: Any, path: str, value: Any) -> str:
    """The text of the warning for a computed Value that was meant to be a parameter."""
    kind, place = type(module).__name__, _place(path)
    return (
        f"{kind}.{place} is not a parameter: {value.op.name} computed it from Values that are not parameters either, "
        f"so nothing trains it. Write self.{place} = wb.Value(numbers), with NumPy's numbers, or keep "
        "the Value itself in an attribute and compute in forward; for a constant, take plain numbers or arrays"
    )


def of_class_text(module: Any, name: str) -> str:
    """The text of the warning for a parameter that belongs to a class, not to its instances."""
    kind = type(module).__name__
    return (
        f"{kind}.{name} belongs to the class, so it is not a parameter of the module and is not trained: "
        f"assign it in __init__, self.{name} = …"
    )


def stands_alone(value: Value) -> bool:
    """Whether a computed Value comes from leaves, and none of them has a name, as all parameters of Modules do."""
    ahead, met, leaves = [value], {value}, False
    while ahead:
        for x in ahead.pop().inputs:
            if not isinstance(x, Value) or x in met:
                continue
            met.add(x)
            if x.inputs:
                ahead.append(x)
            elif x.name is not None or x.op is not None or x.options is not NO_OPTIONS:
                return False
            else:
                leaves = True
    return leaves


def of_class(module: Any, base: type) -> Iterator[tuple[str, Any]]:
    """Name and content of the attributes that only the module's classes have, up to ``base``."""
    own = vars(module)
    for cls in type(module).__mro__:
        if cls is base:
            return
        yield from ((name, content) for name, content in vars(cls).items() if name not in own)


def _place(path: str) -> str:
    """A path as Python: ``weights[0]`` for ``weights.0``."""
    name, *keys = path.split(".")
    return name + "".join(f"[{key}]" if key.isdigit() else f"[{key!r}]" for key in keys)


def _what(content: Any) -> str:
    """A thing in a few words."""
    if isinstance(content, Value):
        return f"a Value computed by {content.op.name}" if content.op is not None else "a Value"
    if isinstance(content, np.ndarray):
        return f"an array of shape {content.shape}"
    if callable(content) and hasattr(content, "__name__"):
        return f"the function {content.__name__}"
    return f"{'an' if type(content).__name__[0] in 'aeiou' else 'a'} {type(content).__name__}"
