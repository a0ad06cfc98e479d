"""A warning about `out, state = layer(x)`, which would unpack the rows of the batch."""

from __future__ import annotations

import dis
import sys
from typing import TYPE_CHECKING

from tinygrad_wb.nn.calls import notes_on
from tinygrad_wb.notices import warn_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from tinygrad_wb.value import Value

__all__ = ["parts_of"]

UNPACK = dis.opmap["UNPACK_SEQUENCE"]


def parts_of(value: Value) -> Iterator[Value]:
    """A Value's parts along its first axis; a warning where other libraries' layers would have returned several."""
    for call in notes_on(value):
        module = call[0]()
        if module is not None and module._beside and _is_unpacking(sys._getframe(1)):
            warn_user(
                f"{module.label} returns one Value, and `a, b = layer(x)` takes that apart along its first axis: write "
                f"{module._beside}. If the rows are meant, take them by y[0], y[1]"
            )
    return (value[i] for i in range(len(value)))


def _is_unpacking(frame: FrameType) -> bool:
    """Whether the running instruction assigns to two names or three, as other libraries' layers return."""
    code, at = frame.f_code.co_code, frame.f_lasti
    return code[at] == UNPACK and code[at + 1] in (2, 3)
