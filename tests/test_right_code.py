"""Right programs, as people write them: none of them sets off a warning or a refusal (pytest makes warnings errors).

Each is small and has one subject. They run as functions, and once more as the cells of a notebook, where a variable may
be read by a later cell.
"""

import ast
import collections
import copy
import dataclasses
import functools
import inspect
import io
import itertools
import linecache
import logging
import math
import pickle
import textwrap
import threading
from typing import NamedTuple

import numpy as np
import pytest

import tinygrad_wb as wb

X, Y = wb.datasets.moons(64, seed=0)
YF = Y.astype(float)
PROGRAMS = []


def right(program):
    PROGRAMS.append(program)
    return program


def classifier(**options):
    model = wb.MLP(2, [8], 2, seed=0, **options)
    return model, wb.Adam(model.parameters(), 0.01)


def descend(optimizer, loss):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


# -- logging ----------------------------------------------------------------------------------------------------------


@right
def texts():
    model, optimizer = classifier()
    log, handler = logging.getLogger(__name__), logging.StreamHandler(io.StringIO())
    log.addHandler(handler)
    pattern = "%.3f"
    for step in range(4):
        loss = wb.cross_entropy(model(X), Y)
        print(f"{step}: {float(loss):.3f}, perplexity {math.exp(loss):.2f}", math.sqrt(loss), float(loss) * 100.0)
        descend(optimizer, loss)
        held_out = wb.cross_entropy(model(X[:8]), Y[:8])
        log.warning("loss %.3f, perplexity %.2f", held_out, math.exp(held_out))
        line = pattern % held_out
        print(line.strip(), "{:.2f}".format(float(held_out) * 2.0).upper())  # noqa: UP032
    log.removeHandler(handler)


@right
def a_meter():
    class Meter:
        def __init__(self):
            self.total, self.count, self.worst = 0.0, 0, 0.0

        def add(self, loss, n):
            self.total += float(loss) * n
            self.count += n
            self.worst = max(self.worst, math.exp(loss))

    model, optimizer = classifier()
    meter = Meter()
    for _ in range(2):
        optimizer.zero_grad()
        for i in range(0, 64, 16):  # gradients of parts add up
            loss = wb.cross_entropy(model(X[i : i + 16]), Y[i : i + 16]) / 4.0
            meter.add(loss, 16)
            loss.backward()
            meter.add(loss, 16)
        optimizer.step()
        meter.add(wb.cross_entropy(model(X), Y), 64)
    print(meter.total / meter.count, meter.worst)


@right
def a_trainer():
    class Trainer:
        def __init__(self):
            self.model, self.optimizer = classifier()
            self.running, self.smooth, self.history = 0.0, 0.0, []

        def step(self):
            self.scores = self.model(X)
            self.loss = wb.cross_entropy(self.scores, Y)
            before = float(self.loss) * 2.0
            self.ratio = float(wb.mean(self.scores)) / float(self.loss)
            descend(self.optimizer, self.loss)
            self.running += float(self.loss) * 64
            self.smooth = 0.9 * self.smooth + 0.1 * float(self.loss)
            self.gain = before - float(wb.cross_entropy(self.model(X), Y))
            self.history.append(self.running / 64)
            return {"loss": float(self.loss), "perplexity": math.exp(self.loss), "percent": float(self.loss) * 100.0}

    trainer, history = Trainer(), collections.defaultdict(list)
    for _ in range(3):
        for name, number in trainer.step().items():
            history[name].append(number)
    print(dict(history), trainer.gain)


@right
def records():
    @dataclasses.dataclass
    class Found:
        loss: wb.Value
        perplexity: float
        total: float = 0.0

    class Pair(NamedTuple):
        loss: float
        percent: float

    model, optimizer = classifier()

    def compute():
        loss = wb.cross_entropy(model(X), Y)
        return Found(loss, math.exp(loss)), Pair(float(loss), float(loss) * 100.0), math.exp(loss) * 2.0

    for _ in range(3):
        found, pair, twice = compute()
        found.total += float(found.loss) * 64
        descend(optimizer, found.loss)
        print(found.perplexity, pair.percent, twice, found.total)


