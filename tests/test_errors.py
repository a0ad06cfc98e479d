"""Bad input to the engine gets an error that restates the call, the shapes and the remedy, and loses nothing."""

import numpy as np
import pytest

import tinygrad_wb as wb

V = wb.Value


def ones(*shape):
    return V(np.ones(shape))


# What fails, the error's type, and words that must stand in its text.
WRONG = {
    "add": (lambda: ones(2, 3) + ones(2, 4), wb.ShapeError, ["add(", "a: shape (2, 3)", "b: shape (2, 4)", "don't broadcast", "reshape"]),
    "add a constant": (lambda: ones(2, 3) + np.ones(2), wb.ShapeError, ["add(", "(2, 3)", "(2,)", "broadcast"]),
    "a constant minus": (lambda: np.ones((4, 2)) - ones(3), wb.ShapeError, ["subtract(", "(4, 2)", "(3,)"]),
    "multiply": (lambda: ones(3) * ones(2), wb.ShapeError, ["multiply(", "(3,)", "(2,)"]),
    "divide": (lambda: ones(3) / ones(2), wb.ShapeError, ["divide(", "(3,)", "(2,)"]),
    "power": (lambda: ones(3) ** ones(2), wb.ShapeError, ["power(", "(3,)", "(2,)"]),
    "maximum": (lambda: wb.maximum(ones(3), ones(2)), wb.ShapeError, ["maximum(", "(3,)", "(2,)"]),
    "names": (lambda: V([1.0, 2.0], name="weight") + V([1.0, 2.0, 3.0], name="x"), wb.ShapeError, ["'weight'", "'x'"]),
    "matmul inner": (lambda: ones(2, 3) @ ones(2, 4), wb.ShapeError, ["matmul", "(2, 3)", "(2, 4)", "last length of a, 3", "second last of b, 2"]),
    "matmul vector": (lambda: ones(2, 3) @ ones(2), wb.ShapeError, ["matmul", "(2, 3)", "(2,)", "only of b, 2"]),
    "matmul batch": (lambda: ones(2, 4, 3) @ ones(5, 3, 4), wb.ShapeError, ["matmul", "(2,) and (5,)", "broadcast"]),
    "matmul scalar": (lambda: V(2.0) @ ones(2), wb.ShapeError, ["matmul", "multiply it with *"]),
    "matmul scalar right": (lambda: ones(2) @ 2.0, wb.ShapeError, ["matmul", "multiply it with *"]),
    "affine inner": (lambda: wb.affine(ones(2, 3), ones(4, 5), ones(5)), wb.ShapeError, ["affine(", "x: shape (2, 3)", "w: shape (4, 5)", "inputs, outputs"]),
    "affine bias": (lambda: wb.affine(ones(2, 3), ones(3, 5), ones(4)), wb.ShapeError, ["affine(", "b: shape (4,)"]),
    "affine bias of one": (lambda: wb.affine(ones(2, 3), ones(3, 5), ones(1)), wb.ShapeError, ["affine(", "b: shape (1,)"]),
    "affine number": (lambda: wb.affine(V(1.0), ones(3, 5), ones(5)), wb.ShapeError, ["affine(", "x: number"]),
    "affine weight vector": (lambda: wb.affine(ones(2, 3), ones(3), ones(2)), wb.ShapeError, ["affine(", "w: shape (3,)"]),
    "reshape": (lambda: ones(2, 3).reshape(4, 2), wb.ShapeError, ["reshape(", "shape (2, 3)", "(4, 2)", "size 6"]),
    "reshape -1": (lambda: ones(2, 3).reshape(-1, 4), wb.ShapeError, ["reshape(", "(-1, 4)"]),
    "reshape two -1": (lambda: ones(2, 3).reshape(-1, -1), wb.ShapeError, ["reshape(", "(-1, -1)"]),
    "transpose": (lambda: wb.transpose(ones(2, 3), (0, 0)), wb.ShapeError, ["transpose(", "shape (2, 3)", "axes=(0, 0)"]),
    "transpose number": (lambda: ones(2, 3).transpose(0), (ValueError, TypeError), ["transpose(", "shape (2, 3)"]),
    "broadcast_to": (lambda: wb.broadcast_to(ones(3), (2, 4)), wb.ShapeError, ["broadcast_to(", "shape (3,)", "(2, 4)"]),
    "concatenate": (lambda: wb.concatenate([ones(2, 3), ones(2, 4)]), wb.ShapeError, ["concatenate(", "part 0: shape (2, 3)", "part 1: shape (2, 4)", "axis=0"]),
    "concatenate nothing": (lambda: wb.concatenate([]), wb.ShapeError, ["concatenate", "at least one"]),
    "concatenate numbers": (lambda: wb.concatenate([V(1.0), V(2.0)]), wb.ShapeError, ["concatenate(", "part 0: number"]),
    "concatenate axis": (lambda: wb.concatenate([ones(2), ones(2)], axis=1), IndexError, ["concatenate(", "axis 1"]),
    "concatenate one": (lambda: wb.concatenate(5.0), TypeError, ["concatenate", "iterable"]),
    "stack": (lambda: wb.stack([ones(2), ones(3)]), wb.ShapeError, ["stack(", "part 0: shape (2,)", "part 1: shape (3,)"]),
    "stack axis": (lambda: wb.stack([ones(2), ones(2)], axis=3), IndexError, ["stack(", "axis 3"]),
    "index": (lambda: ones(2, 3)[5], IndexError, ["getitem(", "shape (2, 3)", "5"]),
    "index array": (lambda: ones(2, 3)[[0, 7]], IndexError, ["getitem(", "shape (2, 3)", "7"]),
    "index float": (lambda: ones(2)[0.5], IndexError, ["getitem(", "0.5", "integers"]),
    "index mask": (lambda: ones(2)[np.array([True, False, True])], IndexError, ["getitem(", "shape (2,)"]),
    "too many indices": (lambda: ones(2)[0, 0], IndexError, ["getitem(", "too many"]),
    "index of a number": (lambda: V(1.0)[0], IndexError, ["getitem(", "number"]),
    "sum axis": (lambda: ones(2, 3).sum(axis=2), IndexError, ["sum(", "shape (2, 3)", "axis=2", "dimension 2"]),
    "mean axes": (lambda: ones(2, 3).mean(axis=(0, 5)), IndexError, ["mean(", "axis"]),
    "max axis": (lambda: ones(2, 3).max(axis=-3), IndexError, ["max(", "axis=-3"]),
    "var axis": (lambda: ones(2, 3).var(axis=2), IndexError, ["var(", "axis=2"]),
    "logsumexp axis": (lambda: ones(2, 3).logsumexp(axis=2), IndexError, ["logsumexp(", "axis=2"]),
    "axis twice": (lambda: ones(2, 3).sum(axis=(0, 0)), (ValueError, IndexError), ["sum(", "axis"]),
    "axis of another kind": (lambda: ones(2, 3).sum(axis="rows"), TypeError, ["sum(", "rows"]),
    "softmax axis": (lambda: wb.softmax(ones(2), axis=1), IndexError, ["softmax(", "axis=1"]),
    "log_softmax axis": (lambda: wb.log_softmax(ones(2), axis=1), IndexError, ["log_softmax(", "axis=1"]),
    "max of nothing": (lambda: ones(0).max(), wb.ShapeError, ["max(", "shape (0,)", "zero-size"]),
    "min of nothing": (lambda: ones(2, 0).min(axis=1), wb.ShapeError, ["min(", "shape (2, 0)"]),
    "astype": (lambda: ones(2).astype(int), TypeError, ["float16, float32 or float64", "int"]),
    "where": (lambda: wb.where([True, False], ones(3), 0.0), wb.ShapeError, ["where(", "condition: shape (2,)", "a: shape (3,)"]),
    "wrong option": (lambda: wb.sum(ones(2), axes=0), TypeError, ["sum", "axes"]),
    "missing input": (lambda: wb.where([True], ones(1)), TypeError, ["b"]),
    "labels too large": (lambda: wb.cross_entropy(ones(2, 3), [0, 3]), ValueError, ["labels", "from 0 to 2", "3 classes", "got 3"]),
    "labels negative": (lambda: wb.cross_entropy(ones(2, 3), [0, -1]), ValueError, ["labels", "from 0 to 2", "got -1"]),
    "labels huge unsigned": (lambda: wb.cross_entropy(ones(1, 3), np.array([2**63], np.uint64)), ValueError, ["labels", "from 0 to 2"]),
    "labels not integer": (lambda: wb.cross_entropy(ones(2, 3), [0.0, 1.5]), TypeError, ["labels must be integers", "float64"]),
    "labels boolean": (lambda: wb.cross_entropy(ones(2, 3), np.array([True, False])), TypeError, ["labels must be integers", "bool"]),
    "labels one-hot": (lambda: wb.cross_entropy(ones(2, 3), np.eye(3)[:2]), wb.ShapeError, ["labels (2, 3)", "one class number for each row"]),
    "labels of another length": (lambda: wb.cross_entropy(ones(2, 3), [0, 1, 2]), wb.ShapeError, ["logits have shape (2, 3)", "labels (3,)"]),
    "one-hot labels": (lambda: wb.cross_entropy(ones(2, 3), np.eye(3)[:2]), wb.ShapeError, ["labels (2, 3)", "labels.argmax(axis=-1) of one-hot rows"]),
    "a column of labels": (lambda: wb.cross_entropy(ones(2, 3), [[0], [1]]), wb.ShapeError, ["labels (2, 1)", "labels.reshape(2,)"]),
    "one label for many rows": (lambda: wb.cross_entropy(ones(2, 3), 0), wb.ShapeError, ["logits have shape (2, 3)", "labels ()"]),
    "logits a number": (lambda: wb.cross_entropy(V(1.0), 0), (wb.ShapeError, IndexError), ["cross_entropy"]),
    "cross_entropy empty": (lambda: wb.cross_entropy(ones(0, 3), np.zeros(0, int)), wb.ShapeError, ["cross_entropy", "empty", "(0, 3)"]),
    "cross_entropy no classes": (lambda: wb.cross_entropy(ones(2, 0), [0, 0]), wb.ShapeError, ["cross_entropy", "(2, 0)"]),
    "class weights": (lambda: wb.cross_entropy(ones(2, 3), [0, 1], class_weights=[1.0]), wb.ShapeError, ["class_weights have shape (1,)", "3 classes"]),
    "class weights a Value": (lambda: wb.cross_entropy(ones(2, 2), [0, 1], class_weights=ones(2)), TypeError, ["class_weights", "plain number or array"]),
    "label smoothing": (lambda: wb.cross_entropy(ones(2, 3), [0, 1], label_smoothing=2.0), ValueError, ["cross_entropy(", "label_smoothing", "from 0 to 1", "2.0"]),
    "likelihood labels": (lambda: wb.negative_log_likelihood(ones(2, 3), [0, 3]), ValueError, ["negative_log_likelihood(", "from 0 to 2", "got 3"]),
    "likelihood shapes": (
        lambda: wb.negative_log_likelihood(ones(2, 3), [0]), wb.ShapeError, ["negative_log_likelihood(log_probabilities, labels)", "log_probabilities have shape (2, 3)", "labels (1,)"],
    ),
    "likelihood empty": (lambda: wb.negative_log_likelihood(ones(0, 3), np.zeros(0, int)), wb.ShapeError, ["negative_log_likelihood", "empty", "(0, 3)"]),
    "huber delta": (lambda: wb.huber(V(1.0), 2.0, delta=0.0), ValueError, ["huber(", "delta", "above 0", "0.0"]),
    "kl of a number": (lambda: wb.kl_divergence(V(1.0), 1.0), wb.ShapeError, ["kl_divergence(log_prediction, target)", "(…, classes)"]),
    "embedding labels": (lambda: wb.embedding(ones(3, 2), [0, 3]), ValueError, ["embedding(", "from 0 to 2", "3 rows", "got 3"]),
    "embedding labels negative": (lambda: wb.embedding(ones(3, 2), [0, -1]), ValueError, ["embedding(", "from 0 to 2", "got -1"]),
    "embedding labels not integer": (lambda: wb.embedding(ones(3, 2), [0.5]), TypeError, ["embedding(", "labels must be integers", "float64"]),
    "embedding of half a label": (lambda: wb.embedding(ones(3, 2), 0.5), TypeError, ["embedding(", "labels must be integers"]),
    "embedding in a number": (lambda: wb.embedding(V(1.0), [0]), wb.ShapeError, ["embedding(", "(rows, features)"]),
    "dropout": (lambda: wb.dropout(ones(2), 1.0), ValueError, ["dropout", "rate", "1.0"]),
    "conv2d channels": (
        lambda: wb.conv2d(ones(1, 3, 8, 8), ones(4, 2, 3, 3)), wb.ShapeError,
        ["conv2d(x: shape (1, 3, 8, 8), w: shape (4, 2, 3, 3)", "w takes 2 channels", "x must have 2", "it has 3"],
    ),
    "conv2d channels last": (lambda: wb.conv2d(ones(1, 8, 8, 2), ones(4, 2, 3, 3)), wb.ShapeError, ["channels the last axis", "Move it to second"]),
    "conv2d channels in groups": (lambda: wb.conv2d(ones(1, 3, 8, 8), ones(4, 2, 3, 3), groups=2), wb.ShapeError, ["2 channels in each of 2 groups", "x must have 4"]),
    "conv2d outputs in groups": (lambda: wb.conv2d(ones(1, 4, 8, 8), ones(3, 2, 3, 3), groups=2), wb.ShapeError, ["3 outputs", "divide into 2 groups"]),
    "conv2d groups": (lambda: wb.conv2d(ones(1, 4, 8, 8), ones(3, 2, 3, 3), groups=0), ValueError, ["conv2d(", "groups must be a whole number from 1", "0"]),
    "conv2d too large": (
        lambda: wb.conv2d(ones(1, 1, 4, 4), ones(1, 1, 5, 3), padding=(0, 1)), wb.ShapeError, ["conv2d(x: shape (1, 1, 4, 4), w: shape (1, 1, 5, 3)", "padding=(0, 1)", "(5, 3)", "doesn't fit into (4, 6)", "pad more"],
    ),
    "conv2d dilated too far": (lambda: wb.conv2d(ones(1, 1, 4, 4), ones(1, 1, 3, 3), dilation=2), wb.ShapeError, ["(5, 5)", "(4, 4)"]),
    "conv2d no batch": (lambda: wb.conv2d(ones(1, 4, 4), ones(1, 1, 3, 3)), wb.ShapeError, ["(batch, channels, height, width)", "x[None]"]),
    "conv1d of a picture": (lambda: wb.conv1d(ones(1, 1, 4, 4), ones(1, 1, 3, 3)), wb.ShapeError, ["conv1d(x: shape", "(batch, channels, length)"]),
    "conv1d stride": (lambda: wb.conv1d(ones(1, 1, 4), ones(1, 1, 2), stride=(1, 2)), ValueError, ["conv1d(", "stride must be a whole number from 1", "or 1 of them", "(1, 2)"]),
    "conv1d padding": (lambda: wb.conv1d(ones(1, 1, 4), ones(1, 1, 2), padding=-1), ValueError, ["conv1d(", "padding must be a whole number from 0", "-1"]),
    "conv1d padding word": (lambda: wb.conv1d(ones(1, 1, 4), ones(1, 1, 2), padding="full"), ValueError, ["conv1d(", "'same' or 'valid'", "'full'"]),
    "conv1d same with stride": (lambda: wb.conv1d(ones(1, 1, 4), ones(1, 1, 2), stride=2, padding="same"), ValueError, ["conv1d(", "'same'", "stride 1", "give a number"]),
    "max_pool too large": (lambda: wb.max_pool(ones(1, 1, 2), 3), wb.ShapeError, ["max_pool(a: shape (1, 1, 2), window=3", "(3,)", "doesn't fit into (2,)"]),
    "max_pool padding": (lambda: wb.max_pool(ones(1, 1, 4), 2, padding=2), ValueError, ["max_pool(", "padding (2,)", "half of the window (2,)"]),
    "average_pool window": (lambda: wb.average_pool(ones(1, 1, 4, 4), (2, 0)), ValueError, ["average_pool(", "window must be", "(2, 0)"]),
    "average_pool no channels": (lambda: wb.average_pool(ones(4, 4), 2), wb.ShapeError, ["average_pool(a: shape (4, 4), window=2", "(batch, channels, length)"]),
    "layer_norm weight": (lambda: wb.layer_norm(ones(2, 4), ones(2)), wb.ShapeError, ["layer_norm(", "a has shape (2, 4)", "weight (2,)", "of shape (4,)"]),
    "layer_norm bias": (lambda: wb.layer_norm(ones(2, 4), ones(4), ones(1)), wb.ShapeError, ["layer_norm(", "bias (1,)", "of shape (4,)"]),
    "layer_norm axis": (lambda: wb.layer_norm(ones(2, 4), axis=2), IndexError, ["layer_norm(", "axis 2", "dimension 2"]),
    "batch_norm weight": (lambda: wb.batch_norm(ones(2, 4, 3), ones(3)), wb.ShapeError, ["batch_norm(", "weight (3,)", "of shape (4,)"]),
    "batch_norm of a vector": (lambda: wb.batch_norm(ones(3)), wb.ShapeError, ["batch_norm(", "(3,)", "(batch, channels, …)"]),
    "batch_norm empty": (lambda: wb.batch_norm(ones(0, 3)), wb.ShapeError, ["batch_norm(", "empty", "(0, 3)"]),
    "attention features": (
        lambda: wb.scaled_dot_product_attention(ones(2, 3), ones(2, 4), ones(2, 4)), wb.ShapeError, ["query has shape (2, 3), key (2, 4) and value (2, 4)", "as many features"],
    ),
    "attention of nothing": (lambda: wb.scaled_dot_product_attention(ones(2, 0), ones(2, 0), ones(2, 3)), wb.ShapeError, ["query has shape (2, 0)", "as many features"]),
    "attention values": (lambda: wb.scaled_dot_product_attention(ones(2, 3), ones(2, 3), ones(4, 3)), wb.ShapeError, ["one value for each key"]),
    "attention batches": (lambda: wb.scaled_dot_product_attention(ones(2, 2, 3), ones(3, 2, 3), ones(2, 3)), wb.ShapeError, ["before the last two must broadcast"]),
    "attention mask": (lambda: wb.scaled_dot_product_attention(ones(2, 3), ones(4, 3), ones(4, 3), np.ones((2, 3))), wb.ShapeError, ["mask, of shape (2, 3)", "(2, 4)"]),
    "attention of vectors": (lambda: wb.scaled_dot_product_attention(ones(3), ones(4, 3), ones(4, 3)), wb.ShapeError, ["(…, queries, features)"]),
    "backward of many": (lambda: ones(2, 3).backward(), wb.ShapeError, ["backward()", "(2, 3)", ".sum()", "seed"]),
    "backward seed": (lambda: ones(2, 3).backward(np.ones(3)), wb.ShapeError, ["seed has shape (3,)", "(2, 3)"]),
    "text": (lambda: V(1.0) + "a", TypeError, ["add(", "numbers are wanted", "'a'"]),
    "none": (lambda: V(1.0) * None, TypeError, ["multiply(", "numbers are wanted", "None"]),
    "complex": (lambda: V([1.0]) - 1j, TypeError, ["subtract(", "complex128"]),
    "complex array": (lambda: wb.affine(ones(1, 1), np.ones((1, 1), complex), ones(1)), TypeError, ["affine(", "complex128"]),
    "ragged": (lambda: V([1.0, [2.0, 3.0]]), ValueError, ["inhomogeneous"]),
    "ragged operand": (lambda: V([1.0, 2.0]) * [1.0, [2.0, 3.0]], ValueError, ["multiply", "inhomogeneous"]),
    "list of Values": (lambda: wb.sum([V(1.0), V(2.0)]), TypeError, ["wb.stack"]),
    "an option that is a Value": (lambda: wb.leaky_relu(V(-1.0), slope=V(0.1)), TypeError, ["leaky_relu", "slope"]),
}  # fmt: skip
for _loss, _a, _b in [
    (wb.mean_squared_error, "prediction", "target"), (wb.binary_cross_entropy, "logits", "targets"), (wb.hinge_loss, "scores", "targets"),
    (wb.mean_absolute_error, "prediction", "target"), (wb.huber, "prediction", "target"), (wb.kl_divergence, "log_prediction", "target"),
]:  # fmt: skip
    _name = _loss.__name__
    WRONG |= {
        f"{_name} shapes": (
            lambda f=_loss: f(ones(4), ones(4, 1)),
            wb.ShapeError,
            [f"{_name}({_a}, {_b})", "(4,)", "(4, 1)", f"reshape {_b} to (4,)"],
        ),
        f"{_name} sizes": (
            lambda f=_loss: f(ones(4), np.ones(3)),
            wb.ShapeError,
            [_name, f"{_a} has shape (4,)", f"{_b} (3,)", f"give one of {_b} for each of {_a}"],
        ),
        f"{_name} number": (lambda f=_loss: f(ones(4), 1.0), wb.ShapeError, [_name, "(4,)", "()"]),
        f"{_name} empty": (lambda f=_loss: f(ones(0), ones(0)), wb.ShapeError, [_name, "empty", "(0,)"]),
        f"{_name} empty rows": (
            lambda f=_loss: f(ones(3, 0), np.ones((3, 0))),
            wb.ShapeError,
            [_name, "empty", "(3, 0)"],
        ),
    }


