"""The page of a drawing, and hostile names, in a real browser: what works, and what does not run."""

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from drawing_helpers import HOSTILE, Part, needs_renderer

import tinygrad_wb as wb
from tinygrad_wb.draw import draw

playwright_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MERMAID = os.environ.get("WB_MERMAID", "")

pytestmark = [needs_renderer, pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")]
needs_mermaid = pytest.mark.skipif(
    not Path(MERMAID).is_file(), reason="the environment variable WB_MERMAID does not say where mermaid.min.js is"
)

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SVG = "http://www.w3.org/2000/svg"


@pytest.fixture(scope="module")
def browser():
    with playwright_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


class Watched:
    """A tab, all that it asked the network for, and all that it complained of."""

    def __init__(self, browser, **options):
        self.requests, self.errors, self.dialogs = [], [], []
        self.context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}} | options)
        self.tab = self.context.new_page()
        self.tab.set_default_timeout(15_000)
        self.tab.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type in ("error", "warning") else None,
        )
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.context.route(re.compile(r"^(?!file:|data:|about:).*"), self._refuse)
        self.tab.on("request", lambda request: self.requests.append(request.url))

    def _refuse(self, route):
        self.requests.append(f"refused {route.request.url}")
        route.abort()

    def open(self, path):
        self.tab.goto(Path(path).as_uri())
        return self.tab

    def quiet(self, path):
        """Nothing was asked for but the page itself, nothing failed, nothing of a name ran."""
        assert self.requests == [Path(path).as_uri()]
        assert self.errors == []
        assert self.dialogs == []


@pytest.fixture
def watched(browser):
    opened = []

    def new(**options):
        opened.append(Watched(browser, **options))
        return opened[-1]

    yield new
    for one in opened:
        one.context.close()


def small_net():
    model = wb.Sequential(wb.MLP(2, [3], 2, seed=0), wb.Dense(2, 1, seed=1))
    with wb.source_lines():
        loss = wb.mean_squared_error(model(np.ones((4, 2))), np.zeros((4, 1)))
    loss.backward()
    return model, loss


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    _, loss = small_net()
    return draw(loss).save(tmp_path_factory.mktemp("page") / "net.html")


def boxes(tab):
    """The ids of what is seen in the picture."""
    return tab.eval_on_selector_all("#picture .node, #picture .cluster.layer", "all => all.map(part => part.id)")


def words(tab):
    return " ".join(tab.eval_on_selector_all("#picture text", "all => all.map(t => t.textContent)")).replace(
        "\xa0", " "
    )


def details(tab):
    return tab.inner_text("#details")


def view_box(tab):
    return [float(x) for x in tab.get_attribute("#picture > svg", "viewBox").split()]


def title_id(tab, title):
    """The id of the node of a title."""
    return tab.evaluate("title => Object.keys(data.nodes).find(id => data.nodes[id].title === title)", title)


def click(tab, id):
    tab.locator(f"#picture #{id}").first.click(position=None, force=True)


# -- the page of a small net --------------------------------------------------------------------------------------


def test_it_is_one_small_file_that_asks_for_nothing(page_file, watched):
    assert page_file.stat().st_size < 200_000
    look = watched()
    tab = look.open(page_file)
    assert tab.title() == "loss = mean_squared_error(layer_1, array(4, 1))" or "mean_squared_error" in tab.title()
    assert "mean_squared_error" in words(tab)
    assert tab.is_visible("#tools")
    look.quiet(page_file)


def test_it_is_readable_without_javascript(page_file, watched):
    look = watched(java_script_enabled=False)
    tab = look.open(page_file)
    assert "mean_squared_error" in words(tab)
    assert tab.is_visible("#picture > svg")
    assert not tab.is_visible("#tools")
    assert not tab.is_visible("#details")
    tab.click("#text summary")
    assert "loss = mean_squared_error(" in tab.inner_text("#text pre")
    look.quiet(page_file)


