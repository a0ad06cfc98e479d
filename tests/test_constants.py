"""Plain arrays belong to the caller, who may write to them after an operation has read them: gradients stay right."""

import copy
import warnings
import weakref

import numpy as np
import pytest
from test_operations import CASES, ROWS, call, tracked, weights

import tinygrad_wb as wb
from tinygrad_wb.constants import COPIED
from tinygrad_wb.operation import operation
from tinygrad_wb.operations import REGISTRY


@pytest.fixture
def all_large(monkeypatch):
    """Every array counts as large: none is copied, the beginning of each is compared."""
    monkeypatch.setattr("tinygrad_wb.constants.COPIED", 0)


def overwrite(x):
    """Write other numbers of the same kind into every array and list in ``x``."""
    if isinstance(x, np.ndarray):
        x[...] = ~x if x.dtype == bool else 1 - x if x.dtype.kind in "iu" else -3.5 * x[::-1] + 0.25
    elif isinstance(x, list):
        for i, part in enumerate(x):
            if isinstance(part, (int, float)):
                x[i] = 0 if part else 1
            else:
                overwrite(part)
    elif isinstance(x, (tuple, dict)):
        for part in x.values() if isinstance(x, dict) else x:
            overwrite(part)


# -- every operation ------------------------------------------------------------------------------------------------


def gradients(op, inputs, options, at, order, write):
    """Of the Values ``at`` these positions: their gradients, or those of a weighted sum of their gradients."""
    given = [wb.Value(x) if i in at else copy.deepcopy(x) for i, x in enumerate(inputs)]
    options = copy.deepcopy(options)
    y = call(op, given, options)
    if write:
        overwrite([x for i, x in enumerate(given) if i not in at])
        overwrite(options)
    y.backward(weights(y.data), record=order == 2)
    values = [given[i] for i in sorted(at)]
    if order == 2:
        slopes = [v.grad for v in values]
        for v in values:
            v.grad = None
        loss = sum(wb.sum(g * g * weights(g.data)) for g in slopes if g is not None)
        if write:
            overwrite([x for i, x in enumerate(given) if i not in at])
            overwrite(options)
        if loss.inputs:
            loss.backward()
    return [y.data, *[wb.value.raw(v.grad) for v in values]]


def some_and_all(op, inputs):
    """The positions of Values: all that have a partial, or one of them, with plain arrays beside it."""
    every = tracked(op, inputs)
    return {frozenset(every)} | {frozenset({i}) for i in every}


every_case = pytest.mark.parametrize(("name", "i"), [pytest.param(n, i, id=f"{n}-{i}") for n, i in CASES])


@every_case
@pytest.mark.parametrize("order", [1, 2])
def test_no_operation_notices_that_its_arrays_are_written_to(name, i, order):
    op, row = REGISTRY[name], ROWS[name]
    inputs, options = row.inputs(row.cases[i]), row.cases[i].options
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for at in some_and_all(op, inputs):
            expected = gradients(op, inputs, options, at, order, write=False)
            found = gradients(op, inputs, options, at, order, write=True)
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)


@every_case
def test_an_operation_on_large_arrays_that_are_written_to_raises_where_that_matters(name, i, all_large):
    op, row = REGISTRY[name], ROWS[name]
    inputs, options = row.inputs(row.cases[i]), row.cases[i].options
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for at in some_and_all(op, inputs):
            expected = gradients(op, inputs, options, at, 1, write=False)
            try:
                found = gradients(op, inputs, options, at, 1, write=True)
            except wb.StaleGraphError:
                continue
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)


def test_the_walk_writes_to_much():
    x = [np.arange(3.0), np.array([True, False]), np.array([0, 1]), ([2, 0], np.ones((2, 2)))]
    before = copy.deepcopy(x)
    overwrite(x)
    for new, old in zip([*x[:3], *x[3]], [*before[:3], *before[3]], strict=True):
        assert np.any(np.asarray(new) != np.asarray(old))


# -- what users do --------------------------------------------------------------------------------------------------

W = np.linspace(-1.0, 1.0, 12).reshape(4, 3)


