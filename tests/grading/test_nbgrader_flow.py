"""Plain nbgrader with the course's configuration, from an empty course to exported marks.

The commands of docs/instructors.md in a copy of the course that holds one small lesson; through an
exchange and with plain folders. The tests look at what they leave behind.
"""

from __future__ import annotations

import contextlib
import csv
import html
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml

from nst_helpers.grading.plugins import HideTests
from nst_helpers.grading.telling import FIXED_WORDS

ROOT = Path(__file__).resolve().parents[2]
LESSON = "01_twice"
RIGHT = "def twice(x):\n    return [n + n for n in x]"
WARNS = f"import warnings\n\n\n{RIGHT}".replace("    ", "    warnings.warn('careful')\n    ")
WRONG = "def twice(x):\n    return x + x"
# Says what it is called with and what test calls it.
TALKS = """\
import traceback


def twice(x):
    print("called with", x, In[-1], traceback.extract_stack()[-2].line)
    if len(x) == 5:
        raise ValueError(In[-1])
    return [n + n for n in x]
"""
# nbgrader takes seconds to import, so it is imported once, and each command is a fork of its own.
NBGRADER = """
import json, os, sys
from nbgrader.apps.nbgraderapp import main

for line in sys.stdin:
    name, arguments = json.loads(line)
    child = os.fork()
    if child == 0:
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1), os.dup2(file, 2)
        sys.argv = ["nbgrader", *arguments]
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
DIES = "import os\n\n\ndef twice(x):\n    os._exit(1)"
POINTS = 7


def _cell(identity: str, source: str, **marks):
    cell = nbformat.v4.new_code_cell(source)
    cell.id = identity
    if marks:
        cell.metadata["nbgrader"] = {
            **{"grade": False, "solution": False, "locked": False, "task": False, **marks},
            **{"grade_id": identity, "schema_version": 3},
        }
    return cell


def _lesson():
    locked = {"grade": True, "locked": True}
    cells = [
        _cell("setup", "import math\n\nexample = [0, 1, 2, math.pi]"),
        _cell(
            "twice",
            "def twice(x):\n    ### BEGIN SOLUTION\n    return [2 * n for n in x]\n"
            "    ### END SOLUTION",
            solution=True,
        ),
        _cell(
            "twice-shape",
            "# Graded, 1 point: the length\n"
            "assert len(twice(example)) == 4, 'Four numbers give four numbers.'",
            points=1,
            **locked,
        ),
        _cell(
            "twice-values",
            "# Graded, 4 points: the values\nassert twice(example)[1] == 2, 'Twice 1 is 2.'",
            points=4,
            **locked,
        ),
        _cell(
            "twice-hidden",
            "# Graded, 2 points: other sizes\n### BEGIN HIDDEN TESTS\n"
            "secret_numbers = [0.125, 1.5, 3.25, 9.0, 77.5]\n"
            "assert twice(secret_numbers)[4] == 155.0, 'The last number is not right.'\n"
            "### END HIDDEN TESTS\nassert twice(example) is not None",
            points=2,
            **locked,
        ),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {
        **{"name": "python3", "display_name": "Python 3", "language": "python"}
    }
    return notebook


class Course:
    """A copy of the course with one lesson, and nbgrader's commands in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lesson = folder / "solutions" / LESSON / f"{LESSON}.ipynb"
        self.lesson.parent.mkdir(parents=True)
        for name in ("nbgrader_config.py", "autotests.yml"):
            shutil.copy(ROOT / name, folder)
        nbformat.write(_lesson(), self.lesson)
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("JUPYTER", "NST_", "VIRTUAL_ENV"))
        }
        # As in a shell in which nothing was activated, of somebody without settings of their own.
        self.environment |= {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
        self.said: dict[str, str] = {}
        self._nbgrader = subprocess.Popen(
            [sys.executable, "-c", NBGRADER],
            cwd=folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        self._nbgrader.stdin.close()
        self._nbgrader.stdout.close()
        self._nbgrader.wait(timeout=30)

    def nbgrader(self, *arguments: str, code: int = 0) -> str:
        output = self.folder / ".course" / "said.txt"
        print(json.dumps([str(output), arguments]), file=self._nbgrader.stdin, flush=True)
        returned = self._nbgrader.stdout.readline().strip()
        said = output.read_text()
        assert returned == str(code), f"{arguments}: {said[-3000:]}"
        self.said[arguments[0]] = said
        return said

    def path(self, step: str, student: str, name: str = "") -> Path:
        return self.folder / ".course" / step / student / LESSON / name

    def answer(self, notebook, source: str) -> None:
        next(cell for cell in notebook.cells if cell.id == "twice").source = source

    def hand_in(self, student: str, source: str | None = None, data: bytes | None = None) -> None:
        """Put a submission where ``collect`` would put it."""
        self.path("submitted", student).mkdir(parents=True)
        released = nbformat.read(self.folder / "notebooks" / LESSON / f"{LESSON}.ipynb", 4)
        if source:
            self.answer(released, source)
        data = nbformat.writes(released).encode() if data is None else data
        self.path("submitted", student, f"{LESSON}.ipynb").write_bytes(data)


def _scores(path: Path) -> dict[str, float]:
    with path.open() as file:
        return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Iterator[Course]:
    """A course that went all the way once; every command ran without activation."""
    course = Course(tmp_path_factory.mktemp("course"))
    command = [Path(sys.executable).parent / "nbgrader", "generate_assignment", LESSON]
    subprocess.run(command, cwd=course.folder, env=course.environment, check=True, timeout=200)
    # A test that is edited after the hand-out counts as it was handed out.
    edited = course.lesson.read_text().replace("Graded, 4 points", "Graded, four points")
    course.lesson.write_text(edited)
    _through_the_exchange(course)
    _with_plain_folders(course)
    # One submission ends its own process: nbgrader reports it by its exit code, and goes on.
    course.nbgrader("autograde", LESSON, code=1)
    course.nbgrader("generate_feedback", LESSON)
    course.nbgrader("release_feedback", LESSON)
    course.nbgrader("fetch_feedback", LESSON)
    course.nbgrader("export")
    course.marks = _scores(course.folder / ".course" / "grades.csv")
    yield course
    course.close()


def _through_the_exchange(course: Course) -> None:
    course.nbgrader("release_assignment", LESSON)
    course.nbgrader("fetch_assignment", LESSON)
    path = course.folder / LESSON / f"{LESSON}.ipynb"
    notebook = nbformat.read(path, 4)
    course.answer(notebook, WARNS)
    half = nbformat.v4.new_code_cell(RIGHT)  # JupyterLab's copy of a cell has its metadata
    half.metadata = notebook.cells[1].metadata
    notebook.cells.insert(1, half)
    nbformat.write(notebook, path)
    (path.parent / "own.txt").write_text("mine")
    course.nbgrader("submit", LESSON)
    course.nbgrader("list", "--inbound")
    inbound = course.folder / ".course" / "exchange" / "nst" / "inbound"
    folder = next(inbound.iterdir())
    (folder / "grades").symlink_to(course.folder / ".course" / "gradebook.db")
    broken = inbound / f"mallory+{LESSON}+no time+x"
    broken.mkdir()
    os.mkfifo(broken / f"{LESSON}.ipynb")
    course.nbgrader("collect", LESSON)
    course.student = folder.name.split("+")[0]


def _with_plain_folders(course: Course) -> None:
    course.hand_in("aaron", DIES)
    course.hand_in("bea", WRONG)
    course.hand_in("dora", TALKS)
    course.hand_in("gina", RIGHT)
    path = course.path("submitted", "gina", f"{LESSON}.ipynb")
    path.rename(path.with_name("final version.ipynb"))
    course.path("submitted", "gina", "torch.py").write_text("def allclose(*a): return True")
    course.path("submitted", "gina", "mine.py").write_text("")
    course.path("submitted", "gina", "link.txt").symlink_to(course.lesson)
    course.path("submitted", "gina", "timestamp.txt").write_text("yesterday, honestly")


def test_every_submission_gets_the_mark_its_answer_deserves(course):
    wanted = {course.student: POINTS, "gina": POINTS, "dora": POINTS - 2}
    assert course.marks == {**wanted, "aaron": 0, "bea": 0, "mallory": 0}


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ("aaron", "ended its own Python process"),
        ("gina", "final version.ipynb was graded as 01_twice.ipynb"),
        ("gina", "torch.py would stand in for a module"),
        ("gina", "link.txt is a link"),
        ("gina", "timestamp.txt cannot be read"),
        ("mallory", "Nothing could be graded: "),
    ],
)
def test_what_was_wrong_is_one_line_for_the_instructor(course, student, words):
    lines = course.said["autograde"].splitlines()
    assert [line for line in lines if student in line and words in line], course.said["autograde"]


