"""`wb.Stepper`: the same gradients as `backward()`, one partial at a time, and exactly back again."""

import functools
import gc
import re
import sys
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_operations import ROWS, call, value_and_gradients, weights, with_values
from test_random_graphs import programs, run

import tinygrad_wb as wb
from tinygrad_wb import backprop
from tinygrad_wb.operation import REGISTRY, operation


def bits(x):
    """Plain data, so that equal means equal to the bit (and nan equals nan, -0 not 0)."""
    return None if x is None else (type(x), np.shape(x), np.asarray(x).dtype.str, np.asarray(x).tobytes())


def state(stepper):
    """All that a stepper is."""
    current = stepper.current
    told = (
        None
        if current is None
        else tuple(bits(x) for x in (current.upstream, current.contribution, current.before, current.after))
    )
    return stepper.position, {id(x): bits(g) for x, g in stepper.gradients.items()}, sorted(stepper.edits), told


def behind(loss):
    """Every Value behind a loss, in a fixed order."""
    found = [loss]
    for value in found:
        found += [x for x in value.inputs if type(x) is wb.Value and not any(x is y for y in found)]
    return found


def neuron():
    x, w = wb.Value(2.0, name="x"), wb.Value(-3.0, name="w")
    h = wb.tanh(x * w * 0.1)
    return h * h + w


def network(seed=0, **how):
    model = wb.MLP(3, [4, 4], 2, activation="tanh", seed=seed)
    data = np.random.default_rng(seed).normal(size=(5, 3))
    return model, wb.cross_entropy(model(data), np.array([0, 1, 1, 0, 1]))


# -- the same gradients -----------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(program=programs())
def test_stepping_to_the_end_is_backward_bit_for_bit(program):
    values = run(*program)
    loss = values[-1]
    stepper = wb.Stepper(loss)
    found = stepper.finish()
    assert all(v.grad is None for v in values), "it touches no .grad"
    with np.errstate(all="ignore"):
        loss.backward()
    everything = behind(loss)
    assert {id(x) for x in found} == {id(x) for x in everything if x.grad is not None}
    for x in everything:
        assert bits(found.get(x)) == bits(x.grad)


@settings(max_examples=60)
@given(program=programs())
def test_apply_is_backward_bit_for_bit_also_where_leaves_have_a_gradient(program):
    plainly, stepped = run(*program), run(*program)
    with np.errstate(all="ignore"):
        for values in (plainly, stepped):
            values[-1].backward()
        plainly[-1].backward()
        stepper = wb.Stepper(stepped[-1])
        stepper.step(2)
        stepper.apply()
    assert [bits(v.grad) for v in plainly] == [bits(v.grad) for v in stepped]


@pytest.mark.parametrize("name", ROWS)
def test_every_operation_steps_and_checks(name):
    op, row = REGISTRY[name], ROWS[name]
    for case in row.cases:
        inputs = row.inputs(case)
        _, expected, _, _ = value_and_gradients(op, inputs, case.options)
        given_ = with_values(op, inputs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a mean over nothing
            y = call(op, given_, case.options)
            stepper = wb.Stepper(y, weights(y.data))
            while step := stepper.step():
                assert repr(step)
                assert str(step).startswith(f"step {step.index + 1}/{len(stepper)}")
                if step.input.size and step.node.size:
                    stepper.check()
        found = [stepper.gradient(x) for x in given_ if type(x) is wb.Value]
        assert [bits(x) for x in found] == [bits(x) for x in expected]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "softmax"])
def test_networks(dtype, activation):
    model = wb.Sequential(
        wb.Dense(6, 8, activation, seed=0, dtype=dtype), wb.Dropout(0.5, seed=1), wb.Dense(8, 3, seed=2, dtype=dtype)
    )
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(dtype)
    loss = wb.cross_entropy(model(x), np.arange(7) % 3) + sum((p**2).mean() for p in model.parameters())
    stepper = wb.Stepper(loss)
    for _ in range(len(stepper)):
        stepper.step()
        stepper.check()
    loss.backward()
    for x in behind(loss):
        assert bits(stepper.gradient(x)) == bits(x.grad)


