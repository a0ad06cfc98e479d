"""Metrics of classes: scikit-learn's numbers, of whole epochs, by name and as functions."""

import pickle
import warnings

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
    scores = np.where(decided, 0.3, -0.2)
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
