"""What the judge knows about a lesson: its graded cells, and which other cells they need.

It is read from the lesson's source in solutions/, never from a submission.
"""

from __future__ import annotations

import ast
import re
import symtable
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nbformat

from nst_helpers.errors import NstError
from nst_helpers.grading.release import DEMONSTRATION, NEEDS_ANSWER

Role = Literal["setup", "solution", "graded", "demonstration", "needs-answer"]

# The first line of a graded cell, as in "# Graded, 2 bonus points: the values".
_FIRST_LINE = re.compile(r"#\s*Graded,[^:]*:\s*(?P<title>.*)")
_HIDDEN_NOTE = re.compile(r"\s*This test is hidden.*", re.IGNORECASE)
_AUTOTEST = re.compile(r"^(?P<indent>\s*)###\s*(HIDDEN\s+)?AUTOTEST\s+(?P<expression>.*\S)\s*$")
_GRADED_LINE = re.compile(r"\s*#\s*Graded, \d")
_WORD = re.compile(r"[A-Za-z_]\w*")
AGREE = "__nst_agree__"


@dataclass(frozen=True)
class Cell:
    """One code cell of a lesson's source.

    Attributes:
        id: its cell id, which for a graded cell is its grade_id.
        role: what it is for.
        source: its text; of a graded cell with its AUTOTEST lines turned into calls of ``AGREE``.
        points: of a graded cell.
        exercise: of a graded cell, the grade_id before its last hyphen.
        title: of a graded cell, what it says it tests.
        bonus: of a graded cell, whether its points come on top: the first line or the heading above
            says so.
        hidden: of a graded cell, whether students see less of it.
        expressions: of a graded cell, what its AUTOTEST lines measure.
    """

    id: str
    role: Role
    source: str
    points: float = 0.0
    exercise: str = ""
    title: str = ""
    bonus: bool = False
    hidden: bool = False
    expressions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """A lesson's code cells in order.

    Attributes:
        name: the name of its folder.
        number: what the name begins with; 0 where it begins with no number.
        cells: all its code cells.
    """

    name: str
    number: int
    cells: tuple[Cell, ...]

    @property
    def given(self) -> set[str]:
        """The texts of the cells that are not for a student to write, without spaces around."""
        return {cell.source.strip() for cell in self.cells if cell.role != "solution"}

    @property
    def graded(self) -> list[Cell]:
        """The cells that give points, in order."""
        return [cell for cell in self.cells if cell.role == "graded"]

    def needed(self) -> list[Cell]:
        """Return the cells to run for the graded ones: those, solutions, and what both use."""
        wanted = [cell for cell in self.cells if cell.role in ("graded", "solution")]
        kept = _with_what_they_use(
            [cell.source for cell in wanted],
            {i: cell.source for i, cell in enumerate(self.cells) if cell.role == "setup"},
        )
        return [
            cell
            for i, cell in enumerate(self.cells)
            if cell.role != "setup" or i in kept
            if cell.role in ("graded", "solution", "setup")
        ]


def read_lesson(solutions: Path, name: str) -> Lesson:
    """Return the lesson ``name``.

    Raises:
        NstError: there is none of that name.
    """
    path = solutions / name / f"{name}.ipynb"
    if not path.is_file():
        known = ", ".join(sorted(each.name for each in solutions.iterdir() if each.is_dir()))
        raise NstError(f"There is no lesson {name!r} in {solutions}; choose one of {known}.")
    cells, heading = [], ""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            headings = [line for line in cell.source.splitlines() if line.startswith("#")]
            heading = (headings or [heading])[-1]
        elif cell.cell_type == "code":
            cells.append(_cell(cell, heading))
    digits = re.match(r"\d+", name)
    return Lesson(name, int(digits.group()) if digits else 0, tuple(cells))


def _cell(cell: Any, heading: str) -> Cell:
    grader, tags = cell.metadata.get("nbgrader", {}), cell.metadata.get("tags", [])
    if grader.get("grade"):
        return _graded(cell.source, grader, heading)
    role: Role = "setup"
    if grader.get("solution"):
        role = "solution"
    elif DEMONSTRATION in tags:
        role = "demonstration"
    elif NEEDS_ANSWER in tags:
        role = "needs-answer"
    return Cell(cell.get("id", ""), role, cell.source)


