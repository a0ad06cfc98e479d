"""Trainings by `fit`: models and losses with Python of the user's, and callbacks that change what is trained."""

import random

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import normal, row

X = normal(18, 3, seed=1)
Y = np.random.default_rng(2).integers(0, 3, 18)
TARGET = normal(18, seed=3)


class At(wb.Callback):
    """Does something before the batches with the numbers that are given."""

    def __init__(self, do, *numbers):
        self.do, self.numbers, self.n = do, numbers, -1

    def on_batch_start(self, training):
        self.n += 1
        if not self.numbers or self.n in self.numbers:
            self.do(training)


@row(calls=1)
def package_layers_and_a_named_loss(s):
    model = wb.Sequential(
        wb.Dense(3, 5, "tanh", seed=0), wb.BatchNorm(5), wb.Dropout(0.3, seed=1), wb.Dense(5, 3, seed=2)
    )
    return lambda i: s.fit(
        model, X, Y, "cross_entropy", model.parameters(), metrics=["accuracy"], validation=(X[:6], Y[:6]),
        optimizer=wb.Adam(model.parameters(), lambda step: 0.05 / (1 + step)),
    )  # fmt: skip


@row(calls=1)
def layers_changed_by_a_callback(s):
    model = wb.Sequential(wb.Dense(3, 5, "tanh", seed=0), wb.Dropout(0.3, seed=1), wb.Dense(5, 3, seed=2))
    parameters = model.parameters()

    def change(i):
        if i == 3:
            model.layers[0].activation = wb.sin
        if i == 6:
            model.layers[1].rate = 0.6
        if i == 8:
            model.layers[1].training = False
        if i == 11:
            model.layers[0].forward = lambda x: wb.exp(x @ model.layers[0].weight + model.layers[0].bias)

    return lambda i: s.fit(model, X, Y, "cross_entropy", parameters, change)


@row(calls=1)
def attribute_set_by_a_callback(s):
    class Net(wb.Module):
        def __init__(self):
            self.first, self.second = wb.Dense(3, 4, "tanh", seed=0), wb.Dense(4, 1, seed=1)

        def forward(self, x):
            h = self.second(self.first(x))[:, 0]
            return wb.tanh(h) if hasattr(self, "phase2") else h

    model = Net()
    second = At(lambda training: setattr(training.model, "phase2", True), 6)
    return lambda i: s.fit(model, X, TARGET, "mean_squared_error", model.parameters(), callbacks=[second])


@row(calls=1)
def loss_with_a_counter_and_a_log(s):
    model, steps, log = wb.MLP(3, [4], 1, seed=0), [0], []

    def loss(prediction, y):
        steps[0] += 1
        error = wb.mean((prediction[:, 0] - y) ** 2)
        log.append(float(error))
        return error

    def call(i):
        s.fit(model, X, TARGET, loss, model.parameters())
        s.note(steps, log)

    return call


@row(calls=1)
def stateful_recurrent_model(s):
    class Recurrent(wb.Module):
        def __init__(self):
            self.inward, self.around = wb.Dense(3, 3, seed=0), wb.Dense(3, 1, seed=1)
            self.last, self.steps = np.zeros(3), 0

        def forward(self, x):
            self.steps += 1
            h = wb.tanh(self.inward(x) + self.last)
            self.last = h.data.mean(axis=0)
            return self.around(h)[:, 0]

    model = Recurrent()

    def call(i):
        s.fit(model, X, TARGET, "mean_squared_error", model.parameters())
        s.note(model.last, model.steps)

    return call


@row(calls=1)
def loss_object_with_a_schedule(s):
    class Annealed:
        calls = 0

        def __call__(self, prediction, y):
            self.calls += 1
            kl = wb.mean(prediction**2)
            return wb.cross_entropy(prediction, y) + min(1.0, self.calls / 6) * kl

    model, loss = wb.MLP(3, [4], 3, seed=0), Annealed()

    def call(i):
        s.fit(model, X, Y, loss, model.parameters(), metrics=["accuracy"])
        s.note(loss.calls)

    return call