def test_clicking_a_node_shows_all_that_is_known_of_it(page_file, watched):
    look = watched()
    tab = look.open(page_file)
    click(tab, title_id(tab, "loss"))
    told = details(tab)
    for word in (
        "loss",
        "mean_squared_error",
        "gradient",
        "1.0",
        "test_draw_browser.py:",
        "loss = wb.mean_squared_error(model",
    ):
        assert word in told
    assert "∂/∂" in told
    assert "·0.5" in told
    assert tab.locator("#picture .chosen").count() == 1
    look.quiet(page_file)


def test_layers_open_and_close_by_click(page_file, watched):
    look = watched()
    tab = look.open(page_file)
    before = boxes(tab)
    layer = tab.evaluate("Object.keys(data.groups).find(g => data.groups[g].title.startsWith('1: Dense'))")
    assert layer in before
    click(tab, layer)
    assert "Dense 2 → 1" in details(tab)
    tab.click("#details button")
    opened = boxes(tab)
    assert layer in opened
    assert len(opened) > len(before)
    assert "1.weight" in words(tab)
    tab.click("#details button")
    assert boxes(tab) == before
    assert "1.weight" not in words(tab)
    tab.locator(f"#picture #{layer}").first.dblclick(force=True)
    assert "1.weight" in words(tab)
    look.quiet(page_file)


def test_all_layers_open_and_close_by_the_buttons(page_file, watched):
    look = watched()
    tab = look.open(page_file)
    tab.click("#opener")
    assert tab.is_disabled("#opener")
    assert {"0.0.weight", "0.1.bias", "1.weight"} <= set(words(tab).split())
    tab.click("#closer")
    assert tab.is_disabled("#closer")
    assert "parameters 20" in " ".join(words(tab).split())
    assert "0.0.weight" not in words(tab)
    look.quiet(page_file)


def test_every_view_can_be_reached_and_shows_its_layers(page_file, watched):
    look = watched()
    tab = look.open(page_file)
    count = tab.evaluate("views.size")
    assert count > 3
    for key in tab.evaluate("[...views.keys()]"):
        tab.evaluate("key => show(key)", key)
        seen = set(tab.eval_on_selector_all("#picture .cluster.layer", "all => all.map(part => part.id)"))
        assert seen >= set(key.split())
        assert tab.evaluate("document.querySelectorAll('#picture .node').length") > 0
    look.quiet(page_file)


def test_the_keyboard_alone_is_enough(page_file, watched):
    look = watched()
    tab = look.open(page_file)
    before = boxes(tab)
    layer = tab.evaluate("Object.keys(data.groups).find(g => data.groups[g].title.startsWith('1: Dense'))")
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.id") == layer:
            break
    assert tab.evaluate("document.activeElement.id") == layer
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')")
    tab.keyboard.press("Space")
    assert "Dense 2 → 1" in details(tab)
    tab.keyboard.press("Enter")
    assert "1.weight" in words(tab)
    assert tab.evaluate("document.activeElement.id") == layer, "the focus stays"
    tab.keyboard.press("Enter")
    assert boxes(tab) == before
    size = view_box(tab)[2]
    tab.keyboard.press("+")
    assert view_box(tab)[2] < size
    tab.keyboard.press("-")
    tab.keyboard.press("-")
    assert view_box(tab)[2] > size
    tab.keyboard.press("0")
    assert view_box(tab)[2] == pytest.approx(size)
    look.quiet(page_file)


def test_a_key_on_a_button_presses_the_button(page_file, watched):
    tab = watched().open(page_file)
    size = view_box(tab)[2]
    tab.focus("#in")
    tab.keyboard.press("Enter")
    assert view_box(tab)[2] < size


