"""`Module`: a part of a model, which finds its own parameters."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import ref

from tinygrad_wb.memory import bytes_of
from tinygrad_wb.nn.calls import note
from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.value import Value, next_tick

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Module", "assignments", "in_mode", "size_text"]

assignments = [0]  # how many, to attributes of Modules: while it stays the same, no Module has changed


class Module:
    """A part of a model: put Values and other Modules into attributes (lists and dicts too), write ``forward``.

    Every leaf Value found there is a parameter, named by its path, such as ``hidden.weight`` or ``layers.0.bias``.

    >>> import tinygrad_wb as wb
    >>> class Line(wb.Module):
    ...     def __init__(self):
    ...         self.slope, self.offset = wb.Value(2.0), wb.Value(1.0)
    ...
    ...     def forward(self, x):
    ...         return self.slope * x + self.offset
    >>> line = Line()
    >>> line(3.0).data, [name for name, _ in line.named_parameters()]
    (7.0, ['slope', 'offset'])
    """

    training: bool = True
    kept: ClassVar[tuple[str, ...]] = ()  # attributes that are saved besides parameters, such as "running.mean"
    _path: str = ""  # where this module stands in its model; the model itself stands at ""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, x): write what it computes there")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = next_tick()
        result = self.forward(*args, **kwargs)
        note(result, (ref(self), self._path, start, (*args, *kwargs.values()) if kwargs else args))
        return result

    # -- what it is made of -------------------------------------------------------------------------------------

    def members(self) -> Iterator[tuple[str, Any]]:
        """Name and content of each attribute, in the order of assignment."""
        yield from vars(self).items()

    def __setattr__(self, name: str, member: Any) -> None:
        object.__setattr__(self, name, member)
        assignments[0] += 1
        if isinstance(member, PARTS):
            self._name_parts()

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        assignments[0] += 1

    def _name_parts(self) -> None:
        """Tell every part its path. A parameter that the user named otherwise keeps that name."""
        back = _refers_back(self)  # then no part can say where the model begins, and it begins here
        for path, part in _walk(self, "" if back else self._path, set()):
            if isinstance(part, Module):
                part._path = path
            elif part.name is None or _ends(path, part.name) or (back and _ends(part.name, path)):
                part.name = path

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module (path "") and every module inside it, with its path."""
        for path, part in _walk(self, "", set()):
            if isinstance(part, Module):
                yield path, part

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Every parameter once, with its path; a shared one under its first."""
        self._name_parts()  # lists may have grown since they were assigned
        for path, part in _walk(self, "", set()):
            if isinstance(part, Value):
                yield path, part

    def own_parameters(self) -> Iterator[tuple[str, Value]]:
        """Name and Value of each parameter that is not in a Module inside this one."""
        for name, part in _walk(self, "", set(), deep=False):
            if isinstance(part, Value):
                yield name, part

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of assignment."""
        return [parameter for _, parameter in self.named_parameters()]

    def state(self) -> Iterator[tuple[str, Slot]]:
        """Path and place of all that is saved of it: its parameters, and what its modules name in ``kept``.

        ``kept`` is for numbers that training changes though they are no parameters, such as running means: a tuple of
        names of attributes, with dots where they lie deeper, that hold a number, an array, or a Value of its own.
        """
        for path, parameter in self.named_parameters():
            yield path, Slot(parameter, "data")
        for path, module in self.named_modules():
            for name in module.kept:
                yield f"{path}.{name}" if path else name, Slot.of(module, name)

    # -- as a whole -----------------------------------------------------------------------------------------------

    def __reduce_ex__(self, protocol: Any) -> Any:
        made = super().__reduce_ex__(protocol)
        own = type(self)
        if own.__reduce__ is not object.__reduce__ or own.__setstate__ is not Module.__setstate__ or len(made) < 3:
            return made  # the class has a way of its own, or nothing in it
        inside = [module for _, module in self.named_modules()][:0:-1]
        return (*made[:2], _Nested(inside, made[2]), *made[3:]) if inside else made

    def __setstate__(self, state: Any) -> None:
        state = state.state if isinstance(state, _Nested) else state
        attributes, slots = state if isinstance(state, tuple) else (state, None)
        vars(self).update(attributes or {})
        for name, content in (slots or {}).items():
            object.__setattr__(self, name, content)

    def __sizeof__(self) -> int:
        """Its bytes with those of its parameters, their gradients, and what its modules keep: ``sys.getsizeof``."""
        size = object.__sizeof__(self)
        for _, part in _walk(self, "", set()):
            if isinstance(part, Value):
                size += sys.getsizeof(part)
            else:
                size += sum(bytes_of(Slot.of(part, name).read()) for name in part.kept)
        return size

    # -- what happens to it -------------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Let layers that differ in training (Dropout) do as in training; returns the module."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Let layers that differ in training do as in use; returns the module."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set every parameter's ``.grad`` back to None, "not computed"."""
        for parameter in self.parameters():
            parameter.grad = None

    # -- how it is shown ----------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """What it is called in errors: ``Dense 'hidden'``."""
        return type(self).__name__ + (f" {self._path!r}" if self._path else "")

    def describe(self) -> str:
        """Its own settings, for `repr` and `summary`; its parts speak for themselves."""
        return ""

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__}({self.describe()})"]
        for path, module in list(self.named_modules())[1:]:
            lines.append(f"{'  ' * (path.count('.') + 1)}{path}: {type(module).__name__}({module.describe()})")
        return "\n".join(lines)

    def summary(self) -> Summary:
        """A table of the layers with the shapes and numbers of their parameters; print it, or let a notebook show it.

        >>> import tinygrad_wb as wb
        >>> wb.MLP(2, [16], 1).summary()
        layer  what                 shapes                parameters
        -----  -------------------  --------------------  ----------
        0      Dense(2 → 16, relu)  weight 2×16, bias 16          48
        1      Dense(16 → 1)        weight 16×1, bias 1           17
        -----  -------------------  --------------------  ----------
        MLP                                                       65
        """
        rows: list[tuple[str, ...]] = []
        counted: set[int] = set()
        for path, module in self.named_modules():
            own = list(module.own_parameters())
            parts = any(inner is not module for _, inner in module.named_modules())
            if not own and parts:
                continue
            shapes = ", ".join(f"{name} {size_text(value)}" for name, value in own)
            count = sum(value.size for _, value in own if id(value) not in counted)
            counted.update(id(value) for _, value in own)
            rows.append((path, f"{type(module).__name__}({module.describe()})", shapes, f"{count:,}"))
        total = sum(parameter.size for parameter in self.parameters())
        return Summary(
            _table(("layer", "what", "shapes", "parameters"), rows, (type(self).__name__, "", "", f"{total:,}"))
        )


