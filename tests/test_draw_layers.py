"""Layers in pictures: which calls made what, what stands inside and outside of a box, and how boxes open."""

import gc
import threading
import weakref

import numpy as np
import pytest
from drawing_helpers import edges, facts, node, sound, statements, titles

import tinygrad_wb as wb
from tinygrad_wb.draw import draw
from tinygrad_wb.draw.outline import in_order
from tinygrad_wb.nn.calls import calls_around, notes_on, paths

X = np.ones((2, 3))


def net(*layers, seed=0):
    return wb.Sequential(*layers)


def dense(a, b, activation="tanh", seed=0):
    return wb.Dense(a, b, activation, seed=seed)


def inside(drawing):
    """For each title of a group, from the outermost in, the titles of the nodes in it."""
    groups = {g.id: g for g in drawing.graph.groups}
    found = {}
    for n in drawing.graph.nodes:
        path, group = [], n.group
        while group:
            path.insert(0, groups[group].title)
            group = groups[group].parent
        found.setdefault(tuple(path), []).append(n.title)
    return found


# -- whose call it was ---------------------------------------------------------------------------------------


def test_calls_nest_like_the_modules():
    model = net(net(dense(3, 4), dense(4, 2)), dense(2, 1))
    y = model(X)
    made = in_order([y])
    assert [[call.path for call in calls_around(made)[v]] for v in made] == [
        ["", "0", "0.0"], ["", "0", "0.0"], ["", "0", "0.1"], ["", "0", "0.1"], ["", "1"], ["", "1"],
    ]  # fmt: skip
    assert list(paths(made).values()) == ["0.0", "0.0", "0.1", "0.1", "1", "1"]


@pytest.mark.parametrize(
    ("depth", "shown"),
    [
        (0, ["x", "model"]), (1, ["x", "layer_0", "layer_1"]), (2, ["x", "layer_0.0", "layer_0.1", "1.weight", "1.bias", "affine_1", "tanh_1"]),
        (None, ["x", "layer_0.0", "layer_0.1", "layer_1"]),
    ],
)  # fmt: skip
def test_depth_says_how_many_levels_stand_open(depth, shown):
    model = net(net(dense(3, 4), dense(4, 2)), dense(2, 1))
    x = X
    drawing = draw(model, x, depth=depth)
    sound(drawing.graph)
    assert titles(drawing) == shown


def test_the_result_of_a_model_has_no_name_of_the_drawing():
    """The variable that the picture goes into is not what the model's result is called."""
    model = wb.Sequential(wb.Dense(3, 2, seed=0), "tanh")
    picture = draw(model, X, depth=2)
    assert "picture" not in picture.text
    assert all(word not in ("where", "source") for n in picture.graph.nodes for word, _ in n.details)
    picture = draw(wb.mean_squared_error, wb.Value([1.0], name="a"), [2.0])
    assert titles(picture)[-1] == "mean_squared_error_1"


def test_deep_enough_is_everything():
    model = net(net(dense(3, 4), dense(4, 2)), dense(2, 1))
    everything = draw(model, X, depth=3)
    assert draw(model, X, depth=99).graph == everything.graph
    assert {len(p) for p in inside(everything)} == {0, 2, 3}
    assert inside(everything)[("Sequential", "0: Sequential", "0.0: Dense 3 → 4, tanh")] == ["0.0.weight", "0.0.bias", "affine_1", "tanh_1"]  # fmt: skip


def test_the_same_module_called_several_times():
    layer = dense(3, 3)
    x = X
    y = layer(layer(layer(x)))
    drawing = draw(y)
    assert edges(drawing) == [("x", "layer"), ("layer", "layer_2"), ("layer_2", "y")]
    opened = draw(y, depth=9)
    assert titles(opened).count("weight") == 1, "one parameter, however often it is read"
    assert node(opened, "weight").group == "", "it is in no one call"
    assert len(opened.graph.groups) == 3


