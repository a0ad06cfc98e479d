"""Random functions of user-like code, compiled and as they are: a failing example is a Python function to read.

A function has a state of its own, reads and writes plain arrays and numbers between its operations, branches on them,
calls layers, keeps intermediates, raises. The pieces that it is made of are the tables below.
"""

import textwrap

import numpy as np
from adversaries.stage import Row, batch, compare, labels, normal, play
from hypothesis import given, note, settings
from hypothesis import strategies as st

import tinygrad_wb as wb

CALLS = 9
NUMBERS = [0.5, -1.25, 0.0, -0.0, 2, 1, True, 3.0, np.float64(0.75)]

# M is a Value of shape (4, 3), V one of shape (4,), S a number that is a Value; A a plain array, C a plain number.
EXPRESSIONS = {
    "M": [
        "x * w", "x @ u", "wb.tanh(M)", "M @ u * 0.5", "M + A", "M * A", "wb.tanh(M) * M", "M - M", "layer(M)", "wb.exp(-M * M)",
        "M * C", "C - M", "M[::-1]", "wb.softmax(M, axis=1)", "wb.relu(M)", "drop(M)", "wb.where(A > 0.0, M, wb.sin(M))",
        "M / (1.0 + M * M)", "wb.reshape(M, (3, 4)).T * 0.3", "inner(M)", "wb.maximum(M, 0.1 * C)", "norm(M)", "M.astype('f4')",
        "wb.stack([V, V, w[0] * V], axis=1)", "M * (y[:, None] == np.arange(3))", "helper(M, C)", "wb.Value(x) * w",
        "wb.concatenate([M[:2], M[2:]])", "np.tanh(M)", "M ** 2", "(lambda v: v * state['k'])(M)", "M - wb.mean(M, axis=0)",
    ],
    "V": [
        "M @ w", "M[np.arange(4), y]", "wb.sum(M, axis=1)", "M[:, state['n'] % 3]", "wb.max(M, axis=1)", "V * C", "V + V", "wb.tanh(V)",
        "wb.where(y > 0, V, 0.5)", "V[::-1] * 0.5", "V[np.argsort(x[:, 0])]", "V * weights[y]", "M.T[0]", "V + (kept[0].data if kept else 0.0)",
        "wb.absolute(V)", "sum([V, V], 1.0)", "V - V.data", "wb.log_softmax(V)", "V / (1.0 + abs(C))",
    ],
    "S": [
        "wb.mean(M)", "wb.sum(V) * 0.2", "V[0]", "S * C", "S + S", "wb.mean(V * V)", "wb.tanh(S)", "b * S", "wb.sum(w * store) * 0.1",
        "sum(V[j] for j in range(2))", "wb.max(M)", "S * S", "wb.cross_entropy(M, y)", "wb.var(V)", "wb.sqrt(S * S + 1.0)", "V[y[0]]",
        "wb.mean(wb.grad(lambda z: wb.sum(wb.tanh(z @ w)))(x) * M)", "max(S, b * 0.5)", "w[0] * w[-1]",
    ],
    "A": ["x", "x[::-1]", "np.eye(3)[y]", "np.ones((4, 3)) * C", "store * np.ones((4, 1))", "x.copy()", "rng.normal(size=(4, 3))", "np.abs(x)"],
    "C": [
        "0.5", "-0.25", "k", "state['k']", "state['n'] % 4", "len(log) % 3", "rng.random()", "float(x[0, 0])", "store[0]", "1", "True",
        "S.item() % 1.0", "V.data[0] % 1.0", "float(V.argmax())", "weights[y[0]]", "len(M)", "V.size", "1.0 / (1 + state['n'])", "y.max()",
        "0.1 * len(kept)", "(1.0 if w.grad is None else 0.5)", "getattr(state, 'missing', 0.3)",
    ],
}  # fmt: skip

STATEMENTS = [
    "m = M", "m = M", "v = V", "v = V", "s = S", "s = S",
    "log.append(C)", "log.append(float(len(log)))", "log.append(V.data.copy())", "log.append(M.shape)", "log.append(format(S, '.4f'))",
    "state['n'] += 1", "state['k'] = state['k'] * 0.9 + 0.05 * C", "state['n'] = (state['n'] + 1) % 3",
    "store[...] = store * 0.9 + 0.1 * C", "store[y[0]] = C", "x[0] += 1.0", "x *= 0.5", "store[:] = x[0]", "a = A; m = m * a; a += 1.0",
    "kept.append(V)", "del kept[:-2]", "log.append(kept[0].data.sum() if kept else None)", "weights[:] = np.roll(weights, 1)",
    "log.append(S.item() > 0.05)", "assert v.shape == (4,)", "same = m; m = m + 1.0; log.append(same is m)", "log.append(repr(type(x)))",
    "m.name = 'hidden'", "w.data = w.data * 0.99", "u.grad = None", "log.append(S.grad)", "h = S; log.append(h.grad is None); s = h + s",
]  # fmt: skip

