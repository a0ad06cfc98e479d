"""Modules: how they find, name, show, count and copy their parameters."""

import collections
import contextlib
import copy
import dataclasses
import pickle

import numpy as np
import pytest

import tinygrad_wb as wb

COPIERS = {"pickle": lambda m: pickle.loads(pickle.dumps(m)), "deepcopy": copy.deepcopy}


@pytest.fixture(params=COPIERS)
def copied(request):
    return COPIERS[request.param]


def names(module):
    return [name for name, _ in module.named_parameters()]


class Net(wb.Module):
    """Two layers as plain attributes."""

    def __init__(self, seed=0):
        self.hidden = wb.Dense(8, 16, "tanh", seed=seed)
        self.out = wb.Dense(16, 3, seed=seed + 1)

    def forward(self, x):
        return self.out(self.hidden(x))


class Tied(wb.Module):
    """One weight, used on the way in and on the way out."""

    def __init__(self):
        self.encode = wb.Dense(4, 2, "tanh", seed=0)
        self.decode = wb.Dense(2, 4, seed=1)
        self.decode.weight = self.encode.weight
        self.scale = wb.Value(0.5)

    def forward(self, x):
        return self.encode(x) @ self.decode.weight.T * self.scale


class Holder(wb.Module):
    """Whatever it is given, as the attribute ``held``."""

    def __init__(self, held):
        self.held = held


class Child(wb.Module):
    def __init__(self, parent):
        self.parent = parent
        self.v = wb.Value(2.0)


# -- finding --------------------------------------------------------------------------------------------------------


def a():
    return wb.Value(1.0)


FOUND = {
    "a Value": (a, ["held"]),
    "a list": (lambda: [a(), a()], ["held.0", "held.1"]),
    "a tuple": (lambda: (a(), a()), ["held.0", "held.1"]),
    "a dict": (lambda: {"in": a(), "out": a()}, ["held.in", "held.out"]),
    "a dict by number": (lambda: {7: a()}, ["held.7"]),
    "nested": (lambda: [{"deep": (a(), [a()])}, a()], ["held.0.deep.0", "held.0.deep.1.0", "held.1"]),
    "a module": (lambda: wb.Dense(2, 1), ["held.weight", "held.bias"]),
    "modules in a list": (
        lambda: [wb.Dense(2, 1), wb.Dense(1, 1, bias=False)],
        ["held.0.weight", "held.0.bias", "held.1.weight"],
    ),
    "modules in a dict": (lambda: {"key": wb.Dense(2, 1)}, ["held.key.weight", "held.key.bias"]),
    "module in a module": (lambda: Holder(wb.Dense(2, 1)), ["held.held.weight", "held.held.bias"]),
    "a sequence": (lambda: wb.MLP(2, [3], 1), ["held.0.weight", "held.0.bias", "held.1.weight", "held.1.bias"]),
    "beside other things": (lambda: [3, "text", None, np.ones(2), a()], ["held.4"]),
    "nothing": (lambda: (3, "text", np.ones(2), {}, []), []),
    "a computed Value": (lambda: a() * 2.0, []),
    "the same Value twice": (lambda: [v := a(), v, {"again": v}], ["held.0"]),
    "the same module twice": (lambda: [d := wb.Dense(2, 1), d], ["held.0.weight", "held.0.bias"]),
}


@pytest.mark.parametrize(("held", "expected"), FOUND.values(), ids=FOUND)
def test_parameters_are_found_once_and_named_by_their_path(held, expected):
    model = Holder(held())
    assert names(model) == expected
    parameters = model.parameters()
    assert [p.name for p in parameters] == expected
    assert [id(p) for p in parameters] == [id(p) for _, p in model.named_parameters()]
    assert all(type(p) is wb.Value and p.op is None for p in parameters)


def test_parameters_come_in_the_order_of_assignment():
    model = Net()
    assert names(model) == ["hidden.weight", "hidden.bias", "out.weight", "out.bias"]
    assert model.parameters()[0] is model.hidden.weight
    assert model.parameters()[3] is model.out.bias


