"""Rows of stacked tensors are optimised as by torch's AdamW, each alone; rows that stopped stay as they are."""

from __future__ import annotations

import numpy as np
import torch

from prag_core.training.kernels.stacked_adamw import StackedAdamW


def test_every_row_is_updated_as_by_torch_alone_until_it_stops() -> None:
    generator = torch.Generator().manual_seed(0)
    start, steps = torch.randn(3, 2, 5, generator=generator, dtype=torch.float64), [4, 2, 2]
    gradients = torch.randn(4, 3, 2, 5, generator=generator, dtype=torch.float64)
    stacked = start.clone()
    ours = StackedAdamW([stacked], lr=3e-2, beta1=0.7, beta2=0.95, eps=1e-3, weight_decay=0.3)
    for step in range(4):
        ours.step([gradients[step, : sum(last > step for last in steps)]])
    for row, last in enumerate(steps):
        alone = start[row].clone().requires_grad_()
        theirs = torch.optim.AdamW([alone], lr=3e-2, betas=(0.7, 0.95), eps=1e-3, weight_decay=0.3)
        for step in range(last):
            alone.grad = gradients[step, row].clone()
            theirs.step()
        np.testing.assert_allclose(stacked[row].numpy(), alone.detach().numpy(), rtol=1e-12)
