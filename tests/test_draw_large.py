"""Large graphs: what gives way and in which order, folding, cropping, and the parts that can be asked for."""

import itertools
import math
import re
from collections import Counter

import numpy as np
import pytest
from drawing_helpers import edge, edges, facts, node, sound, statements, titles
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tinygrad_wb as wb
from tinygrad_wb.draw import draw

UNARY = [wb.sin, wb.tanh, wb.exp, wb.sigmoid, lambda a: -a]
BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - b, wb.maximum]


def chain(n, x=None):
    y = wb.Value(0.5, name="x") if x is None else x
    for _ in range(n):
        y = wb.sin(y)
    return y


def repeats(drawing):
    return {n.title: n.repeated for n in drawing.graph.nodes if n.repeated}


def boxes(drawing):
    return [g.title for g in drawing.graph.groups if g.kind == "repeat"]


def number(text):
    return int(text.replace(",", ""))


def kept_in_words(drawing):
    """How many things a drawing's one node for what is left out says that there are."""
    (more,) = [n for n in drawing.graph.nodes if n.kind == "left out"]
    return sum(number(count) for count in re.findall(r"[\d,]+(?= [a-z])", more.title))


# -- folding ---------------------------------------------------------------------------------------------------


def test_within_the_budget_nothing_is_folded():
    drawing = draw(chain(199))
    assert len(drawing.graph.nodes) == 200
    assert not repeats(drawing)
    assert drawing.graph.caption == ()
    assert not repeats(draw(chain(300), max_nodes=301))


@pytest.mark.parametrize("n", [200, 201, 300, 1000])
def test_a_chain_of_the_same(n):
    end = chain(n)
    drawing = draw(end)
    assert statements(drawing) == ["x", "end = sin(…)"]
    assert repeats(drawing) == {"end": f"×{n:,}"}
    assert drawing.graph.caption == (f"{n + 1:,} nodes: too many for max_nodes=200, so repeats are folded.",)
    sound(drawing.graph, 200)


def test_a_chain_of_turns():
    y = wb.Value(0.5, name="x")
    for _ in range(100):
        y = wb.tanh(wb.sin(y) * 1.5)
    drawing = draw(y)
    assert boxes(drawing) == ["×100, the same parameters each time"] or boxes(drawing) == ["×100"]
    assert [n.symbol for n in drawing.graph.nodes if n.group] == ["sin", "*", "tanh"]
    (again,) = [e for e in drawing.graph.edges if e.again]
    ids = {n.id: n.title for n in drawing.graph.nodes}
    assert (ids[again.source], ids[again.target]) == ("y", "sin_1")
    assert "again" not in drawing.text
    sound(drawing.graph, 200)


@pytest.mark.parametrize("n", [300, 301])
def test_a_sum_of_many_alike(n):
    xs = [wb.Value(float(i)) for i in range(n)]
    total = xs[0] * xs[0]
    for x in xs[1:]:
        total = total + x * x
    drawing = draw(total)
    told = repeats(drawing)
    assert told["total"] == f"×{n - 1:,}"
    (product,) = [title for title in told if title != "total"]
    assert told[product] == f"+{n - 1:,} more"
    assert len(drawing.graph.nodes) == 3
    sound(drawing.graph, 200)


def test_a_sum_that_starts_from_a_number():
    xs = [wb.Value(float(i)) for i in range(300)]
    total = sum(x * x for x in xs)
    drawing = draw(total)
    assert repeats(drawing)["total"] == "×300"
    assert "+299 more" in repeats(drawing).values()
    sound(drawing.graph, 200)


