"""Random draws: by NumPy's and Python's generators, by layers, seeded and not, in branches and beside losses."""

import os
import random
import secrets
import uuid

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, labels, leaf, row


@row(fits=True, way="followed")
def noise_by_a_generator(s):
    w, rng = leaf(3), np.random.default_rng(1)

    @s.compiled
    def loss(x):
        return wb.mean(((x + rng.normal(size=x.shape)) @ w) ** 2) * rng.random()

    return s.descends(loss, w)


@row(fits=True, way="followed")
def noise_by_global_generators(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w + np.random.randn(4)) ** 2) * random.random()  # noqa: NPY002

    return s.descends(loss, w)


@row(fits=True, way="followed")
def dropout_by_hand(s):
    w, rng = leaf(3), np.random.default_rng(1)

    @s.compiled
    def loss(x):
        keep = rng.random(x.shape) < 0.7
        return wb.mean(((x * keep / 0.7) @ w) ** 2)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def dropout_layers(s):
    model = wb.Sequential(
        wb.Dense(3, 6, "tanh", seed=0), wb.Dropout(0.5, seed=1), wb.Dense(6, 2, seed=2), wb.Dropout(0.2, seed=3)
    )

    @s.compiled
    def loss(x):
        return wb.mean(model(x) ** 2)

    return s.descends(loss, *model.parameters())


@row(fits=True)
def dropout_twice_and_its_generator_elsewhere(s):
    rng = np.random.default_rng(4)
    drop, w = wb.Dropout(0.5, rng), leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((drop(x @ w)) ** 2) + wb.mean(drop(x) @ w)

    step = s.descends(loss, w)

    def call(i):
        step(i)
        s.note(rng.random() if i % 3 == 1 else None, rng.bit_generator.state["state"]["state"] % 1000)

    return call


@row(fits=True)
def branch_by_chance(s):
    w, rng = leaf(3), np.random.default_rng(2)

    @s.compiled
    def loss(x):
        if rng.random() < 0.4:
            x = x[::-1]
        h = x @ w
        return wb.mean(h * h) if rng.random() < 0.9 else wb.mean(wb.absolute(h))

    return s.descends(loss, w)


@row
def state_of_a_generator_set_inside(s):
    w, rng = leaf(3), np.random.default_rng(2)

    @s.compiled
    def loss(x, seed):
        if seed is not None:
            rng.bit_generator.state = np.random.default_rng(seed).bit_generator.state
        return wb.mean(((x + rng.normal(size=x.shape)) @ w) ** 2)

    return s.descends(loss, w, given=lambda i: (batch(i), i if i % 3 == 0 else None))


