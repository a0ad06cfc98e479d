"""Public functions that record other operations, against PyTorch's of the same meaning, where it is installed.

The rows themselves are compared in test_torch_operations.py.
"""

import inspect
import sys

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.operations import REGISTRY

torch = pytest.importorskip("torch", reason="PyTorch is not installed; .ci/run installs it")
from test_operations import COMPILED  # noqa: E402
from test_torch_operations import close, signs_of  # noqa: E402

linalg = torch.linalg


def signed_svd(a):
    """Torch's vectors may have the other sign."""
    u, s, vh = linalg.svd(a, full_matrices=False)
    signs = signs_of(np.linalg.svd(a.detach().numpy(), full_matrices=False)[0], u)
    return u * signs, s, vh * signs.mT


def signed_eigh(a, UPLO="L"):
    values, vectors = linalg.eigh(a, UPLO)
    return values, vectors * signs_of(np.linalg.eigh(a.detach().numpy(), UPLO)[1], vectors)


def replaced(a, b, index):
    a = a.clone()
    a[index] = b
    return a


def weighted(a, w, axis):
    return (a * w).sum(axis) / (torch.ones_like(a) * w).sum(axis)


NORMS = ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)  # of matrices, in the words of both

# Each function: the shapes of its inputs, the call, and torch's.
CALLS = {
    "abs": [([(2, 3)], wb.abs, torch.abs), ([()], wb.abs, torch.abs)],
    "array_split": [
        ([(7,)], lambda a: wb.array_split(a, 3), lambda a: torch.tensor_split(a, 3)),
        ([(2, 5)], lambda a: wb.array_split(a, [1, 3], axis=1), lambda a: torch.tensor_split(a, [1, 3], 1)),
    ],
    "average": [
        ([(2, 3)], wb.average, torch.mean),
        ([(2, 3), (3,)], lambda a, w: wb.average(a, 1, w), lambda a, w: weighted(a, w, 1)),
        ([(2, 3), (2, 3)], lambda a, w: wb.average(a, 0, w), lambda a, w: weighted(a, w, 0)),
    ],
    "column_stack": [([s, t], lambda *p: wb.column_stack(p), lambda *p: torch.column_stack(p)) for s, t in [((3,), (3,)), ((3, 2), (3,))]],
    "dot": [([s, t], wb.dot, torch.matmul) for s, t in [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (3, 4))]]
    + [([(2, 3, 4), (5, 4, 2)], wb.dot, lambda a, b: torch.tensordot(a, b, ([2], [1])))],
    "dstack": [([s, s], lambda *p: wb.dstack(p), lambda *p: torch.dstack(p)) for s in [(3,), (2, 3), (2, 3, 2)]],
    "einsum": [
        ([(2, 3), (3, 4)], lambda a, b: wb.einsum("ij,jk", a, b), lambda a, b: torch.einsum("ij,jk", a, b)),
        ([(2, 3, 3)], lambda a: wb.einsum("...ii->...", a), lambda a: torch.einsum("...ii->...", a)),
        ([(2, 3), (4, 3), (4, 2)], lambda *p: wb.einsum("ij,kj,ki->i", *p), lambda *p: torch.einsum("ij,kj,ki->i", *p)),
    ],
    "eigh": [
        ([(3, 3)], wb.eigh, signed_eigh), ([(2, 3, 3)], wb.eigh, signed_eigh),
        ([(3, 3)], lambda a: wb.eigh(a, UPLO="U"), lambda a: signed_eigh(a, "U")),
    ],
    "expand_dims": [([(2, 3)], lambda a: wb.expand_dims(a, -2), lambda a: a.unsqueeze(-2))],
    "flip": [([(2, 3)], wb.flip, lambda a: a.flip(0, 1)), ([(2, 3, 2)], lambda a: wb.flip(a, (0, -1)), lambda a: a.flip(0, -1))],
    "hstack": [([s, s], lambda *p: wb.hstack(p), lambda *p: torch.hstack(p)) for s in [(), (3,), (2, 3)]],
    "inner": [([s, t], wb.inner, torch.inner) for s, t in [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (4, 3)), ((), (2, 3))]],
    "kron": [([s, t], wb.kron, torch.kron) for s, t in [((3,), (2,)), ((2, 3), (3, 2)), ((2,), (2, 3)), ((2, 1, 2), (2, 3))]],
    "meshgrid": [
        ([(2,), (3,)], lambda *p, how=how: wb.meshgrid(*p, indexing=how), lambda *p, how=how: torch.meshgrid(*p, indexing=how))
        for how in ("ij", "xy")
    ],
    "moveaxis": [([(2, 3, 4)], lambda a: wb.moveaxis(a, (0, 1), (-1, 0)), lambda a: torch.moveaxis(a, (0, 1), (-1, 0)))],
    "norm": [
        ([(3,)], wb.norm, linalg.norm), ([(2, 3, 2)], lambda a: wb.norm(a, axis=(0, 2)), lambda a: linalg.norm(a, dim=(0, 2))),
        *[([(3, 4)], lambda a, p=ord: wb.norm(a, p), lambda a, p=ord: linalg.norm(a, p)) for ord in NORMS],
        *[
            ([(2, 3)], lambda a, p=ord: wb.norm(a, p, axis=1, keepdims=True), lambda a, p=ord: linalg.vector_norm(a, p, 1, True))
            for ord in (0, 1, 2, 3.5, -1, np.inf, -np.inf)
        ],
    ],
    "outer": [([(2,), (3,)], wb.outer, torch.outer), ([(2, 2), (3,)], wb.outer, lambda a, b: torch.outer(a.ravel(), b))],
    "ravel": [([(2, 3)], wb.ravel, torch.ravel), ([()], wb.ravel, torch.ravel)],
    "set_at": [
        ([(3, 4), shape], lambda a, b, i=i: wb.set_at(a, i, b), lambda a, b, i=i: replaced(a, b, i))
        for shape, i in [((), 1), ((4,), 1), ((2, 4), slice(0, 2)), ((3,), (slice(None), 2)), ((2,), ([0, 2], [1, 1]))]
    ],
    "slogdet": [([(3, 3)], wb.slogdet, linalg.slogdet), ([(2, 3, 3)], wb.slogdet, linalg.slogdet)],
    "split": [([(2, 6)], lambda a: wb.split(a, 3, axis=1), lambda a: torch.tensor_split(a, 3, 1))],
    "squeeze": [([(1, 3, 1)], wb.squeeze, torch.squeeze), ([(1, 3, 1)], lambda a: wb.squeeze(a, 0), lambda a: torch.squeeze(a, 0))],
    "svd": [([s], wb.svd, signed_svd) for s in [(3, 3), (2, 4), (4, 2), (2, 3, 2)]]
    + [([(2, 3)], lambda a: wb.svd(a, compute_uv=False), linalg.svdvals)],
    "swapaxes": [([(2, 3, 4)], lambda a: wb.swapaxes(a, 0, -1), lambda a: torch.swapaxes(a, 0, -1))],
    "tensordot": [
        ([(2, 3), (3, 4)], lambda a, b: wb.tensordot(a, b, 1), lambda a, b: torch.tensordot(a, b, 1)),
        ([(2, 3, 4), (4, 2, 5)], lambda a, b: wb.tensordot(a, b, ([0, 2], [1, 0])), lambda a, b: torch.tensordot(a, b, ([0, 2], [1, 0]))),
    ],
    "trace": [
        ([(3, 3)], wb.trace, torch.trace),
        ([(2, 3, 4)], lambda a: wb.trace(a, 1, 1, 2), lambda a: torch.diagonal(a, 1, 1, 2).sum(-1)),
    ],
    "vstack": [([s, t], lambda *p: wb.vstack(p), lambda *p: torch.vstack(p)) for s, t in [((3,), (3,)), ((2, 3), (3,)), ((2, 3), (1, 3))]],
}  # fmt: skip

