"""What two processes have in common, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from nst_helpers.grading.remote.functions import Functions
from nst_helpers.grading.remote.modules import Modules
from nst_helpers.grading.remote.tensors import Tensors


@dataclass(frozen=True)
class Tables:
    """The tensors, modules and functions that both sides know."""

    tensors: Tensors
    modules: Modules
    functions: Functions
