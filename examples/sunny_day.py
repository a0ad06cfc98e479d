"""One neuron decides whether it is a sunny day: inputs times weights, plus a bias, against a threshold."""

import tinygrad_wb as wb

sky, warmth, clouds = 1.0, 1.0, 1.0  # what is seen today: all three are there

w_sky = wb.Value(0.6, name="w_sky")  # how much each input matters, and in which direction
w_warmth = wb.Value(0.3, name="w_warmth")
w_clouds = wb.Value(-0.4, name="w_clouds")
bias = wb.Value(0.2, name="bias")  # how ready the neuron is to say yes before it has seen anything
threshold = 0.5

score = w_sky * sky + w_warmth * warmth + w_clouds * clouds + bias
score.name = "score"
print(f"Score: {score:.3g}")
print("Sunny Day" if score > threshold else "Not a Sunny Day")

score.backward()
print("\nWhat each is answerable for: if it grew by a little, the score would change by that little times …")
for v in (w_sky, w_warmth, w_clouds, bias):
    print(f"  ∂Score/∂{v.name:<9}= {v.grad:g}")
