"""Weights to and from PyTorch and Keras: the libraries themselves compute the same from them."""

import io
import os
import pickle
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.saving import tables

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
ACTIVATIONS = {"relu": "ReLU", "tanh": "Tanh", "sigmoid": "Sigmoid", "silu": "SiLU", "softplus": "Softplus"}


def numbers(model):
    return [(name, np.copy(p.data).tobytes()) for name, p in model.named_parameters()]


class Custom(wb.Module):
    """Attributes, a list of layers, a nested Sequential, parameters of its own."""

    def __init__(self, seed=0, dtype="float64"):
        self.hidden = wb.Dense(3, 4, "tanh", seed=seed, dtype=dtype)
        self.blocks = [wb.Dense(4, 4, "relu", seed=seed + 1 + i, dtype=dtype) for i in range(3)]
        self.after = wb.Sequential(
            wb.Dense(4, 3, bias=False, seed=seed + 4, dtype=dtype),
            wb.tanh,
            wb.MLP(3, [5], 2, seed=seed + 5, dtype=dtype),
        )

    def forward(self, x):
        x = self.hidden(x)
        for block in self.blocks:
            x = block(x)
        return self.after(x)


# -- PyTorch --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed; its own layers are compared with")


def torch_custom(torch):
    nn = torch.nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Linear(3, 4)
            self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
            last = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
            self.after = nn.Sequential(nn.Linear(4, 3, bias=False), nn.Tanh(), last)

        def forward(self, x):
            x = torch.tanh(self.hidden(x))
            for block in self.blocks:
                x = torch.relu(block(x))
            return self.after(x)

    return Net()


def pairs(torch):
    nn = torch.nn
    for ours, theirs in ACTIVATIONS.items():
        yield (
            wb.MLP(3, [4, 5], 2, activation=ours, seed=0),
            nn.Sequential(
                nn.Linear(3, 4), getattr(nn, theirs)(), nn.Linear(4, 5), getattr(nn, theirs)(), nn.Linear(5, 2)
            ),
        )
    yield (
        wb.Sequential(wb.Dense(3, 4, seed=0), "relu", wb.Dense(4, 2)),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)),
    )
    yield (
        wb.Sequential(wb.Dense(3, 4, "relu"), wb.Dropout(0.5), wb.Dense(4, 4, "tanh"), wb.Dense(4, 2)),
        nn.Sequential(
            nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)
        ),
    )  # fmt: skip
    yield Custom(), torch_custom(torch)
    yield wb.Dense(3, 2), nn.Linear(3, 2)


def test_weights_from_pytorch(torch):
    for ours, theirs in pairs(torch):
        theirs.double().eval()
        wb.from_torch(ours, theirs.state_dict())
        expected = theirs(torch.tensor(X)).detach().numpy()
        assert ours.eval()(X).data == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_weights_to_pytorch(torch):
    for ours, theirs in pairs(torch):
        theirs.double().eval()
        assert not theirs.load_state_dict(wb.to_torch(ours), strict=True).missing_keys
        expected = theirs(torch.tensor(X)).detach().numpy()
        assert ours.eval()(X).data == pytest.approx(expected, rel=1e-12, abs=1e-14)


def test_there_and_back(torch):
    model, other = Custom(0, "float32"), Custom(9, "float32")
    wb.from_torch(other, wb.to_torch(model))
    assert numbers(other) == numbers(model)
    sent = wb.to_torch(model)
    assert all(t.dtype == torch.float32 for t in sent.values())
    sent["hidden.bias"].fill_(7.0)
    assert 7.0 not in model.hidden.bias.data, "tensors are copies"


def test_numbers_are_converted(torch):
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        layer = wb.Dense(2, 1)
        wb.from_torch(
            layer, {"weight": torch.tensor([[0.5, 2.0]], dtype=dtype), "bias": torch.tensor([1.5], dtype=dtype)}
        )
        assert layer.weight.data.tolist() == [[0.5], [2.0]]
        assert layer.weight.dtype == np.float64


