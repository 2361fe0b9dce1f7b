"""What arrives on the host is what was on the device when the copy was asked for."""

from __future__ import annotations

import pytest
import torch

from prag_core.training.kernels.host_copy import HostCopy


def test_copies_arrive_in_order_with_shape_and_dtype() -> None:
    tensors = [torch.arange(6.0).view(2, 3), torch.tensor([1, 2]), torch.ones(1, 2, 3, dtype=torch.float64)]
    for copy, tensor in zip(HostCopy(tensors).wait(), tensors, strict=True):
        assert copy.dtype == tensor.dtype and torch.equal(copy, tensor)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_what_the_device_still_computes_is_waited_for() -> None:
    tensor = torch.zeros(1 << 22, device="cuda")
    for _ in range(50):
        tensor += 1
    (arrived,) = HostCopy([tensor]).wait()
    assert arrived.is_pinned() and torch.equal(arrived, torch.full_like(arrived, 50.0))