def test_a_step_for_each_partial_in_the_order_of_backward():
    order = []

    def noted(which):
        def partial(g, y, a, b):
            order.append((which, float(y)))
            return g * (b if which == "a" else a)

        return partial

    @operation(da=noted("a"), db=noted("b"))
    def noting(a, b):
        return a * b

    try:
        v, w = wb.Value(2.0), wb.Value(3.0)
        loss = noting(noting(v, w), noting(w, 5.0)) + v
        loss.backward()
        backwards, order[:] = list(order), []
        stepper = wb.Stepper(loss)
        assert order == [], "opening a trace computes nothing"
        steps = [(step.op.name, step.input_position, step.node._data) for step in stepper]
        wanted = [("add", 0, 92.0), ("add", 1, 92.0), *(("noting", "ab".index(which), y) for which, y in backwards)]
        assert steps == wanted
        order.clear()
        stepper.step(3)
        assert len(order) == 2, "a step runs the partials of its own operation only"
    finally:
        del REGISTRY["noting"]


def test_what_is_computed_by_a_compiled_function_is_one_operation():
    model = wb.MLP(2, [3], 1, seed=0)
    x = np.random.default_rng(0).normal(size=(4, 2))
    compiled = wb.compile(lambda x: (model(x) ** 2).mean())
    for _ in range(4):
        loss = compiled(x)
    assert loss.op.name == "compiled"
    stepper = wb.Stepper(loss)
    found = {id(p): g for p, g in stepper.finish().items()}
    assert "compiled" in str(stepper.current)
    loss.backward()
    assert [bits(found[id(p)]) for p in model.parameters()] == [bits(p.grad) for p in model.parameters()]


def test_under_source_lines_a_compiled_function_runs_as_it_is():
    model = wb.MLP(2, [3], 1, seed=0)
    x = np.random.default_rng(0).normal(size=(4, 2))
    compiled = wb.compile(lambda x: (model(x) ** 2).mean())
    for _ in range(4):
        replayed = compiled(x)
    with wb.source_lines():
        loss = compiled(x)
    assert loss.op.name == "mean"
    assert wb.Stepper(loss)[0].line.file == __file__
    np.testing.assert_allclose(loss.data, replayed.data, rtol=1e-12)
    assert compiled(x).op.name == "compiled"


def test_a_seed_weights_the_elements():
    v = wb.Value([1.0, 2.0])
    stepper = wb.Stepper(v * v, [10.0, 1.0])
    np.testing.assert_array_equal(stepper.finish()[v], [20.0, 4.0])
    stepper.apply()
    np.testing.assert_array_equal(v.grad, [20.0, 4.0])


def test_apply_records_higher_orders():
    v = wb.Value(3.0)
    wb.Stepper(v**3).apply(record=True)
    slope, v.grad = v.grad, None
    slope.backward()
    assert (slope.data, v.grad) == (27.0, 18.0)


def test_a_leaf_alone_has_no_steps():
    v = wb.Value(3.0, name="v")
    stepper = wb.Stepper(v)
    assert (len(stepper), stepper.step(), stepper.current, list(stepper)) == (0, None, None, [])
    stepper.apply()
    assert v.grad == 1.0


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: wb.Stepper(3.0), TypeError, "a Value, such as a loss, got float"),
        (lambda: wb.Stepper(wb.Value([1.0]) * 2.0), wb.ShapeError, r"shape \(1,\)"),
        (lambda: wb.Stepper(wb.Value(1.0) * 2.0, [1.0]), wb.ShapeError, "the seed has shape"),
    ],
)
def test_what_backward_refuses_it_refuses(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_a_stale_graph_is_refused():
    w = wb.Value(1.0)
    loss = w * w
    w.data = 2.0
    with pytest.raises(wb.StaleGraphError):
        wb.Stepper(loss)


# -- there and back ---------------------------------------------------------------------------------------------------

moves = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["step", "back"]), st.integers(1, 5)),
        st.tuples(st.just("go_to"), st.integers(0, 40)),
        st.tuples(st.just("edit"), st.integers(-16, 16)),
        st.tuples(st.sampled_from(["until", "look", "reset"]), st.integers(0, 40)),
    ),
    max_size=20,
)


