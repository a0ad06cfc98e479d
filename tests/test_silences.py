"""The page "What can go wrong without a word": each of its rows is run here, and what PyTorch says is asked of PyTorch.

A row is a heading of the page, what this package does ("raises" or "warns", and words of it), a function that runs into
it, what PyTorch does, and a function that runs into it there (None where PyTorch has no such thing).
"""

import copy
import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinygrad_wb as wb

PAGE = Path(__file__).parents[1] / "docs" / "silences.md"
X = np.linspace(-1.0, 1.0, 24).reshape(12, 2)
LABELS = np.arange(12) % 2


def torch():
    return pytest.importorskip("torch")


def leaf(*numbers):
    return torch().tensor(numbers if len(numbers) > 1 else numbers[0], requires_grad=True)


def a_number_taken():
    w = wb.Value(1.0, name="w")
    (math.exp(w) * w).backward()


def a_number_taken_there():
    w = leaf(1.0)
    (math.exp(w) * w).backward()


def a_number_written():
    b, c = wb.Value([1.0, 2.0], name="b"), np.zeros(2)
    c[0] = b[0] * 3.0
    wb.sum(c * b).backward()


def a_number_written_there():
    b, c = leaf(1.0, 2.0), np.zeros(2)
    c[0] = b[0] * 3.0
    (torch().tensor(c) * b).sum().backward()


def data_changed():
    w = wb.Value([2.0, 3.0], name="w")
    loss = wb.sum(w * w)
    w.data[:] = 0.0
    loss.backward()


def data_changed_there():
    w = leaf(2.0, 3.0)
    loss = (w * w).sum()
    w.data[:] = 0.0
    loss.backward()


def a_buffer_refilled():
    batch, w = np.ones((70_000, 2)), wb.Value([[1.0], [1.0]])
    loss = wb.sum(batch @ w)
    batch[:] = 5.0
    loss.backward()


def a_buffer_refilled_there():
    batch, w = np.ones((4, 2)), torch().ones(2, 1, dtype=torch().float64, requires_grad=True)
    loss = (torch().from_numpy(batch) @ w).sum()
    batch[:] = 5.0
    loss.backward()


def a_growing_graph():
    w = wb.Value(5.0, name="w")
    for _ in range(20):
        ((w - 1.0) ** 2).backward()
        w = w - 0.1 * w.grad


def a_growing_graph_there():
    w = leaf(5.0)
    for _ in range(20):
        ((w - 1.0) ** 2).backward()
        w = w - 0.1 * w.grad


def nothing_recorded():
    w = wb.Value(2.0)
    with wb.no_grad():
        loss = w * w
    loss.backward()


def nothing_recorded_there():
    w = leaf(2.0)
    with torch().no_grad():
        loss = w * w
    loss.backward()


def a_copied_loss():
    copy.deepcopy(wb.Value(2.0) * 3.0).backward()


def a_copied_loss_there():
    copy.deepcopy(leaf(2.0) * 3.0).backward()


def no_return():
    def f(x):
        x * x

    wb.grad(f)(2.0)


def no_return_there():
    def f(x):
        x * x

    torch().func.grad(f)(leaf(2.0))


def a_parameter_replaced():
    layer = wb.Dense(2, 1)
    layer.weight = np.zeros((2, 1))


def a_parameter_replaced_there():
    layer = torch().nn.Linear(2, 1)
    layer.weight = torch().zeros(1, 2)


def a_method_hidden():
    class Net(wb.Module):
        def __init__(self):
            self.parameters = [wb.Value(1.0)]

    Net()


def a_method_hidden_there():
    class Net(torch().nn.Module):
        def __init__(self):
            super().__init__()
            self.parameters = [leaf(1.0)]

    Net()


def a_computed_parameter():
    class Scale(wb.Module):
        def __init__(self):
            self.scale = wb.Value(2.0) * 3.0

        def forward(self, x):
            return self.scale * x

    Scale()(X)