def test_parameters_of_ones_own_and_shared_ones(torch):
    class Ours(wb.Module):
        def __init__(self):
            self.a, self.b = wb.Dense(2, 2), wb.Dense(2, 2)
            self.b.weight = self.a.weight
            self.scale, self.list = wb.Value(2.0), [wb.Value([1.0, 2.0]), wb.Value([3.0])]

    class Theirs(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
            self.b.weight = self.a.weight
            self.scale = torch.nn.Parameter(torch.tensor(5.0))
            self.list = torch.nn.ParameterList([torch.ones(2), torch.ones(1)])

    ours, theirs = Ours(), Theirs()
    wb.from_torch(ours, theirs.state_dict())
    assert ours.scale.data == 5.0
    assert ours.b.weight is ours.a.weight
    assert np.array_equal(ours.a.weight.data, theirs.a.weight.detach().numpy().T)
    theirs.load_state_dict(wb.to_torch(Ours()))
    assert theirs.list[0].tolist() == [1.0, 2.0]


def test_batch_norms_counter_is_left_out():
    layer = wb.Dense(1, 1)
    wb.from_torch(layer, {"weight": [[2.0]], "bias": [1.0], "num_batches_tracked": np.int64(3)})
    assert layer.bias.data.tolist() == [1.0]


def test_a_new_layer_takes_a_row(monkeypatch):
    class Scale(wb.Module):
        kept = ("seen",)

        def __init__(self):
            self.factor, self.seen = wb.Value([1.0, 2.0]), np.zeros(2)

    rows = (tables.Row("factor", "gamma", lambda a: -a, lambda a: -a), tables.Row("seen", "running"))
    monkeypatch.setitem(tables.PYTORCH, Scale, rows)
    model = wb.Sequential(Scale())
    wb.from_torch(model, {"0.gamma": np.array([5.0, 6.0]), "0.running": np.array([7.0, 8.0])})
    assert model[0].factor.data.tolist() == [-5.0, -6.0]
    assert model[0].seen.tolist() == [7.0, 8.0]


def test_every_row_is_of_an_array_that_its_layer_has():
    made = {
        wb.Dense: wb.Dense(2, 3), wb.BatchNorm: wb.BatchNorm(3), wb.Conv1d: wb.Conv1d(2, 4, 3), wb.Conv2d: wb.Conv2d(2, 3, (3, 5)),
        wb.LayerNorm: wb.LayerNorm(3), wb.Embedding: wb.Embedding(3, 2), wb.RNN: wb.RNN(2, 3), wb.LSTM: wb.LSTM(2, 3),
        wb.GRU: wb.GRU(2, 3), wb.MultiHeadAttention: wb.MultiHeadAttention(4, 2),
    }  # fmt: skip
    assert tables.PYTORCH.keys() | tables.KERAS.keys() == made.keys(), "a new layer: make one here"
    for table in (tables.PYTORCH, tables.KERAS):
        for kind, rows in table.items():
            places = tables.places_in(made[kind], table)
            assert [place.row for place in places] == list(rows)
            for place in places:
                before = [np.copy(slot.read()) for slot in place.slots]
                place.write(place.read())
                for was, slot in zip(before, place.slots, strict=True):
                    assert np.array_equal(was, slot.read()), "out and back is as it was"


def test_what_does_not_fit_is_listed():
    model = wb.MLP(3, [4], 2, seed=0)
    before = numbers(model)
    with pytest.raises(wb.LoadError) as caught:
        wb.from_torch(
            model, {"0.weight": np.zeros((3, 4)), "0.bias": np.zeros(4, int), "2.weight": np.zeros((2, 4)), "x": [1.0]}
        )
    assert str(caught.value).splitlines() == [
        "the state dictionary does not fit this MLP; nothing was changed:",
        "  '0.weight' is float64 of shape (3, 4), wanted is float64 of shape (4, 3)",
        "  '0.bias' is int64 of shape (4,), wanted is float64 of shape (4,)",
        "  '2.bias' is missing",
        "  'x' is not wanted (it is float64 of shape (1,))",
    ]
    assert numbers(model) == before


@pytest.mark.parametrize("bad", [object(), "text", [[1.0], [1.0, 2.0]], {"a": 1}, np.array([None]), b"bytes"])
def test_what_is_no_tensor(bad):
    with pytest.raises(wb.LoadError, match="'bias'"):
        wb.from_torch(wb.Dense(1, 1), {"weight": [[2.0]], "bias": bad})


@pytest.mark.parametrize("name", [5, None, ("weight",), b"weight", 0.5])
def test_names_that_are_no_texts(name):
    layer = wb.Dense(1, 1)
    before = numbers(layer)
    with pytest.raises(wb.LoadError, match=r"names such as 'hidden.weight' are texts, got .*; nothing was changed"):
        wb.from_torch(layer, {"weight": [[2.0]], "bias": [1.0], name: [3.0]})
    assert numbers(layer) == before


def test_a_checkpoint_around_the_state_dictionary():
    whole = {"epoch": 3, "model": {"weight": [[2.0]], "bias": [1.0]}}
    layer = wb.Dense(1, 1)
    with pytest.raises(
        wb.LoadError, match=r"'model' is a dictionary, not a tensor\..*give that: state_dict\['model'\]"
    ):
        wb.from_torch(layer, whole)
    wb.from_torch(layer, whole["model"])
    assert layer.weight.data.tolist() == [[2.0]]


def test_two_names_of_one_place():
    with pytest.raises(wb.LoadError, match=r"'0.weight' is not wanted|'00.weight' is not wanted"):
        wb.from_torch(wb.Sequential(wb.Dense(1, 1)), {"0.weight": [[2.0]], "00.weight": [[3.0]], "0.bias": [1.0]})


@pytest.mark.filterwarnings("ignore::UserWarning")  # PyTorch's own, of tensors that it deprecates
def test_tensors_that_have_no_plain_numbers(torch):
    w = torch.ones(1, 2)
    cases = {
        "sparse": w.to_sparse(), "compressed": w.to_sparse_csr(), "without data": torch.zeros(1, 2, device="meta"),
        "quantised": torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "complex": w.to(torch.complex64),
        "nested": torch.nested.nested_tensor([w]), "of 8 bits": w.to(torch.float8_e4m3fn),
        "not made yet": torch.nn.parameter.UninitializedParameter(), "huge": torch.zeros(1).expand(10**13),
        "huge and narrow": torch.zeros(1, dtype=torch.bfloat16).expand(10**13), "whole numbers": w.int(),
    }  # fmt: skip
    layer = wb.Dense(2, 1)
    before = numbers(layer)
    for what, tensor in cases.items():
        with pytest.raises(
            wb.LoadError, match=r"'weight' is .*; nothing was changed|nothing was changed:\n.*'weight' is"
        ) as caught:
            wb.from_torch(layer, {"bias": torch.zeros(1), "weight": tensor})
        assert "allocate" not in str(caught.value), what
        assert numbers(layer) == before, what


@pytest.mark.parametrize("bad", ["model.pt", None, [("weight", 1.0)]])
def test_what_is_no_state_dictionary(bad):
    with pytest.raises(TypeError, match=r"a state dictionary is wanted.*weights_only=True"):
        wb.from_torch(wb.Dense(1, 1), bad)


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="python -m pip install torch"):
        wb.to_torch(wb.Dense(1, 1))
    wb.from_torch(wb.Dense(1, 1), {"weight": [[2.0]], "bias": [1.0]})