# What is not compared, and why.
APART = {"dropout": "its numbers are random; what it does with them is a product, and test_layers.py counts them"}


def test_every_function_that_is_no_row_is_compared():
    tables = {op.function.__module__ for op in REGISTRY.values() if op.name not in COMPILED}
    public = {name: getattr(sys.modules[t], name) for t in tables for name in getattr(sys.modules[t], "__all__", ())}
    ours = {
        name
        for name, f in public.items()
        if not isinstance(f, type)
        and callable(f)
        and (name not in REGISTRY or inspect.unwrap(REGISTRY[name].function) is not inspect.unwrap(f))
    }
    assert len(ours) > 20
    assert ours == CALLS.keys() | APART.keys()


def weights_like(shape, k):
    return np.cos(np.arange(1.0 + k, 1.0 + k + np.prod(shape, dtype=int))).reshape(shape)


def as_list(results):
    return list(results) if isinstance(results, (list, tuple)) else [results]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("name", "case"), [pytest.param(n, c, id=f"{n}-{i}") for n, cases in CALLS.items() for i, c in enumerate(cases)]
)
def test_values_gradients_and_second_derivatives_are_torchs(name, case, seed):
    shapes, call, torchs = case
    rng = np.random.default_rng(seed)
    drawn = [rng.uniform(0.3, 2.0, shape) for shape in shapes]
    given = [wb.Value(x) for x in drawn]
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in drawn]
    ours, theirs = as_list(call(*given)), as_list(torchs(*leaves))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        close(a.data, b, 1e-9)
    loss = sum(wb.sum(a * weights_like(a.shape, k)) for k, a in enumerate(ours))
    expected = sum((b * torch.as_tensor(weights_like(tuple(b.shape), k))).sum() for k, b in enumerate(theirs))
    loss.backward(record=True)
    first = torch.autograd.grad(expected, leaves, create_graph=True, allow_unused=True, materialize_grads=True)
    for v, d in zip(given, first, strict=True):
        close(v.grad.data, d, 1e-8)
    again = sum(wb.sum(wb.sin(v.grad)) for v in given)
    further = sum(torch.sin(d).sum() for d in first)
    for v in given:
        v.grad = None
    again.backward()
    second = torch.autograd.grad(further, leaves, allow_unused=True) if further.requires_grad else [None] * len(leaves)
    for v, d in zip(given, second, strict=True):
        close(np.zeros(v.shape) if v.grad is None else v.grad, torch.zeros(v.shape) if d is None else d, 1e-7)