def test_a_list_may_grow_after_it_was_assigned():
    model = Holder([])
    assert names(model) == []
    model.held.append(wb.Dense(2, 3, seed=0))
    model.held.append(wb.Value(1.0))
    assert names(model) == ["held.0.weight", "held.0.bias", "held.1"]
    assert model.held[1].name == "held.1"
    with pytest.raises(wb.ShapeError, match=r"Dense 'held\.0' takes 2 inputs"):
        model.held[0](np.ones((4, 5)))


def test_a_replaced_or_deleted_attribute_is_no_parameter():
    model = Net()
    old = model.out
    model.out = wb.Dense(16, 3, bias=False)
    assert names(model) == ["hidden.weight", "hidden.bias", "out.weight"]
    assert not any(p is old.weight for p in model.parameters())
    del model.hidden
    assert names(model) == ["out.weight"]


def test_shared_parameters_come_once_under_their_first_path():
    assert names(Tied()) == ["encode.weight", "encode.bias", "decode.bias", "scale"]


def test_named_modules_are_paths_from_the_model():
    model = Holder([Net(), wb.Dropout(0.5)])
    found = dict(model.named_modules())
    assert list(found) == ["", "held.0", "held.0.hidden", "held.0.out", "held.1"]
    assert found[""] is model
    assert found["held.0.out"] is model.held[0].out


def test_a_module_with_parts_of_a_subclassed_sequence_keeps_its_own_parameters():
    class Scaled(wb.Sequential):
        def __init__(self):
            super().__init__(wb.Dense(2, 2, seed=0))
            self.scale = wb.Value(1.0)

        def forward(self, x):
            return super().forward(x) * self.scale

    model = Scaled()
    assert any(p is model.scale for p in model.parameters()), names(model)


# -- naming ---------------------------------------------------------------------------------------------------------


def test_values_are_named_by_their_path_from_the_whole_model():
    dense = wb.Dense(2, 1)
    assert (dense.weight.name, dense.bias.name) == ("weight", "bias")
    inner = Holder(dense)
    assert dense.weight.name == "held.weight"
    model = Holder([inner])
    assert dense.weight.name == "held.0.held.weight"
    assert names(model) == ["held.0.held.weight", "held.0.held.bias"]
    assert names(dense) == ["weight", "bias"], "a part's own paths start at itself"
    assert dense.weight.name == "held.0.held.weight", "… and asking for them renames nothing"


def test_a_name_that_the_user_gave_is_kept():
    model = Holder({"w": wb.Value(1.0, name="slope"), "b": wb.Value(0.0)})
    assert names(model) == ["held.w", "held.b"]
    assert [p.name for p in model.parameters()] == ["slope", "held.b"]
    Holder(model)
    assert [p.name for p in model.parameters()] == ["slope", "held.held.b"]


def test_a_name_that_the_user_gave_is_kept_though_it_ends_like_a_path():
    class Child(wb.Module):
        def __init__(self, parent=None):
            self.w, self.slope = wb.Value(1.0, name="line.w"), wb.Value(1.0, name="steep")
            if parent is not None:
                self.parent = parent

    assert [p.name for p in Child().parameters()] == ["line.w", "steep"]
    model = Holder(None)
    model.held = Child(parent=model)
    assert "steep" in [p.name for p in model.parameters()], "where a part knows its parent, too"


@pytest.mark.parametrize("first", ["parent", "value"])
def test_a_part_that_knows_its_parent_neither_hangs_nor_spoils_the_names(first):
    class Parent(wb.Module):
        def __init__(self):
            if first == "value":
                self.w = wb.Value(1.0)
            self.child = Child(self)
            if first == "parent":
                self.w = wb.Value(1.0)
            self.layer = wb.Dense(2, 1)

    model = Parent()
    assert sorted(names(model)) == ["child.v", "layer.bias", "layer.weight", "w"]
    assert sorted(p.name for p in model.parameters()) == ["child.v", "layer.bias", "layer.weight", "w"]
    with pytest.raises(wb.ShapeError, match="Dense 'layer' takes 2 inputs"):
        model.layer(np.ones((3, 5)))
    assert model.eval() is model
    assert not model.child.training
    assert "child" in repr(model)
    twin = copy.deepcopy(model)
    assert twin.child.parent is twin


