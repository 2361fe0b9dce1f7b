"""float32 products stay float32, whatever computes them."""

from __future__ import annotations

import pytest
import torch

from prag_core.training.kernels.cpu_precision import fast_float32

CPU = torch.device("cpu")


def test_products_are_as_exact_as_float32_and_the_setting_is_put_back() -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(64, 512, generator=generator), torch.randn(512, 96, generator=generator)
    exact = x.double() @ w.double()
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError, match="inside"), fast_float32(CPU):
        for product in (x @ w, torch.bmm(x[None], w[None])[0]):
            torch.testing.assert_close(
                product.double(), exact, rtol=0, atol=float(exact.abs().max()) * 2e-6
            )  # bf16: 2e-3
        raise RuntimeError("inside")
    assert torch.get_float32_matmul_precision() == before


def test_gpus_and_processors_with_amx_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with fast_float32(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "highest"
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    with fast_float32(CPU):
        assert torch.get_float32_matmul_precision() == "highest"
