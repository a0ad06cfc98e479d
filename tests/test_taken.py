"""Numbers taken out of Values: float(v) and the functions of math, which call it. Cut gradients are told, logs are not."""

import linecache
import math
import types
import warnings

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.taken import taken


@pytest.fixture(autouse=True)
def forget():
    taken.clear()
    yield
    taken.clear()


def parameters():
    return wb.Value(1.0, name="w"), wb.Value([1.0, 2.0], name="b")


# -- what cuts a gradient ---------------------------------------------------------------------------------------------


def by_math(w, b):
    return math.exp(w) * w


def by_float(w, b):
    return float(w) * w


def by_a_variable(w, b):
    s = math.tanh(w)
    t = s * 2.0
    return t * w + w


def by_a_plain_float_in_a_variable(w, b):
    number = float(w)
    return number * w


def by_an_array(w, b):
    c = np.zeros(2)
    c[0] = b[0] * 3.0
    return wb.sum(c * b)


def by_a_copy_of_an_array(w, b):
    c = np.zeros(2)
    c[0] = b[0] * 3.0
    return wb.sum(wb.Value(c) * b)


def by_filling_an_array(w, b):
    c = np.zeros(2)
    c.fill(w * 3.0)
    return wb.sum(c * b)


def by_a_value_of_numbers(w, b):
    return wb.Value([float(w), float(w)]).sum() * w


def by_an_attribute(w, b):
    holder = types.SimpleNamespace()
    holder.scale = float(w)
    return vars(holder)["scale"] * w  # by whom the attribute is read can't be seen


def by_a_call(w, b):
    return wb.sum(math.exp(w * 2.0) * b) + w


def by_a_list(w, b):
    xs = [math.sin(v) for v in (w, w)]
    return xs[0] * w


def by_another_function(w, b):
    return by_math(w, b) + 1.0


def by_a_condition_s_branch(w, b):
    return w * (math.exp(w) if float(w) > 0.0 else 1.0)


CUT = [
    by_math, by_float, by_a_variable, by_a_plain_float_in_a_variable, by_an_array, by_a_call, by_a_list,
    by_another_function, by_a_condition_s_branch, by_a_copy_of_an_array, by_filling_an_array, by_a_value_of_numbers,
    by_an_attribute,
]  # fmt: skip


@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("loss", CUT, ids=lambda f: f.__name__)
def test_a_number_that_went_into_the_loss_is_told_at_backward(loss, record):
    w, b = parameters()
    found = loss(w, b)
    with pytest.warns(
        wb.GradientWarning, match=r"taken out of '[wb]' by float\(\) or a function of math .*item\(\)"
    ) as told:
        found.backward(record=record)
    assert told[0].filename == __file__
    assert "test_taken.py:" in str(told[0].message), "the line that took it"


def test_item_says_that_a_plain_number_is_meant():
    w, _ = parameters()
    (math.exp(w.item()) * w + w.item() * w).backward()
    assert w.grad == math.e + 1.0


def test_it_is_told_once_and_not_after_the_parameter_has_moved_on():
    w, _ = parameters()
    loss = math.exp(w) * w
    with pytest.warns(wb.GradientWarning):
        loss.backward()
    (w * w).backward()
    scale = math.exp(w)  # the rate of the next steps, say
    w.data = 2.0
    (scale * w).backward()


# -- what is shown or logged ------------------------------------------------------------------------------------------


def test_numbers_that_are_shown_or_logged_set_off_nothing(capsys):
    w, b = parameters()
    optimizer = wb.SGD([w, b], 0.01)
    log, history, table = [], {"w": []}, np.zeros((8, 2))
    total = 0.0
    for i in range(8):
        error, size = (w - 3.0) ** 2, wb.sum(b * b)
        print(float(error), "%.3f" % size, f"{float(w) * 100.0:.1f} %", round(float(w), 2))  # noqa: UP031
        loss = error + 0.1 * size
        percent = float(error) * 100.0
        print("{:.1f}".format(percent))  # noqa: UP032
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += float(loss)
        log.append(float(w))
        log.append((i, float(w), math.exp(w)))
        history["w"].append(float(w))
        history["last"] = float(w)
        table[i, 0], table[i, 1] = w, float(loss)
        norm = float(wb.sum(b * b)) ** 0.5
        print(norm, total / (i + 1), str(float(w)), norm > 3.0)
        if float(w) > 100.0 or math.exp(error) < 0.0:
            break
        best = float(loss)
        history["best"] = best
        assert float(loss) > 0.0
    assert len(log) == 16


def test_a_helper_s_number_is_followed_to_where_it_is_shown(capsys):
    w, b = parameters()

    def norm():
        return float(wb.sum(b * b)) ** 0.5

    for _ in range(3):
        loss = wb.sum(b * b) * w
        loss.backward()
        print(norm())
        print(f"{norm():.2f}")


def test_the_loss_itself_may_give_its_number():
    w, _ = parameters()
    loss = w * w
    perplexity = math.exp(loss)
    loss.backward()
    assert perplexity == math.e


def test_a_number_that_no_loss_can_have_read_sets_off_nothing():
    w, _ = parameters()
    other = wb.Value(3.0, name="other")
    scale = math.exp(other) * 2.0
    (w * w * scale).backward()  # scale is a setting here: no gradient by `other` is asked for
    loss = w * w
    scale = math.exp(w) * 2.0  # computed after the loss
    loss.backward()
    assert scale > 0.0


def test_without_a_source_the_number_itself_is_recognised():
    names = {"w": wb.Value(1.5, name="w"), "math": math}
    exec("loss = float(w) * w", names)
    with pytest.warns(wb.GradientWarning):
        names["loss"].backward()
    exec("x = float(w); loss = w * w", names)
    names["loss"].backward()


def test_under_no_grad_numbers_are_only_numbers():
    w, _ = parameters()
    with wb.no_grad():
        scale = math.exp(w)
    (scale * w).backward()
    assert not taken


def test_python_s_filters_make_it_an_error():
    w, _ = parameters()
    loss = math.exp(w) * w
    with warnings.catch_warnings():
        warnings.simplefilter("error", wb.GradientWarning)
        with pytest.raises(wb.GradientWarning):
            loss.backward()
    assert w.grad is None


def test_in_a_notebook_the_loss_may_be_in_another_cell():
    def run(*cells):
        names = {"math": math, "np": np, "wb": wb, "w": wb.Value(1.0, name="w")}
        for number, text in enumerate(cells):
            name = f"<cell {number} of {len(cells)}, {text}>"
            linecache.cache[name] = len(text), None, [text + "\n"], name
            exec(compile(text, name, "exec"), names)
            del linecache.cache[name]

    for cells in (
        ("loss = math.exp(w) * w", "loss.backward()"),
        ("s = math.exp(w)", "loss = s * w", "loss.backward()"),
        ("y = float(w) * w", "loss = y * y", "loss.backward()"),
        ("line = float(w) * np.arange(3)", "loss = wb.sum(line * w)", "loss.backward()"),
    ):
        with pytest.warns(wb.GradientWarning, match="taken out of 'w'"):
            run(*cells)
    run("loss = math.exp(w) * 100", "print(loss)", "loss = w * w", "loss.backward()")
    run("line = float(w) * np.arange(3)", "print(line)", "loss = w * w", "loss.backward()")


def test_places_in_code_that_is_made_anew_are_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr(wb.following, "MOST_PATHS", 8)
    w, _ = parameters()
    for i in range(50):
        assert eval(compile("float(w) * 2.0", f"<cell {i}>", "eval"), {"w": w}) == 2.0
    assert len(wb.following._paths) <= 8