def test_a_module_that_holds_itself_does_not_hang():
    model = Holder(None)
    model.held = [model, wb.Value(1.0)]
    assert [p.data for p in model.parameters()] == [1.0]
    assert repr(model).startswith("Holder(")


# -- what is not lost in silence ------------------------------------------------------------------------------------


def step_by_hand(w):
    return w - 0.1 * np.ones(w.shape)


def in_a_list(model, new):
    model.held[0] = new


# what a module holds, what is done to it, and what the error says
REPLACED = {
    "an array": (a, lambda m: setattr(m, "held", np.ones(2)), "an array of shape \\(2,\\).*held.data = ….* or model.held = wb.Value"),
    "a number": (a, lambda m: setattr(m, "held", 3.0), "Holder: held is a parameter, and a float"),
    "a step by hand": (a, lambda m: setattr(m, "held", step_by_hand(m.held)), "a Value computed by subtract.*held.data = model.held.data - rate \\* model.held.grad"),
    "a list of arrays": (lambda: [a(), a()], lambda m: setattr(m, "held", [np.ones(2), np.ones(2)]), r"held\[0\] is a parameter"),
    "steps by hand": (lambda: [a(), a()], lambda m: setattr(m, "held", [step_by_hand(w) for w in m.held]), r"held\[0\]"),
    "a place in a list": (lambda: [a(), a()], lambda m: in_a_list(m, np.ones(2)), r"held\[0\]\.data = …"),
    "a step by hand in a list": (lambda: [a()], lambda m: in_a_list(m, step_by_hand(m.held[0])), "computed by subtract"),
    "a place in a dict": (lambda: {"in": a()}, lambda m: m.held.update({"in": 2.0}), r"held\['in'\]"),
    "deep in a list": (lambda: [[a()], a()], lambda m: setattr(m, "held", [[1.0], a()]), r"held\[0\]\[0\]"),
    "a module by a function": (lambda: wb.Dense(2, 1), lambda m: setattr(m, "held", wb.tanh), r"the function tanh.*wb\.Activation\(function\), or del"),
    "a module by its weights": (lambda: wb.Dense(2, 1), lambda m: setattr(m, "held", np.ones((2, 1))), "an array of shape"),
    "a module in a list": (lambda: [wb.Dense(2, 1)], lambda m: in_a_list(m, None.__class__), r"held\[0\]"),
    "in a part": (lambda: Holder([a()]), lambda m: in_a_list(m.held, np.ones(2)), r"Holder 'held': held\[0\].*held\.held\[0\]\.data"),
}  # fmt: skip


def seen_by_parameters(act, model):
    """A change inside a list is seen by ``parameters``, and so by whoever makes an optimizer, by fit and by save."""
    act(model)
    model.parameters()


@pytest.mark.parametrize(("held", "act", "message"), REPLACED.values(), ids=REPLACED)
@pytest.mark.parametrize("called", [False, True], ids=["new", "called before"])
def test_a_parameter_that_something_else_takes_the_place_of_is_noticed(held, act, message, called):
    model = Holder(held())
    model.forward = lambda: 0.0
    if called:
        model()
    assert names(model)
    with pytest.raises(TypeError, match=message):
        seen_by_parameters(act, model)


def test_a_refused_assignment_changes_nothing():
    layer = wb.Dense(2, 1, seed=0)
    weight = layer.weight
    for new in (np.ones((2, 1)), weight * 2.0, [1.0], "text", wb.tanh):
        with pytest.raises(TypeError, match="Dense: weight is a parameter, and"):
            layer.weight = new
    assert layer.weight is weight
    with pytest.raises(TypeError):
        layer.parameters = [weight]
    assert layer.parameters()[0] is weight


