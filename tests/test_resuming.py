"""Training that was interrupted and resumed comes to the same numbers, bit for bit, as training that was not."""

import functools
import inspect
import os
import signal

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb import optimizers, schedules

pytest.importorskip("safetensors", reason="safetensors is not installed; files are read with it")

X, Y = wb.datasets.moons(70, seed=0)
EPOCHS = 4


def subclasses(kind):
    return dict.fromkeys(found for direct in kind.__subclasses__() for found in (direct, *subclasses(direct)))


OPTIMIZERS = {
    kind.__name__: kind for kind in subclasses(optimizers.Optimizer) if kind.__module__ == optimizers.__name__
}
SETTINGS = {  # so that everything is remembered that can be
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "clip_norm": 0.1},
    "RMSprop": {"momentum": 0.5},
    "Adam": {"clip_norm": 0.1},
}
SCHEDULES = {
    "a number": 0.02,
    "StepDecay": wb.StepDecay(0.05, every=3, factor=0.5),
    "CosineDecay": wb.CosineDecay(0.05, steps=10),
    "WarmUp": wb.WarmUp(5, wb.CosineDecay(0.05, steps=7)),
}


class Net(wb.Module):
    """Dropout, kept numbers, a scalar parameter, and layers of two dtypes in one model."""

    kept = ("mean", "batches")

    def __init__(self, dtype="float64"):
        self.hidden = wb.Dense(2, 8, "tanh", seed=1, dtype=dtype)
        self.drop = wb.Dropout(0.3, seed=2)
        self.out = wb.Dense(8, 2, seed=3)
        self.scale = wb.Value(1.5)
        self.mean, self.batches = np.zeros(2), 0

    def forward(self, x):
        return self.out(self.drop(self.hidden(x))) * self.scale


class Counting(wb.Callback):
    """A callback that keeps something of the model's up to date, as layers do with running means."""

    def on_batch(self, training):
        training.model.mean += training.history.batch_losses[-1]
        training.model.batches += 1


def train(optimizer, epochs, *, compile=True, callbacks=(), resume=None, model=None, metrics=("accuracy",)):
    model = model or Net()
    optimizer = optimizer(model.parameters())
    history = wb.fit(
        model, X, Y, loss="cross_entropy", optimizer=optimizer, epochs=epochs, batch_size=16, metrics=metrics,
        validation=(X[:20], Y[:20]), seed=5, progress=False, compile=compile, callbacks=[Counting(), *callbacks],
        resume=resume,
    )  # fmt: skip
    return model, optimizer, history


def told(run):
    """All that a run has come to."""
    model, optimizer, history = run
    optimizer.separate()
    return {
        "state": [(name, type(slot.read()), np.asarray(slot.read()).tobytes()) for name, slot in model.state()],
        "memory": [sorted((word, np.asarray(x).tobytes()) for word, x in m.items()) for m in optimizer.memory],
        "steps": (optimizer.steps, optimizer.rate),
        "generator": str(model.drop.rng.bit_generator.state),
        "history": (history.epochs, history.batch_losses),
    }


def test_every_optimizer_and_schedule_is_tried():
    assert OPTIMIZERS.keys() == {name for name in optimizers.__all__ if name != "Optimizer"}
    assert SCHEDULES.keys() - {"a number"} == set(schedules.__all__)


@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "as it is"])
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resumed_after_any_epoch(tmp_path, name, schedule, compile):
    def optimizer(parameters):
        return OPTIMIZERS[name](parameters, SCHEDULES[schedule], **SETTINGS.get(name, {}))

    path = tmp_path / "training.safetensors"
    whole = told(train(optimizer, EPOCHS, compile=compile))
    for epochs in range(1, EPOCHS + 1):
        part = told(train(optimizer, epochs, compile=compile, callbacks=[wb.Checkpoint(path)]))
        assert (part == whole) == (epochs == EPOCHS)
        assert told(train(optimizer, EPOCHS, compile=compile, resume=path)) == whole, f"after epoch {epochs}"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_resumed_in_other_dtypes(tmp_path, dtype):
    path = tmp_path / "training"
    whole = told(train(wb.Adam, EPOCHS, model=Net(dtype)))
    train(wb.Adam, 2, model=Net(dtype), callbacks=[wb.Checkpoint(path)])
    assert told(train(wb.Adam, EPOCHS, model=Net(dtype), resume=path)) == whole


