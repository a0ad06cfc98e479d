"""Data that was written to between the forward pass and backward(): told, where .data handed it out, or it is large."""

import gc
import threading
import weakref

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb import changed
from tinygrad_wb.changed import WALKS, handed_out, large


@pytest.fixture(autouse=True)
def forget():
    handed_out.clear()


@pytest.fixture(params=["C", "F", "strided"])
def w(request):
    value = wb.Value(np.ones((3, 4)), name="w")
    value._data = {"C": value._data, "F": np.asfortranarray(value._data), "strided": np.ones((6, 4))[::2]}[
        request.param
    ]
    return value


WAYS = {
    "backward": lambda loss: loss.backward(),
    "recorded": lambda loss: loss.backward(record=True),
    "program": lambda loss: loss.program().check(),
    "stepper": wb.Stepper,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_leaf_that_was_written_to_is_refused(w, way):
    loss = wb.sum(w * w)
    w.data[1, 2] = 5.0
    with pytest.raises(wb.StaleGraphError, match=r"multiply: the array of its input w of shape \(3, 4\).*written to"):
        WAYS[way](loss)
    assert w.grad is None
    loss = wb.sum(w * w)  # computed again, it is right
    loss.backward()
    assert w.grad[1, 2] == 10.0


def test_an_array_that_was_taken_is_watched_until_backward(w):
    loss = wb.sum(w * w)
    array = w.data
    assert w.data is array, "a second look changes nothing"
    array *= 2.0
    with pytest.raises(wb.StaleGraphError):
        loss.backward()


def test_reading_is_free_to_all(w):
    loss = wb.sum(w * w)
    print(w.data.mean(), w.data.max())
    loss.backward()
    assert (w.grad == 2.0).all()
    assert not handed_out


def test_what_was_read_later_may_have_been_changed_before(w):
    first = wb.sum(w * w)
    array = w.data
    first.backward()
    array += 1.0  # after backward(): the usual update by hand
    wb.sum(w * w).backward()
    assert (w.grad == 2.0 + 4.0).all()

    other = wb.sum(w * 3.0)
    array = w.data  # handed out while `other` waits; its own operation has read it by then
    again = wb.sum(w * w)
    again.backward()
    other.backward()


def test_directly_after_backward_nothing_is_noted(w):
    b = wb.Value(np.zeros(4), name="b")
    x = np.ones((5, 3))
    for _ in range(3):
        loss = wb.mean_squared_error(x @ w + b, np.zeros((5, 4)))
        loss.backward()
        for p in (w, b):
            p.data -= 0.1 * p.grad
            p.data[:] = np.clip(p.data, -1.0, 1.0)
            p.grad = None
        assert not handed_out
    optimizer = wb.SGD([w, b], 0.1)
    wb.mean_squared_error(x @ w + b, np.zeros((5, 4))).backward()
    optimizer.step()
    for p in (w, b):
        p.data[:] = 0.5
    assert not handed_out


RESULTS = {  # a result, and a loss of it, a partial of which reads what is written to
    "by what made it": (wb.exp, wb.sum),
    "by what reads it": (lambda w: w * 2.0, lambda y: wb.sum(y * y)),
}


@pytest.mark.parametrize("case", RESULTS)
def test_a_result_that_a_partial_reads_is_watched(case):
    make, of = RESULTS[case]
    w = wb.Value([1.0, 2.0])
    y = make(w)
    loss = of(y)
    y.data[0] = 7.0
    with pytest.raises(
        wb.StaleGraphError, match=r"the array of its (result|input a Value) of shape \(2,\).*written to"
    ):
        loss.backward()
    assert w.grad is None


def test_a_result_that_no_partial_reads_may_be_written_to():
    w = wb.Value(np.ones(3))
    y = w * 2.0
    loss = wb.sum(y + 1.0)
    y.data[:] = 0.0  # a prediction that is made fit for a picture, say
    loss.backward()
    assert (w.grad == 2.0).all()

    compiled = wb.compile(wb.exp)
    for _ in range(4):
        y = compiled(w)
    y.data[:] = 0.0  # a compiled function keeps what it reads to itself
    w.grad = None
    wb.sum(y * 1.0).backward()
    assert np.allclose(w.grad, np.e)

    y = w * 2.0
    y.data[:] = np.round(y.data)  # before it is read: a step that has no gradient is left out on purpose
    w.grad = None
    wb.sum(y * y).backward()
    assert (w.grad == 8.0).all()


def test_a_note_goes_with_its_leaf():
    w = wb.Value(np.ones(3))
    loss = wb.sum(w * w)
    assert w.data is not None
    assert len(handed_out) == 1
    del w, loss
    assert not handed_out


# -- large plain arrays, which are not copied -------------------------------------------------------------------------


@pytest.fixture
def all_large(monkeypatch):
    monkeypatch.setattr("tinygrad_wb.constants.COPIED", 0)


REFILLED = {  # an array, and a loss whose gradients read it
    "matmul": (lambda: np.ones((5, 3)), lambda x: wb.sum(x @ wb.Value(np.ones((3, 2)), name="w"))),
    "matmul, right": (lambda: np.ones((3, 2)), lambda x: wb.sum(wb.Value(np.ones((5, 3))) @ x)),
    "multiply": (lambda: np.ones(3), lambda x: wb.sum(wb.Value(np.ones(3)) * x)),
    "affine": (lambda: np.ones((5, 3)), lambda x: wb.sum(wb.Dense(3, 2, seed=0)(x))),
    "large": (lambda: np.ones((300, 200)), lambda x: wb.sum(wb.Dense(200, 2, seed=0)(x))),
    "one long row": (lambda: np.ones(100_000), lambda x: wb.sum(wb.Value(2.0) * x)),
    "turned": (lambda: np.ones((200, 300)).T, lambda x: wb.sum(wb.Dense(200, 2, seed=0)(x))),
    "labels": (lambda: np.array([0, 1, 1]), lambda y: wb.cross_entropy(wb.Value(np.eye(3)), y)),
    "einsum": (lambda: np.ones((2, 3)), lambda x: wb.sum(wb.einsum("ij,j->i", x, wb.Value(np.ones(3))))),
    "index": (lambda: np.array([0, 1]), lambda i: wb.sum(wb.Value(np.eye(3))[i])),
    "mask": (lambda: np.eye(3) > 0, lambda i: wb.sum(wb.Value(np.eye(3))[i])),
    "one of several indices": (lambda: np.array([0, 1]), lambda i: wb.sum(wb.Value(np.eye(3))[i, 0])),
    "index of set_at": (lambda: np.array([0, 1]), lambda i: wb.sum(wb.set_at(wb.Value(np.eye(3)), i, 5.0))),
    "indices": (lambda: np.array([0, 1]), lambda i: wb.sum(wb.take(wb.Value(np.ones(3)), i))),
    "condition": (lambda: np.eye(3) > 0, lambda x: wb.sum(wb.where(x, wb.Value(np.eye(3)), 0.0))),
}


@pytest.mark.parametrize("case", REFILLED)
def test_a_buffer_that_was_filled_anew_is_told(case, all_large):
    make, loss = REFILLED[case]
    x = make()
    right, other = loss(x), loss(x)
    x[...] = ~x if x.dtype == bool else x + 1
    for result in (right, other, right):  # each time, and for each graph
        with pytest.raises(
            wb.StaleGraphError, match=r"was written to after the operation had read it.*array of its own"
        ):
            result.backward()
    again = loss(x)
    again.backward()
    x[...] = 0  # after backward(), for the next batch
    loss(x).backward()


def test_what_no_partial_reads_may_be_written_to(all_large):
    y = np.ones(3)
    w = wb.Value([1.0, 2.0, 3.0])
    loss = wb.sum(y - w) + wb.sum(w + y)
    y[:] = 7.0
    loss.backward()
    assert (w.grad == 0.0).all()


def test_a_buffer_of_which_only_the_shape_is_read_may_be_written_to(all_large):
    w, x, loss = wb.Value(np.full((3, 1), 0.5)), np.empty((4, 2)), 0.0
    h = wb.Value(np.zeros((4, 1)))
    for step in range(3):  # each concatenate copies it
        x[:] = step
        h = wb.concatenate([x, h], axis=1) @ w
        loss = loss + wb.sum(h)
    x[:] = 7.0
    loss.backward()  # h₁ = 0, h₂ = 1, h₃ = 2.5 in each of 4 rows; of w₀, h₃ has 2 and half of what h₂ has
    np.testing.assert_array_equal(w.grad[:, 0], [4 * (1 + 2.5), 4 * (1 + 2.5), 4.0])


def test_a_convolution_has_copied_its_windows(all_large):
    x, layer = np.ones((4, 1, 6, 6)), wb.Conv2d(1, 2, 3, seed=0)
    loss = wb.sum(layer(x))
    x[:] = 7.0
    loss.backward()
    assert (layer.weight.grad == 4.0 * 16.0).all()


def test_a_reader_that_is_not_behind_the_loss_is_left_alone(all_large):
    x, w = np.ones(3), wb.Value(np.ones(3))
    other = w * x
    x[:] = 2.0
    wb.sum(w * x).backward()
    assert (w.grad == 2.0).all()
    assert other is not None


def test_a_long_loop_is_looked_at_in_each_step(all_large):
    w, buffer = wb.Value(np.ones(3), name="w"), np.ones(3)
    for step in range(100):
        loss = wb.sum(w * buffer)
        if step == 70:
            buffer[:] = step
            with pytest.raises(wb.StaleGraphError):
                loss.backward()
        else:
            loss.backward()


def test_notes_keep_nothing_alive(no_collector, all_large):
    x, w = np.ones(3), wb.Value(np.ones(3))
    before = len(large)
    result = weakref.ref(w * x)
    assert result() is None
    assert len(large) == before


def test_a_derivative_notices_it_too(all_large):
    x, w = np.ones(3), wb.Value(np.ones(3))
    wb.sum(wb.square(w * x)).backward(record=True)
    slope, w.grad = w.grad, None
    x[:] = 2.0
    with pytest.raises(wb.StaleGraphError):
        wb.sum(slope).backward()


def test_another_leaf_s_data_settles_nothing():
    w, other = wb.Value(np.ones(3)), wb.Value(np.ones(3))
    for touch in (lambda: other.data, lambda: wb.Value(np.ones(2)).data, lambda: setattr(other, "data", np.zeros(3))):
        loss = wb.sum(w * w)
        touch()
        w.data[:] += 5.0
        with pytest.raises(wb.StaleGraphError):
            loss.backward()


def test_notes_of_other_graphs_leave_the_table():
    w, other = wb.Value(np.ones(3)), wb.Value(np.ones(3))
    waiting = wb.sum(other * 2.0)
    assert other.data is not None
    for _ in range(WALKS + 1):
        wb.sum(w * w).backward()
    assert not handed_out
    waiting.backward()


def test_threads_share_the_tables():
    w = wb.Value(np.ones(200_000))
    errors = []

    def walk():
        try:
            for _ in range(20):
                loss = wb.sum(w * 2.0)
                w.data.max()
                float(wb.sum(w)) * 2.0
                loss.backward()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=walk) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_value_that_dies_during_a_walk_leaves_no_note(monkeypatch):
    """Another Value may live at its address, and would be taken for one that was written to."""

    class Sweeping(int):
        """A limit that the garbage is collected at, as it may be anywhere in the walk."""

        def __eq__(self, other):
            gc.collect()
            return False

        __lt__ = __eq__

    monkeypatch.setattr(changed, "WALKS", Sweeping(WALKS))
    w, knot = wb.Value(np.ones(3)), [wb.Value(np.ones(3))]
    loss = wb.sum(w * w.data)
    _ = knot[0].data
    knot.append(knot)
    del knot
    loss.backward()
    assert all(noted.value() is not None for noted in handed_out.values())
