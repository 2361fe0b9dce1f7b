"""The parameterisation of adapters: which matrices of a model they change, and by how much.

An adapter adds `scaling · b @ a` to the weight of every module in its layout, with scaling = alpha / rank. The layout
fixes the order and shapes of all factors, so an adapter is a flat vector that any language can read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from prag_core.errors import ModelError, did_you_mean
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
        """Last names of the modules, sorted, as PEFT and vLLM want them."""
        return target_modules(module.name for module in self.modules)

    def shapes(self) -> Iterator[tuple[str, tuple[int, int], tuple[int, int]]]:
        """Yield module name, shape of a and shape of b, in order."""
        for m in self.modules:
            yield m.name, (self.rank, m.in_features), (m.out_features, self.rank)

    def to_json(self) -> dict[str, Any]:
        return {"rank": self.rank, "alpha": self.alpha, "modules": [asdict(m) for m in self.modules]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> AdapterLayout:
        """Take a layout from JSON. Raises KeyError, TypeError or ValueError for anything else."""
        modules = tuple(ModuleShape(**m) for m in fields["modules"])
        layout = cls(modules, int(fields["rank"]), float(fields["alpha"]))
        sizes = [layout.rank, *(size for m in modules for size in (m.in_features, m.out_features))]
        if not all(type(size) is int and 0 < size < 1 << 31 for size in sizes):
            raise ValueError("a rank or a size of a module is not a positive whole number")
        if not math.isfinite(layout.alpha) or not all(isinstance(m.name, str) for m in modules):
            raise ValueError("alpha is not a finite number, or a module has no name")
        return layout


def target_modules(names: Iterable[str]) -> list[str]:
    """Return the different last names of modules, sorted: `up_proj` of every `model.layers.3.mlp.up_proj`."""
    return sorted({name.rsplit(".", 1)[-1] for name in names})


def layout_of(model: Any, *, rank: int, alpha: float, targets: Sequence[str]) -> AdapterLayout:
    """Make the layout of every plain `nn.Linear` of `model` but its output head whose last name is in `targets`, in the model's
    own order. A fused projection (Phi-3's `gate_up_proj`) is a linear module like any other.

    Raises ModelError for a target that names no such module.
    """
    import torch  # a bank reads layouts without it

    head = model.get_output_embeddings()
    linear = {
        name: module
        for name, module in model.named_modules()
        if type(module) is torch.nn.Linear and module is not head
    }
    known = target_modules(linear)
    for target in targets:
        if target not in known:
            raise ModelError(
                f"training.targets: {type(model).__name__} has no linear modules named {target}{did_you_mean(target, known)}; "
                f"its own are {', '.join(known) or 'none'}"
            )
    modules = tuple(
        ModuleShape(name, module.in_features, module.out_features)
        for name, module in linear.items()
        if name.rsplit(".", 1)[-1] in targets
    )
    return AdapterLayout(modules, rank, alpha)


def partly_adapted(layout: AdapterLayout, num_layers: int) -> list[str]:
    """Return a line for each target that some layers of the model do not have."""
    layers: dict[str, set[str]] = {}
    for module in layout.modules:
        numbers = [part for part in module.name.split(".") if part.isdecimal()]
        layers.setdefault(module.name.rsplit(".", 1)[-1], set()).update(numbers[:1])
    return [
        f"training.targets: {target} is in {len(found)} of the model's {num_layers} layers; the others are not adapted there"
        for target, found in layers.items()
        if len(found) < num_layers
    ]


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
    """Draw the initial adapter, the same for every document: a Kaiming-uniform (a = √5, as PEFT draws it), b zero."""
    import torch  # a bank reads layouts without it

    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, shape_a, shape_b in layout.shapes():
        a = torch.empty(shape_a)
        torch.nn.init.kaiming_uniform_(a, a=5**0.5, generator=generator)
        factors[name] = Factors(a.numpy(), np.zeros(shape_b, dtype=np.float32))
    return factors
