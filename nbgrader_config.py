"""nbgrader, run from this folder: solutions/ in, notebooks/ out, all that changes in .course/."""

import os
import sys
from pathlib import Path

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
c.Exchange.root = str(volatile / "exchange")

volatile.mkdir(exist_ok=True)
