"""Recurrent and attention layers: settings, errors, states, masks, and that every reader of a graph takes them."""

import contextlib
import copy

import numpy as np
import pytest

import tinygrad_wb as wb

RNG = np.random.default_rng(0)
RECURRENT = {
    "RNN": lambda **o: wb.RNN(3, 4, **o),
    "LSTM": lambda **o: wb.LSTM(3, 4, **o),
    "GRU": lambda **o: wb.GRU(3, 4, **o),
}
LAYERS = {
    **RECURRENT,
    "MultiHeadAttention": lambda **o: wb.MultiHeadAttention(3, 3, causal=True, **o),
    "TransformerBlock": lambda **o: wb.TransformerBlock(3, 1, 5, "tanh", causal=True, **o),
    "Residual": lambda **o: wb.Residual(wb.Dense(3, 5, "tanh", **o), wb.Dense(5, 3, **o)),
}
recurrent = pytest.mark.parametrize("make", RECURRENT.values(), ids=RECURRENT)
every = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


def close(a, b):
    for x, y in zip(*((v if isinstance(v, tuple) else (v,)) for v in (a, b)), strict=True):
        np.testing.assert_allclose(getattr(x, "data", x), getattr(y, "data", y), rtol=1e-12, atol=1e-14)


# -- all of them ----------------------------------------------------------------------------------------------------


def test_they_say_what_they_are():
    model = wb.Sequential(
        wb.RNN(2, 4, "relu"), wb.LSTM(4, 6), wb.GRU(6, 8), wb.MultiHeadAttention(8, 2, causal=True, bias=False),
        wb.Residual(wb.Dense(8, 8)), wb.TransformerBlock(8, 4),
    )  # fmt: skip
    assert repr(model).splitlines()[1:] == [
        "  0: RNN(2 → 4, relu)", "  1: LSTM(4 → 6)", "  2: GRU(6 → 8)", "  3: MultiHeadAttention(8, 2 heads, causal, no bias)",
        "    3.out: Dense(8 → 8, no bias)", "  4: Residual()", "    4.0: Dense(8 → 8)", "  5: TransformerBlock()",
        "    5.norm1: LayerNorm(8)", "    5.attention: MultiHeadAttention(8, 4 heads)", "      5.attention.out: Dense(8 → 8)",
        "    5.norm2: LayerNorm(8)", "    5.expand: Dense(8 → 32, gelu)", "    5.contract: Dense(32 → 8)", "    5.dropout: Dropout(0)",
    ]  # fmt: skip


@every
def test_derivatives_of_both_orders(make):
    layer = make(seed=0)
    x = RNG.normal(size=(2, 3, 3))
    weights = layer.parameters()
    wb.check_gradients(lambda x: (layer(x) ** 2).sum(), x)

    def by_weight(w):
        kept, target = weights[0], layer
        names = {id(v): path for path, v in layer.named_parameters()}[id(kept)].split(".")
        for name in names[:-1]:
            target = target[int(name)] if name.isdecimal() else getattr(target, name)
        setattr(target, names[-1], w)
        try:
            return (layer(x) ** 2).sum()
        finally:
            setattr(target, names[-1], kept)

    wb.check_gradients(by_weight, weights[0].data)