def test_every_part_is_needed(tmp_path):
    """What the comparison is worth: without any one part of the file, the numbers are others."""
    path = tmp_path / "training"
    train(wb.Adam, 2, callbacks=[wb.Checkpoint(path)])
    whole = told(train(wb.Adam, EPOCHS))

    class Forgetful(wb.Callback):
        def __init__(self, forget):
            self.forget = forget

        def on_batch(self, training):
            if training.epoch == 3 and training.model.batches % 5 == 1:
                self.forget(training)

    def memory(training):
        training.optimizer.separate()
        for m in training.optimizer.memory:
            m.clear()

    for forget in (
        memory,
        lambda training: setattr(training.optimizer, "steps", 0),
        lambda training: setattr(training, "rng", np.random.default_rng(5)),
        lambda training: setattr(training.model.drop.rng.bit_generator, "state", np.random.PCG64(2).state),
        lambda training: training.model.mean.fill(0.0),
        lambda training: training.history.batch_losses.clear(),
    ):
        assert told(train(wb.Adam, EPOCHS, resume=path, callbacks=[Forgetful(forget)])) != whole


def test_resumed_again_and_again(tmp_path):
    path = tmp_path / "training"
    train(wb.Adam, 1, callbacks=[wb.Checkpoint(path)])
    for epochs in range(2, EPOCHS + 1):
        run = train(wb.Adam, epochs, callbacks=[wb.Checkpoint(path)], resume=path)
    assert told(run) == told(train(wb.Adam, EPOCHS))


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no Ctrl-C to a process of its own")
@pytest.mark.parametrize("batch", [7, 10, 12])
def test_interrupted_by_ctrl_c(tmp_path, batch):
    """5 batches make an epoch: within one, after the last of one, within the next."""

    class CtrlC(wb.Callback):
        def on_batch(self, training):
            if len(training.history.batch_losses) == batch:
                os.kill(os.getpid(), signal.SIGINT)

    path = tmp_path / "training"
    with pytest.raises(KeyboardInterrupt) as caught:
        train(wb.Adam, EPOCHS, callbacks=[CtrlC(), wb.Checkpoint(path)])
    history = caught.value.history
    assert history.interrupted
    assert len(history) == batch // 5
    run = train(wb.Adam, EPOCHS, resume=path)
    assert told(run) == told(train(wb.Adam, EPOCHS))
    assert not run[2].interrupted


@pytest.mark.parametrize("restore_best", [True, False])
@pytest.mark.parametrize("checkpoint_first", [True, False])
def test_early_stopping_goes_on(tmp_path, restore_best, checkpoint_first):
    def patience():
        return wb.EarlyStopping("val_loss", patience=2, restore_best=restore_best)

    def optimizer(parameters):
        return wb.SGD(parameters, 1.0)  # so much that the loss goes up and down

    path = tmp_path / "training"
    whole = train(optimizer, 30, callbacks=[patience()])
    stopped = len(whole[2])
    assert 3 < stopped < 30
    for epochs in range(1, stopped + 1):
        callbacks = [patience(), wb.Checkpoint(path)]
        train(optimizer, epochs, callbacks=callbacks[::-1] if checkpoint_first else callbacks)
        assert told(train(optimizer, 30, callbacks=[patience()], resume=path)) == told(whole), f"after epoch {epochs}"


def test_a_callback_that_is_missing_is_told(tmp_path):
    path = tmp_path / "training"
    train(wb.Adam, 1, callbacks=[wb.EarlyStopping(), wb.Checkpoint(path)])
    with pytest.raises(wb.LoadError, match="'training/callback/EarlyStopping/0/best' is not wanted"):
        train(wb.Adam, 2, resume=path)


