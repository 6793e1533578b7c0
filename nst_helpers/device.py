"""Which device computes, in which precision, and how much memory it has left.

The choice, from strongest to weakest: the argument, the environment variable, the best there is.
Imports nothing of the package but its errors.
"""

from __future__ import annotations

import contextlib
import os

import psutil
import torch

from nst_helpers.errors import DeviceError

DEVICE_VARIABLE = "NST_DEVICE"
PRECISION_VARIABLE = "NST_PRECISION"
_PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def available_devices() -> list[torch.device]:
    """Return every device PyTorch can compute on here, the best first and the CPU last.

    CUDA, MPS and XPU are found through ``torch.accelerator`` (PyTorch documentation,
    "Accelerators").
    """
    devices = []
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator().type
        devices = [torch.device(kind, i) for i in range(torch.accelerator.device_count())]
    return [*devices, torch.device("cpu")]


def pick_device(requested: str | torch.device | None = None) -> torch.device:
    """Return the device to compute on.

    Args:
        requested: a device such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``; None or ``"auto"``
            reads the environment variable ``NST_DEVICE``, and without that takes the best there is.

    Raises:
        DeviceError: the device asked for is unknown or not on this machine.
    """
    asked, origin = requested, "was asked for"
    if asked in (None, "auto"):
        asked, origin = os.environ.get(DEVICE_VARIABLE), f"is set in {DEVICE_VARIABLE}"
    found = available_devices()
    if asked in (None, "", "auto"):
        return found[0]
    here = ", ".join(str(device) for device in found)
    try:
        device = torch.device(asked)
    except (RuntimeError, TypeError):
        raise DeviceError(
            f"Device {str(asked)!r} {origin}, which is no device PyTorch knows; "
            f"choose one of those on this machine: {here}."
        ) from None
    for candidate in found:
        # "cuda" without a number means the first card; "cpu:0" means the CPU.
        if candidate.type == device.type and (device.index or 0) == (candidate.index or 0):
            return candidate
    raise DeviceError(
        f"Device {str(asked)!r} {origin}, but PyTorch finds only {here} on this machine; "
        f"choose one of those, or leave the choice open."
    )


def bfloat16_pays(device: torch.device) -> bool:
    """Return whether bfloat16 multiplications run in hardware on ``device``.

    Where they do not, autocast is slower than float32, not faster.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "xpu":
        return True
    if device.type == "cpu":
        # Public from PyTorch 2.12 on; older versions are taken not to know, and stay in float32.
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def pick_precision(
    device: torch.device,
    requested: str | torch.dtype | None = None,
    default: str = "float32",
) -> torch.dtype:
    """Return the dtype that convolutions are computed in.

    Args:
        device: where the computation runs.
        requested: ``"float32"``, ``"bfloat16"`` or ``"auto"`` (bfloat16 where
            :func:`bfloat16_pays`); None reads the environment variable ``NST_PRECISION``.
        default: what is taken if neither says anything.

    Raises:
        DeviceError: the precision is unknown.
    """
    asked = requested if requested is not None else os.environ.get(PRECISION_VARIABLE)
    asked = asked or default
    if asked == "auto":
        return torch.bfloat16 if bfloat16_pays(device) else torch.float32
    name = str(asked).removeprefix("torch.")
    if name not in _PRECISIONS:
        raise DeviceError(f"Precision {name!r} was asked for; choose float32, bfloat16 or auto.")
    return _PRECISIONS[name]


def autocast(device: torch.device, precision: torch.dtype) -> contextlib.AbstractContextManager:
    """Return a context in which convolutions run in ``precision``; float32 changes nothing.

    Source: PyTorch documentation, "Automatic Mixed Precision". Parameters and pixels stay float32.
    """
    if precision == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=precision)


def free_memory(device: torch.device) -> int:
    """Return how many bytes can still be allocated on ``device``.

    For the CPU this is memory that programs can have without swapping; for MPS what is left of the
    size Apple recommends to stay under.
    """
    if device.type == "cpu":
        return psutil.virtual_memory().available
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return getattr(torch, device.type).mem_get_info(device)[0]


def describe_device(device: torch.device) -> str:
    """Return one line for people: the device's name, its size and the memory that is free."""
    free = f"{free_memory(device) / 2**30:.1f} GiB free"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"CPU, {threads} thread{'s' * (threads > 1)}, {free}"
    if device.type == "mps":
        return f"Apple GPU (mps), {free}"
    name = getattr(torch, device.type).get_device_name(device)
    return f"{name} ({device}), {free}"
