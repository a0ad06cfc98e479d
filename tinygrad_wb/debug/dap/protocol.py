"""Messages of the Debug Adapter Protocol: how they stand on the wire, and whether one has the form that was agreed on.

A message is a header, ``Content-Length: 119``, an empty line, and so many bytes of JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FramingError", "MessageError", "framed", "misfit", "read"]

LONGEST_LINE = 1024  # of a header
LONGEST_MESSAGE = 4 * 2**20  # bytes
HEADERS = ("content-length", "content-type")


class MessageError(ValueError):
    """A message that means nothing; those after it can be read."""


class FramingError(ValueError):
    """Nobody can tell where the next message begins."""


def read(stream: BinaryIO) -> dict[str, Any] | None:
    """The next message; None at the end. Whatever is no message raises `MessageError` or `FramingError`."""
    length = _length(stream)
    if length is None:
        return None
    data = stream.read(length)
    if len(data) < length:
        return None
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MessageError(f"a message that is no JSON: {type(error).__name__}: {error}") from None
    if not isinstance(message, dict):
        raise MessageError(f"a message is an object, not {message!r:.40}")
    return message


def _length(stream: BinaryIO) -> int | None:
    """Read a header; any line that does not belong in one, such as a web browser's request, breaks off."""
    length = None
    while line := stream.readline(LONGEST_LINE):
        text = line.decode("latin-1").rstrip("\r\n")
        if not text:
            if length is None:
                raise FramingError("a header without a Content-Length")
            return length
        name, _, content = text.partition(":")
        content = content.strip()
        if not line.endswith(b"\n") and len(line) < LONGEST_LINE:
            return None
        if name.lower() not in HEADERS or len(line) == LONGEST_LINE:
            raise FramingError(f"a header of Content-Length is wanted, got {text!r:.60}")
        if name.lower() == "content-length":
            if not (content.isascii() and content.isdigit() and int(content) <= LONGEST_MESSAGE):
                raise FramingError(f"a Content-Length up to {LONGEST_MESSAGE} is wanted, got {content!r:.60}")
            length = int(content)
    return None


def framed(message: Mapping[str, Any]) -> bytes:
    data = json.dumps(message, allow_nan=False).encode("ascii")
    return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)


KINDS = {int: "a whole number", str: "a text", bool: "true or false"}


def misfit(given: Any, form: Any, where: str = "arguments") -> str:
    """What is wrong with ``given``; "" if it has the ``form``: a type, ``[form of each]``, or ``{name: form}``.

    A name that ends in ``?`` may be missing. What the form does not name may be there: the protocol grows.

    >>> misfit({"line": "4"}, {"line": int, "column?": int})
    "arguments.line: a whole number is wanted, got '4'"
    """
    if isinstance(form, dict):
        if not isinstance(given, dict):
            return f"{where}: an object is wanted, got {given!r:.40}"
        wrong = (_member(given, name, inner, where) for name, inner in form.items())
    elif isinstance(form, list):
        if not isinstance(given, list):
            return f"{where}: a list is wanted, got {given!r:.40}"
        wrong = (misfit(one, form[0], f"{where}[{i}]") for i, one in enumerate(given))
    else:
        fits = type(given) is form and (form is not int or abs(given) < 2**53)
        return "" if fits else f"{where}: {KINDS[form]} is wanted, got {given!r:.40}"
    return next(filter(None, wrong), "")


def _member(given: dict[str, Any], name: str, form: Any, where: str) -> str:
    key = name.removesuffix("?")
    if given.get(key) is not None:
        return misfit(given[key], form, f"{where}.{key}")
    return "" if name.endswith("?") else f"{where}.{key} is missing"
