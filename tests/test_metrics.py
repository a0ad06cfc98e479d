"""Metrics of classes: scikit-learn's numbers, of whole epochs, by name and as functions."""

import pickle
import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinygrad_wb as wb

CLASS_METRICS = ("accuracy", "precision", "recall", "f1", "confusion_matrix")


@st.composite
def decisions(draw, least=2):
    """How many classes there are, the true class of each row, and the decision."""
    classes = draw(st.integers(least, 5))
    rows = draw(st.integers(1, 40))
    each = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)
    return classes, np.array(draw(each)), np.array(draw(each))


def scores_for(decided, classes, seed=0):
    """Scores of which those of the decided classes are the largest."""
    scores = np.random.default_rng(seed).uniform(-1.0, 1.0, (len(decided), classes))
    scores[np.arange(len(decided)), decided] = 1.5
    return scores


def sklearn_says(truth, decided, classes):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed; .ci/run installs it")
    how = {"average": "binary" if classes == 2 else "macro", "zero_division": 0.0}
    return {
        "accuracy": metrics.accuracy_score(truth, decided),
        "precision": metrics.precision_score(truth, decided, **how),
        "recall": metrics.recall_score(truth, decided, **how),
        "f1": metrics.f1_score(truth, decided, **how),
        "confusion_matrix": metrics.confusion_matrix(truth, decided, labels=range(classes)),
    }


