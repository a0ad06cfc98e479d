"""Nothing around a compiled function is frozen: what it reads besides its arguments may change from call to call.

`AROUND` and `ALSO` are tables of what that may be. A promised function may read two such things: random numbers that
layers draw, and branches on Values.
"""

import array
import collections
import dataclasses
import functools
import operator
import sys
import threading
import types
import weakref

import numpy as np
import pytest
from both_ways import V, X, agree, back, gradients, normal

import tinygrad_wb as wb
from tinygrad_wb.operation import REGISTRY, operation

WAYS = pytest.mark.parametrize("pure", [False, True], ids=["followed", "promised"])


class Config:
    rate = 0.5
    __slots__ = ("inner",)


class Plain:
    scale = 1.0

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def scaled(self, v):
        return v * self.scale

    @property
    def double(self):
        return self.half * 4.0

    @staticmethod
    def still(v):
        return v * SETTINGS["still"]

    @classmethod
    def of_the_class(cls, v):
        return v * cls.scale


class Derived(Plain):
    def twice(self, v):
        return super().scaled(v) * 2.0


@dataclasses.dataclass
class Options:
    rate: float = 1.0
    names: list = dataclasses.field(default_factory=list)


SETTINGS = {"still": 1.0}
RATE = 1.0
TABLE = np.ones(3)
module = types.ModuleType("some_settings")
exec("rate = 1.0\ntable = [1.0]\ndef scaled(v):\n    return v * rate\n", vars(module))
sys.modules["some_settings"] = module
inner_module = types.ModuleType("some_settings.inner")
inner_module.rate = 1.0
module.inner = inner_module


def uses_a_global(v):
    return v * RATE


def one_global():
    def change(i):
        global RATE  # noqa: PLW0603
        RATE = 1.0 + i

    return lambda x, w: uses_a_global(w * x), change


def a_global_array():
    return lambda x, w: w * x * TABLE, functools.partial(TABLE.__setitem__, 1)


def a_closed_over_array():
    a = np.ones(3)
    return lambda x, w: w * x + a, a.fill


def an_array_that_is_rebound():
    a = np.ones(3)

    def change(i):
        nonlocal a
        a = np.full(3, float(i))

    return lambda x, w: w * x + a, change


def an_element_of_an_array():
    a = np.ones(3)
    return lambda x, w: w * x * a[1], functools.partial(a.__setitem__, 1)


def plain_numpy_of_an_array():
    a = np.ones(3)
    return lambda x, w: w * x * (a / 255.0), a.fill


def an_array_read_twice():
    mask = np.ones(3)
    return lambda x, w: w * x * mask / mask.sum() + mask / 2.0, functools.partial(mask.__setitem__, 0)


def a_branch_on_an_array():
    a = np.zeros(3)
    return lambda x, w: w * x if a.any() else w + x, lambda i: a.__setitem__(2, i % 3)


def an_index_array():
    index = np.array([0, 1, 2])
    return lambda x, w: w[index] * x, lambda i: index.__setitem__(0, i % 3)


def a_reshaped_array():
    a = np.arange(3.0)
    shapes = (1, 3), (3,)
    return lambda x, w: w * x + (a.shape[0] if a.ndim == 1 else 7.0), lambda i: a.resize(shapes[i % 2], refcheck=False)


def a_default_array():
    a = np.ones(3)
    return lambda x, w, c=a: w * x * c, a.fill


def an_array_in_a_list():
    arrays = [np.ones(3), np.ones(3)]
    return lambda x, w: w * x * arrays[1], arrays[1].fill


def another_array_in_a_list():
    arrays = [np.ones(3), np.ones(3)]
    return lambda x, w: w * x * arrays[1], lambda i: arrays.__setitem__(1, np.full(3, float(i)))


def an_array_of_an_object():
    o = Plain(a=np.ones(3))
    return lambda x, w: w * x * o.a, o.a.fill


def a_number():
    c = 1.0

    def change(i):
        nonlocal c
        c = float(i)

    return lambda x, w: w * x * c, change


def a_numpy_number():
    c = np.float64(1.0)

    def change(i):
        nonlocal c
        c = np.float64(i)

    return lambda x, w: w * x * c, change


