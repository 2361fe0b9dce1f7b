"""The arithmetic of training many adapters at once: N documents' LoRA factors over one frozen model.

Row n of a batch [N, T] belongs to document n and meets only that document's factors, so N documents cost one pass
through the base, and a row's gradient is the gradient of training its document alone. Attaching changes no parameter
of the model and is undone on exit.

Shapes: n document, t token, r rank, i in_features, o out_features. B is kept transposed, [n, r, o]: with rank 2 the
products are several times faster that way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear, pad

from prag_core.errors import ModelError
from prag_core.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors, Factors

RANK_MULTIPLE = {"cuda": 8}  # of the rank in memory: what the device's matrix units are fast at


class StackedLora:
    """The factors of N documents for every module of a layout, all starting from the same adapter.

    Kept in float32 (float64 where the model is float64) and cast to the model's dtype where they meet its activations.
    `activate(n)` opens a step of the first n documents: it gives their factors as fresh leaves, views of the whole, to be
    differentiated. The other documents' memory is not touched.

    On a GPU the rank is padded with zeros (`RANK_MULTIPLE`), which get a gradient of exactly zero and stay zero.
    """

    def __init__(
        self, layout: AdapterLayout, initial: AdapterFactors, num_documents: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        check_factors(initial, layout)
        self.layout = layout
        extra = -layout.rank % RANK_MULTIPLE.get(device.type, 1)

        def stack(factor_rf: np.ndarray) -> Tensor:
            one = torch.as_tensor(factor_rf).to(device, torch.float64 if dtype == torch.float64 else torch.float32)
            return pad(one, (0, 0, 0, extra)).repeat(num_documents, 1, 1)

        self.a_nri = [stack(initial[m.name].a) for m in layout.modules]
        self.b_nro = [stack(initial[m.name].b.T) for m in layout.modules]
        self._active: list[tuple[Tensor, Tensor]] = []

    @property
    def tensors(self) -> list[Tensor]:
        """All factors: every a [n, r, i] in the layout's order, then every b [n, r, o]."""
        return [*self.a_nri, *self.b_nro]

    def activate(self, num_documents: int) -> list[Tensor]:
        """Leaves over the factors of the first `num_documents`, in the order of `tensors`."""
        leaves = [tensor[:num_documents].detach().requires_grad_() for tensor in self.tensors]
        self._active = list(zip(leaves[: len(self.a_nri)], leaves[len(self.a_nri) :], strict=True))
        return leaves

    @contextmanager
    def attach(self, model: Any) -> Iterator[None]:
        """While open, the layout's modules also add the active documents' deltas. Raises ModelError where they are not
        plain linear modules of this model."""
        modules = _find_modules(model, self.layout)
        try:
            for index, module in enumerate(modules):
                module.__dict__["forward"] = self._forward(index, module)  # hides the class's method
            yield
        finally:
            for module in modules:
                module.__dict__.pop("forward", None)
            self._active = []

    def _forward(self, index: int, module: torch.nn.Linear) -> Callable[[Tensor], Tensor]:
        def forward(x_nti: Tensor) -> Tensor:
            a_nri, b_nro = self._active[index]
            return _stacked_linear(x_nti, module.weight, module.bias, a_nri, b_nro, self.layout.scaling)

        return forward

    def document(self, index: int) -> AdapterFactors:
        """One document's factors, copied to the host."""
        rank = self.layout.rank
        return {
            m.name: Factors(a[index, :rank].cpu().numpy().copy(), np.ascontiguousarray(b[index, :rank].cpu().numpy().T))
            for m, a, b in zip(self.layout.modules, self.a_nri, self.b_nro, strict=True)
        }


class _StackedLinear(torch.autograd.Function):
    """y = x Wᵀ + bias + s · (x Aₙᵀ) Bₙ for every document n, with gradients for x, A and B alone."""

    @staticmethod
    def forward(
        ctx: Any, x_nti: Tensor, weight_oi: Tensor, bias_o: Tensor | None, a_nri: Tensor, b_nro: Tensor, scaling: float
    ) -> Tensor:
        a, b = a_nri.to(x_nti.dtype), b_nro.to(x_nti.dtype)
        shrunk_ntr = torch.bmm(x_nti, a.transpose(1, 2)).mul_(scaling)
        ctx.save_for_backward(x_nti, shrunk_ntr, weight_oi, a_nri, b_nro)
        ctx.scaling = scaling
        return linear(x_nti, weight_oi, bias_o).baddbmm_(shrunk_ntr, b)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        x_nti, shrunk_ntr, weight_oi, a_nri, b_nro = ctx.saved_tensors
        grad_nto = upstream[0]
        a, b = a_nri.to(x_nti.dtype), b_nro.to(x_nti.dtype)
        grad_b = torch.bmm(shrunk_ntr.transpose(1, 2), grad_nto)
        grad_shrunk_ntr = torch.bmm(grad_nto, b.transpose(1, 2)).mul_(ctx.scaling)
        grad_a = torch.bmm(grad_shrunk_ntr.transpose(1, 2), x_nti)
        grad_x = torch.matmul(grad_nto, weight_oi).baddbmm_(grad_shrunk_ntr, a) if ctx.needs_input_grad[0] else None
        return grad_x, None, None, grad_a.to(a_nri.dtype), grad_b.to(b_nro.dtype), None


_stacked_linear = cast(Callable[..., Tensor], _StackedLinear.apply)


def _find_modules(model: Any, layout: AdapterLayout) -> Sequence[torch.nn.Linear]:
    found = dict(model.named_modules())
    for m in layout.modules:
        module = found.get(m.name)
        if type(module) is not torch.nn.Linear or module is model.get_output_embeddings():
            raise ModelError(f"{type(model).__name__}: {m.name} is not a plain linear module; change training.targets")
        if (module.in_features, module.out_features) != (m.in_features, m.out_features):
            raise ModelError(f"{type(model).__name__}: {m.name} is not of the layout's shape; the layout is of another model")
    return [found[m.name] for m in layout.modules]