# -- Keras ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def h5py():
    return pytest.importorskip("h5py", reason="h5py is not installed; Keras's files are read with it")


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("h5py", reason="h5py is not installed; Keras's files are read with it")
    if "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", "torch")  # a backend that is installed for other tests
    return pytest.importorskip("keras", reason="Keras is not installed; its own layers are compared with")


def keras_pairs(keras):
    layers = keras.layers

    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(4, activation="tanh")
            self.blocks = [layers.Dense(4, activation="relu") for _ in range(3)]
            last = keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(2)])
            self.after = keras.Sequential([layers.Dense(3, use_bias=False), layers.Activation("tanh"), last])

        def call(self, x):
            x = self.hidden(x)
            for block in self.blocks:
                x = block(x)
            return self.after(x)

    for activation in ACTIVATIONS:
        yield (
            wb.MLP(3, [4, 5], 2, activation=activation, seed=0),
            keras.Sequential(
                [layers.Dense(4, activation=activation), layers.Dense(5, activation=activation), layers.Dense(2)]
            ),
        )
    yield (
        wb.Sequential(wb.Dense(3, 4, seed=0), "relu", wb.Dropout(0.5), *[wb.Dense(4, 4) for _ in range(11)]),
        keras.Sequential([layers.Dense(4), layers.ReLU(), layers.Dropout(0.5), *[layers.Dense(4) for _ in range(11)]]),
    )
    yield Custom(), Net()


