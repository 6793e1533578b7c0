"""Sweeps on real workers on 127.0.0.1: one is killed, a scheduler dies, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from distributed import Client

from nst_helpers import sweep
from nst_helpers.cli import main
from nst_helpers.sweep import SweepError, running, workers

pytestmark = pytest.mark.timeout(300)
FIXED = {"content": "neuschwanstein", "style": "starry-night", "size": 32, "weights": "random"}
LONG = 40  # steps; a second or more


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


def test_a_job_whose_worker_is_killed_goes_on_elsewhere_and_the_others_are_untouched(
    client, tmp_path
):
    with sweep.submit(_spec({"seed": [0, 1, 2]}, LONG, retries=0), tmp_path / "s", client) as runs:
        _until(lambda: any(each.step >= 10 for each in runs.progress().running), runs)
        victim = max(runs.progress().running, key=lambda each: each.step)
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
    spec = _spec({"seed": [0, 1, 2]}, 2 * LONG, every=1000)
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
def _cluster(folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start a scheduler and a worker as other people do; give its address and its process."""
    dask = [sys.executable, "-m", "dask"]
    here = ["--scheduler-file", str(folder / "scheduler.json"), "--no-dashboard"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    home = ["--host", "127.0.0.1"]
    started = [subprocess.Popen([*dask, "scheduler", *here, *home, "--port", "0"], **silent)]
    try:
        alone = ["--nthreads", "1", "--no-nanny", "--death-timeout", "60"]
        started.append(subprocess.Popen([*dask, "worker", *here, *home, *alone], **silent))
        with Client(scheduler_file=str(folder / "scheduler.json"), timeout=60) as client:
            client.wait_for_workers(1, timeout=60)
            address = client.scheduler.address
        yield address, started[0]
    finally:
        for process in started:
            process.kill()
            process.wait(60)


def test_when_the_scheduler_dies_a_second_run_goes_on(client, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.5)
    spec, folder = _spec({"seed": [0, 1]}, 20), tmp_path / "sweep"
    with _cluster(tmp_path) as (address, scheduler):
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
    (tmp_path / "spec.yaml").write_text(
        f"fixed: {{content: neuschwanstein, style: starry-night, size: 32, steps: {LONG}, "
        f"weights: random}}\nvary: {{seed: [0, 1]}}\nevery: 5\n"
    )
    command = [sys.executable, "-m", "nst_helpers.cli", "sweep", "spec.yaml", "--workers", "1"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, **pipes)
    snapshots = tmp_path / "spec" / "running"
    _until(lambda: list(snapshots.glob("*/run.safetensors")) or run.poll() is not None)
    family = psutil.Process(run.pid).children(recursive=True)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to all of the group
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert f"2 jobs of {LONG} steps" in out
    assert "By one timed step they will take about" in out
    assert err.startswith("nst: interrupted; ")
    assert err.count("\n") == 1
    assert len(family) >= 2
    assert not [process for process in family if process.is_running()]
    assert (tmp_path / "spec" / "results.csv").is_file()
    before = _written(tmp_path / "spec")
    address = client.scheduler.address
    arguments = ["sweep", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "spec")]
    assert main([*arguments, "--scheduler", address]) == 0
    assert "taken up at step" in capfd.readouterr().out
    assert before.items() <= _written(tmp_path / "spec").items()
    assert main([*arguments, "--scheduler", address]) == 0
    assert "2 of them were finished before and are not run again" in capfd.readouterr().out


def test_many_jobs_have_to_be_meant(client, tmp_path, monkeypatch, capfd):
    (tmp_path / "spec.yaml").write_text(
        "fixed: {content: red-panda, style: the-scream, size: 32, weights: random}\n"
        f"vary: {{seed: {list(range(101))}}}\n"
    )
    arguments = ["sweep", str(tmp_path / "spec.yaml"), "-o", str(tmp_path / "o")]
    assert main([*arguments, "--scheduler", client.scheduler.address]) == 1
    out, err = capfd.readouterr()
    assert "101 jobs of 100 steps" in out
    assert "By one timed step they will take about" in out
    assert err == "nst: These are more than 100 jobs; add --yes if they are meant.\n"
    assert list((tmp_path / "o" / "running").iterdir()) == []
    assert _written(tmp_path / "o") == {}
