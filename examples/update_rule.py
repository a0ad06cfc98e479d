"""One weight and one bias follow the gradient downhill: w ← w − η·∂Loss/∂w, by hand, then by SGD."""

import tinygrad_wb as wb

x, actual = 2.0, 10.0  # for this input, this answer is wanted
η = 0.05
EPOCHS = 6
HEAD = "epoch  prediction      loss  ∂Loss/∂w  ∂Loss/∂b     new w     new b"


def row(epoch, *numbers):
    return f"{epoch:5}  {numbers[0]:10.5f}" + "".join(f"{number:10.5f}" for number in numbers[1:])


print("By hand: Loss = (prediction − actual)², prediction = w·x + b", HEAD, sep="\n")
by_hand = []
w, b = 1.0, 0.0
for epoch in range(1, EPOCHS + 1):
    prediction = w * x + b
    loss = (prediction - actual) ** 2
    slope = 2 * (prediction - actual)  # ∂Loss/∂prediction
    dw = slope * x  # the chain rule: ∂prediction/∂w = x
    db = slope * 1  # and ∂prediction/∂b = 1
    w = w - η * dw
    b = b - η * db
    by_hand.append(row(epoch, prediction, loss, dw, db, w, b))
    print(by_hand[-1])

print("\nBy SGD: backward() finds the derivatives, step() makes the update", HEAD, sep="\n")
by_sgd = []
weight, bias = wb.Value(1.0, name="w"), wb.Value(0.0, name="b")
optimizer = wb.SGD([weight, bias], learning_rate=η)
for epoch in range(1, EPOCHS + 1):
    prediction = weight * x + bias
    loss = (prediction - actual) ** 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    by_sgd.append(row(epoch, prediction.data, loss.data, weight.grad, bias.grad, weight.data, bias.data))
    print(by_sgd[-1])

print("\nThe same numbers." if by_hand == by_sgd else "\nThe two differ!")
