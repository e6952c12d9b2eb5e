"""What a process keeps while it computes batches of ever new lengths."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CONVOLVE = """
import torch
from orature.train.devices import prepare_device

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

prepare_device("cpu", 1)
layer = torch.nn.Conv2d(1, 16, 3, stride=2, padding=1)
with torch.inference_mode():
    for count in range(400):
        layer(torch.zeros(1, 1, 200 + count, 80))
        if count == 100:
            before = resident_mb()
print(resident_mb() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_the_number_of_lengths() -> None:
    """In a process of its own, since the bound counts from the first computation on."""
    done = subprocess.run([sys.executable, "-c", _CONVOLVE], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 20