def test_pan_zoom_and_fit(page_file, watched):
    look = watched()
    tab = look.open(page_file)
    start = view_box(tab)
    tab.click("#in")
    assert view_box(tab)[2] == pytest.approx(start[2] * 0.8)
    tab.click("#out")
    assert view_box(tab) == pytest.approx(start, abs=1e-6)
    area = tab.locator("#picture").bounding_box()
    x, y = area["x"] + 5, area["y"] + 5
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 100, y + 50, steps=5)
    tab.mouse.up()
    moved = view_box(tab)
    assert moved[0] < start[0]
    assert moved[1] < start[1]
    assert moved[2:] == pytest.approx(start[2:])
    tab.mouse.wheel(0, -300)
    assert view_box(tab)[2] < moved[2]
    tab.click("#fit")
    assert view_box(tab) == pytest.approx(start, abs=1e-6)
    look.quiet(page_file)


def test_dragging_is_not_clicking(page_file, watched):
    tab = watched().open(page_file)
    part = tab.locator("#picture .node").first.bounding_box()
    x, y = part["x"] + part["width"] / 2, part["y"] + part["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 60, y + 30, steps=5)
    tab.mouse.up()
    assert tab.locator("#picture .chosen").count() == 0


def test_on_a_phone_nothing_scrolls_sideways(page_file, watched):
    look = watched(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    tab = look.open(page_file)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    id = title_id(tab, "loss")
    tab.evaluate("id => choose(id)", id)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    assert tab.is_visible("#details")
    tab.evaluate("document.getElementById('text').open = true")
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    look.quiet(page_file)
    plain = watched(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    tab = plain.open(page_file)
    assert tab.is_visible("#picture > svg")


def test_the_whole_picture_is_seen_at_first(page_file, watched):
    tab = watched().open(page_file)
    area = tab.locator("#picture").bounding_box()
    for part in tab.locator("#picture .node").all():
        box = part.bounding_box()
        assert box["x"] >= area["x"] - 1
        assert box["x"] + box["width"] <= area["x"] + area["width"] + 1
        assert box["y"] >= area["y"] - 1


def test_no_text_runs_out_of_its_box(page_file, watched):
    """What Graphviz thought that letters take is what they take."""
    tab = watched().open(page_file)
    tab.click("#opener")
    over = tab.evaluate(
        """() => [...document.querySelectorAll('#picture .node')].flatMap(node => {
            const path = node.querySelector('path');
            if (!path) return [];
            const box = path.getBoundingClientRect();
            return [...node.querySelectorAll('text')].filter(t => {
                const r = t.getBoundingClientRect();
                return r.left < box.left - 2 || r.right > box.right + 2 || r.top < box.top - 2 || r.bottom > box.bottom + 2;
            }).map(t => t.textContent);
        })"""
    )
    assert over == []


def test_pages_without_layers_and_with_nothing_special(watched, tmp_path):
    result = wb.tanh(wb.Value(float("nan"), name="w") * float("inf"))
    result.backward()
    for i, drawing in enumerate([draw(result), draw(wb.Value(1.0)), draw(wb.MLP(2, [3], 1, seed=0)), draw(result, show="backward", theme="dark")]):  # fmt: skip
        path = drawing.save(tmp_path / f"{i}.html")
        look = watched()
        tab = look.open(path)
        first = tab.evaluate("document.querySelector('#picture .node').id")
        click(tab, first)
        assert tab.locator("#details h2").count() == 1
        assert tab.is_visible("#opener") == (
            len(drawing.opened.groups) > 0 and any(g.closed for g in drawing.opened.groups)
        )
        look.quiet(path)


# -- hostile names ---------------------------------------------------------------------------------------------


def hostile_net(names):
    """The names as those of Values, of modules in paths, and in the text of an error."""
    x = wb.Value(np.ones((1, 2)), name="x")
    outs = []
    for i, name in enumerate(names):
        y = wb.sum(Part(name)(x)) if i % 14 == 0 else wb.sum(x)
        y.name = name
        outs.append(y)
    total = wb.stack(outs).sum()
    total.name = "</script><script>window.hacked=1</script>"
    total.backward()
    return total


# All that is in our pages.
OURS = set(
    "html head meta title style body header h1 div button main figure aside p details summary pre template script svg g path "
    "polygon polyline text a h2 h3 code table tbody tr td span ellipse".split()
)
COUNT = "() => [...document.querySelectorAll('*')].map(e => e.localName)"
HANDLERS = "() => [...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on') || (/href/.test(a.name) && a.value))).length"


def test_hostile_names_are_inert_in_the_page(watched, tmp_path):
    total = hostile_net(HOSTILE)
    path = draw(total, max_nodes=600).save(tmp_path / "hostile.html")
    look = watched()
    tab = look.open(path)
    assert tab.evaluate("window.hacked") is None
    assert set(tab.evaluate(COUNT)) <= OURS
    assert tab.evaluate(HANDLERS) == 0
    assert tab.locator("script").count() == 2, "ours, and the data"
    shown = words(tab)
    for name in (
        "<script>window.hacked=1</script>",
        "javascript:window.hacked=1",
        "{{}}",
        "]]>",
        "-->",
        "|{}<>",
        "שלום",
        "🎲",
    ):
        assert name in shown, name
    for id in tab.evaluate("Object.keys(data.nodes)"):
        tab.evaluate("id => choose(id)", id)
        assert tab.locator("#details img, #details script, #details svg, #details a").count() == 0
    tab.click("#opener")
    assert set(tab.evaluate(COUNT)) <= OURS
    assert tab.evaluate("window.hacked") is None
    look.quiet(path)
    bare = watched(java_script_enabled=False).open(path)
    assert "javascript:window.hacked=1" in bare.inner_text("#picture")


def test_hostile_names_of_everything_else(watched, tmp_path):
    """Titles of pages, error messages, options and paths of models."""
    bad = '"><img src=x onerror=window.hacked=1></script><script>window.hacked=1</script>{{}}'
    x = wb.Value(np.ones(3), name=bad)
    y = wb.exp(x)
    y.name = bad
    try:
        x + wb.Value(np.ones(4), name=bad)
    except ValueError as error:
        failed = draw(error)
    model = Part(bad)
    drawings = [
        draw(y),
        failed,
        draw(model),
        draw(model, np.ones((1, 2)), depth=9),
        draw(y, around=bad, highlight=[bad], color="gradient"),
    ]
    for i, drawing in enumerate(drawings):
        for theme in ("light",) if i else ("light", "dark"):
            path = draw(y, theme=theme).save(tmp_path / "0.html") if not i else drawing.save(tmp_path / f"{i}.html")
            look = watched()
            tab = look.open(path)
            assert tab.evaluate("window.hacked") is None
            assert set(tab.evaluate(COUNT)) <= OURS
            assert tab.evaluate(HANDLERS) == 0
            assert "<img src=x" in words(tab)
            look.quiet(path)


def test_the_policy_lets_nothing_else_run(page_file, watched):
    """The second wall: even markup that got into the page would not run."""
    tab = watched().open(page_file)
    tab.evaluate("""() => {
        const script = document.createElement('script'); script.textContent = 'window.hacked = 1'; document.body.append(script);
        const image = document.createElement('div'); image.innerHTML = '<img src=x onerror="window.hacked=2">'; document.body.append(image);
    }""")
    tab.wait_for_timeout(100)
    assert tab.evaluate("window.hacked") is None


def test_hostile_names_are_inert_in_an_svg_opened_by_itself(watched, tmp_path):
    path = draw(hostile_net(HOSTILE), max_nodes=600, depth=9).save(tmp_path / "hostile.svg")
    look = watched()
    tab = look.open(path)
    assert tab.evaluate("window.hacked") is None
    assert set(tab.evaluate(COUNT)) <= {"svg", "g", "title", "path", "polygon", "polyline", "text", "a", "ellipse"}
    assert tab.evaluate(
        "[...document.querySelectorAll('*')].every(e => e.namespaceURI === 'http://www.w3.org/2000/svg')"
    )
    assert tab.evaluate("[...document.querySelectorAll('a')].every(e => !e.href || !e.href.baseVal)")
    shown = " ".join(tab.eval_on_selector_all("text", "all => all.map(t => t.textContent)")).replace("\xa0", " ")
    assert "<script>window.hacked=1</script>" in shown
    look.quiet(path)


def test_hostile_names_are_inert_in_a_notebooks_output(watched, tmp_path):
    total = hostile_net(HOSTILE)
    bundle = draw(total, max_nodes=600)._repr_mimebundle_()["image/svg+xml"]
    path = tmp_path / "notebook.html"
    path.write_text(
        f"<!doctype html><meta charset=utf-8><title>x</title><body style='background:#111'>{bundle}</body>",
        encoding="utf-8",
    )
    look = watched()
    tab = look.open(path)
    assert tab.evaluate("window.hacked") is None
    assert set(tab.evaluate(COUNT)) <= {
        "html",
        "head",
        "meta",
        "title",
        "body",
        "svg",
        "g",
        "path",
        "polygon",
        "polyline",
        "text",
        "a",
        "ellipse",
    }
    look.quiet(path)


# -- Mermaid -----------------------------------------------------------------------------------------------------


def in_mermaid(tab, text):
    """Mermaid's own picture of a text, as GitHub would make it, and then as those do who let anything pass."""
    if tab.url == "about:blank" and not tab.evaluate("'mermaid' in window"):
        tab.set_content("<!doctype html><body><div id=out></div></body>")
        tab.add_script_tag(path=MERMAID)
    tab.evaluate("document.getElementById('out').replaceChildren()")
    return tab.evaluate(
        """async text => {
        for (const level of ['strict', 'loose']) {
            mermaid.initialize({startOnLoad: false, securityLevel: level});
            const {svg} = await mermaid.render('picture_' + level, text);
            const place = document.createElement('div'); place.innerHTML = svg; document.getElementById('out').append(place);
        }
        await new Promise(done => setTimeout(done, 50));
        const labels = [...document.querySelectorAll('#out .node .nodeLabel')].map(e => e.innerText);
        return {labels, hacked: window.hacked === undefined ? null : window.hacked,
                names: [...document.querySelectorAll('#out *')].map(e => e.localName)};
    }""",
        text,
    )


@needs_mermaid
def test_mermaid_takes_every_form(watched):
    tab = watched().tab
    model, loss = small_net()
    x = wb.Value(0.5, name="x")
    y = x
    for _ in range(300):
        y = wb.tanh(wb.sin(y) * 1.5)
    for drawing in (draw(loss), draw(loss, depth=9), draw(model), draw(y), draw(loss, show="backward", direction="TB", theme="dark"),
                    draw(loss, highlight=["1.weight"])):  # fmt: skip
        found = in_mermaid(tab, drawing.mermaid)
        assert len(found["labels"]) == 2 * len(drawing.graph.nodes)


@needs_mermaid
def test_hostile_names_are_inert_in_mermaid(watched):
    total = hostile_net(HOSTILE)
    look = watched()
    for drawing in (draw(total, max_nodes=600), draw(total, max_nodes=600, depth=9)):
        found = in_mermaid(look.tab, drawing.mermaid)
        assert found["hacked"] is None
        assert not {"script", "img", "iframe", "a", "image"} & set(found["names"])
        shown = " ".join(found["labels"])
        for name in ("<script>window.hacked=1</script>", "javascript:window.hacked=1", "{{}}", "]]>", "שלום", "🎲", "`x`", "#quot;", "&amp;", "\\\\N"):  # fmt: skip
            assert name.replace("\\\\", "\\") in shown, name
    assert look.dialogs == []
