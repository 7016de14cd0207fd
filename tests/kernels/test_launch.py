"""Where kernels run, and what is said where they do not."""

import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from minidsk.kernels import launch

USE_ALL = """
import torch
from minidsk.kernels.attention import attention, attention_reference
from minidsk.kernels.cross_entropy import cross_entropy, cross_entropy_reference, linear_cross_entropy
from minidsk.kernels.launch import why_not
from minidsk.kernels.rmsnorm import rms_norm, rms_norm_reference
from minidsk.kernels.softmax import softmax, softmax_reference

x, targets = torch.randn(4, 8), torch.zeros(4, dtype=torch.long)
assert torch.equal(softmax(x), softmax_reference(x))
assert torch.equal(rms_norm(x, x[0]), rms_norm_reference(x, x[0]))
assert torch.equal(cross_entropy(x, targets), cross_entropy_reference(x, targets))
assert torch.equal(linear_cross_entropy(x, x, targets), cross_entropy_reference(x @ x.T, targets))
assert torch.equal(attention(x[None, None], x[None, None], x[None, None]), attention_reference(*[x[None, None]] * 3))
print(why_not(x))
"""


def say(before, **environment):
    """What a fresh process says after it has used every kernel on a CPU."""
    run = subprocess.run([sys.executable, "-c", before + USE_ALL], capture_output=True, text=True, check=False,
                         env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment})  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_without_triton_the_references_do_the_work():
    assert say("import sys; sys.modules['triton'] = None", TRITON_INTERPRET="1") == "triton is not installed"


@pytest.mark.skipif(launch.triton is None, reason="triton is not installed")
def test_without_gpu_and_interpreter_the_references_do_the_work():
    assert say("", TRITON_INTERPRET="0") == "no GPU here, and TRITON_INTERPRET was not 1 when triton was imported"


def test_formats_that_kernels_do_not_know():
    assert launch.why_not(torch.zeros(2, dtype=torch.float64)) == (
        "kernels are for float32, float16 and bfloat16, not float64"
        if launch.triton
        else "triton is not installed"
    )


def test_an_older_interpreter_counts_to_a_number_that_a_kernel_was_given():
    class Tensor:
        handle = SimpleNamespace(data=np.array([3], dtype=np.int32))

    def as_triton_3_6(tensor, scope):
        tensor.__index__ = lambda number: int(number.handle.data)
        scope.append(tensor)

    interpreter, scope = SimpleNamespace(_patch_lang_tensor=as_triton_3_6), []
    launch._loop_to_a_number(interpreter)
    interpreter._patch_lang_tensor(Tensor, scope)
    assert list(range(0, Tensor(), 2)) == [0, 2]
    assert scope == [Tensor]  # the interpreter's own methods are still there, to be restored after a launch


@pytest.mark.parametrize(
    ("name", "capability", "lacks", "takes"),
    [
        ("Tesla T4", (7, 5), "Tesla T4 (compute capability 7.5) has no bfloat16; use float16", torch.float16),
        ("Tesla P100", (6, 0), "Tesla P100 (compute capability 6.0) is older than Triton supports", None),
        ("NVIDIA A100", (8, 0), None, torch.bfloat16),
    ],
)
def test_older_gpus(name, capability, lacks, takes, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index=0: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    launch._gpu_lacks.cache_clear()
    assert launch._gpu_lacks(0, torch.bfloat16) == lacks
    if takes:
        assert launch._gpu_lacks(0, takes) is None
    assert not launch.has_fp8(0)
    launch._gpu_lacks.cache_clear()
