"""The house: which room may import which, what the package shows to the world, and how lightly it loads."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import tinygrad_wb as wb

PACKAGE = Path(wb.__file__).parent
ROOT = Path(__file__).parents[1]

# -- floors: imports run upwards only -------------------------------------------------------------------------------

FLOORS = {
    "atomic": 1, "changed": 1, "constants": 1, "decorated": 1, "errors": 1, "following": 1, "foreign": 1, "memory": 1,
    "notices": 1, "numpy_warnings": 1, "operation": 1, "operations": 1, "pending": 1, "random_state": 1, "recording": 1,
    "taken": 1, "value": 1,
    "backprop": 2, "check_gradients": 2, "derivatives": 2, "differences": 2, "on_gradient": 2,
    "nn": 3, "flat": 3, "optimizers": 3, "schedules": 3, "training": 3, "datasets": 3,
    "program": 4, "compiling": 4, "saving": 4,
    "draw": 5, "plot": 5, "debug": 5, "onnx": 5,
    "doctor": 6, "__main__": 6,
}  # fmt: skip


def modules():
    """Every module of the package: its dotted name inside it, and its file."""
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), file


MODULES = dict(modules())


def imports(file, everywhere=False):
    """Modules of this package that ``file`` imports when it is imported itself (or ``everywhere`` in it)."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else executed(tree.body):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute"
            if node.module.split(".")[0] == "tinygrad_wb":
                inside = node.module.removeprefix("tinygrad_wb").lstrip(".")
                for alias in node.names:
                    deeper = f"{inside}.{alias.name}".lstrip(".")
                    yield deeper if deeper in MODULES else inside or "__init__"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "tinygrad_wb":
                    yield alias.name.removeprefix("tinygrad_wb").lstrip(".") or "__init__"


def executed(body):
    """Statements that run on import: not those in functions, nor under ``if TYPE_CHECKING``."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            yield from executed(node.orelse)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.ClassDef)):
            for part in ("body", "orelse", "finalbody"):
                yield from executed(getattr(node, part, []))
            for handler in getattr(node, "handlers", []):
                yield from executed(handler.body)


def room(module):
    return module.split(".")[0]


def test_the_reader_of_imports_sees_imports():
    assert set(imports(MODULES["nn.layers"])) >= {
        "nn.module",
        "nn.names",
        "operations.neural",
        "nn.initializers",
        "errors",
    }
    assert "operation" not in set(imports(MODULES["value"])), "imported for type checkers only"
    assert len(MODULES) > 25


def test_every_room_is_on_a_floor():
    assert {room(module) for module in MODULES} - {"__init__"} <= set(FLOORS)


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__"])
def test_a_room_imports_only_from_its_own_floor_and_those_below(module):
    floor = FLOORS[room(module)]
    for imported in imports(MODULES[module]):
        assert imported != "__init__", f"{module} imports the whole package"
        assert FLOORS[room(imported)] <= floor, f"{module} (floor {floor}) imports {imported} from above"


@pytest.mark.parametrize("module", [m for m in MODULES if m != "__init__" and FLOORS[room(m)] < 5])
def test_drawing_and_debugging_are_never_imported_from_below(module):
    above = {imported for imported in imports(MODULES[module], everywhere=True) if FLOORS.get(room(imported)) == 5}
    assert above == ({"plot"} if module in ("training.history", "training.rates") else set()), (
        "their plot() alone, on use"
    )


def circle(graph):
    """A way round in a graph of who imports whom, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return None
        path.append(node)
        found = next(filter(None, map(visit, sorted(graph.get(node, ())))), None)
        path.pop()
        done.add(node)
        return found

    return next(filter(None, map(visit, sorted(graph))), None)


def test_no_circles():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    between_modules = {module: set(imports(file)) - {module} for module, file in MODULES.items()}
    assert circle(between_modules) is None
    between_rooms = {}
    for module, imported in between_modules.items():
        between_rooms.setdefault(room(module), set()).update({room(m) for m in imported} - {room(module)})
    assert circle(between_rooms) is None


# -- loading --------------------------------------------------------------------------------------------------------

HEAVY = [
    "safetensors",
    "h5py",
    "onnx",
    "joblib",
    "matplotlib",
    "graphviz",
    "pygraphviz",
    "tqdm",
    "IPython",
    "torch",
    "scipy",
    "pandas",
    "unittest",
]