@settings(max_examples=150)
@given(program=programs(), walk=moves)
def test_after_any_walk_it_is_as_if_it_had_gone_there_straight(program, walk):
    loss = run(*program)[-1]
    stepper = wb.Stepper(loss)
    edits = {}  # by the position at which they were made
    for move, n in walk:
        if move in ("step", "back"):
            getattr(stepper, move)(n)
        elif move == "go_to":
            stepper.go_to(n % (len(stepper) + 1))
        elif move == "edit":
            stepper.edit(n / 8)
            edits[stepper.position] = n / 8
        elif move == "until":
            stepper.until(lambda step, n=n: step.index % 7 == n % 7)
        elif move == "look":
            stepper[n % len(stepper)]
        else:
            stepper.reset()
            edits.clear()
        edits = {at: edit for at, edit in edits.items() if at <= stepper.position}
    fresh = wb.Stepper(loss)
    for at in sorted(edits):
        fresh.go_to(at)
        fresh.edit(edits[at])
    fresh.go_to(stepper.position)
    assert state(stepper) == state(fresh)
    assert [bits(step.after) for step in stepper] == [bits(step.after) for step in fresh]


def test_going_back_leaves_no_rounding_behind():
    """0.1 + 0.2 + 0.3 - 0.3 is not 0.1 + 0.2."""
    v = wb.Value(1.0, name="v")
    loss = v * 0.3 + v * 0.2 + v * 0.1
    stepper = wb.Stepper(loss)
    totals = [step.after for step in stepper if step.name == "v"]
    assert totals[2] - 0.3 != totals[1], "subtracting would show"
    stepper.finish()
    stepper.back()
    assert stepper.gradient("v") == totals[1]


def test_steps_are_the_same_seen_from_anywhere():
    _, loss = network()
    stepper = wb.Stepper(loss)
    seen = [str(step) for step in stepper]
    assert stepper.position == 0
    assert [str(stepper[i]) for i in range(len(stepper))] == seen
    stepper.step(4)
    assert [str(stepper[i]) for i in range(-len(stepper), 0)] == seen
    assert [str(step) for step in stepper[:]] == seen
    assert stepper.position == 4
    stepper.reset()
    walked = []
    while step := stepper.step():
        walked.append(str(step))
    assert walked == seen
    assert str(stepper.current) == seen[-1]
    assert str(stepper.back()) == seen[-2]


def test_step_and_back_say_where_they_came_to():
    stepper = wb.Stepper(neuron())
    assert stepper.current is None
    assert stepper.back() is None
    assert stepper.step(2).index == 1
    assert stepper.step(100).index == len(stepper) - 1
    assert stepper.step() is None
    assert stepper.back(100) is None
    assert stepper.position == 0


@pytest.mark.parametrize("n", [0, -1, 1.0, "1"])
def test_a_number_of_steps_is_whole_and_positive(n):
    stepper = wb.Stepper(neuron())
    for move in (stepper.step, stepper.back):
        with pytest.raises(ValueError, match="a whole number of steps, at least 1"):
            move(n)


def test_there_is_no_step_beyond_the_last():
    stepper = wb.Stepper(neuron())
    for index in (len(stepper), -len(stepper) - 1):
        with pytest.raises(IndexError, match=f"there are {len(stepper)} steps"):
            stepper[index]
    with pytest.raises(IndexError):
        stepper.go_to(len(stepper) + 1)


