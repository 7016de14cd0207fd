import pytest
import torch

from minidsk.kernels import fp8, ptx
from minidsk.kernels.compiled import compile_kernel
from minidsk.kernels.launch import tl, triton

MAP = {"x": "*bf16", "y": "*bf16", "size": "i32:16"}


@triton.jit
def doubled(x, y, size, BLOCK: tl.constexpr):
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + place, 2 * tl.load(x + place, mask=place < size), mask=place < size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("size", [1, 37, 5000])
def test_the_same_function_with_and_without(size, inline, dtype, normal, close):
    x = normal(size, dtype=dtype)
    close(ptx.silu(x, inline), torch.nn.functional.silu(x.double()), torch.bfloat16)
    close(ptx.exp2(x, inline), torch.exp2(x.double()), torch.bfloat16)
    assert torch.equal(ptx.to_bf16(x.float(), inline), x.bfloat16()) or not x.is_cuda  # the interpreter cuts off


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("shape", [(4,), (3, 8), (5000, 12)], ids=str)
def test_copies(shape, inline, normal):
    x = normal(*shape)
    assert torch.equal(ptx.copy(x, inline), x)
    assert torch.equal(ptx.copy(x.bfloat16().repeat(1, 2), inline), x.bfloat16().repeat(1, 2))


def test_a_copy_of_odd_bytes_is_refused(normal):
    with pytest.raises(ValueError, match="4 bytes"):
        ptx.copy(normal(1))


@pytest.mark.parametrize(
    ("name", "line", "instruction"),
    [("silu", ptx.TANH, "tanh.approx.f32"), ("exp2", ptx.EXP2_PAIR, "ex2.approx.ftz.bf16x2")],
)
def test_the_line_is_in_the_ptx(name, line, instruction, compiled):
    plain, inline = (compiled(ptx._map, MAP, {"NAME": name, "LINE": text, "TIMES": 1, "BLOCK": 1024})
                     for text in ("", line))  # fmt: skip
    assert instruction in inline.ptx
    assert instruction not in plain.ptx
    assert len(inline.body().splitlines()) < len(plain.body().splitlines())


def test_the_compiler_packs_by_itself(compiled):
    types = MAP | {"x": "*fp32"}
    made = [compiled(ptx._map, types, {"NAME": "to_bf16", "LINE": line, "TIMES": 1, "BLOCK": 1024})
            for line in ("", ptx.TO_BF16_PAIR)]  # fmt: skip
    assert all("cvt.rn.bf16x2.f32" in one.ptx for one in made)
    assert made[0].count("F2FP") == made[1].count("F2FP")


def test_a_kernel_of_one_s_own_and_its_pieces():
    made = compile_kernel(doubled, {"x": "*fp32", "y": "*fp32", "size": "i32"}, {"BLOCK": 128})
    assert "tt.load" in made.ttir
    assert "#ttg" in made.ttgir
    assert ".target sm_90a" in made.ptx
    assert made.count("LDG") == made.count("STG") == 1
    assert made.registers > 0
    assert made.stack == 0
    assert "ld.global" in made.body()
    assert ".param" not in made.body().split("ld.param")[0]


def test_products_use_the_tensor_cores_of_hopper():
    made = compile_kernel(
        fp8._matmul_unscaled, {"a": "tensordesc<fp8e4nv[64,128]>", "b": "tensordesc<fp8e4nv[64,128]>", "y": "*fp32",
                               "m": "i32", "n": "i32", "k": "i32"},
        {"PROMOTE_EVERY": 128, "ROWS": 64, "DEPTH": 128},
    )  # fmt: skip
    assert made.count("QGMMA") > 0
    assert made.count("UTMALDG") > 0


def test_what_was_forgotten_is_named():
    with pytest.raises((ValueError, RuntimeError), match="y: neither a type nor a constant"):
        compile_kernel(doubled, {"x": "*fp32", "size": "i32"}, {"BLOCK": 128})