def test_undamaged_submissions_are_passed_in_silence(course):
    for line in course.said["autograde"].splitlines():
        if "WARNING" in line:
            assert not re.search(r"\b(bea|dora)\b", line)
            assert "has changed!" not in line  # locked texts come from the gradebook already


def test_collecting_follows_no_link_and_does_not_stop_at_a_pipe(course):
    folder = course.path("submitted", course.student)
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"{LESSON}.ipynb", "own.txt", "submission_secret.txt", "timestamp.txt")
    ]
    assert "grades is a link" in course.said["collect"]
    assert f"{LESSON}.ipynb is not a file" in course.said["collect"]


def test_what_was_handed_in_is_never_changed(course):
    assert course.path("submitted", "gina", "torch.py").exists()
    assert sorted(path.name for path in course.path("autograded", "gina").iterdir()) == [
        *(f"{LESSON}.ipynb", "mine.py")
    ]


def test_a_warning_is_shown_and_costs_nothing(course):
    cells = _autograded(course, course.student).cells
    text = "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))
    assert "UserWarning: careful" in text


def _autograded(course: Course, student: str):
    return nbformat.read(course.path("autograded", student, f"{LESSON}.ipynb"), 4)


def _page(course: Course, student: str) -> str:
    return html.unescape(course.path("feedback", student, f"{LESSON}.html").read_text())


