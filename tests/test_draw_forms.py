"""The forms of a drawing: DOT, SVG, PNG, PDF, Mermaid, text, files, notebooks; and hostile names in each."""

import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
from drawing_helpers import HOSTILE, needs_dot, needs_pygraphviz, needs_renderer, neuron, node, words_of
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_wb as wb
from tinygrad_wb.draw import LayoutTimeoutError, RendererNotFoundError, draw
from tinygrad_wb.draw.dot import dot_text

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(params=[pytest.param("dot", marks=needs_dot), pytest.param("pygraphviz", marks=needs_pygraphviz)])
def renderer(request, monkeypatch, tmp_path_factory):
    if request.param == "pygraphviz":
        monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    return request.param


@pytest.fixture
def no_renderer(monkeypatch, tmp_path_factory):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))


@pytest.fixture
def slow_dot(monkeypatch, tmp_path_factory):
    """A `dot` that never comes to an end."""
    folder = tmp_path_factory.mktemp("slow")
    dot = folder / "dot"
    dot.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(600)\n", encoding="utf-8")
    dot.chmod(dot.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))


def model_loss():
    model = wb.MLP(2, [3], 1, seed=0)
    loss = wb.mean_squared_error(model(np.ones((4, 2))), np.zeros((4, 1)))
    loss.backward()
    return loss


# -- DOT -----------------------------------------------------------------------------------------------------


def test_no_record_shapes():
    for drawing in (draw(neuron()), draw(model_loss()), draw(model_loss(), depth=9), draw(wb.MLP(2, [3], 1))):
        assert "record" not in drawing.dot
        assert drawing.dot.startswith("digraph {")


def test_ids_are_short_and_in_order():
    drawing = draw(neuron())
    assert [n.id for n in drawing.graph.nodes] == ["n1", "n2", "n3", "n4", "n5", "n6"]
    assert re.findall(r"^\t(n\d+) \[", drawing.dot, re.MULTILINE) == [n.id for n in drawing.graph.nodes]


