"""Which matrices of a model an adapter changes, and by how much: the parameterisation.

An adapter adds `scaling · b @ a` to the weight of every module in its layout, with scaling = alpha / rank. The layout
fixes the order and shapes of all factors, so an adapter is a flat vector that any language can read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prag_core.errors import ModelError
from prag_core.records import AdapterFactors, Factors


@dataclass(frozen=True, slots=True)
class ModuleShape:
    """A linear module that carries factors: weight [out_features, in_features]."""

    name: str
    in_features: int
    out_features: int


@dataclass(frozen=True, slots=True)
class AdapterLayout:
    """The adapted modules in their fixed order (as the model lists them), with rank and alpha."""

    modules: tuple[ModuleShape, ...]
    rank: int
    alpha: float

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank

    @property
    def num_parameters(self) -> int:
        return sum(self.rank * (m.in_features + m.out_features) for m in self.modules)

    @property
    def target_modules(self) -> list[str]:
        """The last names of the modules, sorted, as PEFT and vLLM want them."""
        return target_modules(module.name for module in self.modules)

    def shapes(self) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
        """Module name, shape of a, shape of b, in order."""
        for m in self.modules:
            yield m.name, (self.rank, m.in_features), (m.out_features, self.rank)

    def to_json(self) -> dict[str, Any]:
        return {"rank": self.rank, "alpha": self.alpha, "modules": [asdict(m) for m in self.modules]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> AdapterLayout:
        modules = tuple(ModuleShape(**m) for m in fields["modules"])
        return cls(modules, int(fields["rank"]), float(fields["alpha"]))


def target_modules(names: Iterable[str]) -> list[str]:
    """The different last names of modules, sorted: `up_proj` of every `model.layers.3.mlp.up_proj`."""
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def layout_of(model: Any, *, rank: int, alpha: float, targets: Sequence[str]) -> AdapterLayout:
    """The layout over every `nn.Linear` of `model` whose last name is in `targets`, in the model's own order.

    Raises ModelError when the model has none: it then is not of a family with these projections.
    """
    import torch

    modules = tuple(
        ModuleShape(name, module.in_features, module.out_features)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and name.rsplit(".", 1)[-1] in targets
    )
    if not modules:
        kind = type(model).__name__
        raise ModelError(
            f"{kind} has no linear modules named {', '.join(targets)}; set training.targets to its own names"
        )
    return AdapterLayout(modules, rank, alpha)


def check_factors(factors: AdapterFactors, layout: AdapterLayout) -> None:
    """Raise ModelError unless `factors` has exactly the layout's modules and shapes, all finite."""
    if list(factors) != [m.name for m in layout.modules]:
        counts = f"{len(factors)} modules, the model's layout has {len(layout.modules)}"
        raise ModelError(f"adapter has {counts}, or they differ in name")
    for name, shape_a, shape_b in layout.shapes():
        a, b = factors[name]
        if a.shape != shape_a or b.shape != shape_b:
            raise ModelError(f"{name}: factors {a.shape} and {b.shape}, expected {shape_a} and {shape_b}")
        if not (np.isfinite(a).all() and np.isfinite(b).all()):
            raise ModelError(f"{name}: factors are not finite")


def initial_factors(layout: AdapterLayout, seed: int) -> AdapterFactors:
    """The shared starting point of every document: a Kaiming-uniform (a = √5, as PEFT draws it), b zero."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, shape_a, shape_b in layout.shapes():
        a = torch.empty(shape_a)
        torch.nn.init.kaiming_uniform_(a, a=5**0.5, generator=generator)
        factors[name] = Factors(a.numpy(), np.zeros(shape_b, dtype=np.float32))
    return factors