@pytest.mark.parametrize("name", WRONG)
def test_errors_restate_the_call_and_name_the_remedy(name):
    call, error, words = WRONG[name]
    with pytest.raises(error) as found:
        call()
    for word in words:
        assert word in str(found.value), f"{word!r} is missing from: {found.value}"
    assert not isinstance(found.value, RecursionError)


def test_an_error_has_the_operation_that_failed_its_inputs_and_its_options():
    v, rows = V([[1.0, 2.0]]), np.ones((3, 3))
    for call, inputs, options in [(lambda: v * rows, (v, rows), {}), (lambda: v.reshape(7), (v,), {"shape": 7})]:
        with pytest.raises(wb.ShapeError) as found:
            call()
        failed = found.value.failed
        assert failed.op.name in str(found.value)
        assert len(failed.inputs) == len(inputs)
        assert all(x is y for x, y in zip(failed.inputs, inputs, strict=True))
        assert dict(failed.options) == options


# loss, targets that it refuses, the words for it, and such as it takes
TARGETS = {
    "-1 and 1": (wb.binary_cross_entropy, [[1.0], [-1.0]], "from 0 to 1, these go from -1.0 to 1.0; .y . 1. / 2", [[1.0], [0.0]]),
    "classes": (wb.binary_cross_entropy, np.array([[2], [0]]), "from 0 to 1, these go from 0 to 2", np.array([[1], [0]], np.uint8)),
    "a score": (wb.binary_cross_entropy, [[0.5], [1.5]], "to 1.5", [[0.25], [0.75]]),
    "booleans": (wb.hinge_loss, np.array([[True], [False]]), "these have .False  True.", [[1.0], [-1.0]]),
    "0 and 1": (wb.hinge_loss, np.array([[1], [0]]), r"these have \[0 1\]; 2 \* y - 1 for 0 and 1", np.array([[1], [-1]], np.int8)),
    "shares": (wb.hinge_loss, [[0.5], [1.0]], "these have .0.5 1", [[1.0], [1.0]]),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "wrong", "message", "right"), TARGETS.values(), ids=TARGETS)
