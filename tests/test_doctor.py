"""`python -m tinygrad_wb doctor`: what it judges, what it recommends and what not, and that it never falls over."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb import __main__ as command_line
from tinygrad_wb import doctor

ROOT = Path(__file__).parents[1]
PACKAGE = Path(wb.__file__).parent
AVX2 = "fpu sse2 pni avx avx2 fma".split()
AVX512 = [*AVX2, "avx512f", "avx512bw", "avx512dq", "avx512vl"]


def run(*arguments, code=None, **settings):
    command = ["-c", code] if code else ["-m", "tinygrad_wb", *arguments]
    environment = (
        os.environ | {"PYTHONPATH": str(PACKAGE.parent), "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"} | settings
    )
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, encoding="utf-8", env=environment, check=False
    )


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_tells_what_is_here():
    done = run("doctor")
    assert (done.returncode, done.stderr) == (0, "")
    rows = dict(re.findall(r"^  [✓–?] (\S+(?: \S+)*)  +(.+)$", done.stdout, re.MULTILINE))
    assert rows["NumPy"] == np.__version__
    assert rows["tinygrad_wb"] == wb.__version__
    assert rows["Python"].endswith(".".join(map(str, sys.version_info[:3])))
    assert {"Processor", "BLAS", "Kernels", "Speed", "Threads", "np.negative", "np.isfinite"} | {
        part.name for part in doctor.PARTS
    } <= set(rows)
    assert re.match(r"[\d.]+ GFLOP/s", rows["Speed"])
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_it_can_be_read_where_there_are_no_ticks():
    done = run("doctor", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"+ NumPy        {np.__version__}" in done.stdout
    assert doctor.writable("✓ – × ∂", "ascii") == "+ - x ?"
    assert doctor.writable("✓ – × ∂", "utf-8") == "✓ – × ∂"


def test_version():
    assert run("--version").stdout == f"tinygrad_wb {wb.__version__}\n"


def test_without_a_command_it_helps_and_exits_with_2():
    done = run()
    assert (done.returncode, done.stdout) == (2, "")
    for name, command in command_line.COMMANDS.items():
        assert name in done.stderr
        assert command.summary in " ".join(done.stderr.split())


def test_a_command_is_one_row(monkeypatch):
    def add(parser):
        parser.add_argument("--times", type=int)

    row = command_line.Command("says how often", lambda options: options.times, add)
    monkeypatch.setitem(command_line.COMMANDS, "count", row)
    assert command_line.main(["count", "--times", "7"]) == 7


def test_neither_the_package_nor_the_command_line_loads_the_doctor():
    code = "import sys; import tinygrad_wb; a = 'tinygrad_wb.doctor' in sys.modules; import tinygrad_wb.__main__ as m; "
    assert run(code=f"{code}m.build_parser(); print(a, 'tinygrad_wb.doctor' in sys.modules)").stdout == "False False\n"


# -- kernels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "possible"),
    [
        (AVX512, "SkylakeX"),
        (AVX2, "Haswell"),
        (set(AVX512) - {"avx512vl"}, "Haswell"),
        (set(AVX2) - {"fma"}, None),
        (["asimd"], None),
        ([], None),
    ],
)
def test_kernels_that_a_processor_can_run(flags, possible):
    assert doctor.kernels_possible(flags) == possible


@pytest.mark.parametrize("kernels", ["Haswell", "Zen", "ZEN", "Nehalem", "Excavator"])
def test_kernels_below_what_the_processor_has(kernels):
    assert doctor.kernels_below(kernels, AVX512) == "SkylakeX"


@pytest.mark.parametrize(
    ("kernels", "flags"),
    [
        ("SkylakeX", AVX512),
        ("Cooperlake", AVX512),
        ("SapphireRapids", AVX512),
        ("Haswell", AVX2),
        ("Zen", set(AVX512) - {"avx512bw"}),
        ("SkylakeX", AVX2),
        ("Nehalem", []),
        ("neoversen1", AVX512),
        (None, AVX512),
    ],
)
def test_no_remedy_and_no_trial_where_no_wider_kernels_are(kernels, flags):
    def trial(coretype, size):
        raise AssertionError

    assert doctor.kernels_below(kernels, flags) is None
    for forced in (None, "Haswell"):
        found = doctor.kernels(doctor.Speed(kernels, 80.0, 1024), flags, forced, trial)
        assert [(row.name, row.remedy) for row in found] == [("Kernels", None), ("Speed", None)]
        assert found[0].fine is (None if kernels is None else True)


def trials(outcomes):
    """A trial for each setting, as if measured; and what was tried, in order."""
    tried = []

    def trial(coretype, size):
        tried.append(coretype)
        outcome = outcomes.get(coretype)
        return outcome and doctor.Speed(*outcome, size)

    return trial, tried


def after_trials(outcomes, forced=None, kernels="Zen", flags=AVX512):
    trial, tried = trials(outcomes)
    *_, found = doctor.kernels(doctor.Speed(kernels, 100.0, 1024), flags, forced, trial)
    return found, tried


def test_wider_kernels_that_were_faster_are_recommended():
    found, tried = after_trials({"SkylakeX": ("SkylakeX", 180.0)})
    assert tried == ["SkylakeX"]
    assert "180 GFLOP/s" in found.says
    assert found.remedy.line == "export OPENBLAS_CORETYPE=SkylakeX"
    assert all(part in found.remedy.why for part in ("Zen", "1.80×", "180 GFLOP/s", "100 GFLOP/s"))
    assert "environment" not in found.remedy.why


def test_avx2_is_recommended_where_it_is_all_there_is():
    found, _ = after_trials({"Haswell": ("Haswell", 300.0)}, kernels="Nehalem", flags=AVX2)
    assert found.remedy.line == "export OPENBLAS_CORETYPE=Haswell"


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (("SkylakeX", 109.0), "not worth a change"),
        (("SkylakeX", 60.0), "not worth a change"),
        (("Zen", 180.0), "could not be had"),
        (None, "could not be had"),
    ],
    ids=["hardly faster", "slower", "other kernels", "failed"],
)
def test_what_a_trial_did_not_show_is_not_recommended(outcome, says):
    found, _ = after_trials({"SkylakeX": outcome})
    assert found.remedy is None
    assert says in found.says


def test_a_setting_that_forces_lower_kernels_is_named():
    found, tried = after_trials({None: ("Cooperlake", 200.0)}, forced="Haswell", kernels="Haswell")
    assert tried == [None], "what OpenBLAS picks by itself is enough"
    assert "OPENBLAS_CORETYPE=Haswell is set in the environment" in found.remedy.why
    assert found.remedy.line == "unset OPENBLAS_CORETYPE"


def test_a_setting_that_is_not_to_blame_is_not_blamed():
    outcomes = {None: ("Zen", 100.0), "SkylakeX": ("SkylakeX", 200.0)}
    found, tried = after_trials(outcomes, forced="Zen")
    assert tried == [None, "SkylakeX"]
    assert "environment" not in found.remedy.why
    assert found.remedy.line == "export OPENBLAS_CORETYPE=SkylakeX"


def test_a_trial_runs_in_a_process_with_the_setting_and_without(monkeypatch):
    asked = []

    def fake(command, env, **options):
        asked.append(env.get("OPENBLAS_CORETYPE"))
        return SimpleNamespace(stdout=json.dumps(["SkylakeX", 1.5, 64]))

    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setattr(doctor.subprocess, "run", fake)
    assert doctor.measure_apart("SkylakeX", 64) == doctor.Speed("SkylakeX", 1.5, 64)
    doctor.measure_apart(None, 64)
    assert asked == ["SkylakeX", None]


def test_a_measurement():
    speed = doctor.measure(16)
    assert (speed.kernels, speed.size) == (doctor.blas().kernels, 16)
    assert speed.gflops > 0


def test_a_real_trial(monkeypatch):
    found = doctor.measure_apart(os.environ.get("OPENBLAS_CORETYPE"), 64)
    assert found.kernels == doctor.blas().kernels
    assert found.gflops > 0
    monkeypatch.setattr(sys, "executable", os.devnull)
    assert doctor.measure_apart(None, 64) is None


# -- the BLAS and its threads -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["scipy_openblas_get_{}64_", "openblas_get_{}", "openblas_get_{}64_"])
def test_an_openblas_is_asked_however_it_is_spelled(spelling):
    answers = {"config": b"OpenBLAS 0.3.26 DYNAMIC_ARCH Haswell", "corename": b"Haswell", "num_threads": 4}
    functions = {spelling.format(name): lambda answer=answer: answer for name, answer in answers.items()}
    assert doctor.ask_openblas(SimpleNamespace(**functions)) == doctor.Blas("OpenBLAS 0.3.26", "Haswell", 4)


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"Build Dependencies": {"blas": {"name": "accelerate", "version": "unknown"}}}, "accelerate"),
        ({"Build Dependencies": {"blas": {"name": "mkl-sdl", "version": "2025.1"}}}, "mkl-sdl 2025.1"),
        ({"Build Dependencies": {"blas": {}}}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_of_another_blas_is_said_what_is_known(monkeypatch, config, name):
    monkeypatch.setattr(doctor, "openblas_files", lambda: ["/no/libopenblas.so"])
    monkeypatch.setattr(doctor.np, "show_config", lambda mode: config)
    assert doctor.blas() == doctor.Blas(name)


def test_without_linux_the_libraries_of_wheels_are_looked_at(monkeypatch):
    def none(*arguments, **options):
        raise OSError

    monkeypatch.setattr(doctor.Path, "read_text", none)
    assert all("openblas" in Path(file).name for file in doctor.openblas_files())
    assert isinstance(doctor.blas(), doctor.Blas)


def test_all_unknown_is_no_failure(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "blas", doctor.Blas)
    monkeypatch.setattr(doctor, "measure", lambda: doctor.Speed(None, 1.25, 256))
    monkeypatch.setattr(doctor, "usable_cores", lambda: None)
    monkeypatch.setattr(doctor, "cpuinfo", dict)
    monkeypatch.setattr(doctor, "version_of", lambda part: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert command_line.main(["doctor"]) == 0
    said = capsys.readouterr().out
    assert len(re.findall(r"\? (?:BLAS|Kernels|Threads) +unknown$", said, re.MULTILINE)) == 3
    assert "1.2 GFLOP/s" in said
    assert doctor.ask_openblas(SimpleNamespace()) is None


def test_the_processor(tmp_path, monkeypatch):
    file = tmp_path / "cpuinfo"
    file.write_text(
        "processor\t: 0\nmodel name\t: Some: 3000\nflags\t\t: avx2 fma\n\nprocessor\t: 1\nmodel name\t: B\n"
    )
    assert doctor.cpuinfo(str(file)) == {"processor": "0", "model name": "Some: 3000", "flags": "avx2 fma"}
    assert doctor.cpuinfo(str(tmp_path / "none")) == {}
    monkeypatch.setattr(doctor, "cpuinfo", dict)
    assert doctor.processor()
    assert doctor.told("no-such-program-anywhere") == ""


@pytest.mark.parametrize(
    ("settings", "blas", "blamed"),
    [
        ({"OMP_NUM_THREADS": "1"}, doctor.Blas("OpenBLAS 0.3.31", "Zen", 1), "OMP_NUM_THREADS"),
        ({"OMP_NUM_THREADS": "2,1", "OPENBLAS_NUM_THREADS": "0"}, doctor.Blas("OpenBLAS", "Zen", 2), "OMP_NUM_THREADS"),
        (
            {"OMP_NUM_THREADS": "8", "OPENBLAS_NUM_THREADS": "2"},
            doctor.Blas("OpenBLAS", "Zen", 2),
            "OPENBLAS_NUM_THREADS",
        ),
        ({"MKL_NUM_THREADS": "3"}, doctor.Blas("mkl-sdl 2025.1"), "MKL_NUM_THREADS"),
        ({"VECLIB_MAXIMUM_THREADS": "1"}, doctor.Blas("accelerate"), "VECLIB_MAXIMUM_THREADS"),
    ],
)
def test_a_setting_that_keeps_cores_idle_is_named(settings, blas, blamed):
    found = doctor.threads(blas, 4, settings)
    assert found.fine is False
    assert f"{blamed}={settings[blamed]} is set in the environment" in found.remedy.why
    assert found.remedy.line == f"unset {blamed}"


@pytest.mark.parametrize(
    ("blas", "settings", "fine"),
    [
        (doctor.Blas("OpenBLAS", "Zen", 4), {}, True),
        (doctor.Blas("OpenBLAS", "Zen", 4), {"OMP_NUM_THREADS": "8"}, True),
        (doctor.Blas("OpenBLAS", "Zen", 2), {}, False),
        (doctor.Blas("OpenBLAS", "Zen", 2), {"MKL_NUM_THREADS": "2"}, False),
        (doctor.Blas("OpenBLAS", "Zen", 2), {"OMP_NUM_THREADS": "many"}, False),
        (doctor.Blas("OpenBLAS", "Zen", 2), {"OMP_NUM_THREADS": "3"}, False),
        (doctor.Blas("accelerate"), {}, None),
    ],
)
def test_no_setting_is_blamed_that_does_not_limit(blas, settings, fine):
    found = doctor.threads(blas, 4, settings)
    assert (found.fine, found.remedy) == (fine, None)


# -- faults of NumPy's own --------------------------------------------------------------------------------------------


def wrong_negative(x, out):
    out[...] = x[0]


def wrong_isfinite(x, out):
    out[:8] = True


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("negative", lambda x, out: np.multiply(x, -1, out=out), wrong_negative),
        ("isfinite", lambda x, out: np.equal(x - x, 0, out=out), wrong_isfinite),
    ],
)
def test_a_fault_of_numpys_is_named_with_what_to_write(name, right, wrong, monkeypatch):
    rows = {}
    for function in (right, wrong):
        monkeypatch.setattr(doctor.np, name, function)
        rows[function is wrong] = next(row for row in doctor.faults() if row.name == f"np.{name}")
    assert (rows[False].fine, rows[False].remedy) == (True, None)
    assert rows[True].fine is False
    assert "not contiguous" in rows[True].says
    assert np.__version__ in rows[True].remedy.why
    assert "tinygrad_wb avoids it" in rows[True].remedy.why


def test_what_to_write_in_place_of_a_faulty_function_is_right():
    for fault in doctor.FAULTS:
        x, y = np.arange(64.0)[::8], np.zeros(64, bool if fault.name == "np.isfinite" else float)[::8]
        exec(fault.instead, {"np": np, "x": x, "y": y})
        assert y.tolist() == ([True] * 8 if fault.name == "np.isfinite" else (0 - x).tolist())


def test_this_numpy_is_as_the_doctor_says():
    said = {row.name: row.fine for row in doctor.faults()}
    x = np.arange(48.0).reshape(6, 8)[:, 0]
    assert (np.negative(x, out=x).tolist() == [0.0, -8.0, -16.0, -24.0, -32.0, -40.0]) == said["np.negative"]


# -- optional parts ---------------------------------------------------------------------------------------------------


def test_missing_parts_are_named_with_the_command_that_brings_them():
    lines = {row.name: row.remedy.line for row in doctor.parts(lambda name: None)}
    assert lines.pop("dot").endswith("install graphviz")
    assert lines == {
        "pygraphviz": 'python -m pip install "tinygrad_wb[draw]"',
        "matplotlib": 'python -m pip install "tinygrad_wb[plot]"',
        "safetensors": 'python -m pip install "tinygrad_wb[save]"',
        "h5py": 'python -m pip install "tinygrad_wb[keras]"',
        "onnx": 'python -m pip install "tinygrad_wb[onnx]"',
        "tqdm": "python -m pip install tqdm",
        "debugpy": "python -m pip install debugpy",
    }


def test_parts_that_are_there_have_versions_and_need_nothing():
    for row in doctor.parts(lambda name: "1.2.3"):
        assert (row.fine, row.remedy) == (True, None)
        assert "1.2.3" in row.says


def test_versions_are_found(monkeypatch):
    assert doctor.version_of("numpy") == np.__version__
    assert doctor.version_of("no-such-package-anywhere") is None
    monkeypatch.setattr(doctor, "told", lambda *command: "dot - graphviz version 14.0.1 (20251006.0113)")
    assert doctor.version_of("dot") == "14.0.1"
    monkeypatch.setattr(doctor, "told", lambda *command: "")
    for path, version in ((None, None), ("/usr/bin/dot", "unknown")):
        monkeypatch.setattr(doctor.shutil, "which", lambda name, path=path: path)
        assert doctor.version_of("dot") == version


def test_each_part_names_the_extra_that_pyproject_has_for_it():
    file = ROOT / "pyproject.toml"
    if not file.exists():
        pytest.skip("these tests run apart from the project's sources, there is no pyproject.toml")
    extras = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for part in doctor.PARTS:
        users = set(extras) - {"all", "test", "docs", "check", "bench"}
        bringing = {extra for extra in users if any(re.match(rf"{part.name}\b", need) for need in extras[extra])}
        assert part.extra in (bringing or {None}), (
            f"{part.name}: its row in doctor.PARTS should name {bringing or None}"
        )


# -- the report -------------------------------------------------------------------------------------------------------


def test_the_report():
    remedy = doctor.Remedy("A sail would help, as there is wind. Then:", "hoist --sail")
    findings = [
        doctor.Finding("Ship", "Hull", "sound"),
        doctor.Finding("Ship", "Sail", "missing", fine=False, remedy=remedy),
        doctor.Finding("Sea", "Depth", "unknown", fine=None),
    ]
    assert doctor.report(findings, width=40) == (
        "Ship\n  ✓ Hull         sound\n  – Sail         missing\n\nSea\n  ? Depth        unknown\n\n"
        "What would help\n  1 A sail would help, as there is wind.\n    Then:\n        hoist --sail\n"
    )
    assert doctor.report(findings[:1]).endswith("sound\n\nNothing to mend.\n")
