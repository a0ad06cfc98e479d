"""A network of two layers, and its backpropagation as a Python program: to read, to check, and to keep.

    python examples/two_layers.py [FILE]

XOR: the answer is 1 when one of the two inputs is on, and 0 when none or both are. One layer can't say that; two can.
"""

import sys
from pathlib import Path

import numpy as np

import tinygrad_wb as wb


class Network(wb.Module):
    def __init__(self):
        self.hidden = wb.Dense(2, 16, activation="tanh", seed=0)
        self.output = wb.Dense(16, 1, seed=1)

    def forward(self, x):
        features = self.hidden(x)
        return self.output(features)


network = Network()
inputs = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
wanted = np.array([[0.0], [1.0], [1.0], [0.0]])

with wb.source_lines():  # so that every line of the program knows the line here that it comes from
    prediction = network(inputs)
    error = prediction - wanted
    loss = (error**2).mean()

program = loss.program()
print(program)

program.check()  # raises an error if any line of it differed from backward()
value, gradients = program.run()
loss.backward()
print(f"Checked: a loss of {value:.4f}, and every line agrees with backward()")
for name, v in network.named_parameters():
    gradient = gradients[name.replace(".", "_")]
    print(f"  {name:<14} {gradient.shape!s:<8} differs by {np.abs(gradient - v.grad).max():.0e} at most")

file = program.save(Path(sys.argv[1] if len(sys.argv) > 1 else "two_layers_program.py"))
print(f"Saved: {file} runs on its own, with NumPy alone")
