"""`Module`: a part of a model, which finds its own parameters."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple
from weakref import ref

from tinygrad_wb.memory import bytes_of
from tinygrad_wb.nn.calls import note
from tinygrad_wb.nn.lost import (
    HIDING,
    alone_text,
    check_hidden,
    check_name,
    of_class,
    of_class_text,
    replaced_text,
    stands_alone,
)
from tinygrad_wb.nn.slots import Slot
from tinygrad_wb.nn.summary import Summary, size_text, table
from tinygrad_wb.nn.unpacking import parts_of
from tinygrad_wb.notices import warn_user
from tinygrad_wb.numpy_warnings import OF_UFUNC, enter, leave, state
from tinygrad_wb.recording import noters, this_thread
from tinygrad_wb.value import NO_OPTIONS, Value, next_tick

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["NOTES", "Module", "in_mode"]

NOTES = frozenset({"_called", "_known", "_path"})  # what a Module notes about itself: nothing is computed from it
MISSING = object()

Value.__iter__ = parts_of  # type: ignore[method-assign]


class Module:
    """A part of a model: put Values and other Modules into attributes (lists and dicts too), write ``forward``.

    Every leaf Value found there is a parameter, named by its path, such as ``hidden.weight`` or ``layers.0.bias``.
    Other numbers for a parameter go into its ``data``. A new Value may take its place, or None; anything else there is
    a ``TypeError``, as nothing would train it. What ``forward`` computes and keeps in an attribute is not a parameter.

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
    _beside: ClassVar[str] = ""  # the line that gives what other libraries' layers return besides the result
    _path: str = ""  # where this module stands in its model; the model itself stands at ""
    _known: frozenset[str] = frozenset()  # paths of the parameters, and of Modules with some, directly inside
    _called: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, member in vars(cls).items():
            if name in METHODS and not callable(member) and not hasattr(member, "__get__"):
                check_name(cls, name, member, True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no forward(self, x): write what it computes there")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._called:
            _begin(self)
        if noters and (noter := noters.get(this_thread())) is not None:
            return noter.call(self, args, kwargs)
        start = next_tick()
        given = state()
        wanted = OF_UFUNC[given]
        if wanted is given:
            result = self.forward(*args, **kwargs)
        else:  # once for all that is inside
            token = enter(wanted)
            try:
                result = self.forward(*args, **kwargs)
            finally:
                if state() is wanted:  # forward may have set another on purpose
                    leave(token)
        note(result, (ref(self), self._path, start, (*args, *kwargs.values()) if kwargs else args))
        return result

    # -- what it is made of -------------------------------------------------------------------------------------

    def members(self) -> Iterator[tuple[str, Any]]:
        """Name and content of each attribute, in the order of assignment."""
        yield from vars(self).items()

    def __setattr__(self, name: str, member: Any) -> None:
        if name in METHODS or name == "training":
            check_name(self, name, member, isinstance(member, Module) or not callable(member))
        before = vars(self).get(name, MISSING)
        object.__setattr__(self, name, member)
        if isinstance(before, HOLDERS) or isinstance(member, HOLDERS + HIDING):
            try:
                _name_parts(self)
                check_hidden(self, name, member, (Value, Module))
            except TypeError:
                if before is MISSING:
                    object.__delattr__(self, name)
                else:
                    object.__setattr__(self, name, before)
                raise

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """This module (path "") and every module inside it, with its path."""
        yield from ((path, part) for path, part in Parts(self).found if not isinstance(part, Value))

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Every parameter once, with its path; a shared one under its first."""
        # Named anew, as lists may have changed since they were assigned.
        yield from ((path, part) for path, part in _name_parts(self) if isinstance(part, Value))

    def own_parameters(self) -> Iterator[tuple[str, Value]]:
        """Name and Value of each parameter that is not in a Module inside this one."""
        yield from ((path, part) for path, part in Parts(self, deep=False).found if isinstance(part, Value))

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
        for _, part in Parts(self).found:
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
            table(("layer", "what", "shapes", "parameters"), rows, (type(self).__name__, "", "", f"{total:,}"))
        )


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


def _ends(path: str, name: str) -> bool:
    return path.endswith("." + name)


HOLDERS = (Value, Module, list, tuple, dict)  # where parameters are looked for
METHODS = frozenset(name for name, x in vars(Module).items() if callable(x) and name[0] != "_" and name != "forward")


def _name_parts(module: Module) -> list[tuple[str, Any]]:
    """Tell every part its path, and give all of them. A parameter that the user named otherwise keeps that name.

    ``TypeError`` if something that can't be trained has replaced a parameter.
    """
    parts = Parts(module)
    for owner, known in parts.known.values():
        if owner._known != known:
            _check_replaced(owner, owner._known - known)
            vars(owner)["_known"] = frozenset(known)
    back = parts.holds_itself  # a part refers back to the module, so paths begin at this module
    base = "" if back else module._path
    for path, part in parts.found:
        whole = f"{base}.{path}" if base and path else base or path
        if not isinstance(part, Value):
            vars(part)["_path"] = whole
        elif part.name is None or _ends(whole, part.name) or (back and _ends(part.name, whole)):
            part.name = whole
    return parts.found


def _check_replaced(module: Module, gone: frozenset[str]) -> None:
    """``TypeError`` if something that can't learn stands where a parameter was."""
    for path in sorted(gone):
        content = _at(module, path)
        if not _may_replace(content):
            raise TypeError(replaced_text(module, path, content))


def _begin(module: Module) -> None:
    """Before the first call, look for parameters that a module does not have.

    From now on, computed Values that are kept in attributes are results.
    """
    _name_parts(module)
    for path, part in _own(module):
        if isinstance(part, Value) and part.op is not None and stands_alone(part):
            warn_user(alone_text(module, path, part))
    for name, content in of_class(module, Module):
        if any(isinstance(part, Value) or part.parameters() for part in _inside(content)):
            warn_user(of_class_text(module, name))
    vars(module)["_called"] = True


class Parts:
    """A module, its parameters and every module inside it, ``found`` once each, with its path.

    ``known`` has, for each module, the paths in it that lead to a parameter, or to a module that has some.
    ``holds_itself`` says whether a part holds the module, as in ``child.parent = self``.
    """

    def __init__(self, module: Module, deep: bool = True) -> None:
        self.found: list[tuple[str, Any]] = [("", module)]
        self.known: dict[int, tuple[Module, set[str]]] = {id(module): (module, set())}
        self.holds_itself = False
        self._module, self._deep, self._seen = module, deep, {id(module)}
        self._look(module)

    def _look(self, module: Module) -> None:
        """Go through all levels, without recursion: modules may be nested as deep as one likes."""
        levels = [(module, "", "", iter(_own(module)))]
        while levels:
            owner, own_name, before, inside = levels[-1]
            known = self.known[id(owner)][1]
            for name, part in inside:
                if isinstance(part, Value):
                    if _is_parameter(owner, name, part):
                        known.add(name)
                        self._find(before + name, part)
                    continue
                self.holds_itself = self.holds_itself or part is self._module
                if not self._deep:
                    continue
                if self._find(before + name, part):
                    self.known[id(part)] = part, set()
                    levels.append((part, name, f"{before}{name}.", iter(_own(part))))
                    break
                if self.known[id(part)][1]:
                    known.add(name)
            else:
                levels.pop()
                if known and levels:
                    self.known[id(levels[-1][0])][1].add(own_name)

    def _find(self, path: str, part: Any) -> bool:
        """Note a part where it is met first."""
        new = id(part) not in self._seen
        if new:
            self._seen.add(id(part))
            self.found.append((path, part))
        return new


def _own(module: Module) -> list[tuple[str, Any]]:
    """Path and content of each Value and Module in a module's attributes: into lists and dicts, not into Modules."""
    found: list[tuple[str, Any]] = []
    opened: set[int] = set()
    for name, member in module.members():
        if isinstance(member, HOLDERS):
            _collect(name, member, found, opened)
    return found


def _collect(path: str, content: Any, found: list[tuple[str, Any]], opened: set[int]) -> None:
    """Add the Values and Modules in ``content`` to those that were ``found``."""
    if isinstance(content, (Value, Module)):
        found.append((path, content))
    elif id(content) not in opened:
        opened.add(id(content))
        for key, x in content.items() if isinstance(content, dict) else enumerate(content):
            if isinstance(x, HOLDERS):
                _collect(f"{path}.{key}", x, found, opened)


def _inside(content: Any) -> list[Any]:
    """The Values and Modules in an attribute."""
    found: list[tuple[str, Any]] = []
    if isinstance(content, HOLDERS):
        _collect("", content, found, set())
    return [part for _, part in found]


def _at(module: Module, path: str) -> Any:
    """The content at a path in a module's attributes; None if the path does not exist."""
    name, *keys = path.split(".")
    content = dict(module.members()).get(name)
    for key in keys:
        if not isinstance(content, (list, tuple, dict)):
            return content
        items = content.items() if isinstance(content, dict) else enumerate(content)
        content = next((x for k, x in items if str(k) == key), None)
    return content


def _is_parameter(module: Module, path: str, value: Value) -> bool:
    """Whether a Value at this path in a module's attributes is a parameter.

    Under ``no_grad`` what forward computes is a leaf, too. So once the module was called, a leaf that was computed is
    a parameter only where one was before, as after a step by hand.
    """
    return value.op is None and (value.options is NO_OPTIONS or not module._called or path in module._known)


def _may_replace(content: Any) -> bool:
    """Whether ``content`` may replace a parameter: a new Value, a Module, or nothing."""
    if isinstance(content, (list, tuple, dict)):
        return not content or any(map(_may_replace, _inside(content)))
    return content is None or isinstance(content, Module) or (isinstance(content, Value) and content.op is None)


class _Nested(NamedTuple):
    """The state of a module as it is pickled: after all modules in it, the innermost first.

    Python pickles and copies nested objects by recursion. Inner modules come first here, so it stays shallow.
    """

    modules: list[Module]
    state: Any
