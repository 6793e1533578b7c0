"""Calling a student's function in another process as if it were here.

Each side of a connection is a :class:`Peer`. A call sends its arguments and gets its result; both
sides keep a table of the tensors, modules and functions that they have in common, so that

- an argument that is returned, or handed to a call-back, is the caller's very object;
- what a function changes in its arguments (numbers, ``.grad``, flags, training mode, hooks) is
  changed in the caller's objects, too;
- a gradient crosses the border: a tensor that was computed on the other side is made by an
  ``autograd.Function`` whose backward asks that side for its vector-Jacobian product;
- functions that are passed or returned can be called from the other side, to any depth.

The judge trusts nothing of what it receives (``wire``); a worker trusts the judge, whose values are
pickled. From the ground up: ``keys`` and ``message``; ``tensors``, ``graphs``, ``modules`` and
``functions``, what both sides know; ``trees`` and ``pickles``, how values travel; ``peer`` and
``judge_peer``, the two sides.
"""

from nst_helpers.grading.remote.judge_peer import BROKEN, ENDED, TOO_LONG, JudgePeer
from nst_helpers.grading.remote.modules import copied_module
from nst_helpers.grading.remote.peer import Peer, WorkerGone
from nst_helpers.grading.remote.trees import Opaque

__all__ = [
    "BROKEN",
    "ENDED",
    "TOO_LONG",
    "JudgePeer",
    "Opaque",
    "Peer",
    "WorkerGone",
    "copied_module",
]
