"""What a function reads besides its arguments: variables around it, settings of the objects that it uses.

A compiled function is a record of one run. Numbers, arrays and branches that it took from around it are frozen in the
record, so every call looks whether all is as it was, and the function is recorded anew if not. What could change
unnoticed, such as an iterator, is refused.
"""

from __future__ import annotations

import contextvars
import dis
import functools
import pickle
import random
import sys
import types
import weakref
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import repeat
from operator import attrgetter, is_, methodcaller
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygrad_wb.nn.module import NOTES, Module, assignments
from tinygrad_wb.operation import Operation
from tinygrad_wb.recording import PACKAGE
from tinygrad_wb.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SIMPLE", "Surroundings", "moved", "put_back", "states"]

MISSING = object()
SIMPLE = (bool, int, float, complex, str, bytes, type(None), np.generic)
RANDOM = (np.random.Generator, np.random.RandomState, random.Random)
OPAQUE = {contextvars.ContextVar, memoryview}
LIBRARIES = sys.stdlib_module_names | {"numpy", "tinygrad_wb", "builtins"}
CLOCKS = {"time", "datetime", "secrets", "uuid"}  # modules: what they give is different each time
UNCALLED = {
    "__init__", "__new__", "__post_init__", "__repr__", "__str__", "__del__", "__hash__", "__reduce__", "__reduce_ex__",
    "__setstate__", "__sizeof__",
}  # fmt: skip
ANY_NAME = {  # code with one of these names may read attributes whose names it does not have
    "__dict__", "asdict", "astuple", "attrgetter", "fields", "getattr", "hasattr", "members", "methodcaller",
    "named_modules", "named_parameters", "parameters", "vars",
}  # fmt: skip
REFUSED = dict.fromkeys(("no_grad", "zero_grad"), "would have an effect only while it is recorded; call it outside")
REFUSED |= dict.fromkeys(
    ("environ", "eval", "exec", "fromfile", "genfromtxt", "getenv", "globals", "input", "load", "loadtxt", "open",
    "read_bytes", "read_text"), "may give something else each time; pass that as an argument",
)  # fmt: skip
REFUSED["isinstance"] = "asks for Values or arrays, and while it is recorded its arguments are Values"
REFUSED["grad ="] = "would have an effect only while it is recorded; assign outside"


class Watched:
    """Places, and what was found there. ``look`` is told a place, the name in it, and what to give if it is empty."""

    def __init__(self, look: Callable[..., Any]) -> None:
        self.look = look
        self.places: list[Any] = []
        self.names: list[Any] = []
        self.found: list[Any] = []

    def note(self, place: Any, name: Any, content: Any) -> None:
        self.places.append(place)
        self.names.append(name)
        self.found.append(content)

    def same(self) -> bool:
        now = map(self.look, self.places, self.names, repeat(MISSING))
        return all(map(is_, now, self.found)) or self.changed() is None

    def changed(self) -> Any:
        """The name of the first place where something else is now; None if there is none."""
        for place, name, then in zip(self.places, self.names, self.found):
            if not _equal(self.look(place, name, MISSING), then):
                return name
        return None