def run_python(code):
    env = dict(os.environ)
    try:
        metadata.distribution("tinygrad_wb")
    except metadata.PackageNotFoundError:
        env["PYTHONPATH"] = str(PACKAGE.parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_nothing_heavier_than_numpy():
    code = f"import sys; import tinygrad_wb; print([name for name in {HEAVY} if name in sys.modules])"
    assert run_python(code) == "[]\n"


def test_import_loads_no_floor_above_the_third():
    code = (
        "import sys; import tinygrad_wb; "
        "print([n for n in sys.modules if n.startswith(('tinygrad_wb.draw', 'tinygrad_wb.plot', 'tinygrad_wb.debug', 'tinygrad_wb.saving', 'tinygrad_wb.onnx', 'tinygrad_wb.__main__'))])"
    )
    assert run_python(code) == "[]\n"


def test_import_says_nothing_and_leaves_numpy_as_it_was():
    code = """
import warnings; warnings.simplefilter("error")
import numpy as np
before = np.geterr(), np.get_printoptions(), np.random.get_state()[1].sum()
import tinygrad_wb
assert (np.geterr(), np.get_printoptions(), np.random.get_state()[1].sum()) == before
"""
    assert run_python(code) == ""


# -- what the world sees ----------------------------------------------------------------------------------------------

# As users write them; more parameters may follow.
SIGNATURES = {
    "Value": "(data, name=None)",
    "Value.backward": "(self, seed=None, record=False)",
    "Value.item": "(self)",
    "Value.on_gradient": "(self, f)",
    "Value.breakpoint": "(self, when=None)",
    "no_grad": "()",
    "detect_anomaly": "()",
    "diagnose": "(model, loss)",
    "grad": "(f, argnum=0)",
    "value_and_grad": "(f, argnum=0)",
    "jacobian": "(f, argnum=0)",
    "hessian": "(f, argnum=0)",
    "hvp": "(f, argnum=0)",
    "check_gradients": "(f, *args, order=2)",
    "Module.parameters": "(self)",
    "Module.named_parameters": "(self)",
    "Module.summary": "(self)",
    "Dense": (
        "(inputs, outputs, activation=None, bias=True, weight_init='glorot_uniform', bias_init='zeros', seed=None)"
    ),
    "Sequential": "(*layers)",
    "MLP": "(inputs, hidden, outputs, activation='relu')",
    "Dropout": "(rate)",
    "mean_squared_error": "(prediction, target)",
    "cross_entropy": "(logits, labels)",
    "binary_cross_entropy": "(logits, targets)",
    "hinge_loss": "(scores, targets)",
    "SGD": "(parameters, learning_rate=0.01, momentum=0.0, nesterov=False, weight_decay=0.0)",
    "SGD.step": "(self)",
    "SGD.zero_grad": "(self)",
    "Adam": "(parameters, learning_rate=0.001)",
    "AdamW": "(parameters, learning_rate=0.001)",
    "RMSprop": "(parameters, learning_rate=0.01)",
    "Adagrad": "(parameters, learning_rate=0.01)",
    "save": "(model, path, optimizer=None, rng=None, notes=None)",
    "load": "(model, path, optimizer=None, rng=None)",
    "Checkpoint": "(path, every=1)",
    "from_torch": "(model, state_dict)",
    "to_torch": "(model)",
    "from_keras": "(model, path)",
    "to_keras": "(model, path)",
    "find_learning_rate": (
        "(model, x, y, *, loss, optimizer, lowest=1e-6, highest=10.0, steps=100, batch_size=32, seed=None)"
    ),
    "EMA": "(model=None, decay=0.999)",
    "accuracy": "(prediction, labels, threshold=None)",
    "precision": "(prediction, labels, threshold=None)",
    "recall": "(prediction, labels, threshold=None)",
    "f1": "(prediction, labels, threshold=None)",
    "confusion_matrix": "(prediction, labels, threshold=None)",
    "export_onnx": "(model, path, example, *, batch=True)",
    "fit": (
        "(model, x, y, *, loss, optimizer, epochs=1, batch_size=32, validation=None, metrics=(), callbacks=(), "
        "seed=None, progress=True)"
    ),
}


def public(path):
    found = wb
    for name in path.split("."):
        found = getattr(found, name)
    return found


def shown(function):
    """Name, kind and default of each parameter."""
    return [(p.name, p.kind, p.default) for p in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("path", "signature"), SIGNATURES.items())
def test_signatures(path, signature):
    namespace = {}
    exec(f"def wanted{signature}: ...", namespace)
    wanted, there = shown(namespace["wanted"]), shown(public(path))
    kinds = [kind for _, kind, _ in there]
    assert [row for row in there if row in wanted] == wanted, f"{path}{inspect.signature(public(path))}"
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        assert there[: len(wanted)] == wanted, "what was added stands behind"
    added = [row for row in there if row not in wanted]
    assert all(d is not inspect.Parameter.empty or kind.name.startswith("VAR") for _, kind, d in added), (
        "… and is optional"
    )


OPERATIONS = """
abs add affine average_pool batch_norm binary_cross_entropy broadcast_to clip concatenate conv1d conv2d cos cross_entropy
divide dropout embedding exp gelu hinge_loss huber kl_divergence layer_norm leaky_relu max_pool mean_absolute_error
negative_log_likelihood scaled_dot_product_attention
log log1p log_softmax logsumexp matmul max maximum mean mean_squared_error min minimum multiply negative one_hot power relu
reshape sigmoid silu sin softmax softplus sqrt square stack subtract sum tanh transpose var where
""".split()
OPERATIONS += """
arccos arccosh arcsin arcsinh arctan arctan2 arctanh argsort average cbrt ceil cosh cumprod cumsum elu erf expm1 floor
floor_divide hard_tanh hypot log10 log2 logaddexp median mish mod prod ptp reciprocal rint round selu sign sinh softsign sort
std tan trunc
""".split()
# shaping and linear algebra
OPERATIONS += """
array_split column_stack diag diagonal dstack expand_dims flip hstack meshgrid moveaxis pad ravel repeat roll set_at split
squeeze swapaxes take take_along_axis tile tril triu vstack
cholesky det dot eigh einsum inner inv kron norm outer pinv slogdet solve svd tensordot trace
""".split()
OTHERS = """
Activation AveragePool BatchNorm Callback Checkpoint Conv1d Conv2d CosineDecay EarlyStopping Embedding Flatten
GradientError History LayerNorm LoadError MaxPool Module Optimizer ShapeError StaleGraphError StepDecay WarmUp
EMA LearningRates accuracy confusion_matrix datasets detect_anomaly diagnose draw evaluate export_onnx f1 find_learning_rate precision recall from_keras from_torch load plot save to_keras to_torch
""".split()


@pytest.mark.parametrize("name", OPERATIONS + OTHERS)
def test_public_names(name):
    assert hasattr(wb, name)


@pytest.mark.parametrize("name", ["data", "grad", "name", "op", "inputs", "shape", "ndim", "size", "dtype", "T"])
def test_attributes_of_a_value(name):
    assert name in dir(wb.Value)
    getattr(wb.Value([[1.0, 2.0]]), name)


METHODS = """
abs backward breakpoint clip cos exp gelu item leaky_relu log log1p log_softmax logsumexp max maximum mean min minimum on_gradient relu reshape
sigmoid silu sin softmax softplus sqrt square sum tanh transpose var
""".split()
METHODS += """
arccos arccosh arcsin arcsinh arctan arctan2 arctanh argsort cbrt ceil cosh cumprod cumsum elu erf expm1 floor hard_tanh hypot
log10 log2 logaddexp median mish prod ptp reciprocal rint round selu sign sinh softsign sort std tan trunc
""".split()
METHODS += "diagonal dot flatten ravel repeat squeeze swapaxes take trace".split()


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_a_value(name):
    assert callable(getattr(wb.Value(1.0), name))


def test_draw_is_a_function_to_its_users():
    assert callable(wb.draw)
    drawing = wb.draw(wb.Value(2.0, name="w") * 3.0)
    assert "w" in str(drawing)
    assert callable(wb.draw), "… and stays one once the room of that name was imported"


def callables():
    for place, names in ((wb, dir(wb)), (wb.datasets, wb.datasets.__all__), (wb.plot, wb.plot.__all__)):
        for name in names:
            found = getattr(place, name)
            if not name.startswith("_") and callable(found) and not inspect.ismodule(found):
                yield f"{place.__name__}.{name}", found


@pytest.mark.parametrize(("name", "found"), dict(callables()).items(), ids=dict(callables()))
def test_every_public_callable_is_documented(name, found):
    assert (found.__doc__ or "").strip(), f"{name} has no docstring"


# -- the package as a whole -------------------------------------------------------------------------------------------


def test_it_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()


def test_the_version_is_pyprojects():
    file = ROOT / "pyproject.toml"
    if not file.exists():
        pytest.skip("these tests run apart from the project's sources, there is no pyproject.toml")
    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    assert wb.__version__ == project["version"]
    assert project["name"] == "tinygrad_wb"
    extras = project["optional-dependencies"]
    assert not [need for extra in ("all", "test", "plot", "draw") for need in extras[extra] if "torch" in need]


def test_no_module_evaluates_or_unpickles_text():
    """Nothing is ever loaded with code execution."""
    for module, file in MODULES.items():
        if room(module) in ("program", "compiling", "debug", "__main__"):
            continue  # those run programs: it is what they are for
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads"), f"{file}:{node.lineno}"
                if called == "np.load":
                    assert "allow_pickle=False" in ast.unparse(node), f"{file}:{node.lineno}"


def test_every_public_name_is_in_the_documents():
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for module in re.findall(r"automodule:: (tinygrad_wb\S*)", text):
        text += " ".join(importlib.import_module(module).__all__)
    public = [name for name in dir(wb) if not inspect.ismodule(getattr(wb, name))] + wb.plot.__all__
    assert [name for name in public if name not in text] == []


def test_the_readme_has_its_figures():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "÷ PyTorch" in text
    assert "PERFORMANCE" not in text