def test_a_loss_refuses_targets_that_it_would_make_nonsense_of(loss, wrong, message, right):
    model = wb.Dense(1, 1, seed=0)
    x = np.array([[0.5], [2.0]])

    def compiled():
        return wb.compile(lambda x, y: loss(model(x), y))(x, np.asarray(wrong))

    def fitted():
        return wb.fit(model, x, wrong, loss=loss, optimizer=wb.SGD(model.parameters()), progress=False)

    def quiet():
        with wb.no_grad():
            return loss(model(x), wrong)

    for way in (
        lambda: loss(model(x), wrong), lambda: loss(x, wrong), quiet, compiled, fitted,
        lambda: wb.evaluate(model, x, wrong, loss=loss),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=f"{loss.__name__} takes targets .*{message}"):
            way()
    as_floats = np.asarray(right, float)
    assert loss(model(x), right).data == loss(model(x), as_floats).data
    # There are derivatives by the targets, at any number.
    assert loss(model(x), V(np.asarray(wrong, float))).data == pytest.approx(loss(V(x) * 0.0 + model(x), V(wrong)).data)
    wb.check_gradients(loss, V(x), V(np.asarray(wrong, float) + 0.1))


def test_shape_errors_are_value_errors_and_stale_ones_runtime_errors():
    assert issubclass(wb.ShapeError, ValueError)
    assert issubclass(wb.StaleGraphError, RuntimeError)