def agree(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, number in theirs.items():
        np.testing.assert_allclose(ours[name], number, rtol=1e-12, err_msg=name)


def all_of(prediction, labels):
    return {name: getattr(wb, name)(prediction, labels) for name in CLASS_METRICS}


# -- against scikit-learn -------------------------------------------------------------------------------------------------


@given(decisions())
def test_scores_of_classes(drawn):
    classes, truth, decided = drawn
    scores, expected = scores_for(decided, classes), sklearn_says(truth, decided, classes)
    agree(all_of(scores, truth), expected)
    agree(all_of(wb.Value(scores), np.eye(classes)[truth]), expected)  # one-hot
    agree(all_of(scores[None], truth[None]), expected)  # a batch of sequences


@given(decisions(), st.sampled_from([(0, 1), (-1, 1)]), st.booleans(), st.sampled_from([int, float]))
def test_one_score(drawn, names, column, kind):
    _, truth, decided = drawn
    truth, decided = truth % 2, decided % 2
    scores = np.where(decided, 1.3, -0.2)
    labels = np.array(names, kind)[truth]
    expected = sklearn_says(truth, decided, 2)
    agree(all_of(scores[:, None] if column else scores, labels[:, None] if column else labels), expected)


@given(decisions())
def test_classes_that_were_decided_for(drawn):
    _, truth, decided = drawn
    classes = max(truth.max(), decided.max(), 1) + 1
    agree(all_of(decided.tolist(), truth.tolist()), sklearn_says(truth, decided, classes))


@given(decisions(), st.integers(1, 12))
def test_they_are_of_all_rows_whatever_the_batches(drawn, batch_size):
    classes, truth, decided = drawn
    found = wb.evaluate(
        lambda x: x, scores_for(decided, classes), truth, loss=lambda p, y: 0.0, metrics=CLASS_METRICS,
        batch_size=batch_size,
    )  # fmt: skip
    del found["loss"]
    agree(found, sklearn_says(truth, decided, classes))


@given(decisions(), st.integers(1, 12))
def test_classes_that_a_batch_has_not_met(drawn, batch_size):
    """A model that gives classes, not scores: the matrix grows with what the batches bring."""
    _, truth, decided = drawn
    found = wb.evaluate(
        lambda x: x, decided, truth, loss=lambda p, y: 0.0, metrics=["confusion_matrix"], batch_size=batch_size
    )
    np.testing.assert_array_equal(found["confusion_matrix"], wb.confusion_matrix(decided, truth))


# -- by hand --------------------------------------------------------------------------------------------------------------


def test_rows_are_true_and_columns_predicted():
    matrix = wb.confusion_matrix([1, 1, 1, 0, 2], [0, 0, 1, 1, 2])
    np.testing.assert_array_equal(matrix, [[0, 2, 0], [1, 1, 0], [0, 0, 1]])
    assert matrix.dtype.kind == "i"


def test_a_mean_of_batches_is_another_number():
    """The first batch has no positive at all, the second has three."""
    scores, labels = np.array([-1.0, -1.0, 1.0, 1.0]), np.array([0, 0, 1, 0])
    f1 = wb.f1(scores, labels)
    assert f1 == pytest.approx(2 / 3)
    of_batches = np.mean([wb.f1(scores[:2], labels[:2]), wb.f1(scores[2:], labels[2:])])
    assert of_batches == pytest.approx(1 / 3)
    how = {"loss": lambda p, y: 0.0, "batch_size": 2}
    for metric in ("f1", wb.f1):  # the function itself too
        assert wb.evaluate(lambda x: x, scores, labels, metrics=[metric], **how)["f1"] == f1
    plain = wb.evaluate(lambda x: x, scores, labels, metrics=[lambda p, y: 1.0 * wb.f1(p, y)], **how)
    assert plain["<lambda>"] == of_batches, "what a function of one's own gives is averaged"


def test_nothing_to_divide_by_is_0_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all_of([-1.0, -2.0], [1, 1]) | {"confusion_matrix": 0} == {
            "accuracy": 0.0, "precision": 0.0, "recall": 0.0, "f1": 0.0, "confusion_matrix": 0
        }  # fmt: skip
        assert wb.recall([-1.0], [0]) == 0.0


def test_a_class_that_nowhere_occurs_is_not_averaged():
    scores = scores_for(np.array([0, 1]), 10)
    assert wb.recall(scores, [0, 1]) == 1.0
    assert wb.confusion_matrix(scores, [0, 1]).shape == (10, 10)


REFUSED = {
    "shapes": ([[1.0, 2.0]], [[1]], "scores of shape (1, 2) don't go with labels of shape (1, 1)"),
    "rows": ([1.0, 2.0], [1], "don't go with"),
    "fractions": ([1.0, 2.0], [0.25, 0.5], "take mean_absolute_error"),
    "a label too large": ([[1.0, 2.0, 3.0]], [3], "scores for 3 classes, but the label 3 is not from 0 to 2"),
    "a label below 0": ([[1.0, 2.0]], [-1], "the label -1 is not"),
    "three labels for one score": ([1.0, 2.0, 3.0], [0, 1, 2], "one score decides between 1 and 0 (or -1), but the label 2"),
    "several ones": ([[1.0, 2.0]], [[1, 1]], "not every row has a single 1"),
    "negative classes": ([0, -2], [0, 1], "whole numbers from 0 up, but the label -2"),
    "nothing": ([], [], "at least one"),
    "text": (["a"], [1], "must hold numbers"),
}  # fmt: skip


@pytest.mark.parametrize(("prediction", "labels", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("name", CLASS_METRICS)
def test_what_can_not_be_counted_is_refused(name, prediction, labels, message):
    with pytest.raises(ValueError) as raised:
        getattr(wb, name)(prediction, labels)
    assert message in str(raised.value)


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(
        ValueError, match=r"unknown metric 'f2': did you mean 'f1'\? There are: accuracy, confusion_mat"
    ):
        wb.evaluate(lambda x: x, [1.0], [1.0], loss="mean_squared_error", metrics=["f2"])


# -- probabilities and scores ----------------------------------------------------------------------------------------------

NUMBERS = np.random.default_rng(0).normal(0.0, 3.0, (40, 1))
TRUTH = (NUMBERS[:, 0] + np.random.default_rng(1).normal(0.0, 1.0, 40) > 0.0).astype(int)
ENDS = {
    "sigmoid": wb.sigmoid,
    "sigmoid by hand": lambda z: 1.0 / (1.0 + wb.exp(-z)),
    "sigmoid by hand of the other sign": lambda z: wb.exp(z) / (1.0 + wb.exp(z)),
    "clipped": lambda z: wb.clip(wb.sigmoid(z), 1e-7, 1.0 - 1e-7),
    "kept away from 0": lambda z: wb.maximum(wb.sigmoid(z), 1e-7),
    "the other class": lambda z: 1.0 - wb.sigmoid(-z),
    "through shapes": lambda z: wb.sigmoid(z.T).astype(np.float32).reshape(-1, 1)[:, 0],
    "in two parts": lambda z: wb.concatenate([wb.sigmoid(z[:20]), wb.sigmoid(z[20:])]),
    "softmax, the second column": lambda z: wb.softmax(wb.concatenate([-z / 2.0, z / 2.0], axis=1))[:, 1],
    "exp of log_softmax": lambda z: wb.exp(wb.log_softmax(wb.concatenate([-z / 2.0, z / 2.0], axis=1)))[:, 1:],
    "log_softmax": lambda z: wb.log_softmax(wb.concatenate([-z / 2.0, z / 2.0], axis=1))[:, 1],
    "log of a sigmoid": lambda z: wb.log(wb.sigmoid(z)),
    "a hard sigmoid": lambda z: wb.clip(z + 0.5, 0, 1),
    "tanh": wb.tanh,
    "relu": wb.relu,
    "relu by hand": lambda z: wb.maximum(z, 0.0),
    "scores": lambda z: z,
    "scaled scores": lambda z: 0.1 * z + 0.0,
}  # fmt: skip


def of_scores():
    return all_of(NUMBERS, TRUTH)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_the_record_shows_decides_where_yes_and_no_part(end):
    z = NUMBERS @ wb.Value([[1.0]])
    agree(all_of(end(z), TRUTH), of_scores())
    compiled = wb.compile(lambda x: end(x @ w))
    w = wb.Value([[1.0]])
    for _ in range(4):
        prediction = compiled(NUMBERS)
        agree(all_of(prediction, TRUTH), of_scores())
    assert compiled.replaying


class Ends(wb.Module):
    """Scores, and a function at the end."""

    def __init__(self, end):
        self.layer, self.end = wb.Dense(1, 1, weight_init="ones"), end

    def forward(self, x):
        return self.end(self.layer(x))


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "as it is"])
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_fit_validation_and_evaluate_know_where_yes_and_no_part(end, compile):
    model = Ends(end)
    column = end(NUMBERS @ wb.Value([[1.0]])).ndim == 2
    truth = TRUTH[:, None] if column else TRUTH

    def distance(prediction, y):
        return wb.mean(wb.square(prediction - y.astype(float)))

    history = wb.fit(
        model, NUMBERS, truth, loss=distance, optimizer=wb.SGD(model.parameters(), 0.0), metrics=CLASS_METRICS,
        validation=(NUMBERS, truth), epochs=4, batch_size=40, progress=False, compile=compile,
    )  # fmt: skip
    found = wb.evaluate(model, NUMBERS, truth, loss=distance, metrics=CLASS_METRICS, batch_size=17)
    for name, number in of_scores().items():
        np.testing.assert_allclose([history[name][-1], history[f"val_{name}"][-1], found[name]], [number] * 3)


def test_fit_measures_a_model_that_ends_with_sigmoid():
    x, y = wb.datasets.moons(200, seed=0)
    model = wb.Sequential(wb.MLP(2, [16], 1, seed=0), "sigmoid")
    how = {"loss": "mean_squared_error", "metrics": ["accuracy"], "progress": False, "seed": 0}
    history = wb.fit(model, x, y[:, None], optimizer=wb.Adam(model.parameters(), 0.05), epochs=30, **how)
    true = np.mean((model(x).data[:, 0] > 0.5) == y)
    assert wb.accuracy(model(x), y) == true
    assert history["accuracy"][-1] == pytest.approx(true, abs=0.02)
    assert true > 0.97


@pytest.mark.parametrize("labels", [(0, 1), (-1, 1)])
@pytest.mark.parametrize("loss", ["mean_squared_error", "mean_absolute_error", "huber"])
def test_half_way_between_the_labels_decides_where_predictions_are_pulled_to_them(loss, labels):
    x, y = wb.datasets.moons(200, seed=0)
    targets = np.array(labels, float)[y][:, None]
    model = wb.MLP(2, [16], 1, seed=0)
    how = {"loss": loss, "metrics": ["accuracy", wb.f1]}
    wb.fit(model, x, targets, optimizer=wb.Adam(model.parameters(), 0.05), epochs=30, seed=0, progress=False, **how)
    found = wb.evaluate(model, x, targets, **how)
    decided = model(x).data[:, 0] > np.mean(labels)
    assert found["accuracy"] == np.mean(decided == y) > 0.9
    assert found["f1"] == wb.f1(decided.astype(int), y)


PROBABILITIES = np.array([0.9, 0.2, 0.4, 0.7])


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_plain_numbers_between_0_and_1_are_doubted(name):
    metric = getattr(wb, name)
    said = (
        rf"^{name}\(prediction, labels\): all predictions lie between 0 and 1, as probabilities do, .* threshold=0\.5"
    )
    with pytest.warns(wb.GradientWarning, match=said):
        as_scores = metric(PROBABILITIES, [1, 0, 0, 1])
    np.testing.assert_array_equal(as_scores, metric(PROBABILITIES, [1, 0, 0, 1], threshold=0.0))
    decided = (PROBABILITIES > 0.5).astype(int)
    np.testing.assert_array_equal(metric(PROBABILITIES, [1, 0, 0, 1], threshold=0.5), metric(decided, [1, 0, 0, 1]))
    with wb.no_grad():  # which keeps no record
        lost = wb.sigmoid(wb.Value(NUMBERS))
    with pytest.warns(wb.GradientWarning, match="all predictions"):
        metric(lost, TRUTH)
    mixture = 0.5 * wb.sigmoid(wb.Value(NUMBERS)) + 0.5 * wb.sigmoid(wb.Value(NUMBERS + 1.0))
    with pytest.warns(wb.GradientWarning, match="all predictions"):
        metric(mixture, TRUTH)


@pytest.mark.parametrize(
    "prediction",
    [
        [0.9, 0.2, -0.1, 0.7], [0.9, 0.2, 1.5, 0.7], [1.0, 0.0, 0.0, 1.0], [0.9, 0.6, 0.8, 0.7], [1, 0, 0, 1],
        [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], wb.Value([[0.3], [0.2], [0.4], [0.1]]) @ wb.Value([[1.0]]),
    ],
    ids=["a negative score", "a score above 1", "decided for", "sure", "classes", "columns", "scores by their record"],
)  # fmt: skip
def test_what_can_not_be_mistaken_is_not_doubted(prediction):
    all_of(prediction, [1, 0, 0, 1])


def test_one_score_alone_is_not_doubted():
    assert wb.accuracy([0.3], [1]) == 1.0


def unknown(x):
    """Probabilities of a model that is not ours."""
    return 1.0 / (1.0 + np.exp(-x))


def test_evaluate_doubts_all_rows_together():
    how = {"loss": lambda p, y: 0.0, "metrics": ["accuracy", "f1"], "batch_size": 8}
    with pytest.warns(wb.GradientWarning, match=r"^evaluate: metrics: all predictions .* threshold=0\.5\)\]$"):
        wb.evaluate(unknown, NUMBERS, TRUTH, **how)
    found = wb.evaluate(lambda x: x, np.r_[np.full((8, 1), 0.3), -NUMBERS], np.r_[TRUTH[:8], TRUTH], **how)
    assert found["accuracy"] < 0.5, "a batch between 0 and 1 is not all rows"
    right = wb.evaluate(unknown, NUMBERS, TRUTH, **how | {"metrics": [partial(wb.accuracy, threshold=0.5)]})
    assert right["accuracy"] == of_scores()["accuracy"]


def test_a_threshold_of_ones_own():
    metrics = [partial(getattr(wb, name), threshold=0.2) for name in CLASS_METRICS]
    decided = (unknown(NUMBERS[:, 0]) > 0.2).astype(int)
    model = Ends(wb.sigmoid)
    how = {"loss": "mean_squared_error", "metrics": metrics, "batch_size": 7}
    found = wb.evaluate(model, NUMBERS, TRUTH[:, None], **how)
    del found["loss"]
    agree(found, all_of(decided, TRUTH))
    history = wb.fit(model, NUMBERS, TRUTH[:, None], optimizer=wb.SGD(model.parameters(), 0.0), progress=True, **how)
    np.testing.assert_array_equal(history["confusion_matrix"][0], wb.confusion_matrix(decided, TRUTH))
    with pytest.raises(
        ValueError, match=r"accuracy: threshold=0\.5 is for one score for each label; .* shape \(1, 2\)"
    ):
        wb.accuracy([[0.1, 0.9]], [1], threshold=0.5)


@pytest.mark.parametrize("name", ["mean_absolute_error", "mean_squared_error"])
def test_errors_of_numbers_do_not_broadcast(name):
    with pytest.raises(wb.ShapeError, match=r"the prediction has shape \(40, 1\) but y \(40,\); give both one shape"):
        wb.evaluate(lambda x: x, NUMBERS, TRUTH, loss=lambda p, y: 0.0, metrics=[name])


# -- in fit ---------------------------------------------------------------------------------------------------------------

X, Y = wb.datasets.moons(90, seed=0)


def fitted(model=None, **options):
    model = model or wb.MLP(2, [8], 2, seed=0)
    optimizer = wb.SGD(model.parameters(), options.pop("learning_rate", 0.1))
    how = {"loss": "cross_entropy", "epochs": 3, "batch_size": 16, "seed": 0, "progress": False} | options
    return model, wb.fit(model, X, Y, optimizer=optimizer, metrics=CLASS_METRICS, validation=(X, Y), **how)


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "as it is"])
def test_history_has_what_evaluate_finds(compile):
    model, history = fitted(compile=compile)
    found = wb.evaluate(model, X, Y, loss="cross_entropy", metrics=CLASS_METRICS)
    for name in CLASS_METRICS:
        np.testing.assert_array_equal(history[f"val_{name}"][-1], found[name])
        assert len(history[name]) == 3
    assert history["confusion_matrix"][0].sum() == len(X)