def _graded(source: str, grader: dict[str, Any], heading: str) -> Cell:
    first = source.strip().split("\n")[0]
    titled = _FIRST_LINE.match(first)
    expressions: list[str] = []
    lines = []
    for line in source.split("\n"):
        found = _AUTOTEST.match(line)
        if found:
            lines.append(f"{found['indent']}{AGREE}({len(expressions)}, {found['expression']})")
            expressions.append(found["expression"])
        else:
            lines.append(line)
    grade_id = grader["grade_id"]
    return Cell(
        id=grade_id,
        role="graded",
        source="\n".join(lines),
        points=float(grader.get("points") or 0),
        exercise=grade_id.rpartition("-")[0] or grade_id,
        title=_HIDDEN_NOTE.sub("", titled["title"]).rstrip(".") if titled else "",
        bonus="bonus" in first.lower() or "bonus" in heading.lower(),
        hidden="BEGIN HIDDEN TESTS" in source or "HIDDEN AUTOTEST" in source,
        expressions=tuple(expressions),
    )


# --- which cells a submission's process has to run ------------------------------------------------


def cells_to_run(lesson: Lesson, submission: Sequence[Any]) -> list[tuple[int, str]]:
    """Return (index, source) of the cells of a submission that its answers may depend on.

    All that the student wrote or changed is run, and of the lesson's own cells those that it uses.
    Graded cells and demonstrations are not.

    Args:
        lesson: the lesson's source.
        submission: the submission's code cells in order, as nbformat cells or as text.
    """
    graded = {cell.id for cell in lesson.cells if cell.role == "graded"}
    given = {
        cell.source.strip(): cell.role
        for cell in lesson.cells
        if cell.role in ("setup", "needs-answer", "demonstration")
    }
    own, optional = {}, {}
    for index, cell in enumerate(submission):
        source, tags, grader, name = _parts(cell)
        role = given.get(source.strip())
        if grader.get("grade") and not grader.get("solution"):
            continue
        if name in graded or _GRADED_LINE.match(source) or DEMONSTRATION in tags:
            continue
        if role == "demonstration" or not source.strip():
            continue
        (own if role is None else optional)[index] = source
    kept = _with_what_they_use(list(own.values()), optional)
    return [(i, source) for i, source in sorted({**own, **optional}.items()) if i in own | kept]


def _parts(cell: Any) -> tuple[str, list, dict, str]:
    """Return a cell's source, tags, nbgrader metadata and id, whatever it is made of."""
    if isinstance(cell, str):
        return cell, [], {}, ""
    source = cell.get("source", "")
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    tags, grader = metadata.get("tags"), metadata.get("nbgrader")
    return (
        source,
        tags if isinstance(tags, list) else [],
        grader if isinstance(grader, dict) else {},
        str(cell.get("id", "")),
    )


def _with_what_they_use(sources: list[str], optional: dict[int, str]) -> dict[int, str]:
    """Return those of ``optional`` cells that define or change what is used, directly or not."""
    used = set().union(*map(names_used, sources)) if sources else set()
    kept: dict[int, str] = {}
    while True:
        more = {
            index: source
            for index, source in optional.items()
            if index not in kept and (names_bound(source) & used or _acts_on(source, used))
        }
        if not more:
            return kept
        kept |= more
        used |= set().union(*map(names_used, more.values()))


def _acts_on(source: str, used: set[str]) -> bool:
    """Return whether a cell changes torch's settings or an object of one of these names."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return True
    changed: list[ast.expr] = []
    for statement in statements:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            changed.append(statement.value.func)
        elif isinstance(statement, (ast.Assign, ast.AugAssign)):
            targets = getattr(statement, "targets", None) or [statement.target]
            changed += [target for target in targets if not isinstance(target, ast.Name)]
    roots = {name for each in changed if (name := _root_name(each))}
    return bool(roots & (used | {"torch"}) - _SHOWING)


_SHOWING = {"print", "display", "check"}


def _root_name(expression: ast.expr) -> str | None:
    """Return ``a`` for ``a.b[c].d``; None for a plain name and for anything else."""
    if isinstance(expression, ast.Name):
        return None
    while isinstance(expression, (ast.Attribute, ast.Subscript)):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else None


def names_bound(source: str) -> set[str]:
    """Return the names that a cell defines, imports or assigns at its top level."""
    try:
        table = symtable.symtable(source, "<cell>", "exec")
    except (SyntaxError, ValueError):
        return set(_WORD.findall(source))
    return {
        symbol.get_name()
        for symbol in table.get_symbols()
        if symbol.is_assigned() or symbol.is_imported()
    }


def names_used(source: str) -> set[str]:
    """Return the global names that a cell takes from elsewhere."""
    try:
        statements = ast.parse(source).body
        table = symtable.symtable(source, "<cell>", "exec")
    except (SyntaxError, ValueError):
        return set(_WORD.findall(source))
    bound: set[str] = set()
    used: set[str] = set()
    for statement in statements:
        names = [each for each in ast.walk(statement) if isinstance(each, ast.Name)]
        if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            loaded = {each.id for each in names if isinstance(each.ctx, ast.Load)}
            used |= loaded - bound - _own_variables(statement)
            bound |= {each.id for each in names if isinstance(each.ctx, ast.Store)}
        else:
            outside = [*statement.decorator_list, *getattr(statement, "bases", [])]
            inside = [each for part in outside for each in ast.walk(part)]
            used |= {each.id for each in inside if isinstance(each, ast.Name)} - bound
            bound.add(statement.name)
    # What functions refer to is looked up when they run.
    return used | (set(_globals(table.get_children())) - bound)


def _own_variables(statement: ast.stmt) -> set[str]:
    """Return the variables that live only inside of a statement's comprehensions."""
    parts = [each.target for each in ast.walk(statement) if isinstance(each, ast.comprehension)]
    inside = [each for part in parts for each in ast.walk(part)]
    return {each.id for each in inside if isinstance(each, ast.Name)}