def a_flag():
    flags = {"on": True}
    return lambda x, w: w * x if flags["on"] else w + x, lambda i: flags.update(on=i % 2 == 0)


def a_list():
    factors = [1.0]
    return lambda x, w: w * x * sum(factors), lambda i: factors.append(float(i)) if i < 5 else factors.clear()


def a_list_in_a_list():
    factors = [[1.0], [2.0]]
    return lambda x, w: w * x * factors[1][0], functools.partial(factors[1].__setitem__, 0)


def the_keys_of_a_dictionary():
    d = {"a": 1.0, "b": 2.0}

    def change(i):
        d.clear()
        d.update({"a": 1.0, "b": 2.0} if i % 2 else {"b": 1.0, "a": 2.0})

    return lambda x, w: w * x * d["a"], change


def a_set():
    names = {"a"}
    return lambda x, w: w * x if "b" in names else w + x, lambda i: names.add("b") if i % 2 else names.discard("b")


def a_deque():
    d = collections.deque([1.0], maxlen=1)
    return lambda x, w: w * x * d[0], lambda i: d.append(float(i))


def bytes_in_an_array():
    b = bytearray([1])
    return lambda x, w: w * x * b[0], functools.partial(b.__setitem__, 0)


def an_attribute():
    o = Plain(scale=1.0)
    return lambda x, w: o.scaled(w * x), lambda i: setattr(o, "scale", float(i))


def an_attribute_of_an_attribute():
    o = Plain(inner=Plain(c=1.0))
    return lambda x, w: w * x * o.inner.c, lambda i: setattr(o.inner, "c", float(i))


def an_attribute_that_was_not_there():
    o = Plain()

    def change(i):
        if i % 2:
            o.scale = 3.0
        else:
            vars(o).pop("scale", None)

    return lambda x, w: w * x * o.scale, change


def an_attribute_by_getattr():
    o = Plain(c=1.0)
    name = str(bytes([99]), "ascii")
    return lambda x, w: w * x * getattr(o, name), lambda i: setattr(o, "c", float(i))


def an_attribute_of_a_class():
    return lambda x, w: w * x * Config.rate, lambda i: setattr(Config, "rate", float(i))


def an_attribute_of_the_class_of_an_object():
    o = Derived()
    return lambda x, w: o.twice(w * x) + o.of_the_class(w), lambda i: setattr(Plain, "scale", float(i))


def a_slot():
    o = Config()
    o.inner = 1.0
    return lambda x, w: w * x * o.inner, lambda i: setattr(o, "inner", float(i))


def a_property():
    o = Plain(half=0.5)
    return lambda x, w: w * x * o.double, lambda i: setattr(o, "half", float(i))


def a_static_method():
    return lambda x, w: Plain.still(w * x), lambda i: SETTINGS.update(still=float(i))


def a_method_that_is_replaced():
    o = Plain()
    return lambda x, w: o.scaled(w * x), lambda i: setattr(o, "scaled", (lambda v: v * 5.0) if i % 2 else (lambda v: v))


def a_method_of_a_class_that_is_replaced():
    class Local:
        def act(self, v):
            return v

    o = Local()
    return lambda x, w: o.act(w * x), lambda i: setattr(Local, "act", lambda self, v: v * float(i))


def a_dataclass():
    o = Options()
    return lambda x, w: w * x * o.rate + len(o.names), lambda i: (setattr(o, "rate", float(i)), o.names.append("n"))


def a_dataclass_as_a_dictionary():
    o = Options()
    return lambda x, w: w * x * dataclasses.asdict(o)["rate"], lambda i: setattr(o, "rate", float(i))


def a_namespace():
    o = types.SimpleNamespace(rate=1.0)
    return lambda x, w: w * x * o.rate, lambda i: setattr(o, "rate", float(i))


def an_attribute_of_a_module():
    return lambda x, w: w * x * module.rate, lambda i: setattr(module, "rate", float(i))


def an_attribute_of_a_module_that_is_imported_inside():
    def f(x, w):
        import some_settings

        return w * x * some_settings.rate

    return f, lambda i: setattr(module, "rate", float(i))


def a_name_that_is_imported_inside():
    def f(x, w):
        from some_settings import rate

        return w * x * rate

    return f, lambda i: setattr(module, "rate", float(i))