@pytest.mark.filterwarnings("ignore")  # Keras's own
@pytest.mark.parametrize("suffix", [".keras", ".weights.h5"])
def test_weights_from_keras(keras, tmp_path, suffix):
    for number, (ours, theirs) in enumerate(keras_pairs(keras)):
        expected = keras.ops.convert_to_numpy(theirs(X.astype("float32")))
        path = tmp_path / f"{number}{suffix}"
        (theirs.save if suffix == ".keras" else theirs.save_weights)(path)
        wb.from_keras(ours, path)
        assert ours.eval()(X).data == pytest.approx(expected, abs=1e-5), number


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_to_keras(keras, tmp_path, dtype):
    for number, (ours, theirs) in enumerate(keras_pairs(keras)):
        theirs(X.astype("float32"))
        for parameter in ours.parameters():
            parameter.data = parameter.data.astype(dtype)
        path = wb.to_keras(ours, tmp_path / f"{number}.weights.h5")
        theirs.load_weights(path)
        found = keras.ops.convert_to_numpy(theirs(X.astype("float32")))
        assert found == pytest.approx(ours.eval()(X).data, abs=1e-5), number


def keras_windows(keras):
    """Networks of pictures, signals, words and sequences: ours, Keras's, an input, and how ours lies there. Keras has channels last."""
    layers, rng = keras.layers, np.random.default_rng(0)
    pictures, signals = rng.normal(size=(4, 2, 8, 6)), rng.normal(size=(4, 2, 9))
    yield (
        wb.Sequential(
            wb.Conv2d(2, 4, (3, 2), "relu", padding=0, groups=2, seed=0), wb.BatchNorm(4, epsilon=1e-3), wb.MaxPool(2),
            wb.Conv2d(4, 3, 2, stride=2, bias=False, seed=1),
        ),
        [
            layers.Conv2D(4, (3, 2), activation="relu", groups=2), layers.BatchNormalization(), layers.MaxPooling2D(2),
            layers.Conv2D(3, 2, strides=2, use_bias=False),
        ],
        pictures, lambda x: np.moveaxis(x, 1, -1),
    )  # fmt: skip
    yield (
        wb.Sequential(wb.Conv1d(2, 4, 3, dilation=2, seed=0), wb.tanh, wb.AveragePool(2), wb.BatchNorm(4, epsilon=1e-3)),
        [layers.Conv1D(4, 3, dilation_rate=2), layers.Activation("tanh"), layers.AveragePooling1D(2), layers.BatchNormalization()],
        signals, lambda x: np.moveaxis(x, 1, -1),
    )  # fmt: skip
    yield (
        wb.Sequential(wb.Embedding(7, 4, seed=0), wb.LayerNorm(4, epsilon=1e-3), wb.Dense(4, 2, seed=1)),
        [layers.Embedding(7, 4), layers.LayerNormalization(), layers.Dense(2)],
        rng.integers(0, 7, (4, 3)), lambda x: x,
    )  # fmt: skip
    yield (
        wb.Sequential(*[kind(4, 4, bias_init="he_normal", seed=seed) for seed, kind in enumerate((wb.RNN, wb.LSTM, wb.GRU))]),
        [kind(4, return_sequences=True) for kind in (layers.SimpleRNN, layers.LSTM, layers.GRU)],
        rng.normal(size=(2, 5, 4)), lambda x: x,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_windows_norms_and_words_from_and_to_keras(keras, tmp_path):
    def result(twin, x):
        return keras.ops.convert_to_numpy(twin(x))

    for number, (ours, theirs, x, turned) in enumerate(keras_windows(keras)):
        twin = keras.Sequential(theirs)
        for layer in ours:
            if isinstance(layer, wb.BatchNorm):
                layer.running.mean.data, layer.running.var.data = np.arange(4.0), np.arange(1.0, 5.0)
        result(twin, turned(x))  # which makes Keras's weights
        twin.load_weights(wb.to_keras(ours, tmp_path / f"{number}.weights.h5"))
        expected = ours.eval()(x).data
        assert result(twin, turned(x)) == pytest.approx(turned(expected), abs=1e-5), number
        for parameter in ours.parameters():
            parameter.data = np.zeros(parameter.shape)
        twin.save(tmp_path / f"{number}.keras")
        wb.from_keras(ours, tmp_path / f"{number}.keras")
        assert ours(x).data == pytest.approx(expected, abs=1e-5), number


def keras_block(keras, bias):
    """A TransformerBlock as a subclass of Keras's Model with the same attributes."""
    layers = keras.layers

    class Block(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = (layers.LayerNormalization(epsilon=1e-5) for _ in range(2))
            self.attention = layers.MultiHeadAttention(3, 2, use_bias=bias)
            self.expand = layers.Dense(8, activation="relu", use_bias=bias)
            self.contract = layers.Dense(6, use_bias=bias)

        def call(self, x):
            h = self.norm1(x)
            x = x + self.attention(h, h, use_causal_mask=True)
            return x + self.contract(self.expand(self.norm2(x)))

    return Block()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bias", [True, False])
def test_attention_from_and_to_keras(keras, tmp_path, bias):
    ours = wb.TransformerBlock(6, 3, 8, "relu", causal=True, bias=bias, bias_init="he_normal", seed=0)
    theirs = keras_block(keras, bias)
    x = np.random.default_rng(0).normal(size=(2, 5, 6))
    keras.ops.convert_to_numpy(theirs(x))
    theirs.load_weights(wb.to_keras(ours, tmp_path / "a.weights.h5"))
    expected = ours(x).data
    assert keras.ops.convert_to_numpy(theirs(x)) == pytest.approx(expected, abs=1e-5)
    for parameter in ours.parameters():
        parameter.data = np.zeros(parameter.shape)
    theirs.save_weights(tmp_path / "b.weights.h5")
    wb.from_keras(ours, tmp_path / "b.weights.h5")
    assert ours(x).data == pytest.approx(expected, abs=1e-5)


def test_attention_that_keras_has_not_is_refused(h5py, tmp_path):
    more, other, unbiased = (wb.MultiHeadAttention(4, 2) for _ in range(3))
    more.extra, other.out, unbiased.out = wb.Dense(4, 4), wb.Dense(4, 5), wb.Dense(4, 4, bias=False)
    for layer in (more, other, unbiased):
        with pytest.raises(TypeError, match=r"MultiHeadAttention.*Keras keeps attention of .* no place for"):
            wb.to_keras(wb.Sequential(layer), tmp_path / "x.weights.h5")
    assert not (tmp_path / "x.weights.h5").exists()


def test_heads_that_do_not_fit_change_nothing(h5py, tmp_path):
    path = wb.to_keras(wb.Sequential(wb.MultiHeadAttention(6, 3, seed=0)), tmp_path / "x.weights.h5")
    two = wb.Sequential(wb.MultiHeadAttention(6, 2, seed=1))
    before = numbers(two)
    with pytest.raises(wb.LoadError, match=r"(?s)query_dense/vars/0.*\(6, 3, 2\).*\(6, 2, 3\)"):
        wb.from_keras(two, path)
    np.testing.assert_equal(numbers(two), before)


def test_through_a_keras_file_and_back(h5py, tmp_path):
    model, other = Custom(0), Custom(9)
    wb.from_keras(other, wb.to_keras(model, tmp_path / "x.weights.h5"))
    assert numbers(other) == numbers(model)


def test_the_names_are_kerass(h5py, tmp_path):
    path = wb.to_keras(wb.Sequential(wb.Dense(3, 2), "tanh", wb.MLP(2, [2], 1)), tmp_path / "x.weights.h5")
    names = []
    with h5py.File(path) as file:
        file.visititems(lambda name, part: names.append(name) if isinstance(part, h5py.Dataset) else None)
    assert names == [
        "layers/dense/vars/0", "layers/dense/vars/1",
        "layers/sequential/layers/dense/vars/0", "layers/sequential/layers/dense/vars/1",
        "layers/sequential/layers/dense_1/vars/0", "layers/sequential/layers/dense_1/vars/1",
    ]  # fmt: skip


def test_kerass_files_are_called_so(h5py, tmp_path):
    with pytest.raises(ValueError, match=r"called ….weights.h5 only, got .*x.h5"):
        wb.to_keras(wb.Dense(1, 1), tmp_path / "x.h5")


def test_without_h5py(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'python -m pip install "tinygrad_wb\[keras\]"'):
        wb.from_keras(wb.Dense(1, 1), tmp_path / "x.keras")
    with pytest.raises(ImportError, match=r'python -m pip install "tinygrad_wb\[keras\]"'):
        wb.to_keras(wb.Dense(1, 1), tmp_path / "x.weights.h5")


# -- hostile files ------------------------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.mkdir, ("evil",)


def zipped(content, name="model.weights.h5", kind=zipfile.ZIP_STORED, **more):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", kind) as archive:
        archive.writestr(name, content)
        for other, text in more.items():
            archive.writestr(other, text)
    return packed.getvalue()


def hdf5(h5py, fill):
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        fill(file)
    return content.getvalue()


def good(file):
    file["vars/0"] = np.ones((2, 1), "float32")
    file["vars/1"] = np.ones(1, "float32")


def instead(name, data):
    def fill(file):
        good(file)
        del file[name]
        file[name] = data

    return fill


def packed_dataset(file):
    good(file)
    del file["vars/0"]
    file.create_dataset("vars/0", data=np.ones((2, 1), "float32"), chunks=(2, 1), compression="gzip")


def huge_chunks(file):
    good(file)
    del file["vars/1"]
    file.create_dataset("vars/1", (1,), "float32", chunks=(2**28,), maxshape=(None,))


def external_dataset(file):
    good(file)
    del file["vars/1"]
    file.create_dataset("vars/1", (1,), "float32", external=[("/etc/hostname", 0, 4)])


def virtual_dataset(file):
    import h5py

    good(file)
    del file["vars/1"]
    layout = h5py.VirtualLayout((1,), "float32")
    layout[0] = h5py.VirtualSource("secret.h5", "secret", (1,))[0]
    file.create_virtual_dataset("vars/1", layout)


def huge_shape(file):
    good(file)
    del file["vars/1"]
    file.create_dataset("vars/1", (2**40,), "float32")  # which takes no room until it is written to


def linked_group(path):
    def fill(file):
        import h5py

        good(file)
        file["elsewhere"] = file["vars"]
        del file["vars"]
        file["vars"] = h5py.SoftLink(path) if path else h5py.ExternalLink("secret.h5", "/")

    return fill


def shrunk(packed):
    """A zip whose index says that what is inside unpacks to 1000 bytes."""
    at = packed.rindex(b"PK\x01\x02") + 24
    return packed[:at] + (1000).to_bytes(4, "little") + packed[at + 4 :]


def round_and_round(file):
    good(file)
    file["vars/again"] = file["vars"]
    file["vars/once_more"] = file["vars"]


HOSTILE = {
    "a pickle": lambda h5py: (pickle.dumps(Evil()), "is neither a .keras nor a .weights.h5 file"),
    "a pickle in a zip": lambda h5py: (zipped(pickle.dumps(Evil())), "is no whole Keras file"),
    "a PyTorch file": lambda h5py: (zipped(pickle.dumps(Evil()), "archive/data.pkl"), "has no model.weights.h5 in it"),
    "a bomb": lambda h5py: (zipped(bytes(1 << 25), kind=zipfile.ZIP_DEFLATED), "holds more than .* bytes, too many"),
    "a bomb of bzip2": lambda h5py: (zipped(bytes(1 << 27), kind=zipfile.ZIP_BZIP2), "is packed in another way"),
    "a bomb of LZMA": lambda h5py: (zipped(bytes(1 << 27), kind=zipfile.ZIP_LZMA), "is packed in another way"),
    "a whole file in bzip2": lambda h5py: (
        zipped(hdf5(h5py, good), kind=zipfile.ZIP_BZIP2),
        "is packed in another way",
    ),
    "a bomb that says it is small": lambda h5py: (
        shrunk(zipped(bytes(1 << 28), kind=zipfile.ZIP_DEFLATED)),
        "is no whole",
    ),
    "an empty zip": lambda h5py: (zipped(b""), "is no whole Keras file"),
    "nothing": lambda h5py: (b"", "is neither"),
    "half a file": lambda h5py: (hdf5(h5py, good)[:500], "is no whole Keras file"),
    "half a zip": lambda h5py: (zipped(hdf5(h5py, good))[:-30], "is no whole Keras file"),
    "texts": lambda h5py: (hdf5(h5py, instead("vars/1", "text")), "'vars/1' is object|'vars/1' is one object"),
    "objects": lambda h5py: (hdf5(h5py, instead("vars/1", np.array([b"abc"]))), r"'vars/1' is bytes24 of shape \(1,\)"),
    "whole numbers": lambda h5py: (hdf5(h5py, instead("vars/1", np.ones(1, int))), "'vars/1' is int64"),
    "other shapes": lambda h5py: (
        hdf5(h5py, instead("vars/0", np.ones((1, 2)))),
        r"'vars/0' is float64 of shape \(1, 2\)",
    ),
    "no data": lambda h5py: (hdf5(h5py, instead("vars/1", h5py.Empty("f4"))), "'vars/1' is one float32"),
    "a soft link": lambda h5py: (hdf5(h5py, instead("vars/1", h5py.SoftLink("/vars/0"))), "is a link to another place"),
    "a link out": lambda h5py: (
        hdf5(h5py, instead("vars/1", h5py.ExternalLink("/etc/x", "/"))),
        "is a link to another place",
    ),
    "a link to a group": lambda h5py: (
        hdf5(h5py, linked_group("/elsewhere")),
        "'vars' in it is a link to another place",
    ),
    "a link to a group out": lambda h5py: (hdf5(h5py, linked_group(None)), "'vars' in it is a link to another place"),
    "parts of other files": lambda h5py: (hdf5(h5py, virtual_dataset), "is packed, or lies elsewhere"),
    "terabytes": lambda h5py: (hdf5(h5py, huge_shape), r"'vars/1' is float32 of shape \(1099511627776,\), wanted is"),
    "packed data": lambda h5py: (hdf5(h5py, packed_dataset), "is packed, or lies elsewhere"),
    "huge chunks": lambda h5py: (hdf5(h5py, huge_chunks), "is packed, or lies elsewhere"),
    "data elsewhere": lambda h5py: (hdf5(h5py, external_dataset), "is packed, or lies elsewhere"),
    "a circle": lambda h5py: (hdf5(h5py, round_and_round), "groups in groups without end"),
    "Keras 2": lambda h5py: (hdf5(h5py, lambda file: file.create_group("model_weights")), "is of Keras 2"),
    "too much": lambda h5py: (hdf5(h5py, lambda f: (good(f), f.update({"more": [1.0]}))), "'more' is not wanted"),
    "too little": lambda h5py: (hdf5(h5py, lambda f: f.create_group("vars")), "'vars/0' is missing"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_keras_files(h5py, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.h5").write_bytes(hdf5(h5py, lambda file: file.update(secret=np.ones(1, "f4"), **{"0": [1.0]})))
    content, message = HOSTILE[kind](h5py)
    path = tmp_path / "hostile.keras"
    path.write_bytes(content)
    del content
    model = wb.Dense(2, 1, seed=0)
    before = numbers(model)
    tracemalloc.start()
    try:
        with pytest.raises(wb.LoadError, match=message):
            wb.from_keras(model, path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 26, "a bomb has gone off"
    finally:
        tracemalloc.stop()
    assert numbers(model) == before
    assert not (tmp_path / "evil").exists()


def test_the_good_one_is_taken(h5py, tmp_path):
    """What the hostile ones differ from; what else is in the zip does not matter."""
    for content in (hdf5(h5py, good), zipped(hdf5(h5py, good), **{"config.json": pickle.dumps(Evil())})):
        (tmp_path / "good.keras").write_bytes(content)
        model = wb.Dense(2, 1, seed=0)
        wb.from_keras(model, tmp_path / "good.keras")
        assert model.weight.data.tolist() == [[1.0], [1.0]]


def test_damaged_keras_files_change_nothing(h5py, tmp_path):
    import random

    whole = hdf5(h5py, good)
    path = tmp_path / "x.keras"
    refused = 0
    for number in range(300):
        dice = random.Random(number)
        content = bytearray(whole)
        for _ in range(dice.choice((1, 2, 8))):
            content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
        path.write_bytes(content if dice.random() < 0.7 else whole[: dice.randrange(len(whole))])
        model = wb.Dense(2, 1, seed=0)
        before = numbers(model)
        try:
            wb.from_keras(model, path)
        except wb.LoadError:
            refused += 1
            assert numbers(model) == before, number
    assert 20 < refused < 300


def test_running_statistics_go_to_pytorch_and_back(torch):
    x = np.random.default_rng(0).normal(2.0, 3.0, (8, 3))
    model = wb.Sequential(wb.Dense(3, 4, seed=0), wb.BatchNorm(4), wb.Dense(4, 2, seed=1))
    model(x)  # which moves the running statistics
    there = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).double()
    there.load_state_dict(wb.to_torch(model), strict=False)  # without num_batches_tracked
    there.eval()
    model.eval()
    expected = there(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(model(x).data, expected, rtol=1e-12)
    other = wb.Sequential(wb.Dense(3, 4), wb.BatchNorm(4), wb.Dense(4, 2))
    wb.from_torch(other, there.state_dict())
    other.eval()
    np.testing.assert_allclose(other(x).data, expected, rtol=1e-12)
