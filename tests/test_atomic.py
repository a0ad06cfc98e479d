"""Every file that the package writes for its user: whole or not at all, with the permissions and links of the old one."""

import ast
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import tinygrad_wb as wb
from tinygrad_wb.atomic import write

POSIX = pytest.mark.skipif(os.name != "posix", reason="the system has no permissions, pipes or links as POSIX has")


def loss():
    w = wb.Value(2.0, name="w")
    return w * w


def needs(module, act):
    def written(path):
        pytest.importorskip(module, reason=f"{module} is not installed")
        return act(path)

    return written


MODEL = wb.Dense(2, 1, seed=0)
WRITERS = {  # what writes a file, and the suffix that it asks for
    "write": (lambda path: write(path, b"content"), ""),
    "save": (needs("safetensors", lambda path: wb.save(MODEL, path)), ".safetensors"),
    "to_keras": (needs("h5py", lambda path: wb.to_keras(MODEL, path)), ".weights.h5"),
    "export_onnx": (needs("onnx", lambda path: wb.export_onnx(MODEL, path, np.zeros((3, 2)))), ".onnx"),
    "Drawing.save": (lambda path: wb.draw(loss()).save(path), ".dot"),
    "save_page": (lambda path: wb.save_page(loss(), path), ".html"),
    "Program.save": (lambda path: loss().program().save(path), ".py"),
}


@pytest.fixture(params=WRITERS)
def writer(request, tmp_path):
    """A function that writes a file, and a path for it."""
    act, suffix = WRITERS[request.param]
    return act, tmp_path / f"file{suffix}"


def only(path):
    """Whether nothing else is left in the folder."""
    return [file.name for file in path.parent.iterdir() if file.name != ".tinygrad_wb"] == [path.name]


def test_a_new_file_has_the_permissions_that_every_program_gives_one(writer):
    act, path = writer
    assert act(path) == path
    other = path.with_name("other")
    other.write_text("")
    assert path.stat().st_mode == other.stat().st_mode
    other.unlink()
    assert path.stat().st_size > 0
    assert only(path)


@POSIX
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o755])
def test_the_permissions_of_the_old_file_stay(tmp_path, mode):
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(mode)
    write(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert path.read_bytes() == b"new"


@POSIX
def test_a_secret_file_is_at_no_moment_a_public_one(tmp_path, monkeypatch):
    path, modes = tmp_path / "file", []
    path.write_text("old")
    path.chmod(0o600)
    real = os.open
    monkeypatch.setattr(os, "open", lambda name, flags, *mode: modes.extend(mode) or real(name, flags, *mode))
    write(path, b"new")
    assert modes == [0o600]


@POSIX
def test_a_link_stays_and_what_it_points_to_is_written(writer):
    act, path = writer
    target = path.with_name("target")
    for old in (None, b"old"):  # a link that leads nowhere yet, and one to a file
        if old is not None:
            target.write_bytes(old)
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        act(path)
        assert path.is_symlink()
        assert target.stat().st_size > 3


@POSIX
def test_what_is_not_a_file_is_refused(writer):
    act, path = writer
    os.mkfifo(path)
    with pytest.raises(OSError, match=f"{path.name}' can't be written: it is a named pipe, not a file"):
        act(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(OSError, match="it is a device, not a file"):
        act(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match="it is a folder, not a file"):
        act(path)
    assert only(path)


@POSIX
def test_links_in_a_circle_are_an_error(tmp_path):
    path = tmp_path / "circle"
    path.symlink_to(path)
    with pytest.raises((OSError, RuntimeError), match=r"(?i)symlink loop|symbolic links"):
        write(path, b"x")


def test_a_file_for_reading_only_stays(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda *_: False)  # as the system says, except to its administrator
    with pytest.raises(PermissionError, match="file' can't be written: its permissions are for reading only"):
        write(path, b"new")
    assert path.read_text() == "old"


def test_the_longest_name_is_taken(writer):
    act, path = writer
    longest = path.with_name("x" * (255 - len(path.name)) + path.name)
    act(longest)
    assert only(longest)


def test_errors_name_the_file_that_was_asked_for(writer, monkeypatch):
    act, path = writer
    with pytest.raises(OSError, match=r"none.*' can't be written: there is no folder '.*none'; make it first"):
        act(path.with_name("none") / path.name)
    with pytest.raises(OSError, match="there is no folder"):
        act(Path(__file__) / path.name)

    def full(*_):
        raise OSError(28, "No space left on device", ".hidden.unfinished")

    for name in ("open", "fdopen", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(OSError, match=f"No space left on device: '.*{path.name}'$"):
                act(path)
        assert not list(path.parent.glob("*unfinished*"))


def test_nothing_in_the_package_writes_files_otherwise():
    """A writer of its own would have none of all this. Programs for debuggers are written without a frame of Python."""
    package = Path(wb.__file__).parent
    for file in package.rglob("*.py"):
        if file.name == "atomic.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {ast.unparse(call.func).rpartition(".")[2] for call in calls}
        assert not names & {"write_text", "write_bytes", "savez", "savetxt", "tofile", "mkstemp"}, file
        modes = [ast.unparse(word) for call in calls if ast.unparse(call.func).endswith("open") for word in call.args]
        assert not [mode for mode in modes if mode.strip("'\"") in {"w", "wb", "x", "xb", "a", "r+b"}], file
