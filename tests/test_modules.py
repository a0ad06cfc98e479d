"""Modules: how they find, name, show, count and copy their parameters."""

import copy
import pickle

import numpy as np
import pytest

import tinygrad_wb as wb

COPIERS = {"pickle": lambda m: pickle.loads(pickle.dumps(m)), "deepcopy": copy.deepcopy}


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


@pytest.fixture(params=COPIERS)
def copied(request):
    return COPIERS[request.param]


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
