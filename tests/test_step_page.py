"""The page to step through, in a real browser: it moves both ways, and its numbers are `backward()`'s and the Stepper's."""

import json
import os
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from docs_scripts import DOCS, docs_script
from drawing_helpers import Part, needs_renderer
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_random_graphs import programs, run

import tinygrad_wb as wb
from tinygrad_wb.__main__ import COMMANDS

pytestmark = needs_renderer
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Look:
    """A page in a tab, with all that it asks the network for and all that it complains of."""

    def __init__(self, browser, path, address="", **options):
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"} | options
        )
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(60_000)
        self.complaints, self.requests = [], []
        self.tab.on("console", lambda message: self.complaints.append(message.text))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        self.tab.on("request", lambda request: self.requests.append(request.url.split("#")[0]))
        self.tab.goto(Path(path).as_uri() + address)

    def close(self, *files):
        """Nothing was asked for but the file itself, and nothing went wrong."""
        assert self.complaints == []
        assert len(self.requests) == 1
        assert self.requests[0].startswith("file:")
        self.context.close()

    def wait(self, condition):
        """Until a condition holds; asked from outside, because the page lets no text be run as a script."""
        for _ in range(300):
            if self.tab.evaluate(condition):
                return
            self.tab.wait_for_timeout(50)
        raise AssertionError(f"{condition} never came true")

    def press(self, *keys):
        for key in keys:
            self.tab.keyboard.press(key)

    @property
    def position(self):
        """Where it stands, of how many: by what is to be read, which the address and the slider must agree with."""
        at, of = self.tab.inner_text("#count").replace(",", "").split(" / ")
        assert self.tab.evaluate("location.hash") == f"#step={at}"
        assert self.tab.evaluate("data.stops[slider.value]") == int(at)
        return int(at), int(of)

    @property
    def told(self):
        """What is told of the step, in one line."""
        seen = self.tab.locator("#steps > li:visible")
        assert seen.count() == 1
        return one_line(seen.inner_text())

    def gradients(self):
        """The texts of all gradients by name, from the table; those in the boxes must be the same."""
        rows = self.tab.eval_on_selector_all(
            "#values tbody tr", "rows => rows.map(r => [r.cells[0].textContent, r.cells[2].textContent])"
        )
        found = dict(rows)
        boxes = self.tab.evaluate(
            "data.values.filter(v => v.place).map(v => [v.name, document.getElementById(v.place).textContent])"
        )
        assert boxes
        for name, text in boxes:
            assert found[name] == text
        return found


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


def numbers_in(text):
    """The numbers of a text as the page prints them; without how many contributions there are."""
    text = text.split(" (")[0].replace("−", "-").replace(",", " ")
    return [float(x) for x in text.split() if re.fullmatch(r"[-+]?(\d+\.?\d*(e[-+]?\d+)?|inf|nan)", x)]


def tells(text, gradient):
    """Whether a text on the page is that of a gradient, None for one that is not there yet."""
    if gradient is None:
        return text == "not yet"
    gradient = np.asarray(gradient)
    found = numbers_in(text)
    if gradient.ndim == 0:
        return len(found) == 1 and bool(np.isclose(found[0], gradient, rtol=1e-5, atol=0, equal_nan=True))
    if gradient.size == 0:
        return text.split(" (")[0] == "empty"
    if not np.isfinite(gradient).all():
        return "not finite" in text
    wanted = [gradient.min(), gradient.max(), np.linalg.norm(gradient)]
    if len(found) == 2:  # all elements are the same to three digits
        found = [found[0], found[0], found[1]]
    return bool(np.allclose(found, wanted, rtol=6e-3, atol=1e-300))


def neuron():
    """Five names of one letter, w used twice, with their source lines."""
    w, b = wb.Value(0.5, name="w"), wb.Value(-0.3, name="b")
    with wb.source_lines():
        z = w * 2.0 + b
        h = wb.tanh(z)
        loss = (h - 1.0) ** 2 + w * w
    return loss  # noqa: RET504 - its name is told


def network():
    model = wb.MLP(3, [4], 2, activation="tanh", seed=0)
    x = np.random.default_rng(0).normal(size=(5, 3))
    with wb.source_lines():
        loss = wb.cross_entropy(model(x), np.array([0, 1, 1, 0, 1]))
    return model, loss


def chain(n):
    w, y = wb.Value(0.9, name="w"), wb.Value(0.1, name="x")
    for _ in range(n):
        y = wb.tanh(y * w + 0.1)
    return y


def by_name(stepper):
    return dict(stepper.trace.names)


# -- moving ---------------------------------------------------------------------------------------------------------