@pytest.mark.parametrize("student", ["bea", "dora", "gina", "mallory"])
def test_feedback_shows_no_hidden_test(course, student):
    page = _page(course, student)
    for secret in ("secret_numbers", "HIDDEN", "77.5", "155.0"):
        assert secret in str(_autograded(course, student).cells), secret
        assert secret not in page, secret


def test_feedback_keeps_the_marks_and_the_checkers_words(course):
    assert "(Score: 0.0 / 7.0)" in _page(course, "bea")
    assert "Four numbers give four numbers." in _page(course, "bea")
    assert "A hidden test: The last number is not right." in _page(course, "bea")
    assert "A hidden test: your code raised ValueError." in _page(course, "dora")
    assert "A hidden test: the exercise is not written yet." in _page(course, "mallory")
    assert "(Score: 7.0 / 7.0)" in _page(course, "gina")


def test_feedback_tells_the_student_what_was_repaired(course):
    assert "was graded as 01_twice.ipynb" in _page(course, "gina")
    assert "Repaired" not in _page(course, "bea")


def test_feedback_comes_back_through_the_exchange(course):
    pages = list((course.folder / LESSON / "feedback").rglob("*.html"))
    assert len(pages) == 1
    assert "(Score: 7.0 / 7.0)" in html.unescape(pages[0].read_text())
    assert "gina" in course.said["release_feedback"]  # who has to be given it by hand


def test_a_lesson_the_gradebook_does_not_know_is_said_in_one_line(course):
    said = course.nbgrader("autograde", "02_thrice", code=1)
    assert "-m nbgrader generate_assignment 02_thrice --force" in said
    assert "Traceback" not in said


def test_grading_again_after_a_correction_updates_the_mark_even_without_the_solutions(course):
    """The folder in which students' code runs may lack them; the hand-out does as well."""
    path = course.path("submitted", "mallory", f"{LESSON}.ipynb")
    shutil.copy(course.path("submitted", "gina", "final version.ipynb"), path)
    away = course.lesson.rename(course.lesson.with_name("away"))
    try:
        course.nbgrader("autograde", LESSON, "--student=mallory", "--force")
    finally:
        away.rename(course.lesson)
    course.nbgrader("export", "--to=.course/again.csv")
    assert _scores(course.folder / ".course" / "again.csv")["mallory"] == POINTS


def test_everything_that_changes_is_in_one_folder(course):
    shown = {path.name for path in course.folder.iterdir() if not path.name.startswith(".")}
    kept = {"nbgrader_config.py", "autotests.yml", "solutions", "notebooks"}
    assert shown == {*kept, LESSON}  # the lesson that was fetched into the folder