def _globals(tables: Iterable[symtable.SymbolTable]) -> Iterable[str]:
    for table in tables:
        yield from (symbol.get_name() for symbol in table.get_symbols() if symbol.is_global())
        yield from _globals(table.get_children())


def names_defined(source: str) -> list[str]:
    """Return what a solution cell offers to others: its functions, classes and variables."""
    names: list[str] = []
    for statement in ast.parse(source).body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            names.append(statement.name)
        elif isinstance(statement, (ast.Assign, ast.AnnAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names += [
                each.id
                for target in targets
                for each in ast.walk(target)
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)
            ]
    return names


def engine_used(
    lesson: Lesson, sources: Iterable[str], forbidden: Iterable[tuple[str, str]]
) -> list[str]:
    """Return the engine's functions that a student's cells name although the lesson asks for them.

    Args:
        lesson: the lesson; what its own cells import may be there, but not be used.
        sources: the cells that a submission has to run.
        forbidden: (module, function) pairs, ``"*"`` for a whole module.
    """
    names: dict[str, str] = {}
    found: dict[str, None] = {}
    for source in sources:
        tree = _tree(source)
        if tree is None:
            continue
        names |= (imported := _imported(tree))
        if source.strip() in lesson.given:
            continue
        for path in (*imported.values(), *_paths(tree, names)):
            for module, name in forbidden:
                whole = f"nst_helpers.{module}" + ("" if name == "*" else f".{name}")
                if path == whole or path.startswith(f"{whole}."):
                    found[whole] = None
    return list(found)


def reached_for(lesson: Lesson, sources: Iterable[str]) -> list[str]:
    """Return what a student's cells name that knows right answers or marks.

    Modules of the checker, but for what every notebook imports of it; and in texts the folders and
    files in which solutions, submissions and marks lie.

    Args:
        lesson: the lesson; its own cells are passed over.
        sources: the cells that a submission has to run.
    """
    found: dict[str, None] = {}
    for source in sources:
        tree = None if source.strip() in lesson.given else _tree(source)
        if tree is None:
            continue
        names = _imported(tree)
        for path in (*names.values(), *_paths(tree, names)):
            module = path.removeprefix(_CHECKER).split(".")[0]
            if path.startswith(_CHECKER) and module not in _SHARED:
                found[_CHECKER + module] = None
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and any(place in text for place in _PLACES):
                found[repr(_shortened(text))] = None
    return list(found)


_MOST_NAMED = 80
_CHECKER = "nst_helpers.checker."
_SHARED = {"check", "review", "EXERCISES", "NotYet", "Report", "Finding"}
_PLACES = (_CHECKER, "nst_helpers/checker", "solutions/", "gradebook.db", ".course/")


def _shortened(text: str) -> str:
    """Return a text without its middle if it is long."""
    half = _MOST_NAMED // 2
    return text if len(text) <= _MOST_NAMED else f"{text[:half]}...{text[-half:]}"


def _tree(source: str) -> ast.Module | None:
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def _imported(tree: ast.AST) -> dict[str, str]:
    """Return what imported names stand for: ``{"l": "nst_helpers.losses"}``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        elif isinstance(node, ast.Import):
            for each in node.names:
                names[each.asname or each.name.split(".")[0]] = (
                    each.name if each.asname or "." not in each.name else each.name.split(".")[0]
                )
                if "." in each.name and not each.asname:
                    names[f" {each.name}"] = each.name  # imported, though under no name of its own
    return names


def _paths(tree: ast.AST, names: dict[str, str]) -> Iterable[str]:
    """Yield every dotted name in full, as its imports tell."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            first, *rest = ast.unparse(node).split(".")
            if first in names:
                yield ".".join([names[first], *rest])