def a_list_of_a_module():
    return lambda x, w: w * x * module.table[0], lambda i: module.table.__setitem__(0, float(i))


def a_global_of_a_function_of_a_module():
    return lambda x, w: module.scaled(w * x), lambda i: setattr(module, "rate", float(i))


def an_attribute_of_a_module_in_a_module():
    return lambda x, w: w * x * module.inner.rate, lambda i: setattr(inner_module, "rate", float(i))


def an_attribute_of_a_function():
    def f(x, w):
        return w * x * f.rate

    f.rate = 1.0
    return f, lambda i: setattr(f, "rate", float(i))


def what_a_helper_reads():
    c = [1.0]

    def helper(v):
        def inner(u):
            return u * c[0]

        return inner(v)

    return lambda x, w: next(helper(v) for v in [w * x]), lambda i: c.__setitem__(0, float(i))


def a_helper_that_is_replaced():
    helpers = {"act": wb.tanh}
    return lambda x, w: helpers["act"](w * x), lambda i: helpers.update(act=wb.tanh if i % 2 else wb.exp)


def lambdas_in_a_list():
    c = [1.0]
    steps = [lambda v: v * c[0], lambda v: v + c[0]]
    return lambda x, w: steps[1](steps[0](w * x)), lambda i: c.__setitem__(0, float(i))


def a_partial():
    c = [1.0]
    p = functools.partial(lambda k, v: v * k["k"] * c[0], {"k": 2.0})
    return lambda x, w: p(w * x), lambda i: (c.__setitem__(0, float(i)), p.args[0].update(k=float(i)))


def the_function_is_a_partial():
    c = [1.0]
    return functools.partial(lambda k, x, w: w * x * k * c[0], 2.0), lambda i: c.__setitem__(0, float(i))


def the_function_is_a_method():
    o = Derived()
    o.run = types.MethodType(lambda self, x, w: self.twice(w * x), o)
    return o.run, lambda i: setattr(o, "scale", float(i))


def the_function_is_an_object():
    class Act:
        c = 1.0

        def __call__(self, x, w):
            return w * x * self.c

    o = Act()
    return o, lambda i: setattr(o, "c", float(i))


def a_decorated_function():
    c = [1.0]

    def decorated(f):
        @functools.wraps(f)
        def wrapper(*args):
            return f(*args) * c[0]

        return wrapper

    @decorated
    def f(x, w):
        return w * x * c[0]

    return f, lambda i: c.__setitem__(0, float(i))


def a_cached_function():
    c = [1.0]

    @functools.lru_cache
    def factor(n):
        return n * 2.0

    return lambda x, w: w * x * factor(3) * c[0], lambda i: c.__setitem__(0, float(i))


def what_a_derivative_is_of():
    c = [1.0]
    slope = wb.grad(lambda v: wb.sum(v * v) * c[0])
    return lambda x, w: slope(w * x), lambda i: c.__setitem__(0, float(i))


def a_compiled_function_inside():
    c = [1.0]
    inner = wb.compile(lambda v: v * c[0])
    return lambda x, w: inner(w * x), lambda i: c.__setitem__(0, float(i))


def an_enumeration_of_a_generator_expression():
    c = [1.0, 2.0]
    return lambda x, w: sum(w * x * k for k in c if k > SETTINGS["still"] - 9.0), lambda i: SETTINGS.update(
        still=i * 3.0
    )


def a_match_statement():
    o = Options()

    def f(x, w):
        match o:
            case Options(rate=0.0 | 1.0):
                return w * x
        return w + x

    return f, lambda i: setattr(o, "rate", float(i % 3))


def an_option_of_an_operation():
    o = {"axis": 0, "slope": 0.1}
    return lambda x, w: wb.leaky_relu(w * x, o["slope"]), lambda i: o.update(slope=0.1 * i)


def a_schedule():
    o = Plain(optimizer=wb.SGD([wb.Value(1.0)], lambda step: 0.1 * step))
    return lambda x, w: w * x * o.optimizer.rate, lambda i: setattr(o.optimizer, "steps", i)


def an_operation_of_ones_own():
    def change(i):
        global RATE  # noqa: PLW0603
        RATE = 1.0 + i

    if "times_the_rate" not in REGISTRY:

        @operation(da=lambda g, y, a: g * RATE)
        def times_the_rate(a):
            return a * RATE

    function = REGISTRY["times_the_rate"].function
    return lambda x, w: function(w * x), change