@pytest.mark.parametrize("turns", [50, 100, 250])
def test_a_recurrent_cell_is_drawn_once(turns):
    w, u, b = (wb.Value(np.full(s, 0.1), name=n) for n, s in (("w", (3, 3)), ("u", (2, 3)), ("b", (3,))))
    h = wb.Value(np.zeros((1, 3)), name="start")
    xs = np.ones((turns, 1, 2))
    for i in range(turns):
        h = wb.tanh(h @ w + xs[i] @ u + b)
    loss = wb.sum(h)
    loss.backward()
    drawing = draw(loss)
    assert {"start", "w", "u", "b", "h", "loss"} <= set(titles(drawing))
    assert [title.split(",")[0] for title in boxes(drawing)] == [f"×{turns}"]
    assert f"+{turns - 1} more" in repeats(drawing).values()
    assert len(drawing.graph.nodes) < 16
    assert facts(drawing, "w")["gradient"] == facts(draw(loss, max_nodes=5000), "w")["gradient"]
    sound(drawing.graph, 200)


def stands_for(n):
    """How many a node stands for: itself and as many more, or so many one after another."""
    return sum(number(count) for count in re.findall(r"[\d,]+", n.repeated)) + (not n.repeated.startswith("×"))


@pytest.mark.parametrize("turns", [70, 300])
def test_nothing_is_counted_twice_where_every_turn_gives_something(turns):
    y, total = wb.Value(0.5, name="x"), wb.Value(0.0, name="zero")
    for _ in range(turns):
        y = wb.sin(y)
        total = total + wb.exp(y)
    drawing = draw(total)
    sound(drawing.graph, 200)
    counts = Counter()
    for n in drawing.graph.nodes:
        counts[n.symbol or n.statement.split("=")[-1].split("(")[0].strip()] += stands_for(n)
    assert repeats(drawing)
    assert [counts[name] for name in ("sin", "exp", "+")] == [turns, turns, turns]


def test_the_same_layer_again_and_again():
    layer, y = wb.Dense(4, 4, "tanh", seed=0), np.ones((1, 4))
    for _ in range(300):
        y = layer(y)
    drawing = draw(y)
    assert [(n.kind, n.repeated) for n in drawing.graph.nodes] == [("constant", ""), ("layer", "×300")]


def test_deep_models_of_equal_layers_say_how_many_more():
    model = wb.Sequential(*[wb.Dense(4, 4, "relu", seed=i) for i in range(250)])
    drawing = draw(model(np.ones((1, 4))))
    assert [(n.kind, n.repeated) for n in drawing.graph.nodes] == [("constant", ""), ("layer", "+249 more")]


def test_layers_that_differ_are_not_folded_into_one():
    model = wb.Sequential(*[wb.Dense(i % 7 + 1, (i + 1) % 7 + 1, "relu", seed=i) for i in range(250)])
    drawing = draw(model(np.ones((1, 1))))
    assert boxes(drawing) == ["×35"]
    turn = next(g.id for g in drawing.graph.groups if g.kind == "repeat")
    assert sum(n.group == turn for n in drawing.graph.nodes) == 7
    assert sum(n.kind == "layer" for n in drawing.graph.nodes) == 7 + 250 - 7 * 35
    different = wb.Sequential(*[wb.Dense(i + 1, i + 2, seed=i) for i in range(60)])
    drawing = draw(different(np.ones((1, 1))), max_nodes=20)
    assert [n.kind for n in drawing.graph.nodes] == ["constant", "layer"], "the model itself is closed"
    assert not repeats(drawing)
    assert not boxes(drawing)


def test_names_and_options_keep_things_apart():
    y = wb.Value(np.ones((2, 2)), name="x")
    for i in range(300):
        y = wb.sum(y, axis=i % 2, keepdims=True) * y
    drawing = draw(y)
    sound(drawing.graph, 200)
    axes = {dict(n.facts).get("axis") for n in drawing.graph.nodes if n.symbol == "sum"}
    assert axes == {"0", "1"}