def test_every_so_many_epochs_and_the_last(tmp_path):
    saved = []

    class Noting(wb.Checkpoint):
        def on_epoch(self, training):
            self.path = tmp_path / f"{training.epoch}"
            super().on_epoch(training)
            saved.extend([training.epoch] if self.path.exists() else [])

    train(wb.SGD, 7, callbacks=[Noting(tmp_path / "x", every=3)])
    assert saved == [3, 6, 7]


@pytest.mark.parametrize("every", [0, -1, 1.5, "1"])
def test_every_is_a_number_of_epochs(every):
    with pytest.raises(ValueError, match="Checkpoint: every must be a positive whole number of epochs"):
        wb.Checkpoint("x", every=every)


def test_a_learning_rate_that_was_changed_is_kept(tmp_path):
    class Halving(wb.Callback):
        def on_epoch(self, training):
            training.optimizer.learning_rate /= 2.0

    path = tmp_path / "training"
    for rate in (0.1, 1):
        optimizer = functools.partial(wb.SGD, learning_rate=rate)
        whole = told(train(optimizer, EPOCHS, callbacks=[Halving()]))
        train(optimizer, 2, callbacks=[Halving(), wb.Checkpoint(path)])
        assert told(train(optimizer, EPOCHS, callbacks=[Halving()], resume=path)) == whole


def test_more_epochs_than_were_meant_at_first(tmp_path):
    path = tmp_path / "training"
    train(wb.SGD, 2, callbacks=[wb.Checkpoint(path)])
    assert len(train(wb.SGD, 1, resume=path)[2]) == 2, "it is done already"
    assert len(train(wb.SGD, 3, resume=path)[2]) == 3


def test_the_weights_can_be_loaded_alone(tmp_path):
    path = tmp_path / "training"
    model, _, _ = train(wb.Adam, 2, callbacks=[wb.Checkpoint(path)])
    other = Net()
    assert wb.load(other, path) == {"epoch": 2, "stop": False}
    assert [p.data.tobytes() for p in other.parameters() if p.shape] == [
        p.data.tobytes() for p in model.parameters() if p.shape
    ]


def test_a_model_that_is_a_function(tmp_path):
    """Nothing is known of it but what the optimizer changes."""
    path = tmp_path / "training"

    def run(epochs, **more):
        w, b = wb.Value(np.full((2, 2), 0.1)), wb.Value(0.5)
        optimizer = wb.Adam([w, b], 0.1)
        wb.fit(
            lambda x: x @ w + b,
            X,
            Y,
            loss="cross_entropy",
            optimizer=optimizer,
            epochs=epochs,
            seed=1,
            progress=False,
            **more,
        )
        return w.data.tobytes(), b.data

    run(2, callbacks=[wb.Checkpoint(path)])
    assert run(4, resume=path) == run(4)
    assert run(2) != run(4)


def test_what_does_not_fit_changes_nothing(tmp_path):
    path = tmp_path / "training"
    train(wb.Adam, 2, callbacks=[wb.Checkpoint(path)])
    model = Net()
    optimizer = wb.Adam(model.parameters())
    before = told((model, optimizer, wb.History()))
    with pytest.raises(wb.LoadError) as caught:
        wb.fit(model, X, Y, loss="cross_entropy", optimizer=optimizer, epochs=3, progress=False, resume=path, seed=1)
    assert str(caught.value).splitlines()[1:] == [
        f"  'training/history/{name}' is not wanted (it is float64 of shape (2,))"
        for name in ("accuracy", "val_accuracy", "val_loss")
    ]
    assert told((model, optimizer, wb.History())) == before


