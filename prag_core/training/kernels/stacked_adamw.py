"""AdamW over stacked factors: one update of the documents that still train, none of the others.

AdamW is elementwise, so one over stacked tensors is as many independent optimisers as there are documents. All of them have made
the same number of steps: a document that is done leaves, and none comes in later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class StackedAdamW:
    """Torch's own AdamW over the first rows of stacked tensors; the other rows and their moments stay as they are."""

    def __init__(
        self,
        tensors: Sequence[Tensor],
        *,
        lr: float,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: float,
    ) -> None:
        self.tensors = tensors
        self.options: dict[str, Any] = {
            "lr": lr,
            "beta1": beta1,
            "beta2": beta2,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        self.mean = [torch.zeros_like(tensor) for tensor in tensors]
        self.square = [torch.zeros_like(tensor) for tensor in tensors]
        self.steps = [torch.zeros((), dtype=torch.float32, device=tensor.device) for tensor in tensors]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        rows = len(gradients[0])
        adamw(
            [tensor[:rows] for tensor in self.tensors],
            list(gradients),
            [tensor[:rows] for tensor in self.mean],
            [tensor[:rows] for tensor in self.square],
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            maximize=False,
            **self.options,
        )
