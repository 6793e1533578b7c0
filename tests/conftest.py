"""Shared set-up: two cores at most, and no setting of the person running the tests leaks in."""

from __future__ import annotations

import pytest
import torch

torch.set_num_threads(1)  # xdist runs two workers on two cores


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("NST_DEVICE", "NST_PRECISION", "NST_WEIGHTS", "NST_IMAGES"):
        monkeypatch.delenv(variable, raising=False)