def micrograds_moons(samples=100):
    """micrograd's demo: a network of neurons of scalars, on a hundred points of two moons."""
    x, labels = wb.datasets.moons(samples, seed=0)
    rng = np.random.default_rng(0)
    layers = [
        [([wb.Value(v) for v in rng.uniform(-1, 1, n)], wb.Value(0.0)) for _ in range(m)] for n, m in ((2, 16), (16, 16), (16, 1))
    ]  # fmt: skip
    losses = []
    for point, label in zip(x, labels):
        h = [float(v) for v in point]
        for i, layer in enumerate(layers):
            h = [sum((w * a for w, a in zip(ws, h)), b) for ws, b in layer]
            h = h if i == 2 else [wb.relu(a) for a in h]
        losses.append(wb.relu(1.0 - float(2 * label - 1) * h[0]))
    data_loss = sum(losses) * (1.0 / len(losses))
    penalty = 1e-4 * sum(w * w for layer in layers for ws, _ in layer for w in ws)
    return data_loss + penalty


def test_micrograds_moons_come_down_to_a_few_neurons():
    total = micrograds_moons()
    drawing = draw(total)
    sound(drawing.graph, 200)
    count = number(re.match(r"([\d,]+) nodes: too many", drawing.graph.caption[0])[1])
    assert count > 64_000
    assert "repeats are folded" in drawing.graph.caption[0]
    assert len(drawing.graph.nodes) <= 100
    assert drawing.graph.nodes[-1].title == "total"
    assert any("99 more" in text for text in repeats(drawing).values())
    assert drawing.dot
    assert len(str(drawing).splitlines()) < 400


def test_a_million_operations():
    y = wb.Value(0.5, name="x")
    for _ in range(1_000_000):
        y = -y
    drawing = draw(y)
    assert statements(drawing) == ["x", "y = -…"]
    assert repeats(drawing) == {"y": "×1,000,000"}
    assert drawing.graph.caption[0].startswith("1,000,001 nodes")


# -- what gives way ------------------------------------------------------------------------------------------------


def blocks(n, inner=3):
    """Layers of layers: n blocks of so many Dense layers that differ."""
    sizes = [[5 + (i + j) % 3 for j in range(inner + 1)] for i in range(n)]
    for before, after in itertools.pairwise(sizes):
        after[0] = before[-1]
    parts = [
        wb.Sequential(*[wb.Dense(a, b, "tanh", seed=i) for a, b in itertools.pairwise(s)]) for i, s in enumerate(sizes)
    ]  # fmt: skip
    return wb.Sequential(*parts), np.ones((1, sizes[0][0]))


def test_layers_are_closed_before_anything_is_folded():
    model, x = blocks(4)
    y = model(x)
    everything = draw(y, depth=9)
    count = len(everything.graph.nodes)
    drawing = draw(y, depth=9, max_nodes=count - 1)
    assert [n.kind for n in drawing.graph.nodes] == ["constant"] + ["layer"] * 12
    assert drawing.graph.caption == (f"{count} nodes: too many for max_nodes={count - 1}, so layers are closed.",)
    assert not repeats(drawing)
    assert draw(y, max_nodes=13).graph.caption == ()


def test_then_repeats_are_folded_then_outer_layers_closed():
    model, x = blocks(4)
    y = model(x)
    few = draw(y, max_nodes=6)
    sound(few.graph, 6)
    assert "folded" in few.graph.caption[0]
    one = draw(y, max_nodes=2)
    sound(one.graph, 2)
    assert titles(one)[-1] == "y"
    assert [n.kind for n in one.graph.nodes] == ["constant", "layer"]
    assert "layers closed" in one.graph.caption[0]