def test_stepping_forth_and_back_is_the_steppers(browser, tmp_path):
    loss = neuron()
    look = Look(browser, wb.save_page(loss, tmp_path / "run.html"))
    stepper = wb.Stepper(loss)

    def agrees():
        assert look.position == (stepper.position, len(stepper))
        for name, text in look.gradients().items():
            assert tells(text, stepper.gradient(name)), (name, text, stepper.position)
        if stepper.current:
            assert stepper.current.statement in look.told
            assert f"Step {stepper.position} of {len(stepper)}" in look.tab.text_content("#steps > li.now")

    agrees()
    while stepper.step():
        look.press("ArrowRight")
        agrees()
    while stepper.back() or stepper.position:
        look.press("ArrowLeft")
        agrees()
    look.press("ArrowLeft")
    agrees()
    look.press("ArrowLeft")
    assert look.position[0] == 0
    look.close()


def test_at_the_end_every_gradient_is_that_of_backward(browser, tmp_path):
    for i, loss in enumerate([neuron(), network()[1], chain(20)]):
        look = Look(browser, wb.save_page(loss, tmp_path / f"{i}.html"))
        assert all(x.grad is None for x in wb.Stepper(loss).trace.to), "the page changes nothing"
        look.press("End")
        shown, values = look.gradients(), by_name(wb.Stepper(loss))
        assert set(shown) == set(values)
        loss.backward()
        for name, x in values.items():
            assert tells(shown[name], x.grad), name
        look.close()


@settings(max_examples=12, phases=[Phase.generate])  # shrinking would take long
@given(program=programs(), part=st.floats(0, 1))
def test_any_graph_anywhere(browser, tmp_path_factory, program, part):
    loss = run(*program)[-1]
    if loss.shape:
        loss = wb.sum(loss)
    stepper = wb.Stepper(loss)
    stepper.go_to(round(part * len(stepper)))
    look = Look(browser, wb.save_page(stepper, tmp_path_factory.mktemp("any") / "run.html"))
    assert look.position == (stepper.position, len(stepper)), "it opens where the stepper stands"
    for name, text in look.gradients().items():
        assert tells(text, stepper.gradient(name)), name
    look.press("End")
    stepper.finish()
    for name, text in look.gradients().items():
        assert tells(text, stepper.gradient(name)), name
    look.close()


def test_keys_buttons_slider_and_address_say_the_same(browser, tmp_path):
    path = wb.save_page(neuron(), tmp_path / "run.html")
    look = Look(browser, path, "#step=7")
    count = look.position[1]
    assert look.position == (7, count)
    look.press("Home")
    assert look.position[0] == 0
    assert look.tab.is_disabled("#back")
    assert look.tab.is_disabled("#first")
    look.press("End")
    assert look.position[0] == count
    assert look.tab.is_disabled("#next")
    for button, at in (("first", 0), ("next", 1), ("next", 2), ("back", 1), ("last", count)):
        look.tab.click(f"#{button}")
        assert look.position[0] == at
    look.tab.fill("#slider", "3")
    assert look.position[0] == 3
    look.tab.focus("#slider")
    look.press("ArrowRight")
    assert look.position[0] == 4, "once, not twice"
    look.tab.evaluate("location.hash = '#step=2'")
    look.wait("slider.value === '2'")
    assert look.position[0] == 2
    look.close()
    for wild in ("#step=99999", "#step=-1", "#step=x", "#why-1", "#step=1;alert(1)"):
        look = Look(browser, path, wild)
        assert look.position[0] == (count if "9" in wild else 0)
        look.close()


def test_playing(browser, tmp_path):
    look = Look(browser, wb.save_page(neuron(), tmp_path / "run.html"))
    look.tab.select_option("#speed", label="4")
    look.tab.evaluate("document.activeElement.blur()")
    look.press("Space")
    assert look.tab.inner_text("#play") == "Pause"
    look.wait("slider.value >= 3")
    look.press("Space")
    at = look.position[0]
    assert look.tab.inner_text("#play") == "Play"
    look.tab.wait_for_timeout(900)
    assert look.position[0] == at, "it stands still"
    look.tab.click("#play")
    look.wait("document.getElementById('play').textContent === 'Play'")
    count = look.position[1]
    assert look.position[0] == count, "it plays to the end, and stops"
    look.press("Space")
    assert look.tab.evaluate("slider.value") == "0", "from the end it begins again"
    look.press("ArrowRight")
    assert look.tab.inner_text("#play") == "Play", "whoever steps has stopped it"
    look.close()