def test_a_long_chain_needs_no_recursion_and_keeps_no_copies():
    w = wb.Value(np.ones(1000), name="w")
    h = w
    for _ in range(3 * sys.getrecursionlimit()):
        h = h + 1.0
    stepper = wb.Stepper(h.sum())
    stepper.finish()
    different = {g.__array_interface__["data"][0] for g in stepper.gradients.values() if np.ndim(g)}
    assert len(stepper) == 3 * sys.getrecursionlimit() + 1
    assert len(different) == 1, "a gradient that passes through is one array"
    assert stepper[0].statement == "sum_1 = sum(h)"


# -- what a step tells ------------------------------------------------------------------------------------------------


def test_a_step_has_all_its_numbers():
    a = wb.Value(0.5, name="a")
    with wb.source_lines():
        h = wb.tanh(a)  # here
        loss = h * 2.0 + h
    stepper = wb.Stepper(loss)
    first, second = [step for step in stepper if step.name == "h"]
    assert (first.before, first.after, first.contribution_number, first.contributions) == (None, 1.0, 1, 2)
    assert (second.before, second.after, second.contribution_number) == (1.0, 3.0, 2)
    last = stepper[-1]
    assert last.statement == "h = tanh(a)"
    assert (last.node, last.input, last.op.name, last.input_position) == (h, a, "tanh", 0)
    assert (last.upstream, last.formula, last.is_local) == (3.0, "1 − h·h", True)
    assert last.local == 1.0 - h.data * h.data
    assert last.contribution == last.after == 3.0 * last.local
    assert last.line.text == "h = wb.tanh(a)  # here"
    assert last.line.short == f"test_stepper.py:{last.line.number}"
    assert last.layer == ""
    assert not last.edited


def test_an_array_has_a_local_derivative_for_each_element():
    v = wb.Value([0.0, 1.0], name="v")
    step = wb.Stepper(wb.exp(v), [1.0, 10.0])[0]
    np.testing.assert_array_equal(step.local, np.exp([0.0, 1.0]))
    np.testing.assert_array_equal(step.contribution, step.upstream * step.local)


def test_a_product_of_matrices_has_a_formula_in_g():
    x, w = wb.Value(np.ones((2, 3)), name="x"), wb.Value(np.ones((3, 4)), name="w")
    step = wb.Stepper((x @ w).sum())[1]
    assert (step.formula, step.is_local, step.local) == ("g @ wᵀ", False, None)
    assert re.search(r"given +g = ∂L/∂\S+ +=", str(step))


def test_the_layer_and_the_line():
    model, _ = network()
    x = np.ones((2, 3))
    with wb.source_lines():
        loss = model(x).sum()
    stepper = wb.Stepper(loss)
    assert [step.layer for step in stepper if step.op.name == "affine"] == [
        f"Dense '{i}'" for i in (2, 2, 2, 1, 1, 1, 0, 0)
    ]
    assert {step.line.text for step in stepper} == {"loss = model(x).sum()"}
    assert "in Dense '0'" in str(stepper[-1])


def test_without_source_lines_there_is_none():
    stepper = wb.Stepper(neuron())
    assert stepper[0].line is None
    assert ".py" not in str(stepper[0])


def test_the_text_of_a_step():
    z = wb.Value(-0.5, name="z")
    with wb.source_lines():
        h = wb.tanh(z)
    h.name = "h"
    line = wb.Stepper(h)[0].line.number
    stepper = wb.Stepper(h * h + h)
    assert str(stepper[-1]) == (
        f"step 5/5    h = tanh(z)                 test_stepper.py:{line}\n"
        "   local    ∂h/∂z = 1 − h·h            = 0.786448\n"
        "   chain    ∂L/∂z += ∂L/∂h · ∂h/∂z     = 0.0757657 · 0.786448 = 0.0595858\n"
        "   total    ∂L/∂z   0 → 0.0595858        (contribution 1 of 1)"
    )


