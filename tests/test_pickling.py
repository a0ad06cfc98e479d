"""Models, optimizers, programs, histories and pictures go to other processes and come back whole."""

import copy
import importlib
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
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


class Holder(wb.Module):
    """Holds modules in all ways, one of them twice, and one that knows what it is in."""

    def __init__(self):
        self.first = wb.Dense(2, 3, seed=0)
        self.both = {"again": self.first, "others": [wb.Dropout(0.5, seed=0), (wb.Dense(3, 2, seed=1),)]}
        self.inner = wb.Sequential(wb.Sequential(wb.Dense(2, 2, seed=2)), self.first)
        self.inner.outer = [self]


@pytest.mark.parametrize("copied", COPIERS.values(), ids=COPIERS)
def test_what_is_one_module_stays_one(copied):
    model = Holder()
    other, inner, dense = copied((model, model.inner, model.first))
    assert other.inner is inner
    assert other.first is dense is other.both["again"] is inner[1]
    assert inner.outer == [other]
    assert other is not model
    assert repr(other) == repr(model)
    assert bits(other) == bits(model)
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in model.named_parameters()]


class Own(wb.Module):
    """Has a way of its own to be pickled."""

    __slots__ = ("extra",)

    def __init__(self):
        self.inner = wb.Dense(1, 1, seed=0)
        self.extra, self.lock = 1.0, None

    def __getstate__(self):
        return {name: x for name, x in vars(self).items() if name != "lock"}, {"extra": 2.0}


class Told(Own):
    def __setstate__(self, state):
        super().__setstate__(state)
        self.lock = "new"


@pytest.mark.parametrize("copied", [*COPIERS.values(), copy.copy], ids=[*COPIERS, "copy"])
def test_modules_with_a_state_of_their_own(copied):
    other = copied(Own())
    assert (other.extra, hasattr(other, "lock"), bits(other)) == (2.0, False, bits(Own()))
    other = copied(Told())
    assert (other.extra, other.lock, bits(other)) == (2.0, "new", bits(Own()))


def nested(depth):
    model = wb.Dense(1, 1, seed=0)
    for _ in range(depth):
        model = wb.Sequential(model)
    return model


def test_modules_in_modules_in_modules(tmp_path):
    """Deeper than Python's recursion goes."""
    model = nested(1000)
    other = pickle.loads(pickle.dumps(model))
    assert repr(other) == repr(model)
    assert str(other.summary()) == str(model.summary())
    assert bits(copy.deepcopy(other)) == bits(other) == bits(model)
    (other.parameters()[0].data)[...] = 0.0
    wb.save(model, tmp_path / "model.safetensors")
    wb.load(other, tmp_path / "model.safetensors")
    assert bits(other) == bits(model)
    assert len(list(other.eval().named_modules())) == 1001


# -- sizes ---------------------------------------------------------------------------------------------------------------


def test_sizes_are_those_of_the_numbers():
    model = wb.Sequential(wb.Dense(100, 50, seed=0), wb.BatchNorm(50), wb.Dense(50, 10, seed=0))
    numbers = 8 * (5050 + 4 * 50 + 510)
    assert numbers <= sys.getsizeof(model) < numbers + 2000
    assert numbers <= sys.getsizeof(wb.compile(model)) < numbers + 2000
    optimizer = wb.Adam(model.parameters())
    before = sys.getsizeof(optimizer)
    for _ in range(3):
        loss = wb.sum(model(np.ones((4, 100))))
        loss.backward()
        optimizer.step()
    gradients = sum(p.size for p in model.parameters()) * 8
    assert numbers + gradients <= sys.getsizeof(model) < numbers + gradients + 2000
    assert 2 * gradients <= sys.getsizeof(optimizer) - before < 2 * gradients + 2000
    assert sys.getsizeof(wb.Value(np.zeros(1000, np.float32))) - sys.getsizeof(wb.Value(np.zeros(0))) == 4000
    assert sys.getsizeof(loss) < 500, "a number, without its history"


def test_the_size_of_what_a_compiled_function_keeps_together():
    model = wb.MLP(2, [50], 2, seed=0)
    optimizer = wb.Adam(model.parameters())
    steps(model, optimizer, 8, compile=True)
    numbers = 2 * 8 * sum(p.size for p in model.parameters())
    assert numbers <= sys.getsizeof(optimizer) < numbers + 1000
    steps(model, optimizer, 1)
    assert numbers <= sys.getsizeof(optimizer) < numbers + 1000