def test_fit_sees_a_weight_that_was_replaced_in_a_list():
    class Line(wb.Module):
        def __init__(self):
            self.weights = [wb.Value([[1.0]]), wb.Value(0.0)]

        def forward(self, x):
            return x @ self.weights[0] + self.weights[1]

    model = Line()
    optimizer = wb.SGD(model.parameters())
    model.weights[0] = np.array([[2.0]])
    with pytest.raises(TypeError, match=r"weights\[0\] is a parameter, and"):
        wb.fit(model, [[1.0]], [[1.0]], loss="mean_squared_error", optimizer=optimizer, progress=False)


# what a module holds, what may be done to it, and the parameters that there are then
ALLOWED = {
    "a new Value": (a, lambda m: setattr(m, "held", a()), ["held"]),
    "a new Value in a list": (lambda: [a(), a()], lambda m: in_a_list(m, a()), ["held.0", "held.1"]),
    "other numbers": (a, lambda m: setattr(m.held, "data", 3.0), ["held"]),
    "a step by hand without recording": (a, lambda m: setattr(m, "held", quietly(step_by_hand, m.held)), ["held"]),
    "such a step in a list": (lambda: [a()], lambda m: in_a_list(m, quietly(step_by_hand, m.held[0])), ["held.0"]),
    "None": (a, lambda m: setattr(m, "held", None), []),
    "None in a list": (lambda: [a(), a()], lambda m: in_a_list(m, None), ["held.1"]),
    "nothing": (a, lambda m: delattr(m, "held"), []),
    "a module": (a, lambda m: setattr(m, "held", wb.Dense(2, 1)), ["held.weight", "held.bias"]),
    "a Value in the place of a module": (lambda: wb.Dense(2, 1), lambda m: setattr(m, "held", a()), ["held"]),
    "a list of several": (a, lambda m: setattr(m, "held", [a(), a()]), ["held.0", "held.1"]),
    "an empty list": (lambda: [a(), a()], lambda m: setattr(m, "held", []), []),
    "a shorter list": (lambda: [a(), a()], lambda m: m.held.pop(), ["held.0"]),
    "another function": (lambda: wb.Activation("relu"), lambda m: setattr(m, "held", wb.tanh), []),
    "a function in the place of dropout": (lambda: [wb.Dropout(0.5), a()], lambda m: in_a_list(m, wb.tanh), ["held.1"]),
    "numbers beside them": (lambda: [a(), 3.0], lambda m: m.held.__setitem__(1, np.ones(2)), ["held.0"]),
}  # fmt: skip


def quietly(f, *args):
    with wb.no_grad():
        return f(*args)


@pytest.mark.parametrize(("held", "act", "expected"), ALLOWED.values(), ids=ALLOWED)
@pytest.mark.parametrize("called", [False, True], ids=["new", "called before"])
def test_what_may_take_the_place_of_a_parameter(held, act, expected, called):
    model = Holder(held())
    model.forward = lambda: 0.0
    if called:
        model()
    names(model)
    act(model)
    assert names(model) == expected
    model()
    assert names(model) == expected


def test_a_tied_weight_can_not_be_replaced_either():
    model = Tied()
    names(model)  # under its first path, in encode
    with pytest.raises(TypeError, match="Dense 'decode': weight is a parameter"):
        model.decode.weight = np.ones((2, 4))


@pytest.mark.parametrize("method", ["parameters", "named_parameters", "own_parameters", "named_modules", "state", "train",
                                    "eval", "zero_grad", "summary", "describe", "members"])  # fmt: skip
def test_an_attribute_can_not_hide_a_method(method):
    for content in ([a()], a(), wb.Dense(2, 1), "text", None):
        model = Holder(None)
        with pytest.raises(
            TypeError, match=rf"Holder\.{method} = .* would hide the method {method}\(\).*self\.own_{method}"
        ):
            setattr(model, method, content)
        assert names(model) == []