@right
def arrays_and_tables():
    model, optimizer = classifier()
    losses, table = np.zeros(4), np.zeros((4, 3))
    for i in range(4):
        loss = wb.cross_entropy(model(X), Y)
        losses[i] = loss
        table[i] = i, float(loss), math.exp(loss)
        table[i, 2] += float(loss) * 2.0
        norms = [math.sqrt(wb.sum(p * p)) for p in model.parameters()]
        norms.append(float(loss) * 3.0)
        norms.sort()
        stacked = np.array(norms)
        print(stacked.mean(), stacked.T.sum(), losses.max())
        descend(optimizer, loss)


@right
def a_curve_that_is_plotted():
    w, b = wb.Value(1.0, name="w"), wb.Value(0.0, name="b")
    x = np.linspace(-1.0, 1.0, 10)
    frames = []
    for _ in range(4):
        line = float(w) * x + float(b)
        frames.append((line, float(w) * 2.0))
        loss = wb.mean((w * x + b - 3.0 * x) ** 2)
        loss.backward()
        for p in (w, b):
            p.data -= 0.1 * p.grad
            p.grad = None
        slope, offset = float(w) * 1.0, float(b) * 1.0
    print(slope, offset, np.abs(line).max())


@right
def a_name_that_is_used_again():
    model, optimizer = classifier()

    def evaluate():
        loss = wb.cross_entropy(model(X), Y)
        return float(loss)

    loss = evaluate() * 100.0
    print(loss)
    for _ in range(3):
        loss = wb.cross_entropy(model(X), Y)
        percent = float(loss) * 100.0
        print(percent)
        descend(optimizer, loss)
    loss = evaluate() * 100.0
    print(loss)
    loss = wb.cross_entropy(model(X), Y)
    loss.backward()


@right
def numbers_kept_between_steps():
    model, optimizer = classifier()
    loss = wb.cross_entropy(model(X), Y)
    perplexity = math.exp(loss)
    norm = math.sqrt(wb.sum(model.parameters()[0] ** 2))
    descend(optimizer, loss)
    perplexity = math.exp(wb.cross_entropy(model(X), Y))
    loss = wb.cross_entropy(model(X), Y)
    descend(optimizer, loss)
    print(perplexity, norm)


@right
def numbers_of_a_generator():
    model, optimizer = classifier()

    def train():
        for _ in range(3):
            loss = wb.cross_entropy(model(X), Y)
            yield float(loss), 2.0 * math.exp(loss)
            descend(optimizer, loss)

    for number, perplexity in train():
        print(number, round(perplexity))


@right
def numbers_in_forward():
    class Net(wb.Module):
        def __init__(self):
            self.hidden, self.out = wb.Dense(2, 8, "relu", seed=0), wb.Dense(8, 2, seed=1)
            self.mean, self.seen = 0.0, []

        def forward(self, x):
            h = self.hidden(x)
            self.mean = 0.9 * self.mean + 0.1 * float(wb.mean(h))
            self.seen.append(float(wb.mean(h)) * 2.0)
            assert math.isfinite(wb.sum(h))
            return self.out(h)

    model = Net()
    optimizer = wb.Adam(model.parameters())
    for _ in range(3):
        descend(optimizer, wb.cross_entropy(model(X), Y))
    print(model.mean)


# -- rates and updates ------------------------------------------------------------------------------------------------


@right
def a_rate_that_follows_the_loss():
    model, optimizer = classifier()
    best = math.inf
    for _ in range(4):
        loss = descend(optimizer, wb.cross_entropy(model(X), Y))
        optimizer.learning_rate = 0.01 * min(1.0, float(loss))
        held_out = wb.cross_entropy(model(X[:8]), Y[:8])
        optimizer.learning_rate /= 1.0 + float(held_out)
        best = min(best, float(held_out) * 1.0)