def test_the_names_are_those_of_the_picture():
    loss = neuron()
    drawn = wb.draw(loss, depth=100).text
    names = {step.name for step in wb.Stepper(loss)}
    assert names == {"x", "w", "multiply_1", "multiply_2", "multiply_3", "tanh_1"}
    assert all(name in drawn for name in names)


def test_hostile_names_and_large_arrays_stay_short():
    w = wb.Value(np.ones((50, 60)), name="w\n\x1b[2J" + "x" * 100)
    text = str(wb.Stepper((w * 2.0).sum())[-1])
    assert "\x1b" not in text
    assert len(text.splitlines()) < 12
    assert max(map(len, text.splitlines())) < 250


# -- until ------------------------------------------------------------------------------------------------------------


def stops(target, loss=None):
    stepper = wb.Stepper(loss or neuron())
    found = []
    while step := stepper.until(target):
        found.append((step.op.name, step.name))
    assert stepper.position == len(stepper)
    return found


def test_until_a_name_an_operation_or_a_predicate():
    loss = neuron()
    h = next(x for x in behind(loss) if x.op is not None and x.op.name == "tanh")
    w = next(x for x in behind(loss) if x.name == "w")
    assert stops("w") == [("add", "w"), ("multiply", "w")]
    assert stops(w, loss) == [("add", "w"), ("multiply", "w")]
    h.name = "h"
    assert stops(h, loss) == [("multiply", "h")] * 2
    assert stops("tanh") == stops(wb.tanh) == stops(REGISTRY["tanh"]) == [("tanh", "multiply_2")]
    assert stops(lambda step: step.contributions > 1 and step.contribution_number == 2) == [
        ("multiply", "tanh_1"),
        ("multiply", "w"),
    ]


def test_until_a_line_or_a_layer():
    model, _ = network()
    with wb.source_lines():
        y = model(np.ones((2, 3)))
        loss = (y * y).sum()
    number = wb.Stepper(loss)[0].line.number
    assert {op for op, _ in stops(f"test_stepper.py:{number}", loss)} == {"sum", "multiply"}
    assert {op for op, _ in stops(f"tests/test_stepper.py:{number - 1}", loss)} == {"affine", "tanh"}
    with pytest.raises(
        ValueError, match=rf"no operation .* comes from stepper.py:{number}; there are: test_stepper.py:"
    ):
        stops(f"stepper.py:{number}", loss)  # a name is a whole name
    with pytest.raises(ValueError, match=r"no lines were recorded; compute the loss under `with wb.source_lines\(\):`"):
        stops("test_stepper.py:1")
    assert {op for op, _ in stops("2", loss)} == {"affine"}


def test_until_a_condition():
    big = wb.Value([1e3, 1.0], name="big")
    loss = (wb.square(big) * big).sum()
    assert [name for _, name in stops("norm > 1e5", loss)] == ["big", "big"]
    assert stops("max > 1e5 and min < 0", loss) == []
    assert stops("step.index == 1", loss) == [(wb.Stepper(loss)[1].op.name, wb.Stepper(loss)[1].name)]
    zero = wb.Value(0.0, name="zero")
    with np.errstate(all="ignore"):
        assert stops("nan", wb.log(zero)) == []
        assert stops("nan", wb.log(zero) * 0.0) == [("log", "zero")], "0 · inf"
        assert stops("inf or nan", wb.log(zero)) == [("log", "zero")]


def test_until_the_end_if_nothing_fits():
    stepper = wb.Stepper(neuron())
    assert stepper.until(lambda step: False) is None
    assert stepper.position == len(stepper)