def test_a_broadcast_mismatch_is_drawn():
    with pytest.raises(wb.ShapeError) as found:
        V(np.ones((8, 1, 10)), name="x") + np.ones((32, 4))
    assert str(found.value).splitlines()[1:5] == [
        "    a   8    1   10",
        "    b       32    4",
        "                 ^^",
        "Compared from the right, two lengths must be equal or one of them 1: reshape one of them.",
    ]


def test_every_clash_is_marked():
    with pytest.raises(wb.ShapeError) as found:
        ones(2, 3, 4) * ones(5, 3, 6)
    assert "    ^       ^" in str(found.value).splitlines()[3]


# Failing calls on these Values, after which nothing about them may have changed.
FAILING = [
    lambda v, w: v + w, lambda v, w: v @ w, lambda v, w: v.reshape(7), lambda v, w: v[9], lambda v, w: v.sum(axis=5),
    lambda v, w: wb.concatenate([v, w]), lambda v, w: wb.stack([v, w]), lambda v, w: wb.affine(v, w, v), lambda v, w: wb.where(v, w, v),
    wb.mean_squared_error, wb.hinge_loss, wb.binary_cross_entropy,
    lambda v, w: wb.cross_entropy(v, [0, 9]), wb.cross_entropy, lambda v, w: v.backward(), lambda v, w: v.backward(w),
    lambda v, w: v + "a", lambda v, w: v.item(), lambda v, w: np.partition(v, 1), lambda v, w: np.add(v, v, out=v.data), lambda v, w: wb.transpose(v, (0, 0)),
    lambda v, w: v.astype(int), lambda v, w: wb.clip(v, "a", "b"), lambda v, w: np.array(v), lambda v, w: setattr(v, "data", "text"),
    lambda v, w: v.__setitem__(0, 1.0), lambda v, w: wb.grad(lambda x: x)(v), lambda v, w: wb.broadcast_to(v, (7,)), lambda v, w: w + v,
]  # fmt: skip


