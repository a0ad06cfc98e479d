"""`step --dap`: an editor's side of it, over a real socket to a real process, held against the protocol's schema."""

import contextlib
import functools
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from debuggers.dap_client import ANNOUNCED, DapError, StepClient
from hypothesis import given, settings
from hypothesis import strategies as st
from test_random_graphs import programs, run
from test_stepper import bits

import tinygrad_wb as wb
from tinygrad_wb.__main__ import COMMANDS, build_parser
from tinygrad_wb.debug.dap import clients
from tinygrad_wb.debug.dap.protocol import FramingError, misfit, read
from tinygrad_wb.debug.dap.requests import CAPABILITIES, MOVES, REQUESTS
from tinygrad_wb.debug.dap.server import debugged, stopping
from tinygrad_wb.debug.dap.session import Session
from tinygrad_wb.debug.stops import Stops

pytest.importorskip("jsonschema", reason="jsonschema, which holds messages against the protocol, is not installed")
from debuggers.dap_schema import SCHEMA, ValidationError, check

TRAIN = """\
import sys
import numpy as np
import tinygrad_wb as wb


class Net(wb.Module):
    def __init__(self):
        self.hidden = wb.Dense(2, 3, activation="tanh", seed=0)
        self.output = wb.Dense(3, 1, seed=1)

    def forward(self, x):
        h = self.hidden(x)
        side = h.sum()
        return self.output(h) + side


def train(net, x):
    for epoch in range(2):
        error = net(x) - 1.0
        loss = (error ** 2).mean()
        loss.backward()
        print(f"epoch {epoch}: {loss:.4f} {net.hidden.bias.grad}")
        net.zero_grad()


train(Net(), np.array([[0.0, 1.0], [1.0, 0.5]]))
print("arguments", sys.argv[1:], file=sys.stderr)
sys.exit(3)
"""

SCALARS = """\
import tinygrad_wb as wb

w = wb.Value(0.1, name="w")
a = w * 0.3
b = w * 0.7
c = wb.tanh(w)
total = a + b
loss = total * c + w
loss.backward()
print("gradient", repr(w.grad))
"""


def line(text, start, nth=0):
    """The number of a line of a script, by its beginning."""
    return [i for i, row in enumerate(text.splitlines(), 1) if row.strip().startswith(start)][nth]


