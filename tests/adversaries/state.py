"""Functions with a state of their own: counters, curricula, histories, running statistics, memories."""

import collections
import contextvars
import itertools
import operator
import random
import threading
import types
from collections import deque

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, labels, leaf, normal, row, x_and_y

TABLE = np.arange(9.0).reshape(3, 3) - 2.0
POSITION = 0


@row(fits=True, way="followed")
def counter_that_cycles(s):
    at, w = 0, leaf(3)

    @s.compiled
    def loss(x):
        nonlocal at
        at = (at + 1) % 3
        return wb.sum(w * x * TABLE[at])

    return s.descends(loss, w)


@row(fits=True, way="followed")
def global_counter_that_cycles(s):
    global POSITION
    POSITION, w = 0, leaf(3)

    @s.compiled
    def loss(x):
        global POSITION  # noqa: PLW0603
        POSITION = (POSITION + 1) % 3
        return wb.mean(w * x * TABLE[POSITION])

    return s.descends(loss, w)


@row(fits=True, way="followed")
def rotating_deque(s):
    w, factors = leaf(3), deque([1.0, 2.0, -3.0])

    @s.compiled
    def loss(x):
        factors.rotate(1)
        return wb.mean((x @ w) ** 2) * factors[0]

    return s.descends(loss, w)


@row(fits=True)
def array_that_is_written_inside(s):
    w, mask = leaf(3), np.zeros(3)

    @s.compiled
    def loss(x):
        mask[:] = np.roll(mask, 1) if mask.any() else [1.0, 0.0, 2.0]
        return wb.mean(w * mask * x)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def step_counter_that_is_logged(s):
    w, steps = leaf(3), []

    @s.compiled
    def loss(x):
        steps.append(len(steps))
        s.note("step", len(steps))
        return wb.mean((x @ w - len(steps)) ** 2)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def curriculum_by_the_step(s):
    w = leaf(3)

    class Curriculum:
        step = 0

        def weight(self):
            self.step += 1
            return min(1.0, self.step / 8)

    curriculum = Curriculum()

    @s.compiled
    def loss(x):
        share = curriculum.weight()
        easy, hard = wb.mean(w * x), wb.mean((w * x) ** 2)
        return easy * (1.0 - share) + hard * share

    return s.descends(loss, w)


@row(fits=True)
def curriculum_of_phases(s):
    w, b, state = leaf(3), leaf(), {"step": 0, "phase": "warm-up"}

    @s.compiled
    def loss(x):
        state["step"] += 1
        if state["step"] > 4:
            state["phase"] = "main" if state["step"] < 9 else "end"
        h = x @ w + b
        match state["phase"]:
            case "warm-up":
                return wb.mean(h * h)
            case "main":
                return wb.mean(wb.tanh(h) ** 2) + 0.1 * wb.sum(w * w)
        return wb.mean(wb.absolute(h))

    return s.descends(loss, w, b)


@row(fits=True)
def curriculum_by_the_loss_so_far(s):
    w, state = leaf(3), {"level": 0}

    @s.compiled
    def loss(x):
        error = wb.mean((x @ w) ** 2) * (1.0 + state["level"])
        if error < 3.0:
            state["level"] = (state["level"] + 1) % 4
        return error

    return s.descends(loss, w)


@row
def scheduled_sampling(s):
    w, u, h0, rng = leaf(3, 3), leaf(3, 3, seed=1), np.zeros((4, 3)), random.Random(3)

    @s.compiled
    def loss(x, p):
        h, total = h0, 0.0
        for t in range(4):
            source = x + t if rng.random() < p else h
            h = wb.tanh(source @ w + h @ u)
            total = total + wb.mean((h - x) ** 2)
        return total

    return s.descends(loss, w, u, given=lambda i: (batch(i), 1.0 - i / 12))