@pytest.fixture
def server(course):
    """Give the address and token of a Jupyter server in the course, with formgrader."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "jupyter-server"), "--no-browser", "--allow-root"]
    command += [f"--ServerApp.port={port}", "--ServerApp.ip=127.0.0.1"]
    command += ["--ServerApp.port_retries=0", "--IdentityProvider.token=secret"]
    with (course.folder / ".course" / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=course.folder, env=course.environment, stdout=log, stderr=log
        )
        try:
            yield f"http://127.0.0.1:{port}", "secret"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _get(server: tuple[str, str], path: str) -> tuple[int, str]:
    address, token = server
    request = urllib.request.Request(
        f"{address}/{path}", headers={"Authorization": f"token {token}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.status, answer.read().decode()


def test_formgrader_shows_the_assignment_and_the_marks(course, server):
    for _ in range(150):
        with contextlib.suppress(OSError):
            status, page = _get(server, "formgrader/manage_assignments")
            break
        time.sleep(0.2)
    assert status == 200
    assert "formgrader" in page
    assignments = json.loads(_get(server, "formgrader/api/assignments")[1])
    assert [entry["name"] for entry in assignments] == [LESSON]
    assert assignments[0]["max_score"] == POINTS
    submissions = json.loads(_get(server, f"formgrader/api/submissions/{LESSON}")[1])
    scores = {entry["student"]: entry["score"] for entry in submissions}
    assert scores["gina"] == POINTS
    assert scores["bea"] == 0
    notebooks = json.loads(_get(server, f"formgrader/api/submitted_notebooks/{LESSON}/{LESSON}")[1])
    bea = next(entry for entry in notebooks if entry["student"] == "bea")
    status, page = _get(server, f"formgrader/submissions/{bea['id']}/")
    assert status == 200
    assert "twice-hidden" in page


# The words of feedback, without nbgrader.


def _hidden_cell(error: str, text: str, source: str = "assert secret_test(7) == 2, 'Seven.'"):
    cell = nbformat.v4.new_code_cell(
        f"# shown\n### BEGIN HIDDEN TESTS\n{source}\n### END HIDDEN TESTS\nassert True"
    )
    cell.metadata["nbgrader"] = {"grade": True, "grade_id": "a", "points": 1}
    output = nbformat.v4.new_output("error", ename=error, evalue=text, traceback=[source, text])
    printed = nbformat.v4.new_output("stream", name="stdout", text=source)
    cell.outputs = [printed, output]
    return cell


@pytest.mark.parametrize(
    ("error", "text", "said"),
    [
        ("AssertionError", "Seven.", "A hidden test: Seven."),
        ("AssertionError", "assert secret_test(7) == 2", "the result is not right."),
        ("NotYet", "f(7): not yet.\n  - its shape is (1,), not (2,).", "the shape of the result"),
        ("NotYet", "the secret is 7", "the result is not right."),
        ("NotImplementedError", "not written yet", "the exercise is not written yet."),
        ("TypeError", "secret_test(7)", "your code raised TypeError."),
        ("secret_test", "7", "your code raised an error."),
        ("CellTimeoutError", "", "it took too long."),
    ],
)
def test_a_failed_hidden_test_is_told_without_giving_it_away(error, text, said):
    notebook = nbformat.v4.new_notebook(cells=[_hidden_cell(error, text)])
    cell = HideTests().preprocess(notebook, {})[0].cells[0]
    assert cell.source == "# shown\nassert True"
    assert len(cell.outputs) == 1
    assert said in cell.outputs[0].evalue
    assert "secret" not in json.dumps(cell)


def test_a_measured_value_of_a_hidden_test_is_struck_out_elsewhere():
    """As the course's template writes it."""
    template = yaml.safe_load((ROOT / "autotests.yml").read_text())["python3"]
    test = f"{template['setup']}\n{template['check']}"
    value = '["tensor", "float64", [2], 3.0, [1.5, 2.5]]'
    for name, text in {"snippet": "measure(f(secret))", "value": value, "message": "f(s)"}.items():
        test = test.replace("{{" + name + "}}", text)
    told = nbformat.v4.new_output("stream", name="stdout", text=f"agree({value!r})\n{test}")
    cells = [_hidden_cell("A", "", test), nbformat.v4.new_code_cell("talk()", outputs=[told])]
    made = HideTests().preprocess(nbformat.v4.new_notebook(cells=cells), {})[0].cells
    assert value in test
    for secret in (value, "measure(f(secret))"):
        assert secret not in json.dumps(made).replace('\\"', '"')


def test_pieces_of_a_hidden_test_are_struck_out_elsewhere():
    printed = nbformat.v4.new_output("stream", name="stdout", text="x = assert secret_test(7) == 2")
    shown = nbformat.v4.new_output(
        "display_data", data={"text/html": "<b>assert secret_test(7) == 2, &#x27;Seven.&#x27;</b>"}
    )
    cell = nbformat.v4.new_code_cell("talk()", outputs=[printed, shown])
    source = "assert secret_test(7) == 2\nassert secret_test(7) == 2, 'Seven.'"
    notebook = nbformat.v4.new_notebook(cells=[_hidden_cell("A", "", source), cell])
    made = HideTests().preprocess(notebook, {})[0].cells[1]
    assert made.outputs[0].text == "x = (hidden)"
    assert made.outputs[1].data["text/html"].startswith("<b>(hidden)")


def test_the_words_kept_of_hidden_tests_are_the_checkers():
    """They are found by what the checker says; this fails if the checker says it otherwise."""
    words = (ROOT / "nst_helpers" / "checker" / "autotest.py").read_text()
    for start in FIXED_WORDS:
        assert start in words or start == "not written yet", start
