"""Two moons, told apart by a network in which every single number is a Value of its own.

The demonstration of micrograd (A. Karpathy, 2020): 2 → 16 → 16 → 1 neurons, hinge loss, a little weight decay. Each
step builds a graph of about 64,000 scalar operations and walks it backwards.
"""

import random
import time

import tinygrad_wb as wb

STEPS = 50
random.seed(1337)
x, y = wb.datasets.moons(100, noise=0.1, seed=1)
rows, signs = x.tolist(), [1.0 if label else -1.0 for label in y]


class Neuron(wb.Module):
    def __init__(self, inputs, relu=True):
        self.weights = [wb.Value(random.uniform(-1.0, 1.0)) for _ in range(inputs)]
        self.bias = wb.Value(0.0)
        self.relu = relu

    def forward(self, inputs):
        total = sum((w * i for w, i in zip(self.weights, inputs)), self.bias)
        return total.relu() if self.relu else total


class Layer(wb.Module):
    def __init__(self, inputs, outputs, relu=True):
        self.neurons = [Neuron(inputs, relu) for _ in range(outputs)]

    def forward(self, inputs):
        return [neuron(inputs) for neuron in self.neurons]


model = wb.Sequential(Layer(2, 16), Layer(16, 16), Layer(16, 1, relu=False))
parameters = model.parameters()
optimizer = wb.SGD(parameters, learning_rate=lambda step: 1.0 - 0.9 * step / STEPS)
print(f"{len(parameters)} parameters, each a Value: {parameters[0].name}, {parameters[1].name}, …")

start = time.perf_counter()
for step in range(1, STEPS + 1):
    scores = [model(row)[0] for row in rows]
    hinge = sum((1.0 - sign * score).relu() for sign, score in zip(signs, scores)) / len(rows)
    decay = 1e-4 * sum(p * p for p in parameters)
    loss = hinge + decay
    right = sum((score > 0.0) == (sign > 0.0) for sign, score in zip(signs, scores)) / len(rows)

    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 5 == 0 or step == 1:
        print(f"step {step:3}  loss {loss:.4f}  accuracy {right:.0%}")

print(f"{(time.perf_counter() - start) / STEPS * 1000:.0f} ms for a step, forward and backward")
print(f"Accuracy: {right:.0%}")
