"""Arrays that are written to while a function, or its gradient, still needs them; and views and aliases of them."""

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, leaf, normal, row


@row(fits=True, way="followed")
def input_written_after_it_was_read(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        x = x.copy()
        h = w * x
        x += 1.0
        return wb.mean(h * x)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def augmentation_in_place(s):
    w, rng = leaf(3), np.random.default_rng(0)

    @s.compiled
    def loss(x):
        x = np.array(x)
        x += rng.normal(size=x.shape) * 0.1
        x[rng.random(len(x)) < 0.5] *= -1.0
        np.clip(x, -1.0, 1.0, out=x)
        return wb.mean((x @ w) ** 2)

    return s.descends(loss, w)


@row
def argument_written_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        x *= 0.5
        return wb.mean(h * h) + wb.sum(x @ w)

    def call(i):
        x = batch(i)
        w.grad = None
        error = loss(x)
        s.note(x, error)
        error.backward()
        s.note(w.grad)

    return call


@row
def argument_written_before_backward(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    def call(i):
        x = batch(i)
        error = loss(x)
        x[...] = 7.0
        w.grad = None
        error.backward()
        s.note(error, w.grad)

    return call


@row
def buffer_that_is_filled_anew(s):
    w, buffer = leaf(3), np.empty((4, 3))

    @s.compiled
    def loss(x):
        return wb.mean(wb.tanh(x @ w))

    def call(i):
        buffer[...] = batch(i)
        w.grad = None
        error = loss(buffer)
        s.note(error)
        error.backward()
        s.update([w], wb.SGD([w], 0.05))

    return call


@row
def buffer_that_two_calls_share(s):
    w, buffer = leaf(3), np.empty(3)

    @s.compiled
    def one(x):
        return wb.sum(w * x)

    def call(i):
        total = 0.0
        for k in range(3):
            buffer[...] = normal(3, seed=10 * i + k)
            total = total + one(buffer) ** 2
        w.grad = None
        total.backward()
        s.note(total, w.grad)

    return call


@row(fits=True)
def buffer_that_is_refilled_in_a_loop_inside(s):
    w, buffer = leaf(3), np.empty(3)

    @s.compiled
    def loss(x):
        total = 0.0
        for r in x:
            buffer[:] = r
            total = total + wb.sum(w * buffer) ** 2
        return total

    return s.descends(loss, w)


@row(fits=True)
def swapped_buffers(s):
    w, a, b = leaf(3), np.ones(3), np.zeros(3)

    @s.compiled
    def loss(x):
        nonlocal a, b
        a, b = b, a
        a += x.sum(axis=0)
        return wb.sum(w * a) + 2.0 * wb.sum(w * b)

    return s.descends(loss, w)


@row
def views_of_an_array_that_is_written(s):
    w, data = leaf(3), normal(6, 3)

    @s.compiled
    def loss(i):
        head, tail = data[:3], data[3:]
        h = head @ w
        tail[:] = head * 0.5
        data[0] = i
        return wb.sum(h) + wb.sum(tail @ w) + wb.sum(data.T[0] * h[0])

    return s.descends(loss, w, given=lambda i: (float(i),))


@row
def alias_of_a_parameter_that_is_written_inside(s):
    w = wb.Value(normal(3))
    alias = w.data

    @s.compiled
    def loss(x):
        h = x @ w
        alias[1] += 0.5
        return wb.mean(h * h)

    def call(i):
        w.grad = None
        try:
            error = loss(batch(i))
            s.note(error)
            error.backward()
            s.note(w.grad)
        except wb.StaleGraphError as error:
            s.note(type(error))
        s.note(w.data)

    return call


@row
def alias_of_a_parameter_that_is_written_outside(s):
    w = wb.Value(normal(3))
    alias = w.data

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    def call(i):
        alias[i % 3] = 0.1 * i
        w.grad = None
        error = loss(batch(i))
        s.note(error)
        error.backward()
        s.note(w.grad, w.data is alias, w.data)

    return call


@row
def alias_of_a_parameter_after_steps_of_an_optimizer(s):
    w, b = wb.Value(normal(3)), wb.Value(normal(4))
    held = w.data, b.data
    optimizer = wb.Adam([w, b], 0.05)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w + b) ** 2)

    def call(i):
        if i > 3:
            held[0][0] = 1.0
        optimizer.zero_grad()
        error = loss(batch(i))
        s.note(error)
        error.backward()
        optimizer.step()
        s.note(held, w.data is held[0], b.data is held[1], w.data)

    return call