@row(calls=1)
def scheduled_weight_from_a_callback(s):
    model, weight = wb.MLP(3, [4], 3, seed=0), {"l2": 0.0}

    def loss(prediction, y):
        return wb.cross_entropy(prediction, y) + weight["l2"] * sum(wb.sum(p * p) for p in model.parameters())

    growing = At(lambda training: weight.update(l2=weight["l2"] + 0.01))
    return lambda i: s.fit(model, X, Y, loss, model.parameters(), callbacks=[growing])


@row(calls=1)
def data_that_is_augmented_in_the_model(s):
    rng = np.random.default_rng(4)

    class Augmented(wb.Module):
        def __init__(self):
            self.net = wb.MLP(3, [4], 3, seed=0)

        def forward(self, x):
            if self.training:
                x = np.array(x)
                x += rng.normal(size=x.shape) * 0.1
                x[rng.random(len(x)) < 0.3] *= -1.0
            return self.net(x)

    model = Augmented()
    return lambda i: s.fit(model, X, Y, "cross_entropy", model.parameters(), validation=(X[:6], Y[:6]))


@row(calls=1)
def global_random_numbers_in_the_loss(s):
    model = wb.MLP(3, [4], 3, seed=0)

    def loss(prediction, y):
        smooth = random.random() * 0.2
        target = np.eye(3)[y] * (1.0 - smooth) + smooth / 3
        return -wb.mean(wb.sum(wb.log_softmax(prediction + np.random.randn(3) * 0.01, axis=1) * target, axis=1))  # noqa: NPY002

    return lambda i: s.fit(model, X, Y, loss, model.parameters())


@row(calls=1)
def layers_made_in_the_first_call(s):
    class Lazy(wb.Module):
        def __init__(self):
            self.layer, self.out = None, wb.Dense(4, 3, seed=1)

        def forward(self, x):
            if self.layer is None:
                self.layer = wb.Dense(x.shape[1], 4, "tanh", seed=0)
            return self.out(self.layer(x))

    def call(i):
        model = Lazy()
        s.fit(model, X, Y, "cross_entropy", model.out.parameters())
        s.note([p.grad for p in model.parameters()])

    return call


@row(calls=1)
def parameters_of_the_loss(s):
    model, spread = wb.MLP(3, [4], 1, seed=0), wb.Value(0.1)

    def loss(prediction, y):
        return wb.mean((prediction[:, 0] - y) ** 2 / wb.exp(spread)) + spread

    return lambda i: s.fit(model, X, TARGET, loss, [*model.parameters(), spread])


@row(calls=1, raises=True)
def parameter_that_is_not_used(s):
    class Net(wb.Module):
        def __init__(self):
            self.used, self.unused = wb.Dense(3, 3, seed=0), wb.Dense(3, 3, seed=1)

        def forward(self, x):
            self.unused(x)
            return self.used(x)

    model = Net()
    return lambda i: s.fit(model, X, Y, "cross_entropy", model.parameters())


@row(calls=1)
def frozen_by_a_callback(s):
    model = wb.MLP(3, [4], 3, seed=0)
    optimizer = wb.SGD(model.parameters(), 0.1, momentum=0.9)

    def freeze(training):
        optimizer.parameters, optimizer.memory = optimizer.parameters[2:], optimizer.memory[2:]

    return lambda i: s.fit(
        model, X, Y, "cross_entropy", model.parameters(), optimizer=optimizer, callbacks=[At(freeze, 7)]
    )


@row(calls=1)
def layer_replaced_by_a_callback(s):
    model = wb.Sequential(wb.Dense(3, 4, "tanh", seed=0), wb.Dense(4, 3, seed=1))
    old = model.parameters()

    def replace(training):
        model.layers[0].weight = model.layers[0].weight
        model.layers[1].bias = wb.Value(np.ones(3))

    return lambda i: s.fit(model, X, Y, "cross_entropy", old[:3], callbacks=[At(replace, 5)])


@row(calls=1)
def hook_set_by_a_callback(s):
    model, heard = wb.MLP(3, [4], 3, seed=0), []

    def listen(training):
        model.parameters()[0].on_gradient(lambda g: heard.append(g.sum()))

    def call(i):
        s.fit(model, X, Y, "cross_entropy", model.parameters(), callbacks=[At(listen, 4)])
        s.note(heard)

    return call


