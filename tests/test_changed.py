"""Data that was written to between the forward pass and backward(): told, where it was handed out by .data."""

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.changed import handed_out


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


def test_the_data_of_a_result_is_not_watched():
    w = wb.Value(np.ones(3))
    y = w * 2.0
    y.data[:] = 0.0
    with wb.no_grad():
        w2 = w * 2.0
    assert (w2.data == 2.0).all()
    assert not handed_out


def test_a_note_goes_with_its_leaf():
    w = wb.Value(np.ones(3))
    loss = wb.sum(w * w)
    assert w.data is not None
    assert len(handed_out) == 1
    del w, loss
    assert not handed_out