@row(fits=True)
def running_mean_of_the_prediction(s):
    w, mean = leaf(3), [np.zeros(4)]

    @s.compiled
    def loss(x):
        p = x @ w
        mean[0] = 0.9 * mean[0] + 0.1 * p.data
        return wb.mean((p - mean[0]) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def baseline_of_a_policy_gradient(s):
    w, baseline = leaf(3, 3), [0.0]

    @s.compiled
    def loss(x, y):
        logp = wb.log_softmax(x @ w, axis=1)
        reward = (np.argmax(logp.data, axis=1) == y).astype(float)
        advantage = reward - baseline[0]
        baseline[0] = 0.8 * baseline[0] + 0.2 * float(reward.mean())
        return -wb.mean(logp[np.arange(len(y)), y] * advantage)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def loss_that_is_scaled_by_its_first(s):
    w, first = leaf(3), []

    @s.compiled
    def loss(x):
        error = wb.mean((x @ w) ** 2)
        if not first:
            first.append(error.item())
        return error / first[0]

    return s.descends(loss, w)


@row(fits=True)
def dynamic_loss_weights(s):
    w, last = leaf(3), [1.0, 1.0]

    @s.compiled
    def loss(x):
        a, b = wb.mean((x @ w) ** 2), wb.mean(wb.absolute(x @ w))
        total = a / last[0] + b / last[1]
        last[:] = a.item(), b.item()
        return total

    return s.descends(loss, w)


@row(fits=True)
def history_of_losses_in_the_loss(s):
    w, seen = leaf(3), deque(maxlen=3)

    @s.compiled
    def loss(x):
        error = wb.mean((x @ w) ** 2)
        penalty = 0.1 if seen and error.data > sum(seen) / len(seen) else 0.0
        seen.append(error.data)
        return error + penalty * wb.sum(w * w)

    return s.descends(loss, w)


@row(fits=True)
def memory_bank_of_features(s):
    w, bank = leaf(3, 2), []

    @s.compiled
    def loss(x):
        feature = wb.tanh(x @ w)
        total = wb.mean(feature**2)
        for old in bank[-2:]:
            total = total + wb.mean((feature - old) ** 2)
        bank.append(feature.data.copy())
        return total

    return s.descends(loss, w)


@row(fits=True)
def bank_of_values_without_history(s):
    w, bank = leaf(3, 2), deque(maxlen=2)

    @s.compiled
    def loss(x):
        feature = wb.tanh(x @ w)
        total = wb.mean(feature**2) + sum((wb.mean(feature * old) for old in bank), 0.0)
        bank.append(wb.Value(feature.data))
        return total

    return s.descends(loss, w)


@row(fits=True)
def replay_buffer(s):
    w, buffer, rng = leaf(3), [], np.random.default_rng(5)

    @s.compiled
    def loss(x):
        buffer.append(x)
        old = buffer[rng.integers(len(buffer))]
        return wb.mean((x @ w) ** 2) + wb.mean((old @ w - 1.0) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def target_network_that_is_copied_now_and_then(s):
    online, target, calls = wb.MLP(3, [4], 2, seed=0), wb.MLP(3, [4], 2, seed=1), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        if calls[0] % 4 == 0:
            for p, q in zip(target.parameters(), online.parameters(), strict=True):
                p.data = q.data
        with wb.no_grad():
            goal = target(x).data.max(axis=1)
        return wb.mean((wb.max(online(x), axis=1) - 0.9 * goal) ** 2)

    return s.descends(loss, *online.parameters())


@row(fits=True)
def average_of_weights_inside_the_loss(s):
    w, average = leaf(3), [np.zeros(3)]

    @s.compiled
    def loss(x):
        average[0] = 0.7 * average[0] + 0.3 * w.data
        return wb.mean((x @ w) ** 2) + 0.5 * wb.sum((w - average[0]) ** 2)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def iterator_of_factors(s):
    w, factors = leaf(3), itertools.cycle([1.0, -2.0, 0.5, 3.0, 7.0])

    @s.compiled
    def loss(x):
        return wb.mean(w * x) * next(factors)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def counter_of_itertools(s):
    w, count = leaf(3), itertools.count(1)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) / next(count) ** 0.5

    return s.descends(loss, w)


@row(fits=True)
def generator_of_batches_inside(s):
    def batches():
        i = 0
        while True:
            yield batch(i)
            i += 1

    w, source = leaf(3), batches()

    @s.compiled
    def loss(x):
        return wb.mean((next(source) @ w - x @ w + 1.0) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def coroutine_that_is_sent_numbers(s):
    def averaging():
        total = count = 0.0
        mean = 0.0
        while True:
            total += yield mean
            count += 1.0
            mean = total / count

    w, mean = leaf(3), averaging()
    next(mean)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * (1.0 + mean.send(float(x[0, 0])))

    return s.descends(loss, w)


@row(fits=True, way="followed")
def attributes_of_the_function_itself(s):
    w = leaf(3)

    def loss(x):
        loss.calls = getattr(loss, "calls", 0) + 1
        return wb.mean(w * x) * (loss.calls % 4)

    return s.descends(s.compiled(loss), w)


@row(fits=True)
def mutable_default(s):
    w = leaf(3)

    @s.compiled
    def loss(x, seen=[]):  # noqa: B006
        seen.append(1.0)
        if len(seen) > 5:
            seen.clear()
        return wb.mean((x @ w) ** 2) * sum(seen, 0.5)

    return s.descends(loss, w)


@row(fits=True)
def thread_local_state(s):
    w, local = leaf(3), threading.local()
    local.rate = 1.0

    @s.compiled
    def loss(x):
        local.rate *= 0.8
        return wb.mean((x @ w) ** 2) * local.rate

    return s.descends(loss, w)


@row(fits=True)
def context_variable(s):
    w, rate = leaf(3), contextvars.ContextVar("rate", default=1.0)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) * rate.get()

    return s.descends(loss, w, change=lambda i: rate.set(1.0 + i % 3))


@row(fits=True)
def object_with_magic_that_counts(s):
    w = leaf(3)

    class Counting:
        n = 0

        def __float__(self):
            self.n += 1
            return float(self.n % 3)

        def __iter__(self):
            self.n += 1
            return iter([1.0] * (self.n % 4))

        @property
        def rate(self):
            self.n += 1
            return 1.0 / self.n

    c = Counting()

    @s.compiled
    def loss(x):
        return wb.mean(w * x) * float(c) + wb.sum(w) * sum(c) + wb.mean(w * w) * c.rate

    return s.descends(loss, w)


@row(fits=True)
def environment_of_exponential_decay(s):
    w, o = leaf(3), types.SimpleNamespace(temperature=2.0)

    @s.compiled
    def loss(x):
        o.temperature = max(0.5, o.temperature * 0.9)
        return -wb.mean(wb.log_softmax(wb.stack([x @ w, x @ -w], 1) / o.temperature, axis=1)[:, 0])

    return s.descends(loss, w)


@row(fits=True)
def hard_negatives_that_are_remembered(s):
    w, hard = leaf(3), {"x": None, "loss": -1.0}

    @s.compiled
    def loss(x):
        errors = (x @ w - 1.0) ** 2
        worst = errors.argmax()
        if errors.data[worst] > hard["loss"]:
            hard.update(x=x[worst].copy(), loss=float(errors.data[worst]))
        hard["loss"] *= 0.7
        return wb.mean(errors) + (hard["x"] @ w - 1.0) ** 2

    return s.descends(loss, w)


@row(fits=True)
def counters_that_two_functions_share(s):
    w, counts = leaf(3), collections.Counter()

    @s.compiled
    def first(x):
        counts["first"] += 1
        return wb.mean(w * x) * counts["second"]

    @s.compiled
    def second(x):
        counts["second"] += 1
        return wb.mean(w * w * x) * counts["first"]

    def both(x):
        return first(x) + (second(x) if counts["first"] % 3 else 0.0)

    return s.descends(both, w)


@row(fits=True)
def accumulated_confusion_counts(s):
    w, seen = leaf(3, 3), np.ones((3, 3), int)

    @s.compiled
    def loss(x, y):
        scores = x @ w
        np.add.at(seen, (y, np.argmax(scores.data, axis=1)), 1)
        weight = seen.sum(axis=1)[y] / seen.sum()
        return wb.mean(wb.stack([wb.cross_entropy(scores[k : k + 1], y[k : k + 1]) for k in range(4)]) * weight)

    return s.descends(loss, w, given=x_and_y)


@row(fits=True)
def what_an_operator_reads(s):
    w, o = leaf(3), types.SimpleNamespace(a=types.SimpleNamespace(b=1.0))
    get = operator.attrgetter("a.b")

    @s.compiled
    def loss(x):
        o.a.b += 0.25
        return wb.mean((x @ w) ** 2) * get(o)

    return s.descends(loss, w)


@row(fits=True)
def early_layers_that_are_unfrozen_later(s):
    layers, w, calls = [wb.Dense(3, 3, "tanh", seed=k) for k in range(3)], leaf(3), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        h = x
        for layer in layers[: 1 + calls[0] // 4]:
            h = layer(h)
        return wb.mean((h @ w) ** 2)

    return s.descends(loss, w)


@row(fits=True, raises=True)
def state_that_runs_out(s):
    w, left = leaf(3), [normal(3, seed=k) for k in range(7)]

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2) + wb.sum(w * left.pop())

    return s.descends(loss, w)


@row(fits=True)
def labels_that_are_smoothed_less_and_less(s):
    w, step = leaf(3, 3), [0]

    @s.compiled
    def loss(x, y):
        smooth = 0.3 * 0.8 ** step[0]
        step[0] += 1
        target = np.eye(3)[y] * (1.0 - smooth) + smooth / 3
        return -wb.mean(wb.sum(wb.log_softmax(x @ w, axis=1) * target, axis=1))

    return s.descends(loss, w, given=lambda i: (batch(i), labels(i)))
