"""Ways to train: several optimizers and networks, steps inside, frozen and tied weights, layers with a memory."""

import contextlib

import numpy as np

import tinygrad_wb as wb
from adversaries.stage import batch, labels, leaf, normal, row, x_and_y


@row
def adversarial_networks(s):
    generator, judge = wb.MLP(2, [4], 3, seed=0), wb.MLP(3, [4], 1, seed=1)
    of_generator, of_judge = wb.Adam(generator.parameters(), 0.02), wb.Adam(judge.parameters(), 0.05)
    rng = np.random.default_rng(0)

    @s.compiled
    def judge_loss(real, fake):
        return wb.mean(wb.softplus(-judge(real))) + wb.mean(wb.softplus(judge(fake)))

    @s.compiled
    def generator_loss(noise):
        fake = generator(noise)
        return wb.mean(wb.softplus(-judge(fake))), fake

    def call(i):
        noise = rng.normal(size=(4, 2))
        with wb.no_grad():
            fake = generator(noise).data
        of_judge.zero_grad()
        error = judge_loss(batch(i), fake)
        error.backward()
        of_judge.step()
        of_generator.zero_grad()
        of_judge.zero_grad()
        other, made = generator_loss(noise)
        other.backward()
        of_generator.step()
        s.note(error, other, made, [p.grad for p in judge.parameters()], [p.data for p in generator.parameters()])

    return call


@row
def two_optimizers_for_one_loss(s):
    body, head = wb.Dense(3, 4, "tanh", seed=0), wb.Dense(4, 3, seed=1)
    slow, fast = wb.SGD(body.parameters(), 0.01, momentum=0.9), wb.AdamW(head.parameters(), 0.05)

    @s.compiled
    def loss(x, y):
        return wb.cross_entropy(head(body(x)), y)

    def call(i):
        error = loss(batch(i), labels(i))
        error.backward()
        fast.step()
        if i % 2:
            slow.step()
        s.note(error, [p.grad for p in (*body.parameters(), *head.parameters())])
        s.note([p.data for p in (*body.parameters(), *head.parameters())])
        slow.zero_grad()
        fast.zero_grad()

    return call


@row(fits=True, way="followed")
def network_and_schedule(s):
    model = wb.MLP(3, [5, 4], 3, seed=0)

    @s.compiled
    def loss(x, y):
        return wb.cross_entropy(model(x), y)

    optimizer = wb.Adam(model.parameters(), lambda step: 0.05 / (1 + step), weight_decay=0.01)
    return s.descends(loss, *model.parameters(), given=x_and_y, optimizer=optimizer)


@row
def backward_and_step_inside(s):
    w, b = leaf(3), leaf(4)
    optimizer = wb.SGD([w, b], 0.05, momentum=0.9)

    @s.compiled
    def train_step(x):
        optimizer.zero_grad()
        error = wb.mean((x @ w + b) ** 2)
        error.backward()
        optimizer.step()
        return error.item()

    def call(i):
        s.note(train_step(batch(i)), w.data, b.data, w.grad, optimizer.steps)

    return call


