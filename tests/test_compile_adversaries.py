"""Compiled functions and the same functions as they are: whatever a user's code does, both can't be told apart."""

import pytest
from adversaries import ROWS
from adversaries.stage import compare, play, play_in_fit

FITTING = [name for name, row in ROWS.items() if row.fits]
FOLLOWED = [name for name, row in ROWS.items() if row.way]


def way_of(compiled):
    """The way that a compiled function takes, by what it reports: "followed", "known", "promised" or "eager"."""
    return str(compiled.report()).split(maxsplit=1)[0].strip(":,.;").lower()


@pytest.mark.parametrize("name", ROWS)
def test_compiled_as_eager(name):
    row = ROWS[name]
    eager, compiled = play(row, compiles=False), play(row, compiles=True)
    assert any(note[1] == ("str", "raised") for note in eager.notes) == row.raises
    assert compiled.functions or row.calls == 1
    assert compare(eager, compiled, row.rtol) == ""


@pytest.mark.parametrize("name", FITTING)
def test_compiled_as_eager_in_fit(name):
    row = ROWS[name]
    eager, compiled = play_in_fit(row, compiles=False), play_in_fit(row, compiles=True)
    assert compare(eager, compiled, row.rtol) == ""


@pytest.mark.parametrize("name", FOLLOWED)
def test_right_code_is_followed(name):
    compiled = play(ROWS[name], compiles=True)
    assert [way_of(f) for f in compiled.functions] == [ROWS[name].way] * len(compiled.functions)


@pytest.mark.parametrize("name", ROWS)
def test_rows_can_be_repeated(name):
    """A row has no state that outlives a run, so that what is compared is the compiler's doing alone."""
    assert compare(play(ROWS[name], compiles=False), play(ROWS[name], compiles=False), 1e-15) == ""
