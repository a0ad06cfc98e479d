"""The published schema of the Debug Adapter Protocol, and whether a message keeps to it.

``protocol/debugAdapterProtocol.json`` comes from github.com/microsoft/debug-adapter-protocol (commit e34479c), under the
MIT License beside it. It lets any further member pass, so that a misspelt one would too; here, what a server says may have
no member that the protocol does not name.
"""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

__all__ = ["SCHEMA", "ValidationError", "check", "kind"]

SCHEMA = json.loads((Path(__file__).parent / "protocol" / "debugAdapterProtocol.json").read_text(encoding="utf-8"))


def kind(message: dict[str, Any]) -> str:
    """The definition that a message must keep to."""
    if message.get("type") == "event":
        return f"{_capital(message['event'])}Event"
    if message.get("type") == "response":
        return f"{_capital(message['command'])}Response" if message["success"] else "ErrorResponse"
    return f"{_capital(message['command'])}Request"


def check(message: dict[str, Any], strictly: bool = True) -> None:
    """Raise ``ValidationError`` where a message breaks the protocol."""
    _validator(kind(message), strictly).validate(message)


@functools.lru_cache(maxsize=256)
def _validator(name: str, strictly: bool) -> Draft202012Validator:
    definitions = _closed() if strictly else SCHEMA["definitions"]
    assert name in definitions, f"the protocol has no {name}"
    # `unevaluatedProperties`, which sees through allOf and $ref, is why it is read by a later draft than its own.
    return Draft202012Validator(
        {"$ref": f"#/definitions/{name}", "unevaluatedProperties": not strictly, "definitions": definitions}
    )


@functools.lru_cache(maxsize=1)
def _closed() -> dict[str, Any]:
    """The definitions, with no further members in the objects that messages are made of."""
    definitions = copy.deepcopy(SCHEMA["definitions"])
    extended: set[str] = set()  # those that others add members to

    def close(schema: Any, member: bool) -> None:
        if isinstance(schema, list):
            for one in schema:
                close(one, member=True)
        elif isinstance(schema, dict):
            for part in schema.get("allOf", ()):
                if "$ref" in part:
                    extended.add(part["$ref"].rpartition("/")[2])
                else:
                    close(part, member=False)
            for name, inner in schema.items():
                if name != "allOf":
                    close(inner, member=True)
            if (
                member
                and schema.get("type") == "object"
                and "properties" in schema
                and "additionalProperties" not in schema
            ):
                schema["unevaluatedProperties"] = False

    for definition in definitions.values():
        close(definition, member=True)
    for name in extended:
        definitions[name].pop("unevaluatedProperties", None)
    return definitions


def _capital(command: str) -> str:
    return command[:1].upper() + command[1:]
