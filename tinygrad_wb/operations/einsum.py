"""Einstein's summation: one row for every product of arrays that is summed over some of their axes.

Each axis of each operand has a letter, and so has each axis of the result; the sum goes over all letters that the
result has not. The partial by one operand is the same kind of thing: the gradient, with the result's letters, takes its
place.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from tinygrad_wb.errors import ShapeError
from tinygrad_wb.operation import operation, plain
from tinygrad_wb.operations.arithmetic import multiply, positive
from tinygrad_wb.operations.indexing import put
from tinygrad_wb.operations.shaping import astype, broadcast_to, reshape, shape_of
from tinygrad_wb.value import raw

__all__ = ["einsum", "tensordot"]

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # for the axes, as in NumPy


def _contract_partial(g: Any, y: Any, *operands: Any, position: int, subscripts: str, optimize: Any) -> Any:
    inputs, output = subscripts.split("->")
    terms = inputs.split(",")
    own = terms.pop(position)
    others = operands[:position] + operands[position + 1 :]
    letters = "".join(dict.fromkeys(own))  # each once
    known = "".join(c for c in letters if c in output or any(c in term for term in terms))
    d = _contracted([g, *others], [output, *terms], known, bool(optimize))  # its own order, if any
    if known != letters:  # the others were summed over in this operand alone: their slope is the same all along
        d = reshape(d, tuple(shape_of(d)[known.index(c)] if c in known else 1 for c in letters))
    if own == letters:
        return d
    lengths = dict(zip(own, shape_of(operands[position]), strict=True))  # a diagonal was read, so it is written
    grid = np.ix_(*(np.arange(lengths[c]) for c in letters))
    d = broadcast_to(d, tuple(lengths[c] for c in letters))
    return put(d, tuple(grid[letters.index(c)] for c in own), shape_of(operands[position]))


@operation(
    # `optimize` as text: programs leave away options that are at their defaults, but NumPy's is False
    numpy=lambda subscripts, optimize: f"np.einsum({{subscripts}}, *{{operands}}, optimize={optimize!r})",
    variadic=True,
    name="einsum",
    doperands=_contract_partial,
)
def contract(operands: Any, subscripts: str, optimize: Any = True) -> Any:
    """``einsum`` with the letters spelled out: ``"ij,jk->ik"``; equal letters have equal lengths."""
    return plain(np.einsum(subscripts, *operands, optimize=optimize))


def _contracted(operands: Any, terms: list[str], output: str, optimize: Any) -> Any:
    """``contract``, where it is needed: a number multiplies, and what has the result's letters already is that."""
    arrays = [(x, term) for x, term in zip(operands, terms, strict=True) if term]
    numbers = [x for x, term in zip(operands, terms, strict=True) if not term]
    if [term for _, term in arrays] == [output]:
        numbers.insert(0, arrays[0][0])
    elif arrays:
        parts, letters = zip(*arrays, strict=True)
        numbers.insert(0, contract(parts, f"{','.join(letters)}->{output}", optimize))
    return functools.reduce(multiply, numbers)


def einsum(subscripts: str, *operands: Any, optimize: Any = True) -> Any:
    """The sum of products that ``subscripts`` describe: a letter for each axis of each operand, commas between them.

    After ``->`` stand the letters of the result, in its order; without it, those that occur once, in the alphabet's.
    ``...`` stands for axes without letters, which broadcast; a letter that an operand has twice reads its diagonal.
    NumPy's ``optimize`` chooses the order of more than two operands, and lets two go through BLAS, so it is on here.

    >>> import tinygrad_wb as wb
    >>> v, w = wb.Value([[1.0, 2.0], [3.0, 4.0]]), wb.Value([10.0, 1.0])
    >>> wb.einsum("ij,j->i", v, w)
    Value([12., 34.], op=einsum)
    >>> wb.einsum("ii", v)
    Value(5.0, op=einsum)
    """
    if not isinstance(subscripts, str):
        raise TypeError(
            f"einsum(subscripts, *operands): give the subscripts as a text, such as 'ij,jk->ik', got {subscripts!r:.80}"
        )
    operands = tuple(_of_floats(x) for x in operands)
    shapes = [shape_of(x) for x in operands]
    terms, output = _spelled_out(subscripts, shapes)
    lengths = _lengths(subscripts, terms, shapes)
    # An axis of length 1 that another operand stretches says nothing: the operand does without it.
    kept = [
        [c for c, n in zip(term, shape, strict=True) if n == lengths[c]]
        for term, shape in zip(terms, shapes, strict=True)
    ]
    operands = tuple(
        x if len(letters) == len(shape) else reshape(x, tuple(lengths[c] for c in letters))
        for x, letters, shape in zip(operands, kept, shapes, strict=True)
    )
    terms = list(map("".join, kept))
    if terms == [output]:
        return positive(operands[0])
    return _contracted(operands, terms, output, optimize)