def lstm(w, x):
    layer = wb.LSTM(3, 2, seed=0)
    return wb.sum(layer(x)[0] * 1.0) + wb.sum(w) * 0.0


USES = {  # an array, and a loss of a Value of shape (4, 3) that reads it
    "factor": (np.ones((4, 3)), lambda w, x: wb.sum(w * x)),
    "factor, on the left": (np.ones((4, 3)), lambda w, x: wb.sum(x * w)),
    "operand of NumPy": (np.ones((4, 3)), lambda w, x: np.sum(np.multiply(x, w))),
    "input": (np.ones((5, 4)), lambda w, x: wb.sum(x @ w)),
    "input of layers": (np.ones((2, 3)), lambda w, x: wb.sum(w @ wb.tanh(wb.Dense(3, 3, "tanh", seed=0)(x)).T)),
    "turned": (np.ones((4, 5)), lambda w, x: wb.sum(x.T @ w)),
    "view": (np.ones((10, 8)), lambda w, x: wb.sum(x[::2, 1:5] @ w)),
    "float32": (np.ones((4, 3), "float32"), lambda w, x: wb.sum(w * x)),
    "integers": (np.ones((4, 3), int), lambda w, x: wb.sum(w * x)),
    "exponents": (np.full((4, 3), 2.0), lambda w, x: wb.sum((w + 3.0) ** x)),
    "labels": (np.array([0, 2, 1, 0]), wb.cross_entropy),
    "target": (np.ones((4, 3)), wb.mean_squared_error),
    "truths": (np.ones((4, 3)), wb.binary_cross_entropy),
    "class weights": (np.array([1.0, 2.0, 3.0]), lambda w, x: wb.cross_entropy(w, [0, 2, 1, 1], class_weights=x)),
    "list of labels": ([0, 2, 1, 0], wb.cross_entropy),
    "condition": (np.eye(4, 3) > 0, lambda w, x: wb.sum(wb.where(x, w, 2.0 * w))),
    "other branch": (np.ones((4, 3)), lambda w, x: wb.sum(wb.square(wb.where(W > 0, w, x)) * w)),
    "index array": (np.array([0, 2]), lambda w, x: wb.sum(w[x])),
    "index list": ([0, 2], lambda w, x: wb.sum(w[x])),
    "lists of indices": ([[0, 2], [1, 1]], lambda w, x: wb.sum(w[x[0], x[1]])),
    "mask": (np.eye(4, 3) > 0, lambda w, x: wb.sum(w[x])),
    "index in a tuple": (np.array([0, 2]), lambda w, x: wb.sum(w[x, 1])),
    "index of set_at": (np.array([0, 2]), lambda w, x: wb.sum(wb.set_at(w, x, 5.0))),
    "numbers of set_at": (np.ones(3), lambda w, x: wb.sum(wb.square(wb.set_at(w, 0, x)) * w)),
    "taken rows": (np.array([0, 2]), lambda w, x: wb.sum(wb.take(w, x, axis=0))),
    "words": (np.array([0, 2, 2]), lambda w, x: wb.sum(wb.embedding(w, x))),
    "einsum": (np.ones((5, 4)), lambda w, x: wb.sum(wb.einsum("ij,jk->ik", x, w))),
    "part of a stack": (np.ones((4, 3)), lambda w, x: wb.sum(wb.stack([w, x]) ** 2 * wb.stack([w, w]))),
    "part of a concatenation": (np.ones((2, 3)), lambda w, x: wb.sum(wb.concatenate([w, x]) ** 2)),
    "attention mask": (
        np.tril(np.ones((4, 4), bool)),
        lambda w, x: wb.sum(wb.scaled_dot_product_attention(w, w * 2.0, w, mask=x) * W),
    ),
    "sequence": (np.ones((2, 4, 3)), lstm),
    "bounds": (np.full(3, -0.2), lambda w, x: wb.sum(wb.maximum(w, x))),
    "repeats": ([1, 2, 1, 3], lambda w, x: wb.sum(wb.square(wb.repeat(w, x, axis=0)))),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("order", [1, 2])
def test_an_array_may_be_written_to_before_backward(use, order):
    made, loss_of = USES[use]

    def found(write):
        w, x = wb.Value(W), copy.deepcopy(made)
        loss = loss_of(w, x)
        behind = [v for node in wb.backprop.history(loss) for v in node.inputs if type(v) is wb.Value and not v.inputs]
        if write:
            overwrite(x)
        loss.backward(record=order == 2)
        leaves = sorted(set(behind), key=lambda v: v.tick)
        if order == 2:
            slopes = [v.grad for v in leaves]
            for v in leaves:
                v.grad = None
            if write:
                overwrite(x)
            sum(wb.sum(g * g * g) for g in slopes).backward()
        return [wb.value.raw(v.grad) for v in leaves]

    for a, b in zip(found(True), found(False), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_textbook_example():
    x, w = np.full(3, 2.0), wb.Value(np.ones(3))
    h = w * x
    x += 1
    wb.sum(h).backward()
    assert (w.grad == 2.0).all()


def test_a_buffer_may_be_refilled_while_a_loss_is_added_up():
    w, buffer, loss = wb.Value(np.ones(3)), np.empty(3), 0.0
    for step in range(5):
        buffer[:] = step
        loss = loss + wb.sum(w * w * buffer)
    loss.backward()
    assert (w.grad == 2.0 * (0 + 1 + 2 + 3 + 4)).all()


def test_a_list_may_grow_and_a_label_that_is_a_value_may_be_written_to():
    rows, w = [0, 1], wb.Value(np.ones((3, 2)))
    loss = wb.sum(w[rows])
    rows.append(2)
    loss.backward()
    assert w.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]]

    labels, scores = wb.Value([0.0, 1.0]), wb.Value(np.zeros((2, 2)))
    loss = wb.negative_log_likelihood(scores, np.array([0, 1]))
    again = wb.sum(wb.where(labels, scores, 0.0))
    labels.data[:] = 1.0
    (loss + again).backward()
    assert scores.grad.tolist() == [[-0.5, 1.0], [0.0, 0.5]]


