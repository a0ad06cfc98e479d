"""Models, optimizers, programs, histories and pictures go to other processes and come back whole."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb import optimizers

X, Y = wb.datasets.moons(40, seed=0)
COPIERS = {
    **{f"pickle {n}": lambda x, n=n: pickle.loads(pickle.dumps(x, n)) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)},
    "deepcopy": copy.deepcopy,
}
OPTIMIZERS = {
    "SGD": lambda p: wb.SGD(p, wb.StepDecay(0.1, 3), momentum=0.9),
    "Adam": lambda p: wb.Adam(p, wb.WarmUp(3, wb.CosineDecay(0.1, 9)), clip_norm=0.5),
    "AdamW": wb.AdamW,
    "RMSprop": lambda p: wb.RMSprop(p, momentum=0.5),
    "Adagrad": wb.Adagrad,
}


def elsewhere(code, thing, tmp_path):
    """What ``code`` makes of ``thing``, as ``result``, in a process of its own that has seen nothing of it before."""
    path = tmp_path / "thing.pickle"
    path.write_bytes(pickle.dumps(thing))
    program = (
        f"import pickle, sys\nwith open({str(path)!r}, 'rb') as file:\n    thing = pickle.load(file)\n{code}\n"
        f"with open({str(path)!r}, 'wb') as file:\n    pickle.dump(result, file)"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(wb.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    return pickle.loads(path.read_bytes())


def steps(model, optimizer, count, compile=False):
    def loss_of(x):
        return wb.cross_entropy(model(x), Y)

    loss_of = wb.compile(loss_of) if compile else loss_of
    for _ in range(count):
        loss = loss_of(X)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss


def bits(model):
    return [np.asarray(p.data).tobytes() for p in model.parameters()]


# -- models and optimizers ----------------------------------------------------------------------------------------------


def test_every_optimizer_is_here():
    assert OPTIMIZERS.keys() == set(optimizers.__all__) - {"Optimizer"}


@pytest.mark.parametrize("copied", COPIERS.values(), ids=COPIERS)
@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "as it is"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_model_in_training_goes_on_as_it_would_have(name, compile, copied):
    model = wb.Sequential(wb.Dense(2, 8, "tanh", seed=0), wb.Dropout(0.2, seed=1), wb.Dense(8, 2, seed=2))
    optimizer = OPTIMIZERS[name](model.parameters())
    steps(model, optimizer, 8, compile)
    model_2, optimizer_2 = copied((model, optimizer))
    assert optimizer_2.parameters == model_2.parameters(), "they are the same Values, as before"
    assert bits(model_2) == bits(model)
    steps(model, optimizer, 5)
    assert bits(model_2) != bits(model), "a copy is a copy"
    steps(model_2, optimizer_2, 5)
    assert bits(model_2) == bits(model)
    assert repr(optimizer_2) == repr(optimizer)


def test_pickling_does_not_disturb_training():
    model, other = wb.MLP(2, [4], 2, seed=0), wb.MLP(2, [4], 2, seed=0)
    for each, pickled in ((model, True), (other, False)):
        optimizer = wb.Adam(each.parameters())
        for _ in range(4):
            steps(each, optimizer, 4, compile=True)
            if pickled:
                pickle.dumps((each, optimizer))
    assert bits(model) == bits(other)


def test_a_model_in_training_elsewhere(tmp_path):
    model = wb.MLP(2, [8], 2, activation="tanh", seed=0)
    optimizer = wb.Adam(model.parameters(), wb.CosineDecay(0.1, 20))
    steps(model, optimizer, 6, compile=True)
    code = (
        "import tinygrad_wb as wb\nmodel, optimizer, x, y = thing\n"
        "for _ in range(4):\n    loss = wb.cross_entropy(model(x), y); optimizer.zero_grad(); loss.backward(); optimizer.step()\n"
        "result = [p.data.tobytes() for p in model.parameters()]"
    )
    there = elsewhere(code, (model, optimizer, X, Y), tmp_path)
    steps(model, optimizer, 4)
    assert there == bits(model)


def test_a_copy_is_told_by_its_own_size():
    """Parameters that stand side by side do not take the whole buffer along, nor a gradient its neighbours'."""
    model = wb.Sequential(*[wb.Dense(20, 20, seed=i) for i in range(10)], wb.Dense(20, 2))
    optimizer = wb.SGD(model.parameters())

    def loss_of(x):
        return wb.sum(model(x))

    loss_of = wb.compile(loss_of)
    for _ in range(6):
        loss = loss_of(np.ones((1, 20)))
        loss.backward()
        optimizer.step()
    assert len(pickle.dumps(model[-1].bias)) < 600


# -- histories, callbacks -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def history():
    model = wb.MLP(2, [8], 2, seed=0)
    return wb.fit(
        model, X, Y, loss="cross_entropy", optimizer=wb.SGD(model.parameters()), epochs=3, validation=(X, Y),
        metrics=["accuracy"], progress=False, seed=0,
    )  # fmt: skip


@pytest.mark.parametrize("copied", COPIERS.values(), ids=COPIERS)
def test_histories(history, copied):
    other = copied(history)
    assert vars(other) == vars(history)
    assert repr(other) == repr(history)
    other["loss"].append(1.0)
    assert len(history) == 3


def test_a_history_elsewhere(history, tmp_path):
    assert elsewhere("result = (dict(thing), thing.batch_losses, repr(thing))", history, tmp_path) == (
        dict(history), history.batch_losses, repr(history)
    )  # fmt: skip


