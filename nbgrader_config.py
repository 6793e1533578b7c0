"""nbgrader, run from this folder: solutions/ in, notebooks/ out, all that changes in .course/."""

import os
import sys
from pathlib import Path

from nbgrader import preprocessors as stock

from nst_helpers.grading import release

c = get_config()
root = Path(__file__).resolve().parent
volatile = root / ".course"

# nbgrader calls alembic and jupyter by name; they are found without activating the environment.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

c.CourseDirectory.course_id = "nst"
c.CourseDirectory.root = str(root)
c.CourseDirectory.source_directory = "solutions"
c.CourseDirectory.release_directory = "notebooks"
c.CourseDirectory.submitted_directory = str(volatile / "submitted")
c.CourseDirectory.autograded_directory = str(volatile / "autograded")
c.CourseDirectory.feedback_directory = str(volatile / "feedback")
c.CourseDirectory.solution_directory = str(volatile / "solution")
# Pictures that a notebook saved beside itself are nobody's hand-out.
c.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", ".pytest_cache", "my-*"]
c.CourseDirectory.db_url = f"sqlite:///{volatile / 'gradebook.db'}"
c.NbGrader.logfile = str(volatile / "nbgrader.log")
# As nbgrader's own list, but with the two preprocessors of ours.
c.GenerateAssignment.preprocessors = [
    stock.IncludeHeaderFooter,
    release.MeasureSolutions,
    stock.LockCells,
    stock.ClearSolutions,
    stock.ClearOutput,
    stock.CheckCellMetadata,
    stock.ComputeChecksums,
    stock.SaveCells,
    stock.ClearHiddenTests,
    stock.ClearMarkScheme,
    release.TagUnsolved,
    stock.ComputeChecksums,
    stock.CheckCellMetadata,
]
c.ClearSolutions.code_stub = {
    "python": '# YOUR CODE HERE\nraise NotImplementedError("not written yet")'
}
c.Exchange.root = str(volatile / "exchange")

volatile.mkdir(exist_ok=True)