@every
def test_a_seed_repeats_the_weights_and_a_dtype_is_kept(make):
    a, b = make(seed=3, dtype="float32"), make(seed=3, dtype="float32")
    other = make(seed=4, dtype="float32")
    assert all((p.data == q.data).all() for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert any((p.data != q.data).any() for p, q in zip(a.parameters(), other.parameters(), strict=True))
    assert {p.dtype for p in a.parameters()} == {np.dtype("float32")}
    y = a(RNG.normal(size=(2, 3, 3)).astype("float32"))
    y.sum().backward()
    assert y.dtype == np.float32
    assert {p.grad.dtype for p in a.parameters()} == {np.dtype("float32")}


@every
def test_without_a_batch(make):
    layer = make(seed=0)
    x = RNG.normal(size=(2, 4, 3))
    close(layer(x[0]), layer(x).data[0])


@every
def test_saved_and_loaded(make, tmp_path):
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    layer, other = make(seed=0), make(seed=1)
    wb.save(layer, tmp_path / "layer.safetensors")
    wb.load(other, tmp_path / "layer.safetensors")
    x = RNG.normal(size=(2, 4, 3))
    assert (layer(x).data == other(x).data).all()


@every
def test_compiled_it_gives_the_same_as_eager(make):
    layer = make(seed=0)
    f = lambda x: (layer(x) ** 2).mean()
    g = wb.compile(f)
    for _ in range(5):
        x = RNG.normal(size=(2, 4, 3))
        eager = f(x)
        layer.zero_grad()
        eager.backward()
        expected = [p.grad.copy() for p in layer.parameters()]
        layer.zero_grad()
        loss = g(x)
        loss.backward()
        close(loss, eager)
        for p, grad in zip(layer.parameters(), expected, strict=True):
            np.testing.assert_allclose(p.grad, grad, rtol=1e-9, atol=1e-12)
    assert g.replaying


@every
def test_stepped_drawn_and_printed(make):
    layer = make(seed=0)
    x = RNG.normal(size=(2, 3))
    loss = (layer(x) ** 2).sum()
    loss.program().check()
    stepper = wb.Stepper(loss)
    stepper.finish()
    loss.backward()
    assert type(layer).__name__ in wb.draw(loss).dot


@every
def test_what_comes_later_does_not_change_what_was(make):
    layer = make(seed=0)
    x = RNG.normal(size=(2, 5, 3))
    later = x.copy()
    later[:, 3:] += 1.0
    a, b = layer(x).data, layer(later).data
    np.testing.assert_allclose(a[:, :3], b[:, :3], rtol=1e-12)
    assert (a[:, 3:] != b[:, 3:]).all()


# -- recurrent layers -------------------------------------------------------------------------------------------------


@recurrent
def test_a_sequence_may_be_read_in_pieces(make):
    layer = make(seed=0)
    x = RNG.normal(size=(2, 7, 3))
    whole, end = layer.run(x)
    first, state = layer.run(x[:, :3])
    second, last = layer.run(x[:, 3:], state)
    close(np.concatenate([first.data, second.data], axis=1), whole.data)
    close(last, end)
    close(layer(x[:, 3:], state), second)


@recurrent
def test_gradients_reach_back_through_the_state(make):
    layer = make(seed=0)
    x = wb.Value(RNG.normal(size=(1, 4, 3)))
    layer(x)[:, -1].sum().backward()
    assert (x.grad[:, 0] != 0.0).all()


@recurrent
def test_what_does_not_fit_a_recurrent_layer(make):
    layer = make(seed=0)
    model = wb.Sequential(layer)
    name = type(layer).__name__
    for shape in [(3,), (2, 4, 5), (2, 0, 3)]:
        with pytest.raises(wb.ShapeError, match=rf"{name} '0' takes \(…, steps, 3\) .*got x of shape \({shape[0]}"):
            model(np.zeros(shape))
    h = np.zeros((3, 4))
    with pytest.raises(wb.ShapeError, match=r"state has shape \(2, 4\), got \(3, 4\)"):
        layer(np.zeros((2, 5, 3)), (h, h) if name == "LSTM" else h)
    with pytest.raises(ValueError, match=f"{name}: outputs must be a positive whole number"):
        type(layer)(3, 0)


def test_the_state_of_an_lstm_is_a_pair():
    with pytest.raises(TypeError, match=r"LSTM: its state is 2 arrays \(h, c\), got array"):
        wb.LSTM(3, 4)(np.zeros((2, 5, 3)), np.zeros((2, 4)))


def test_first_numbers_of_recurrent_layers():
    layer = wb.LSTM(3, 4, seed=0)
    assert {path: v.shape for path, v in layer.named_parameters()} == {
        "weight": (3, 16), "recurrent_weight": (4, 16), "bias": (16,), "recurrent_bias": (16,),
    }  # fmt: skip
    np.testing.assert_allclose(layer.recurrent_weight.data @ layer.recurrent_weight.data.T, np.eye(4), atol=1e-12)
    assert layer.bias.data.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
    assert not layer.recurrent_bias.data.any()
    assert not wb.GRU(3, 4).bias.data.any()


def test_an_unknown_activation_of_an_rnn():
    with pytest.raises(ValueError, match="unknown activation 'tanhh': did you mean 'tanh'"):
        wb.RNN(1, 1, "tanhh")


@recurrent
def test_they_learn_to_remember(make):
    # Whether the first of 8 numbers was positive, asked at the end.
    rng = np.random.default_rng(1)
    x = np.pad(rng.normal(size=(256, 8, 1)), ((0, 0), (0, 0), (0, 2)))
    y = (x[:, 0, 0] > 0.0).astype(int)
    model = wb.Sequential(make(seed=0), lambda h: h[:, -1], wb.Dense(4, 2, seed=1))
    optimizer = wb.Adam(model.parameters(), 0.02)
    wb.fit(model, x, y, loss="cross_entropy", optimizer=optimizer, epochs=40, seed=0, progress=False)
    assert (model(x).data.argmax(1) == y).mean() > 0.9


# -- attention ----------------------------------------------------------------------------------------------------------


def test_attention_to_something_else():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; these tests compare with it")
    layer = wb.MultiHeadAttention(8, 2, bias_init="he_normal", seed=0)
    twin = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    twin.load_state_dict(wb.to_torch(layer))
    q, k, v = (RNG.normal(size=(3, n, 8)) for n in (4, 6, 6))
    mask = np.tril(np.ones((4, 6), bool), 2)
    tensors = [torch.tensor(x, requires_grad=True) for x in (q, k, v)]
    values = [wb.Value(x) for x in (q, k, v)]
    for value_too in (True, False):
        ours = layer(*values[: 2 + value_too], mask=mask)
        theirs, _ = twin(*tensors[:2], tensors[1 + value_too], attn_mask=torch.tensor(~mask))
        close(ours, theirs.detach().numpy())
    ours.sum().backward()
    theirs.sum().backward()
    close(values[0].grad, tensors[0].grad.numpy())
    close(values[1].grad, tensors[1].grad.numpy())


def test_the_weights_of_attention():
    layer = wb.MultiHeadAttention(8, 2, causal=True, seed=0)
    x = RNG.normal(size=(3, 5, 8))
    weights = layer.attention_weights(x).data
    assert weights.shape == (3, 2, 5, 5)
    np.testing.assert_allclose(weights.sum(-1), 1.0)
    assert not np.triu(weights, 1).any(), "nobody looks ahead"
    value = np.split((x @ layer.weight.data), 3, axis=-1)[2].reshape(3, 5, 2, 4).swapaxes(1, 2)
    seen = (weights @ value).swapaxes(1, 2).reshape(3, 5, 8)
    close(layer(x), seen @ layer.out.weight.data)
    assert layer.attention_weights(x, RNG.normal(size=(3, 7, 8))).shape == (3, 2, 5, 7)


@pytest.mark.parametrize("before", [(), (1,), (2, 1)], ids=str)
def test_one_query_for_a_batch_of_keys(before):
    layer = wb.MultiHeadAttention(8, 2, seed=0)
    query, key = RNG.normal(size=(*before, 4, 8)), RNG.normal(size=(3, 6, 8))
    y = layer(query, key)
    assert y.shape == (*before[:-1], 3, 4, 8)
    close(y, layer(np.broadcast_to(query, y.shape), np.broadcast_to(key, (*y.shape[:-2], 6, 8))))


def test_no_mask_is_none():
    x = RNG.normal(size=(2, 3, 8))
    layer, block = wb.MultiHeadAttention(8, 2, seed=0), wb.TransformerBlock(8, 2, seed=0)
    for of in (layer, block, layer.attention_weights):
        close(of(x, mask=None), of(x))


def test_weights_of_attention_have_the_layers_dtype():
    layer = wb.MultiHeadAttention(8, 2, dtype="float32")
    assert layer.attention_weights(np.ones((3, 8), np.float32)).dtype == np.float32


def test_a_mask_of_ones_and_zeros_is_refused():
    layer, x = wb.MultiHeadAttention(8, 2), RNG.normal(size=(2, 3, 8))
    with pytest.raises(TypeError, match=r"mask holds integers: give booleans.*\(mask != 0\), or floats"):
        layer(x, mask=np.tri(3, dtype=int))


def test_what_does_not_fit_attention():
    model = wb.Sequential(wb.MultiHeadAttention(8, 2))
    with pytest.raises(
        wb.ShapeError, match=r"MultiHeadAttention '0' takes \(…, places, 8\), got query of shape \(2, 3, 4\)"
    ):
        model(np.zeros((2, 3, 4)))
    with pytest.raises(wb.ShapeError, match=r"key of shape \(2, 3, 7\), value of shape \(2, 3, 7\)"):
        model[0](np.zeros((2, 3, 8)), np.zeros((2, 3, 7)))
    with pytest.raises(ValueError, match="MultiHeadAttention: 3 heads must divide 8 features"):
        wb.MultiHeadAttention(8, 3)
    with pytest.raises(ValueError, match="heads must be a positive whole number, got 0"):
        wb.MultiHeadAttention(8, 0)
    with pytest.raises(ValueError, match="TransformerBlock: features must be a positive whole number, got '8'"):
        wb.TransformerBlock("8", 2)


def test_a_transformer_block_drops_out_in_training_alone():
    block = wb.TransformerBlock(8, 2, dropout=0.5, seed=0)
    x = RNG.normal(size=(2, 3, 8))
    assert (block(x).data != block(x).data).any()
    block.eval()
    assert (block(x).data == block(x).data).all()


def test_weights_of_a_whole_stack_from_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; these tests compare with it")

    class Stack(wb.Module):
        def __init__(self):
            self.layers = [wb.TransformerBlock(8, 2, 16, seed=i) for i in range(3)]

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    one = torch.nn.TransformerEncoderLayer(
        8, 2, 16, 0.0, "gelu", batch_first=True, norm_first=True, dtype=torch.float64
    )
    network = torch.nn.TransformerEncoder(one, 3, enable_nested_tensor=False)
    model = Stack()
    wb.from_torch(model, network.state_dict())
    x = RNG.normal(size=(2, 5, 8))
    close(model(x), network(torch.tensor(x)).detach().numpy())
    assert wb.to_torch(model).keys() == network.state_dict().keys()


def test_recurrent_weights_from_pytorch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; these tests compare with it")
    for ours, theirs in ((wb.RNN, torch.nn.RNN), (wb.LSTM, torch.nn.LSTM), (wb.GRU, torch.nn.GRU)):
        layer, twin = ours(3, 4), theirs(3, 4, batch_first=True, dtype=torch.float64)
        wb.from_torch(layer, twin.state_dict())
        x = RNG.normal(size=(2, 5, 3))
        y, state = layer.run(x)
        z, end = twin(torch.tensor(x))
        close(y, z.detach().numpy())
        for part, other in zip(*((s if isinstance(s, tuple) else (s,)) for s in (state, end)), strict=True):
            close(part, other[0].detach().numpy())


# -- residuals ----------------------------------------------------------------------------------------------------------


def test_a_residual_of_another_shape():
    model = wb.Sequential(wb.Residual(wb.Dense(2, 1)))
    with pytest.raises(wb.ShapeError, match=r"Residual '0' adds .* x's shape \(3, 2\), they gave \(3, 1\)"):
        model(np.zeros((3, 2)))


def test_copies_of_a_block_are_apart():
    block = wb.TransformerBlock(8, 2, seed=0)
    twin = copy.deepcopy(block)
    block.attention.weight.data = np.zeros((8, 24))
    assert twin.attention.weight.data.any()


# -- taken apart as other libraries' results ---------------------------------------------------------------------------

UNPACKED = {
    "RNN": (lambda: wb.RNN(3, 4, seed=0), r"y, state = layer\.run\(x\)"),
    "LSTM": (lambda: wb.LSTM(3, 4, seed=0), r"y, state = layer\.run\(x\)"),
    "GRU": (lambda: wb.GRU(3, 4, seed=0), r"y, state = layer\.run\(x\)"),
    "MultiHeadAttention": (lambda: wb.MultiHeadAttention(3, 1, seed=0), r"y, weights = .*attention_weights\(x\)"),
}


def unpacked(layer, x):
    out, state = layer(x)
    return out, state


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize(("make", "message"), UNPACKED.values(), ids=UNPACKED)
def test_a_result_that_is_taken_apart_as_two_is_said_to_be_one(make, message, recorded):
    layer, x = make(), np.ones((2, 5, 3))
    with (
        contextlib.nullcontext() if recorded else wb.no_grad(),
        pytest.warns(
            wb.GradientWarning, match=rf"{type(layer).__name__} returns one Value, .*{message}.*y\[0\]"
        ) as said,
    ):
        unpacked(layer, x)
    assert len(said) == 1
    assert said[0].filename == __file__


def test_the_layer_is_named_and_a_model_that_returns_its_result_is_meant_too():
    class Model(wb.Module):
        def __init__(self):
            self.lstm = wb.LSTM(3, 4, seed=0)

        def forward(self, x):
            return self.lstm(x)

    with pytest.warns(wb.GradientWarning, match="LSTM 'lstm' returns one Value"):
        unpacked(Model(), np.ones((2, 2, 3)))  # PyTorch's call fits the shapes: batch 2, steps 2


@pytest.mark.parametrize("make", [make for make, _ in UNPACKED.values()], ids=UNPACKED)
def test_rows_and_steps_may_be_gone_through_without_a_word(make):
    layer = make()
    y = layer(np.ones((2, 3)))
    steps = [*y]
    assert len(steps) == len(list(y)) == len([h for h in y]) == 2  # noqa: C416 - a loop is meant
    for h, again in zip(y, steps, strict=True):
        np.testing.assert_array_equal(h.data, again.data)
    first, second = list(layer(np.ones((2, 5, 3))))
    assert first.shape == second.shape == (5, y.shape[-1])
    a, b = wb.Value([1.0, 2.0])
    c, d = wb.Dense(3, 2)(np.ones((2, 3)))
    e, f = wb.tanh(layer(np.ones((2, 3))))
    assert (a.data, b.data, c.shape, e.shape) == (1.0, 2.0, d.shape, f.shape)
    if hasattr(layer, "run"):
        out, state = layer.run(np.ones((2, 5, 3)))
        assert out.shape[:2] == (2, 5)
        assert state is not None