@right
def updates_by_hand():
    w, b = wb.Value(np.zeros(2), name="w"), wb.Value(0.0, name="b")
    view, mask = w.data, np.array([True, False])
    for _ in range(25):
        loss = wb.mean((X @ w + b - YF) ** 2)
        w.grad = b.grad = None
        loss.backward()
        rate = float(loss) / (1.0 + math.sqrt(float((w.grad**2).sum())))
        w.data -= 0.1 * rate * w.grad
        w.data[:] = w.data - 0.1 * w.grad
        w.data = w.data - 0.1 * w.grad
        view = w.data
        view *= 0.999
        np.clip(w.data, -1.0, 1.0, out=w.data)
        w.data[~mask] = 0.0
        b.data = b.data - 0.1 * b.grad


@right
def a_step_up_and_back():
    model, optimizer = classifier()
    for _ in range(3):
        optimizer.zero_grad()
        wb.cross_entropy(model(X), Y).backward()
        for p in model.parameters():
            p.data += 0.01 * np.sign(p.grad)
        pushed = [np.sign(p.grad) for p in model.parameters()]
        optimizer.zero_grad()
        wb.cross_entropy(model(X), Y).backward()
        for p, step in zip(model.parameters(), pushed, strict=True):
            p.data -= 0.01 * step
        optimizer.step()


@right
def finite_differences():
    w, x = wb.Value([0.1, -0.2, 0.3], name="w"), np.arange(6.0).reshape(2, 3)

    def compute():
        return wb.mean(wb.tanh(x @ w) ** 2)

    compute().backward()
    found = np.zeros(3)
    for i in range(3):
        w.data[i] += 1e-6
        up = float(compute())
        w.data[i] -= 2e-6
        found[i] = (up - float(compute())) / 2e-6
        w.data[i] += 1e-6
    assert np.allclose(found, w.grad)
    w.grad = None
    compute().backward()


@right
def averages_and_snapshots():
    model, optimizer = classifier()
    slow, best, smallest = copy.deepcopy(model), None, math.inf
    for _ in range(4):
        loss = wb.cross_entropy(model(X), Y)
        if float(loss) < smallest:
            smallest, best = float(loss), [p.data.copy() for p in model.parameters()]
        descend(optimizer, loss)
        for average, p in zip(slow.parameters(), model.parameters(), strict=True):
            average.data *= 0.9
            average.data += 0.1 * p.data
    for p, data in zip(model.parameters(), best, strict=True):
        p.data[:] = data
    again, its_optimizer = pickle.loads(pickle.dumps((model, optimizer)))
    descend(its_optimizer, wb.cross_entropy(again(X), Y))


@right
def weights_looked_at_while_a_graph_waits():
    model, optimizer = classifier()
    kept = []
    for _ in range(25):
        kept.append(wb.cross_entropy(model(X), Y))
        print(model.parameters()[0].data.mean())
        held_out = wb.cross_entropy(model(X[:8]), Y[:8])
        descend(optimizer, kept[-1])
        for p in model.parameters():
            p.data[...] = p.data.clip(-1.0, 1.0)
        assert held_out.data > 0.0


# -- batches ----------------------------------------------------------------------------------------------------------


@right
def a_buffer_for_batches():
    model, optimizer = classifier()
    x, y = np.empty((16, 2)), np.empty(16, dtype=int)
    for i in itertools.islice(itertools.cycle(range(0, 64, 16)), 25):
        x[:], y[:] = X[i : i + 16], Y[i : i + 16]
        descend(optimizer, wb.cross_entropy(model(x), y))
        x[:], y[:] = X[:16], Y[:16]
        assert model(x).argmax(1).shape == y.shape


@right
def two_buffers():
    model, optimizer = classifier()
    buffers = [X[:16].copy(), X[16:32].copy()]
    for step in range(25):
        loss = wb.cross_entropy(model(buffers[step % 2]), Y[:16])
        buffers[(step + 1) % 2][:] = X[step : step + 16]
        descend(optimizer, loss)