def test_a_call_that_gives_a_tuple_a_list_or_a_dictionary():
    class Two(wb.Module):
        def __init__(self, form):
            self.w, self.form = wb.Value(np.ones(3)), form

        def forward(self, x):
            a = x * self.w
            b = wb.exp(a)
            return {"tuple": (a, b), "list": [a, [b]], "dict": {"a": a, "b": {"c": b}}}[self.form]

    for form in ("tuple", "list", "dict"):
        two = Two(form)
        result = two(X)
        a, b = {"tuple": lambda r: r, "list": lambda r: (r[0], r[1][0]), "dict": lambda r: (r["a"], r["b"]["c"])}[form](result)  # fmt: skip
        end = wb.sum(a) + wb.sum(b)
        assert len([n for n in draw(end, depth=0).graph.nodes if n.kind == "layer"]) == 1
        (box,) = draw(end, depth=1).graph.groups
        drawing = draw(end, depth=1)
        assert [n.title for n in drawing.graph.nodes if n.group == box.id] == ["w", "a", "b"]


def test_a_module_that_passes_on_what_it_got_is_not_seen():
    class Pass(wb.Module):
        def forward(self, x):
            return x

    model = net(Pass(), dense(3, 2), wb.Dropout(0.5).eval(), Pass())
    y = model(X)
    assert [n.title for n in draw(y).graph.nodes if n.kind == "layer"] == ["layer_1"] or len(
        titles(draw(y), "layer")
    ) == 1
    x = wb.Value(1.0) * 2.0
    assert not notes_on(Pass()(x)), "it did not make it"
    assert not notes_on(Pass()(wb.Value(1.0)))


def test_a_custom_module_around_functions():
    class Attention(wb.Module):
        def __init__(self):
            self.q, self.k, self.v = (wb.Dense(3, 3, bias=False, seed=i) for i in range(3))

        def forward(self, x):
            scores = self.q(x) @ self.k(x).T
            return wb.softmax(scores) @ self.v(x)

    attention = Attention()
    y = attention(X)
    drawing = draw(y)
    sound(drawing.graph)
    assert titles(drawing, "layer") == ["q", "k", "v"]
    assert titles(drawing, "operation", "result") == ["transpose_1", "matmul_1", "softmax_1", "y"]
    assert {n.group for n in drawing.graph.nodes if n.title != "X"} == {"g1"}
    assert titles(draw(y, depth=0)) == ["X", "y"]
    loss = wb.sum(y)
    assert [n.symbol for n in draw(loss, depth=0).graph.nodes if n.kind == "layer"] == ["Attention"]


