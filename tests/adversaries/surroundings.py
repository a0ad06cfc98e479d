"""What stands around a function and changes between its calls: settings, classes, modules, files, the clock."""

import builtins
import collections
import dataclasses
import datetime as dt
import enum
import functools
import gc
import importlib
import json
import os
import queue
import sys
import threading
import time
import types
import weakref

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, leaf, normal, row

RATE = 1.0
settings = types.ModuleType("adversarial_settings")
settings.rate = 1.0
sys.modules["adversarial_settings"] = settings
other_settings = types.ModuleType("other_settings")
other_settings.rate = 5.0


@dataclasses.dataclass
class Config:
    rate: float = 1.0
    name: str = "tanh"
    layers: list = dataclasses.field(default_factory=list)
    inner: "Config | None" = None


@row(fits=True, way="followed")
def global_number(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean(w * x) * RATE

    def change(i):
        global RATE  # noqa: PLW0603
        RATE = 1.0 + i % 4

    return s.descends(loss, w, change=change)


@row(fits=True)
def dataclass(s):
    w, config = leaf(3), Config(inner=Config())

    @s.compiled
    def loss(x):
        f = getattr(wb, config.name)
        return wb.mean(f(x @ w)) * config.rate + config.inner.rate * wb.sum(w) * len(config.layers)

    def change(i):
        config.rate, config.name = 1.0 + i, ("tanh", "exp", "sin")[i // 3 % 3]
        config.inner.rate = 0.5 * i
        config.layers.append(i)

    return s.descends(loss, w, change=change)


@row(fits=True)
def attribute_that_appears_and_goes(s):
    w, model = leaf(3), types.SimpleNamespace()

    @s.compiled
    def loss(x):
        if hasattr(model, "phase2"):
            return wb.mean((x @ w) ** 2)
        return wb.mean(x @ w)

    def change(i):
        if i % 5 == 3:
            model.phase2 = True
        if i % 5 == 0:
            vars(model).clear()

    return s.descends(loss, w, change=change)


@row(fits=True)
def getattr_with_a_default(s):
    w, config = leaf(3), Config()

    @s.compiled
    def loss(x):
        return wb.mean(w * x) * getattr(config, "factor", 1.0) + getattr(config, "penalty", 0.0) * wb.sum(w * w)

    def change(i):
        if i == 4:
            config.factor = 3.0
        if i == 8:
            config.penalty = 0.5

    return s.descends(loss, w, change=change)


@row(fits=True)
def missing_attribute_that_is_caught(s):
    w, config = leaf(3), Config()

    @s.compiled
    def loss(x):
        try:
            k = config.missing
        except AttributeError:
            k = 1.0
        return wb.mean((x @ w) ** 2) * k

    return s.descends(loss, w, change=lambda i: setattr(config, "missing", 2.0 + i) if i > 3 else None)


@row(fits=True)
def missing_global_that_is_caught(s):
    w = leaf(3)
    globals().pop("LATER", None)

    @s.compiled
    def loss(x):
        try:
            k = LATER
        except NameError:
            k = 1.0
        return wb.mean((x @ w) ** 2) * k

    return s.descends(loss, w, change=lambda i: globals().update(LATER=2.0 + i) if i > 4 else None)


@row(fits=True)
def cell_that_is_assigned_later(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        try:
            k = later
        except NameError:
            k = 1.0
        return wb.mean((x @ w) ** 2) * k

    def change(i):
        nonlocal later
        if i > 4:
            later = 3.0 + i

    if not s:
        later = 0.0
    return s.descends(loss, w, change=change)


@row(fits=True)
def dictionary_with_a_key_that_comes(s):
    w, d = leaf(3), {}

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * d.get("k", 1.0) * (2.0 if "flag" in d else 1.0)

    def change(i):
        if i == 3:
            d["k"] = 4.0
        if i == 6:
            d["flag"] = None
        if i == 9:
            d.clear()

    return s.descends(loss, w, change=change)


@row(fits=True)
def default_dictionary(s):
    w, d = leaf(3), collections.defaultdict(lambda: 1.0)

    @s.compiled
    def loss(x):
        d["calls"] += 1.0
        return wb.mean((x @ w) ** 2) * d["rate"] / d["calls"]

    return s.descends(loss, w, change=lambda i: d.update(rate=2.0) if i == 5 else None)


@row(fits=True)
def dynamic_name_of_a_class_attribute(s):
    w = leaf(3)

    class Cfg:
        k = 1.0
        __slots__ = ()

    name = "K".lower()

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * getattr(Cfg, name)

    return s.descends(loss, w, change=lambda i: setattr(Cfg, "k", 1.0 + i % 3))


@row(fits=True)
def slots(s):
    w = leaf(3)

    class Cfg:
        __slots__ = ("k",)

    cfg = Cfg()

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * getattr(cfg, "k", 1.0)

    return s.descends(loss, w, change=lambda i: setattr(cfg, "k", 1.0 + i) if i > 3 else None)


@row(fits=True)
def names_of_a_module(s):
    w = leaf(3)
    settings.rate = 1.0

    @s.compiled
    def loss(x):
        a = vars(settings)["rate"]
        b = importlib.import_module("adversarial_settings").rate
        c = sys.modules["adversarial_settings"].rate
        d = settings.__dict__["rate"]
        import adversarial_settings
        from adversarial_settings import rate

        return wb.mean((x @ w) ** 2) * (a + 2 * b + 3 * c + 4 * d + 5 * adversarial_settings.rate + 6 * rate)

    return s.descends(loss, w, change=lambda i: setattr(settings, "rate", 1.0 + i % 3))


MODULE = settings


@row(fits=True)
def global_that_is_bound_to_another_module(s):
    global MODULE
    w, MODULE, settings.rate = leaf(3), settings, 1.0

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * MODULE.rate

    def change(i):
        global MODULE  # noqa: PLW0603
        MODULE = other_settings if i % 4 == 3 else settings

    return s.descends(loss, w, change=change)


@row(fits=True)
def text_of_an_object(s):
    w = leaf(3)

    class Named:
        k = 1

        def __repr__(self):
            return f"<{self.k}>"

        __str__ = __repr__

    o = Named()

    @s.compiled
    def loss(x):
        s.note(repr(o), f"{o.k}", "{0.k}".format(o))  # noqa: UP030, UP032
        return wb.mean((x @ w) ** 2) * len(repr(o)) * float("{0.k}".format(o))  # noqa: UP030, UP032

    return s.descends(loss, w, change=lambda i: setattr(o, "k", 10 ** (i % 3)))


@row(fits=True)
def object_of_another_class(s):
    w = leaf(3)

    class A:
        def act(self, v):
            return v

    class B:
        def act(self, v):
            return wb.tanh(v) * 2.0

    o = A()

    @s.compiled
    def loss(x):
        return wb.mean(o.act(x @ w))

    return s.descends(loss, w, change=lambda i: setattr(o, "__class__", (A, B)[i // 3 % 2]))


@row(fits=True)
def dictionary_of_an_object(s):
    w, o = leaf(3), types.SimpleNamespace(k=1.0)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * o.k

    def change(i):
        if i % 2:
            vars(o).update(k=2.0 + i)
        else:
            object.__setattr__(o, "k", 1.0 - i)

    return s.descends(loss, w, change=change)


@row(fits=True)
def method_that_is_replaced(s):
    w = leaf(3)

    class Net:
        def act(self, v):
            return v

    net = Net()

    @s.compiled
    def loss(x):
        return wb.mean(net.act(x @ w))

    def change(i):
        if i == 4:
            Net.act = lambda self, v: wb.sin(v)
        if i == 8:
            net.act = wb.exp

    return s.descends(loss, w, change=change)


@row(fits=True)
def forward_of_a_layer_that_is_patched(s):
    layer, w = wb.Dense(3, 3, "tanh", seed=0), leaf(3)
    own = wb.Dense.forward

    @s.compiled
    def loss(x):
        return wb.mean((layer(x) @ w) ** 2)

    step = s.descends(loss, w, layer.weight, layer.bias)

    def call(i):
        if i % 4 == 3:
            wb.Dense.forward = lambda self, x: own(self, x) * 2.0
        try:
            step(i)
        finally:
            wb.Dense.forward = own

    return call


@row(fits=True)
def operation_of_the_package_that_is_patched(s):
    w, own = leaf(3), wb.tanh

    @s.compiled
    def loss(x):
        return wb.mean(wb.tanh(x @ w))

    step = s.descends(loss, w)

    def call(i):
        if i % 4 == 3:
            wb.tanh = wb.sin
        try:
            step(i)
        finally:
            wb.tanh = own

    return call


@row(fits=True)
def forward_that_is_set_on_the_instance(s):
    layer, w = wb.Dense(3, 3, seed=0), leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((layer(x) @ w) ** 2)

    def change(i):
        if i == 4:
            layer.forward = lambda x: wb.tanh(x @ layer.weight)
        if i == 8:
            del layer.forward

    return s.descends(loss, w, layer.weight, change=change)


@row(fits=True)
def builtin_that_is_shadowed(s):
    w, own = leaf(3), builtins.len

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * len(x)

    def change(i):
        globals().pop("len", None)
        if i % 3 == 2:
            globals()["len"] = lambda x: own(x) + 1

    return s.descends(loss, w, change=change)


@row(fits=True)
def environment(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * float(os.environ.get("WB_ADVERSARY", "1.0"))

    def change(i):
        os.environ.pop("WB_ADVERSARY", None)
        if i % 3:
            os.environ["WB_ADVERSARY"] = str(i)

    return s.descends(loss, w, change=change)


@row(fits=True)
def file(s, path="/tmp/adversary.json"):
    import tempfile
    from pathlib import Path

    w, path = leaf(3), Path(tempfile.mkdtemp()) / "settings.json"

    @s.compiled
    def loss(x):
        rate = json.loads(path.read_text())["rate"] if path.exists() else 1.0
        return wb.mean((x @ w) ** 2) * rate * (2.0 if os.path.exists(path) else 1.0)  # noqa: PTH110

    return s.descends(loss, w, change=lambda i: path.write_text(json.dumps({"rate": 1.0 + i})) if i > 3 else None)


@row
def clock(s):
    w, own, now = leaf(3), time.time, [0.0]

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * (1.0 + time.time() % 3.0)

    step = s.descends(loss, w)

    def call(i):
        now[0] = float(i)
        time.time = lambda: now[0]
        try:
            step(i)
        finally:
            time.time = own

    return call


@row(fits=True)
def time_that_a_call_takes(s):
    w, durations = leaf(3), []

    @s.compiled
    def loss(x):
        start = time.perf_counter()
        error = wb.mean((x @ w) ** 2)
        durations.append(time.perf_counter() - start)
        s.note(len(durations), durations[-1] >= 0.0, dt.datetime.now(dt.UTC).year > 2000)
        return error

    return s.descends(loss, w)


@row(fits=True)
def event_and_queue(s):
    w, event, jobs = leaf(3), threading.Event(), queue.Queue()

    @s.compiled
    def loss(x):
        factor = 2.0 if event.is_set() else 1.0
        return wb.mean((x @ w) ** 2) * factor * jobs.get()

    def change(i):
        jobs.put(1.0 + i)
        (event.set if i % 3 == 2 else event.clear)()

    return s.descends(loss, w, change=change)


@row(fits=True)
def cache_that_is_cleared(s):
    w, o = leaf(3), {"k": 1.0}

    @functools.lru_cache
    def factor():
        return o["k"]

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * factor()

    def change(i):
        o["k"] = 1.0 + i
        if i % 4 == 3:
            factor.cache_clear()

    return s.descends(loss, w, change=change)


@row(fits=True)
def cached_property(s):
    w = leaf(3)

    class Holder:
        k = 1.0

        @functools.cached_property
        def factor(self):
            return self.k * 2.0

    o = Holder()

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * o.factor

    def change(i):
        o.k = 1.0 + i
        if i % 4 == 3:
            vars(o).pop("factor", None)

    return s.descends(loss, w, change=change)


@row(fits=True)
def weak_reference_that_dies(s):
    class Thing:
        k = 3.0

    w, kept = leaf(3), [Thing()]
    ref = weakref.ref(kept[0])

    @s.compiled
    def loss(x):
        thing = ref()
        return wb.mean((x @ w) ** 2) * (1.0 if thing is None else thing.k)

    def change(i):
        if i == 5:
            kept.clear()
            gc.collect()

    return s.descends(loss, w, change=change)


@row(fits=True)
def enumeration(s):
    class Phase(enum.Enum):
        WARM = 1
        MAIN = 2

    w, o = leaf(3), types.SimpleNamespace(phase=Phase.WARM)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * o.phase.value if o.phase is Phase.MAIN else wb.mean(x @ w)

    return s.descends(loss, w, change=lambda i: setattr(o, "phase", Phase.MAIN if i % 4 > 1 else Phase.WARM))


@row
def objects_that_take_the_address_of_dead_ones(s):
    w = leaf(3)

    class Trainer:
        scale = 3.0

    @s.compiled
    def loss(trainer, x):
        return wb.mean(w * x) * trainer.scale

    def given(i):
        trainer = Trainer()
        if i > 3:
            trainer.scale = 5.0 + i
        return trainer, batch(i)

    return s.descends(loss, w, given=given)


@row
def method_of_objects_that_are_made_anew(s):
    w = leaf(3)

    class Trainer:
        def __init__(self, scale):
            self.scale = scale

        @s.compiled
        def loss(self, x):
            return wb.mean(w * x) * self.scale

    def call(i):
        error = Trainer.loss(Trainer(1.0 + i), batch(i))
        s.note(error)
        error.backward()
        s.update([w], wb.SGD([w], 0.05))

    return call


@row(fits=True)
def descriptor_and_metaclass(s):
    w = leaf(3)

    class Meta(type):
        rate = 1.0

        @property
        def double(cls):
            return cls.rate * 2.0

    class Cfg(metaclass=Meta):
        pass

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * Cfg.double

    return s.descends(loss, w, change=lambda i: setattr(Meta, "rate", 1.0 + i % 3))


@row(fits=True)
def object_with_getattr(s):
    w = leaf(3)

    class Lazy:
        def __init__(self):
            self.store = {"k": 1.0}

        def __getattr__(self, name):
            return self.store[name]

    o = Lazy()

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * o.k

    return s.descends(loss, w, change=lambda i: o.store.update(k=1.0 + i))


@row(fits=True)
def evaluated_text(s):
    w, text = leaf(3), ["wb.mean((x @ w) ** 2)"]

    @s.compiled
    def loss(x):
        return eval(text[0], {"wb": wb, "x": x, "w": w})

    return s.descends(
        loss, w, change=lambda i: text.__setitem__(0, f"wb.mean(wb.tanh(x @ w)) * {i}") if i > 4 else None
    )


@row(fits=True)
def code_of_a_helper_that_is_replaced(s):
    w = leaf(3)

    def helper(v, k=1.0):
        return v * k

    @s.compiled
    def loss(x):
        return wb.mean(helper(x @ w))

    def change(i):
        if i == 3:
            helper.__defaults__ = (4.0,)
        if i == 7:
            helper.__code__ = (lambda v, k=1.0: v + k).__code__

    return s.descends(loss, w, change=change)


@row(fits=True)
def registry_of_functions(s):
    w, registry = leaf(3), {"act": wb.tanh}

    @s.compiled
    def loss(x):
        return wb.mean(registry["act"](x @ w))

    return s.descends(loss, w, change=lambda i: registry.update(act=(wb.tanh, wb.sin, lambda v: v * i)[i // 2 % 3]))


@row(fits=True)
def partial_whose_arguments_change(s):
    w, keywords = leaf(3), {"k": 1.0}
    act = functools.partial(lambda o, v: v * o["k"], keywords)

    @s.compiled
    def loss(x):
        return wb.mean(act(x @ w))

    return s.descends(loss, w, change=lambda i: keywords.update(k=1.0 + i))


@row(fits=True)
def singledispatch_and_weak_dictionary(s):
    w, names = leaf(3), weakref.WeakValueDictionary()
    names["w"] = w

    @functools.singledispatch
    def scaled(k, v):
        return v

    scaled.register(int, lambda k, v: v * 2.0)

    @s.compiled
    def loss(x):
        k = 1 if len(names) else "text"
        return wb.mean(scaled(k, x @ names.get("w", w)))

    def change(i):
        if i == 5:
            scaled.register(int, lambda k, v: v * 3.0)

    return s.descends(loss, w, change=change)


@row(fits=True)
def large_things_in_a_closure(s):
    w, arrays = leaf(3), [normal(50, seed=k) for k in range(200)]
    table = {k: float(k) for k in range(10_000)}

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * table[len(arrays)] + arrays[7][0] * wb.sum(w)

    def change(i):
        arrays[7][0] = float(i)
        table[len(arrays)] = 1.0 + i % 3

    return s.descends(loss, w, change=change)


@row(fits=True)
def numpy_settings(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        s.note(np.get_printoptions()["precision"], str(x[0, 0] * 0.0 + 1 / 3))
        return wb.mean((x @ w) ** 2) * np.get_printoptions()["precision"]

    step = s.descends(loss, w)

    def call(i):
        with np.printoptions(precision=2 + i % 3):
            return step(i)

    return call


@row
def argument_that_is_a_settings_object(s):
    w = leaf(3)

    @s.compiled
    def loss(x, config):
        return wb.mean((x @ w) ** 2) * config.rate if config.name != "off" else wb.mean(x @ w)

    return s.descends(loss, w, given=lambda i: (batch(i), Config(1.0 + i, "off" if i % 4 == 3 else "on")))
