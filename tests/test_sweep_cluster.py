"""Sweeps on real workers on 127.0.0.1: one is killed, a scheduler dies, and nothing is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client, Worker

from nst_helpers import sweep
from nst_helpers.cli import main
from nst_helpers.sweep import SweepError, command, running, workers
from nst_helpers.sweep import folder as store

pytestmark = pytest.mark.timeout(300)
# The lowest layers alone: what a step computes matters to none of these tests.
LAYERS = {"content_layer": "conv2_1", "style_weights": {"conv1_1": 1}}
FIXED = {
    "content": "neuschwanstein", "style": "starry-night", "size": 32, "weights": "random", **LAYERS
}  # fmt: skip
LONG = 40  # steps; half a second or more


def _spec(vary, steps=2, **more):
    return {"fixed": {**FIXED, "steps": steps}, "vary": vary, **{"every": 5, **more}}


@pytest.fixture(scope="module")
def client():
    with sweep.connected() as client:
        yield client


def _until(condition: Callable[[], object], watched: sweep.Sweep | None = None) -> None:
    ending = time.monotonic() + 120
    while not condition():
        assert watched is None or not watched.progress().ended, watched.table()
        assert time.monotonic() < ending
        time.sleep(0.02)


def _written(folder: Path) -> dict[str, int]:
    """Return when each job's result was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in folder.glob("jobs/*/result.json")}


