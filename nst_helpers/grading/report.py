"""What an instructor reads after grading: marks.csv, and a report on the class as text and HTML.

Records are read one at a time, and only counts and what needs a person's eye are held.
"""

from __future__ import annotations

import csv
import html
import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.coursedir import CourseDirectory

from nst_helpers.grading import records
from nst_helpers.grading.book import Book
from nst_helpers.grading.records import Record, write_whole

COLUMNS = ("student", "lesson", "score", "max", "bonus", "late", "notes")
# Longer lists are cut; everything is in the CSV and the records.
MOST_LINES = 200
# A spreadsheet takes text that begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass
class Tally:
    """The counts of one lesson.

    Attributes:
        lesson: its name.
        max_score: its points, without bonus points.
        bonus: how many bonus points there are on top of them.
        scores: how many students have how many points.
        causes: how often the checker recognised which mistake, by exercise and cause id.
        missed: how many students miss points of an exercise.
        disagreements: where ``nbgrader autograde`` gave other points.
        damaged: what was wrong with submissions.
        facts: what the judge says about submissions.
        failures: what could not be graded.
        missing: protections that the system lacked.
    """

    lesson: str
    max_score: float = 0.0
    bonus: float = 0.0
    scores: Counter[float] = field(default_factory=Counter)
    causes: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    disagreements: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)

    def add(self, record: Record) -> None:
        """Count one submission."""
        self.missing.update(record.missing)
        if record.failure:
            self.failures.append(f"{record.student}: {record.failure}")
            return
        self.max_score = record.max_score
        self.bonus = sum(mark["max_points"] for mark in record.marks if mark["bonus"])
        self.scores[record.score] += 1
        said = {(words["exercise"], words["cause"]) for words in record.words if words["cause"]}
        self.causes.update(said)
        self.missed.update({mark["exercise"] for mark in record.marks if not mark["passed"]})
        self.disagreements += [f"{record.student}: {line}" for line in disagreements(record)]
        self.damaged += [f"{record.student}: {note}" for note in record.notes]
        self.facts += [f"{record.student}: {fact}" for fact in record.facts]

    @property
    def students(self) -> int:
        """How many have marks."""
        return self.scores.total()

    @property
    def mean(self) -> float:
        """The mean of the scores."""
        total = sum(score * count for score, count in self.scores.items())
        return total / self.students if self.students else 0.0

    @property
    def median(self) -> float:
        """The median of the scores."""
        middle, seen = (self.students + 1) // 2, 0
        for score in sorted(self.scores):
            seen += self.scores[score]
            if seen >= middle:
                return score
        return 0.0

    def sections(self) -> list[tuple[str, list[str]]]:
        """Return the report's headings, each with its lines."""
        widest = max(self.scores.values(), default=1)
        marks = [
            f"{score:5g} {'#' * max(1, round(40 * count / widest))} {count}"
            for score, count in sorted(self.scores.items(), reverse=True)
        ]
        missed = [f"{count:4} {name}" for name, count in self.missed.most_common()]
        causes = [
            f"{count:4} {name}: {cause}" for (name, cause), count in self.causes.most_common()
        ]
        return [
            ("Marks: points, students", marks),
            ("Students who miss points of an exercise", missed),
            ("Mistakes the checker recognised", causes),
            ("Not graded: look at these by hand", self.failures),
            ("nbgrader autograde gave other points", self.disagreements),
            ("Damaged files, and what was done", self.damaged),
            ("What the judge noticed", self.facts),
            ("Protections that this system lacks", sorted(self.missing)),
        ]

    @property
    def summary(self) -> str:
        """One line."""
        line = f"{self.lesson}: {self.students} graded, mean {self.mean:.1f}, "
        line += f"median {self.median:g} of {self.max_score:g} points"
        line += f" and {self.bonus:g} of bonus" if self.bonus else ""
        if self.missed:
            name, count = self.missed.most_common(1)[0]
            line += f"; most missed: {name} ({count})"
        if self.failures:
            line += f"; {len(self.failures)} could not be graded"
        return line


def disagreements(record: Record) -> list[str]:
    """Return a line for each cell to which ``nbgrader autograde`` gave other points, and why."""
    lines = []
    for mark in record.marks:
        points, why = (record.kernel or {}).get(mark["grade_id"], (mark["points"], ""))
        if points != mark["points"]:
            reason = mark["reason"] or "; ".join(record.notes) or "its tests hold"
            lines.append(
                f"{mark['grade_id']}: nbgrader {points:g}, {why}; "
                f"the judge {mark['points']:g}, {reason.rstrip('.')}."
            )
    return lines


def write(course: CourseDirectory, book: Book) -> str:
    """Write marks.csv, report.txt and report.html; return a line for each lesson and file."""
    folder = records.folder_of(course)
    tallies = []
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    for lesson in records.lessons_of(course):
        tally = Tally(lesson)
        given = {student: (score, late) for student, score, late in book.scores(lesson)}
        for record in records.all_of(course, lesson):
            tally.add(record)
            rows.writerow(_row(record, given.get(record.student)))
        tallies.append(tally)
    files = {"marks.csv": table.getvalue(), "report.txt": _text(tallies)}
    files["report.html"] = _html(tallies)
    for name, text in files.items():
        write_whole(folder / name, text.encode())
    places = [str(_short(folder / name)) for name in files]
    return "\n".join([*(tally.summary for tally in tallies), ", ".join(places)])


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _row(record: Record, given: tuple[float, float] | None) -> list[str]:
    """Return a row of the CSV; the score is the gradebook's, less what being late cost."""
    lines = [record.failure] if record.failure else [*record.notes, *record.facts]
    notes = " ".join(lines)
    notes = f"'{notes}" if notes.startswith(_FORMULA) else notes
    if record.failure or given is None:
        return [record.student, record.lesson, "", "", "", "", notes]
    score, late = given
    numbers = (score - late, record.max_score, record.bonus, late)
    return [record.student, record.lesson, *(f"{number:g}" for number in numbers), notes]


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"and {more} more; see marks.csv"] if more > 0 else lines


def _text(tallies: list[Tally]) -> str:
    parts = []
    for tally in tallies:
        parts.append(f"{tally.summary}\n{'=' * len(tally.summary)}\n")
        for heading, lines in tally.sections():
            if lines:
                parts.append("\n".join([heading, "", *(f"  {line}" for line in _cut(lines)), ""]))
    return "\n".join(parts)


_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Class report</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }}
h2 {{ border-bottom: 1px solid #ccc; padding-top: 1rem; }}
h3 {{ font-size: 1rem; margin-bottom: 0.2rem; }}
pre {{ white-space: pre-wrap; margin-top: 0; }}
</style>
</head>
<body>
<h1>Class report</h1>
{body}
</body>
</html>
"""


def _html(tallies: list[Tally]) -> str:
    parts = []
    for tally in tallies:
        parts.append(f"<h2>{html.escape(tally.lesson)}</h2>")
        parts.append(f"<p>{html.escape(tally.summary)}.</p>")
        for heading, lines in tally.sections():
            if lines:
                text = html.escape("\n".join(_cut(lines)))
                parts.append(f"<h3>{html.escape(heading)}</h3>\n<pre>{text}</pre>")
    return _PAGE.format(body="\n".join(parts))