def test_an_attribute_of_a_class_can_not_hide_a_method():
    with pytest.raises(TypeError, match=r"Line\.parameters = a list would hide the method parameters\(\)"):
        type("Line", (wb.Module,), {"parameters": [a()]})

    class Frozen(wb.Module):  # a method of its own may take the place
        def parameters(self):
            return []

        eval = property(lambda self: lambda: self)

    assert Frozen().parameters() == []


def test_a_module_may_have_a_method_of_its_own_for_one_of_its_instances():
    model = Holder(a())
    model.describe = lambda: "my own"
    model.forward = lambda x: x * model.held
    assert repr(model) == "Holder(my own)"
    assert model(3.0).data == 3.0
    assert names(model) == ["held"]


@pytest.mark.parametrize("data", [np.ones(3), wb.Value(1.0), [1.0, 2.0], None])
def test_the_mode_is_no_place_for_data(data):
    model = Holder(a())
    with pytest.raises(TypeError, match=r"Holder\.training says whether .* self\.training_data"):
        model.training = data
    model.training = np.bool_(False)
    model.training = 1
    assert model.training


@pytest.mark.parametrize(
    "collection", [set, frozenset, collections.deque, lambda x: np.array([*x, None], dtype=object)]
)
def test_a_collection_that_is_not_looked_into_may_hold_no_parameter(collection):
    model = Holder(None)
    for part in (wb.Dropout(0.5), wb.Dense(2, 1)):
        with pytest.raises(
            TypeError, match=r"Holder\.held: parameters inside a \w+ are not found, .* use a list or a dict"
        ):
            model.held = collection([part])
        assert model.held is None
    model.held = collection([1.0, 2.0])
    assert names(model) == []


class Scale(wb.Module):
    def __init__(self, make):
        self.scale = make()

    def forward(self, x):
        return x * self.scale


LOST = {
    "a product": (lambda: wb.Value(2.0) * 3.0, r"Scale\.scale is not a parameter: multiply computed it"),
    "random numbers made smaller": (lambda: [wb.Value(np.ones(3)) * 0.1], r"Scale\.scale\[0\] is not a parameter"),
}


@pytest.mark.parametrize(("make", "message"), LOST.values(), ids=LOST)
def test_a_parameter_that_was_computed_is_said_to_be_none(make, message):
    model = Scale(make)
    model.forward = lambda: 1.0
    with pytest.warns(wb.GradientWarning, match=message) as said:
        [model() for _ in range(3)]
    assert len(said) == 1
    assert said[0].filename == __file__
    assert names(model) == []


def test_a_parameter_of_the_class_is_said_to_be_none():
    class Shared(wb.Module):
        scale = wb.Value(2.0)

        def forward(self, x):
            return x * self.scale

    with pytest.warns(wb.GradientWarning, match=r"Shared\.scale belongs to the class, .* in __init__, self\.scale ="):
        Shared()(3.0)

    @dataclasses.dataclass(eq=False)
    class Given(wb.Module):
        scale: wb.Value = wb.Value(2.0)  # noqa: RUF009
        kinds = (wb.Dense, wb.Activation("relu"), 3.0)

        def forward(self, x):
            return x * self.scale

    assert names(Given()) == ["scale"]
    assert Given()(3.0).data == 6.0


class Keeps(wb.Module):
    """What ordinary modules keep in attributes: results, to plot them, and numbers that they count."""

    def __init__(self):
        self.layer = wb.Dense(2, 3, seed=0)
        self.norm = self.layer.weight * 2.0  # of a parameter
        self.seen, self.mean = [], np.zeros(2)

    def forward(self, x):
        self.hidden = wb.tanh(self.layer(x))
        self.seen.append(self.hidden)
        with wb.no_grad():
            self.mean = 0.9 * self.mean + 0.1 * wb.mean(x, axis=0)
            self.largest = wb.max(self.hidden)
        return self.hidden * 2.0


