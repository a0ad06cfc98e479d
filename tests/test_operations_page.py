"""docs/operations.md is what the registry prints today, and what it says of checked orders is true."""

import operator
import re

import numpy as np
import pytest
from docs_scripts import DOCS, docs_script
from test_operations import COMPILED, REGISTRY, ROWS, WITHOUT_DERIVATIVE

import tinygrad_wb as wb

PAGE = DOCS / "operations.md"
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the tests run apart from the project's sources: no docs/")


@pytest.fixture(scope="module")
def maker():
    return docs_script("make_operations")


def cells():
    """The rows of the page's tables: the call, and the cells."""
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| **`")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return {re.match(r"\*\*`([\w.]+)", row[0])[1]: row for row in rows}


@pytest.mark.skipif(
    not hasattr(np, "cumulative_sum"), reason="this NumPy has fewer names than the page, which takes 2.1"
)
def test_the_page_is_what_the_registry_prints(maker):
    assert maker.made() == PAGE.read_text(encoding="utf-8"), "run `python docs/make_operations.py`"


def test_every_operation_and_every_public_function_has_a_row():
    found = cells()
    assert REGISTRY.keys() - COMPILED <= found.keys()
    tables = {op.function.__module__.rpartition(".")[2] for op in REGISTRY.values()} - {"compiled"}
    for table in tables:
        module = getattr(wb.operations, table, None)
        for name in getattr(module, "__all__", ()):
            assert name in found or isinstance(getattr(module, name), type), name


def test_the_order_is_the_one_that_the_tests_check():
    for name, row in cells().items():
        if name in ROWS:
            assert row[3] == f"order {ROWS[name].order}<br>{len(ROWS[name].cases)}\N{NO-BREAK SPACE}samples"
            assert all(
                f"/∂{x}" in row[1] for x, p in zip(REGISTRY[name].inputs, REGISTRY[name].partials, strict=True) if p
            )
        elif name in WITHOUT_DERIVATIVE:
            assert row[1:2] + row[3:] == ["none", ""]


@pytest.mark.parametrize("order", [1, 2])
def test_a_wrong_partial_makes_no_page(maker, monkeypatch, order):
    """Wrong at once, or right in value and wrong when it is differentiated: the page would say something untrue."""
    op = REGISTRY["sin"]
    wrong = (lambda g, y, a: g * wb.sin(a)) if order == 1 else (lambda g, y, a: g * np.cos(wb.value.raw(a)))
    monkeypatch.setattr(op, "partials", (wrong,))
    monkeypatch.setattr(op, "da", wrong)
    with pytest.raises(wb.GradientError):
        maker.made()


def test_formulas_are_the_partials_own(maker, monkeypatch):
    op = REGISTRY["sin"]
    assert maker.formulas(op, ROWS["sin"].cases[0]) == [("a", True, "cos(a)")]
    other = lambda g, y, a: g * wb.sqrt(1.0 - y * y)
    monkeypatch.setattr(op, "partials", (other,))
    monkeypatch.setattr(op, "da", other)
    assert maker.formulas(op, ROWS["sin"].cases[0]) == [("a", True, "sqrt(1 − y·y)")]


def test_numpys_names_are_those_that_record(maker):
    names = maker.numpy_names()
    assert names["absolute"] == ["np.abs", "np.absolute", "np.fabs"]
    assert names["sum"] == ["np.sum", "np.add.reduce"]
    assert "np.linalg.inv" in names["inv"]
    assert "put" not in names
    one_number = [name for name in names if name in ROWS and ROWS[name].elementwise and REGISTRY[name].arity == 1]
    assert len(one_number) > 25
    for name in one_number:
        for path in names[name]:
            v = wb.Value(2.0 if name == "arccosh" else 0.5)
            assert operator.attrgetter(path.removeprefix("np."))(np)(v).op is REGISTRY[name]


def test_operators_are_those_that_record(maker):
    found = {name: text for name in REGISTRY.keys() - COMPILED if (text := maker.operator_of(REGISTRY[name]))}
    assert found == {
        "add": "a + b", "subtract": "a - b", "multiply": "a * b", "divide": "a / b", "power": "a ** b", "mod": "a % b",
        "floor_divide": "a // b", "matmul": "a @ b", "negative": "-a", "positive": "+a", "getitem": "a[index]",
        "greater": "a > b", "greater_equal": "a >= b", "less": "a < b", "less_equal": "a <= b", "equal": "a == b",
        "not_equal": "a != b",
    }  # fmt: skip


def test_what_a_function_records_is_found_by_calling_it(maker):
    v = wb.Value([[1.0, 2.0], [3.0, 4.0]])
    assert maker.recorded(lambda: [wb.exp(v) * 2.0, wb.sum(v)]) == ["exp", "multiply", "sum"]
