"""The precision that networks are trained in, at encoding (overfitted codecs) or once and for all."""

import torch

CPU_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # names of the capability, of x86 and Arm processors


def mixed_precision(device_type: str) -> torch.autocast:
    """bfloat16 for matrix products where the device computes in it.

    Other processors emulate it and take five times as long for it as for float32, which they are left with.
    """
    native = device_type != "cpu" or any(torch.cpu.get_capabilities().get(name) for name in CPU_BFLOAT16)
    return torch.autocast(device_type, torch.bfloat16, enabled=native)