def test_a_file_that_checkpoint_did_not_write(tmp_path):
    model = Net()
    optimizer = wb.Adam(model.parameters())
    rng = np.random.default_rng(0)
    path = wb.save(model, tmp_path / "x", optimizer, rng, notes=["mine"])
    with pytest.raises(wb.LoadError, match="it does not say how far training had come"):
        train(wb.Adam, 2, resume=path)
    with pytest.raises(FileNotFoundError):
        train(wb.Adam, 2, resume=tmp_path / "nothing")


# -- a loop of one's own ------------------------------------------------------------------------------------------------------

KINDS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compile", [True, False], ids=["compiled", "as it is"])
def test_a_loop_of_ones_own(tmp_path, kind, compile):
    def make():
        model = Net()
        rng = np.random.Generator(getattr(np.random, kind)(7))
        model.drop.rng = np.random.Generator(getattr(np.random, kind)(8))

        def loss_of(x, y):
            return wb.cross_entropy(model(x), y)

        return model, wb.Adam(model.parameters(), wb.WarmUp(4, 0.1)), rng, wb.compile(loss_of) if compile else loss_of

    def steps(model, optimizer, rng, loss_of, count):
        for _ in range(count):
            rows = rng.integers(0, len(X), 8, dtype=np.uint32)  # leaves half a random word for later
            rng.random(dtype=np.float32)
            loss = loss_of(X[rows], Y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    whole = make()
    steps(*whole, 10)
    for count in range(10):
        model, optimizer, rng, loss_of = make()
        steps(model, optimizer, rng, loss_of, count)
        path = wb.save(model, tmp_path / "own", optimizer, rng, {"count": count})
        model, optimizer, rng, loss_of = make()
        for _ in range(min(count, 3)):  # a rehearsal: what is recorded may be rounded otherwise than what is replayed
            loss_of(X[:8], Y[:8])
        notes = wb.load(model, path, optimizer, rng)
        steps(model, optimizer, rng, loss_of, 10 - notes["count"])
        assert told((model, optimizer, wb.History())) == told((*whole[:2], wb.History()))
        assert rng.random() == np.random.Generator.random(_copy(whole[2]))


def _copy(rng):
    import copy

    return copy.deepcopy(rng)


def test_saving_does_not_disturb_training(tmp_path):
    """An optimizer that keeps its memory side by side goes on doing so, with the same numbers."""
    model, other = wb.MLP(2, [8], 2, seed=0), wb.MLP(2, [8], 2, seed=0)
    runs = []
    for each, saves in ((model, True), (other, False)):
        optimizer = wb.Adam(each.parameters())
        loss_of = wb.compile(lambda x, each=each: wb.cross_entropy(each(x), Y))
        for _ in range(12):
            loss = loss_of(X)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if saves:
                wb.save(each, tmp_path / "x", optimizer)
        runs.append([p.data.tobytes() for p in each.parameters()])
    assert runs[0] == runs[1]


def test_a_clipped_step_is_the_same_however_parameters_stand_in_memory():
    """Side by side, as a compiled function puts them, or apart, as they are after a file was loaded."""
    for seed in range(10):
        model = wb.MLP(2, [16, 16], 2, activation="tanh", seed=seed)
        optimizer = wb.SGD(model.parameters(), 0.1, clip_norm=0.01)
        loss_of = wb.compile(lambda x, model=model: wb.cross_entropy(model(x), Y))
        for _ in range(8):
            loss = loss_of(X)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert len({id(p.data.base) for p in model.parameters()}) == 1, "they stand side by side"
        optimizer.zero_grad()
        loss_of(X).backward()
        apart = [wb.Value(p.data) for p in model.parameters()]
        for p, alone in zip(model.parameters(), apart, strict=True):
            alone.grad = p.grad.copy()
        optimizer.step()
        wb.SGD(apart, 0.1, clip_norm=0.01).step()
        assert [p.data.tobytes() for p in model.parameters()] == [p.data.tobytes() for p in apart]


def test_resume_is_documented():
    assert "resume" in inspect.signature(wb.fit).parameters
    assert "resume" in wb.fit.__doc__