@pytest.mark.parametrize("recorded", [True, False])
def test_what_forward_keeps_is_no_parameter(recorded, copied):
    model = Keeps()
    for x in (np.ones((4, 2)), wb.Value(np.ones((4, 2)))):
        for _ in range(3):
            with contextlib.nullcontext() if recorded else wb.no_grad():
                model(x)
            model.loss = wb.sum(model.hidden)
            assert names(model) == ["layer.weight", "layer.bias"]
    assert [name for name, _ in model.state()] == ["layer.weight", "layer.bias"]
    twin = copied(model)
    assert names(twin) == ["layer.weight", "layer.bias"]
    twin(np.ones((4, 2)))
    assert names(twin) == ["layer.weight", "layer.bias"]
    history = wb.fit(
        model, np.ones((8, 2)), np.ones((8, 3)), loss="mean_squared_error", optimizer=wb.SGD(model.parameters(), 0.1),
        epochs=5, progress=False, compile=False,
    )  # fmt: skip
    assert history["loss"][-1] < history["loss"][0]


class Lazy(wb.Module):
    """It makes its weights in the first call, when it sees how many inputs there are."""

    def __init__(self):
        self.weights = None

    def forward(self, x):
        if self.weights is None:
            self.weights = {"weight": wb.Value(np.ones((x.shape[-1], 1))), "bias": wb.Value(0.0)}
        return x @ self.weights["weight"] + self.weights["bias"]


@pytest.mark.parametrize("recorded", [True, False])
def test_parameters_that_are_made_in_the_first_call_are_parameters(recorded):
    model = Holder(Lazy())
    model.forward = model.held
    with contextlib.nullcontext() if recorded else wb.no_grad():
        model(np.ones((2, 3)))
    assert names(model) == ["held.weights.weight", "held.weights.bias"]


def test_weights_that_are_computed_without_recording_before_the_first_call_are_parameters(copied):
    with wb.no_grad():
        model = Scale(lambda: [wb.Value(3.0) * 0.5])
        model.scale.append(wb.Value(2.0) * 0.5)
    model.forward = lambda x: x * model.scale[0] * model.scale[1]
    assert model(2.0).data == 3.0
    assert names(model) == ["scale.0", "scale.1"]
    del model.forward
    assert names(copied(model)) == ["scale.0", "scale.1"]


# -- modes and gradients --------------------------------------------------------------------------------------------


def test_train_and_eval_reach_every_module_and_return_the_model():
    model = Holder([Net(), {"drop": wb.Sequential(wb.Dropout(0.5))}])
    everything = [m for _, m in model.named_modules()]
    assert len(everything) == 6
    assert all(m.training for m in everything), "a new model is in training"
    assert model.eval() is model
    assert not any(m.training for m in everything)
    assert model.train() is model
    assert all(m.training for m in everything)
    assert model.train(False) is model
    assert not any(m.training for m in everything)
    assert Holder(None).training, "the mode of one model is not another's"


def test_zero_grad_says_not_computed():
    model = Net()
    model(np.ones((2, 8))).sum().backward()
    assert all(np.any(p.grad != 0.0) for p in model.parameters())
    model.zero_grad()
    assert [p.grad for p in model.parameters()] == [None] * 4


def test_forward_that_is_missing_says_so():
    with pytest.raises(NotImplementedError, match=r"Holder has no forward\(self, x\)"):
        Holder(1)(np.ones(3))


def test_a_call_passes_everything_on_to_forward():
    class Adder(wb.Module):
        def forward(self, a, b, *, times=1):
            return (a + b) * times

    assert Adder()(1, 2, times=3) == 9


# -- showing --------------------------------------------------------------------------------------------------------


