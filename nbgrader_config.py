"""nbgrader, run from this folder: solutions/ in, notebooks/ out, all that changes in .course/."""

import os
import sys
import warnings
from pathlib import Path

from nbconvert.preprocessors import ClearMetadataPreprocessor, CSSHTMLHeaderPreprocessor
from nbgrader import preprocessors as stock
from nbgrader.apps import api, autogradeapp

from nst_helpers.grading import plugins, release, repair

c = get_config()
root = Path(__file__).resolve().parent
volatile = root / ".course"

# nbgrader calls alembic and jupyter by name; they are found without activating the environment.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])

# The gradebook's library warns of how nbgrader uses it, for every student, between the lines that
# are meant for people.
warnings.filterwarnings("ignore", module=r"nbgrader\.api")

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
c.ClearSolutions.code_stub = {"python": repair.STUB}

# Grading. nbgrader has no setting for the class that grades; these two modules use it, the command
# line's and formgrader's.
autogradeapp.Autograde = api.Autograde = plugins.Autograde
c.Autograde.repaired_directory = str(volatile / "repaired")
c.Autograde.autograde_preprocessors = [
    stock.Execute,
    plugins.StderrIsNoError,
    ClearMetadataPreprocessor,
    stock.LimitOutput,
    stock.SaveAutoGrades,
    stock.AssignLatePenalties,
    stock.CheckCellMetadata,
]
c.GenerateFeedback.preprocessors = [
    stock.GetGrades,
    plugins.HideTests,
    CSSHTMLHeaderPreprocessor,
]
c.ExportPlugin.to = str(volatile / "grades.csv")

# The exchange: a folder that students and teachers share, if there is one.
c.Exchange.root = os.environ.get("NST_EXCHANGE", str(volatile / "exchange"))
c.Exchange.cache = str(volatile / "cache")
c.ExchangeFactory.collect = plugins.Collect
c.ExchangeFactory.release_feedback = plugins.ReleaseFeedback

volatile.mkdir(exist_ok=True)