class Meta(type):
    rate = 1.0


class Counted(metaclass=Meta):
    pass


class Described:
    half = property(lambda self: self.__dict__["stored"] / 2.0)

    def __getattr__(self, name):
        return self.stored * len(name)


class Items(dict):
    __getattr__ = dict.__getitem__


def scaled_by(v, c=1.0):
    return v * c


def also(make_thing, f, change):
    """A case in one line: of a thing, what the function makes of w · x, and how the thing changes."""

    def make():
        thing = make_thing()
        return lambda x, w: f(w * x, thing), lambda i: change(thing, float(i))

    return make


def put(t, i):
    t[0] = i


def put_a(t, i):
    t["a"] = i


ALSO = {
    "a metaclass": also(lambda: Counted, lambda v, t: v * t.rate, lambda t, i: setattr(Meta, "rate", i)),
    "a descriptor": also(Described, lambda v, t: v * t.half, lambda t, i: setattr(t, "stored", i)),
    "a made-up attribute": also(Described, lambda v, t: v * t.abc, lambda t, i: setattr(t, "stored", i)),
    "a dictionary's attribute": also(lambda: Items(a=1.0), lambda v, t: v * t.a, put_a),
    "a ChainMap": also(lambda: collections.ChainMap({"a": 1.0}), lambda v, t: v * t["a"], put_a),
    "a UserDict": also(lambda: collections.UserDict(a=1.0), lambda v, t: v * t["a"], put_a),
    "a mapping proxy": also(
        lambda: (d := {"a": 1.0}, types.MappingProxyType(d)), lambda v, t: v * t[1]["a"], lambda t, i: put_a(t[0], i)
    ),
    "thread-local": also(threading.local, lambda v, t: v * t.c, lambda t, i: setattr(t, "c", i)),
    "an array.array": also(lambda: array.array("d", [1.0]), lambda v, t: v * t[0], put),
    "a structured array": also(lambda: np.zeros(1, [("a", float)]), lambda v, t: v * t["a"][0], lambda t, i: put(t["a"], i)),
    "an array of objects": also(lambda: np.array([{"a": 1.0}]), lambda v, t: v * t[0]["a"], lambda t, i: put_a(t[0], i)),
    "a masked array": also(lambda: np.ma.array([1.0, 2.0], mask=[0, 0]), lambda v, t: v * t.sum(), lambda t, i: setattr(t, "mask", [0, i % 2])),
    "an array without axes": also(lambda: np.array(1.0), lambda v, t: v * float(t), lambda t, i: t.fill(i)),
    "a polynomial": also(lambda: np.poly1d([1.0, 2.0]), lambda v, t: v * t(2.0), put),
    "a vectorized function": also(
        lambda: (c := [1.0], np.vectorize(lambda u: u * c[0])), lambda v, t: v * t[1](np.ones(3)), lambda t, i: put(t[0], i)
    ),
    "a weak reference": also(lambda: (o := Plain(c=1.0), weakref.ref(o)), lambda v, t: v * t[1]().c, lambda t, i: setattr(t[0], "c", i)),
    "an attrgetter": also(
        lambda: (Plain(a=Plain(b=1.0)), operator.attrgetter("a.b")), lambda v, t: v * t[1](t[0]), lambda t, i: setattr(t[0].a, "b", i)
    ),
    "a methodcaller": also(
        lambda: (Plain(), operator.methodcaller("scaled", 2.0)), lambda v, t: v * t[1](t[0]), lambda t, i: setattr(t[0], "scale", i)
    ),
    "defaults of a helper": also(lambda: scaled_by, lambda v, t: t(v), lambda t, i: setattr(t, "__defaults__", (i,))),
    "code of a helper": also(
        lambda: types.FunctionType(scaled_by.__code__, globals(), "copy", (2.0,)), lambda v, t: t(v),
        lambda t, i: setattr(t, "__code__", (scaled_by if i % 2 else lambda v, c: v + c).__code__),
    ),
    "a generator made anew": also(lambda: [1.0], lambda v, t: v * next(k for k in t), put),
}  # fmt: skip