def test_repr_shows_the_parts_with_their_settings():
    class Model(wb.Module):
        def __init__(self):
            self.blocks = [wb.Dense(2, 3, wb.tanh), wb.Dropout(0.25)]
            self.head = wb.Sequential(wb.Dense(3, 1, bias=False), "sigmoid")

    assert repr(Model()).split("\n") == [
        "Model()",
        "    blocks.0: Dense(2 → 3, tanh)",
        "    blocks.1: Dropout(0.25)",
        "  head: Sequential()",
        "    head.0: Dense(3 → 1, no bias)",
        "    head.1: Activation(sigmoid)",
    ]
    assert repr(wb.Dense(2, 3)) == "Dense(2 → 3)"


def cells(summary):
    """The rows of a summary, as lists of cells, without the rules."""
    lines = str(summary).split("\n")
    rule = next(line for line in lines if set(line) == {"-", " "})
    assert lines.count(rule) == 2, "a rule under the heads and one above the total"
    edges = [i for i, c in enumerate(rule) if c == "-" and (i == 0 or rule[i - 1] == " ")]
    ends = [*edges[1:], None]
    return [
        [line[i:j].strip() for i, j in zip(edges, ends, strict=True)]
        for line in lines
        if set(line) != {"-", " "}
    ]  # fmt: skip


SUMMARIES = {
    "layers": (
        Net,
        [
            ["hidden", "Dense(8 → 16, tanh)", "weight 8×16, bias 16", "144"],
            ["out", "Dense(16 → 3)", "weight 16×3, bias 3", "51"],
            ["Net", "", "", "195"],
        ],
    ),
    "without parameters": (
        lambda: wb.Sequential(wb.Dense(2, 1), "relu", wb.Dropout(0.5)),
        [
            ["0", "Dense(2 → 1)", "weight 2×1, bias 1", "3"],
            ["1", "Activation(relu)", "", "0"],
            ["2", "Dropout(0.5)", "", "0"],
            ["Sequential", "", "", "3"],
        ],
    ),
    "shared, and a Value of its own": (
        Tied,
        [
            ["", "Tied()", "scale number", "1"],
            ["encode", "Dense(4 → 2, tanh)", "weight 4×2, bias 2", "10"],
            ["decode", "Dense(4 → 2)", "weight 4×2, bias 4", "4"],
            ["Tied", "", "", "15"],
        ],
    ),
    "a single layer": (
        lambda: wb.Dense(3, 2),
        [["", "Dense(3 → 2)", "weight 3×2, bias 2", "8"], ["Dense", "", "", "8"]],
    ),
    "Values in a list of the module itself": (
        lambda: Holder([wb.Value(np.ones((2, 5))), wb.Value(1.0), wb.Dense(1, 1)]),
        [
            ["", "Holder()", "held.0 2×5, held.1 number", "11"],
            ["held.2", "Dense(1 → 1)", "weight 1×1, bias 1", "2"],
            ["Holder", "", "", "13"],
        ],
    ),
    "thousands": (
        lambda: wb.Sequential(wb.Dense(100, 20, bias=False), wb.Dense(20, 50)),
        [
            ["0", "Dense(100 → 20, no bias)", "weight 100×20", "2,000"],
            ["1", "Dense(20 → 50)", "weight 20×50, bias 50", "1,050"],
            ["Sequential", "", "", "3,050"],
        ],
    ),
}


@pytest.mark.parametrize(("make", "expected"), SUMMARIES.values(), ids=SUMMARIES)
def test_summary(make, expected):
    model = make()
    head, *rows = cells(model.summary())
    assert head == ["layer", "what", "shapes", "parameters"]
    assert rows == expected
    counts = [int(row[-1].replace(",", "")) for row in rows]
    assert counts[-1] == sum(counts[:-1]) == sum(p.size for p in model.parameters())


def test_summary_shows_itself_without_quotes_and_in_one_width():
    summary = Net().summary()
    assert repr(summary) == str(summary)
    assert isinstance(summary, str)
    assert len({len(line) for line in summary.split("\n")}) == 1


# -- copying --------------------------------------------------------------------------------------------------------


def arrays(model):
    return [p.data for p in model.parameters() if isinstance(p.data, np.ndarray)]