@functools.lru_cache
def plain(path, *words):
    """What the script does without anybody looking."""
    env = {**os.environ, "PYTHONPATH": str(Path(wb.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, path.name, *words], cwd=path.parent, env=env,
        capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def debug(tmp_path):
    """A client of a script, whose every message is held against the schema in the end."""
    clients = []

    def started(text, *words, file="train.py", **how):
        path = tmp_path / file
        path.write_text(text, encoding="utf-8")
        client = StepClient(path, *words, **how)
        client.path = path
        clients.append(client)
        return client

    yield started
    for client in clients:
        client.close()
        for way, message in client.messages:
            if way == "<-":
                check(message)
        numbers = [message["seq"] for way, message in client.messages if way == "<-"]
        assert numbers == list(range(1, len(numbers) + 1)), "numbered in order"
        known = set()
        for way, message in client.messages:
            if message.get("event") == "breakpoint":
                assert message["body"]["breakpoint"]["id"] in known, "of no breakpoint that it was not told of"
            elif way == "<-" and message.get("success"):
                known |= {one["id"] for one in message.get("body", {}).get("breakpoints", [])}


def top(client):
    frame = client.stack()[0]
    return frame["name"], frame["line"]


def refused(client, command, **arguments):
    """What a request is refused with."""
    with pytest.raises(DapError, match=f"'{command}' was refused"):
        client.request(command, **arguments)
    response = [m for way, m in client.messages if way == "<-" and m["type"] == "response"][-1]
    assert response["success"] is False
    error = response["body"]["error"]
    quietly = (
        command == "evaluate" or response["message"] == "notStopped"
    )  # VS Code's own doing, no reason for a pop-up
    assert error["showUser"] is not quietly
    return error["variables"]["text"]


def position(client):
    return client.variables(1, "This step")["position"]


# -- the schema, and what is announced ----------------------------------------------------------------------------------


def test_the_schema_rejects():
    event = {"seq": 1, "type": "event", "event": "stopped", "body": {"reason": "step", "threadId": 1}}
    check(event)
    for body in ({"reason": "step", "threadid": 1}, {"threadId": 1}, {"reason": "step", "threadId": "1"}):
        with pytest.raises(ValidationError):
            check(event | {"body": body})
    with pytest.raises(ValidationError):
        check(event | {"bodi": {}})
    with pytest.raises(AssertionError):
        check(event | {"event": "stoped"})
    stack = {"seq": 1, "type": "response", "request_seq": 1, "success": True, "command": "stackTrace"}
    check(stack | {"body": {"stackFrames": [{"id": 1, "name": "", "line": 1, "column": 1}]}})
    with pytest.raises(ValidationError):
        check(stack | {"body": {"stackFrames": [{"id": 1, "name": "", "line": 1, "column": 1, "sauce": 2}]}})


NEEDS = {  # a capability, and the request that it announces
    "supportsConfigurationDoneRequest": "configurationDone",
    "supportsFunctionBreakpoints": "setFunctionBreakpoints",
    "supportsStepBack": "stepBack",
    "supportsSetVariable": "setVariable",
    "supportsRestartFrame": "restartFrame",
    "supportsGotoTargetsRequest": "gotoTargets",
    "supportsStepInTargetsRequest": "stepInTargets",
    "supportsCompletionsRequest": "completions",
    "supportsModulesRequest": "modules",
    "supportsRestartRequest": "restart",
    "supportsExceptionInfoRequest": "exceptionInfo",
    "supportsLoadedSourcesRequest": "loadedSources",
    "supportsTerminateThreadsRequest": "terminateThreads",
    "supportsSetExpression": "setExpression",
    "supportsTerminateRequest": "terminate",
    "supportsDataBreakpoints": "setDataBreakpoints",
    "supportsReadMemoryRequest": "readMemory",
    "supportsWriteMemoryRequest": "writeMemory",
    "supportsDisassembleRequest": "disassemble",
    "supportsCancelRequest": "cancel",
    "supportsBreakpointLocationsRequest": "breakpointLocations",
    "supportsInstructionBreakpoints": "setInstructionBreakpoints",
}


def test_exactly_the_requests_that_work_are_announced():
    known = SCHEMA["definitions"]["Capabilities"]["properties"]
    assert set(CAPABILITIES) | set(NEEDS) <= set(known)
    for capability, command in NEEDS.items():
        assert CAPABILITIES.get(capability, False) is (command in REQUESTS), capability
    assert {"stepBack", "reverseContinue"} <= set(MOVES) <= set(REQUESTS)
    for command in REQUESTS:
        assert f"{command[0].upper()}{command[1:]}Request" in SCHEMA["definitions"]


def test_the_forms_of_arguments_are_the_protocols():
    """What the table asks for is in the schema, of the same type, and required there if it is here."""
    kinds = {int: "integer", str: "string", bool: "boolean"}

    def compare(form, schema, where):
        if "$ref" in schema:
            schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        if isinstance(form, list):
            assert schema["type"] == "array", where
            compare(form[0], schema["items"], where)
        elif isinstance(form, dict):
            for key, inner in form.items():
                name = key.removesuffix("?")
                if (where, name) not in {
                    (f"{command}Request", own) for command in ("Launch", "Attach") for own in ("stopOnEntry", "token")
                }:
                    assert name in schema["properties"], (where, name)
                    compare(inner, schema["properties"][name], (where, name))
                assert key.endswith("?") or name in schema.get("required", []), (where, name)
        else:
            assert schema["type"] == kinds[form], where

    for command, request in REQUESTS.items():
        name = f"{command[0].upper()}{command[1:]}"
        schema = SCHEMA["definitions"][f"{name}Request"]["allOf"][1]["properties"]
        arguments = schema.get("arguments", {"properties": {}})
        compare(dict(request.form), arguments, f"{name}Request")


def test_misfits():
    form = {"line": int, "lines?": [int], "source": {"path?": str}}
    assert misfit({"line": 3, "source": {}, "more": 1}, form) == ""
    assert misfit({"line": 3, "lines": None, "source": {"path": None}}, form) == ""
    for wrongly, wrong in [
        ([], "arguments: an object is wanted, got []"),
        ({"source": {}}, "arguments.line is missing"),
        ({"line": None, "source": {}}, "arguments.line is missing"),
        ({"line": True, "source": {}}, "arguments.line: a whole number is wanted, got True"),
        ({"line": 3.0, "source": {}}, "arguments.line: a whole number is wanted, got 3.0"),
        ({"line": 3, "lines": [1, "2"], "source": {}}, "arguments.lines[1]: a whole number is wanted, got '2'"),
        ({"line": 3, "lines": 7, "source": {}}, "arguments.lines: a list is wanted, got 7"),
        ({"line": 3, "source": {"path": 3}}, "arguments.source.path: a text is wanted, got 3"),
    ]:
        assert misfit(wrongly, form) == wrong


# -- derivatives of functions -----------------------------------------------------------------------------------------

DERIVE = """\
import tinygrad_wb as wb

def f(t):
    cube = t ** 3
    return cube * 2.0

print("slope", wb.grad(f)(2.0))
print("curvature", wb.grad(wb.grad(f))(2.0))
"""


def test_passes_of_derivatives_stop_with_their_names_and_how_they_nest(debug):
    client = debug(DERIVE)
    assert client.begin()["reason"] == "entry"
    assert top(client) == ("<module>", line(DERIVE, 'print("slope"'))
    client.set_breakpoints(client.path, [line(DERIVE, "cube")])
    descriptions = []
    for _ in range(2):
        body = client.go("continue")
        assert body["reason"] == "breakpoint"
        assert top(client) == ("∂L/∂t from cube = t ** 3", line(DERIVE, "cube"))
        descriptions.append(body["description"])
    client.set_breakpoints(client.path, [line(DERIVE, 'print("curvature"')])  # where both of its passes begin
    descriptions.append(client.go("continue")["description"])
    assert "pass" not in descriptions[0]
    assert descriptions[1].endswith("; pass 2: an outer derivative is being taken, whose pass comes later")
    assert "; pass 3: it goes back through pass 2 too" in descriptions[2]
    client.set_breakpoints(client.path, [])
    client.request("continue", threadId=1)
    assert client.wait_terminated() == 0


# -- a session ------------------------------------------------------------------------------------------------------------


def test_a_session_from_launch_to_exit(debug):
    client = debug(TRAIN, "one", "two words")
    assert client.capabilities["supportsStepBack"] is True
    forward, inner, mean = (line(TRAIN, start) for start in ("return self.output", "h = self.hidden", "loss = (error"))
    verdicts = client.set_breakpoints(client.path, [inner, forward, line(TRAIN, "import sys")])
    assert [one["verified"] for one in verdicts] == [False] * 3
    assert verdicts[0]["message"] == "no backward() has been there yet"

    assert client.begin()["reason"] == "entry"
    assert top(client) == ("train", line(TRAIN, "loss.backward"))
    assert [frame["name"] for frame in client.stack()] == ["train", "<module>"]
    changed = [m["body"]["breakpoint"] for _, m in client.messages if m.get("event") == "breakpoint"]
    assert [(one["line"], one["verified"]) for one in changed] == [
        (inner, True), (forward, True), (line(TRAIN, "import sys"), False),
    ]  # fmt: skip
    assert "no operation in this backward pass comes from this line" in changed[2]["message"]
    assert client.request("threads") == {"threads": [{"id": 1, "name": "backprop"}]}

    client.go("next")
    assert top(client)[1] == mean

    body = client.go("continue")  # backprop comes to the later line first
    assert (body["reason"], body["hitBreakpointIds"]) == ("breakpoint", [verdicts[1]["id"]])
    assert top(client)[1] == forward
    body = client.go("continue")
    assert (body["reason"], body["hitBreakpointIds"]) == ("breakpoint", [verdicts[0]["id"]])
    frames = client.stack()
    assert [(frame["name"], frame["line"]) for frame in frames] == [
        ("∂L/∂affine_1 from h = tanh(affine_1)", inner),
        ("Dense 'hidden'", inner),
        ("Net", inner),
        ("train", line(TRAIN, "loss.backward")),
        ("<module>", line(TRAIN, "train(Net")),
    ]
    assert {frame["source"]["path"] for frame in frames} == {str(client.path)}
    part = client.request("stackTrace", threadId=1, startFrame=1, levels=2)
    assert ([f["name"] for f in part["stackFrames"]], part["totalFrames"]) == (["Dense 'hidden'", "Net"], 5)

    client.request("continue", threadId=1)  # the second backward()
    assert client.wait_stopped()["hitBreakpointIds"] == [verdicts[1]["id"]]
    assert client.output.startswith("epoch 0:")
    client.set_breakpoints(client.path, [])
    client.request("continue", threadId=1)
    assert client.wait_terminated() == 3
    assert client.output.endswith("arguments ['one', 'two words']\n")
    client.request("disconnect")
    assert client.finish() == plain(client.path, "one", "two words")


def test_moves(debug):
    """Into goes by partials, next by operations, out to the end of the operation, the layer, the pass."""
    client = debug(TRAIN)
    client.begin()
    client.set_breakpoints(client.path, [line(TRAIN, "return self.output")])
    client.go("continue")
    assert client.stack()[0]["name"].startswith("∂L/∂affine_2 from add_1")
    client.set_breakpoints(client.path, [])
    client.go("stepIn")
    assert client.stack()[0]["name"].startswith("∂L/∂side from add_1")
    client.go("next")
    assert client.stack()[0]["name"].startswith("∂L/∂h from affine_2")
    assert client.stack()[1]["name"] == "Dense 'output'"
    client.go("stepOut")  # the operation's end is the layer's, too
    assert client.stack()[0]["name"].startswith("∂L/∂output.bias from affine_2")
    client.go("next")
    assert client.stack()[0]["name"].startswith("∂L/∂h from side = sum(h)")
    client.go("next")
    assert client.stack()[1]["name"] == "Dense 'hidden'"
    client.go("stepIn")
    assert client.stack()[0]["name"].startswith("∂L/∂hidden.weight from affine_1")
    client.go("stepBack")
    client.go("stepOut")  # of the layer, as tanh has one partial only
    assert client.stack()[0]["name"].startswith("∂L/∂hidden.bias from affine_1")
    done, count = map(int, position(client).split(" of "))
    assert done == count
    client.go("stepBack")
    assert position(client) == f"{count - 1} of {count}"
    client.go("next")
    client.go("next")  # from the end on to the next backward()
    assert (position(client), client.output.count("epoch")) == (f"0 of {count}", 1)
    client.go("stepIn")
    client.go("stepOut")  # in no layer: of the pass
    assert position(client) == f"{count} of {count}"
    client.request("stepIn", threadId=1)
    assert client.wait_terminated() == 3


def totals(client):
    return client.variables(1, "Gradients so far")


def test_back_over_a_sum_of_contributions_is_exact(debug):
    client = debug(SCALARS)
    client.begin()
    client.request("setFunctionBreakpoints", breakpoints=[{"name": "w"}])
    seen, steps = [], []
    for _ in range(4):
        assert client.go("continue")["reason"] == "function breakpoint"
        seen.append(totals(client))
        steps.append(client.variables(1, "This step"))
    assert [rows["number"] for rows in steps] == [f"contribution {i} of 4" for i in (1, 2, 3, 4)]
    assert len({rows["∂L/∂w"] for rows in seen}) == 4
    assert steps[2]["∂L/∂w before"] == steps[1]["∂L/∂w"]
    for earlier in seen[-2::-1]:
        assert client.go("reverseContinue")["reason"] == "function breakpoint"
        assert totals(client) == earlier
    assert client.go("reverseContinue")["reason"] == "entry"
    assert totals(client) == {"∂L/∂loss": "1.0"}
    for later in seen:
        client.go("continue")
        assert totals(client) == later
    for _ in range(20):
        client.go("stepBack")
    assert position(client).startswith("0 of ")
    client.request("setFunctionBreakpoints", breakpoints=[])
    client.request("continue", threadId=1)
    assert client.wait_terminated() == 0
    assert client.output == plain(client.path)[1]
    assert seen[-1]["∂L/∂w"] in client.output


def test_one_step_back_and_forth(debug):
    client = debug(SCALARS)
    client.begin()
    states = [totals(client)]
    while (client.go("stepIn"), position(client).split(" of "))[1][0] != position(client).split(" of ")[1]:
        states.append(totals(client))
    for state in reversed(states):
        client.go("stepBack")
        assert totals(client) == state
    client.go("stepOut")
    assert client.go("restart")["reason"] == "entry"
    assert [m["event"] for _, m in client.messages if m["type"] == "event"][-2:] == ["continued", "stopped"]
    assert totals(client) == states[0]
    client.go("stepIn")
    assert totals(client) == states[1]


def test_breakpoints_set_and_left_on_the_way(debug):
    """A new one knows the hits behind, so that reverseContinue finds it."""
    client = debug(SCALARS)
    client.begin()
    a, b = line(SCALARS, "a ="), line(SCALARS, "b =")
    (verdict,) = client.set_breakpoints(client.path, [a])
    assert verdict["verified"] is True
    assert verdict == client.set_breakpoints(client.path, [a])[0], "the same one as before"
    client.go("continue")
    assert top(client)[1] == a
    assert client.set_breakpoints(client.path, [a, b, b + 100])[2]["verified"] is False
    assert client.go("reverseContinue")["reason"] == "breakpoint"
    assert top(client)[1] == b
    assert client.go("reverseContinue")["reason"] == "entry"


def test_a_breakpoint_at_the_call_of_backward(debug):
    client = debug(TRAIN)
    client.meet(stopOnEntry=False)
    client.set_breakpoints(client.path, [line(TRAIN, "loss.backward")])
    for epoch in range(2):
        body = client.begin() if epoch == 0 else client.go("continue")
        assert (body["reason"], position(client).split()[0]) == ("breakpoint", "0")
        assert client.evaluate("epoch", 1) == str(epoch)
    client.go("stepIn")
    assert client.go("reverseContinue")["reason"] == "breakpoint", "the start is where it is"
    client.request("continue", threadId=1)
    assert client.wait_terminated() == 3


LOOP = """\
import numpy as np
import tinygrad_wb as wb

w = wb.Value(0.5, name="w")
h = wb.Value(np.ones(3), name="start")
for t in range(4):
    h = wb.tanh(h * w)
loss = h.sum()
loss.backward()
"""


COUNTED = [
    ({}, [0, 1, 2, 3]),
    ({"hitCondition": "3"}, [2]),
    ({"hitCondition": ">= 3"}, [2, 3]),
    ({"hitCondition": "%2"}, [1, 3]),
    ({"hitCondition": "<2"}, [0]),
    ({"condition": "nan"}, []),
    ({"condition": "norm > 0.0", "hitCondition": "> 1"}, [1, 2, 3]),
    ({"condition": "np.isfinite(t) and norm >= 0"}, [0, 1, 2, 3]),
]


def test_conditions_and_hit_counts(debug):
    """A line in a loop is met once each time round."""
    client = debug(LOOP)
    client.begin()
    here = line(LOOP, "h = wb.tanh")
    client.request("setFunctionBreakpoints", breakpoints=[{"name": "start"}])  # is got to last
    places = []
    for words, stops in COUNTED:
        client.set_breakpoints(client.path, [here], **words)
        found = []
        while client.go("continue")["reason"] == "breakpoint":
            assert top(client)[1] == here
            found.append(position(client))
        places = places or found
        assert found == [places[i] for i in stops], words
        for place in reversed(found):
            client.go("reverseContinue")
            assert position(client) == place
        assert client.go("reverseContinue")["reason"] == "entry"
    assert len(set(places)) == 4
    client.set_breakpoints(client.path, [here], condition="step.name == 'w'")
    client.go("continue")
    assert client.stack()[0]["name"].startswith("∂L/∂w from"), "the first step there that fulfils it"


def test_hit_counts_go_on_over_backward_passes(debug):
    client = debug(TRAIN)
    client.meet(stopOnEntry=False)
    client.set_breakpoints(client.path, [line(TRAIN, "h = self.hidden")], hitCondition="2")
    assert client.begin()["reason"] == "breakpoint"
    assert client.evaluate("epoch", 1) == "1"


def test_conditions_and_counts_that_mean_nothing_are_told(debug):
    client = debug(LOOP)
    here = line(LOOP, "h = wb.tanh")
    (verdict,) = client.set_breakpoints(client.path, [here], hitCondition="often")
    assert (verdict["verified"], verdict["reason"]) == (False, "failed")
    assert "often" in verdict["message"]
    client.begin()
    (verdict,) = client.set_breakpoints(client.path, [here], condition="nrom > 3")
    assert verdict["verified"] is False
    assert "nrom > 3" in verdict["message"]
    client.set_breakpoints(client.path, [here], condition="norm > 1 / 0")
    body = client.go("continue")
    assert (body["reason"], "ZeroDivisionError" in body["text"]) == ("breakpoint", True)


def test_function_breakpoints(debug):
    client = debug(TRAIN)
    client.begin()
    for name, expected in [
        ("tanh", "h = tanh(affine_1)"),
        ("hidden.weight", "∂L/∂hidden.weight from"),
        ("output", "affine_2 ="),
    ]:
        body = client.request("setFunctionBreakpoints", breakpoints=[{"name": name}])
        assert body["breakpoints"][0]["verified"] is True
        assert client.go("continue")["reason"] == "function breakpoint"
        assert expected in client.stack()[0]["name"]
        client.go("restart")
    body = client.request("setFunctionBreakpoints", breakpoints=[{"name": "nobody"}])
    assert body["breakpoints"][0]["verified"] is False
    assert "nothing in this backward pass is called 'nobody'" in body["breakpoints"][0]["message"]
    client.request("setFunctionBreakpoints", breakpoints=[{"name": "backward", "condition": "epoch == 1"}])
    assert client.go("continue")["reason"] == "function breakpoint"
    assert client.evaluate("epoch", 1) == "1"


NAN = """\
import numpy as np
import tinygrad_wb as wb

x = wb.Value(np.array([1.0, 0.0, 4.0]), name="x")
root = wb.sqrt(x)
scaled = root * 2.0
loss = scaled.sum()
loss.backward()
"""


def test_stop_where_a_gradient_ceases_to_be_finite(debug):
    client = debug(NAN)
    (filter_,) = client.capabilities["exceptionBreakpointFilters"]
    client.begin()
    client.request("setExceptionBreakpoints", filters=[filter_["filter"]])
    assert client.go("continue")["reason"] == "exception"
    assert top(client)[1] == line(NAN, "root =")
    info = client.request("exceptionInfo", threadId=1)
    assert info["exceptionId"] == "NaN or inf gradient"
    assert "∂L/∂x" in info["description"]
    client.go("restart")
    assert "is not because" in refused(client, "exceptionInfo", threadId=1)
    client.request(
        "setExceptionBreakpoints", filters=[], filterOptions=[{"filterId": filter_["filter"], "condition": "nan"}]
    )
    client.request("continue", threadId=1)  # it is inf
    assert client.wait_terminated() == 0


# -- the same without a socket ------------------------------------------------------------------------------------------


class Scripted:
    """A client in this process: at each stop it sends the next of its batches of requests, and in the end goes on."""

    def __init__(self, *batches):
        self.session = Session(self.hear, lambda: None, "secret")
        self.batches = list(batches)
        self.answers = []
        self.events = []
        self.ask(("initialize", {"adapterID": "x"}), ("launch", {"token": "secret"}))

    def hear(self, message):
        check({"seq": 1, **message})
        (self.answers if message["type"] == "response" else self.events).append(message)
        if message.get("event") == "stopped":
            self.ask(*(self.batches.pop(0) if self.batches else [("continue", {"threadId": 1})]))

    def ask(self, *requests):
        for command, arguments in requests:
            self.session.take({"seq": 1, "type": "request", "command": command, "arguments": arguments})

    def run(self, script):
        with wb.source_lines(), stopping(self.session, Stops()):
            script()

    def stops(self):
        """Why it stopped, and where."""
        found = [m["body"] for m in self.events if m["event"] == "stopped"]
        return [(body["reason"], int(re.search(r", (\d+) of", body["description"])[1])) for body in found]

    def bodies(self, command):
        return [m["body"] for m in self.answers if m["command"] == command and m["success"]]


def go(command):
    return command, {} if command == "restart" else {"threadId": 1}


def network():
    model = wb.MLP(2, [3], 1, activation="tanh", seed=0)
    loss = (model(np.ones((4, 2))) ** 2).mean()
    loss.backward()
    return model


def test_all_moves_and_looks_in_one_thread():
    looks = [
        go("stackTrace"),
        ("scopes", {"frameId": 1}),
        *(("variables", {"variablesReference": i}) for i in (1, 2, 3)),
    ]
    client = Scripted(
        [go("next")], [*looks, go("stepIn")], [go("stepOut")], [go("stepBack")], [go("restart")],
        [("setFunctionBreakpoints", {"breakpoints": [{"name": "0.weight"}, {"name": "1.weight"}]}), go("continue")],
        [*looks, ("evaluate", {"expression": "g"}), ("evaluate", {"expression": "0.weight"}), go("continue")],
        [go("reverseContinue")], [go("reverseContinue")],
        [("setFunctionBreakpoints", {"breakpoints": []}), go("continue")],
    )  # fmt: skip
    client.run(network)
    assert all(m["success"] for m in client.answers), client.answers
    assert client.stops() == [
        ("entry", 0), ("step", 1), ("step", 2), ("step", 8), ("step", 7), ("entry", 0), ("function breakpoint", 4),
        ("function breakpoint", 7), ("function breakpoint", 4), ("entry", 0),
    ]  # fmt: skip
    (g, weight) = client.bodies("evaluate")
    assert g["type"] == "ndarray"
    assert weight["result"].startswith("2×3: ")


def executed(text, path):
    """A script that runs in this process, as if it were that file."""
    return lambda: exec(compile(text, str(path), "exec"), {"__name__": "script"})


def test_breakpoints_of_all_kinds_in_one_thread(tmp_path):
    path = tmp_path / "loop.py"
    path.write_text(LOOP, encoding="utf-8")

    def lines(*numbers, **words):
        places = [{"line": number, **words} for number in numbers]
        return "setBreakpoints", {"source": {"path": str(path)}, "breakpoints": places}

    here, call = line(LOOP, "h = wb.tanh"), line(LOOP, "loss.backward")
    client = Scripted(
        [lines(call, here, hitCondition="<= 2"), go("continue")],
        [go("continue")],
        [go("reverseContinue")],
        [lines(here, condition="norm / 0 > t"), go("restart")],
        [go("continue")],
        [go("stackTrace"), ("scopes", {"frameId": 1}), ("variables", {"variablesReference": 1}), go("restart")],
        [lines(1), ("setFunctionBreakpoints", {"breakpoints": [{"name": "backward"}]}), go("stepIn")],
        [go("reverseContinue")],
        [("setExceptionBreakpoints", {"filters": ["not finite"]}), go("pause"), go("continue")],
    )
    client.run(executed(LOOP, path))
    assert all(m["success"] for m in client.answers), client.answers
    assert client.stops() == [
        ("entry", 0), ("breakpoint", 2), ("breakpoint", 5), ("breakpoint", 2), ("entry", 0), ("breakpoint", 2),
        ("entry", 0), ("step", 1), ("function breakpoint", 0),
    ]  # fmt: skip
    stopped = [m["body"] for m in client.events if m["event"] == "stopped"]
    assert "ZeroDivisionError" in stopped[5]["text"]
    assert [frame["line"] for frame in client.bodies("stackTrace")[0]["stackFrames"]][:2] == [here, call]
    assert client.bodies("setBreakpoints")[-1]["breakpoints"][0]["verified"] is False


def test_a_gradient_that_is_not_finite_in_one_thread(tmp_path):
    client = Scripted(
        [("setExceptionBreakpoints", {"filters": [], "filterOptions": [{"filterId": "not finite"}]}), go("continue")],
        [("exceptionInfo", {"threadId": 1}), go("continue")],
    )
    client.run(executed(NAN, tmp_path / "nan.py"))
    assert [reason for reason, _ in client.stops()] == ["entry", "exception"]
    assert "inf" in client.bodies("exceptionInfo")[0]["description"]


def test_wrong_requests_in_one_thread():
    wrong = [(m.get("command"), m.get("arguments")) for m in WRONG.values() if "type" not in m]
    client = Scripted([*wrong, ("disconnect", {"terminateDebuggee": False})])
    client.run(network)
    assert [m["success"] for m in client.answers] == [True, True, *[False] * len(wrong), True]
    client.session.take({"seq": "1", "command": "threads"})
    assert "without a proper seq" in client.events[-1]["body"]["output"]


@pytest.mark.parametrize("how", ["to its end", "ended before it began", "with noise"])
def test_a_server_in_this_process(how):
    """A session over a socket, with the server in a thread of its own."""
    said, ends = io.StringIO(), []

    def script():
        network()
        sys.stderr.write("that was it\n")
        return 7

    def serve():
        with wb.source_lines(), contextlib.redirect_stderr(said):
            ends.append(debugged(0, Stops(), script))

    server = threading.Thread(target=serve)
    server.start()
    while not (announced := re.search(ANNOUNCED, said.getvalue())):
        server.join(0.01)
    with socket.create_connection(("127.0.0.1", int(announced[1]))) as client, client.makefile("rb") as stream:

        def ask(*requests):
            for command, arguments in requests:
                message = {"seq": 1, "type": "request", "command": command, "arguments": arguments}
                client.sendall(framed(json.dumps(message)))

        def until(name):
            while (message := read(stream)) is not None:
                check(message)
                if name in (message.get("event"), message.get("command")):
                    return message
            return None

        ask(("initialize", {"adapterID": "x"}), ("attach", {"token": announced[2]}))
        if how == "ended before it began":
            ask(("terminate", {}))
            assert until("exited")["body"]["exitCode"] == 130
        else:
            ask(("configurationDone", {}))
            assert until("stopped")["body"]["reason"] == "entry"
            client.sendall(framed("no JSON"))
            assert "no JSON" in until("output")["body"]["output"]
            ask(go("continue"))
            assert until("output")["body"]["output"] == "that was it\n"
            assert until("exited")["body"]["exitCode"] == 7
        if how == "with noise":
            client.sendall(b"noise\n")
            assert "the connection ends here" in until("output")["body"]["output"]
        else:
            ask(("disconnect", {}))
            assert until("disconnect")["success"] is True
        assert until("anything") is None
    server.join()
    assert ends == [130 if how == "ended before it began" else 7]


@settings(max_examples=30)
@given(
    program=programs(), moves=st.lists(st.sampled_from(sorted(set(MOVES) - {"continue"})), max_size=12), data=st.data()
)
def test_whatever_the_moves_the_gradients_are_those_of_backward(program, moves, data):
    """And at each stop the position is one that stepping there directly gives, with the same gradients."""
    plainly, stepped = run(*program), run(*program)
    with np.errstate(all="ignore"):
        plainly[-1].backward()
    names = data.draw(st.lists(st.sampled_from(["v0", "v1", "add", "multiply", "tanh", "norm > 1"]), max_size=3))
    breaks = ("setFunctionBreakpoints", {"breakpoints": [{"name": name} for name in names]})
    client = Scripted([breaks, go(moves[0]) if moves else go("continue")], *([go(move)] for move in moves[1:]))
    with np.errstate(all="ignore"):
        client.run(stepped[-1].backward)
    assert [bits(v.grad) for v in stepped] == [bits(v.grad) for v in plainly]


@settings(max_examples=40)
@given(program=programs(), data=st.data())
def test_breakpoints_are_met_at_the_same_places_both_ways(program, data):
    values = run(*program)
    names = data.draw(
        st.lists(st.sampled_from(["add", "multiply", "tanh", "norm > 1", "norm >= 0"]), min_size=1, max_size=3)
    )
    hit = data.draw(st.sampled_from(["", "> 1", "% 2", "2"]))
    breaks = ("setFunctionBreakpoints", {"breakpoints": [{"name": name, "hitCondition": hit} for name in names]})
    with np.errstate(all="ignore"):
        forth = Scripted([breaks, go("continue")], *[[go("continue")]] * 200)
        forth.run(values[-1].backward)
        places = forth.stops()[1:]
        back = Scripted(
            [breaks, go("continue")], *[[go("continue")]] * (len(places) - 1), *[[go("reverseContinue")]] * len(places)
        )
        back.run(values[-1].backward)
    there = back.stops()[1:]
    assert there[: len(places)] == places
    if places:
        assert there[len(places) : 2 * len(places)] == [*places[-2::-1], ("entry", 0)]


# -- looking --------------------------------------------------------------------------------------------------------------


def children(client, reference, **part):
    return client.request("variables", variablesReference=reference, **part)["variables"]


def test_scopes_and_variables(debug):
    client = debug(TRAIN)
    client.begin()
    client.request("setFunctionBreakpoints", breakpoints=[{"name": "hidden.weight"}])
    client.go("continue")
    step = client.variables(1, "This step")
    assert step["operation"] == "affine_1 = x @ hidden.weight + hidden.bias"
    assert step["number"] == "contribution 1 of 1"
    assert step["∂L/∂hidden.weight before"] == "none yet"
    assert step["layer"] == "Dense 'hidden'"
    scopes = client.request("scopes", frameId=1)["scopes"]
    left = "Locals, as forward left them"
    assert [one["name"] for one in scopes] == ["This step", "Gradients so far", "Values", left]
    assert {"self", "x", "h", "side"} == set(client.variables(1, left))
    assert client.evaluate("x is h.inputs[0].given[0][0]", 1) == "True", "names mean what they mean there"
    frame = next(one["id"] for one in client.stack() if one["name"] == "train")
    assert {"epoch", "net", "x", "loss"} <= set(client.variables(frame))
    values = {row["name"]: row for row in children(client, scopes[2]["variablesReference"])}
    weight = values["hidden.weight"]
    assert weight["type"] == "Value"
    assert weight["value"].startswith("2×3: ")
    inside = {row["name"]: row for row in children(client, weight["variablesReference"])}
    assert inside["shape"]["value"] == "(2, 3)"
    assert inside["contributions"]["value"] == "1 of 1"
    array = inside["∂L/∂hidden.weight"]
    rows = children(client, array["variablesReference"])
    assert [row["name"] for row in rows] == ["shape", "dtype", "norm", "min", "max", "[0]", "[1]"]
    elements = children(client, rows[-1]["variablesReference"], filter="indexed", start=1, count=1)
    assert [row["name"] for row in elements] == ["[1]"]
    assert float(elements[0]["value"]) == float(client.evaluate("stepper.gradient('hidden.weight')[1, 1]", 1))
    assert weight["evaluateName"] == "hidden.weight"
    assert client.evaluate("hidden.weight", 1) == weight["value"]


BIG = """\
import numpy as np
import tinygrad_wb as wb

class Rude:
    def __repr__(self):
        raise RuntimeError("no")

rude, deep = Rude(), {"list": list(range(5000)), "text": "x" * 100_000}
big = wb.Value(np.arange(100_000.0), name="big")
many = [big.sum() * float(i) for i in range(300)]
loss = many[0]
for one in many[1:]:
    loss = loss + one
loss.backward()
"""


def test_what_is_shown_is_bounded(debug):
    client = debug(BIG)
    client.begin()
    client.go("stepOut")
    scopes = client.request("scopes", frameId=1)["scopes"]
    for scope in scopes:
        rows = children(client, scope["variablesReference"])
        assert len(rows) <= 101
        assert all(len(row["value"]) < 1000 for row in rows)
    rows = children(client, scopes[2]["variablesReference"])
    assert rows[-1]["name"] == "…"
    assert re.match(r"[\d,]+ more; evaluate", rows[-1]["value"])
    found = client.request("evaluate", expression="big.data")
    assert found["indexedVariables"] == 100_000
    rows = children(client, found["variablesReference"])
    assert (len(rows), rows[-1]["value"]) == (5 + 100 + 1, "99,900 more")
    assert len(children(client, found["variablesReference"], filter="indexed", start=0, count=10**9)) == 1001
    assert children(client, found["variablesReference"], filter="indexed", start=10**9, count=5) == []
    assert [r["value"] for r in children(client, found["variablesReference"], filter="indexed", start=99_998, count=9)] == [
        "99998.0", "99999.0",
    ]  # fmt: skip
    assert len(children(client, found["variablesReference"], filter="indexed", start=-7)) == 101
    assert client.evaluate("rude", 1) == "<Rude: its repr raises RuntimeError>" or "Rude" in client.evaluate("rude", 1)
    found = client.request("evaluate", expression="deep")
    assert len(found["result"]) < 1000
    inside = {row["name"]: row for row in children(client, found["variablesReference"])}
    assert len(children(client, inside["'list'"]["variablesReference"])) == 102


def test_evaluate(debug):
    client = debug(SCALARS)
    client.begin()
    assert client.evaluate("1 + 1", 1) == "2"
    assert "NameError" in refused(client, "evaluate", expression="g", frameId=1)
    client.request("setFunctionBreakpoints", breakpoints=[{"name": "tanh"}])
    client.go("continue")
    assert float(client.evaluate("g", 1)) == float(client.evaluate("g * 1.0", 1)) == pytest.approx(0.1)
    assert "∂L/∂w = " in client.evaluate("w", 1, context="hover")
    assert client.evaluate("step.name", 1, context="watch") == "'w'"
    assert client.evaluate("[x for x in (w.data, g)]", 1).startswith("[0.1, ")
    for expression, error in [
        ("1 / 0", "ZeroDivisionError"),
        ("x = 3", "SyntaxError"),
        ("", "SyntaxError"),
        ("exit()", "SystemExit"),
    ]:
        assert error in refused(client, "evaluate", expression=expression, frameId=1)
    assert "no frame 99" in refused(client, "evaluate", expression="1", frameId=99)
    assert position(client) != "", "it is all there still"
    assert client.evaluate("(w * 2.0).backward()", 1) == "None", "a backward() within runs free"


def test_lines_that_count_from_0(debug):
    client = debug(SCALARS)
    client.request("initialize", adapterID="x", linesStartAt1=False, columnsStartAt1=False)
    (verdict,) = client.set_breakpoints(client.path, [line(SCALARS, "b =") - 1])
    client.begin()
    client.go("continue")
    frame = client.stack()[0]
    assert "from b = " in frame["name"]
    assert (verdict["line"], frame["line"], frame["column"]) == (line(SCALARS, "b =") - 1, line(SCALARS, "b =") - 1, 0)


# -- running and ending -----------------------------------------------------------------------------------------------------

LONG = """\
import tinygrad_wb as wb

w = wb.Value(0.5, name="w")
epoch = 0
while not wb.__dict__.get("enough"):
    epoch += 1
    loss = w * w
    loss.backward()
print("done")
"""


def test_pause_and_requests_while_it_runs(debug):
    client = debug(LONG)
    client.begin()
    client.request("continue", threadId=1)
    assert refused(client, "stackTrace", threadId=1).startswith("the script is running")
    last = [m for way, m in client.messages if way == "<-" and m["type"] == "response"][-1]
    assert last["message"] == "notStopped"
    for command, arguments in [
        ("evaluate", {"expression": "1"}),
        ("next", {"threadId": 1}),
        ("scopes", {"frameId": 1}),
    ]:
        assert refused(client, command, **arguments).startswith("the script is running")
    assert client.request("threads")["threads"]
    client.request("pause", threadId=1)
    assert client.wait_stopped()["reason"] == "pause"
    first = int(client.evaluate("epoch", 1))
    client.set_breakpoints(client.path, [line(LONG, "loss = w")])
    client.go("continue")
    client.set_breakpoints(client.path, [])
    client.request("continue", threadId=1)
    client.set_breakpoints(client.path, [line(LONG, "loss = w")])  # while it runs
    assert client.wait_stopped()["reason"] == "breakpoint"
    assert int(client.evaluate("epoch", 1)) > first
    client.evaluate("wb.__dict__.update(enough=True)", 1)
    client.set_breakpoints(client.path, [])
    client.request("continue", threadId=1)
    assert client.wait_terminated() == 0


def test_ending_the_script_before_it_began(debug):
    client = debug("print('it ran')")
    client.meet()
    client.request("disconnect")
    assert client.finish() == (130, "", "")


def test_ending_a_script_that_sleeps(debug):
    client = debug(SCALARS + "import time\ntime.sleep(600)\n")
    client.begin()
    client.request("continue", threadId=1)
    while "gradient" not in client.output:
        client.request("threads")
    client.request("terminate")
    assert client.wait_terminated() == 130


def test_fit_is_stepped_in_too(debug):
    text = (
        "import numpy as np\nimport tinygrad_wb as wb\n\n"
        "model = wb.MLP(2, [3], 1, seed=0)\n"
        "x = np.ones((4, 2))\n"
        "wb.fit(model, x, x[:, :1], loss=wb.mean_squared_error, optimizer=wb.SGD(model.parameters()), epochs=2, progress=False)\n"
        "print('done')\n"
    )
    client = debug(text)
    client.set_breakpoints(client.path, [line(text, "wb.fit")])
    client.begin()
    client.request("setFunctionBreakpoints", breakpoints=[{"name": "0.weight"}])
    assert client.go("continue")["reason"] == "function breakpoint"
    assert client.stack()[-1]["line"] == line(text, "wb.fit")
    assert client.variables(1, "This step")["layer"] == "Dense '0'"
    client.request("setFunctionBreakpoints", breakpoints=[])
    assert client.go("continue")["reason"] == "breakpoint", "the second backward() in it"
    client.set_breakpoints(client.path, [])
    client.request("continue", threadId=1)
    assert client.wait_terminated() == 0
    assert client.output.endswith("done\n")


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("how", ["terminate", "disconnect", "disconnect a launched one"])
def test_ending_the_script(debug, stopped, how):
    client = debug(LONG)
    client.begin("launch" if "launched" in how else "attach")
    if not stopped:
        client.request("continue", threadId=1)
    if how == "terminate":
        client.request("terminate")
        assert client.wait_terminated() == 130
        client.request("disconnect")
    else:
        client.request("disconnect", **({} if "launched" in how else {"terminateDebuggee": True}))
    status, out, errors = client.finish()
    assert (status, out) == (130, "")
    assert errors.endswith("KeyboardInterrupt\n")
    assert f"{os.sep}debug{os.sep}" not in errors, "none of our frames"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals that are ignored from the start")
def test_ending_a_script_that_was_started_in_the_background(debug):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which a process that is started inherits
    try:
        client = debug(LONG)
    finally:
        signal.signal(signal.SIGINT, before)
    client.begin()
    client.request("continue", threadId=1)
    client.request("terminate")
    assert client.wait_terminated() == 130


def test_a_client_that_leaves_in_the_moment_of_going_on_is_let_go():
    """Its request comes when the script is about to run: it ends, and the connection too."""
    client = Scripted([("configurationDone", {}), go("continue"), ("disconnect", {"terminateDebuggee": True})])
    w = wb.Value(2.0)
    with pytest.raises(KeyboardInterrupt):
        client.run(lambda: [(w * w).backward() for _ in range(3)])
    assert client.session.left.is_set()
    assert w.grad is None


@pytest.mark.parametrize(
    "how", ["vanish", "attached", "told so", "before it began", "in the middle of a message", "after a breakpoint"]
)
def test_a_client_that_leaves_lets_the_script_go_on(debug, how):
    client = debug(TRAIN, "a")
    if how == "after a breakpoint":
        client.set_breakpoints(client.path, [line(TRAIN, "h = self.hidden")])
    if how != "before it began":
        client.begin("attach" if how == "attached" else "launch")
    if how == "attached":
        client.request("disconnect")
    elif how == "told so":
        client.request("disconnect", terminateDebuggee=False)
    elif how == "in the middle of a message":
        client.raw(b"Content-Length: 500\r\n\r\n{")
        client.vanish()
    elif how == "after a breakpoint":
        client.go("continue")
        client.vanish()
    else:
        if how == "before it began":
            client.meet()
        client.vanish()
    assert client.finish() == plain(client.path, "a")


ENDS = {
    "raises": ("import tinygrad_wb as wb\nw = wb.Value(1.0)\n(w * w).backward()\nraise ValueError('of its own')", 1),
    "exits with words": ("import tinygrad_wb as wb\nw = wb.Value(1.0)\n(w * w).backward()\nraise SystemExit('good bye')", 1),
    "exits with nothing": ("import sys\nimport tinygrad_wb as wb\nw = wb.Value(1.0)\n(w * w).backward()\nsys.exit()", 0),
    "is stale": ("import tinygrad_wb as wb\nw = wb.Value(1.0)\ny = w * w\ny.backward()\nw.data = 3.0\ny.backward()", 1),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_ends_are_the_scripts_own(debug, name):
    text, status = ENDS[name]
    client = debug(text)
    client.begin()
    client.request("continue", threadId=1)
    assert client.wait_terminated() == status
    client.request("disconnect")
    found, expected = client.finish(), plain(client.path)
    assert (found[0], found[1]) == expected[:2] == (status, "")
    lines = expected[2].splitlines()
    assert found[2].splitlines()[-1:] == lines[-1:]
    assert client.output.splitlines()[-1:] == lines[-1:]


def test_a_script_with_a_syntax_error_or_without_backward(debug):
    for text, status in [("x = (", 1), ("print('no derivative')", 0)]:
        client = debug(text)
        client.meet("attach")
        client.configuration_done()
        assert client.wait_terminated() == status


def test_command_line_options_say_where_it_stops_first(debug):
    client = debug(TRAIN, options=["--when", "epoch == 1"])
    assert client.begin()["reason"] == "entry"
    assert client.evaluate("epoch", 1) == "1"


def test_no_debug_runs_it_through(debug):
    client = debug(TRAIN)
    client.meet(noDebug=True)
    client.set_breakpoints(client.path, [line(TRAIN, "loss.backward")])
    client.configuration_done()
    assert client.wait_terminated() == 3


@pytest.mark.parametrize("port", ["-1", "65536", "x", "1.5", ""])
def test_what_is_no_port(port, capsys):
    with pytest.raises(SystemExit, match="2"):
        build_parser().parse_args(["step", "--dap", port, "script.py"])
    assert "--dap: invalid" in capsys.readouterr().err


def test_a_port_that_is_taken(tmp_path):
    (tmp_path / "script.py").write_text("print('ran')")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = build_parser().parse_args(["step", "--dap", str(taken.getsockname()[1]), str(tmp_path / "script.py")])
        with contextlib.redirect_stderr(io.StringIO()) as errors:
            assert COMMANDS["step"].run(options) == 2
    assert errors.getvalue().startswith("step: can't listen at 127.0.0.1:")


def test_one_client_on_this_machine_only(debug):
    client = debug(SCALARS)
    assert client.socket.getpeername()[0] == "127.0.0.1"
    client.begin()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", client.port), timeout=5).close()
    client.request("threads")


# -- the token --------------------------------------------------------------------------------------------------------------


def strange(client, *said):
    """What a connection of its own, that says these messages, is answered until it is dropped."""
    answers = []
    with socket.create_connection(("127.0.0.1", client.port), client.timeout) as other, other.makefile("rb") as stream:
        with contextlib.suppress(ConnectionError):  # dropped in the middle of what it says
            for each in said:
                text = each if isinstance(each, bytes) else framed(json.dumps({"seq": 1, "type": "request", **each}))
                other.sendall(text)
            while said and (answer := read(stream)) is not None:
                answers.append(answer)
    return answers


HELLO = {"command": "initialize", "arguments": {"adapterID": "x"}}
EVIL = {"command": "evaluate", "arguments": {"expression": "print('evil')"}}
STRANGERS = {  # what each says, and why it is dropped
    "one that looks for open ports": ([], "it left and gave no token"),
    "a browser": ([b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"], "a header of Content-Length is wanted, got 'GET / HTTP/1.1'"),
    "noise": ([bytes(range(256)) * 20], "a header of Content-Length is wanted"),
    "no JSON": ([b"Content-Length: 1\r\n\r\n{"], "a message that is no JSON"),
    "no seq": ([b"Content-Length: 2\r\n\r\n{}"], "a message without a proper seq"),
    "no token": ([HELLO, {"command": "attach"}, EVIL], "no token was given"),
    "an empty token": ([HELLO, {"command": "attach", "arguments": {"token": ""}}, EVIL], "no token was given"),
    "a wrong token": ([HELLO, {"command": "attach", "arguments": {"token": "guess"}}, EVIL], "a wrong token was given"),
    "half a letter": ([{"command": "attach", "arguments": {"token": "\ud800"}}], "a wrong token was given"),
    "a token that is no text": ([{"command": "launch", "arguments": {"token": 7}}], "arguments.token: a text is wanted"),
    "one that asks before": ([HELLO, EVIL], "evaluate: the token comes first"),
    "one that would end it": ([HELLO, {"command": "terminate"}], "terminate: the token comes first"),
}  # fmt: skip


def test_strangers_are_dropped_and_the_script_waits_for_the_right_client(debug):
    client = debug(TRAIN)
    silent = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(3)]
    for who, (said, _) in STRANGERS.items():
        answers = strange(client, *said)
        assert not any(answer.get("success") for answer in answers if answer.get("command") != "initialize"), who
        assert not any(answer.get("event") in ("initialized", "stopped") for answer in answers), who
    assert client.begin()["reason"] == "entry"
    client.request("continue", threadId=1)
    assert client.wait_terminated() == 3
    client.request("disconnect")
    status, out, errors = client.finish()
    plainly = plain(client.path)
    assert (status, out) == plainly[:2]
    dropped, told = (
        [row for row in errors.splitlines(keepends=True) if row.startswith("step: dropped a client: ") is ours]
        for ours in (True, False)
    )
    assert "".join(told) == plainly[2], "the script knows nothing of them"
    for who, (_, why) in STRANGERS.items():
        assert any(why in row for row in dropped), who
    assert len(dropped) == len(STRANGERS) + len(silent)
    for connection in silent:
        assert connection.recv(1) == b""
        connection.close()


@pytest.mark.parametrize("command", REQUESTS)
def test_before_the_token_nothing_can_be_asked(command):
    said, ends = [], []
    session = Session(said.append, lambda: ends.append("closed"), "secret")
    session.take({"seq": 1, "type": "request", "command": command, "arguments": {"adapterID": "x", "threadId": 1}})
    assert not session.known
    if command == "initialize":
        assert [m["success"] for m in said] == [True]
        assert (ends, session.refused) == ([], "")
    else:
        assert [m["success"] for m in said] == [False]
        assert ends == ["closed"]
        assert session.refused.startswith(
            "no token" if command in ("launch", "attach") else f"{command}: the token comes"
        )


@pytest.mark.parametrize(
    ("given", "known"), [("secret", True), ("secre", False), ("secrets", False), ("SECRET", False), ("", False)]
)
@pytest.mark.parametrize("command", ["launch", "attach"])
def test_the_token_is_the_whole_of_it(command, given, known):
    session = Session(lambda message: None, lambda: None, "secret")
    session.take({"seq": 1, "type": "request", "command": command, "arguments": {"token": given}})
    assert session.known is known
    assert session.left.is_set() is not known


def test_a_token_of_ones_own_is_not_printed(debug):
    client = debug(SCALARS, env={"TINYGRAD_WB_TOKEN": "of my own"})
    assert client.token == "${env:TINYGRAD_WB_TOKEN}", "as VS Code reads it"
    assert "token was given" in json.dumps(strange(client, {"command": "attach", "arguments": {"token": client.token}}))
    client.token = "of my own"
    assert client.begin()["reason"] == "entry"


def test_each_script_has_another_token(debug):
    tokens = {debug(SCALARS, env={"TINYGRAD_WB_TOKEN": ""}).token for _ in range(2)}
    assert len(tokens) == 2
    assert min(map(len, tokens)) > 20


def test_who_says_nothing_is_dropped_in_the_end(monkeypatch):
    monkeypatch.setattr(clients, "PATIENCE", 0.0)
    monkeypatch.setattr(clients, "MOST", 1)
    found = []
    with contextlib.redirect_stderr(io.StringIO()) as said, socket.create_server(("127.0.0.1", 0)) as listener:
        waiting = threading.Thread(target=lambda: found.append(clients.first_with("secret", listener)))
        waiting.start()
        for _ in range(2):
            with socket.create_connection(listener.getsockname()) as silent:
                assert silent.recv(1) == b""
        monkeypatch.setattr(clients, "PATIENCE", 600.0)
        with socket.create_connection(listener.getsockname()) as right:
            right.sendall(
                framed(json.dumps({"seq": 1, "type": "request", "command": "attach", "arguments": {"token": "secret"}}))
            )
            waiting.join()
            assert found[0].session.known
            found[0].session.gone()
            found[0].connection.close()
    assert said.getvalue() == "step: dropped a client: it gave no token for 0 seconds\n" * 2


def test_a_client_that_takes_nothing_in_does_not_hold_up_the_script(monkeypatch):
    monkeypatch.setattr(clients, "SENDING", 0.2)
    said, ends, written = io.StringIO(), [], []

    def script():
        for i in range(200):
            sys.stderr.write("x" * 100_000)
            written.append(i)
        network()  # and here it is not stopped any more
        return 7

    def serve():
        with contextlib.redirect_stderr(said):
            ends.append(debugged(0, Stops(), script))

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    while not (announced := re.search(ANNOUNCED, said.getvalue())):
        server.join(0.01)
    with socket.create_connection(("127.0.0.1", int(announced[1]))) as client:
        for command, arguments in [("attach", {"token": announced[2]}), ("configurationDone", {})]:
            client.sendall(
                framed(json.dumps({"seq": 1, "type": "request", "command": command, "arguments": arguments}))
            )
        server.join(60.0)
    assert (ends, len(written)) == ([7], 200)
    assert said.getvalue().count("step: dropped the debugger: it took nothing in for 0.2 seconds\n") == 1


# -- what is no request -----------------------------------------------------------------------------------------------------


def requests_(client):
    return [m for way, m in client.messages if way == "<-" and m["type"] == "response"]


def framed(text):
    data = text if isinstance(text, bytes) else text.encode()
    return b"Content-Length: %d\r\n\r\n%s" % (len(data), data)


NO_MESSAGES = {
    "no JSON": b"{",
    "nothing": b"",
    "no object": b"[1]",
    "deep": b"[" * 100_000,
    "no UTF-8": b'{"seq": 1, "type": "\xff"}',
    "a huge number": b'{"seq": ' + b"9" * 5000 + b"}",
    "no seq": b'{"type": "request", "command": "threads"}',
    "seq 0": b'{"seq": 0, "type": "request", "command": "threads"}',
    "seq true": b'{"seq": true, "type": "request", "command": "threads"}',
    "seq too large": b'{"seq": 99999999999999, "type": "request", "command": "threads"}',
}


@pytest.mark.parametrize("running", [False, True])
def test_messages_that_nothing_can_answer_are_told_of(debug, running):
    client = debug(LONG)
    client.begin()
    if running:
        client.request("continue", threadId=1)
    for text in NO_MESSAGES.values():
        client.raw(framed(text))
    client.request("threads")  # it goes on
    told = [
        m["body"] for _, m in client.messages if m.get("event") == "output" and m["body"]["category"] == "important"
    ]
    assert len(told) == len(NO_MESSAGES)
    assert all(body["output"].startswith("step --dap: a message ") for body in told)


WRONG = {
    "an unknown command": {"command": "launchMissiles"},
    "no command": {},
    "a command that is no text": {"command": ["next"]},
    "a special name": {"command": "__class__"},
    "arguments that are a list": {"command": "next", "arguments": [1]},
    "no arguments": {"command": "next"},
    "a thread that is a text": {"command": "next", "arguments": {"threadId": "1"}},
    "a thread that is not there": {"command": "next", "arguments": {"threadId": 7}},
    "an unknown frame": {"command": "scopes", "arguments": {"frameId": 99}},
    "an unknown reference": {"command": "variables", "arguments": {"variablesReference": 10**9}},
    "a reference of 0": {"command": "variables", "arguments": {"variablesReference": 0}},
    "no expression": {"command": "evaluate", "arguments": {"frameId": 1}},
    "an expression that is none": {"command": "evaluate", "arguments": {"expression": 7}},
    "an expression with a null": {"command": "evaluate", "arguments": {"expression": "1\0"}},
    "half a letter": {"command": "evaluate", "arguments": {"expression": "'\ud800' + 1"}},
    "breakpoints without a source": {"command": "setBreakpoints", "arguments": {"breakpoints": []}},
    "a source without a path": {"command": "setBreakpoints", "arguments": {"source": {}, "breakpoints": []}},
    "a line that is a text": {
        "command": "setBreakpoints", "arguments": {"source": {"path": "x"}, "breakpoints": [{"line": "1"}]},
    },
    "a function without a name": {"command": "setFunctionBreakpoints", "arguments": {"breakpoints": [{}]}},
    "an unknown filter": {"command": "setExceptionBreakpoints", "arguments": {"filters": ["uncaught"]}},
    "paths as URIs": {"command": "initialize", "arguments": {"adapterID": "x", "pathFormat": "uri"}},
    "a response": {"type": "response", "command": "threads"},
    "no type": {"type": None, "command": "threads"},
}  # fmt: skip


def test_wrong_requests_are_refused_and_change_nothing(debug):
    client = debug(TRAIN)
    client.begin()
    client.go("stepIn")
    before = position(client)
    for number, (name, message) in enumerate(WRONG.items(), 1000):
        client.raw(framed(json.dumps({"seq": number, "type": "request", **message})))
        client.request("threads")
        (answer,) = [m for m in requests_(client) if m["request_seq"] == number]
        assert answer["success"] is False, name
        assert answer["body"]["error"]["variables"]["text"], name
    assert position(client) == before
    assert client._adapter.poll() is None
    for path, words in [
        ("/no/such\0file", {}),
        ("\ud800", {}),
        (str(client.path), {"condition": "(" * 500 + "-" * 10**5}),
    ]:
        (verdict,) = client.set_breakpoints(path, [21], **words)
        assert verdict["verified"] is False
    assert "a whole number is wanted" in refused(
        client, "setBreakpoints", source={"path": str(client.path)}, breakpoints=[{"line": 10**30}]
    )
    assert client.set_breakpoints(client.path, [10**15])[0]["verified"] is False


BROKEN = {
    "a browser": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n",
    "a huge length": b"Content-Length: 99999999999999\r\n\r\n",
    "a negative length": b"Content-Length: -1\r\n\r\n",
    "no number": b"Content-Length: ten\r\n\r\n",
    "another alphabet's number": "Content-Length: \u0663\r\n\r\n".encode(),
    "no length": b"Content-Type: x\r\n\r\n{}",
    "no header": b"\r\n\r\n",
    "a line without an end": b"Content-Length: " + b"1" * 5000,
    "noise": bytes(range(256)) * 20,
}


@pytest.mark.parametrize("name", BROKEN)
def test_streams_that_break(name):
    with pytest.raises(FramingError):
        read(io.BytesIO(BROKEN[name] + framed("{}")))


def test_streams_that_end():
    whole = framed('{"seq": 1}')
    assert read(io.BytesIO(whole)) == {"seq": 1}
    assert read(io.BytesIO(b"content-type: x\r\n" + whole)) == {"seq": 1}
    assert [read(io.BytesIO(whole[:i])) for i in range(len(whole))] == [None] * len(whole)


@pytest.mark.parametrize("name", ["a browser", "noise"])
def test_where_messages_can_not_be_told_apart_the_connection_ends_and_the_script_goes_on(debug, name):
    client = debug(SCALARS)
    client.begin()
    evil = json.dumps(
        {"seq": 1, "type": "request", "command": "evaluate", "arguments": {"expression": "print('evil')"}}
    )
    client.raw(BROKEN[name] + framed(evil))
    assert client.finish() == plain(client.path)
    told = [m["body"]["output"] for _, m in client.messages if m.get("event") == "output"]
    assert any("the connection ends here" in text for text in told)
    assert "evil" not in client.output


def test_arrivals_in_pieces_and_in_bulk(debug):
    client = debug(SCALARS)
    client.begin()
    text = framed(json.dumps({"seq": 900, "type": "request", "command": "threads"}))
    for i in range(len(text)):
        client.raw(text[i : i + 1])
    bulk = [("stepIn", 901), ("stackTrace", 902), ("threads", 903)]
    client.raw(
        b"".join(
            framed(json.dumps({"seq": n, "type": "request", "command": c, "arguments": {"threadId": 1}}))
            for c, n in bulk
        )
    )
    client.wait_stopped()
    client.request("threads")
    answers = {m["request_seq"]: m for m in requests_(client)}
    assert answers[900]["success"] is answers[901]["success"] is answers[903]["success"] is True
    assert answers[902]["success"] or answers[902]["message"] == "notStopped", "it depends on who is first"


def test_ten_thousand_steps_pause_at_once(debug):
    text = SCALARS.replace("loss = total * c + w", "loss = total * c + w\nfor _ in range(20000):\n    loss = loss + w")
    client = debug(text)
    client.begin()
    client.set_breakpoints(client.path, [line(text, "a =")], condition="norm < 0")
    client.request("continue", threadId=1)
    client.request("pause", threadId=1)
    body = client.wait_stopped()
    assert body["reason"] == "pause"
    client.go("restart")
    assert position(client).startswith("0 of ")
