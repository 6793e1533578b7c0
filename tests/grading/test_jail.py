"""The jail: what a process inside of it tries, and what comes of it, wall by wall."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from nst_helpers.grading import jail

LINUX = sys.platform == "linux"
EVERY = ("namespaces", "landlock", "seccomp", "limits")

# Enters the jail as a worker does, runs what it is given, and prints what that left in ``told``.
_PRISONER = """
import json, os, sys, tempfile
from pathlib import Path
from nst_helpers.grading import jail
order = json.loads(sys.argv[1])
there = jail.protections()
for name in order["without"]:
    there[name] = False
folder = Path(tempfile.mkdtemp(prefix="nst-test-", dir=order["base"]))
separated = jail.nest()
child = jail.fork_apart() if separated else os.fork()
if child == 0:
    code = 1
    try:
        jail.enter(folder, readable=order["readable"], hidden=order["hidden"],
                   memory=256 << 20, seconds=order["seconds"], separated=separated)
        told = []
        def attempt(function, *args):
            try:
                told.append(["done", repr(function(*args))[:200]])
            except BaseException as error:
                told.append([type(error).__name__, str(error)[:200]])
        exec(order["code"], {"attempt": attempt, "told": told, "os": os, "Path": Path})
        print(json.dumps(told), flush=True)
        code = 0
    finally:
        os._exit(code)