def test_a_copy_has_the_same_weights_and_computes_the_same(copied):
    model = wb.Sequential(Net(), wb.Dropout(0.5), wb.Dense(3, 2, "softmax", seed=5, dtype=np.float32)).eval()
    x = np.random.default_rng(0).normal(size=(5, 8))
    twin = copied(model)
    assert repr(twin) == repr(model)
    assert names(twin) == names(model)
    assert [p.name for p in twin.parameters()] == [p.name for p in model.parameters()]
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        assert p is not q
        assert p.dtype == q.dtype
        np.testing.assert_array_equal(p.data, q.data)
    np.testing.assert_array_equal(twin(x).data, model(x).data)
    assert not twin[1].training


def test_a_copy_shares_no_memory(copied):
    model = Tied()
    model(np.ones((2, 4))).sum().backward()
    twin = copied(model)
    assert not any(np.shares_memory(p, q) for p in arrays(model) for q in arrays(twin))
    before = [np.copy(p.data) for p in model.parameters()]
    for p in twin.parameters():
        p.data = p.data + 1.0
        p.grad = None
    for p, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, old)
        assert p.name == "decode.bias" or p.grad is not None  # the one that forward does not use


def test_a_copy_keeps_tied_weights_tied_and_gradients(copied):
    model = Tied()
    model(np.ones((2, 4))).sum().backward()
    twin = copied(model)
    assert twin.decode.weight is twin.encode.weight
    np.testing.assert_array_equal(twin.encode.weight.grad, model.encode.weight.grad)
    assert twin.scale.grad == model.scale.grad


def test_a_copy_keeps_names_that_the_user_gave_and_the_layers_names_in_errors(copied):
    model = Net()
    model.hidden.weight.name = "mine"
    twin = copied(model)
    assert twin.hidden.weight.name == "mine"
    with pytest.raises(wb.ShapeError, match="Dense 'hidden' takes 8 inputs"):
        twin(np.ones((2, 3)))


@pytest.mark.parametrize("activation", ["relu", wb.gelu, None])
def test_a_copy_keeps_activations(copied, activation):
    layer = wb.Dense(3, 2, activation, seed=0)
    x = np.array([[1.0, -2.0, 0.5], [-1.0, 3.0, -0.25]])
    np.testing.assert_array_equal(copied(layer)(x).data, layer(x).data)


def test_a_copy_of_dropout_goes_on_with_the_same_noise(copied):
    layer = wb.Dropout(0.5, seed=0)
    layer(np.ones(10))
    twin = copied(layer)
    np.testing.assert_array_equal(twin(np.ones(100)), layer(np.ones(100)))


def test_a_model_and_its_optimizer_copied_together_go_on_as_if_nothing_had_happened(copied):
    x = np.random.default_rng(0).normal(size=(6, 8))

    def steps(model, optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            wb.mean_squared_error(model(x), np.ones((6, 3))).backward()
            optimizer.step()

    model = Net()
    optimizer = wb.Adam(model.parameters(), learning_rate=wb.CosineDecay(0.1, steps=10))
    steps(model, optimizer)
    twin, twin_optimizer = copied((model, optimizer))
    assert all(p is q for p, q in zip(twin.parameters(), twin_optimizer.parameters, strict=True))
    steps(model, optimizer)
    steps(twin, twin_optimizer)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_what_was_computed_is_no_parameter_of_a_copy_either(copied):
    model = Net()
    model.loss = model(np.ones((2, 8))).sum()
    assert "loss" not in names(model)
    assert names(copied(model)) == names(model)


def test_a_model_that_holds_a_loss_of_a_million_operations_copies(copied):
    model = Net()
    loss = model(np.ones((1, 8))).sum()
    for _ in range(1_000_000):
        loss = loss + 1e-6
    model.loss = loss
    twin = copied(model)
    assert twin.loss.data == loss.data
    assert model.loss is loss
    assert loss.op is not None, "the original keeps its history"
    for p, q in zip(model.hidden.parameters(), twin.hidden.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)