@row(fits=True)
def backward_inside_and_the_loss_returned(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        error = wb.mean((x @ w) ** 2)
        error.backward()
        g, w.grad = w.grad, None
        return error + 0.1 * wb.sum(w * g)

    return s.descends(loss, w)


@row(fits=True)
def several_inner_steps(s):
    """The inner loop of meta-learning, first order: fast weights are changed by their gradients."""
    w = leaf(3)

    @s.compiled
    def loss(x):
        fast = wb.Value(w.data)
        for _ in range(3):
            inner = wb.mean((x @ fast - 1.0) ** 2)
            inner.backward()
            fast.data = fast.data - 0.1 * fast.grad
            fast.grad = None
        return wb.mean((x @ w - x @ fast.data) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def meta_learning_through_the_inner_step(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        inner = wb.grad(lambda v: wb.mean((x @ v - 1.0) ** 2))
        fast = w - 0.1 * inner(w)
        return wb.mean((x @ fast) ** 2)

    return s.descends(loss, w)


@row(fits=True)
def gradients_cleared_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        w.grad = None
        return wb.mean((x @ w) ** 2)

    return s.descends(loss, w)


@row
def frozen_for_some_calls(s):
    model = wb.MLP(3, [4], 2, seed=0)
    parameters = model.parameters()

    @s.compiled
    def loss(x):
        return wb.mean(model(x) ** 2)

    def call(i):
        some = parameters[2:] if i // 3 % 2 else parameters
        for p in parameters:
            p.grad = None
        error = loss(batch(i))
        error.backward()
        wb.SGD(some, 0.1).step()
        s.note(error, [p.grad for p in parameters], [p.data for p in parameters])

    return call


@row
def detached_part(s):
    w, u, state = leaf(3, 3), leaf(3), {"detach": False}

    @s.compiled
    def loss(x):
        h = wb.tanh(x @ w)
        if state["detach"]:
            h = wb.Value(h.data)
        return wb.mean((h @ u) ** 2)

    return s.descends(loss, w, u, change=lambda i: state.update(detach=i // 2 % 2 == 1))


@row(fits=True)
def no_grad_inside(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        with wb.no_grad():
            goal = wb.tanh(x @ w)
        return wb.mean((x @ w - goal) ** 2) + wb.mean(goal.data)

    return s.descends(loss, w)


@row
def no_grad_now_and_then(s):
    w, u, calls = leaf(3), leaf(4), [0]

    @s.compiled
    def loss(x):
        calls[0] += 1
        with wb.no_grad() if calls[0] % 3 == 0 else contextlib.nullcontext():
            h = x @ w
        return wb.mean((h + u) ** 2)

    return s.descends(loss, w, u)


@row(fits=True)
def straight_through_estimator(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        hard = (h.data > 0.0).astype(float)
        return wb.mean((h + (hard - h.data)) ** 2) + wb.mean(wb.sigmoid(h) - hard)

    return s.descends(loss, w)


@row(fits=True, way="followed")
def tied_weights(s):
    encoder, bias = leaf(3, 2), leaf(3)

    @s.compiled
    def loss(x):
        code = wb.tanh(x @ encoder)
        return wb.mean((code @ encoder.T + bias - x) ** 2)

    return s.descends(loss, encoder, bias)


@row
def weights_tied_and_untied(s):
    a, b = wb.Dense(3, 3, "tanh", seed=0), wb.Dense(3, 3, seed=1)
    own = b.weight

    @s.compiled
    def loss(x):
        return wb.mean(b(a(x)) ** 2)

    def call(i):
        b.weight = a.weight if i // 3 % 2 else own
        for v in (a.weight, own):
            v.grad = None
        error = loss(batch(i))
        error.backward()
        s.note(error, a.weight.grad, own.grad)
        a.weight.data -= 0.05 * a.weight.grad
        s.note(a.weight.data, b.weight.data)

    return call


@row
def parameters_that_are_replaced(s):
    layer = wb.Dense(3, 2, seed=0)

    @s.compiled
    def loss(x):
        return wb.mean(layer(x) ** 2)

    def call(i):
        if i in (4, 8):
            layer.weight = wb.Value(normal(3, 2, seed=i))
        if i == 6:
            layer.bias = None
        error = loss(batch(i))
        for p in layer.parameters():
            p.grad = None
        error.backward()
        s.note(error, [p.grad for p in layer.parameters()])
        wb.SGD(layer.parameters(), 0.1).step()
        s.note([p.data for p in layer.parameters()])

    return call


@row
def layers_that_are_added_and_removed(s):
    model = wb.Sequential(wb.Dense(3, 3, "tanh", seed=0), wb.Dense(3, 3, seed=1))

    @s.compiled
    def loss(x):
        return wb.mean(model(x) ** 2)

    def call(i):
        if i == 3:
            model.layers = [*model.layers, wb.Dense(3, 3, seed=2)]
        if i == 6:
            model.layers[0].activation = wb.sin
        if i == 9:
            model.layers = model.layers[1:]
        error = loss(batch(i))
        for p in model.parameters():
            p.grad = None
        error.backward()
        wb.SGD(model.parameters(), 0.1).step()
        s.note(error, [p.grad for p in model.parameters()], [p.data for p in model.parameters()])

    return call


@row
def lazily_made_layers(s):
    class Net:
        layer = None

        def __call__(self, x):
            if self.layer is None:
                self.layer = wb.Dense(x.shape[1], 2, "tanh", seed=0)
            return self.layer(x)

    net = Net()

    @s.compiled
    def loss(x):
        return wb.mean(net(x) ** 2)

    def call(i):
        error = loss(batch(i))
        error.backward()
        s.note(error, [p.grad for p in net.layer.parameters()])
        wb.SGD(net.layer.parameters(), 0.1).step()
        for p in net.layer.parameters():
            p.grad = None

    return call


@row
def lazily_made_layers_for_each_width(s):
    layers = {}

    @s.compiled
    def loss(x):
        layer = layers.setdefault(x.shape[1], None) or wb.Dense(x.shape[1], 2, seed=x.shape[1])
        layers[x.shape[1]] = layer
        return wb.mean(layer(x) ** 2)

    def call(i):
        x = normal(4, 2 + i % 3, seed=i)
        error = loss(x)
        error.backward()
        layer = layers[x.shape[1]]
        s.note(error, [p.grad for p in layer.parameters()])
        wb.SGD(layer.parameters(), 0.1).step()
        layer.zero_grad()

    return call


@row(fits=True)
def batch_norm_whose_statistics_are_read(s):
    norm, w = wb.BatchNorm(3), leaf(3)

    @s.compiled
    def loss(x):
        before = norm.running_mean.copy()
        h = norm(x)
        s.note(before, norm.running_mean, norm.running_var)
        return wb.mean((h @ w) ** 2) + wb.sum(w * norm.running_mean)

    return s.descends(loss, w, *norm.parameters())


@row(fits=True, way="followed")
def batch_norm_and_its_statistics_after_each_call(s):
    norm, w = wb.BatchNorm(3), leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((norm(x) @ w) ** 2)

    step = s.descends(loss, w, *norm.parameters())

    def call(i):
        step(i)
        s.note(norm.running_mean, norm.running_var)

    return call


@row(fits=True)
def evaluation_inside_the_loss(s):
    model = wb.Sequential(wb.Dense(3, 4, seed=0), wb.BatchNorm(4), wb.Dropout(0.3, seed=1), wb.Dense(4, 3, seed=2))

    @s.compiled
    def loss(x, y):
        error = wb.cross_entropy(model(x), y)
        model.eval()
        with wb.no_grad():
            right = float((model(x).data.argmax(axis=1) == y).mean())
        model.train()
        s.note(right)
        return error * (2.0 - right)

    return s.descends(loss, *model.parameters(), given=x_and_y)


@row(fits=True)
def modes_that_change_between_calls(s):
    model = wb.Sequential(wb.Dense(3, 4, seed=0), wb.BatchNorm(4), wb.Dropout(0.5, seed=3), wb.Dense(4, 1, seed=1))

    @s.compiled
    def loss(x):
        return wb.mean(model(x) ** 2)

    return s.descends(loss, *model.parameters(), change=lambda i: model.train(i // 3 % 2 == 0))


@row(fits=True)
def same_batch_norm_twice_in_a_call(s):
    norm, w = wb.BatchNorm(3), leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((norm(x) @ w) ** 2) + wb.mean((norm(x * 2.0 + 1.0) @ w) ** 2)

    step = s.descends(loss, w, *norm.parameters())

    def call(i):
        step(i)
        s.note(norm.running_mean, norm.running_var)

    return call


@row
def hooks_inside(s):
    w, heard = leaf(3), []

    @s.compiled
    def loss(x):
        h = x @ w
        h.on_gradient(lambda g: heard.append(np.array(g)))
        return wb.mean(h * h)

    def call(i):
        error = loss(batch(i))
        w.grad = None
        error.backward()
        s.note(error, heard, w.grad)

    return call


@row(fits=True)
def hooks_that_change_gradients(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        h = x @ w
        h.on_gradient(lambda g: np.clip(g, -0.1, 0.1))
        return wb.mean(h * h)

    return s.descends(loss, w)


@row(fits=True)
def hooks_on_parameters_outside(s):
    w, heard, listeners = leaf(3), [], []

    @s.compiled
    def loss(x):
        return wb.mean((x @ w) ** 2)

    step = s.descends(loss, w)

    def call(i):
        if i == 3:
            listeners.append(w.on_gradient(lambda g: heard.append(g * 1.0)))
        if i == 6:
            listeners.append(w.on_gradient(lambda g: g * 10.0))
        if i == 9:
            listeners.pop().remove()
        step(i)
        s.note(heard)

    return call


@row(fits=True)
def clipping_by_hand(s):
    w, b = leaf(3), leaf(4)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w + b) ** 2) * 10.0

    optimizer = wb.SGD([w, b], 0.1, clip_norm=0.5)
    step = s.descends(loss, w, b, optimizer=optimizer)

    def call(i):
        optimizer.clip_norm = (0.5, None, 0.1)[i % 3]
        optimizer.learning_rate = 0.1 / (1 + i)
        step(i)

    return call


@row(fits=True)
def average_of_weights_outside(s):
    model = wb.MLP(3, [4], 2, seed=0)
    shadow = [p.data.copy() for p in model.parameters()]

    @s.compiled
    def loss(x):
        return wb.mean(model(x) ** 2)

    step = s.descends(loss, *model.parameters())

    def call(i):
        step(i)
        for mean, p in zip(shadow, model.parameters(), strict=True):
            mean[...] = 0.9 * mean + 0.1 * p.data
        kept = [p.data.copy() for p in model.parameters()]
        for mean, p in zip(shadow, model.parameters(), strict=True):
            p.data = mean
        s.note(loss(batch(i)))
        for old, p in zip(kept, model.parameters(), strict=True):
            p.data = old

    return call


@row(fits=True)
def regularization_of_all_parameters(s):
    model = wb.MLP(3, [4], 2, seed=0)

    @s.compiled
    def loss(x):
        penalty = sum(wb.sum(p * p) for p in model.parameters())
        return (
            wb.mean(model(x) ** 2)
            + 0.01 * penalty
            + 0.001 * sum(wb.sum(wb.absolute(p)) for _, p in model.named_parameters())
        )

    return s.descends(loss, *model.parameters())


@row
def distillation(s):
    teacher, student = wb.MLP(3, [6], 3, seed=0), wb.MLP(3, [3], 3, seed=1)

    @s.compiled
    def loss(x, y, temperature):
        with wb.no_grad():
            soft = wb.softmax(teacher(x) / temperature, axis=1)
        logits = student(x)
        return wb.cross_entropy(logits, y) - wb.mean(
            wb.sum(wb.log_softmax(logits / temperature, axis=1) * soft.data, axis=1)
        )

    return s.descends(loss, *student.parameters(), given=lambda i: (batch(i), labels(i), 4.0 - 0.3 * i))


@row
def parameter_shared_by_functions_in_turn(s):
    w, u = leaf(3), leaf(3, seed=2)
    functions = [
        s.compiled(lambda x: wb.mean((x @ w) ** 2)),
        s.compiled(lambda x: wb.mean(wb.tanh(x @ w) * (x @ u))),
        s.compiled(lambda x: wb.mean(wb.exp(x @ u * 0.1))),
    ]
    optimizer = wb.Adam([w, u], 0.02)

    def call(i):
        optimizer.zero_grad()
        error = functions[i % 3](batch(i)) + functions[(i + 1) % 3](batch(i))
        error.backward()
        s.note(error, w.grad, u.grad)
        optimizer.step()
        s.note(w.data, u.data)

    return call


@row(fits=True)
def data_of_parameters_loaded_anew(s):
    model = wb.MLP(3, [4], 2, seed=0)
    best = {}

    @s.compiled
    def loss(x):
        return wb.mean((model(x) - 1.0) ** 2)

    step = s.descends(loss, *model.parameters())

    def call(i):
        error = step(i).data
        if error < best.get("loss", 1e9):
            best.update(loss=error, data=[p.data.copy() for p in model.parameters()])
        if i % 4 == 3:
            for p, data in zip(model.parameters(), best["data"], strict=True):
                p.data[...] = data
        s.note(loss(batch(i)))

    return call


@row
def search_along_the_gradient(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean((x @ w - 1.0) ** 2)

    def call(i):
        x = batch(i)
        w.grad = None
        error = loss(x)
        error.backward()
        start, rate = w.data.copy(), 1.0
        for _ in range(8):
            w.data = start - rate * w.grad
            if loss(x).data < error.data:
                break
            rate *= 0.5
        s.note(error, rate, w.data)

    return call


@row
def finite_differences_of_a_compiled_loss(s):
    w = leaf(3)

    @s.compiled
    def loss(x):
        return wb.mean(wb.tanh(x @ w) ** 2)

    def call(i):
        x = batch(i)
        w.grad = None
        loss(x).backward()
        slopes = []
        for k in range(3):
            w.data[k] += 1e-5
            up = loss(x).data
            w.data[k] -= 2e-5
            down = loss(x).data
            w.data[k] += 1e-5
            slopes.append((up - down) / 2e-5)
        s.note(w.grad, np.allclose(slopes, w.grad, rtol=1e-5, atol=1e-8))

    return call


@row(fits=True)
def module_of_ones_own(s):
    class Block(wb.Module):
        def __init__(self):
            self.layer, self.scale, self.calls = wb.Dense(3, 3, "tanh", seed=0), wb.Value(1.0), 0

        def forward(self, x):
            self.calls += 1
            h = self.layer(x) * self.scale
            return x + h if self.calls % 3 else h

    block = Block()

    @s.compiled
    def loss(x):
        return wb.mean(block(x) ** 2)

    step = s.descends(loss, *block.parameters())

    def call(i):
        step(i)
        s.note(block.calls)

    return call


@row(fits=True, way="followed")
def module_that_is_compiled_itself(s):
    model = wb.MLP(3, [4], 3, seed=0)
    predict = s.compiled(model)

    def loss(x, y):
        return wb.cross_entropy(predict(x), y)

    return s.descends(loss, *model.parameters(), given=x_and_y)


@row(fits=True)
def residual_with_stochastic_depth(s):
    layers, rng = [wb.Dense(3, 3, "tanh", seed=k) for k in range(3)], np.random.default_rng(2)

    @s.compiled
    def loss(x):
        h = x
        for layer in layers:
            if rng.random() < 0.6:
                h = h + layer(h)
        return wb.mean((h + 0.0 * layers[0](x)) ** 2)

    return s.descends(loss, *layers[0].parameters())