BLOCKS = [
    "if state['n'] % 3 == 0:", "if k > 0:", "if S > 0.07:", "if S.item() > 0.07:", "if rng.random() < 0.4:", "if V.argmax() % 2:", "if kept:",
    "for j in range(state['n'] % 3):", "for j in range(2):", "if y[0] == 0:", "if (x > 1.0).any():", "with wb.no_grad():", "for j in range(len(log) % 2):",
]  # fmt: skip

RAISES = ["if state['n'] % 4 == 2:\n    raise KeyError(state['n'])", "if S > 0.4:\n    raise ValueError('too large')"]
CAUGHT = ["raise KeyError('caught')", "m @ np.ones((2, 2))", "float(m)", "np.asarray(m)", "store.missing"]
RESULTS = [
    "S",
    "wb.mean(m) + wb.mean(v) + s",
    "(S, V)",
    "(S, m, C)",
    "{'loss': S, 'm': m, 'v': [V]}",
    "(s + wb.sum(v), m, None, 'text')",
    "s, log[-1:]",
]


@st.composite
def sources(draw):
    """The text of a function of x, y and k."""

    def filled(template, depth=0):
        """A template whose letters are replaced by expressions; those that lie deep are variables."""
        out = []
        for i, letter in enumerate(template):
            alone = not (template[i - 1 : i].isalnum() or template[i - 1 : i] in (".", "'", "_", "\\")) and not (
                template[i + 1 : i + 2].isalnum() or template[i + 1 : i + 2] in ("'", "_")
            )
            if letter not in EXPRESSIONS or not alone:
                out.append(letter)
            elif depth > 1 or (letter in "MVS" and draw(st.booleans())):
                out.append({"M": "m", "V": "v", "S": "s", "A": "x", "C": "0.5"}[letter])
            else:
                inside = filled(draw(st.sampled_from(EXPRESSIONS[letter])), depth + 1)
                out.append(f"({inside})" if any(c in inside for c in " +-*/") else inside)
        return "".join(out)

    def body(depth, least, most):
        lines = []
        for _ in range(draw(st.integers(least, most))):
            kind = draw(st.integers(0, 11)) if depth < 2 else 0
            if kind < 8:
                lines.append(filled(draw(st.sampled_from(STATEMENTS))))
            elif kind < 10:
                head = filled(draw(st.sampled_from(BLOCKS)))
                inside = body(depth + 1, 1, 3)
                lines += [head, *(f"    {line}" for line in inside)]
            elif kind == 10:
                inside = [*body(depth + 1, 1, 3), draw(st.sampled_from(CAUGHT))]
                lines += [
                    "try:",
                    *(f"    {line}" for line in inside),
                    "except Exception as error:",
                    "    log.append(type(error).__name__)",
                ]
                lines += [f"    {line}" for line in body(depth + 1, 1, 1)]
            else:
                lines += filled(draw(st.sampled_from(RAISES))).split("\n")
        return lines

    lines = ["x = x.copy()"] if draw(st.booleans()) else []
    lines += ["m = x * w", "v = m @ w", "s = wb.mean(v)"]
    lines += body(0, 2, 9)
    lines.append(f"return {filled(draw(st.sampled_from(RESULTS)))}")
    return "def loss(x, y, k):\n" + textwrap.indent("\n".join(lines), "    ")


class State(dict):
    pass


def row_of(source, numbers):
    """A row that plays the function with numbers that change, a step after each call, and looks at all it has left."""

    def make(s):
        w, u, b = wb.Value(normal(3)), wb.Value(normal(3, 3, seed=1)), wb.Value(0.3)
        layer, norm = wb.Dense(3, 3, "tanh", seed=2), wb.BatchNorm(3)
        room = {
            "np": np, "wb": wb, "w": w, "u": u, "b": b, "layer": layer, "norm": norm, "drop": wb.Dropout(0.3, seed=3),
            "inner": s.compiled(lambda v: wb.tanh(v @ u) * 0.5), "helper": lambda v, c: wb.sin(v) * c + 0.1,
            "rng": np.random.default_rng(4), "log": [], "kept": [], "state": State(n=0, k=0.5),
            "store": np.array([0.5, -0.2, 0.1]), "weights": np.array([0.3, 1.0, 2.0]),
        }  # fmt: skip
        exec(source, room)
        loss = s.compiled(room["loss"])
        leaves = [w, u, b, *layer.parameters(), *norm.parameters()]
        optimizer = wb.SGD(leaves, 0.02)

        def call(i):
            x = batch(i)
            try:
                result = loss(x, labels(i), numbers[i % len(numbers)])
                s.note(result)
                s.back(result, every=i % 3 == 2)
                s.update(leaves, optimizer)
            finally:
                for v in leaves:
                    v.grad = None
                s.note(
                    x, room["log"], room["state"], room["store"], [v.data for v in room["kept"]], room["rng"].random()
                )
                s.note(norm.running_mean, [v.data for v in leaves])

        return call

    return Row("", make, calls=CALLS)


@settings(max_examples=400)
@given(sources(), st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=4))
def test_random_functions(source, numbers):
    note(source)
    row = row_of(source, numbers)
    with np.errstate(all="ignore"):
        assert compare(play(row, compiles=False), play(row, compiles=True), 1e-6) == ""