class Surroundings:
    """A snapshot of what can be seen from ``roots``: the function, and objects among its arguments.

    From each function on, it follows the names that the code has. ``refusal`` says why that can't be compiled, if it
    can't. ``generators`` are the random generators in sight.
    """

    def __init__(self, *roots: Any) -> None:
        self._variables = Watched(dict.get)
        self._of_modules = Watched(dict.get)
        self._assignments = assignments[0]
        self._of_classes = Watched(types.MappingProxyType.get)
        self._slots = Watched(getattr)
        self._containers: list[tuple[Any, list[Any]]] = []
        self._arrays: list[tuple[Any, Any, bytearray]] = []
        self.generators: list[Any] = [np.random.mtrand._rand, random._inst]
        self.refusal = ""
        self._seen: dict[int, Any] = {}
        self._words: set[str] = set()  # the names of attributes in the code
        self._holders: list[Any] = []  # what has attributes
        self._noted: set[tuple[int, str]] = set()
        for x in roots:
            self._look(x)
        size = -1
        while size < (size := len(self._words) + len(self._holders)):  # names lead to code, which has more names
            for holder in self._holders:
                self._look_into(holder)
        for word in self._words & REFUSED.keys():
            self.refusal = f"{word} inside it {REFUSED[word]}"
        del self._seen, self._words, self._holders, self._noted
        self._watched = [w for w in (self._variables, self._of_classes, self._slots) if w.found]

    def same(self) -> bool:
        """Whether everything is as it was."""
        if self._assignments != assignments[0]:
            now = assignments[0]
            if not self._of_modules.same():
                return False
            self._assignments = now
        for watched in self._watched:
            if not watched.same():
                return False
        for container, then in self._containers:
            if len(container) != len(then) or not (all(map(is_, container, then)) or all(map(_equal, container, then))):
                return False
        return not self._arrays or all([a.shape == shape and _holds(a, then) for a, shape, then in self._arrays])

    def changed(self) -> str:
        """What is not as it was, for a message."""
        names = [name for watched in (self._of_modules, *self._watched) if (name := watched.changed())]
        return f"{names[0]!r}" if names else "an array or a list"

    def forget(self) -> None:
        """Whatever happens, count as the same from now on."""
        self._watched, self._containers, self._arrays = [], [], []
        self._of_modules = Watched(dict.get)

    # -- finding out what there is -------------------------------------------------------------------------------------

    def _look(self, x: Any) -> None:
        """Note what can be seen from ``x``."""
        if id(x) in self._seen or isinstance(x, (*SIMPLE, Value)):
            return
        self._seen[id(x)] = x
        if isinstance(x, np.ndarray):
            self._arrays.append((x, x.shape, bytearray(x.tobytes())))
            if x.dtype == object:
                self._look_at_all(*x.flat)
        elif isinstance(x, types.FunctionType):
            self._look_around(x)
        elif isinstance(x, types.ModuleType):
            if x.__name__ in CLOCKS:
                self.refusal = f"it uses the module {x.__name__}, which gives something else each time"
            elif not _of_a_library(x.__name__):
                self._holders.append(x)
        elif isinstance(x, type):
            if not _of_a_library(x.__module__):
                self._holders.append(x)
        elif isinstance(x, Operation):
            self._look_at_all(x.forward, x.shared, *x.partials)
        elif (inner := _inside(x)) is not None:
            self._look_at_all(*inner)
        elif isinstance(x, (attrgetter, methodcaller)):
            self._words.update(*(name.split(".") for name in x.__reduce__()[1] if type(name) is str))
        elif isinstance(x, RANDOM) and not isinstance(x, random.SystemRandom):
            self.generators.append(x)
        elif _is_container(x):
            self._look_at_items(x)
            if not _of_a_library(type(x).__module__):
                self._holders.append(x)
        else:
            self._look_at_object(x)

    def _look_at_object(self, x: Any) -> None:
        kind = type(x)
        library = _of_a_library(kind.__module__)
        if hasattr(kind, "__next__") or isinstance(x, random.SystemRandom):
            self.refusal = f"it reads from a {kind.__name__}, which gives something else each time"
        elif hasattr(kind, "__array__") and not library:
            self.refusal = f"it reads a {kind.__name__}, which can change unnoticed; pass it as a NumPy array"
        elif hasattr(x, "__dict__") or any("__slots__" in vars(c) for c in kind.__mro__):
            self._holders.append(x)
        elif kind in OPAQUE or not (library or _compares(kind)):
            self.refusal = f"it reads a {kind.__name__}, which can change unnoticed; pass what it needs as arguments"

    def _look_at_all(self, *several: Any) -> None:
        for x in several:
            self._look(x)

    def _look_at_items(self, x: Any) -> None:
        items = list(x)
        if not isinstance(x, tuple):
            self._containers.append((x, items))
        if isinstance(x, Mapping):
            contents = list(x.values())
            self._containers.append((x.values(), contents))
            self._look_at_all(*contents)
        self._look_at_all(*items)

    def _look_around(self, function: types.FunctionType) -> None:
        """The variables that a function's code names, outside of it."""
        library = function.__code__.co_filename.startswith(PACKAGE) or _of_a_library(function.__module__ or "")
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            if not library:
                self._slots.note(cell, "cell_contents", content)
            self._look(content)
        self._look(getattr(function, "__wrapped__", None))
        if library:
            return
        for name in ("__code__", "__defaults__", "__kwdefaults__"):  # they change where a module is loaded anew
            self._note(self._slots, function, name, getattr(function, name))
        variables, attributes = _names_in(function.__code__)
        self._words |= attributes | (variables & (ANY_NAME | REFUSED.keys()))
        for name in variables:
            if name.startswith("@"):  # pytest's, behind an assert
                continue
            content = function.__globals__.get(name, MISSING)
            if content is MISSING:
                content = sys.modules.get(name)  # imported inside
            elif not isinstance(content, types.ModuleType):
                self._note(self._variables, function.__globals__, name, content)
            self._look(content)
        if vars(function):
            self._holders.append(function)

    def _look_into(self, x: Any) -> None:
        """Attributes that the code names: an object's or a module's own, and those of its class."""
        own = getattr(x, "__dict__", {})
        if type(x).__module__.startswith(__package__):  # a compiled function: what it is of counts
            self._look(own["__wrapped__"])
            return
        if type(own) is dict:
            every = self._words & ANY_NAME or type(x).__module__.startswith("numpy")
            names = own.keys() if every and not isinstance(x, types.ModuleType) else self._words
            for name in list(names & own.keys() - NOTES):
                self._note(self._own_names(x), own, name, own[name])
            self._look(own.get("__wrapped__"))
        if isinstance(x, (types.ModuleType, types.FunctionType)):
            return
        for cls in (*(x.__mro__ if isinstance(x, type) else ()), *type(x).__mro__):
            ours = _of_a_library(cls.__module__)
            if ours and not cls.__module__.startswith("tinygrad_wb"):
                continue
            for name, content in list(vars(cls).items()):
                called = name.startswith("__") and (name not in UNCALLED or isinstance(x, type))
                if name in NOTES or (
                    name not in self._words and not (called and isinstance(content, types.FunctionType))
                ):
                    continue
                if isinstance(content, types.MemberDescriptorType):
                    if not isinstance(x, type):
                        self._note(self._slots, x, name, getattr(x, name, MISSING))
                    continue
                if type(own) is dict and name not in own and (name == "forward" or not called):
                    self._note(self._own_names(x), own, name, MISSING)  # an object's own would be found first
                if ours:
                    function = content.fget if isinstance(content, property) else content
                    if isinstance(function, types.FunctionType):
                        self._words |= _names_in(function.__code__)[1] - REFUSED.keys()
                else:
                    self._note(self._of_classes, vars(cls), name, content, id(cls))

    def _own_names(self, x: Any) -> Watched:
        """Where an object's own attributes are noted: those of a Module need a look only after one was assigned."""
        ours = getattr(type(x), "__setattr__", None) is getattr(Module, "__setattr__", None)
        return self._of_modules if ours else self._variables

    def _note(self, watched: Watched, place: Any, name: str, content: Any, key: int = 0) -> None:
        if (key or id(place), name) not in self._noted:
            self._noted.add((key or id(place), name))
            watched.note(place, name, content)
            if content is not MISSING:
                self._look(content)