AROUND = [
    one_global, a_global_array, a_closed_over_array, an_array_that_is_rebound, an_element_of_an_array, plain_numpy_of_an_array,
    an_array_read_twice, a_branch_on_an_array, an_index_array, a_reshaped_array, a_default_array, an_array_in_a_list,
    another_array_in_a_list, an_array_of_an_object, a_number, a_numpy_number, a_flag, a_list, a_list_in_a_list,
    the_keys_of_a_dictionary, a_set, a_deque, bytes_in_an_array, an_attribute, an_attribute_of_an_attribute,
    an_attribute_that_was_not_there, an_attribute_by_getattr, an_attribute_of_a_class, an_attribute_of_the_class_of_an_object,
    a_slot, a_property, a_static_method, a_method_that_is_replaced, a_method_of_a_class_that_is_replaced, a_dataclass,
    a_dataclass_as_a_dictionary, a_namespace, an_attribute_of_a_module, an_attribute_of_a_module_that_is_imported_inside,
    a_name_that_is_imported_inside, a_list_of_a_module, a_global_of_a_function_of_a_module, an_attribute_of_a_module_in_a_module,
    an_attribute_of_a_function, what_a_helper_reads, a_helper_that_is_replaced, lambdas_in_a_list, a_partial,
    the_function_is_a_partial, the_function_is_a_method, the_function_is_an_object, a_decorated_function, a_cached_function,
    what_a_derivative_is_of, a_compiled_function_inside, an_enumeration_of_a_generator_expression, a_match_statement,
    an_option_of_an_operation, a_schedule, an_operation_of_ones_own,
]  # fmt: skip


ON_THE_SPOT = what_a_derivative_is_of, an_operation_of_ones_own  # these need numbers in the middle of a call


@pytest.fixture(autouse=True)
def restored():
    """What the tests change is as it was afterwards."""
    before = RATE, SETTINGS["still"], Config.rate, Plain.scale, module.rate, module.table[0], inner_module.rate
    yield
    globals()["RATE"], SETTINGS["still"], Config.rate, Plain.scale, module.rate, module.table[0], inner_module.rate = (
        before
    )
    TABLE.fill(1.0)
    REGISTRY.pop("times_the_rate", None)


@pytest.mark.parametrize("make", AROUND, ids=lambda make: make.__name__)
def test_what_changes_around_a_function_shows_at_the_next_call(make):
    f, change = make()
    w = V()
    compiled = wb.compile(f)
    for i in [0, 0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 0, 1, 0, 1, 0]:
        change(i)
        for k in range(1 + i % 2):
            x = normal(3, seed=10 * i + k)
            wb.sum(f(x, w)).backward()
            expected, slope = f(x, w).data, gradients([w])
            y = compiled(x, w)
            wb.sum(y).backward()
            agree(y.data, expected)
            agree(gradients([w]), slope)
    assert compiled.replaying == (make not in ON_THE_SPOT)


@pytest.mark.parametrize("name", ALSO)
def test_what_else_changes_around_a_function(name):
    test_what_changes_around_a_function_shows_at_the_next_call(ALSO[name])
    scaled_by.__defaults__, Meta.rate = (1.0,), 1.0


def test_layers_that_are_replaced_and_weights_that_are_tied():
    model = wb.Sequential(wb.Dense(3, 3, "tanh", seed=0), wb.Dense(3, 3, seed=1))
    more = Plain(layers=[model], after=None)

    def f(x):
        for layer in more.layers:
            x = layer(x)
        return x if more.after is None else more.after(x)

    compiled = wb.compile(f)

    def tie():
        model.layers[1].weight = model.layers[0].weight

    changes = [
        lambda: None, lambda: more.layers.append(wb.Dense(3, 3, seed=2)), lambda: setattr(more, "after", wb.relu), tie,
        lambda: setattr(model.layers[0], "bias", wb.Value(np.ones(3))), lambda: setattr(model.layers[0], "bias", None),
        lambda: setattr(model.layers[0], "activation", wb.sin), lambda: setattr(model, "layers", model.layers[:1]),
        lambda: more.layers.insert(0, wb.Dropout(0.0)), lambda: setattr(more.layers[1], "forward", lambda x: x),
    ]  # fmt: skip
    for change in changes:
        change()
        for x in X:
            leaves = [p for layer in more.layers for p in layer.parameters()]
            wb.sum(f(x) ** 2).backward()
            slopes = gradients(leaves)
            wb.sum(compiled(x) ** 2).backward()
            agree(gradients(leaves), slopes)
            agree(compiled(x).data, f(x).data)
    assert compiled.replaying