def size_text(parameter: Value) -> str:
    """The shape of a parameter, as `summary` and pictures tell it: ``64×128``."""
    return "×".join(map(str, parameter.shape)) or "number"


@contextlib.contextmanager
def in_mode(model: Any, training: bool) -> Iterator[None]:
    """Put a model's layers in training, or in use, for the length of a block, and then each back as it was."""
    modes = [(module, module.training) for _, module in model.named_modules()] if isinstance(model, Module) else []
    for module, _ in modes:
        module.training = training
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


class Summary(str):
    """A text that shows itself as it is, without quotes, at a prompt."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]], foot: tuple[str, ...]) -> str:
    widths = [max(len(row[i]) for row in (heads, *rows, foot)) for i in range(len(heads))]
    rule = tuple("-" * width for width in widths)

    def line(cells: tuple[str, ...]) -> str:
        *words, number = cells
        left = [word.ljust(width) for word, width in zip(words, widths, strict=False)]
        return "  ".join([*left, number.rjust(widths[-1])])

    return "\n".join(map(line, [heads, rule, *rows, rule, foot]))


def _ends(path: str, name: str) -> bool:
    return path.endswith("." + name)


def _refers_back(module: Module) -> bool:
    """Whether a part of the module holds the module itself, as in ``child.parent = self``."""
    ahead, seen = [member for _, member in module.members()], set()
    while ahead:
        part = ahead.pop()
        if part is module:
            return True
        if id(part) not in seen:
            seen.add(id(part))
            if isinstance(part, Module):
                ahead += [member for _, member in part.members()]
            elif isinstance(part, (list, tuple, dict)):
                ahead += part.values() if isinstance(part, dict) else part
    return False


PARTS = (Value, Module, list, tuple, dict)  # what may hold parameters


def _walk(root: Any, root_path: str, seen: set[int], deep: bool = True) -> Iterator[tuple[str, Any]]:
    """Every Module and parameter in ``root``, each once, with its path; not into inner modules unless ``deep``.

    It goes without recursion, so that modules may be nested as deep as one likes.
    """
    ahead = [iter([(root_path, root)])]  # of each level that it is in, what comes next
    while ahead:
        for path, part in ahead[-1]:
            if id(part) in seen:
                continue
            seen.add(id(part))
            if isinstance(part, Value):
                if part.op is None:
                    yield path, part
                continue
            if isinstance(part, Module):
                if not deep and path:
                    continue
                yield path, part
            ahead.append(_inside(part, path))
            break
        else:
            ahead.pop()


def _inside(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What may hold parameters in a Module, list, tuple or dictionary, each with its path."""
    inside: Any = part.items() if isinstance(part, dict) else ()
    if isinstance(part, Module):
        inside = part.members()
    elif isinstance(part, (list, tuple)):
        inside = enumerate(part)
    return ((f"{path}.{name}" if path else str(name), x) for name, x in inside if isinstance(x, PARTS))


class _Nested(NamedTuple):
    """The state of a module as it is pickled: after all modules in it, the innermost first.

    Python pickles and copies what an object holds by recursion. Here every module meets only those that are done.
    """

    modules: list[Module]
    state: Any