def test_a_local_cluster_is_on_this_machine_alone_with_two_processes_of_one_thread(client):
    client.wait_for_workers(min(2, os.cpu_count()), timeout=60)
    assert list(client.nthreads().values()) == [1] * min(2, os.cpu_count())
    pids = client.run(os.getpid).values()
    assert len({os.getpid(), *pids}) == 1 + len(pids)
    listening = [
        connection.laddr.ip
        for pid in (os.getpid(), *pids)
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert set(listening) == {"127.0.0.1"}


def test_results_come_as_jobs_end_and_finished_ones_are_never_run_twice(client, tmp_path):
    folder = tmp_path / "sweep"
    with sweep.submit(_spec({"beta": [0.5, 5]}), folder, client) as first:
        assert first.progress().done < 2  # submitting waits for no job
        assert len(first.table().frame) == len(first.sheet().panels) == 2
        progress = first.wait()
    assert (progress.finished, progress.kept, progress.ended) == (2, 0, True)
    assert list(first.table().frame["state"]) == ["finished", "finished"]
    before = _written(folder)
    assert len(before) == 2
    with sweep.submit(_spec({"beta": [0.5, 5, 50]}), folder, client) as second:
        progress = second.wait()
    assert (progress.finished, progress.kept) == (1, 2)
    after = _written(folder)
    assert {digest: after[digest] for digest in before} == before
    rows = (folder / "results.csv").read_text().splitlines()
    assert [row.split(",")[1] for row in rows] == ["state", "kept", "kept", "finished"]
    assert client.status == "running"  # somebody else's client is left open


def test_a_job_that_keeps_failing_is_reported_and_the_others_go_on(client, tmp_path, capfd):
    # Whether a worker has a device is known there alone; no machine has both of these.
    missing = "xpu" if sys.platform == "darwin" else "mps"
    spec = _spec({"device": [missing, "cpu"], "beta": [0.5, 5]}, retries=1)
    with sweep.submit(spec, tmp_path / "sweep", client) as runs:
        progress = runs.wait()
    assert (progress.finished, progress.failed, progress.retried) == (2, 2, 2)
    table = runs.table().frame
    assert list(table["state"]) == ["failed", "failed", "finished", "finished"]
    assert (
        table["failure"].str.contains(f"Device '{missing}' was asked for").tolist()[:2]
        == [True] * 2
    )
    assert f"Device '{missing}'" in (tmp_path / "sweep" / "results.csv").read_text()
    assert capfd.readouterr().err == ""


def test_a_sweep_that_is_stopped_leaves_snapshots_and_goes_on_from_them(client, tmp_path):
    # No snapshot but that of the stop.
    spec = _spec({"seed": [0, 1, 2]}, LONG, every=1000)
    with sweep.submit(spec, tmp_path, client) as first:
        _until(lambda: [each for each in first.progress().running if each.process], first)
    assert first.progress().ended
    left = [path.parent.name for path in tmp_path.glob("running/*/run.safetensors")]
    assert left
    with sweep.submit(spec, tmp_path, client) as second:
        assert second.wait().done == 3
        starts = {digest: outcome.starts for digest, outcome in second.results().items()}
    assert {starts[digest] for digest in left} == {2}


@contextlib.contextmanager
def _scheduler(folder: Path) -> Iterator[tuple[Client, subprocess.Popen]]:
    """Start a scheduler as other people do; give a client of it and its process."""
    file = folder / "scheduler.json"
    words = [sys.executable, "-m", "dask", "scheduler", "--scheduler-file", str(file)]
    local = ["--no-dashboard", "--host", "127.0.0.1", "--port", "0"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen([*words, *local], **silent)
    try:
        with Client(scheduler_file=str(file), timeout=60, set_as_default=False) as client:
            yield client, started
    finally:
        started.kill()
        started.wait(60)


def test_when_the_scheduler_dies_a_second_run_goes_on(client, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.5)
    spec, folder = _spec({"seed": [0, 1]}, 20), tmp_path / "sweep"
    with _scheduler(tmp_path) as (other, scheduler):
        address = other.scheduler.address
        # In this process, where all that a job needs is loaded already.
        other.sync(Worker, address, nthreads=1, host="127.0.0.1", dashboard_address="127.0.0.1:0")
        runs = sweep.submit(spec, folder, address)
        _until(lambda: runs.progress().done == 1, runs)
        scheduler.kill()
        with pytest.raises(SweepError, match="scheduler no longer answers; what is finished is"):
            runs.wait(60)
    before = _written(folder)
    with sweep.submit(spec, folder, client) as second:
        progress = second.wait()
    assert progress.done == 2
    assert progress.kept >= 1
    after = _written(folder)
    assert {digest: after[digest] for digest in before} == before


def _family(started: subprocess.Popen) -> list[psutil.Process]:
    leader = psutil.Process(started.pid)
    return [leader, *leader.children(recursive=True)]


@pytest.mark.parametrize("died", ["nobody", "scheduler"])
def test_workers_end_with_the_sweep_or_with_their_scheduler(tmp_path, died):
    with _scheduler(tmp_path) as (client, scheduler):
        with workers._processes(client.scheduler.address, 1) as started:
            client.wait_for_workers(1, timeout=60)
            family = _family(started)
            assert len(family) >= 2
            # Ctrl-C in a terminal reaches its own session alone, and so no worker.
            assert os.getsid(started.pid) == started.pid != os.getsid(0)
            if died == "scheduler":  # as with the computer that began them: nobody ends them
                scheduler.kill()
                assert psutil.wait_procs(family, timeout=60)[1] == []
        assert not [process for process in family if process.is_running()]


def test_without_a_scheduler_there_is_a_sentence(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 0.5)
    path = tmp_path / "spec.yaml"
    path.write_text(
        "fixed: {content: red-panda, style: the-scream, size: 32}\nvary: {beta: [1, 2]}\n"
    )
    assert (
        main(["sweep", str(path), "-o", str(tmp_path / "o"), "--scheduler", "tcp://127.0.0.1:1"])
        == 1
    )
    err = capfd.readouterr().err
    assert err.startswith("nst: No Dask scheduler answers at tcp://127.0.0.1:1")
    assert err.count("\n") == 1


def test_the_command_is_stopped_by_ctrl_c_leaves_no_process_and_goes_on(client, tmp_path, capfd):
    spec, folder = tmp_path / "spec.yaml", tmp_path / "spec"
    # No snapshot but that of the beginning and that of the stop.
    spec.write_text(json.dumps(_spec({"seed": [0, 1]}, 2 * LONG, every=1000)))
    words = [sys.executable, "-m", "nst_helpers.cli", "sweep", "spec.yaml", "--workers", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen(words, cwd=tmp_path, start_new_session=True, **pipes)
    snapshots = folder / "running"
    _until(lambda: list(snapshots.glob("*/run.safetensors")) or run.poll() is not None)
    family = _family(run)[1:]
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of the group
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert f"2 jobs of {2 * LONG} steps" in out
    assert "By one timed step they will take about" in out
    assert err.startswith("nst: interrupted; ")
    assert err.count("\n") == 1
    assert len(family) >= 2
    assert not [process for process in family if process.is_running()]
    # The worker was asked to stop, and not interrupted itself: it had the time for a snapshot.
    left = [store.step_of(folder, path.parent.name) for path in snapshots.glob("*/run.safetensors")]
    assert len(left) == 1
    assert left[0] > 0
    assert (folder / "results.csv").is_file()
    before = _written(folder)
    arguments = ["sweep", str(spec), "-o", str(folder), "--scheduler", client.scheduler.address]
    assert main(arguments) == 0
    assert f"taken up at step {left[0]}" in capfd.readouterr().out
    assert before.items() <= _written(folder).items()
    assert main(arguments) == 0
    assert "2 of them were finished before and are not run again" in capfd.readouterr().out


def test_many_jobs_have_to_be_meant(client, tmp_path, monkeypatch, capfd):
    (tmp_path / "spec.yaml").write_text(json.dumps(_spec({"seed": list(range(101))}, 1)))
    arguments = ["sweep", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "o")]
    assert main([*arguments, "--scheduler", client.scheduler.address]) == 1
    out, err = capfd.readouterr()
    assert "101 jobs of 1 step;" in out
    assert "By one timed step they will take about" in out
    assert err == "nst: These are more than 100 jobs; add --yes if they are meant.\n"
    assert list((tmp_path / "o" / "running").iterdir()) == []
    assert _written(tmp_path / "o") == {}
    monkeypatch.setattr(command, "MANY_JOBS", 1)
    (tmp_path / "spec.yaml").write_text(json.dumps(_spec({"seed": [0, 1]}, 1)))
    arguments = ["sweep", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "two")]
    arguments += ["--scheduler", client.scheduler.address]
    assert main(arguments) == 1
    assert "These are more than 1 jobs; add --yes" in capfd.readouterr().err
    assert main([*arguments, "--yes"]) == 0
    assert len(_written(tmp_path / "two")) == 2


# The last one: a worker is started in place of the killed one, and would have to get ready.
def test_a_job_whose_worker_is_killed_goes_on_elsewhere_and_the_others_are_untouched(
    client, tmp_path
):
    with sweep.submit(_spec({"seed": [0, 1, 2]}, LONG, retries=0), tmp_path / "s", client) as runs:
        _until(lambda: any(each.step >= 10 for each in runs.progress().running), runs)
        # The one with most steps to go: it must not end before it is killed.
        halfway = [each for each in runs.progress().running if each.step >= 10]
        victim = min(halfway, key=lambda each: each.step)
        os.kill(victim.process, signal.SIGKILL)
        progress = runs.wait()
        table = runs.table().frame.set_index("seed")
    assert (progress.finished, progress.failed, progress.retried) == (3, 0, 0)
    hit = int(victim.label.removeprefix("seed "))
    assert table.loc[hit, "starts"] == 2
    assert table.loc[hit, "resumed"] >= 10
    others = table.drop(hit)
    assert list(others["starts"]) == [1, 1]
    assert list(others["resumed"]) == [0, 0]
    # All steps are in the log, those before the kill and those after it.
    log = (tmp_path / "s" / table.loc[hit, "folder"] / "log.csv").read_text().splitlines()
    assert [int(line.split(",")[0]) for line in log[1:]] == list(range(LONG + 1))