def a_computed_parameter_there():
    class Scale(torch().nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = leaf(2.0) * 3.0

        def forward(self, x):
            return self.scale * x

    Scale()(torch().tensor(X))


def another_optimizer():
    model, other = wb.MLP(2, [3], 1, seed=0), wb.MLP(2, [3], 1, seed=1)
    optimizer = wb.SGD(other.parameters(), 0.1)
    wb.fit(model, X, X[:, :1], loss="mean_squared_error", optimizer=optimizer, progress=False)


def another_optimizer_there():
    model, other = torch().nn.Linear(2, 1), torch().nn.Linear(2, 1)
    optimizer = torch().optim.SGD(other.parameters(), 0.1)
    model(torch().ones(3, 2)).sum().backward()
    optimizer.step()


def all_pairs():
    model = wb.MLP(2, [3], 1, seed=0)
    wb.fit(
        model, X, X[:, 0], loss=lambda p, t: ((p - t) ** 2).mean(), progress=False,
        optimizer=wb.SGD(model.parameters(), 0.1), batch_size=6,
    )  # fmt: skip


def all_pairs_there():
    prediction = torch().nn.Linear(2, 1)(torch().ones(6, 2))
    ((prediction - torch().ones(6)) ** 2).mean().backward()


def wrong_targets():
    wb.binary_cross_entropy(wb.Value([0.3, -0.2]), [-1.0, 1.0])


def wrong_targets_there():
    torch().nn.functional.binary_cross_entropy_with_logits(leaf(0.3, -0.2), torch().tensor([-1.0, 1.0]))


def a_result_unpacked():
    layer = wb.LSTM(3, 4, seed=0)
    out, state = layer(np.ones((2, 5, 3)))
    return out, state


def a_nan_unchosen():
    with wb.detect_anomaly():
        x = wb.Value([-1.0, 4.0], name="x")
        wb.where(x > 0.0, wb.sqrt(x), 0.0).sum().backward()


def a_nan_unchosen_there():
    x = leaf(-1.0, 4.0)
    torch().where(x > 0.0, torch().sqrt(x), 0.0).sum().backward()


def squashed_twice():
    model = wb.Sequential(wb.Dense(2, 8, "relu", seed=0), wb.Dense(8, 2, "softmax", seed=1))
    wb.cross_entropy(model(X), LABELS)


def squashed_twice_there():
    scores = torch().softmax(torch().nn.Linear(2, 2)(torch().ones(4, 2)), 1)
    torch().nn.functional.cross_entropy(scores, torch().tensor([0, 1, 0, 1]))


def plain_probabilities():
    wb.accuracy(np.array([0.1, 0.9, 0.2, 0.8]), [0, 1, 0, 1])


def a_mask():
    wb.mean(wb.Value(np.ones(2)) * np.ma.masked_array([1.0, 999.0], mask=[False, True]))


def a_mask_there():
    torch().as_tensor(np.ma.masked_array([1.0, 999.0], mask=[False, True])).mean()


def overflow():
    wb.exp(wb.Value([1000.0]))


def overflow_there():
    torch().exp(leaf(1000.0, 2.0))


def a_random_check():
    rng = np.random.default_rng(0)
    wb.check_gradients(lambda x: wb.sum(wb.dropout(x, 0.5, seed=int(rng.integers(1000)))), np.ones(20))


def a_random_check_there():
    x = torch().ones(20, dtype=torch().float64, requires_grad=True)
    torch().autograd.gradcheck(lambda x: torch().nn.functional.dropout(x, 0.5).sum(), (x,))


ROWS = [
    ("A number taken out of a Value", "warns", "taken out of 'w' by float", a_number_taken, "warns", a_number_taken_there),
    ("A number written into an array", "warns", "taken out of 'b' by float", a_number_written, "silent", a_number_written_there),
    ("A parameter's data changed before backward()", "raises", "written to after", data_changed, "silent", data_changed_there),
    ("A large batch refilled before backward()", "raises", "array of its own", a_buffer_refilled, "silent", a_buffer_refilled_there),
    ("A graph that grows from step to step", "warns", "grows with every backward", a_growing_graph, "raises", a_growing_graph_there),
    ("backward() under no_grad", "raises", "computed under no_grad", nothing_recorded, "raises", nothing_recorded_there),
    ("backward() of a copy", "raises", "is a copy", a_copied_loss, "raises", a_copied_loss_there),
    ("A function that returns nothing", "raises", "is a return missing", no_return, "raises", no_return_there),
    ("A NaN from the branch that where() did not choose", "raises", "wb.where", a_nan_unchosen, "silent", a_nan_unchosen_there),
    ("A parameter replaced", "raises", "is a parameter, and", a_parameter_replaced, "raises", a_parameter_replaced_there),
    ("A method of a Module hidden", "raises", "would hide the method parameters", a_method_hidden, "silent", a_method_hidden_there),
    ("A parameter that was computed", "warns", "is not a parameter", a_computed_parameter, "silent", a_computed_parameter_there),
    ("An optimizer of another model", "raises", "none of the model's parameters", another_optimizer, "silent", another_optimizer_there),
    ("A result taken apart by mistake", "warns", "returns one Value", a_result_unpacked, "", None),
    ("A loss of all pairs by accident", "warns", "compares all pairs", all_pairs, "silent", all_pairs_there),
    ("Targets that a loss does not take", "raises", "takes targets from 0 to 1", wrong_targets, "silent", wrong_targets_there),
    ("Probabilities where a loss takes scores", "warns", "applies softmax itself", squashed_twice, "silent", squashed_twice_there),
    ("Probabilities where a metric takes scores", "warns", "threshold=0.5", plain_probabilities, "", None),
    ("A mask that NumPy's masked arrays carry", "raises", "would lose its mask", a_mask, "silent", a_mask_there),
    ("Overflow, and the line that caused it", "warns", "overflow encountered in exp", overflow, "silent", overflow_there),
    ("A random function held against finite differences", "raises", "the function is random", a_random_check, "raises", a_random_check_there),
]  # fmt: skip


def said(function):
    """What is said: "raises", "warns" or "silent", and the text."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            function()
        except Exception as error:
            return "raises", f"{type(error).__name__}: {error}"
    texts = [str(warning.message) for warning in told]
    return ("warns", " ".join(texts)) if texts else ("silent", "")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_the_package_says_it(row):
    _, how, words, function, _, _ = row
    found, text = said(function)
    assert found == how, text
    assert re.search(re.escape(words), text), text


@pytest.mark.parametrize("row", [row for row in ROWS if row[-1]], ids=lambda row: row[0])
def test_pytorch_does_as_the_page_says(row):
    torch()
    found, text = said(row[-1])
    assert found == row[4], text


@pytest.mark.skipif(not PAGE.exists(), reason="the tests run apart from the project's sources: no docs/")
def test_the_page_tells_each_row_and_no_other():
    page = PAGE.read_text(encoding="utf-8")
    assert re.findall(r"^### (.*)$", page, re.MULTILINE) == [row[0] for row in ROWS]
    for heading, how, _, _, theirs, _ in ROWS:
        part = " ".join(page.split(f"### {heading}\n")[1].split("\n### ")[0].split("\n## ")[0].split())
        assert re.search(rf"\*\*tinygrad_wb {how}\.\*\*", part), heading
        assert not theirs or re.search(
            rf"\*PyTorch\* {re.escape({'silent': 'says nothing'}.get(theirs, theirs))}", part
        ), heading