def test_everything_moves_together(browser, tmp_path):
    loss = neuron()
    look = Look(browser, wb.save_page(loss, tmp_path / "run.html"))
    program = loss.program()
    for step in wb.Stepper(loss):
        look.press("ArrowRight")
        node, x = step.trace.called(step.node), step.name
        titles = look.tab.evaluate("['from', 'to'].map(c => picture.querySelector('.node.' + c + ' text').textContent)")
        assert titles == [node, x]
        assert look.tab.locator("#picture .edge.now").count() == 1
        assert look.tab.locator("#picture .edge.done").count() == step.index
        marked = [one_line(text) for text in look.tab.locator(".listing .now").all_inner_texts()]
        assert one_line(program.partial_line(step.node, step.trace.rank(step.index)).split(": ", 1)[1]) in marked
        assert step.line.text in marked
        told = look.told
        for word in (step.statement, step.line.short, "upstream", "local", "total", f"∂L/∂{x}",
                     f"contribution {step.contribution_number} of {step.contributions}"):  # fmt: skip
            assert word in told
        spoken = look.tab.text_content("#spoken")
        assert spoken.startswith(f"Step {step.index + 1} of ")
        assert f"The gradient of {x} gets" in spoken
    assert "d_w = d_w_1 + d_w_2 + d_w_3" in " ".join(marked), "the sum is complete"
    look.close()


def test_arrays_are_told_by_shape_range_norm_and_a_block(browser, tmp_path):
    _, loss = network()
    look = Look(browser, wb.save_page(loss, tmp_path / "run.html"))
    stepper = wb.Stepper(loss)
    step = stepper.until("1.weight")
    look.tab.evaluate("at => go(at)", stepper.position)
    told = look.told
    assert "4×2: " in told
    assert "norm" in told
    assert "tanh_1ᵀ @ g" in told
    assert f"{step.contribution[0, 0]:.4f}" in told
    look.close()


# -- asking ---------------------------------------------------------------------------------------------------------


def box_of(look, name):
    return look.tab.evaluate("name => data.values.find(v => v.name === name).box", name)


def test_clicking_a_value_tells_where_its_gradient_came_from(browser, tmp_path):
    loss = neuron()
    look = Look(browser, wb.save_page(loss, tmp_path / "run.html"))
    explanation = wb.explain(loss, "w")
    look.tab.evaluate("at => go(at)", 0)
    look.tab.click("#fit")
    look.tab.locator(f"#{box_of(look, 'w')}").click(force=True)
    why = one_line(look.tab.locator(".why:visible").inner_text())
    assert why.startswith("Where ∂L/∂w = ")
    assert f"By {explanation.count} paths" in why
    assert len([step for step in wb.Stepper(loss) if step.name == "w"]) == why.count("step ") == 3
    assert sum(
        numbers_in(way.split("= ")[-1])[0] for way in look.tab.locator(".why:visible ol b").all_inner_texts()
    ) == pytest.approx(explanation.gradient, abs=1e-5)
    first = look.tab.locator(".why:visible a").first
    at = int(re.search(r"\d+", first.inner_text())[0])
    first.click()
    assert look.position[0] == at
    look.press("Escape")
    assert look.tab.locator(".why:visible").count() == 0
    look.tab.click("#values a >> text=h")
    assert look.tab.locator(".why:visible").inner_text().startswith("Where ∂L/∂h")
    look.close()


def test_the_keyboard_reaches_everything(browser, tmp_path):
    look = Look(browser, wb.save_page(neuron(), tmp_path / "run.html"))
    reached = []
    for _ in range(80):
        look.press("Tab")
        reached.append(look.tab.evaluate("document.activeElement.id || document.activeElement.textContent"))
        if reached[-1] == "speed":
            break
    boxes = look.tab.evaluate("data.values.map(v => v.box)")
    assert {*boxes, "in", "out", "fit", "next", "play", "last", "slider", "speed", "w", "loss"} <= set(reached)
    look.tab.focus(f"#{box_of(look, 'h')}")
    assert look.tab.evaluate("getComputedStyle(document.activeElement.querySelector('path')).strokeWidth") == "5px", (
        "it is seen"
    )
    label = look.tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label == "h: gradient not yet"
    look.press("Enter")
    assert look.tab.locator(".why:visible").inner_text().startswith("Where ∂L/∂h")
    look.press("Escape")
    assert look.tab.evaluate("document.activeElement.id") == box_of(look, "h"), "and the focus is where it was"
    look.tab.focus("#next")
    look.press("Space")
    assert look.position[0] == 1, "Space presses the button that has the focus"
    look.press("ArrowRight")
    assert look.position[0] == 2
    look.close()


# -- readers of all kinds ---------------------------------------------------------------------------------------------


