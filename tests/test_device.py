"""The device module: what is there, what was asked for, and what it says when they differ."""

from __future__ import annotations

import pytest
import torch

from nst_helpers.device import (
    autocast,
    available_devices,
    bfloat16_pays,
    describe_device,
    free_memory,
    pick_device,
    pick_precision,
)
from nst_helpers.errors import DeviceError

CPU = torch.device("cpu")
ABSENT = "xpu" if available_devices()[0].type != "xpu" else "cuda"


def test_the_cpu_is_always_there_and_last():
    assert available_devices()[-1] == CPU


def test_the_accelerator_is_preferred_where_there_is_one():
    expected = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else CPU
    assert pick_device().type == expected.type
    assert pick_device("auto").type == expected.type


def test_argument_beats_environment_and_environment_beats_the_best(monkeypatch):
    monkeypatch.setenv("NST_DEVICE", "cpu")
    assert pick_device() == CPU
    monkeypatch.setenv("NST_DEVICE", ABSENT)
    assert pick_device("cpu") == CPU


@pytest.mark.parametrize("spelling", ["cpu", "cpu:0", CPU, torch.device("cpu", 0)])
def test_every_spelling_of_the_cpu(spelling):
    assert pick_device(spelling) == CPU


@pytest.mark.parametrize("asked", [ABSENT, "cuda:99", "toaster", "", "cpu:1", "meta"])
def test_an_absent_device_is_one_clear_sentence(asked, monkeypatch):
    if not asked:
        monkeypatch.setenv("NST_DEVICE", "toaster")
    with pytest.raises(DeviceError) as caught:
        pick_device(asked or None)
    message = str(caught.value)
    assert (asked or "toaster") in message
    assert "cpu" in message
    assert message.endswith(".")
    assert "\n" not in message


def test_a_missing_device_set_in_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("NST_DEVICE", ABSENT)
    with pytest.raises(DeviceError, match="NST_DEVICE"):
        pick_device()


def test_precision_is_float32_unless_asked(monkeypatch):
    assert pick_precision(CPU) == torch.float32
    assert pick_precision(CPU, "bfloat16") == torch.bfloat16
    assert pick_precision(CPU, torch.bfloat16) == torch.bfloat16
    monkeypatch.setenv("NST_PRECISION", "bfloat16")
    assert pick_precision(CPU) == torch.bfloat16
    assert pick_precision(CPU, "float32") == torch.float32


def test_auto_precision_follows_the_hardware():
    expected = torch.bfloat16 if bfloat16_pays(CPU) else torch.float32
    assert pick_precision(CPU, "auto") == expected


def test_unknown_precision_is_one_clear_sentence():
    with pytest.raises(DeviceError, match=r"'float8'.*choose float32, bfloat16 or auto\."):
        pick_precision(CPU, "float8")


def test_autocast_computes_in_the_precision_and_float32_changes_nothing():
    convolution = torch.nn.Conv2d(3, 4, 3)
    image = torch.rand(1, 3, 8, 8)
    with autocast(CPU, torch.bfloat16):
        assert convolution(image).dtype == torch.bfloat16
    with autocast(CPU, torch.float32):
        assert convolution(image).dtype == torch.float32


def test_free_memory_is_a_number_of_bytes_that_can_be_had():
    assert 2**20 < free_memory(CPU) < 2**50


def test_every_device_here_can_be_described():
    for device in available_devices():
        line = describe_device(device)
        assert "GiB free" in line
        assert "\n" not in line