def test_without_a_step_training_measures_what_validation_does():
    _, history = fitted(learning_rate=0.0)
    for name in CLASS_METRICS:
        np.testing.assert_allclose(history[name], history[f"val_{name}"], rtol=1e-12)


def test_a_matrix_is_in_the_history_and_in_no_line(capsys):
    _, history = fitted(progress=True)
    shown = capsys.readouterr().err
    assert "accuracy" in shown
    assert "confusion" not in shown
    assert "confusion" not in repr(history)
    assert "f1" in repr(history)
    assert isinstance(history["val_confusion_matrix"][0], np.ndarray)
    other = pickle.loads(pickle.dumps(history))
    np.testing.assert_array_equal(other["confusion_matrix"], history["confusion_matrix"])


def test_a_line_with_many_metrics_ends_where_there_is_no_more_room(capsys):
    fitted(progress=True)
    last = capsys.readouterr().err.split("\r")[-1]
    assert len(last.split("|")[0].rstrip()) <= 80
    assert last.split("|")[0].rstrip().endswith("…")


def test_the_curve_leaves_the_matrix_out():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; [plot] has it").use("Agg")
    from matplotlib import pyplot as plt

    _, history = fitted()
    ax = history.plot()
    drawn = {line.get_label() for axes in ax.figure.axes for line in axes.get_lines()}
    assert drawn == {name for name in history if "confusion" not in name}
    plt.close("all")


