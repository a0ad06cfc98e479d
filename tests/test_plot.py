"""Pictures of learning: what is drawn, on which axes, and that nothing else changes."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_wb as wb
from tinygrad_wb.plot.histograms import percentiles, shares

mpl = pytest.importorskip("matplotlib", reason="matplotlib is not installed; [plot] has it")
mpl.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.contour import QuadContourSet  # noqa: E402

X, Y = wb.datasets.moons(120, seed=0)


@pytest.fixture(autouse=True)
def _no_figures_are_left():
    plt.close("all")
    yield
    plt.close("all")


def layers(seed=0):
    return wb.Sequential(wb.Dense(2, 8, "relu", seed=seed), wb.Dropout(0.5, seed=1), wb.Dense(8, 2, seed=2))


def learnt(model=None, epochs=3, **options):
    """A model that has learnt a little, and the record of it."""
    model = model or layers()
    record = wb.plot.Distributions(model)
    optimizer = wb.SGD(model.parameters(), learning_rate=0.1)
    options = {
        "loss": "cross_entropy",
        "optimizer": optimizer,
        "epochs": epochs,
        "seed": 0,
        "progress": False,
    } | options
    history = wb.fit(model, X, Y, callbacks=[record], **options)
    return model, record, history


MODEL, RECORD, HISTORY = learnt()
RATES = wb.find_learning_rate(MODEL, X, Y, loss="cross_entropy", optimizer=wb.Adam(MODEL.parameters()), seed=0)

# Every picture, as a function of the axes.
PICTURES = {
    "training_curve": lambda ax: wb.plot.training_curve(HISTORY, ax=ax),
    "decision_boundary": lambda ax: wb.plot.decision_boundary(MODEL, X, Y, ax=ax),
    "decision_boundary of one score": lambda ax: wb.plot.decision_boundary(lambda x: x[:, 0] - 0.5, X, Y, ax=ax),
    "weights": lambda ax: wb.plot.weights(MODEL[0], ax=ax),
    "weights in shape": lambda ax: wb.plot.weights(MODEL[2], ax=ax, shape=(2, 4)),
    "distributions": lambda ax: wb.plot.distributions(RECORD, "0.weight", ax=ax),
    "distributions of gradients": lambda ax: wb.plot.distributions(RECORD, "2.bias", of="gradient", ax=ax),
    "activations": lambda ax: wb.plot.activations(MODEL, X, ax=ax),
    "confusion": lambda ax: wb.plot.confusion([[9, 1, 0], [2, 7, 1], [0, 0, 0]], ax=ax),
    "confusion of many classes": lambda ax: wb.plot.confusion(np.eye(60, dtype=int) * 1234, ax=ax),
    "confusion of ten": lambda ax: wb.plot.confusion(np.eye(10, dtype=int) * 1234, ax=ax),
    "confusion of names": lambda ax: wb.plot.confusion([[1, 0], [3, 4]], ax=ax, names=["no cat", "cat"]),
    "learning_rates": lambda ax: wb.plot.learning_rates(RATES, ax=ax),
    "activations of many layers": lambda ax: wb.plot.activations(wb.MLP(2, [4] * 9, 1, seed=0), X, ax=ax),
    "activations of small outputs": lambda ax: wb.plot.activations(wb.MLP(2, [4], 1, seed=0), 1e-4 * X, ax=ax),
}


def state(model):
    return pickle.dumps(model), [(name, vars(part).keys()) for name, part in model.named_modules()]


# -- what holds for every picture -------------------------------------------------------------------------------------


def test_every_function_has_its_picture_here():
    functions = {name for name in wb.plot.__all__ if name[0].islower()}
    assert functions == {name.split()[0] for name in PICTURES}


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_it_draws_on_the_axes_that_it_is_given(picture):
    figure, (left, right) = plt.subplots(1, 2)
    assert picture(right) is right
    assert right.has_data()
    assert not left.has_data()
    assert plt.get_fignums() == [figure.number]


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_it_draws_on_axes_of_its_own(picture):
    first = picture(None)
    second = picture(None)
    assert first.figure is not second.figure
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_it_shows_nothing_and_changes_nothing(picture, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("nobody asked to be shown it"))
    settings, before = dict(mpl.rcParams), state(MODEL)
    gradients = [p.grad.copy() for p in MODEL.parameters()]
    modes = [part.training for _, part in MODEL.named_modules()]
    picture(None)
    assert dict(mpl.rcParams) == settings
    assert state(MODEL) == before
    assert [part.training for _, part in MODEL.named_modules()] == modes
    for parameter, gradient in zip(MODEL.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)


def boxes(axis):
    """Where the labels of the ticks that are drawn stand."""
    found = [tick.label1 if tick.label1.get_visible() else tick.label2 for tick in axis._update_ticks()]
    return [label.get_window_extent() for label in found if label.get_text()]


@pytest.mark.parametrize("size", [(3.6, 2.7), (9.0, 6.0)], ids=["small", "large"])
@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_no_text_is_clipped_and_no_labels_touch(picture, size):
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    picture(ax)
    figure.canvas.draw()
    drawn = figure.get_tightbbox()
    assert drawn.x0 >= -0.01
    assert drawn.y0 >= -0.01
    assert drawn.x1 <= size[0] + 0.01
    assert drawn.y1 <= size[1] + 0.01
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            labels = boxes(axis)
            for i, box in enumerate(labels):
                assert not any(box.overlaps(other) for other in labels[i + 1 :])
                assert not box.overlaps(axis.label.get_window_extent()) or not axis.label.get_text()
                assert axes.get_legend() is None or not box.overlaps(axes.get_legend().get_window_extent())


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_it_says_what_its_axes_are(picture):
    ax = picture(None)
    assert ax.get_xlabel()
    assert ax.get_ylabel()


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_without_matplotlib_it_says_how_to_get_it(picture, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'wb\.plot needs matplotlib: .*"tinygrad_wb\[plot\]"'):
        picture(None)


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
def test_it_refuses_axes_that_are_none(picture):
    _, several = plt.subplots(1, 2)
    with pytest.raises(TypeError, match=r"one matplotlib axes.*got ndarray"):
        picture(several)


def test_recording_distributions_needs_no_matplotlib():
    code = "import sys, tinygrad_wb as wb; wb.plot.Distributions(wb.Dense(2, 1)).note(); print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    "name", ["$x", "a$b$c", r"$\frac{$", "two\nlines", "long " * 2000, "_", "%s {} \\"], ids=range(7)
)
def test_hostile_names(name):
    class Hostile(wb.Module):
        def __init__(self):
            self.parts = {name: wb.Dense(2, 2, "relu", seed=0)}
            self.weight = wb.Value(np.ones((2, 2)), name=name)

        def forward(self, x):
            return self.parts[name](x) @ self.weight

    def measure(prediction, y):
        return 1.0

    measure.__name__ = name
    model, record, history = learnt(Hostile(), metrics=[measure])
    path = next(path for path, _ in model.named_parameters() if path.endswith("weight"))
    for ax in (
        wb.plot.training_curve(history),
        wb.plot.weights(model.weight),
        wb.plot.distributions(record, path, of="gradient"),
        wb.plot.activations(model, X),
        wb.plot.confusion([[1, 2], [3, 4]], names=[name, 7]),
    ):
        ax.figure.canvas.draw()
        box = ax.figure.get_tightbbox()
        assert box.x0 > -0.01
        assert box.x1 < ax.figure.get_figwidth() + 0.01


# -- the training curve -------------------------------------------------------------------------------------------------


def test_the_training_curve_is_history_plot():
    ours, its = wb.plot.training_curve(HISTORY), HISTORY.plot()
    assert [line.get_xydata().tolist() for line in ours.get_lines()] == [
        line.get_xydata().tolist() for line in its.get_lines()
    ]
    np.testing.assert_array_equal(ours.get_lines()[0].get_ydata(), HISTORY["loss"])


# -- the confusion matrix -------------------------------------------------------------------------------------------------


def test_counts_stand_where_their_classes_cross():
    matrix = np.array([[5, 0, 1], [2, 3, 0], [0, 0, 0]])
    ax = wb.plot.confusion(matrix, names=["a", "b", "c"])
    written = {tuple(text.get_position()): text.get_text() for text in ax.texts}
    assert written == {(j, i): str(count) for (i, j), count in np.ndenumerate(matrix)}
    np.testing.assert_allclose(ax.images[0].get_array(), [[5 / 6, 0, 1 / 6], [0.4, 0.6, 0], [0, 0, 0]])
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("true", "predicted")
    assert (
        [t.get_text() for t in ax.get_xticklabels()] == [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    )
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first class is the top row"


def test_counts_are_legible_on_dark_and_pale():
    ax = wb.plot.confusion([[9, 1], [0, 0]])
    colors = [mpl.colors.to_hex(text.get_color()) for text in ax.texts]
    assert colors[0] == "#ffffff"
    assert "#ffffff" not in colors[1:]


@pytest.mark.parametrize(
    ("matrix", "names", "error", "message"),
    [
        ([1, 2], None, wb.ShapeError, r"must be of shape \(classes, classes\), got \(2,\)"),
        ([[1, 2]], None, wb.ShapeError, r"got \(1, 2\)"),
        ([[1, 2], [3, 4]], ["a"], wb.ShapeError, "2 classes need as many names, got 1"),
        ([[1, -2], [3, 4]], None, ValueError, "numbers from 0 up"),
        ([["a"]], None, ValueError, "numbers from 0 up"),
        (np.empty((0, 0)), None, wb.ShapeError, r"got \(0, 0\)"),
    ],
)
def test_confusion_refuses(matrix, names, error, message):
    with pytest.raises(error, match=message):
        wb.plot.confusion(matrix, names=names)
    assert not plt.get_fignums()


# -- the decision boundary ------------------------------------------------------------------------------------------------


def line_of(ax):
    """The points of every boundary that was drawn."""
    sets = [c for c in ax.collections if isinstance(c, QuadContourSet) and not c.filled]
    return np.concatenate([path.vertices for c in sets for path in c.get_paths()] or [np.empty((0, 2))])


def regions_of(ax):
    return [c for c in ax.collections if isinstance(c, QuadContourSet) and c.filled]


def points_of(ax):
    """The points that were drawn, by their label in the legend."""
    return {c.get_label(): np.asarray(c.get_offsets()) for c in ax.collections if not isinstance(c, QuadContourSet)}


W, B = np.array([2.0, -1.0]), 0.3
LINEAR = {
    "(n,)": (lambda x: x @ W + B, 0.0),
    "(n, 1)": (lambda x: (x @ W + B)[:, None], 0.0),
    "a Value": (lambda x: wb.Value(x) @ W + B, 0.0),
    "a probability": (lambda x: wb.sigmoid(x @ W + B), 0.5),
    "another threshold": (lambda x: x @ W + B + 7.0, 7.0),
    "two classes": (lambda x: np.stack([np.zeros(len(x)), x @ W + B], axis=1), 0.0),
    "float32": (lambda x: np.float32(x @ W + B), 0.0),
}


@pytest.mark.parametrize(("model", "threshold"), LINEAR.values(), ids=LINEAR)
def test_a_linear_models_boundary_is_its_line(model, threshold):
    ax = wb.plot.decision_boundary(model, X, Y, threshold=threshold)
    line = line_of(ax)
    assert len(line) > 50
    np.testing.assert_allclose(line @ W + B, 0.0, atol=2e-3)
    (x0, x1), (y0, y1) = ax.get_xlim(), ax.get_ylim()
    ends = [line.min(axis=0), line.max(axis=0)]
    assert ends[1][1] == pytest.approx(y1) or ends[1][0] == pytest.approx(x1), "it goes from side to side"
    assert ends[0][1] == pytest.approx(y0) or ends[0][0] == pytest.approx(x0)


def test_the_boundary_of_the_wrong_threshold_is_elsewhere():
    ax = wb.plot.decision_boundary(LINEAR["(n,)"][0], X, Y, threshold=0.5)
    np.testing.assert_allclose(line_of(ax) @ W + B, 0.5, atol=2e-3)


def test_one_score_is_shaded_about_its_threshold():
    model = LINEAR["(n,)"][0]
    ax = wb.plot.decision_boundary(model, X, Y, threshold=0.5)
    (image,) = ax.images
    low, high = image.get_clim()
    assert (low + high) / 2 == pytest.approx(0.5)
    scores = image.get_array()
    x0, x1, y0, y1 = image.get_extent()
    rows, columns = scores.shape
    for i, j in [(0, 0), (10, 150), (199, 3)]:
        at = np.array([[x0 + (j + 0.5) * (x1 - x0) / columns, y0 + (i + 0.5) * (y1 - y0) / rows]])
        assert scores[i, j] == pytest.approx(model(at)[0]), "each pixel stands where it was computed"
    blue, red = image.cmap(1.0), image.cmap(0.0)
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert ax.figure.axes[1].get_ylabel() == "score"


def test_points_stand_where_they_are_by_label():
    drawn = points_of(wb.plot.decision_boundary(layers(), X, Y))
    assert set(drawn) == {"label 0", "label 1"}
    for label in (0, 1):
        np.testing.assert_array_equal(drawn[f"label {label}"], X[Y == label])


@pytest.mark.parametrize("negative", [0, -1])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
@pytest.mark.parametrize("kind", [int, float, wb.Value])
def test_labels_of_one_score(negative, shape, kind):
    y = np.where(Y == 1, 1, negative).reshape(shape)
    y = wb.Value(y) if kind is wb.Value else y.astype(kind)
    drawn = points_of(wb.plot.decision_boundary(lambda x: x[:, 1], wb.Value(X), y))
    np.testing.assert_array_equal(drawn["label 1"], X[Y == 1])
    np.testing.assert_array_equal(drawn[f"label {negative}"], X[Y == 0])


def test_labels_as_booleans_and_as_one_hot_rows():
    assert set(points_of(wb.plot.decision_boundary(lambda x: x[:, 1], X, Y == 1))) == {"label 0", "label 1"}
    drawn = points_of(wb.plot.decision_boundary(layers(), X, np.eye(2)[Y]))
    np.testing.assert_array_equal(drawn["label 1"], X[Y == 1])


def test_yes_is_blue_on_blue_and_no_is_red_on_red():
    for model in (lambda x: x[:, 0], lambda x: np.stack([-x[:, 0], x[:, 0]], axis=1)):
        ax = wb.plot.decision_boundary(model, X, Y)
        colors = {c.get_label(): c.get_facecolor()[0] for c in ax.collections if not isinstance(c, QuadContourSet)}
        assert colors["label 1"][2] > colors["label 1"][0]
        assert colors["label 0"][0] > colors["label 0"][2]
        for region, label in zip(regions_of(ax), ("label 0", "label 1"), strict=False):
            np.testing.assert_allclose(region.get_facecolor()[0][:3], colors[label][:3])


def test_three_classes_have_three_regions_that_meet_where_the_largest_two_scores_are_equal():
    centres = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])

    def nearest(x):
        return -((x[:, None] - centres) ** 2).sum(axis=-1)

    x = np.repeat(centres, 5, axis=0) + np.random.default_rng(0).normal(size=(15, 2)) * 0.3
    ax = wb.plot.decision_boundary(nearest, x, np.repeat([0, 1, 2], 5))
    regions = regions_of(ax)
    assert len(regions) == 3
    for c, region in enumerate(regions):
        assert [path.contains_point(centre) for path in region.get_paths() for centre in centres] == [
            other == c for other in range(3)
        ]
    scores = np.sort(nearest(line_of(ax)), axis=1)
    gap = scores[:, -1] - scores[:, -2]
    assert np.median(gap) < 1e-6
    assert gap.max() < 0.5, "where three meet, the grid rounds the corner"


def test_classes_that_win_nowhere_and_scores_that_never_cross():
    ax = wb.plot.decision_boundary(lambda x: np.stack([x[:, 0], x[:, 1], x[:, 0] - 1.0], axis=1), X, Y)
    assert len(regions_of(ax)) == 2
    ax = wb.plot.decision_boundary(lambda x: x[:, 0] ** 2 + 1.0, X, Y)
    assert not len(line_of(ax))


def test_many_classes_can_be_told_apart():
    angles = np.arange(12) * np.pi / 6
    centres = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ax = wb.plot.decision_boundary(lambda x: x @ centres.T, centres * 2.0, np.arange(12))
    scatters = [c for c in ax.collections if not isinstance(c, QuadContourSet)]
    looks = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in scatters}
    assert len(looks) == 12


def test_the_model_is_asked_as_it_is_in_use_and_put_back():
    model, seen = layers().train(), []

    class Watched(wb.Module):
        def __init__(self):
            self.inner = model

        def forward(self, x):
            y = self.inner(x)
            seen.append((self.inner[1].training, type(y) is wb.Value and y.op is None))
            return y

    watched = Watched()
    wb.plot.decision_boundary(watched, X, Y)
    assert set(seen) == {(False, True)}, "in use, and nothing recorded"
    assert all(part.training for _, part in watched.named_modules())


def test_the_model_is_put_back_when_it_raises():
    class Broken(wb.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    model = Broken()
    with pytest.raises(RuntimeError, match="broken"):
        wb.plot.decision_boundary(model, X, Y)
    assert model.training
    assert wb.Value(2.0).exp().op is not None, "recording is on again"


def test_points_in_one_place_or_on_a_line():
    for x in (X[:1], np.stack([X[:, 0], np.zeros(len(X))], axis=1)):
        ax = wb.plot.decision_boundary(lambda x: x[:, 1], x, Y[: len(x)])
        assert ax.get_ylim()[1] - ax.get_ylim()[0] > 0.1


def test_the_dtype_of_the_points_is_kept():
    model = wb.Dense(2, 1, seed=0, dtype="float32")
    seen = []
    wb.plot.decision_boundary(lambda x: seen.append(x.dtype) or model(x), X.astype(np.float32), Y)
    assert set(seen) == {np.dtype("float32")}


BOUNDARY_REFUSED = {
    "x of three inputs": (layers, np.ones((5, 3)), np.ones(5), {}, wb.ShapeError, r"points \(n, 2\), got shape \(5, 3\)"),
    "x of three axes": (layers, np.ones((5, 2, 2)), np.ones(5), {}, wb.ShapeError, r"got shape \(5, 2, 2\)"),
    "no points": (layers, np.ones((0, 2)), np.ones(0), {}, wb.ShapeError, r"got shape \(0, 2\)"),
    "nan in x": (layers, np.full((5, 2), np.nan), np.ones(5), {}, ValueError, "without nan"),
    "words in x": (layers, np.full((5, 2), "a"), np.ones(5), {}, ValueError, "must hold numbers"),
    "too few labels": (layers, X, Y[:-1], {}, wb.ShapeError, r"120 points need as many labels, got y of shape \(119,\)"),
    "a label without a score": (layers, X, Y + 1, {}, ValueError, "2 scores: labels are 0 … 1; y has .*2"),
    "fractions": (layers, X, Y + 0.5, {}, ValueError, r"y has .*0\.5"),
    "three labels for one score": (
        lambda: lambda x: x[:, 0], X, np.arange(120) % 3, {}, ValueError, "one score: labels are 0 or -1, and 1; y has .*2",
    ),
    "a threshold for classes": (layers, X, Y, {"threshold": 0.5}, ValueError, "is for one score, the model gives 2"),
    "one number for all": (lambda: lambda x: 1.0, X, Y, {}, wb.ShapeError, r"one score each.*gave shape \(\)"),
    "scores of three axes": (lambda: lambda x: x[..., None], X, Y, {}, wb.ShapeError, "one score each"),
    "lost weights": (lambda: lambda x: x[:, 0] * np.nan, X, Y, {}, ValueError, "nan or inf here; are its weights finite"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "x", "y", "options", "error", "message"), BOUNDARY_REFUSED.values(), ids=BOUNDARY_REFUSED
)
def test_decision_boundary_refuses(model, x, y, options, error, message):
    with pytest.raises(error, match=message):
        wb.plot.decision_boundary(model(), x, y, **options)
    assert not plt.get_fignums(), "no empty figure is left behind"


# -- weights ------------------------------------------------------------------------------------------------------------


def test_a_layers_weights_are_one_image():
    layer = wb.Dense(7, 3, seed=0)
    for ax in (wb.plot.weights(layer), wb.plot.weights(layer.weight), wb.plot.weights(layer.weight.data)):
        (image,) = ax.images
        np.testing.assert_array_equal(image.get_array(), layer.weight.data)
        low, high = image.get_clim()
        assert low == -high, "white is 0"
        assert (ax.get_xlabel(), ax.get_ylabel()) == ("neuron", "input")


def test_the_colour_scale_has_the_parameters_name():
    ax = wb.plot.weights(MODEL[2])
    assert ax.figure.axes[1].get_ylabel() == "2.weight"


def test_a_bias_is_one_row():
    ax = wb.plot.weights(wb.Value([1.0, -2.0, 0.5], name="bias"))
    np.testing.assert_array_equal(ax.images[0].get_array(), [[1.0, -2.0, 0.5]])
    assert ax.images[0].get_clim() == (pytest.approx(-2.0, rel=0.02), pytest.approx(2.0, rel=0.02))
    assert not ax.get_yticks().size


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 6))
def test_every_neuron_has_its_picture_in_the_mosaic(neurons, height, width):
    weight = np.arange(1.0, neurons * height * width + 1).reshape(neurons, height * width).T
    ax = wb.plot.weights(weight, shape=(height, width))
    mosaic = ax.images[0].get_array().filled(np.nan)
    rows, columns = (mosaic.shape[0] + 1) // (height + 1), (mosaic.shape[1] + 1) // (width + 1)
    assert (rows - 1) * columns < neurons <= rows * columns
    for neuron in range(neurons):
        top, left = (height + 1) * (neuron // columns), (width + 1) * (neuron % columns)
        np.testing.assert_array_equal(
            mosaic[top : top + height, left : left + width], weight[:, neuron].reshape(height, width)
        )
    assert np.isfinite(mosaic).sum() == weight.size, "all else is gaps"
    for place, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
        top = (height + 1) * (int(label.get_text()) // columns)
        assert int(label.get_text()) % columns == 0
        assert top - 0.5 <= place <= top + height - 0.5
    plt.close(ax.figure)


def test_the_mosaic_fits_the_axes():
    weight = np.ones((64, 100))
    _, (wide, tall) = plt.subplots(1, 2, gridspec_kw={"width_ratios": [5, 1]}, figsize=(12, 3))
    of_wide = wb.plot.weights(weight, ax=wide, shape=(8, 8)).images[0].get_array().shape
    of_tall = wb.plot.weights(weight, ax=tall, shape=(8, 8)).images[0].get_array().shape
    assert of_wide[1] > of_wide[0]
    assert of_tall[1] < of_tall[0]


def test_one_neurons_weights_in_shape():
    weight = np.arange(6.0)
    np.testing.assert_array_equal(wb.plot.weights(weight, shape=(2, 3)).images[0].get_array(), weight.reshape(2, 3))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_convolutions_filters_are_pictures(channels):
    layer = wb.Conv2d(channels, 8, (2, 3), seed=0)
    for ax in (wb.plot.weights(layer), wb.plot.weights(layer.weight.data)):
        mosaic = ax.images[0].get_array().filled(np.nan)
        columns = (mosaic.shape[1] + 1) // 4
        assert columns == channels or channels == 1, "of several channels, each filter has a row"
        for filter, channel in np.ndindex(8, channels):
            picture = filter * channels + channel
            top, left = 3 * (picture // columns), 4 * (picture % columns)
            np.testing.assert_array_equal(mosaic[top : top + 2, left : left + 3], layer.weight.data[filter, channel])
        assert np.isfinite(mosaic).sum() == layer.weight.size
        for place, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True):
            assert int(label.get_text()) * channels == columns * int(place // 3)
        assert ax.get_ylabel() == "filter"
        assert ax.get_xlabel() == "2 × 3 weights each" + (", 3 channels" if channels == 3 else "")


def test_a_few_large_weights_do_not_make_the_rest_pale():
    weight = np.random.default_rng(0).normal(size=(100, 20))
    weight[0, 0] = 1e6
    ax = wb.plot.weights(weight)
    assert ax.images[0].get_clim()[1] < 5.0
    assert ax.images[0].colorbar.extend == "both"
    assert wb.plot.weights(np.sign(weight)).images[0].colorbar.extend == "neither"


@pytest.mark.parametrize(
    "weight", [np.zeros((3, 2)), np.eye(500), np.full((3, 2), np.nan)], ids=["0", "nearly 0", "nan"]
)
def test_weights_with_little_to_see(weight):
    ax = wb.plot.weights(weight)
    assert ax.images[0].get_clim() == (-1.0, 1.0)
    ax.figure.canvas.draw()


def test_lost_weights_are_counted():
    ax = wb.plot.weights(np.array([[1.0, np.nan], [np.inf, 2.0]]))
    assert ax.figure.axes[1].get_ylabel() == "weight (2 nan or inf)"


WEIGHTS_REFUSED = {
    "a model": (layers(), {}, TypeError, r"Sequential has no weight of its own.*0\.weight, 0\.bias, 2\.weight"),
    "a layer without": (wb.Dropout(0.1), {}, TypeError, r"Dropout has no weight of its own.*\(none\)"),
    "words": ("hidden", {}, TypeError, "a layer, or weights as a Value or array, got str"),
    "three axes": (np.ones((2, 2, 2)), {}, wb.ShapeError, r"two axes.*got shape \(2, 2, 2\)"),
    "a part of a convolution": (wb.Conv2d(1, 2, 3), {"shape": (2, 2)}, wb.ShapeError, r"shape=\(2, 2\).* = 9 inputs"),
    "nothing": (np.ones((0, 2)), {}, wb.ShapeError, r"got shape \(0, 2\)"),
    "a number": (wb.Value(2.0), {}, wb.ShapeError, r"got shape \(\)"),
    "too small a shape": (np.ones((60, 2)), {"shape": (8, 8)}, wb.ShapeError, r"shape=\(8, 8\).* = 60 inputs"),
    "a length": (np.ones((64, 2)), {"shape": 8}, wb.ShapeError, r"shape=8 must be \(height, width\)"),
    "three lengths": (np.ones((64, 2)), {"shape": (4, 4, 4)}, wb.ShapeError, r"must be \(height, width\)"),
    "negative lengths": (np.ones((64, 2)), {"shape": (-8, -8)}, wb.ShapeError, r"must be \(height, width\)"),
}  # fmt: skip


@pytest.mark.parametrize(("layer", "options", "error", "message"), WEIGHTS_REFUSED.values(), ids=WEIGHTS_REFUSED)
def test_weights_refuses(layer, options, error, message):
    with pytest.raises(error, match=message):
        wb.plot.weights(layer, **options)
    assert not plt.get_fignums()


# -- distributions over epochs --------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_percentiles_are_a_histogram(numbers):
    kept = percentiles(numbers)
    assert kept.shape == (101,)
    assert (kept[0], kept[-1]) == (min(numbers), max(numbers))
    assert kept[50] == pytest.approx(np.median(numbers))
    edges = np.linspace(min(numbers) - 1.0, max(numbers) + 1.0, 21)
    assert shares(kept, edges).sum() == pytest.approx(100.0)
    assert (shares(kept, edges) >= 0.0).all()


def test_shares_are_those_of_a_histogram():
    numbers = np.concatenate([np.random.default_rng(0).normal(size=3000), np.zeros(1000)])
    edges = np.linspace(-3.05, 3.05, 12)
    np.testing.assert_allclose(
        shares(percentiles(numbers), edges), np.histogram(numbers, edges)[0] / len(numbers) * 100.0, atol=2.0
    )


def test_numbers_that_are_none_have_no_percentiles():
    assert np.isnan(percentiles(None)).all()
    assert np.isnan(percentiles([np.nan, np.inf])).all()
    np.testing.assert_array_equal(percentiles([np.nan, 2.0, np.inf]), np.full(101, 2.0))


@pytest.mark.parametrize("compile", [True, False])
def test_after_each_epoch_parameters_and_gradients_are_noted(compile):
    model, seen = layers(), []
    record = wb.plot.Distributions(model)

    def look(training):
        seen.append({name: (p.data.copy(), p.grad.copy()) for name, p in model.named_parameters()})

    start = {name: p.data.copy() for name, p in model.named_parameters()}
    options = {"loss": "cross_entropy", "epochs": 4, "seed": 0, "progress": False, "compile": compile}
    wb.fit(model, X, Y, optimizer=wb.Adam(model.parameters()), callbacks=[record, look], **options)
    assert record.epochs == 4
    assert len(record.notes) == 5
    for name, data in start.items():
        note = record.notes[0][name]
        np.testing.assert_array_equal(note["parameter"], percentiles(data))
        assert np.isnan(note["gradient"]).all(), "there is no gradient before training"
    for note, epoch in zip(record.notes[1:], seen, strict=True):
        assert set(note) == set(epoch)
        for name, (data, gradient) in epoch.items():
            np.testing.assert_array_equal(note[name]["parameter"], percentiles(data))
            np.testing.assert_array_equal(note[name]["gradient"], percentiles(gradient))
            assert np.ptp(gradient) > 0.0
    assert not np.array_equal(record.notes[1]["0.weight"]["gradient"], record.notes[2]["0.weight"]["gradient"])


def test_another_fit_goes_on_where_the_one_before_ended():
    model, record, _ = learnt()
    options = {"loss": "cross_entropy", "epochs": 2, "progress": False}
    wb.fit(model, X, Y, optimizer=wb.SGD(model.parameters()), callbacks=[record], **options)
    assert record.epochs == 5
    assert repr(record) == "<Distributions of 0.weight, 0.bias, 2.weight, 2.bias over 5 epochs>"


def test_memory_is_bounded_by_the_percentiles():
    model = wb.Dense(1000, 500)
    record = wb.plot.Distributions(model)
    for _ in range(3):
        record.note()
    arrays = [kept for note in record.notes for of in note.values() for kept in of.values()]
    assert len(arrays) == 3 * 2 * 2
    assert sum(kept.nbytes for kept in arrays) < 12 * 1000
    assert all(kept.base is None for kept in arrays), "no view keeps the weights themselves"


@pytest.mark.parametrize("of", ["parameter", "gradient"])
def test_the_picture_has_the_median_and_percentiles_of_each_epoch(of):
    ax = wb.plot.distributions(RECORD, "0.weight", of=of)
    first = 0 if of == "parameter" else 1
    noted = np.array([note["0.weight"][of] for note in RECORD.notes[first:]])
    for line, percent in zip(ax.get_lines(), (50, 5, 95), strict=True):
        np.testing.assert_array_equal(line.get_xdata(), np.arange(first, 4))
        np.testing.assert_array_equal(line.get_ydata(), noted[:, percent])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["median", "5 %, 95 %"]
    assert ax.get_xlabel() == "epoch"
    assert ax.get_ylabel() == {"parameter": "0.weight", "gradient": "∂Loss/∂0.weight"}[of]


def test_each_epochs_column_is_its_histogram():
    ax = wb.plot.distributions(RECORD, "0.weight")
    (image,) = ax.images
    left, right, bottom, top = image.get_extent()
    assert (left, right) == (-0.5, 3.5), "epochs 0 to 3, each around its number"
    edges = np.linspace(bottom, top, len(image.get_array()) + 1)
    for epoch, column in enumerate(image.get_array().T):
        np.testing.assert_allclose(column, shares(RECORD.notes[epoch]["0.weight"]["parameter"], edges))
        assert 95.0 <= column.sum() <= 100.001, "at most the outermost percent at each end is outside"


def test_a_distribution_that_moves_is_seen_to_move():
    model = wb.Dense(10, 100, seed=0)
    record = wb.plot.Distributions(model)
    for shift in range(5):
        model.weight.data = np.random.default_rng(0).normal(size=(10, 100)) + 10.0 * shift
        record.note()
    table = wb.plot.distributions(record, "weight").images[0].get_array()
    fullest = table.argmax(axis=0)
    assert (np.diff(fullest) > 5).all()


def test_lost_weights_leave_a_gap():
    model = wb.Dense(3, 3, seed=0)
    record = wb.plot.Distributions(model)
    record.note()
    before = model.weight.data
    model.weight.data = np.full((3, 3), np.nan)
    record.note()
    model.weight.data = before
    record.note()
    ax = wb.plot.distributions(record, "weight")
    table = ax.images[0].get_array().filled(np.nan)
    assert np.isnan(table).all(axis=0).tolist() == [False, True, False]
    assert np.isnan(ax.get_lines()[0].get_ydata()).tolist() == [False, True, False]


@pytest.mark.parametrize("notes", [1, 2])
def test_numbers_that_are_all_equal(notes):
    record = wb.plot.Distributions(wb.Dense(3, 3))
    for _ in range(notes):
        record.note()
    ax = wb.plot.distributions(record, "bias")
    assert ax.images[0].get_array().sum() == pytest.approx(100.0 * notes)
    ax.figure.canvas.draw()


def test_distributions_refuses():
    with pytest.raises(
        ValueError, match=r"unknown parameter '0\.wieght': did you mean '0\.weight'\? There are: 0\.bias, 0\.w"
    ):
        wb.plot.distributions(RECORD, "0.wieght")
    with pytest.raises(ValueError, match='of=\'weights\'; it is "parameter" or "gradient"'):
        wb.plot.distributions(RECORD, "0.weight", of="weights")
    with pytest.raises(TypeError, match=r"must be a wb\.plot\.Distributions, got <History"):
        wb.plot.distributions(HISTORY, "0.weight")
    fresh = wb.plot.Distributions(layers())
    with pytest.raises(ValueError, match=r"nothing was noted yet; give the record to fit\(…, callbacks=\[record\]\)"):
        wb.plot.distributions(fresh, "0.weight")
    fresh.note()
    with pytest.raises(ValueError, match=r"no gradient of '0\.weight' was noted"):
        wb.plot.distributions(fresh, "0.weight", of="gradient")
    with pytest.raises(TypeError, match="must be a Module, whose parameters have names"):
        wb.plot.Distributions(lambda x: x)
    assert not plt.get_fignums()


# -- activations ------------------------------------------------------------------------------------------------------------


def captions(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def fixed(weight, bias, activation):
    """A Dense layer of given numbers."""
    weight = np.asarray(weight, float)
    return wb.Dense(
        *weight.shape, activation, weight_init=lambda *_: weight, bias_init=lambda *_: np.asarray(bias, float)
    )


def rows_of(ax, color):
    """The outlines of histograms in a colour, as (low, high, largest height)."""
    found = []
    for patch in ax.patches:
        if mpl.colors.same_color(patch.get_facecolor(), color):
            values, edges, baseline = patch.get_data()
            filled = values > baseline
            found.append((edges[:-1][filled].min(), edges[1:][filled].max(), (values - baseline).max()))
    return found


BLUE, VERMILION = "#56b4e9", "#d55e00"


def test_each_layer_is_a_row_in_order():
    model = wb.Sequential(
        wb.Dense(2, 4, seed=0), wb.Sequential("relu", wb.Dropout(0.5)), wb.Dense(4, 1, "tanh", seed=1)
    )
    ax = wb.plot.activations(model, X)
    assert [text.split("\n")[0] for text in captions(ax)] == ["0", "1.0 relu", "2 tanh"], "Dropout passes everything on"
    assert ax.yaxis_inverted()
    first = model[0](X).data
    assert rows_of(ax, BLUE)[0][0] == pytest.approx(first.min(), abs=0.15)
    assert rows_of(ax, BLUE)[0][1] == pytest.approx(first.max(), abs=0.15)
    medians = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert medians[0].get_xdata() == pytest.approx([np.median(first)])


def test_dead_units_are_counted_and_marked():
    model = fixed(np.ones((2, 4)), [-100.0, 0.0, 100.0, -100.0], "relu")
    ax = wb.plot.activations(model, X)
    assert captions(ax) == ["Dense relu\n2 of 4 dead"]
    ((low, high, _),) = rows_of(ax, VERMILION)
    assert low <= 0.0 <= high
    assert high - low < 0.2, "dead is 0, and nothing else"
    assert "dead or saturated" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_unit_that_is_0_for_some_inputs_is_not_dead():
    ax = wb.plot.activations(fixed([[1.0], [0.0]], [0.0], "relu"), np.array([[-1.0, 0.0], [1.0, 0.0]]))
    assert captions(ax) == ["Dense relu\n0 of 1 dead"]
    assert not rows_of(ax, VERMILION)
    assert "dead or saturated" not in [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize(("function", "middle"), [("tanh", 0.0), ("sigmoid", 0.5)])
def test_saturated_outputs_are_counted_by_their_slope(function, middle):
    x = np.linspace(-20.0, 20.0, 200).reshape(-1, 1)
    slope = wb.grad(lambda v: getattr(wb, function)(v).sum())(x)
    flat = (slope < 0.05 * slope.max()).mean()
    ax = wb.plot.activations(wb.Activation(function), x)
    assert captions(ax) == [f"Activation {function}\n{flat:.1%} saturated"]
    assert 0.5 < flat < 1.0
    ax = wb.plot.activations(wb.Activation(function), x * 0.01)
    assert captions(ax) == [f"Activation {function}\n0.0% saturated"]
    (shown,) = rows_of(ax, BLUE)
    assert shown[0] < middle < shown[1]


def test_a_layer_without_such_a_function_is_not_marked():
    ax = wb.plot.activations(wb.Sequential(wb.Dense(2, 3, seed=0), lambda x: x * 0.0), X)
    assert captions(ax) == ["0", "1 <lambda>"]
    assert not rows_of(ax, VERMILION)


def test_a_layer_that_is_called_twice_is_one_row():
    class Twice(wb.Module):
        def __init__(self):
            self.cell = fixed(np.eye(2), [-0.5, -0.5], "relu")

        def forward(self, x):
            return self.cell(self.cell(x) - 100.0)

    ax = wb.plot.activations(Twice(), np.ones((3, 2)))
    assert captions(ax) == ["cell relu\n0 of 2 dead"], "dead means at every call"


def test_a_function_that_serves_layers_of_two_widths_has_two_rows():
    relu = wb.Activation("relu")
    model = wb.Sequential(wb.Dense(2, 3, seed=0), relu, wb.Dense(3, 5, seed=0), relu)
    assert [text.split("\n")[0] for text in captions(wb.plot.activations(model, X))] == ["0", "1 relu", "2", "1 relu"]


def test_images_and_sequences_of_inputs():
    x = np.random.default_rng(0).normal(size=(5, 7, 2))
    assert captions(wb.plot.activations(fixed(np.ones((2, 3)), [-100.0, 0.0, 0.0], "relu"), wb.Value(x))) == [
        "Dense relu\n1 of 3 dead"
    ]


def test_lost_outputs_are_counted():
    model = wb.Sequential(fixed(np.ones((2, 2)), [np.nan, 0.0], None), wb.Dense(2, 1))
    ax = wb.plot.activations(model, X)
    assert captions(ax) == ["0\n50.0% nan or inf", "1\n100.0% nan or inf"]
    ax.figure.canvas.draw()


def test_layers_are_heard_as_they_are_in_use_and_nothing_is_recorded():
    seen = []

    class Watching(wb.Module):
        def forward(self, x):
            seen.append((self.training, (wb.Value(1.0) * 2.0).op))
            return x * 2.0

    wb.plot.activations(Watching(), X)
    assert seen == [(False, None)]


def test_nothing_is_left_in_the_layers_even_if_one_raises():
    class Broken(wb.Module):
        def forward(self, x):
            raise RuntimeError("broken")

    model = wb.Sequential(wb.Dense(2, 3, seed=0), Broken()).train()
    own = model[0].forward
    object.__setattr__(model[0], "forward", own)  # a layer may have one of its own
    before = state_of_parts(model)
    with pytest.raises(RuntimeError, match="broken"):
        wb.plot.activations(model, X)
    assert state_of_parts(model) == before
    assert model[0].forward is own
    assert "forward" not in vars(model[1])
    assert model.training
    assert wb.Value(2.0).exp().op is not None, "recording is on again"


def state_of_parts(model):
    """All attributes, without the notes of a Module about itself, such as that it was called."""
    return [(path, [(n, x) for n, x in vars(part).items() if n[0] != "_"]) for path, part in model.named_modules()]


def test_a_compiled_step_does_not_notice():
    model = wb.Dense(2, 1, "tanh", seed=0)
    step = wb.compile(lambda x: (model(x) ** 2).sum())
    for _ in range(3):
        expected = step(X).data
    assert step.replaying
    wb.plot.activations(model, X)
    assert step(X).data == expected
    assert step.replaying


def test_activations_refuses():
    with pytest.raises(TypeError, match="must be a Module, whose layers can be found"):
        wb.plot.activations(lambda x: x, X)

    class Idle(wb.Module):
        def __init__(self):
            self.inner = wb.Dense(2, 1)

        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="the layers of the Idle gave no numbers; does it call them"):
        wb.plot.activations(Idle(), X)
    with pytest.raises(wb.ShapeError, match="takes 2 inputs"):
        wb.plot.activations(layers(), np.ones((4, 3)))
    assert not plt.get_fignums()