@pytest.mark.parametrize("target", ["nothing", "nrm > 3", "not a condition", "os.remove('x')", "x y", "13", ""])
def test_what_means_nothing_lists_what_there_is(target):
    stepper = wb.Stepper(neuron())
    with pytest.raises(ValueError, match=r"tanh_1.*operations add, multiply, tanh.*norm, min, max, nan, inf"):
        stepper.until(target)
    assert stepper.position == 0


@pytest.mark.parametrize(("target", "error"), [(3, TypeError), (wb.Value(1.0), ValueError), (None, TypeError)])
def test_what_cannot_be_a_target(target, error):
    with pytest.raises(error):
        wb.Stepper(neuron()).until(target)


def test_a_gradient_by_an_unknown_name_lists_the_names():
    with pytest.raises(
        ValueError, match=r"nothing in this backward pass is called 'tanh_9'; there are: tanh_1 and \d more"
    ):
        wb.Stepper(neuron()).gradient("tanh_9")


# -- changing it ------------------------------------------------------------------------------------------------------


def test_an_edit_at_the_start_scales_everything():
    _, loss = network()
    plain, edited = wb.Stepper(loss), wb.Stepper(loss)
    edited.edit(4.0)
    for x, g in plain.finish().items():
        np.testing.assert_array_equal(edited.finish()[x], np.multiply(g, 4.0))


def test_an_edit_is_carried_on_and_told_and_undone_by_going_back():
    loss = neuron()
    stepper = wb.Stepper(loss)
    before = [str(step) for step in stepper]
    step = stepper.until("tanh_1")
    stepper.edit(0.0)
    assert stepper.current.edited
    assert "(contribution 1 of 2, edited)" in str(stepper.current)
    assert stepper.gradient("tanh_1") == 0.0
    following = stepper.step()
    assert (following.before, following.after) == (0.0, following.contribution), "later contributions are added to it"
    assert stepper[step.index].edited
    assert stepper.gradient("w") == 1.0
    stepper.back(2)
    assert [str(step) for step in stepper] == before


def test_of_two_edits_going_back_to_the_first_undoes_the_second_alone():
    stepper = wb.Stepper(neuron())
    stepper.step(2)
    stepper.edit(5.0)
    stepper.step(2)
    stepper.edit(7.0)
    stepper.back(2)
    assert dict(stepper.edits) == {2: 5.0}
    assert stepper.current.after == 5.0


def test_the_same_step_taken_again_from_another_gradient():
    stepper = wb.Stepper(neuron())
    assert stepper.step().contribution == 1.0
    stepper.back()
    stepper.edit(3.0)
    assert stepper.step().contribution == 3.0


def test_looking_ahead_sees_edits_and_no_more_of_them_once_they_are_undone():
    stepper = wb.Stepper(neuron())
    stepper.step()
    before = stepper[-1].after
    stepper.edit(50.0)
    assert stepper[-1].after != before
    stepper.back()
    assert stepper[-1].after == before
    stepper.edit(2.0)
    assert stepper[-1].after != before
    stepper.reset()
    assert stepper[-1].after == before


def test_an_edit_of_an_array_takes_its_shape_or_one_number():
    v = wb.Value([1.0, 2.0], name="v")
    stepper = wb.Stepper((v * v).sum())
    stepper.step()
    stepper.edit(2.0)
    np.testing.assert_array_equal(stepper.current.after, [2.0, 2.0])
    stepper.edit([0, 1])
    np.testing.assert_array_equal(stepper.finish()[v], [0.0, 4.0])
    stepper.reset()
    stepper.step()
    with pytest.raises(wb.ShapeError, match=r"the gradient has shape \(3,\), multiply_1 has \(2,\)"):
        stepper.edit([1.0, 2.0, 3.0])
    stepper.finish()
    np.testing.assert_array_equal(stepper.gradient(v), [2.0, 4.0])