def test_early_stopping_knows_which_way_they_improve():
    for name in ("precision", "recall", "f1"):
        assert wb.EarlyStopping(f"val_{name}").sign == -1.0
    with pytest.raises(ValueError, match="'val_confusion_matrix' is a matrix, and none is the best"):
        fitted(callbacks=[wb.EarlyStopping("val_confusion_matrix", mode="max")])


def test_matrices_are_resumed(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed; files are read with it")
    path = tmp_path / "training"
    _, whole = fitted(epochs=4)
    fitted(epochs=2, callbacks=[wb.Checkpoint(path)])
    _, resumed = fitted(epochs=4, resume=path)
    assert list(resumed) == list(whole)
    for name in whole:
        assert [type(x) for x in resumed[name]] == [type(x) for x in whole[name]]
        np.testing.assert_array_equal(resumed[name], whole[name])


def test_a_file_without_the_matrix_is_refused(tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed; files are read with it")
    path = tmp_path / "training"
    model = wb.MLP(2, [8], 2, seed=0)
    how = {"loss": "cross_entropy", "progress": False, "optimizer": wb.SGD(model.parameters())}
    wb.fit(model, X, Y, **how, metrics=[wb.accuracy], callbacks=[wb.Checkpoint(path)])
    with pytest.raises(wb.LoadError, match="history/confusion_matrix' is missing"):
        wb.fit(model, X, Y, **how, epochs=2, metrics=["confusion_matrix", "accuracy"], resume=path)


@pytest.mark.parametrize("name", CLASS_METRICS)
def test_a_metric_pickles_by_its_name(name):
    metric = getattr(wb, name)
    assert pickle.loads(pickle.dumps(metric)) is metric
    assert metric.__name__ == name
