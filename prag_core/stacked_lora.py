"""The arithmetic of training many adapters at once: N documents' LoRA factors over one frozen model.

Row n of a batch [N, T] belongs to document n and meets only that document's factors, so N documents cost one pass
through the base and a row's gradient is the gradient of training its document alone. Attaching changes no parameter
of the model and is undone on exit.

Shapes: n document, t token, r rank, i in_features, o out_features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prag_core.errors import ModelError
from prag_core.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors, Factors


class StackedLora:
    """Factors `a_nri` and `b_nor` of N documents for every module of a layout, all starting from the same adapter.

    Kept in float32 (float64 where the model is float64) and cast to the model's dtype where they meet its activations.
    `activate(n)` opens a step of the first n documents: it gives their factors as fresh leaves, views of the whole, whose
    gradients `backward` fills. The other documents' memory is not touched.
    """

    def __init__(
        self, layout: AdapterLayout, initial: AdapterFactors, num_documents: int, *, dtype: torch.dtype, device: torch.device
    ) -> None:
        check_factors(initial, layout)
        self.layout, self.num_documents = layout, num_documents
        self.dtype = torch.float64 if dtype == torch.float64 else torch.float32

        def stack(factor: np.ndarray) -> Tensor:
            one = torch.as_tensor(factor).to(device=device, dtype=self.dtype)
            return one.unsqueeze(0).repeat(num_documents, 1, 1)

        self.a_nri = [stack(initial[m.name].a) for m in layout.modules]
        self.b_nor = [stack(initial[m.name].b) for m in layout.modules]
        self._active: list[tuple[Tensor, Tensor]] = []

    @property
    def tensors(self) -> list[Tensor]:
        """All factors: every a in the layout's order, then every b."""
        return [*self.a_nri, *self.b_nor]

    def activate(self, num_documents: int) -> list[Tensor]:
        """Leaves over the factors of the first `num_documents`, in the order of `tensors`."""
        leaves = [tensor[:num_documents].detach().requires_grad_() for tensor in self.tensors]
        self._active = list(zip(leaves[: len(self.a_nri)], leaves[len(self.a_nri) :], strict=True))
        return leaves

    @contextmanager
    def attach(self, model: Any) -> Iterator[None]:
        """While open, the model adds the active documents' factors to the outputs of the layout's modules."""
        modules = _find_modules(model, self.layout)
        handles = [module.register_forward_hook(self._hook(index)) for index, module in enumerate(modules)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            self._active = []

    def _hook(self, index: int) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
        scaling = self.layout.scaling

        def add_delta(_: Any, inputs: tuple[Tensor, ...], output_nto: Tensor) -> Tensor:
            x_nti = inputs[0]
            a_nri, b_nor = (factor.to(x_nti.dtype) for factor in self._active[index])
            shrunk_ntr = torch.bmm(x_nti, a_nri.transpose(1, 2))
            return torch.baddbmm(output_nto, shrunk_ntr, b_nor.transpose(1, 2), alpha=scaling)

        return add_delta

    def document(self, index: int) -> AdapterFactors:
        """One document's factors, copied to the host."""
        return {
            m.name: Factors(a[index].cpu().numpy().copy(), b[index].cpu().numpy().copy())
            for m, a, b in zip(self.layout.modules, self.a_nri, self.b_nor, strict=True)
        }


def _find_modules(model: Any, layout: AdapterLayout) -> Sequence[torch.nn.Module]:
    found = dict(model.named_modules())
    missing = [m.name for m in layout.modules if m.name not in found]
    if missing:
        raise ModelError(f"{type(model).__name__} has no module {missing[0]}; the adapter's layout is of another model")
    return [found[m.name] for m in layout.modules]