@functools.lru_cache(maxsize=1024)
def _names_in(code: types.CodeType) -> tuple[frozenset[str], frozenset[str]]:
    """The variables from outside that ``code`` names, and the attributes."""
    variables, attributes = set(), set()
    asked = 0  # how many instructions ago for a type
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        asked -= 1
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "IMPORT_NAME"}:
            variables.add(name)
            asked = 8 if name in {"isinstance", "type"} else asked
        elif instruction.opcode in dis.hasname:
            attributes.add(f"{name} =" if instruction.opname == "STORE_ATTR" else name)
            attributes.add(name)
        if asked > 0 and name in {"Value", "ndarray"}:
            attributes.add("isinstance")
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            more, others = _names_in(inner)
            variables |= more
            attributes |= others
    return frozenset(variables), frozenset(attributes)


def _inside(x: Any) -> tuple[Any, ...] | None:
    """What stands in something that is made to be called: a method, a property, a partial."""
    if isinstance(x, functools.partial):
        return x.func, x.args, x.keywords
    if isinstance(x, property):
        return x.fget, x.fset
    if isinstance(x, (types.MethodType, staticmethod, classmethod)):
        return x.__func__, getattr(x, "__self__", None)
    if isinstance(x, (types.BuiltinFunctionType, types.MethodWrapperType)):
        return (x.__self__,)
    if isinstance(x, (functools.cached_property, functools.partialmethod)):
        return (x.func,)
    if isinstance(x, weakref.ref):
        return (x(),)
    return (x.pyfunc,) if isinstance(x, np.vectorize) else None


