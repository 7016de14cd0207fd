"""A kernel compiled for a GPU that need not be there, and what came out, for reading.

Triton carries NVIDIA's assembler, so a laptop can compile for Hopper: from the kernel's Python to Triton's own
representations, to PTX (NVIDIA's instructions for a machine with any number of registers), to the machine code of one
kind of chip.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidsk.kernels.launch import INTERPRETED, triton


@dataclass(frozen=True)
class Compiled:
    """What a kernel became.

    `ttir` and `ttgir`: Triton's representations, without and with the layout of threads. `ptx`; `sass`: the chip's
    instructions, disassembled (empty where Triton brings no disassembler). `registers` of a thread, `stack` in bytes
    (more than 0: registers did not suffice), `shared` memory of a block in bytes.
    """

    ttir: str
    ttgir: str
    ptx: str
    sass: str
    registers: int
    stack: int
    shared: int

    def count(self, instruction: str) -> int:
        """How often the machine code has an instruction whose name begins so, such as HGMMA or MUFU.EX2."""
        return len(re.findall(rf"\b{re.escape(instruction)}", self.sass))

    def body(self) -> str:
        """The instructions of the PTX alone, without declarations, comments and labels of the debugger."""
        lines = (line.split("//")[0].strip() for line in self.ptx.splitlines())
        return "\n".join(line for line in lines if line.endswith(";") and not line.startswith("."))


def compile_kernel(
    kernel: Any,
    types: dict[str, str],
    constants: dict[str, Any],
    *,
    capability: int = 90,
    warps: int = 4,
    stages: int = 3,
    most_registers: int | None = None,
) -> Compiled:
    """Compile a `@triton.jit` or `@gluon.jit` function for a GPU of this compute capability; none needs to be here.

    `types` gives each argument's, such as ``{"x": "*bf16", "size": "i32"}``, and `constants` the values of the
    `tl.constexpr`. ``"i32:16"`` promises a multiple of 16, which Triton finds out by itself when a kernel is called.
    `most_registers`: of a thread, at the start. Raises `RuntimeError` without triton, or with the compiler's words
    where it refuses.
    """
    if triton is None:
        raise RuntimeError("triton is not installed; pip install triton (Linux), or read the PTX in chapter 09")
    if not INTERPRETED:
        return _compile(kernel, types, constants, capability, warps, stages, most_registers)
    # With the interpreter on, triton's own functions are interpreted too, so another process compiles.
    order = {"kernel": _address(kernel), "types": types, "constants": constants, "capability": capability,
             "warps": warps, "stages": stages, "most_registers": most_registers}  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "minidsk.kernels.compiled"], input=json.dumps(order), text=True,
                          capture_output=True, check=False, env={**os.environ, "TRITON_INTERPRET": "0"})  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{kernel.fn.__name__}: {done.stderr.strip().splitlines()[-1]}")
    return Compiled(**json.loads(done.stdout))


def _address(kernel: Any) -> dict[str, str]:
    function = kernel.fn
    if function.__module__ != "__main__":
        return {"module": function.__module__, "name": function.__name__}
    return {"source": textwrap.dedent(inspect.getsource(function)), "name": function.__name__}  # of a notebook


def _compile(
    kernel: Any, types: dict[str, str], constants: dict[str, Any], capability: int, warps: int, stages: int,
    most_registers: int | None,
) -> Compiled:  # fmt: skip
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource
    if kernel.is_gluon():
        source = importlib.import_module("triton.experimental.gluon._runtime").GluonASTSource

    names = kernel.arg_names
    missing = [name for name in names if name not in types and name not in constants]
    if missing:
        raise ValueError(f"{missing[0]}: neither a type nor a constant was given for it")
    signature = {name: types.get(name, "constexpr").removesuffix(":16") for name in names}
    # So are pointers of torch. It makes wide loads possible.
    aligned = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(names)
               if signature[name].startswith("*") or types.get(name, "").endswith(":16")}  # fmt: skip
    values = {(names.index(name),): value for name, value in constants.items()}
    made = triton.compile(
        source(fn=kernel, signature=signature, constexprs=values, attrs=aligned),
        target=GPUTarget("cuda", capability, 32),
        options={"num_warps": warps, "num_stages": stages, "maxnreg": most_registers},
    )  # fmt: skip
    usage, sass = _disassemble(made.asm["cubin"])
    found = re.search(r"REG:(\d+) STACK:(\d+)", usage)
    registers, stack = (int(found[1]), int(found[2])) if found else (0, 0)
    asm = made.asm  # Gluon starts where Triton's second representation is
    return Compiled(asm.get("ttir", ""), asm["ttgir"], asm["ptx"], sass, registers, stack, made.metadata.shared)


def _disassemble(cubin: bytes) -> tuple[str, str]:
    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        calls = ["cuobjdump", "--dump-resource-usage"], ["nvdisasm", "-c"]
        return tuple(  # type: ignore[return-value]
            subprocess.run([str(tools / tool), option, str(path)], capture_output=True, text=True, check=False).stdout
            if (tools / tool).exists() else "" for tool, option in calls
        )  # fmt: skip


def _serve() -> None:
    """Compile what standard input asks for, and print the result: the other half of `compile_kernel`."""
    order = json.load(sys.stdin)
    where, sizes = order["kernel"], (order["capability"], order["warps"], order["stages"], order["most_registers"])
    with tempfile.TemporaryDirectory() as folder:
        if "source" in where:  # triton reads a kernel's source from its file
            lines = f"from minidsk.kernels.launch import jit, tl, triton\n\n\n{where['source']}\n"
            Path(folder, "kernel_of_notebook.py").write_text(lines, encoding="utf-8")
            sys.path.insert(0, folder)
        module = importlib.import_module(where.get("module", "kernel_of_notebook"))
        made = _compile(getattr(module, where["name"]), order["types"], order["constants"], *sizes)
    json.dump(vars(made), sys.stdout)


if __name__ == "__main__":
    _serve()