@row
def view_of_a_parameter_before_and_after(s):
    w = wb.Value(normal(3, 2))
    row0 = w.data[0]

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) + wb.sum(w[0] * row0)

    def call(i):
        error = loss(batch(i))
        s.note(error, row0)
        w.grad = None
        error.backward()
        s.note(w.grad)
        wb.SGD([w], 0.05).step()
        s.note(row0, w.data)

    return call


@row(fits=True)
def data_assigned_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        w.data = w.data * 0.5 + 0.1
        return wb.mean((x @ w) ** 2)

    return s.descends(loss, w)


@row(raises=True)
def data_assigned_after_it_was_read(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        w.data = w.data * 0.5
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def weights_that_are_normalised_in_place_first(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        w.data /= np.linalg.norm(w.data)
        return wb.mean((x @ w - 0.5) ** 2)

    return s.descends(loss, w)


@row
def large_array_in_a_closure_that_is_rewritten(s):
    w, big = leaf(3), np.ones((20_000, 3))

    @s.compiled
    def loss(i):
        big[::100] = i + 1.0
        return wb.mean(wb.tanh(big @ w * 0.01))

    return s.descends(loss, w, given=lambda i: (float(i),))


@row
def large_array_written_in_the_middle(s):
    """It is larger than what is copied: a gradient is right, or refused."""
    w, big = leaf(3), np.ones((100_000, 3))

    @s.compiled
    def loss(i):
        big[...] = i + 1.0
        h = w * big
        big[...] = 7.0
        return wb.mean(h)

    def call(i):
        error = loss(float(i))
        s.note(error)
        w.grad = None
        try:
            error.backward()
            right = np.allclose(w.grad, (i + 1.0) / 3)
        except wb.StaleGraphError:
            right = True
        s.note(right or not s.compiles)

    return call


@row(fits=True)
def array_in_a_list_that_is_exchanged(s):
    w, arrays = leaf(3), [np.ones(3), np.zeros(3)]

    @s.compiled
    def loss(x):
        arrays[0], arrays[1] = arrays[1], x.mean(axis=0)
        return wb.sum(w * arrays[0] * 2.0) + wb.sum(w * arrays[1])

    return s.descends(loss, w)


@row(fits=True)
def default_argument_that_is_written(s):
    w = leaf(3)

    @s.compiled
    def loss(x, c=np.ones(3)):  # noqa: B008
        c *= 1.1
        return wb.mean((x * c) @ w)

    return s.descends(loss, w)


@row
def same_array_twice_and_two_equal_ones(s):
    w = leaf(3)

    @s.compiled
    def loss(a, b):
        return wb.sum(w * a * b) + (10.0 if a is b else 0.0) + (1.0 if np.shares_memory(a, b) else 0.0)

    def given(i):
        a = normal(3, seed=i)
        return ((a, a), (a, a.copy()), (a, a[::-1]))[i % 3]

    return s.descends(loss, w, given=given)


@row
def gradient_that_is_changed_in_place(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    def call(i):
        loss(batch(i)).backward()
        s.note(w.grad)
        w.grad *= 0.5
        w.grad[0] = 0.0
        w.data -= 0.1 * w.grad
        s.note(w.grad, w.data)
        if i % 2:
            w.grad = None

    return call


@row
def results_that_are_changed_in_place(s):
    w = leaf(3)

    @s.compiled
    def predict(x):
        return x @ w, wb.tanh(x @ w).data

    def call(i):
        p, t = predict(batch(i))
        s.note(p, t)
        p.data[0] = 99.0
        t[:] = 0.0
        p, t = predict(batch(i))
        s.note(p, t)

    return call


@row
def data_of_an_intermediate_written_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        h.data[h.data < 0.0] = 0.0
        return wb.sum(h * 2.0), h

    return s.descends(loss, w)


@row(fits=True)
def dead_arrays_at_the_same_address(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        total = 0.0
        for k in range(4):
            total = total + wb.sum(w * (x[k] * 2.0 + k))
        return total

    return s.descends(loss, w)


@row
def strided_negation(s):
    w = leaf(50, seed=1)

    @s.compiled
    def loss(x):
        return wb.sum(wb.exp(-(x * w)[:, ::2]) + wb.sin(-(x * w).T[::3].T[:, :17].sum()))

    return s.descends(loss, w, given=lambda i: (normal(40, 50, seed=i) * 0.3,))


@row
def structured_array(s):
    w, table = leaf(3), np.zeros(3, [("a", float), ("n", int)])

    @s.compiled
    def loss(i):
        table["a"] += 0.5
        table["n"][i % 3] += 1
        return wb.sum(w * table["a"] * table["n"])

    return s.descends(loss, w, given=lambda i: (i,))


@row(fits=True)
def memory_map(s):
    import tempfile
    from pathlib import Path

    w = leaf(3)
    data = np.memmap(Path(tempfile.mkdtemp()) / "data", float, "w+", shape=(12, 4, 3))
    data[:] = normal(12, 4, 3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    return s.descends(loss, w, given=lambda i: (data[i],))


@row(fits=True)
def readonly_and_broadcast_arrays(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        try:
            x[0] = 1.0
        except ValueError as error:
            s.note(error)
        return wb.mean((x @ w) ** 2)

    def given(i):
        x = batch(i)
        x.flags.writeable = bool(i % 2)
        return (np.broadcast_to(x[0], (4, 3)) if i % 3 == 2 else x,)

    return s.descends(loss, w, given=given)


def _value_and_gradient(s, w, loss, right=None):
    """Calls of ``loss`` whose value is compared, and then its gradient, or that it is refused.

    Where eager mode may refuse a gradient, or read what was written, the compiled one is refused or ``right``.
    """

    def call(i):
        w.grad = None
        error = loss(batch(i))
        s.note(error)
        try:
            error.backward()
        except wb.StaleGraphError as refused:
            s.note(right is not None or type(refused))
            return
        s.note(w.grad if right is None else not s.compiles or np.allclose(w.grad, right(batch(i))))

    return call


@row
def alias_of_a_parameter_read_before_and_after_it_is_written(s):
    w = wb.Value(normal(3))
    alias = w.data

    @s.compiled
    def loss(x):
        before = x * w
        alias[1] += 0.5
        after = x * w
        again = wb.tanh(w)
        alias[0] -= 0.25
        return wb.mean(before * 3.0) + wb.mean(after * w) + wb.sum(again * w)

    return _value_and_gradient(s, w, loss)


@row
def alias_of_a_parameter_written_after_the_last_operation(s):
    w = wb.Value(normal(3))
    alias = w.data

    @s.compiled
    def loss(x):
        found = wb.mean((x @ w) ** 2)
        alias[0] += 1.0
        return found

    return _value_and_gradient(s, w, loss)


@row
def data_of_a_parameter_written_inside_by_its_name(s):
    w = wb.Value(normal(3))

    @s.compiled
    def loss(x):
        found = x @ w
        w.data[1] *= 0.5
        return wb.mean(found) + wb.mean(x @ w)

    return _value_and_gradient(s, w, loss, lambda x: 2.0 * x.mean(axis=0))


@row
def array_of_a_value_made_inside_that_is_written(s):
    """The value is compared alone: eager mode, too, does not see what is written to an array from before."""
    w = wb.Value(normal(3))

    @s.compiled
    def loss(x):
        made = wb.Value(x)
        alias = made.data
        found = w * made
        alias[:] = 7.0
        return wb.mean(found * 2.0) + wb.sum(made)

    return lambda i: loss(batch(i))


@row
def array_of_a_value_from_outside_that_is_written(s):
    w = wb.Value(normal(3))

    v = wb.Value(np.ones(3))

    @s.compiled
    def loss(x):
        v.data = x[0]
        found = w * v
        v.data[...] = 7.0
        return wb.mean(found * x) + wb.mean(w * v)

    return _value_and_gradient(s, w, loss, lambda x: (x[0] * x.mean(axis=0) + 7.0) / 3)


@row
def large_array_of_a_value_that_is_written(s):
    w, v = wb.Value(normal(3)), wb.Value(np.ones((60_000, 3)))
    alias = v.data

    @s.compiled
    def loss(x):
        alias[0] = x[0]
        found = wb.mean(v * w)
        alias[...] = 2.0
        return found + wb.mean(v * w)

    return _value_and_gradient(s, w, loss)


@row
def alias_of_a_parameter_written_between_functions_of_it_alone(s):
    w = wb.Value(normal(3))
    alias = w.data

    @s.compiled
    def loss(x):
        before = wb.tanh(w)
        alias[1] += 0.5
        after = wb.tanh(w)
        return wb.sum(before * after)

    return _value_and_gradient(s, w, loss)