def test_dot_of_empty_and_odd_graphs():
    graph = draw(neuron()).graph
    assert dot_text(replace(graph, nodes=(), edges=()))
    assert dot_text(replace(graph, caption=("<b>&]\\N" * 50,)))


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a, b):
    """As the Web Content Accessibility Guidelines reckon it."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("color", [None, "gradient"])
def test_every_text_can_be_read_on_its_ground(theme, color):
    """4.5 to 1 for every colour of letters in every box, however large its gradient (WCAG 2.2, 1.4.3)."""
    parts = [wb.Value(1.0, name=f"w{i}") * 10.0**i for i in range(13)]
    loss = wb.stack(parts).sum()
    loss.backward()
    dot = draw(loss, color=color, theme=theme).dot
    seen = 0
    for line in dot.splitlines():
        if re.match(r"\tn\d+ \[", line):
            fill, ink = (re.search(rf'{word}="?(#\w+)', line)[1] for word in ("fillcolor", " fontcolor"))
            for letters in {ink, *re.findall(r'<font color="(#\w+)"', line)}:
                assert contrast(fill, letters) >= 4.5, (fill, letters)
                seen += 1
    assert seen > 40


# -- hostile names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_shown_as_they_are(name):
    y = wb.tanh(wb.Value(1.0, name=name))
    y.name = name
    drawing = draw(y)
    x_node, _ = drawing.graph.nodes
    assert len(x_node.title) <= 32
    assert x_node.title.isprintable()
    assert x_node.title
    assert len(str(drawing).splitlines()) == 2


def hostile_picture():
    """All hostile names in one graph: of Values, of what reads them, in options and of Modules."""
    parts = []
    for i, name in enumerate(HOSTILE):
        x = wb.Value(1.0 + i, name=name)
        y = wb.tanh(x)
        y.name = f"{name}{i}"
        parts.append(y)
    total = wb.stack(parts).sum()
    total.name = HOSTILE[20]
    return total


def test_hostile_names_in_a_picture(renderer):
    drawing = draw(hostile_picture(), max_nodes=500)
    texts, tips = words_of(drawing.svg)
    # Graphviz keeps single spaces alone; what is shown is the same but for that.
    for n in drawing.graph.nodes:
        assert " ".join(n.title.split()) in {" ".join(t.split()) for t in texts}
    assert sorted(tips) == sorted(n.statement for n in drawing.graph.nodes)
    tags = {e.tag for e in ET.fromstring(drawing.svg).iter()}
    assert tags <= {SVG + tag for tag in ("svg", "g", "title", "path", "polygon", "polyline", "text", "a", "ellipse")}
    assert not [e for e in ET.fromstring(drawing.svg).iter() if any(a.lower().startswith("on") for a in e.attrib)]
    for link in ET.fromstring(drawing.svg).iter(SVG + "a"):
        assert "{http://www.w3.org/1999/xlink}href" not in link.attrib


def test_a_name_that_needs_no_escape_is_left_alone():
    for name in ("score", "w[0]", "a b", "שלום", "日本 ∂ 🎲"):
        assert draw(wb.Value(1.0, name=name)).graph.nodes[0].title == name
    assert draw(wb.Value(1.0, name="a\nb")).graph.nodes[0].title == "a\\nb"
    for name in ("", "   ", None):
        assert draw(wb.Value(1.0, name=name)).graph.nodes[0].title == "leaf_1"


@needs_renderer
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.text(st.characters(codec=None, categories=None), max_size=40), min_size=1, max_size=5),
    st.text(st.sampled_from('\\"<>&;|{}\n#NGlrn]')),
)
def test_any_name_makes_a_picture(names, last):
    parts = [wb.Value(1.0 + i, name=name) for i, name in enumerate(names)]
    y = wb.stack(parts)
    y.name = last
    drawing = draw(y)
    texts, tips = words_of(drawing.svg)
    assert sorted(tips) == sorted(n.statement for n in drawing.graph.nodes)
    assert {" ".join(n.title.split()) for n in drawing.graph.nodes} <= {" ".join(t.split()) for t in texts}


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_mermaid_has_nothing_of_a_name_but_letters_and_numbers_of_characters(name):
    y = wb.tanh(wb.Value(1.0, name=name))
    y.name = name
    for line in draw(y).mermaid.splitlines()[1:]:
        assert re.fullmatch(
            r'    (n\d+[\[(]"[\w .,=+_−·…×÷∂→#;]*(<br>[\w .,=+_−·…×÷∂→#;]*)*"[\])]|n\d+ -->(\|"[^"<>]*"\|)? n\d+|class(Def)? .*)', line
        ), line  # fmt: skip


# -- Mermaid and text ------------------------------------------------------------------------------------------


def test_mermaid():
    result = neuron()
    result.backward()
    assert draw(result).mermaid.splitlines()[:12] == [
        "flowchart LR",
        '    n1("w<br>value 0.5<br>gradient 2.35934")',
        '    n2("3")',
        '    n3["multiply_1 = w #42; 3<br>value 1.5<br>gradient 0.786448"]',
        '    n4("b<br>value #45;1<br>gradient 0.786448")',
        '    n5["score = multiply_1 + b<br>value 0.5<br>gradient 0.786448"]',
        '    n6["result = tanh#40;score#41;<br>value 0.462117<br>gradient 1"]',
        '    n1 -->|"3"| n3',
        "    n2 --> n3",
        '    n3 -->|"1"| n5',
        '    n4 -->|"1"| n5',
        '    n5 -->|"1 − result·result = 0.786448"| n6',
    ]


def test_mermaid_of_layers_has_boxes_that_close():
    text = draw(model_loss(), depth=9).mermaid
    assert text.count("subgraph") == text.count("\n    end") + text.count("        end") == 3
    assert "%% g is the gradient of an operation's own result." in text


def test_the_tree_shows_what_is_read_twice_once():
    x = wb.Value(2.0, name="x")
    y = wb.exp(x)
    z = y * y
    lines = str(draw(z)).splitlines()
    assert len(lines) == 4
    assert lines[-1].strip().startswith("└─ y = exp(x) …")


def test_a_deep_tree_is_continued_below():
    y = wb.Value(0.5, name="x")
    for i in range(100):
        y = wb.sin(y)
        y.name = f"v{i}"
    lines = str(draw(y)).splitlines()
    assert max(len(line.split("value")[0].rstrip()) for line in lines) < 110
    assert {f"v{i}" for i in range(100)} <= {line.strip(" └─├│").split(" ")[0] for line in lines}
    assert max(len(re.match(r"[ └─├│]*", line)[0]) for line in lines) <= 25 * 3


# -- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".dot", ".gv", ".svg", ".png", ".pdf", ".PNG", ".mmd", ".txt", ".html"])
def test_saving(suffix, renderer, tmp_path):
    starts = {
        ".svg": b"<?xml",
        ".png": b"\x89PNG",
        ".pdf": b"%PDF",
        ".mmd": b"flowchart",
        ".txt": b"result",
        ".html": b"<!doctype html>",
    }
    result = neuron()
    result.name = "result"
    path = draw(result).save(str(tmp_path / f"net{suffix}"))
    assert path == tmp_path / f"net{suffix}"
    assert path.read_bytes().startswith(starts.get(suffix.lower(), b"digraph"))
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "nothing else is left behind"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_direction_and_every_kind_of_node_makes_a_picture(renderer, theme):
    x = wb.Value(np.arange(1.0, 7.0).reshape(2, 3), name="x")
    model = wb.MLP(3, [3], 3, seed=0)
    y = wb.concatenate([x[0, :2] / 3.0, wb.sum(x, axis=1), -wb.mean(x, axis=1)]).reshape(3, 2) @ x
    loss = wb.mean_squared_error(model(y), np.zeros((3, 3))) - wb.max(x) ** 2
    for _ in range(210):
        loss = wb.sin(loss)
    loss.backward()
    for direction, show in (("LR", "both"), ("RL", "forward"), ("TB", "backward"), ("BT", "both")):
        svg = draw(loss, direction=direction, show=show, theme=theme, color="gradient", highlight=[x], depth=2).svg
        ET.fromstring(svg)
        assert "not computed" not in svg


def test_errors_make_a_picture(renderer):
    x = wb.Value(np.ones(3), name="x")
    try:
        x + np.ones((4, 5))
    except wb.ShapeError as error:
        drawing = draw(error)
    texts, _ = words_of(drawing.svg)
    assert any("ShapeError" in text for text in texts)


def test_a_png_is_sharp(renderer, tmp_path):
    path = draw(neuron()).save(tmp_path / "net.png")
    width, height = np.frombuffer(path.read_bytes()[16:24], ">u4")
    svg = ET.fromstring(draw(neuron()).svg)
    assert width / float(svg.get("width").removesuffix("pt")) == pytest.approx(2.0, rel=0.02)
    assert height > 50


def test_unknown_formats_are_refused(tmp_path):
    for name in ("net.jpeg", "net", "net.dott", ".png"):
        with pytest.raises(ValueError, match=r"\.svg, \.png, \.pdf, \.html, \.dot, \.gv, \.mmd, \.txt"):
            draw(neuron()).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.png", "net.html", "net.svg"])
def test_without_a_renderer_the_dot_text_is_kept(no_renderer, tmp_path, name):
    drawing = draw(neuron())
    kept = tmp_path / "net.dot"
    with pytest.raises(RendererNotFoundError) as error:
        drawing.save(tmp_path / name)
    for remedy in ("apt install graphviz", 'pip install "tinygrad_wb[draw]"', str(kept)):
        assert remedy in str(error.value)
    assert kept.read_text(encoding="utf-8") == drawing.dot
    assert [p.name for p in tmp_path.iterdir()] == ["net.dot"]
    with pytest.raises(RuntimeError, match="apt install graphviz"):
        _ = drawing.svg
    for text in ("other.gv", "other.mmd", "other.txt"):
        assert drawing.save(tmp_path / text).exists(), "text needs no renderer"


@pytest.mark.parametrize("name", ["net.png", "net.html"])
@pytest.mark.skipif(os.name == "nt", reason="the slow dot is a script with a #! line")
def test_a_layout_that_takes_too_long(slow_dot, tmp_path, name):
    drawing = draw(neuron())
    with pytest.raises(LayoutTimeoutError) as error:
        drawing.save(tmp_path / name, timeout=0.2)
    for way in ("0.2 s", "max_nodes=", "depth=", "around=", "path=", "timeout=", str(tmp_path / "net.dot")):
        assert way in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == ["net.dot"]
    assert (tmp_path / "net.dot").read_text(encoding="utf-8") == drawing.dot


@pytest.mark.skipif(os.name == "nt", reason="the broken dot is a script with a #! line")
def test_a_renderer_that_fails_says_what_it_said(monkeypatch, tmp_path):
    dot = tmp_path / "dot"
    dot.write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n", encoding="utf-8")
    dot.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="it is broken"):
        draw(neuron()).save(tmp_path / "net.svg")
    assert not (tmp_path / "net.svg").exists()


def test_a_failed_write_leaves_the_old_file(monkeypatch, tmp_path):
    path = draw(neuron()).save(tmp_path / "net.dot")
    before = path.read_bytes()

    def fails(self, target):
        raise OSError(28, "disk full")

    monkeypatch.setattr(type(path), "replace", fails)
    with pytest.raises(OSError, match="disk full"):
        draw(wb.Value(1.0)).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        draw(neuron()).save(tmp_path / "nowhere" / "net.dot")


# -- notebooks -------------------------------------------------------------------------------------------------------


def test_the_representation_is_short():
    assert repr(draw(neuron())) == "<Drawing of 6 nodes: print it, .save(path), .svg, .mermaid, .dot>"


def test_notebooks_get_a_picture_and_text(renderer):
    drawing = draw(neuron())
    shown = drawing._repr_mimebundle_(include=None, exclude=None)
    assert shown["text/plain"] == str(drawing)
    assert set(shown) == {"text/plain", "image/svg+xml"}
    svg = shown["image/svg+xml"]
    assert svg.startswith("<svg")
    root = ET.fromstring(svg)
    ground = next(e for e in root.iter(SVG + "polygon"))
    assert ground.get("fill") in ("white", "#ffffff"), "on a dark page too"
    assert "max-width:100%" in root.get("style")
    assert not list(root.iter(SVG + "title"))


@needs_renderer
def test_each_output_has_ids_of_its_own():
    drawing = draw(neuron())
    bundles = [drawing._repr_mimebundle_()["image/svg+xml"] for _ in range(2)]
    ids = [re.findall(r'\bid="([^"]*)"', svg) for svg in bundles]
    assert len(ids[0]) == len(set(ids[0])) > 6
    assert not set(ids[0]) & set(ids[1])


def test_notebooks_without_a_renderer_get_text(no_renderer):
    drawing = draw(neuron())
    assert drawing._repr_mimebundle_() == {"text/plain": str(drawing)}


def test_notebooks_with_a_layout_that_takes_too_long_get_text(monkeypatch):
    def late(dot, format, timeout=0):
        raise LayoutTimeoutError(timeout)

    monkeypatch.setattr("tinygrad_wb.draw.drawing.render", late)
    drawing = draw(neuron())
    assert drawing._repr_mimebundle_() == {"text/plain": str(drawing)}


@needs_renderer
def test_a_real_notebook(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    cells = [
        "import tinygrad_wb as wb\nw = wb.Value(2.0)\nb = wb.Value(1.0)\nloss = (w * 3.0 + b) ** 2\nloss.backward()",
        "wb.draw(loss)", "wb.draw(loss, theme='dark')", "print(wb.draw(loss))",
    ]  # fmt: skip
    # The kernel of this interpreter, whatever others are installed.
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "p",
        "language": "python",
    }
    folder = tmp_path / "kernels" / "drawing"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(tmp_path))
        patch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        patch.setenv("JUPYTER_PLATFORM_DIRS", "1")
        nbclient.NotebookClient(notebook, timeout=120, kernel_name="drawing").execute()
    _, light, dark, printed = notebook.cells
    for cell in (light, dark):
        (output,) = cell.outputs
        assert output.output_type == "execute_result"
        assert output.data["image/svg+xml"].startswith("<svg")
        assert output.data["text/plain"].startswith("loss = add_1 ** 2")
    ids = [set(re.findall(r'\bid="([^"]*)"', cell.outputs[0].data["image/svg+xml"])) for cell in (light, dark)]
    assert not ids[0] & ids[1]
    assert "#14181d" in dark.outputs[0].data["image/svg+xml"]
    assert printed.outputs[0].text == light.outputs[0].data["text/plain"] + "\n"


def test_names_in_a_notebook_do_not_come_from_what_it_keeps():
    """IPython keeps results as _, __ and _1: none of these is a Value's name."""
    scope = {"wb": wb}
    exec("_1 = wb.Value(2.0)\n_ = _1\nIn = []\nd = wb.draw(_1 * 2.0)", scope)
    assert node(scope["d"], "leaf_1").kind == "leaf"


def test_importing_the_drawing_needs_no_renderer(tmp_path):
    code = (
        "import sys\nsys.modules['pygraphviz'] = None\nimport tinygrad_wb as wb\n"
        "print(wb.draw(wb.Value(1.0, name='x') * 2.0))\nprint([m for m in ('matplotlib', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True,
                          env={**os.environ, "PATH": str(tmp_path), "PYTHONUTF8": "1"})  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
