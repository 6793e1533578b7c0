"""Many runs at once, on one machine or many: every combination of some settings, each kept.

    from nst_helpers import sweep

    runs = sweep.submit("spec.yaml", "my-sweep")     # returns at once
    runs.progress()                                   # 3 of 8 jobs done, 2 running, 3 waiting
    runs.table(), runs.sheet()                        # what there is so far
    runs.wait()

``spec`` says what is asked for and checks it, ``job`` is what a worker does, ``folder`` what lies
on disk, ``workers`` starts processes or finds those of a cluster, ``running`` watches over it all,
and ``command`` is ``nst sweep``. See docs/sweeps.md.
"""

from __future__ import annotations

from nst_helpers.sweep.folder import Outcome
from nst_helpers.sweep.running import Progress, Running, Sweep, estimate, submit
from nst_helpers.sweep.spec import Job, Plan, SweepError, planned
from nst_helpers.sweep.workers import connected

__all__ = [
    "Job",
    "Outcome",
    "Plan",
    "Progress",
    "Running",
    "Sweep",
    "SweepError",
    "connected",
    "estimate",
    "planned",
    "submit",
]
