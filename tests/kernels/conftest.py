"""On a machine without a GPU the kernels run in Triton's interpreter; see tests/conftest.py."""

import json
import os
import subprocess
import sys

import pytest
import torch

from minidsk.kernels.compiled import Compiled

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BOUNDS = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1e-2}


@pytest.fixture
def device():
    """The GPU where there is one."""
    return DEVICE


@pytest.fixture(autouse=True)
def poison(monkeypatch):
    """Memory that torch hands out holds nan: an element that a kernel forgets to write shows."""
    for name in ("empty", "empty_like"):
        make = getattr(torch, name)

        def poisoned(*args, make=make, **kwargs):
            new = make(*args, **kwargs)
            return new.fill_(float("nan")) if new.is_floating_point() and new.itemsize > 1 else new

        monkeypatch.setattr(torch, name, poisoned)


@pytest.fixture
def normal(device):
    """Draws normal numbers of a shape and dtype: another set at each call, the same in each run of the tests.

    In bf16 a sum of few terms can cancel, and a fresh draw now and then leaves more rounding than a bound has room for.
    """
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape, dtype=torch.float32, scale=1.0, grad=False):
        x = (torch.randn(*shape, generator=generator, device=device) * scale).to(dtype)
        return x.requires_grad_(grad)

    return draw


@pytest.fixture
def close():
    """Asserts a relative error that rounding explains, against a float64 result; nan never passes."""

    def compare(ours, exact, dtype=None, times=1.0):
        dtype = dtype or ours.dtype
        error = (ours.double() - exact.double()).norm() / exact.double().norm().clamp(min=1e-30)
        assert error <= times * BOUNDS[dtype], f"relative error {error:.2e}, dtype {dtype}"

    return compare


SERVER = """
import importlib, json, sys
from minidsk.kernels.compiled import compile_kernel
for line in sys.stdin:
    module, name, types, constants, options = json.loads(line)
    kernel = getattr(importlib.import_module(module), name)
    print(json.dumps(vars(compile_kernel(kernel, types, constants, **options))), flush=True)
"""


@pytest.fixture(scope="session")
def compiled():
    """`compile_kernel` for kernels of the package, in one process without the interpreter: a start takes seconds."""
    pipe, environment = subprocess.PIPE, os.environ | {"TRITON_INTERPRET": "0"}
    with subprocess.Popen([sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, env=environment) as child:

        def ask(kernel, types, constants, **options):
            print(json.dumps([kernel.fn.__module__, kernel.fn.__name__, types, constants, options]), file=child.stdin,
                  flush=True)  # fmt: skip
            return Compiled(**json.loads(child.stdout.readline()))

        yield ask
        child.stdin.close()