def test_threads_do_not_mix_their_calls():
    models = [net(dense(3, 4, seed=i), dense(4, 3, seed=i)) for i in range(4)]
    results, start = [None] * 4, threading.Barrier(4)

    def run(i):
        start.wait()
        y = X
        for _ in range(25):
            y = models[i](y)
        results[i] = y

    threads = [threading.Thread(target=run, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for i, y in enumerate(results):
        made = in_order([y])
        around = calls_around(made)
        for v in made:
            assert [call.path for call in around[v]] in (["", "0"], ["", "1"])
            assert {call.module() for call in around[v]} <= {models[i], *models[i].layers}
        sound(draw(y, max_nodes=1000).graph, 1000)
        assert len(titles(draw(y, max_nodes=1000), "layer")) == 50


def test_no_grad_leaves_no_notes():
    model = net(dense(3, 2))
    with wb.no_grad():
        y = model(X)
    assert not getattr(y, "calls", ())
    assert titles(draw(y)) == ["y"]


def test_a_call_inside_a_call_of_itself():
    class Recursive(wb.Module):
        def __init__(self):
            self.w = wb.Value(2.0)

        def forward(self, x, n):
            return wb.tanh(self.forward_again(x, n - 1) * self.w) if n else x * self.w

        def forward_again(self, x, n):
            return self(x, n)

    y = Recursive()(wb.Value(1.0, name="x"), 3)
    for depth in (None, 0, 1, 2, 9):
        sound(draw(y, depth=depth).graph)
    assert titles(draw(y, depth=0)) == ["x", "y"]


def test_a_forward_that_raises_leaves_the_next_call_right():
    layer = dense(3, 2)
    with pytest.raises(wb.ShapeError):
        layer(np.ones((2, 5)))
    assert titles(draw(layer(X), depth=0), "layer") == ["layer"]


# -- memory ---------------------------------------------------------------------------------------------------


class Keeps(wb.Module):
    def __init__(self):
        self.inner = dense(3, 2)

    def forward(self, x):
        self.last = self.inner(x)
        self.all = [*getattr(self, "all", []), self.last]
        return self.last * 2.0


def test_a_module_that_keeps_what_it_returned_is_no_cycle(no_collector):
    def run():
        model = Keeps()
        y = model(X)
        return draw(y), weakref.ref(model), weakref.ref(model.last), weakref.ref(y)

    drawing, *dead = run()
    assert [ref() for ref in dead] == [None, None, None]
    assert "inner" in drawing.text


def test_a_list_that_a_module_adds_its_result_to_is_no_cycle(no_collector):
    class Remembers(wb.Module):
        def __init__(self):
            self.inner = dense(3, 2)

        def forward(self, x, memory):
            y = self.inner(x)
            memory.append(y)
            return y

    def run():
        y = Remembers()(X, [])
        return weakref.ref(y)

    assert run()() is None


def test_a_drawing_with_an_example_leaves_nothing_behind(no_collector):
    def run():
        model = net(dense(3, 2))
        return draw(model, X), weakref.ref(model)

    drawing, dead = run()
    assert dead() is None
    assert drawing.text


def test_a_graph_outlives_its_model():
    model = net(dense(3, 4), dense(4, 1))
    y = model(X)
    del model
    gc.collect()
    drawing = draw(y)
    sound(drawing.graph)
    assert len(titles(drawing, "layer")) == 2
    assert drawing.graph.nodes[-1].symbol == "layer"
    assert titles(draw(wb.sum(y), depth=0))[-2:] == ["y", "sum_1"]
    assert "NoneType" not in draw(wb.Dense(3, 2, seed=0)(X) * 1.0, depth=0).text
    assert drawing.dot


# -- inside and outside -----------------------------------------------------------------------------------------


def test_parameters_stand_inside_and_what_was_given_outside():
    layer, x = dense(3, 2), X
    drawing = draw(wb.sum(layer(x)), depth=1)
    assert inside(drawing) == {(): ["x", "sum_1"], ("Dense 3 → 2, tanh",): ["weight", "bias", "affine_1", "tanh_1"]}
    assert titles(draw(wb.sum(layer(x)))) == ["x", "layer", "sum_1"]


def test_a_parameter_that_something_else_reads_too_stands_outside():
    layer = dense(3, 2)
    loss = wb.sum(layer(X)) + wb.sum(layer.weight * layer.weight)
    drawing = draw(loss)
    assert ("weight", "layer") in edges(drawing)
    assert node(drawing, "weight").group == ""
    assert "bias" not in titles(drawing)
    assert [word for word, _ in node(drawing, "weight").facts][:2] == ["shape", "value"]
    opened = draw(loss, depth=1)
    assert node(opened, "weight").group == ""
    assert node(opened, "bias").group == "g1"


def test_tied_weights():
    class Tied(wb.Module):
        def __init__(self):
            self.encode, self.decode = dense(3, 3, seed=0), dense(3, 3, seed=1)
            self.decode.weight = self.encode.weight

        def forward(self, x):
            return self.decode(self.encode(x))

    tied = Tied()
    y = tied(X)
    drawing = draw(y)
    sound(drawing.graph)
    assert titles(drawing) == ["X", "encode", "y"]
    opened = draw(y, depth=9)
    assert titles(opened).count("encode.weight") == 1
    assert node(opened, "encode.weight").group == "g1", "in the model, and in no one layer of it"
    y = wb.sum(y)
    y.backward()
    words = [word for word, _ in node(draw(y, depth=9), "encode.weight").facts if word.startswith("from")]
    assert len(words) == 2


def test_arrays_inside_a_layer_and_given_to_it():
    mask = np.array([1.0, 0.0])

    class Masked(wb.Module):
        def __init__(self):
            self.inner = dense(3, 2)
            self.mask = mask

        def forward(self, x, scale):
            return self.inner(x) * self.mask * scale

    scale = np.array([2.0, 2.0])
    y = Masked()(X, scale)
    closed = draw(y, depth=0)
    assert titles(closed) == ["X", "scale", "y"]
    opened = draw(y, depth=1)
    groups = {n.title: n.group for n in opened.graph.nodes}
    assert groups["mask"] == "g1"
    assert groups["scale"] == groups["X"] == ""


def test_what_is_given_as_a_list_of_numbers():
    layer = dense(3, 2)
    drawing = draw(layer([1.0, 2.0, 3.0]))
    assert [n.kind for n in drawing.graph.nodes] == ["constant", "layer"]


def test_arguments_in_lists_and_tuples():
    class Joined(wb.Module):
        def __init__(self):
            self.w = wb.Value(2.0)

        def forward(self, parts):
            return wb.concatenate(list(parts)) * self.w

    a, b = np.ones(2), wb.Value(np.ones(2), name="b")
    for parts in ([a, b], (a, b)):
        assert titles(draw(Joined()(parts), depth=0))[:2] == ["a", "b"]


def test_arguments_in_dictionaries():
    class Joined(wb.Module):
        def __init__(self):
            self.w = wb.Value(2.0)

        def forward(self, parts):
            return parts["a"] * parts["b"] * self.w

    a, b = np.ones(2), wb.Value(np.ones(2), name="b")
    assert titles(draw(Joined()({"a": a, "b": b}), depth=0))[:2] == ["a", "b"]


def test_a_number_read_in_a_layer_stays_in_it():
    class Scaled(wb.Module):
        def forward(self, x):
            return wb.exp(x * 2.0) + 3.0

    y = Scaled()(wb.Value(1.0, name="x"))
    assert titles(draw(y, depth=0)) == ["x", "y"]
    assert {n.group for n in draw(y, depth=1).graph.nodes if n.kind == "constant"} == {"g1"}


def test_a_value_made_in_a_layer_but_read_by_another():
    """A residual: what the first layer keeps is read past its result."""
    model = Keeps()
    y = model(X) + model.last
    for depth in (None, 0, 1, 2):
        drawing = draw(y, depth=depth)
        sound(drawing.graph)
        assert drawing.graph.nodes[-1].title == "y"


# -- what is asked for opens its layer ---------------------------------------------------------------------------


def test_a_parameter_asked_for_opens_the_layers_around_it():
    class Net(wb.Module):
        def __init__(self):
            self.hidden, self.out = wb.MLP(3, [4], 3, seed=0), wb.Dense(3, 1, seed=0)

        def forward(self, x):
            return self.out(self.hidden(x))

    model = Net()
    loss = wb.sum(model(X))
    loss.backward()
    drawing = draw(loss, around="hidden.0.weight", hops=2)
    assert "hidden.0.weight" in titles(drawing)
    sound(drawing.graph)
    same = draw(loss, around=model.hidden[0].weight, hops=2)
    assert same.graph == drawing.graph
    ways = draw(loss, path=(loss, model.hidden[0].weight))
    assert titles(ways)[0] == "hidden.0.weight"
    assert titles(ways)[-1] == "loss"
    assert "1 way" in ways.graph.caption[0]
    marked = draw(loss, highlight=["out.weight"])
    assert node(marked, "out.weight").marked
    assert "hidden.0.weight" not in titles(marked), "the others stay closed"


def test_a_layer_asked_for_by_its_path():
    model = net(dense(3, 4), dense(4, 4), dense(4, 1))
    loss = wb.sum(model(X))
    drawing = draw(loss, around="1", hops=1)
    assert titles(drawing) == ["layer_0", "layer_1", "layer_2"]
    assert "What is within 1 step of '1'" in drawing.graph.caption[0]
    assert "not drawn" in drawing.graph.caption[0]
    assert titles(draw(loss, path=(loss, "1"))) == ["layer_1", "layer_2", "loss"]
    for name in ("layer_1", "1"):
        assert [n.title for n in draw(loss, highlight=[name]).graph.nodes if n.marked] == ["layer_1"]
        assert titles(draw(loss, around=name, hops=0)) == ["layer_1"]
    marked = draw(loss, highlight=["1"]).opened
    assert [n.title for n in marked.nodes if n.marked] == ["1.weight", "1.bias", "affine_2", "tanh_2"]


def test_what_is_asked_for_by_its_title_is_found_when_layers_close():
    """Titles such as `layer_0` and `tanh_1` have numbers, which are others when layers open or close."""
    model = net(dense(3, 4), dense(4, 1))
    loss = wb.sum(model(X))
    everything = draw(loss, depth=9)
    for most in (1, 2, 3, 5, 8):
        sound(draw(loss, depth=9, highlight=["tanh_1", "affine_2"], max_nodes=most).graph, most)
        sound(draw(loss, around="layer_0", hops=1, max_nodes=most).graph, most)
        sound(draw(loss, path=(loss, "layer_0"), max_nodes=most).graph, most)
    closed = draw(loss, depth=9, highlight=["affine_2"], max_nodes=len(everything.graph.nodes) - 1)
    assert [n.title for n in closed.graph.nodes if n.marked] == ["layer_1"], "the layer that it is in"
    ways = draw(loss, path=(loss, "layer_0"))
    assert titles(ways) == ["layer_0", "layer_1", "loss"]
    assert [n.title for n in ways.opened.nodes] == ["tanh_1", "affine_2", "tanh_2", "loss"]
    assert ways.opened.nodes[0].facts[1] == ways.graph.nodes[0].facts[4], "the same value"


def test_a_closed_layer_tells_its_parameters_gradients():
    model = net(dense(3, 2, None))
    loss = wb.sum(model(X))
    assert facts(draw(loss), "layer_0")["weight"] == "3×2, gradient not computed"
    loss.backward()
    assert facts(draw(loss), "layer_0")["weight"] == "3×2, gradient norm 4.9"
    assert facts(draw(loss), "layer_0")["gradient"] == "1, norm 2"


def test_statements_read_closed_layers_by_name():
    model = net(dense(3, 2))
    loss = wb.sum(model(X))
    assert statements(draw(loss)) == ["X", "layer_0 = Dense 3 → 2, tanh", "loss = sum(layer_0)"]


# -- a page's layers --------------------------------------------------------------------------------------------


def test_a_page_has_every_layer_open_if_they_fit():
    model = net(net(dense(3, 4), dense(4, 2)), dense(2, 1))
    loss = wb.sum(model(X))
    drawing = draw(loss)
    assert {g.title for g in drawing.opened.groups} >= {
        "0: Sequential",
        "0.0: Dense 3 → 4, tanh",
        "1: Dense 2 → 1, tanh",
    }
    for group in drawing.opened.groups:
        assert group.closed is not None
        assert group.closed.id == group.id
    sound(drawing.opened)
    tight = draw(loss, max_nodes=8)
    assert tight.opened is tight.graph or len(tight.opened.nodes) <= 8


@pytest.mark.parametrize("open_", [(), ("g1",), ("g1", "g2"), ("g1", "g2", "g3"), ("g1", "g2", "g4"), ("g1", "g5")])
def test_closing_layers_of_an_open_graph(open_):
    from tinygrad_wb.draw.graph import closed

    model = net(net(dense(3, 4), dense(4, 2)), dense(2, 1))
    loss = wb.sum(model(X))
    whole = draw(loss).opened
    graph = closed(whole, open_)
    sound(graph)
    shown = {n.id for n in graph.nodes}
    for group in whole.groups:
        parent_open = group.parent == "" or group.parent in open_
        if group.id in open_:
            assert group.id not in shown
        elif parent_open and all(g in open_ for g in above(whole, group)):
            assert group.id in shown
    assert graph.nodes[-1].title == "loss"
    read = {e.source for e in graph.edges}
    assert [n.id for n in graph.nodes if n.id not in read] == [graph.nodes[-1].id], "nothing hangs loose"


def test_a_closed_layer_comes_after_all_that_it_reads():
    from tinygrad_wb.draw.graph import closed

    class Late(wb.Module):
        def __init__(self):
            self.w = wb.Value(np.ones(3))

        def forward(self, x, late):
            return x * self.w * late

    late, layer = np.ones(3), Late()
    loss = wb.sum(layer(X, late))
    graph = closed(draw(loss).opened, ())
    sound(graph)
    assert [n.title for n in graph.nodes][:2] == ["X", "late"]


def above(graph, group):
    groups = {g.id: g for g in graph.groups}
    while group.parent:
        group = groups[group.parent]
        yield group.id