def _compares(kind: type) -> bool:
    """Whether things of this kind are looked up by what they hold, and so can't change."""
    return kind.__hash__ not in (None, object.__hash__)  # type: ignore[comparison-overlap]


def _of_a_library(module: str) -> bool:
    return module.split(".", 1)[0] in LIBRARIES


def _is_container(x: Any) -> bool:
    """Whether it is one of Python's own, or made from one."""
    if isinstance(x, (list, tuple, set, frozenset, dict)):
        return True
    plain = isinstance(x, (Mapping, Sequence, AbstractSet)) and not isinstance(x, (range, memoryview))
    return plain and type(x).__module__.split(".", 1)[0] in sys.stdlib_module_names


def _holds(array: Any, then: bytearray) -> bool:
    """Whether an array's memory is as it was; where it is in one piece, it is not copied for that."""
    whole = type(array) is np.ndarray and array.dtype.kind in "fiub" and array.flags.c_contiguous
    return bool(then == (array if whole else array.tobytes()))


def _equal(now: Any, then: Any) -> bool:
    """Whether two simple things are the same; all others count as changed when they are others."""
    if now is then:
        return True
    return isinstance(now, SIMPLE) and type(now) is type(then) and (now == then or (now != now and then != then))


# -- random numbers --------------------------------------------------------------------------------------------------


def states(generators: list[Any]) -> list[Any]:
    """Where each random generator stands."""
    return [g.getstate() if isinstance(g, random.Random) else _bits(g).state for g in generators]


def put_back(generators: list[Any], before: list[Any]) -> None:
    """Let each random generator go on from where it stood."""
    for g, state in zip(generators, before, strict=True):
        if isinstance(g, random.Random):
            g.setstate(state)
        else:
            _bits(g).state = state


def moved(generators: list[Any], before: list[Any], draws: list[Callable[[], Any]]) -> bool:
    """Whether random numbers have been drawn other than by ``draws``, which a replay does again."""
    after = states(generators)
    if not draws:
        return _told(before) != _told(after)
    put_back(generators, before)
    for draw in draws:
        draw()
    expected = states(generators)
    put_back(generators, after)
    return _told(expected) != _told(after)


def _told(state: Any) -> bytes:
    return pickle.dumps(state)


def _bits(generator: Any) -> Any:
    return generator.bit_generator if isinstance(generator, np.random.Generator) else generator._bit_generator