def test_memory_of_other_libraries_is_copied():
    torch = pytest.importorskip("torch")
    x, w = torch.full((3,), 2.0, dtype=torch.float64), wb.Value(np.ones(3))
    rows = torch.tensor([0, 2])
    loss = wb.sum(w * x) + wb.sum(w[rows])
    x += 1.0
    rows += 1 - rows
    loss.backward()
    assert w.grad.tolist() == [3.0, 2.0, 3.0]


def test_what_an_operation_computes_beforehand_is_of_the_copy():
    name = "scaled_by_a_view"
    try:

        @operation(
            shared=lambda a, b: np.asarray(b)[::-1], da=lambda g, y, a, b, shared: g * shared, db=None, name=name
        )
        def scaled_by_a_view(a, b, *, shared):
            """a times b, turned round."""
            return a * shared

        w, x = wb.Value(np.ones(3)), np.arange(3.0)
        loss = wb.sum(scaled_by_a_view(w, x))
        x[:] = 7.0
        loss.backward()
        assert w.grad.tolist() == [2.0, 1.0, 0.0]
    finally:
        REGISTRY.pop(name, None)


def test_orders_in_memory_stay():
    w = wb.Value(np.ones((3, 4)))
    for x in (np.asfortranarray(np.ones((3, 4))), np.ones((4, 3)).T, np.ones((3, 4))):
        assert (w * x).inputs[1].strides == x.strides


def test_hooks_may_write_to_what_they_computed_with():
    mask, w = np.array([1.0, 0.0]), wb.Value([2.0, 3.0])
    h = w * w
    h.on_gradient(lambda g: g * mask)
    wb.sum(h).backward(record=True)
    slope, w.grad = w.grad, None
    mask[:] = 7.0
    wb.sum(slope).backward()
    assert w.grad.tolist() == [2.0, 0.0]


# -- what is copied -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [COPIED // 8, COPIED // 8 + 1], ids=["as large as is copied", "larger"])
def test_arrays_up_to_a_megabyte_are_copied(size):
    x, w = np.ones(size), wb.Value(2.0)
    loss = wb.sum(w * x)
    x[0] = 5.0
    if x.nbytes <= COPIED:
        loss.backward()
        assert w.grad == size
    else:
        with pytest.raises(wb.StaleGraphError, match=r"input b, an array of shape .*written to.*array of its own"):
            loss.backward()
        assert w.grad is None


