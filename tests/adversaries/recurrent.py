"""Networks that carry a state from step to step and from call to call."""

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, leaf, normal, row


@row(fits=True)
def hidden_state_kept_between_calls(s):
    w, u = leaf(3, 3), leaf(3, 3, seed=1)

    class Cell:
        h = np.zeros((4, 3))

        def loss(self, x):
            h = wb.tanh(x @ w + self.h @ u)
            self.h = h.data
            return wb.mean((h - 0.5) ** 2)

    return s.descends(s.compiled(Cell().loss), w, u)


@row(fits=True)
def state_as_a_value_without_history(s):
    w, u = leaf(3, 3), leaf(3, 3, seed=1)

    class Net(wb.Module):
        def __init__(self):
            self.w, self.u, self.h = w, u, wb.Value(np.zeros((4, 3)))

        def forward(self, x):
            self.h = wb.Value(wb.tanh(x @ self.w + self.h @ self.u).data)
            return x @ self.w + self.h @ self.u

    net = Net()

    @s.compiled
    def loss(x):
        return wb.mean(net(x) ** 2)

    step = s.descends(loss, w, u)

    def call(i):
        step(i)
        s.note(net.h)

    return call


@row
def state_with_its_history(s):
    """Backpropagation through two calls: the state of the last call is an intermediate of it."""
    w, u, state = leaf(3, 3), leaf(3, 3, seed=1) * 1.0, [None]
    u = wb.Value(u.data)

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w) if state[0] is None else wb.tanh(x @ w + state[0] @ u)
        state[0] = h
        return wb.mean(h * h)

    def call(i):
        error = loss(batch(i))
        w.grad = u.grad = None
        error.backward()
        s.note(error, state[0], w.grad, u.grad)
        if i % 4 == 3:
            state[0] = None
            w.data = w.data - 0.1 * w.grad

    return call


@row
def state_handed_in_and_out(s):
    layer, w = wb.GRU(3, 4, seed=0), leaf(4)

    @s.compiled
    def run(x, state):
        y, state = layer.run(x, state)
        return wb.mean((y @ w) ** 2), state

    state = [None]

    def call(i):
        loss, new = run(normal(2, 5, 3, seed=i), state[0])
        for p in (*layer.parameters(), w):
            p.grad = None
        loss.backward()
        s.note(loss, new, [p.grad for p in layer.parameters()], w.grad)
        state[0] = new.data if i % 5 else None
        wb.SGD([*layer.parameters(), w], 0.05).step()

    return call


@row(way="followed")
def lstm_over_sequences_of_several_lengths(s):
    layer, w = wb.LSTM(3, 4, seed=0), leaf(4)

    @s.compiled
    def loss(x):
        return wb.mean((layer(x)[:, -1] @ w) ** 2)

    return s.descends(loss, *layer.parameters(), w, given=lambda i: (normal(2, 3 + i % 2, 3, seed=i),))


@row
def generation_step_by_step(s):
    table, w, out, rng = leaf(5, 3), leaf(3, 3), leaf(3, 5), np.random.default_rng(0)

    @s.compiled
    def step(token, h):
        h = wb.tanh(table[token] + h @ w)
        return wb.softmax(h @ out), h

    def call(i):
        token, h, text = i % 5, np.zeros(3), []
        for _ in range(6):
            p, h = step(token, h)
            token = int(rng.choice(5, p=p.data / p.data.sum()))
            text.append(token)
        s.note(text, p, h)
        w.grad = None
        wb.sum(h).backward()
        s.note(w.grad)

    return call


@row
def cache_of_keys_and_values(s):
    q, k, v, cache = leaf(3, 3), leaf(3, 3, seed=1), leaf(3, 3, seed=2), {"k": [], "v": []}

    @s.compiled
    def attend(x):
        cache["k"].append(x @ k)
        cache["v"].append(x @ v)
        keys, values = wb.stack(cache["k"]), wb.stack(cache["v"])
        return wb.softmax((x @ q) @ keys.T) @ values

    def call(i):
        y = attend(normal(3, seed=i))
        for p in (q, k, v):
            p.grad = None
        wb.sum(y * y).backward()
        s.note(y, q.grad, k.grad, v.grad)
        if i % 4 == 3:
            cache["k"].clear()
            cache["v"].clear()

    return call


@row
def cache_of_plain_arrays_written_in_place(s):
    k, v, keys, values, n = leaf(3, 3), leaf(3, 3, seed=2), np.zeros((12, 3)), np.zeros((12, 3)), [0]

    @s.compiled
    def attend(x):
        a, b = x @ k, x @ v
        keys[n[0]], values[n[0]] = a.data, b.data
        n[0] += 1
        return wb.softmax(a @ keys[: n[0]].T) @ values[: n[0]] + b

    return s.descends(attend, k, v, given=lambda i: (normal(3, seed=i),))


@row
def truncated_backpropagation(s):
    w, u, h = leaf(3, 3), leaf(3, 3, seed=1), [np.zeros((4, 3))]

    @s.compiled
    def chunk(xs):
        state, total = h[0], 0.0
        for x in xs:
            state = wb.tanh(x @ w + state @ u)
            total = total + wb.mean((state - 0.3) ** 2)
        h[0] = state.data.copy()
        return total / len(xs)

    return s.descends(chunk, w, u, given=lambda i: ([batch(3 * i + k) for k in range(3)],))


@row(fits=True)
def memory_that_resets_by_the_data(s):
    w, h = leaf(3, 3), [np.zeros((4, 3))]

    @s.compiled
    def loss(x):
        if x[0, 0] > 0.0:
            h[0] = np.zeros((4, 3))
        y = wb.tanh(x @ w + h[0])
        h[0] = y.data
        return wb.mean(y * y)

    return s.descends(loss, w)


@row(fits=True)
def echo_of_the_last_batch(s):
    w, last = leaf(3), [None]

    @s.compiled
    def loss(x):
        previous, last[0] = last[0], x
        error = wb.mean((x @ w) ** 2)
        return error if previous is None else error + 0.1 * wb.mean(previous @ w)

    return s.descends(loss, w)