@right
def a_buffer_that_is_joined():
    w, buffer = wb.Value(np.full((3, 1), 0.1), name="w"), np.empty((4, 2))
    for _ in range(5):
        h, loss = wb.Value(np.zeros((4, 1))), 0.0
        for t in range(3):
            buffer[:] = X[t : t + 4]
            h = wb.tanh(wb.concatenate([buffer, h], axis=1) @ w)
            loss = loss + wb.mean(h * h)
        w.grad = None
        loss.backward()
        w.data -= 0.1 * w.grad


@right
def threads():
    errors = []

    def train(seed):
        try:
            model = wb.MLP(2, [8], 2, seed=seed)
            optimizer, buffer = wb.Adam(model.parameters()), np.empty((16, 2))
            for step in range(25):
                buffer[:] = X[step : step + 16]
                descend(optimizer, wb.cross_entropy(model(buffer), Y[step : step + 16]))
                for p in model.parameters():
                    p.data *= 0.999
        except Exception as error:
            errors.append(error)

    running = [threading.Thread(target=train, args=(seed,)) for seed in range(2)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not errors, errors[0]


# -- states and parameters --------------------------------------------------------------------------------------------


@right
def a_state_that_is_carried_on():
    cell, out = wb.Dense(5, 4, "tanh", seed=0), wb.Dense(4, 1, seed=1)
    optimizer = wb.SGD(cell.parameters() + out.parameters(), 0.01)
    series, h = np.sin(np.arange(80) / 5.0), wb.Value(np.zeros((1, 4)))
    for start in range(0, 75, 5):
        loss = 0.0
        for t in range(start, start + 5):
            h = cell(wb.concatenate([[[series[t]]], h], axis=1))
            loss = loss + (out(h)[0, 0] - series[t + 1]) ** 2
        descend(optimizer, loss)
        h = wb.Value(h.data)


@right
def a_state_in_an_attribute():
    class Recurrent(wb.Module):
        def __init__(self):
            self.cell, self.out, self.h = wb.Dense(5, 4, "tanh", seed=0), wb.Dense(4, 1, seed=1), None

        def forward(self, x):
            h = np.zeros((len(x), 4)) if self.h is None else self.h
            h = self.cell(wb.concatenate([x, h], axis=1))
            self.h = wb.Value(h.data)
            return self.out(h)

    model, x = Recurrent(), X[:16, :1]
    optimizer = wb.Adam(model.parameters())
    wb.fit(
        model, x, x, loss="mean_squared_error", optimizer=optimizer, epochs=2, batch_size=4, progress=False, compile=False
    )  # fmt: skip


@right
def results_kept_in_attributes():
    class Net(wb.Module):
        def __init__(self):
            self.blocks, self.hidden, self.seen = [wb.Dense(2, 2, "tanh", seed=i) for i in range(3)], [], {}

        def forward(self, x):
            self.hidden = []
            for i, block in enumerate(self.blocks):
                x = x + block(x)
                self.hidden.append(x)
                self.seen[i] = x
            self.last = x
            return x

    model = Net()
    optimizer = wb.Adam(model.parameters())
    for _ in range(3):
        loss = wb.cross_entropy(model(X), Y) + 0.01 * sum(wb.mean(h * h) for h in model.hidden)
        descend(optimizer, loss)
    assert len(model.parameters()) == 6
    assert model.last.grad is not None


@right
def tied_and_replaced_weights():
    first, second = wb.Dense(4, 4, seed=0), wb.Dense(4, 4, seed=1)
    second.weight = first.weight
    model = wb.Sequential(first, second)
    descend(wb.SGD(model.parameters(), 0.1), wb.sum(model(np.ones((2, 4)))))
    second.weight = wb.Value(np.eye(4))
    second.weight.data = first.weight.data.T
    descend(wb.SGD(model.parameters(), 0.1), wb.sum(model(np.ones((2, 4)))))


@right
def parameters_in_dicts_and_dataclasses():
    rng = np.random.default_rng(0)

    @dataclasses.dataclass(eq=False)
    class Line:
        w: wb.Value = dataclasses.field(default_factory=lambda: wb.Value(np.zeros(2), name="w"))
        b: wb.Value = dataclasses.field(default_factory=lambda: wb.Value(0.0, name="b"))

        def __call__(self, x):
            return x @ self.w + self.b

    line, parameters = Line(), {"in": wb.Value(rng.normal(size=(2, 8))), "out": wb.Value(rng.normal(size=(8, 2)))}

    def model(x):
        return wb.tanh(x @ parameters["in"]) @ parameters["out"]

    fit = functools.partial(wb.fit, x=X, epochs=1, progress=False)
    fit(line, y=YF, loss="mean_squared_error", optimizer=wb.SGD([line.w, line.b], 0.1))
    fit(model, y=Y, loss="cross_entropy", optimizer=wb.SGD(parameters.values(), 0.1), metrics=["accuracy"])


@right
def a_frozen_part():
    body, head = wb.MLP(2, [8], 4, seed=0), wb.Dense(4, 2, seed=1)
    optimizer = wb.Adam(head.parameters())
    with wb.no_grad():
        features = body(X)
    descend(optimizer, wb.cross_entropy(head(features), Y))
    whole = wb.Sequential(body, head)
    wb.fit(whole, X, Y, loss="cross_entropy", optimizer=optimizer, epochs=1, progress=False)


# -- losses -----------------------------------------------------------------------------------------------------------


@right
def all_pairs_that_are_meant():
    encoder = wb.MLP(2, [8], 4, activation="tanh", seed=0)
    optimizer = wb.Adam(encoder.parameters())

    def contrast(z, y):
        distance = wb.sum((z[:, None] - z[None, :]) ** 2, axis=2)
        return wb.mean(wb.where(y[:, None] == y[None, :], distance, wb.relu(1.0 - distance)))

    def ranking(z, y):
        score = z[:, 0]
        difference, wanted = score[:, None] - score[None, :], np.sign(y[:, None] - y[None, :])
        return wb.mean(wb.softplus(-difference * wanted))

    def agreement(z, y):
        return wb.cross_entropy(z @ z.T, np.arange(16))

    for loss in (contrast, ranking, agreement):
        wb.fit(encoder, X, YF, loss=loss, optimizer=optimizer, epochs=1, batch_size=16, progress=False)


@right
def losses_of_many_outputs():
    model = wb.MLP(2, [8], 9, seed=0)
    optimizer, levels = wb.Adam(model.parameters()), np.array([0.1, 0.5, 0.9])

    def quantiles(z, y):
        error = y[:, None] - z[:, :3]
        return wb.mean(wb.maximum(levels * error, (levels - 1.0) * error))

    def mixture(z, y):
        logits, mean, log_scale = z[:, :3], z[:, 3:6], z[:, 6:]
        far = (y[:, None] - mean) * wb.exp(-log_scale)
        return -wb.mean(wb.logsumexp(wb.log_softmax(logits) - 0.5 * far * far - log_scale, axis=1))

    for loss, batch_size in itertools.product((quantiles, mixture), (3, 9)):
        wb.fit(model, X[:9], YF[:9], loss=loss, optimizer=optimizer, batch_size=batch_size, epochs=1, progress=False)


@right
def scores_and_probabilities():
    z = classifier()[0](X)
    p = wb.softmax(z)
    losses = [
        wb.cross_entropy(30.0 * wb.tanh(z / 30.0), Y), wb.cross_entropy(wb.log_softmax(z), Y),
        wb.negative_log_likelihood(wb.log(p), Y), wb.kl_divergence(wb.log(p + 1e-8), np.eye(2)[Y]),
        wb.binary_cross_entropy(z[:, 0], Y), wb.hinge_loss(wb.tanh(z[:, 0]), 2 * Y - 1),
    ]  # fmt: skip
    sum(losses).backward()


@right
def scores_of_a_new_model():
    for seed in range(30):
        model = wb.Sequential(wb.Dense(2, 8, "relu", seed=seed), wb.Dense(8, 1, seed=seed + 1))
        with wb.no_grad():
            scores = model(X)
        wb.accuracy(scores, Y)


@right
def slopes_in_a_loss():
    net = wb.MLP(1, [8], 1, activation="tanh", seed=0)
    optimizer, t = wb.Adam(net.parameters()), np.linspace(0.0, 1.0, 8).reshape(-1, 1)
    for _ in range(3):
        slope = wb.grad(lambda x: wb.sum(net(x)))(wb.Value(t))
        loss = wb.mean((slope + net(t)) ** 2) + wb.sum((net(np.zeros((1, 1))) - 1.0) ** 2)
        print(float(loss), math.sqrt(wb.mean(slope * slope)))
        descend(optimizer, loss)


# -- several models ---------------------------------------------------------------------------------------------------


@right
def two_models_against_each_other():
    rng = np.random.default_rng(0)
    maker, judge = wb.MLP(2, [8], 1, seed=0), wb.MLP(1, [8], 1, seed=1)
    makers, judges = wb.Adam(maker.parameters()), wb.Adam(judge.parameters())
    yes, no = np.ones((8, 1)), np.zeros((8, 1))
    for _ in range(12):
        made = maker(rng.normal(size=(8, 2)))
        found = wb.binary_cross_entropy(judge(rng.normal(3.0, size=(8, 1))), yes)
        found = descend(judges, found + wb.binary_cross_entropy(judge(made.data), no))
        for p in judge.parameters():
            p.data = p.data.clip(-1.0, 1.0)
        tricked = descend(makers, wb.binary_cross_entropy(judge(made), yes))
        total = 0.5 * float(found) + 0.5 * float(tricked)
    print(total)


@right
def a_target_network():
    rng = np.random.default_rng(0)
    values = wb.MLP(4, [8], 2, seed=0)
    target, optimizer, losses = copy.deepcopy(values), wb.Adam(values.parameters()), collections.deque(maxlen=5)
    for step in range(12):
        now, then, chosen = rng.normal(size=(8, 4)), rng.normal(size=(8, 4)), rng.integers(0, 2, 8)
        with wb.no_grad():
            goal = 0.9 * wb.max(target(then), axis=1) + now[:, 0]
        losses.append(float(descend(optimizer, wb.huber(values(now)[np.arange(8), chosen], goal))))
        if step % 4 == 0:
            for frozen, p in zip(target.parameters(), values.parameters(), strict=True):
                frozen.data = p.data
    print(sum(losses) / len(losses))


@right
def callbacks_and_metrics():
    model, optimizer = classifier()
    norms = []

    class Norm(wb.Callback):
        total = 0.0

        def on_batch(self, training):
            self.total += float(wb.sum(model.parameters()[0] ** 2)) * 2.0
            norms.append(self.total)

    def perplexity(prediction, y):
        return math.exp(wb.cross_entropy(prediction, y))

    for compile in (True, False):
        wb.fit(
            model, X, Y, loss="cross_entropy", optimizer=optimizer, epochs=2, metrics=[perplexity, "accuracy"],
            callbacks=[Norm(), lambda training: float(wb.cross_entropy(model(X), Y))], validation=(X, Y),
            progress=False, compile=compile,
        )  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_right_program_sets_off_nothing(program, capsys):
    program()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_nor_does_it_in_a_notebook(program, capsys, monkeypatch):
    names = dict(globals())
    for name, text in cells(program):
        lines = text.splitlines(keepends=True)
        monkeypatch.setitem(linecache.cache, name, (len(text), None, lines, name))
        exec(compile(text, name, "exec"), names)


def cells(program):
    """A cell for each statement of a program: a name and a text."""
    text = textwrap.dedent(inspect.getsource(program))
    (function,) = ast.parse(text).body
    for number, statement in enumerate(function.body):
        yield f"<cell {program.__name__} {number}>", ast.unparse(statement) + "\n"