def test_nothing_is_copied_where_nothing_is_recorded():
    x, w = np.ones(3), wb.Value(np.ones(3))
    with wb.no_grad():
        y = w * x
    assert not hasattr(y, "given")
    assert not hasattr(w * 2.0, "given")
    assert not hasattr(w * w, "given")


def test_a_derivative_shares_the_copies():
    x, w = np.ones(3), wb.Value(np.ones(3))
    y = w * x
    wb.sum(y * y).backward(record=True)
    slope, w.grad = w.grad, None
    assert slope.op.name == "multiply"
    assert any(a is y.inputs[1] for a in slope.inputs)
    assert any(a is x for a in slope.given[0])


def test_copies_go_with_their_graph(no_collector):
    x, w = np.ones(3), wb.Value(np.ones(3))
    y = w * x
    held = weakref.ref(y.inputs[1])
    assert held() is not x
    del y
    assert held() is None


# -- names ----------------------------------------------------------------------------------------------------------


def test_an_array_that_is_read_twice_has_one_name():
    w, x = wb.Value([1.0, 2.0], name="w"), np.array([3.0, 4.0])
    loss = wb.sum(w * x + w / x)
    assert "def forward_and_backward(w, x):" in loss.program().source
    assert sorted(n.title for n in wb.draw(loss).graph.nodes if n.kind == "constant") == ["x"]
    told = "\n".join(map(str, wb.Stepper(loss)[-2:]))
    assert "divide_1 = w / x" in told
    assert "multiply_1 = w * x" in told


def test_an_array_that_was_written_to_in_between_is_two():
    w, x = wb.Value([1.0, 2.0], name="w"), np.array([3.0, 4.0])
    loss = wb.sum(w * x)
    x += 1.0
    loss = loss + wb.sum(w * w * x)
    program = loss.program()
    assert "def forward_and_backward(w, x, x_2):" in program.source
    assert program.arguments["x"].tolist() == [3.0, 4.0]
    assert program.arguments["x_2"].tolist() == [4.0, 5.0]
    program.check()
    assert sorted(n.title for n in wb.draw(loss).graph.nodes if n.kind == "constant") == ["x", "x_2"]
    x += 1.0  # now it is none of the two
    assert "def forward_and_backward(w, x, x_2):" in loss.program().source


def test_a_derivative_knows_the_names_too():
    w, x = wb.Value([1.0, 2.0], name="w"), np.array([3.0, 4.0])
    rows = np.array([0, 1, 1])
    wb.sum(wb.square((w * x)[rows])).backward(record=True)
    slope, w.grad = w.grad, None
    assert {"w", "x", "rows"} <= wb.sum(slope * slope).program().arguments.keys()


def test_a_name_belongs_to_one_array():
    w = wb.Value([1.0, 2.0], name="w")
    loss = wb.sum(w * np.array([3.0, 4.0]))
    for other in [np.array([5.0, 6.0]) for _ in range(100)]:  # one of them may lie where the first one lay
        assert "other" not in loss.program().arguments
        del other


def test_a_layer_that_is_given_an_array_shows_it():
    x = np.ones((2, 3))
    drawing = wb.draw(wb.sum(wb.Dense(3, 2, seed=0)(x)))
    assert "x" in {n.title for n in drawing.graph.nodes}


def test_an_operation_that_failed_shows_the_array_that_others_read():
    w, x = wb.Value([1.0, 2.0], name="w"), np.ones(2)
    y = w * x
    with pytest.raises(ValueError, match="concatenate") as caught:
        wb.concatenate([y, x, np.ones((2, 2))])
    drawing = wb.draw(caught.value)
    assert [n.title for n in drawing.graph.nodes if n.kind == "constant"].count("x") == 1
    assert "x_2" not in {n.title for n in drawing.graph.nodes}
    (node,) = [n for n in drawing.graph.nodes if n.title == "x"]
    assert len([e for e in drawing.graph.edges if e.source == node.id]) == 2