@row(fits=True)
def generator_made_inside(s):
    w, n = leaf(3), [0]

    @s.compiled
    def loss(x):
        n[0] += 1
        rng, dice = np.random.default_rng(n[0]), random.Random(n[0] // 2)
        return wb.mean(((x + rng.normal(size=x.shape)) @ w) ** 2) * dice.choice([1.0, 2.0, 3.0])

    return s.descends(loss, w)


@row(fits=True)
def generators_seeded_inside(s):
    w, n = leaf(3), [0]

    @s.compiled
    def loss(x):
        n[0] += 1
        np.random.seed(n[0])  # noqa: NPY002
        random.seed(n[0] * 2)
        return wb.mean((x @ w + np.random.rand(4)) ** 2) * random.uniform(1.0, 2.0)  # noqa: NPY002

    return s.descends(loss, w)


@row
def draws_that_nothing_can_repeat(s):
    """Other numbers in each call: only that they differ can be compared."""
    w, factors = leaf(3), []

    @s.compiled
    def loss(x):
        unseeded = np.random.default_rng().random()
        drawn = (
            secrets.randbelow(10**9),
            uuid.uuid4().int,
            int.from_bytes(os.urandom(8)),
            random.SystemRandom().random(),
        )
        factors.append((unseeded, *drawn))
        return wb.mean(x @ w) * unseeded, unseeded

    def call(i):
        error, factor = loss(batch(i))
        s.note(abs(error.data - (batch(i) @ w.data).mean() * factor) < 1e-9)
        s.note([len({f[k] for f in factors}) for k in range(5)])

    return call


@row(fits=True)
def sampled_actions(s):
    w, rng = leaf(3, 3), np.random.default_rng(3)

    @s.compiled
    def loss(x):
        logp = wb.log_softmax(x @ w, axis=1)
        p = np.exp(logp.data)
        actions = [rng.choice(3, p=q / q.sum()) for q in p]
        s.note(actions)
        return -wb.mean(logp[np.arange(len(x)), actions] * (np.array(actions) - 1.0))

    return s.descends(loss, w)


@row(fits=True, way="followed")
def reparametrized_sample(s):
    mean, spread, decode, rng = leaf(3, 2), leaf(3, 2, seed=1), leaf(2, 3), np.random.default_rng(5)

    @s.compiled
    def loss(x):
        m, v = x @ mean, x @ spread
        z = m + wb.exp(0.5 * v) * rng.normal(size=(len(x), 2))
        return wb.mean((z @ decode - x) ** 2) - 0.5 * wb.mean(1.0 + v - m**2 - wb.exp(v))

    return s.descends(loss, mean, spread, decode)


@row(fits=True)
def permutations_and_choices(s):
    w, rng = leaf(3), np.random.default_rng(6)

    @s.compiled
    def loss(x):
        order = rng.permutation(len(x))
        some = rng.choice(len(x), 2, replace=False)
        return wb.mean((x[order] @ w - x @ w) ** 2) + wb.mean((x @ w)[some])

    return s.descends(loss, w)


@row(fits=True)
def mixup(s):
    w, rng = leaf(3), np.random.default_rng(7)

    @s.compiled
    def loss(x):
        share, order = rng.beta(0.4, 0.4), rng.permutation(len(x))
        mixed = share * x + (1.0 - share) * x[order]
        h = mixed @ w
        return share * wb.mean((h - 1.0) ** 2) + (1.0 - share) * wb.mean((h + 1.0) ** 2)

    return s.descends(loss, w)


@row
def random_crops_and_flips(s):
    kernel, rng = leaf(2, 1, 2, 2), np.random.default_rng(8)

    @s.compiled
    def loss(images):
        r, c = rng.integers(0, 3, 2)
        images = images[:, :, r : r + 4, c : c + 4]
        if rng.random() < 0.5:
            images = images[..., ::-1]
        return wb.mean(wb.relu(wb.conv2d(images, kernel)) ** 2)

    return s.descends(loss, kernel, given=lambda i: (np.random.default_rng(i).normal(size=(2, 1, 6, 6)),))


@row
def draws_in_exceptions(s):
    w, rng = leaf(3), np.random.default_rng(9)

    @s.compiled
    def loss(x):
        h = x @ w * rng.random()
        if rng.random() < 0.3:
            raise ValueError("unlucky")
        return wb.mean(h * h) + rng.random()

    def call(i):
        try:
            s.note(loss(batch(i)))
        except ValueError as error:
            s.note(error)
        s.note(rng.random())

    return call


@row(fits=True)
def negative_sampling(s):
    table, context, rng = leaf(6, 2), leaf(6, 2, seed=1), np.random.default_rng(10)

    @s.compiled
    def loss(centers, targets):
        negatives = rng.integers(0, 6, (len(centers), 3))
        v = table[centers]
        right = wb.sum(v * context[targets], axis=1)
        wrong = wb.sum(v[:, None, :] * context[negatives], axis=2)
        return -wb.mean(wb.log(wb.sigmoid(right))) - wb.mean(wb.log(wb.sigmoid(-wrong)))

    return s.descends(loss, table, context, given=lambda i: (labels(i), labels(i + 30)))