def test_callbacks_and_their_state():
    stopping = wb.EarlyStopping("loss", patience=3)
    model = wb.MLP(2, [4], 2, seed=0)
    wb.fit(
        model,
        X,
        Y,
        loss="cross_entropy",
        optimizer=wb.SGD(model.parameters()),
        epochs=2,
        callbacks=[stopping],
        progress=False,
    )
    other = pickle.loads(pickle.dumps(stopping))
    assert (other.best, other.best_epoch) == (stopping.best, stopping.best_epoch)
    assert [np.asarray(w.data).tolist() for w in other.weights] == [
        np.asarray(w.data).tolist() for w in stopping.weights
    ]


# -- programs -----------------------------------------------------------------------------------------------------------------


def programs():
    w, x = wb.Value(3.0, name="w"), wb.Value([1.0, 2.0], name="x")
    yield "numbers", (w * 2.0 - 1.0) ** 2
    yield "an array", wb.tanh(w * x)
    model = wb.Sequential(wb.Dense(2, 8, "gelu", seed=0), wb.Dropout(0.5, seed=0), wb.Dense(8, 2, seed=1))
    with wb.source_lines():
        yield "a network with its lines", wb.cross_entropy(model(X), Y)
    deep = w
    for _ in range(3000):
        deep = deep * 0.999
    yield "a deep chain", deep


@pytest.mark.parametrize("copied", [COPIERS["pickle 5"], copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize(("name", "result"), list(programs()), ids=lambda x: x if isinstance(x, str) else "")
def test_programs(name, result, copied, tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = result.program()
    other = copied(copied(program))
    other.check()
    assert (other.source, other.fast_source, str(other), repr(other)) == (
        program.source, program.fast_source, str(program), repr(program)
    )  # fmt: skip
    told, told_2 = program.run(), other.run()
    assert np.array_equal(told[0], told_2[0])
    assert all(np.array_equal(told[1][name], told_2[1][name]) for name in told[1])
    assert other.save(tmp_path / "a.py").read_text() == program.save(tmp_path / "b.py").read_text()
    assert np.array_equal(other.debug()[0], told[0])
    assert capfd.readouterr().out.strip() == str(other.path)


def test_a_program_elsewhere(tmp_path):
    loss = wb.cross_entropy(wb.MLP(2, [4], 2, seed=0)(X), Y)
    program = loss.program()
    code = "thing.check()\nvalue, gradients = thing.run()\nresult = (value, gradients, thing.source, str(thing.path.parent))"
    value, gradients, source, folder = elsewhere(code, program, tmp_path)
    assert value == program.run()[0]
    assert all(np.array_equal(gradients[name], d) for name, d in program.run()[1].items())
    assert source == program.source
    assert Path(folder) == tmp_path / ".tinygrad_wb", "it is written where that process works"


def test_a_pickled_program_still_finds_what_is_wrong():
    program = pickle.loads(pickle.dumps(((wb.Value(3.0, name="w") * 2.0 - 1.0) ** 2).program()))
    program._lines[-1].text = "1.0"
    with pytest.raises(wb.GradientError, match="differs from backward"):
        program.check()


def test_a_program_whose_numbers_are_old():
    w = wb.Value(3.0, name="w")
    program = (w * w).program()
    w.data = 4.0
    other = pickle.loads(pickle.dumps(program))
    assert other.run() == program.run() == (9.0, {"w": 6.0})
    for each in (program, other):
        with pytest.raises(wb.StaleGraphError):
            each.check()


# -- pictures, compiled functions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied", COPIERS.values(), ids=COPIERS)
def test_pictures(copied):
    loss = wb.cross_entropy(wb.MLP(2, [4], 2, seed=0)(X), Y)
    loss.backward()
    drawing = wb.draw(loss, color="gradient")
    other = copied(drawing)
    assert other == drawing
    assert (other.dot, other.mermaid, other.text) == (drawing.dot, drawing.mermaid, drawing.text)


def test_a_picture_elsewhere(tmp_path):
    drawing = wb.draw(wb.tanh(wb.Value(1.0, name="x")))
    assert elsewhere("result = (thing.dot, thing.text)", drawing, tmp_path) == (drawing.dot, drawing.text)


def doubled(x):
    return x * 2.0


def test_compiled_functions_and_models():
    assert pickle.loads(pickle.dumps(wb.compile(doubled)))(3.0) == 6.0
    model = wb.compile(wb.MLP(2, [4], 2, seed=0))
    for _ in range(4):
        found = model(X)
    assert np.array_equal(pickle.loads(pickle.dumps(model))(X).data, found.data)


# -- many at once -------------------------------------------------------------------------------------------------------------


def trained(seed):
    model = wb.MLP(2, [4], 2, seed=seed)
    history = wb.fit(
        model, X, Y, loss="cross_entropy", optimizer=wb.Adam(model.parameters()), epochs=3, seed=seed, progress=False
    )
    return model, history


def test_joblib():
    joblib = pytest.importorskip("joblib", reason="joblib is not installed; a sweep is sent out by it")
    found = joblib.Parallel(n_jobs=2)(joblib.delayed(trained)(seed) for seed in range(4))
    for seed, (model, history) in enumerate(found):
        model_2, history_2 = trained(seed)
        assert bits(model) == bits(model_2)
        assert vars(history) == vars(history_2)