print(json.dumps({"status": os.waitpid(child, 0)[1], "left": sorted(os.listdir(folder))}))
"""


def _inside(code, tmp_path, *, without=(), readable=(), hidden=(), seconds=20.0):
    """Return what ``code`` told from inside the jail, and how it ended."""
    prefixes = {sys.prefix, sys.base_prefix, "/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache"}
    base = tmp_path / "base"
    base.mkdir(exist_ok=True)
    order = {
        "code": textwrap.dedent(code),
        "readable": sorted(path for path in {*prefixes, *readable} if Path(path).exists()),
        "hidden": [str(path) for path in hidden],
        "without": list(without),
        "seconds": seconds,
        "base": str(base),
    }
    done = subprocess.run(
        [sys.executable, "-c", _PRISONER, json.dumps(order)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"SECRET_TOKEN": "hunter2"},
    )
    assert done.returncode == 0, done.stderr
    *told, ended = done.stdout.splitlines()
    return (json.loads(told[0]) if told else None), json.loads(ended)


def _there():
    code = (
        "import json; from nst_helpers.grading import jail; print(json.dumps(jail.protections()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def there():
    """The walls of this system, found out in a process without threads."""
    return _there()


def test_every_wall_that_is_missing_has_a_sentence(there):
    assert set(there) == set(EVERY)
    assert jail.missing(dict.fromkeys(EVERY, True)) == []
    for name in EVERY:
        sentences = jail.missing(dict.fromkeys(EVERY, True) | {name: False})
        assert len(sentences) == 1
        assert sentences[0].endswith(".")
    bare = jail.missing(dict.fromkeys(EVERY, False))
    assert len(bare) == 5
    assert "read and change every file" in bare[-1]


def test_other_systems_are_told_what_they_lack():
    code = (
        "import os; del os.fork; from nst_helpers.grading import jail; "
        "print(len(jail.missing(jail.protections())))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "5"


# Each wall alone keeps files; what a system lacks is left out of the table, and told by the test
# above.
_FILE_WALLS = [(), ("landlock",), ("namespaces",)]


def _guarded(there, without):
    """Return whether some wall around files stands."""
    return any(there[name] for name in ("namespaces", "landlock") if name not in without)


@pytest.mark.parametrize("without", _FILE_WALLS, ids=["all", "no landlock", "no namespaces"])
def test_a_course_in_a_folder_for_temporary_files_is_seen_in_the_jail(without):
    with tempfile.TemporaryDirectory(dir="/tmp") as grounds:
        folder = Path(grounds)
        seen = folder / "seen"
        seen.mkdir()
        (seen / "file").write_text("the library")
        code = f"""
            attempt(Path({str(seen / "file")!r}).read_text)
            attempt(Path({str(seen / "file")!r}).write_text, "changed")
            attempt(Path("own").write_text, "12345")
        """
        told, _ = _inside(code, folder, without=without, readable=[str(seen)])
        assert told[0] == ["done", "'the library'"]
        assert told[2] == ["done", "5"]
        assert told[1][0] in ("OSError", "PermissionError")
        assert (seen / "file").read_text() == "the library"


@pytest.mark.parametrize("without", _FILE_WALLS, ids=["all", "no landlock", "no namespaces"])
def test_files_of_others_can_be_neither_read_nor_written(tmp_path, there, without):
    secret = tmp_path / "gradebook.db"
    secret.write_text("marks")
    secret.chmod(0o666)
    code = f"""
    attempt(Path({str(secret)!r}).read_text)
    attempt(Path({str(secret)!r}).write_text, "100")
    attempt(os.listdir, {str(tmp_path)!r})
    attempt(os.unlink, {str(secret)!r})
    attempt(os.rename, {str(secret)!r}, {str(secret)!r} + "x")
    attempt(os.truncate, {str(secret)!r}, 0)
    attempt(os.chmod, {str(secret)!r}, 0)
    attempt(os.link, {str(secret)!r}, "mine")
    attempt(os.utime, {str(secret)!r}, (0, 0))
    """
    before = secret.stat()
    told, _ = _inside(code, tmp_path, without=without)
    assert _guarded(there, without)
    assert [kind for kind, _ in told if kind == "done"] == []
    after = secret.stat()
    assert (after.st_mode, after.st_mtime, after.st_size) == (
        before.st_mode,
        before.st_mtime,
        before.st_size,
    )
    assert secret.read_text() == "marks"


@pytest.mark.parametrize("without", _FILE_WALLS, ids=["all", "no landlock", "no namespaces"])
def test_libraries_can_be_read_but_not_what_is_hidden_among_them(tmp_path, there, without):
    code = f"""
    import json.decoder
    attempt(lambda: len(Path(json.decoder.__file__).read_text()) > 0)
    attempt(lambda: Path({jail.__file__!r}).read_text())
    attempt(lambda: __import__("nst_helpers.grading.release"))
    attempt(lambda: Path(json.decoder.__file__).write_text(""))
    """
    # As if the package were installed among the libraries.
    package = Path(jail.__file__).parents[1]
    told, _ = _inside(code, tmp_path, without=without, hidden=package.iterdir())
    assert told[0] == ["done", "True"]
    assert [kind for kind, _ in told[1:] if kind == "done"] == []


def test_it_may_write_a_little_in_a_folder_that_is_gone_afterwards(tmp_path):
    code = """
    import tempfile
    attempt(lambda: Path("picture.png").write_bytes(b"x" * 1000))
    attempt(lambda: Path(tempfile.mkdtemp(), "more").write_text("x"))
    attempt(lambda: os.environ.get("SECRET_TOKEN"))
    attempt(lambda: sorted(os.environ)[0] != "")
    """
    told, ended = _inside(code, tmp_path)
    assert [kind for kind, _ in told] == ["done"] * 4
    assert told[2][1] == "None"
    if _there()["namespaces"]:
        assert ended["left"] == []  # it was in memory


def test_a_disk_is_not_filled(tmp_path, there):
    code = """
    def fill():
        for number in range(8):  # 8 files of at most 24 MB
            with open(f"big{number}", "wb") as file:
                for _ in range(24):
                    file.write(b"x" * (1 << 20))
    attempt(fill)
    attempt(lambda: open("one", "wb").write(b"x" * (40 << 20)) and None)
    """
    told, _ = _inside(code, tmp_path)
    assert told[1][0] == "OSError"  # one file that is too large
    if there["namespaces"]:
        assert told[0][0] == "OSError"  # many files


@pytest.mark.parametrize("without", [(), ("seccomp",), ("namespaces",)])
def test_there_is_no_network(tmp_path, there, without):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        code = f"""
        import socket
        attempt(lambda: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 2))
        """
        told, _ = _inside(code, tmp_path, without=without)
        assert told[0][0] != "done"
        with pytest.raises(TimeoutError):
            server.accept()


def test_there_are_no_new_processes_and_no_other_ones(tmp_path, there):
    code = f"""
    import signal, subprocess
    attempt(os.fork)
    attempt(lambda: subprocess.run(["/bin/true"]))
    attempt(os.kill, {os.getpid()}, 0)
    attempt(os.kill, os.getppid() or {os.getpid()}, 0)
    attempt(os.execv, "/bin/true", ["true"])
    """
    told, _ = _inside(code, tmp_path)
    assert [kind for kind, _ in told if kind == "done"] == []


def test_forks_end_with_the_worker_and_are_few_even_without_a_filter(tmp_path, there):
    code = """
    import time
    def bomb():
        for _ in range(100):  # and no more
            if os.fork() == 0:
                time.sleep(600)
                os._exit(0)
    attempt(bomb)
    """
    # It would not return as long as a child holds its output.
    told, ended = _inside(code, tmp_path, without=("seccomp",) if there["namespaces"] else ())
    assert ended["status"] == 0
    if os.getuid():  # what root starts is never counted
        assert told[0][0] != "done"


def test_threads_still_work(tmp_path):
    code = """
    import threading
    seen = []
    threads = [threading.Thread(target=seen.append, args=(n,)) for n in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    told.append(["done", sorted(seen)])
    """
    assert _inside(code, tmp_path)[0] == [["done", [0, 1, 2, 3]]]


def test_memory_is_limited(tmp_path, there):
    told, _ = _inside("attempt(lambda: len(bytearray(512 << 20)))", tmp_path)
    assert told[0][0] == "MemoryError"


def test_processor_time_is_limited(tmp_path):
    told, ended = _inside("while True: pass", tmp_path, seconds=0.1)
    assert told is None
    assert ended["status"] != 0


def test_system_calls_that_undo_a_jail_are_refused(tmp_path, there):
    code = """
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    told.append(["unshare", libc.unshare(0x10000000)])
    told.append(["mount", libc.mount(b"none", b"/tmp", b"tmpfs", 0, None)])
    told.append(["chroot", libc.chroot(b"/tmp")])
    told.append(["ptrace", libc.ptrace(0, 0, 0, 0)])
    told.append(["setuid", libc.setuid(0) if os.getuid() else -1])
    told.append(["memfd", libc.memfd_create(b"x", 0)])
    """
    told, _ = _inside(code, tmp_path)
    assert {result for _, result in told} == {-1}