def test_then_what_is_far_from_the_end_is_left_out():
    y = wb.Value(1.0, name="x")
    for i in range(40):
        y = [wb.sin, wb.exp, wb.tanh, wb.cos][(i * i + i // 3) % 4](y)
        y.name = f"v{i}"
    drawing = draw(y, max_nodes=5)
    sound(drawing.graph, 5)
    assert titles(drawing)[1:] == [f"v{i}" for i in range(35, 40)]
    assert "5 that are nearest to the end are drawn; max_nodes=5." in drawing.graph.caption[0]
    more = drawing.graph.nodes[0]
    assert (more.kind, more.id) == ("left out", "n1")
    assert more.title.endswith("not drawn")
    assert "leaf" in more.title
    assert (more.title, "v35") in edges(drawing)


def test_the_end_is_drawn_whatever_the_budget():
    for most in (1, 2, 3):
        drawing = draw(micrograds_moons(2), max_nodes=most)
        sound(drawing.graph, most)
        assert [n.kind for n in drawing.graph.nodes][-1] == "result"


def test_several_ends_are_all_drawn():
    x = wb.Value(1.0, name="x")
    ends = [wb.exp(x * float(i)) for i in range(5)]
    drawing = draw(ends, max_nodes=3)
    assert len(titles(drawing, "result")) == 5
    sound(drawing.graph, 5)


def test_constants_count_as_nodes():
    many = wb.stack([wb.Value(1.0, name="x"), *map(float, range(5000))])
    drawing = draw(many, max_nodes=10)
    sound(drawing.graph, 10)
    assert kept_in_words(drawing) == 5002 - 10


def test_what_was_asked_for_is_said_beside_what_was_left_out():
    y = wb.Value(1.0, name="x")
    for i in range(40):
        y = [wb.sin, wb.exp, wb.tanh, wb.cos][(i * i + i // 3) % 4](y)
        y.name = f"v{i}"
    drawing = draw(y, around="v20", hops=12, max_nodes=5)
    sound(drawing.graph, 5)
    caption = " ".join(drawing.graph.caption)
    assert "within 12 steps of 'v20'" in caption
    assert "max_nodes=5" in caption


# -- what is asked for, against brute force -------------------------------------------------------------------------


@st.composite
def graphs(draw, most=24, layers=True):
    """A random graph in which every Value has a name of its own; its end, and all its Values by name."""
    values = [wb.Value(0.5 + i / 4, name=f"l{i}") for i in range(draw(st.integers(1, 4)))]
    layer = wb.Dense(1, 1, "tanh", seed=0)
    for i in range(draw(st.integers(1, most))):
        kind = draw(st.integers(0, 9 if layers else 8))
        a = values[draw(st.integers(max(0, len(values) - 6), len(values) - 1))]
        if kind < 4:
            y = UNARY[draw(st.integers(0, len(UNARY) - 1))](a)
        elif kind < 9:
            y = BINARY[draw(st.integers(0, len(BINARY) - 1))](a, values[draw(st.integers(0, len(values) - 1))])
        else:
            y = wb.sum(layer(wb.reshape(a, (1, 1))))
        y.name = f"v{i}"
        values.append(y)
    return values[-1], {v.name: v for v in values}


def whole(end):
    """The whole graph by brute force: its titles, and its edges."""
    everything = draw(end, depth=9, max_nodes=100_000)
    return titles(everything), edges(everything)


@settings(max_examples=60)
@given(graphs(), st.data())
def test_around_is_breadth_first_search(graph, data):
    end, values = graph
    every, links = whole(end)
    centre = data.draw(st.sampled_from(sorted(set(every) & values.keys())))
    hops = data.draw(st.integers(0, 4))
    assume(len(set(every)) == len(every))
    found = {centre}
    for _ in range(hops):
        found |= {b for a, b in links if a in found} | {a for a, b in links if b in found}
    drawing = draw(end, depth=9, around=centre, hops=hops, max_nodes=100_000)
    sound(drawing.graph)
    assert set(titles(drawing)) == found
    assert Counter(edges(drawing)) == Counter(e for e in links if set(e) <= found)
    caption = " ".join(drawing.graph.caption)
    if len(found) < len(every):
        counted = sum(number(n) for n in re.findall(r"([\d,]+) (?:operation|leaf|leaves|constant|layer)", caption))
        assert counted == len(every) - len(found)
    else:
        assert "not drawn" not in caption


@settings(max_examples=60)
@given(graphs(10, layers=False), st.data())
def test_path_is_every_way_and_no_more(graph, data):
    end, values = graph
    every, links = whole(end)
    assume(len(set(every)) == len(every))
    names = sorted(set(every) & values.keys())
    start, goal = data.draw(st.sampled_from(names)), data.draw(st.sampled_from(names))

    def ways(at):
        if at == start:
            return [(at,)]
        return [(*way, at) for a, b in links if b == at for way in ways(a)]

    found = ways(goal)
    if not found:
        with pytest.raises(ValueError, match="no way"):
            draw(end, depth=9, path=(goal, start))
        return
    drawing = draw(end, depth=9, path=(goal, start), max_nodes=100_000)
    sound(drawing.graph)
    assert set(titles(drawing)) == {name for way in found for name in way}
    assert drawing.graph.caption[0].startswith(f"{len(found):,} way")
    assert draw(end, depth=9, path=(values[goal], values[start]), max_nodes=100_000).graph == drawing.graph


@settings(max_examples=80)
@given(graphs(40), st.integers(1, 30), st.sampled_from([None, 0, 1, 9]))
def test_folding_and_cropping_keep_the_graph_sound(graph, most, depth):
    end, _ = graph
    drawing = draw(end, max_nodes=most, depth=depth)
    sound(drawing.graph, most)
    sound(drawing.opened)
    assert drawing.graph.nodes[-1].kind == "result"
    for n in drawing.graph.nodes:
        assert re.fullmatch(r"(×[\d,]+)?( ?\+[\d,]+ more)?", n.repeated)
    shortened = any(n.repeated or n.kind == "left out" for n in drawing.graph.nodes) or boxes(drawing)
    assert bool(drawing.graph.caption) >= bool(shortened), "it says so"
    assert drawing.dot
    assert drawing.text
    assert drawing.mermaid
    assert drawing.graph == draw(end, max_nodes=most, depth=depth).graph


@settings(max_examples=30)
@given(graphs(30), st.integers(1, 15))
def test_what_is_kept_is_what_is_nearest(graph, most):
    end, _ = graph
    every, links = whole(end)
    drawing = draw(end, depth=9, max_nodes=most)
    assume(len(every) > most and not repeats(drawing) and not boxes(drawing))
    assume(
        any(n.kind == "left out" for n in drawing.graph.nodes)
        and not any(n.kind == "layer" for n in drawing.graph.nodes)
    )
    kept = {n.title for n in drawing.graph.nodes if n.kind != "left out"}
    assume(kept_in_words(drawing) == len(every) - len(kept))  # nothing was folded and then left out
    far = {end.name: 0}
    for name in reversed(every):
        for a, b in links:
            if b == name and name in far:
                far[a] = min(far.get(a, math.inf), far[name] + 1)
    assert max(far[name] for name in kept) <= min(far[name] for name in every if name not in kept)


def test_ways_of_a_million():
    """There are 2²⁰ ways through twenty squares, and they are counted without being walked."""
    x = wb.Value(1.0, name="x")
    y = x
    for _ in range(20):
        y = y * y
    drawing = draw(y, path=(y, x))
    assert drawing.graph.caption[0].startswith("1,048,576 ways")
    assert len(drawing.graph.nodes) == 21


def test_path_of_one():
    x = wb.Value(1.0, name="x")
    y = wb.exp(x)
    drawing = draw(y, path=(y, y))
    assert titles(drawing) == ["y"]
    assert "1 way " in drawing.graph.caption[0]


def test_an_edge_between_what_is_drawn_keeps_its_derivative():
    x = wb.Value(2.0, name="x")
    y = wb.exp(x) * wb.sin(x)
    y.backward()
    near = draw(y, around=x, hops=1)
    assert edge(near, "x", "exp_1").number == "7.38906"
    assert node(near, "x").facts == node(draw(y), "x").facts
