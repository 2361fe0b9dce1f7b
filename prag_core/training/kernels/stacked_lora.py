"""The arithmetic of training many adapters at once: N documents' LoRA factors over one frozen model.

Row n of a batch [N, T] belongs to document n and meets only that document's factors, so N documents cost one pass
through the base, and a row's gradient is the gradient of training its document alone. Attaching changes no parameter
of the model and is undone on exit.

A feed-forward block whose three projections all carry factors is computed as one function (`stacked_autograd`), other
modules one by one. Shapes: n document, t token, r rank, i in_features, o out_features. B is kept transposed, [n, r, o]:
with rank 2 the products are several times faster that way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from prag_core.errors import ModelError
from prag_core.models.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors, Factors
from prag_core.training.kernels.stacked_autograd import stacked_linear, stacked_swiglu

SWIGLU = ("gate_proj", "up_proj", "down_proj")
SWIGLU_BLOCKS = {"LlamaMLP", "MistralMLP", "Qwen2MLP", "Qwen3MLP"}  # exactly down(act(gate(x)) * up(x))
RANK_MULTIPLE = {"cuda": 8}  # of the rank in memory: what the device's matrix units are fast at


class StackedLora:
    """The factors of N documents for every module of a layout, all starting from the same adapter.

    Kept in float32 (float64 where the model is float64) and cast to the model's dtype where they meet its activations.
    `activate(n)` opens a step of the first n documents: it gives their factors as fresh leaves, views of the whole, to be
    differentiated. The other documents' memory is not touched.

    On a GPU the rank is padded with zeros (`RANK_MULTIPLE`), which get a gradient of exactly zero and stay zero.
    """

    def __init__(
        self,
        layout: AdapterLayout,
        initial: AdapterFactors,
        num_documents: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        check_factors(initial, layout)
        self.layout = layout
        extra = -layout.rank % RANK_MULTIPLE.get(device.type, 1)

        def stack(factor_rf: np.ndarray) -> Tensor:
            one = torch.as_tensor(factor_rf).to(
                device, torch.float64 if dtype == torch.float64 else torch.float32
            )
            return pad(one, (0, 0, 0, extra)).repeat(num_documents, 1, 1)

        self.a_nri = [stack(initial[m.name].a) for m in layout.modules]
        self.b_nro = [stack(initial[m.name].b.T) for m in layout.modules]
        self._active: list[tuple[Tensor, Tensor]] = []

    def load(self, adapters: Sequence[AdapterFactors]) -> None:
        """Give document n the factors `adapters[n]`, in place of those it has."""
        rank = self.layout.rank
        for m, a_nri, b_nro in zip(self.layout.modules, self.a_nri, self.b_nro, strict=True):
            a_nri[:, :rank].copy_(torch.as_tensor(np.stack([adapter[m.name].a for adapter in adapters])))
            b_nro[:, :rank].copy_(torch.as_tensor(np.stack([adapter[m.name].b.T for adapter in adapters])))

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
        """Let the layout's modules add the active documents' deltas while open. Raises ModelError where they are not plain linear
        modules of this model."""
        modules = _find_modules(model, self.layout)
        patched = dict.fromkeys(modules, _linear_forward) | dict.fromkeys(
            _swiglu_blocks(model, modules), _swiglu_forward
        )
        found = dict(model.named_modules())
        for index, module in enumerate(modules.values()):
            module.__dict__["stacked"] = (self, index)
        for name, forward in patched.items():
            found[name].__dict__["forward"] = MethodType(forward, found[name])  # hides the class's method
        try:
            yield
        finally:
            for name in patched:
                for attribute in ("forward", "stacked"):
                    found[name].__dict__.pop(attribute, None)
            self._active = []

    def factors(self, index: int) -> tuple[Tensor, Tensor]:
        """Return the active documents' a and b for the module at that place in the layout."""
        return self._active[index]

    def unpadded(self) -> list[Tensor]:
        """Return the factors as an adapter has them, without padding: every a [n, r, i], then every b [n, o, r]."""
        rank = self.layout.rank
        return [*(a[:, :rank] for a in self.a_nri), *(b[:, :rank].mT.contiguous() for b in self.b_nro)]


def document_factors(layout: AdapterLayout, copied: Sequence[Tensor], index: int) -> AdapterFactors:
    """Return one document's factors, as views of a host copy of `StackedLora.unpadded`."""
    pairs = zip(layout.modules, copied[: len(layout.modules)], copied[len(layout.modules) :], strict=True)
    return {m.name: Factors(a[index].numpy(), b[index].numpy()) for m, a, b in pairs}


def _linear_forward(module: Any, x_nti: Tensor) -> Tensor:
    lora, index = module.stacked
    return stacked_linear(x_nti, module.weight, module.bias, *lora.factors(index), lora.layout.scaling)


def _swiglu_forward(block: Any, x_nti: Tensor) -> Tensor:
    projections = [getattr(block, name) for name in SWIGLU]
    lora = projections[0].stacked[0]
    factors = [factor for projection in projections for factor in lora.factors(projection.stacked[1])]
    return stacked_swiglu(
        x_nti, *(projection.weight for projection in projections), lora.layout.scaling, *factors
    )


def _swiglu_blocks(model: Any, adapted: dict[str, torch.nn.Linear]) -> list[str]:
    """Names of the feed-forward blocks that are exactly SwiGLU, without biases, and adapted in all three projections."""
    return [
        name
        for name, block in model.named_modules()
        if type(block).__name__ in SWIGLU_BLOCKS
        and getattr(model.config, "hidden_act", None) == "silu"
        and all(
            (linear := adapted.get(f"{name}.{part}")) is not None and linear.bias is None for part in SWIGLU
        )
    ]


def _find_modules(model: Any, layout: AdapterLayout) -> dict[str, torch.nn.Linear]:
    found = dict(model.named_modules())
    for m in layout.modules:
        module = found.get(m.name)
        if type(module) is not torch.nn.Linear or module is model.get_output_embeddings():
            raise ModelError(
                f"{type(model).__name__}: {m.name} is not a plain linear module; change training.targets"
            )
        if (module.in_features, module.out_features) != (m.in_features, m.out_features):
            raise ModelError(
                f"{type(model).__name__}: {m.name} is not of the layout's shape; the layout is of another model"
            )
    return {m.name: found[m.name] for m in layout.modules}