@pytest.mark.parametrize("record", [False, True])
def test_apply_hands_edits_to_the_leaves(record):
    v = wb.Value(3.0)
    v.grad = 100.0
    y = v * v
    stepper = wb.Stepper(y * 2.0)
    stepper.step()
    stepper.edit(1.0)
    stepper.apply(record)
    assert wb.value.raw(v.grad) == 106.0
    assert y.grad == 1.0


def test_lent_gradients_are_given_back():
    _, loss = network()
    loss.backward()
    before = [(x, x.grad) for x in behind(loss)]
    stepper = wb.Stepper(loss)
    stepper.step(3)
    clock = backprop.latest[0]
    with stepper.lent():
        assert "old" not in wb.draw(loss, depth=100).text
        assert {id(x) for x in behind(loss) if x.grad is not None} == {id(x) for x in stepper.gradients}
    assert all(x.grad is grad for x, grad in before)
    assert backprop.latest[0] == clock


# -- checking ---------------------------------------------------------------------------------------------------------


@functools.cache
def wrong(factor):
    """An operation with a partial that is off by a factor."""

    @operation(da=lambda g, y, a: g * 2.0 * a * factor)
    def wrong_square(a):
        return a * a

    del REGISTRY["wrong_square"]
    return wrong_square


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
@pytest.mark.parametrize("factor", [1.001, -1.0, 0.0])
def test_check_rejects_a_wrong_partial(shape, factor):
    v = wb.Value(np.full(shape, 1.5), name="v")
    stepper = wb.Stepper(wrong(factor)(v).sum() if shape else wrong(factor)(v) + 1.0)
    stepper.step()
    stepper.check()
    stepper.step()
    with pytest.raises(
        wb.GradientError, match=r"its contribution to ∂L/∂v gives a slope of .* finite differences give"
    ):
        stepper.check()


@pytest.mark.parametrize("near", [1e-4, -1e-5, 1e-6])
def test_check_looks_closer_beside_a_kink_and_names_one(near):
    stepper = wb.Stepper(wb.relu(wb.Value(near)))
    stepper.finish()
    slope, measured = stepper.check()
    assert slope == pytest.approx(measured, rel=1e-6)
    stepper = wb.Stepper(wb.relu(wb.Value(0.0)))
    stepper.finish()
    with pytest.raises(wb.GradientError, match=r"It is at a kink, with -?0 on the left and 1\.\d+ on the right"):
        stepper.check()


def test_what_is_no_value_is_told_how_derivatives_are_stepped_through():
    with pytest.raises(TypeError, match=r"stepping starts from a Value.*python -m tinygrad_wb step SCRIPT"):
        wb.Stepper(wb.grad(wb.tanh)(0.5))


def test_check_accepts_the_right_one_and_tells_both_numbers():
    v = wb.Value([1.5, -2.0], name="v")
    stepper = wb.Stepper(wrong(1.0)(v).sum())
    stepper.finish()
    slope, measured = stepper.check()
    assert slope == pytest.approx(measured, rel=1e-9)


def test_check_holds_an_edited_pass_against_its_own_upstream():
    stepper = wb.Stepper(neuron())
    stepper.until("tanh_1")
    stepper.edit(123.0)
    while stepper.step():
        stepper.check()


def test_check_needs_a_step():
    with pytest.raises(ValueError, match="no step has been taken yet"):
        wb.Stepper(neuron()).check()


def test_a_graph_that_was_stepped_is_freed_without_the_garbage_collector():
    def stepped():  # a function of its own: Python may keep what a running one had in its variables when they were looked at
        _, loss = network()
        stepper = wb.Stepper(loss)
        assert stepper.step(3)
        assert stepper[10]
        stepper.edit(1.0)
        stepper.check()
        stepper.until("affine")
        assert str(stepper.back())
        assert str(wb.explain(loss, "0.bias"))
        return weakref.ref(loss)

    gc.collect()
    gc.disable()
    try:
        assert stepped()() is None
    finally:
        gc.enable()