@pytest.mark.parametrize("index", range(len(FAILING)))
def test_a_failing_call_loses_nothing(index):
    leaf = V([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], name="leaf")
    computed = leaf * 2.0
    other = V([[1.0, 2.0], [3.0, 4.0]])
    computed.sum().backward()
    for v in (leaf, computed):
        before = {s: getattr(v, s) for s in ("_data", "grad", "inputs", "name", "op", "options", "tick")}
        data, grad = v.data.copy(), v.grad.copy()
        with pytest.raises((ValueError, TypeError, IndexError)):
            FAILING[index](v, other)
        for slot, held in before.items():
            assert getattr(v, slot) is held, slot
        np.testing.assert_array_equal(v.data, data)
        np.testing.assert_array_equal(v.grad, grad)
        np.testing.assert_array_equal(other.data, [[1.0, 2.0], [3.0, 4.0]])
        assert other.grad is None
    computed.sum().backward()  # and the graph still works
    np.testing.assert_array_equal(leaf.grad, np.full((2, 3), 4.0))


def test_a_misbuilt_row_is_refused():
    from tinygrad_wb.operation import operation
    from tinygrad_wb.operations import REGISTRY

    with pytest.raises(TypeError, match=r"misbuilt\('x',\) has partials named \('da',\)"):

        @operation(da=lambda g, y, x: g)
        def misbuilt(x):
            return x

    assert "misbuilt" not in REGISTRY