@row(calls=1)
def validation_during_training(s):
    model, seen = wb.Sequential(wb.Dense(3, 4, seed=0), wb.BatchNorm(4), wb.Dense(4, 3, seed=1)), []

    def look(training):
        model.eval()
        with wb.no_grad():
            seen.append(model(X[:2]).data.copy())
        model.train()

    def call(i):
        s.fit(model, X, Y, "cross_entropy", model.parameters(), callbacks=[At(look, 2, 3, 7, 11)])
        s.note(seen, model.layers[1].running_mean)

    return call


@row(calls=1, raises=True)
def exception_in_the_loss(s):
    model, calls = wb.MLP(3, [4], 3, seed=0), [0]

    def loss(prediction, y):
        calls[0] += 1
        if calls[0] == 7:
            raise RuntimeError("enough")
        return wb.cross_entropy(prediction, y)

    def call(i):
        s.fit(model, X, Y, loss, model.parameters())
        s.note(calls)

    return call


@row(calls=1, raises=True)
def labels_out_of_range_in_the_data(s):
    model, y = wb.MLP(3, [4], 3, seed=0), Y.copy()
    y[11] = 3
    return lambda i: s.fit(model, X, y, lambda p, y: wb.cross_entropy(p * 1.5, y), model.parameters())


@row(calls=1)
def model_that_is_a_function(s):
    w, b = wb.Value(normal(3, 3)), wb.Value(np.zeros(3))
    scale = [1.0]

    def model(x):
        scale[0] *= 0.95
        return x @ w * scale[0] + b

    return lambda i: s.fit(model, X, Y, lambda p, y: -wb.mean(wb.log_softmax(p, axis=1)[np.arange(len(y)), y]), [w, b])


@row(calls=1)
def two_trainings_of_one_model(s):
    model = wb.MLP(3, [4], 3, seed=0)

    def call(i):
        s.fit(model, X, Y, "cross_entropy", model.parameters())
        model.layers[0].activation = wb.relu
        s.fit(model, X[:10], Y[:10], lambda p, y: wb.cross_entropy(p * 2.0, y), model.parameters(), batch_size=3)

    return call


@row(calls=1)
def model_that_returns_more_than_a_prediction(s):
    class Net(wb.Module):
        def __init__(self):
            self.body, self.head = wb.Dense(3, 4, "tanh", seed=0), wb.Dense(4, 3, seed=1)

        def forward(self, x):
            h = self.body(x)
            return self.head(h), h

    model = Net()

    def loss(prediction, y):
        scores, h = prediction
        return wb.cross_entropy(scores, y) + 0.1 * wb.mean(h**2)

    return lambda i: s.fit(model, X, Y, loss, model.parameters())


@row(calls=1)
def averaged_weights_and_early_stopping(s):
    model = wb.MLP(3, [6], 3, seed=0)
    stopping = wb.EarlyStopping("loss", patience=1, restore_best=True)
    return lambda i: s.fit(
        model, X, Y, "cross_entropy", model.parameters(), callbacks=[wb.EMA(decay=0.9), stopping], epochs=6,
        optimizer=wb.SGD(model.parameters(), lambda step: 2.0 if step > 12 else 0.2),
    )  # fmt: skip


@row(calls=1, rtol=1e-5)
def float32_data_and_layers(s):
    model = wb.MLP(3, [4], 3, seed=0, dtype="float32")
    return lambda i: s.fit(model, X.astype("f4"), Y, lambda p, y: wb.cross_entropy(p * 0.5, y), model.parameters())


@row(calls=1)
def model_replaced_in_the_loss_by_a_switch(s):
    one, other, use = wb.MLP(3, [4], 3, seed=0), wb.MLP(3, [4], 3, seed=5), {"other": False}

    def model(x):
        return (other if use["other"] else one)(x)

    flip = At(lambda training: use.update(other=not use["other"]))
    parameters = [*one.parameters(), *other.parameters()]
    optimizer = wb.SGD(parameters, 0.1)

    def loss(p, y):
        return wb.cross_entropy(p, y) + 0.0 * sum(wb.sum(v) for v in parameters)

    return lambda i: s.fit(model, X, Y, loss, parameters, callbacks=[flip], optimizer=optimizer)