def test_dask_knows_the_size_of_a_model():
    sizeof = pytest.importorskip("dask.sizeof", reason="dask is not installed").sizeof
    model = wb.Dense(1000, 100, seed=0)
    assert 800_800 <= sizeof(model) < 802_000
    assert 800_000 <= sizeof(model.weight) < 801_000


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


FUNCTIONS = """
import tinygrad_wb as wb

def cube(x):
    return wb.sum(x * x * x)

@wb.compile
def doubled(x):
    return x * 2.0

@wb.grad
def slope(x):
    return wb.sum(x * x)

class Maths:
    @wb.compile
    def tripled(self, x):
        return x * 3.0
"""
MAKERS = {
    "grad": (wb.grad, [3.0, 12.0]),
    "value_and_grad": (wb.value_and_grad, [(1.0, 3.0), (8.0, 12.0)]),
    "jacobian": (wb.jacobian, [3.0, 12.0]),
    "hessian": (wb.hessian, [6.0, 12.0]),
    "grad of grad": (lambda f: wb.grad(wb.grad(f)), [6.0, 12.0]),
    "compile": (wb.compile, [1.0, 8.0]),
    "compiled grad": (lambda f: wb.compile(wb.grad(f)), [3.0, 12.0]),
}


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """A module of a user's, that other processes find as well."""
    (tmp_path / "functions_of_mine.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("functions_of_mine")
    del sys.modules["functions_of_mine"]


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("copied", COPIERS.values(), ids=COPIERS)
def test_what_is_made_of_a_function_is_made_again(maker, copied, functions):
    make, expected = MAKERS[maker]
    made = copied(make(functions.cube))
    assert [made(1.0), made(2.0)] == expected
    assert made.__wrapped__ is not None
    assert made.__name__ == "cube"


def test_hvp_goes_along(functions):
    assert pickle.loads(pickle.dumps(wb.hvp(functions.cube)))(2.0, 0.5) == 6.0


@pytest.mark.parametrize("copied", COPIERS.values(), ids=COPIERS)
@pytest.mark.parametrize("name", ["doubled", "slope"])
def test_a_decorated_function_is_its_name_as_any_function_is(name, copied, functions):
    function = getattr(functions, name)
    assert copied(function) is function
    assert copied(functions.Maths.tripled) is functions.Maths.tripled
    assert copied(functions.Maths().tripled)(2.0) == 6.0


def test_a_pool_of_processes(functions):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(functions.doubled, [1.0, 2.0])) == [2.0, 4.0]
        assert list(pool.map(functions.slope, [1.0, 2.0])) == [2.0, 4.0]
        assert list(pool.map(wb.grad(functions.cube), [1.0, 2.0])) == [3.0, 12.0]
        assert list(pool.map(wb.hessian(functions.cube), [1.0, 2.0])) == [6.0, 12.0]


SCRIPT = f"""
import multiprocessing, pickle, sys
from concurrent.futures import ProcessPoolExecutor
{FUNCTIONS}
if __name__ == "__main__":
    if sys.argv[1:]:
        import cloudpickle
        with open(sys.argv[1], "wb") as file:
            cloudpickle.dump([doubled, slope, wb.grad(cube), wb.compile(lambda x: x * 5.0)], file)
    else:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            print(*pool.map(doubled, [1.0, 2.0]), *pool.map(slope, [1.0, 2.0]), *pool.map(wb.grad(cube), [1.0]))
"""


def script(tmp_path, *arguments):
    (tmp_path / "script.py").write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(Path(wb.__file__).parents[1])}
    command = [sys.executable, "-W", "error", str(tmp_path / "script.py"), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_a_pool_of_processes_in_a_script(tmp_path):
    assert script(tmp_path) == "2.0 4.0 2.0 4.0 3.0\n"


def test_cloudpickle_takes_the_functions_of_a_script_along(tmp_path):
    """As Ray and Dask do: the process that reads them has another script."""
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed; Ray and Dask bring it")
    script(tmp_path, str(tmp_path / "functions.pickle"))
    found = cloudpickle.loads((tmp_path / "functions.pickle").read_bytes())
    assert [f(2.0) for f in found] == [4.0, 4.0, 12.0, 10.0]


@pytest.mark.parametrize("made", [wb.compile(lambda x: x), wb.grad(lambda x: x)], ids=["compile", "grad"])
def test_a_lambda_has_no_name_to_be_found_by(made):
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(made)


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