def _of_floats(x: Any) -> Any:
    """NumPy would add up small whole numbers in small whole numbers, and truths by ``or``."""
    data = np.asarray(raw(x))
    return astype(x, np.float64) if data.ndim and data.dtype.kind in "iub" else x


def _spelled_out(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """The letters of each operand, and of the result, with spare ones for ``...``."""

    def wrong(what: str) -> ShapeError:
        told = ", ".join(map(str, shapes)) or "none"
        return ShapeError(f"einsum({subscripts!r}, …): {what}; the operands' shapes are {told}")

    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(shapes):
        raise wrong(f"there are {len(terms)} terms for {len(shapes)} operands")
    unnamed = []
    for i, (term, shape) in enumerate(zip(terms, shapes, strict=True)):
        letters = term.replace("...", "", 1)
        if not set(letters) <= set(LETTERS):
            raise wrong(f"{term!r} is not made of letters and one '...'")
        unnamed.append(len(shape) - len(letters))
        if unnamed[i] < 0 or (unnamed[i] and letters == term):
            raise wrong(f"{term!r} has {len(letters)} letters for the {len(shape)} axes of operand {i}")
    longest = max(unnamed)
    spare = "".join(c for c in LETTERS if c not in subscripts)[:longest]
    once = sorted(c for c in set(inputs) - set(",.") if inputs.count(c) == 1)
    if not arrow:
        output = "..." + "".join(once)
    result = output.replace("...", spare)
    terms = [term.replace("...", spare[longest - n :]) for term, n in zip(terms, unnamed, strict=True)]
    if len(set(result)) < len(result) or not set(result) <= set("".join(terms)):
        raise wrong(f"the letters of the result, {output!r}, must be letters of operands, each once")
    if longest and "..." not in output:
        raise wrong(f"the result, {output!r}, needs a '...' as well; sum over those axes afterwards")
    return terms, result


def _lengths(subscripts: str, terms: list[str], shapes: list[tuple[int, ...]]) -> dict[str, int]:
    """The length that each letter stands for; an axis of length 1 is stretched to it."""
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for c, n in zip(term, shape, strict=True):
            if lengths.setdefault(c, n) == 1:
                lengths[c] = n
            elif n not in (1, lengths[c]):
                raise ShapeError(
                    f"einsum({subscripts!r}, …): one letter stands for lengths {lengths[c]} and {n}; "
                    f"the operands' shapes are {', '.join(map(str, shapes))}"
                )
    return lengths


def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over axes of a and of b: so many, the last of a and the first of b, or two lists of them."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    if np.ndim(axes) == 0:
        axes = range(len(a_shape) - int(axes), len(a_shape)), range(int(axes))
    try:
        a_axes, b_axes = (normalize_axis_tuple(x, len(s)) for x, s in zip(axes, (a_shape, b_shape), strict=True))
        fits = [a_shape[i] for i in a_axes] == [b_shape[i] for i in b_axes]
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"tensordot(a, b, axes={axes}): a has shape {a_shape} and b {b_shape}; "
            "as many axes of the one as of the other must be named, and have the same lengths"
        )
    letters = LETTERS
    a_term = letters[: len(a_shape)]
    b_term = list(letters[len(a_shape) : len(a_shape) + len(b_shape)])
    for i, j in zip(a_axes, b_axes, strict=True):
        b_term[j] = a_term[i]
    summed = {a_term[i] for i in a_axes}
    output = "".join(c for c in (*a_term, *b_term) if c not in summed)
    return _contracted([a, b], [a_term, "".join(b_term)], output, True)
