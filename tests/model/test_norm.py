import torch

from minidsk.model.norm import RMSNorm
from minidsk.precision import WideBuffers, at_least_float32


def test_rms_norm_against_its_formula():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 7, dtype=torch.float64, generator=generator)
    norm = RMSNorm(7, eps=0.1).double()
    norm.weight.data.normal_(generator=generator)
    expected = x / (x.pow(2).sum(-1, keepdim=True) / 7 + 0.1).sqrt() * norm.weight
    torch.testing.assert_close(norm(x), expected)


def test_bfloat16_is_normalised_in_float32_and_cast_before_the_weight():
    x = torch.randn(64, 96, generator=torch.Generator().manual_seed(0)).bfloat16() * 3
    norm = RMSNorm(96).bfloat16()
    norm.weight.data.fill_(1.7)
    wide = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
    assert torch.equal(norm(x), wide.bfloat16() * norm.weight)


def test_at_least_float32():
    for given, expected in ((torch.bfloat16, torch.float32), (torch.float16, torch.float32),
                            (torch.float32, torch.float32), (torch.float64, torch.float64)):  # fmt: skip
        assert at_least_float32(torch.ones(2, dtype=given)).dtype == expected


def test_wide_buffers_survive_a_narrow_parameter():
    module = WideBuffers()
    module.weight = torch.nn.Parameter(torch.ones(2))
    module.register_buffer("fine", torch.tensor([1 / 3]))
    module.register_buffer("count", torch.tensor([3]))
    module.register_buffer("none", None)
    for narrow in (module.bfloat16, module.half, lambda: module.to(torch.bfloat16)):
        narrow()
        assert module.weight.dtype != torch.float32
        assert torch.equal(module.fine, torch.tensor([1 / 3]))
        assert module.count.dtype == torch.int64
    assert module.double().fine.dtype == torch.float64
    assert module.to("meta").fine.device.type == "meta"