def test_without_javascript_it_is_a_picture_and_a_transcript(browser, tmp_path):
    loss = neuron()
    look = Look(browser, wb.save_page(loss, tmp_path / "run.html"), java_script_enabled=False)
    assert look.tab.is_visible("#picture svg")
    assert not look.tab.is_visible("#controls")
    assert not look.tab.is_visible("#tools")
    steps = [one_line(text) for text in look.tab.locator("#steps > li:visible").all_inner_texts()]
    assert len(steps) == len(wb.Stepper(loss)) + 1
    for step, text in zip(wb.Stepper(loss), steps[1:], strict=True):
        assert step.statement in text
    texts = look.tab.eval_on_selector_all("#picture .gradient", "all => all.map(t => t.textContent)")
    assert texts.count("not yet") == len(texts) - 1
    assert look.tab.locator(".why:visible").count() == len(wb.Stepper(loss).trace.to)
    loss.backward()
    rows = look.tab.locator("#values tbody tr").all_inner_texts()
    assert tells(rows[0].split("\t")[-1], 1.0)
    look.tab.click("#values a >> text=h")
    look.close()


@pytest.mark.parametrize("make", [neuron, lambda: network()[1], lambda: chain(150)], ids=["neuron", "network", "chain"])
def test_on_a_phone_nothing_scrolls_sideways(browser, tmp_path, make):
    look = Look(browser, wb.save_page(make(), tmp_path / "run.html"), **PHONE)
    end = look.tab.evaluate("end")
    for at in (0, end // 2, end):
        look.tab.evaluate("at => go(at)", at)
        assert look.tab.evaluate("document.documentElement.scrollWidth") <= 390
        assert look.tab.is_visible("#play")
        controls = look.tab.locator("#controls").bounding_box()
        assert controls["y"] + controls["height"] <= 845, "the buttons stay in reach"
    look.tab.evaluate("ask(1)")
    assert look.tab.evaluate("document.documentElement.scrollWidth") <= 390
    look.tab.evaluate("go(0)")
    look.tab.tap("#next")
    assert look.position[0] == 1
    look.close()


@pytest.mark.parametrize("options", [{}, PHONE], ids=["desk", "phone"])
def test_the_step_is_always_in_sight_and_legible(browser, tmp_path, options):
    look = Look(browser, wb.save_page(network()[1], tmp_path / "run.html"), **options)
    for at in range(1, look.tab.evaluate("end") + 1):
        look.tab.evaluate("at => go(at)", at)
        seen = look.tab.evaluate("""() => {
            const frame = picture.getBoundingClientRect(), box = picture.querySelector('.node.to').getBoundingClientRect();
            const text = picture.querySelector('.node.to text').getBoundingClientRect();
            return [box.left - frame.left, frame.right - box.right, box.top - frame.top, frame.bottom - box.bottom, text.height - 8];
        }""")
        assert min(seen) >= 0, at
    look.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_its_reader_wants(browser, tmp_path, scheme):
    look = Look(browser, wb.save_page(network()[1], tmp_path / "run.html"), color_scheme=scheme)

    def brightness(css):
        color = look.tab.evaluate(css)
        return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3

    grounds = [
        brightness("getComputedStyle(document.body).backgroundColor"),
        brightness("getComputedStyle(picture.querySelector('.node.operation path')).fill"),
        brightness("getComputedStyle(picture.querySelector('.node.leaf path')).fill"),
        brightness("getComputedStyle(picture.querySelector('.node.result path')).fill"),
        brightness("getComputedStyle(picture.querySelector('polygon')).fill"),
        brightness("getComputedStyle(document.querySelector('.cluster path')).fill"),
    ]
    inks = [
        brightness("getComputedStyle(document.body).color"),
        brightness("getComputedStyle(picture.querySelector('.node.operation text')).fill"),
        brightness("getComputedStyle(document.querySelector('.slope')).color"),
    ]
    for ground in grounds:
        for ink in inks:
            assert (ground - ink > 100) == (scheme == "light")
            assert abs(ground - ink) > 100
    look.close()


def test_texts_stay_in_their_boxes(browser, tmp_path):
    look = Look(browser, wb.save_page(network()[1], tmp_path / "run.html"))
    for at in range(look.tab.evaluate("end") + 1):
        look.tab.evaluate("at => go(at)", at)
        over = look.tab.evaluate("""() => [...picture.querySelectorAll('.node')].flatMap(node => {
            const box = node.querySelector('path').getBoundingClientRect();
            return [...node.querySelectorAll('text')].filter(t => {
                const r = t.getBoundingClientRect();
                return r.left < box.left - 2 || r.right > box.right + 2;
            }).map(t => t.textContent);
        })""")
        assert over == []
    look.close()


# -- sizes, and what is left out --------------------------------------------------------------------------------------


def test_a_two_layer_nets_page_is_small(tmp_path):
    model = wb.MLP(64, [128], 10, seed=0)
    with wb.source_lines():
        loss = wb.cross_entropy(model(np.ones((32, 64))), np.zeros(32, int))
    assert wb.save_page(loss, tmp_path / "run.html").stat().st_size < 150_000
    x = [[wb.Value(v) for v in row] for row in ((0.5, -0.2), (0.1, 0.7), (0.3, 0.3))]
    with wb.source_lines():
        hidden = [wb.tanh(a * 0.3 + b * 0.4) for a, b in x]
        out = wb.tanh(sum((h * 0.5 for h in hidden), wb.Value(0.0)))
    assert wb.save_page((out - 1.0) ** 2, tmp_path / "run.html").stat().st_size < 300_000


def test_of_many_steps_the_first_are_told_and_the_page_says_so(browser, tmp_path):
    loss = chain(400)
    path = wb.save_page(loss, tmp_path / "run.html", max_steps=50)
    assert path.stat().st_size < 200_000
    look = Look(browser, path)
    assert "the first 50 are told one by one, the other 1,550 at once" in look.tab.inner_text("#remarks")
    look.press("End")
    assert look.position == (1600, 1600)
    assert "1,550 more steps" in look.told
    loss.backward()
    shown, values = look.gradients(), by_name(wb.Stepper(loss))
    assert {"w", "x"} <= set(shown) < set(values)
    for name, text in shown.items():
        assert tells(text, values[name].grad), name
    look.press("ArrowLeft")
    assert look.position == (50, 1600)
    look.tab.evaluate("location.hash = '#step=900'")
    look.wait("location.hash === '#step=50'")
    look.close()


def test_closed_layers_stand_for_what_is_in_them(browser, tmp_path):
    model, loss = network()
    look = Look(browser, wb.save_page(loss, tmp_path / "run.html", max_nodes=5))
    assert "layers are closed" in look.tab.text_content("#picture") + look.tab.inner_text("#remarks")
    look.press("End")
    shown = look.gradients()
    loss.backward()
    for name, p in model.named_parameters():
        assert tells(shown[name], p.grad)
    assert look.tab.locator("#picture .node.to").count() == 1, "the layer that the step is in"
    del model
    look.close()


def test_what_there_is_of_a_graph_without_steps(browser, tmp_path):
    look = Look(browser, wb.save_page(wb.Value(2.0, name="a"), tmp_path / "run.html"))
    assert look.position == (0, 0)
    look.press("ArrowRight", "End", "Space", "Home")
    assert look.position == (0, 0)
    assert look.gradients() == {"a": "1"}
    look.close()


def test_edits_and_seeds_are_on_the_page(browser, tmp_path):
    x = wb.Value(np.array([1.0, 2.0]), name="x")
    y = x * x
    look = Look(browser, wb.save_page(y, tmp_path / "run.html", np.array([1.0, 10.0])))
    look.press("End")
    assert tells(look.gradients()["x"], np.array([2.0, 40.0]))
    assert "the loss is not one number" in look.tab.inner_text("#remarks")
    look.close()
    stepper = wb.Stepper(neuron())
    stepper.until("h")
    stepper.edit(100.0)
    look = Look(browser, wb.save_page(stepper, tmp_path / "run.html"))
    assert look.gradients()["h"] == "100"
    assert "edited" in look.told
    look.press("End")
    stepper.finish()
    for name, text in look.gradients().items():
        assert tells(text, stepper.gradient(name))
    assert "Gradients were edited" in look.tab.inner_text("#remarks")
    look.close()


@pytest.mark.parametrize("bad", [{"max_steps": 0}, {"max_steps": 1.5}, {"max_nodes": 0}])
def test_limits_are_checked(bad, tmp_path):
    with pytest.raises(ValueError, match=f"save_page\\({next(iter(bad))}=.*a whole number, at least 1"):
        wb.save_page(neuron(), tmp_path / "run.html", **bad)


def test_what_is_no_loss_is_refused(tmp_path):
    with pytest.raises(TypeError, match="stepping starts from a Value"):
        wb.save_page(3.0, tmp_path / "run.html")
    x = wb.Value(1.0)
    y = x * 2.0
    x.data = 3.0
    with pytest.raises(wb.StaleGraphError):
        wb.save_page(y, tmp_path / "run.html")
    assert not list(tmp_path.iterdir()), "nothing half written is left"


def test_a_compiled_functions_page_says_that_it_has_no_program(browser, tmp_path):
    @wb.compile
    def squares(x):
        return wb.sum(x * x)

    x = wb.Value(np.array([1.0, 2.0]), name="x")
    for _ in range(3):
        loss = squares(x)
    look = Look(browser, wb.save_page(loss, tmp_path / "run.html"))
    assert "The program is not shown: compiled() can't be" in look.tab.inner_text("#remarks")
    look.press("End")
    assert tells(look.gradients()["x"], np.array([2.0, 4.0]))
    look.close()


def test_numbers_that_are_not_finite(browser, tmp_path):
    x = wb.Value(0.0, name="x")
    look = Look(browser, wb.save_page(wb.log(x) * x, tmp_path / "run.html"))
    look.press("End")
    assert "nan" in look.gradients()["x"]
    look.close()


# -- hostile names -----------------------------------------------------------------------------------------------------

HOSTILE = [
    "<script>window.hacked=1</script>", '"><img src=x onerror=window.hacked=1>', "</script><script>window.hacked=1</script>",
    "' onmouseover='window.hacked=1", "|{}<>", "{}{0}{{x}}", "%s%d", "\\N\\G\\l", "שלום עולם", "\u202eab\u202c", "🎲🧨", "日本 ∂", "x" * 10_000,
    "", "   ", "a\nb\tc", "\x00\ud800", "&lt;b&gt;", "gradient", "g1", "__proto__", "constructor", "</style>", "-->", "#why-1", "1 of 2",
]  # fmt: skip

# All that a page is made of.
OURS = set(
    "html head meta title style body header h1 b p div button main figure svg g path polygon text a ol li h2 span code br dl dt dd small "
    "pre section h3 ul table caption thead tbody tr th td nav input output label select option script polyline ellipse".split()
)


def inert(look, path):
    assert look.tab.evaluate("window.hacked") is None
    assert set(look.tab.evaluate("[...document.querySelectorAll('*')].map(e => e.localName)")) <= OURS
    handlers = (
        "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length"
    )
    assert look.tab.evaluate(handlers) == 0
    assert look.tab.locator("script").count() == 2, "the data, and ours"


@pytest.mark.parametrize("start", range(0, len(HOSTILE), 9))
def test_hostile_names_are_inert(browser, tmp_path, start):
    x = wb.Value(np.ones((1, 2)), name=HOSTILE[start])
    outs, models = [], []
    with wb.source_lines():
        for name in HOSTILE[start : start + 9]:
            models.append(Part(name))
            y = wb.sum(models[-1](x) * wb.Value(2.0, name=name))
            y.name = name
            outs.append(y)
        loss = wb.stack(outs).sum()
    loss.name = HOSTILE[start]
    path = wb.save_page(loss, tmp_path / "run.html", max_nodes=400)
    look = Look(browser, path)
    inert(look, path)
    stepper = wb.Stepper(loss)
    for at in range(0, len(stepper) + 1, 5):
        look.tab.evaluate("at => go(at)", at)
        stepper.go_to(at)
    for i in range(look.tab.evaluate("data.values.length")):
        look.tab.evaluate("i => ask(i)", i)
    look.press("End")
    inert(look, path)
    shown = look.gradients()
    stepper.finish()
    for name, x_ in by_name(stepper).items():
        assert tells(shown[name], stepper.gradients[x_]), name
    look.close()
    phone = Look(browser, path, **PHONE)
    phone.tab.evaluate("go(7)")
    assert phone.tab.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()


def test_a_hostile_source_file_is_inert(browser, tmp_path):
    script = tmp_path / "<img src=x onerror=hacked()>.py"
    script.write_text(
        "import tinygrad_wb as wb\nw = wb.Value(2.0, name='w')\n"
        "loss = w * 3.0  # </script><script>window.hacked=1</script> \u202e <b>\nloss.backward()\n"
        "wb\n",
        encoding="utf-8",
    )
    done = command("-o", "run.html", script.name, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    look = Look(browser, tmp_path / "run.html")
    look.press("End")
    inert(look, tmp_path / "run.html")
    assert "</script><script>window.hacked=1</script>" in look.tab.inner_text(".listing:nth-of-type(2) .now")
    look.close()


def test_nothing_else_could_run(browser, tmp_path):
    """The second wall: even markup that got into the page would do nothing."""
    look = Look(browser, wb.save_page(neuron(), tmp_path / "run.html"))
    look.tab.evaluate("""() => {
        const script = document.createElement('script'); script.textContent = 'window.hacked = 1'; document.body.append(script);
        const more = document.createElement('div'); more.innerHTML = '<img src=x onerror="window.hacked = 2">'; document.body.append(more);
    }""")
    look.tab.wait_for_timeout(100)
    assert look.tab.evaluate("window.hacked") is None
    assert len(look.complaints) >= 2, "and the browser says that it was refused"


# -- the command -----------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import tinygrad_wb as wb
print(sys.argv, __name__, __file__)
w = wb.Value(2.0, name="w")
sgd = wb.SGD([w], 0.1)
for i in range(3):
    sgd.zero_grad()
    loss = (w * 3.0 - 1.0) ** 2
    loss.backward()
    sgd.step()
    print(w.data)
sys.exit(5)
"""


def command(*arguments, folder):
    root = str(Path(wb.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-m", "tinygrad_wb", "page", *arguments], cwd=folder, capture_output=True, text=True,
        encoding="utf-8", env={**os.environ, "PYTHONPATH": root, "PYTHONIOENCODING": "utf-8"}, check=False,
    )  # fmt: skip


def page_data(path):
    return json.loads(re.search(r'id="data">(.*?)</script>', path.read_text(encoding="utf-8"))[1])


def test_the_command_is_in_the_table():
    assert "page" in COMMANDS


def test_a_script_runs_unchanged_and_leaves_its_page(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    plain = subprocess.run(
        [sys.executable, "train.py", "a", "--at", "b"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(Path(wb.__file__).parents[1])},
    )  # fmt: skip
    done = command("train.py", "a", "--at", "b", folder=tmp_path)
    assert done.returncode == plain.returncode == 5
    assert done.stdout.replace(str(tmp_path) + os.sep, "") == plain.stdout.replace(str(tmp_path) + os.sep, "")
    assert "3 steps are written to" in done.stderr
    assert "loss = (w * 3.0 - 1.0) ** 2" in unescape((tmp_path / "run.html").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("asked", "loss"),
    [([], 25.0), (["--at", "2"], 16.0), (["--when", "loss < 20"], 16.0), (["--line", "train.py:10"], 25.0)],
)
def test_which_backward_it_is(tmp_path, asked, loss):
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    done = command("-o", "it.html", *asked, "train.py", folder=tmp_path)
    assert done.returncode == 5, done.stderr
    assert f"<title>Backprop of loss = {loss:g}, in 3 steps</title>" in (tmp_path / "it.html").read_text(
        encoding="utf-8"
    )
    assert page_data(tmp_path / "it.html")["start"] == 0


def test_a_pass_of_a_derivative_has_its_page_too(tmp_path):
    (tmp_path / "derive.py").write_text(
        "import tinygrad_wb as wb\n\ndef f(t):\n    cube = t ** 3\n    return cube * 2.0\n\nprint(wb.grad(wb.grad(f))(2.0))\n",
        encoding="utf-8",
    )
    done = command("-o", "inner.html", "derive.py", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "24.0\n")
    assert "3 steps are written to" in done.stderr
    assert "(pass 1: an outer derivative is being taken, whose pass comes later)" in done.stderr
    page = unescape((tmp_path / "inner.html").read_text(encoding="utf-8"))
    assert "cube = t ** 3" in page
    outer = command("-o", "outer.html", "--at", "2", "derive.py", folder=tmp_path)
    assert "(pass 2: it goes back through pass 1 too" in outer.stderr


def test_without_a_page_it_says_so(tmp_path):
    (tmp_path / "nothing.py").write_text("print('hello')\n", encoding="utf-8")
    done = command("nothing.py", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "hello\n")
    assert (
        "neither backward() nor wb.grad (value_and_grad, jacobian, hessian, hvp) was called, so there is no page"
        in done.stderr
    )
    assert command(folder=tmp_path).returncode == 2
    missing = command("missing.py", folder=tmp_path)
    assert missing.returncode == 2
    assert "can't run 'missing.py'" in missing.stderr
    (tmp_path / "wrong.py").write_text("import tinygrad_wb as wb\nwb.Value(1.0).backward()\n1 / 0\n", encoding="utf-8")
    wrong = command("wrong.py", folder=tmp_path)
    assert wrong.returncode == 1
    assert wrong.stderr.splitlines()[-1].startswith("ZeroDivisionError")
    assert (tmp_path / "run.html").exists()


# -- notebooks ----------------------------------------------------------------------------------------------------------


def test_a_real_notebook_shows_the_page_in_its_cell(browser, tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    folder = tmp_path / "kernels" / "stepping"
    folder.mkdir(parents=True)
    argv = [
        sys.executable,
        "-m",
        "ipykernel_launcher",
        "-f",
        "{connection_file}",
    ]  # this interpreter's, whatever others there are
    (folder / "kernel.json").write_text(
        json.dumps({"argv": argv, "display_name": "p", "language": "python"}), encoding="utf-8"
    )
    cells = [
        "import tinygrad_wb as wb\nw = wb.Value(2.0, name='w')\nwith wb.source_lines():\n    loss = (w * 3.0 - 1.0) ** 2",
        "stepper = wb.Stepper(loss)\nstepper", "stepper.step(2)\nstepper",
    ]  # fmt: skip
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("JUPYTER_PATH", tmp_path), ("IPYTHONDIR", tmp_path / "ipython"), ("JUPYTER_PLATFORM_DIRS", "1"),
                            ("PYTHONPATH", Path(wb.__file__).parents[1])):  # fmt: skip
            patch.setenv(name, str(value))
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="stepping").execute()
    shown = [cell.outputs[0].data for cell in notebook.cells[1:]]
    assert [data["text/plain"] for data in shown] == [
        "<Stepper of loss: 0 of 3 steps>",
        "<Stepper of loss: 2 of 3 steps>",
    ]
    page = tmp_path / "notebook.html"
    page.write_text(
        "<!doctype html><meta charset=utf-8>" + "".join(data["text/html"] for data in shown), encoding="utf-8"
    )
    look = Look(browser, page)
    first, second = look.tab.frames[1:]
    assert (first.inner_text("#count"), second.inner_text("#count")) == ("0 / 3", "2 / 3")
    first.click("#next")
    first.press("body", "End")
    assert (first.inner_text("#count"), second.inner_text("#count")) == ("3 / 3", "2 / 3"), "each has keys of its own"
    assert first.evaluate("data.values.map((v, i) => document.getElementById('v' + i).textContent)") == [
        "1",
        "10",
        "10",
        "30",
    ]
    second.click("#values a >> text=w")
    second.click(".why:visible a")
    assert second.inner_text("#count") == "3 / 3", "links stay in the frame"
    assert look.complaints == []
    look.context.close()


def test_a_notebook_without_graphviz_gets_text(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    assert wb.Stepper(neuron())._repr_mimebundle_() == {"text/plain": "<Stepper of loss: 0 of 10 steps>"}
    with pytest.raises(RuntimeError, match="needs Graphviz"):
        wb.save_page(neuron(), tmp_path / "run.html")


# -- the moving picture ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def maker():
    if not DOCS.exists():
        pytest.skip("there are no documents beside the tests")
    return docs_script("make_moving_picture")


def texts_of(svg):
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_the_moving_picture_is_what_the_package_prints_now(maker):
    for path, moving in ((maker.PICTURE, True), (maker.STILL, False)):
        kept = path.read_text(encoding="utf-8")
        assert texts_of(kept) == texts_of(maker.picture(moving))  # layouts may differ from one Graphviz to another
        assert len(kept.encode()) < 60_000
        for word in ("<script", "http:", "https:", "url(", "@import", "onload"):
            assert word not in kept.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert ("@keyframes" in maker.picture(True), "@keyframes" in maker.picture(False)) == (True, False)


def test_the_moving_picture_moves(browser, maker, tmp_path):
    """As GitHub shows it, in an <img>: one frame differs from the next, and all is over when it begins again."""
    page = tmp_path / "readme.html"
    page.write_text(f'<img src="{maker.PICTURE.as_uri()}" width="830">', encoding="utf-8")
    context = browser.new_context(viewport={"width": 870, "height": 620})
    tab = context.new_page()
    tab.goto(page.as_uri())
    first = tab.screenshot()
    tab.wait_for_timeout(int(1000 * maker.SLOT * 2))
    assert tab.screenshot() != first
    tab.goto(maker.PICTURE.as_uri())
    tab.evaluate("document.getAnimations().forEach(a => a.pause())")

    def seen(slot):
        tab.evaluate(
            "t => document.getAnimations().forEach(a => { a.currentTime = t; })", 1000 * maker.SLOT * (slot + 0.5)
        )
        return tab.evaluate(
            "[...document.querySelectorAll('text')].filter(t => getComputedStyle(t).opacity === '1' && getComputedStyle(t.parentElement).opacity === '1').map(t => t.textContent)"
        )

    steps = list(wb.Stepper(maker.neuron()))
    for slot in range(len(steps) + 1):
        shown = seen(slot)
        assert shown.count("not yet") == len(steps) - slot
        if slot:
            assert f"step {slot} of {len(steps)}" in shown
            assert steps[slot - 1].statement in shown
    assert "every gradient is there" in seen(len(steps) + 1)
    assert seen(len(steps) + 1 + maker.HOLD) == seen(0), "it loops"
    context.close()
    still = browser.new_context(reduced_motion="reduce").new_page()
    still.goto(maker.PICTURE.as_uri())
    assert still.evaluate("document.getAnimations().length") == 0
    assert "every gradient is there" in still.evaluate(
        "[...document.querySelectorAll('text')].filter(t => getComputedStyle(t.parentElement).opacity === '1').map(t => t.textContent)"
    )
    still.context.close()