# -- random numbers -----------------------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox"])
def test_random_numbers_of_layers_are_drawn_anew_as_without_compiling(kind, pure):
    def model():
        rng = np.random.Generator(getattr(np.random, kind)(3))
        return wb.Sequential(
            wb.Dense(3, 8, seed=0), wb.Dropout(0.5, rng), wb.Dense(8, 2, seed=1), wb.Dropout(0.2, seed=1)
        )

    models = model(), model()
    f = wb.compile(lambda x: wb.sum(models[0](x) ** 2), pure)
    for i, x in enumerate(X * 4):
        if i in (6, 8, 13) and not pure:  # a promise that nothing but random numbers changes
            for m in models:
                m.train(i == 8)
        expected = wb.sum(models[1](x) ** 2)
        expected.backward()
        got = f(x)
        got.backward()
        agree(got.data, expected.data)
        agree(gradients(models[0].parameters()), gradients(models[1].parameters()))
    assert f.replaying


@WAYS
def test_random_numbers_stay_in_step_where_a_branch_goes_another_way(pure):
    layers = wb.Dropout(0.5, seed=0), wb.Dropout(0.5, seed=0)
    w = wb.Value(np.ones(3))

    def f(layer, x):
        y = layer(x * w)
        if wb.sum(x) > 0.0:
            y = layer(y)
        return wb.sum(y)

    compiled = wb.compile(lambda x: f(layers[0], x), pure)
    for i in range(20):
        x = normal(3, seed=i)
        assert compiled(x).data == f(layers[1], x).data
    assert compiled.replaying


# -- branches ---------------------------------------------------------------------------------------------------------------


def while_loop(x, w):
    y, n = wb.sum(w * x), 0
    while y < 2.0 and n < 3:
        y, n = y + 1.5, n + 1
    return y


def unary_branch(x, w):
    y = wb.sum(w * x)
    assert wb.sum(x * x) > 0.0
    return -y if not y else y * (1.0 if 0.5 < y < 2.0 or y < -1.0 else 3.0)


BRANCHES = {
    "if": lambda x, w: wb.sum(w * x) * 2.0 if wb.sum(x * w) < 0.3 else wb.sum(w),
    "while": while_loop,
    "and, or, not, assert": unary_branch,
    "max": lambda x, w: max(wb.sum(w * x), wb.sum(w), w[0] * 0.5),
    "min of elements": lambda x, w: min(w * x, key=lambda v: v * v) * 2.0,
    "sorted": lambda x, w: sorted([wb.sum(w * x), wb.sum(w), wb.sum(x)])[1] * w[0],
    "equal": lambda x, w: wb.sum(w) if wb.sum(x) == wb.sum(x * 1.0) and x[0] != x[1] else wb.sum(w * x),
    "of an argument alone": lambda x, w: wb.sum(w * x) if x[0] > 0.0 else wb.mean(w),
    "any": lambda x, w: wb.sum(w) if any(v > 1.0 for v in x) else wb.sum(w * x),
    "filter": lambda x, w: sum([v * w[0] for v in x[:2] if v > 0.0], w[1]),
    "clip by norm": lambda x, w: w * x / n if (n := wb.sqrt(wb.sum(w * x * w * x))) > 1.0 else w * x,
}


@WAYS
@pytest.mark.parametrize("name", BRANCHES)
def test_a_branch_on_a_value_is_taken_anew(name, pure):
    f, w = BRANCHES[name], V()
    compiled = wb.compile(lambda x: f(x, w), pure)
    for i in range(40):
        x = np.round(normal(3, seed=i % 13) * (1.0 + i % 2), 1)
        back(f(x, w))
        expected = gradients([w])
        y = compiled(x)
        back(y)
        agree(y.data, f(x, w).data)
        agree(gradients([w]), expected)
        if i % 10 == 9:
            w.data = w.data * -1.0
