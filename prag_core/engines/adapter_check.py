"""Check once, as an engine starts, that adapters change what it says.

vLLM loads an adapter whose modules have other names than its own, mounts none of them, and answers as the bare model
(https://github.com/vllm-project/vllm/issues/55193). So a few prompts are answered, by one token each, with a large random
adapter and without: where nearly all answers are equal, no adapter of this layout acts. Rounding may change one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from prag_core.engines.base import Engine, Generation, Request, Sampling
from prag_core.errors import EngineDiedError, EngineError, ModelError
from prag_core.merging import MergedAdapter
from prag_core.models.control_tokens import encode_text
from prag_core.models.lora import AdapterLayout
from prag_core.records import Factors

PROMPTS = ("The", "Who wrote it?", "1 2 3", "north")
ONE_TOKEN = Sampling(1, probabilities=True)
SAME = 0.01  # relative difference of two probabilities that rounding may make
SHOWN = 3  # module names in a message


class AdaptableEngine(Engine, Protocol):
    """An engine that can name the modules of its model that take adapters, as it calls them itself."""

    def adapted_modules(self) -> list[str]: ...


def check_adapters(engine: AdaptableEngine, layout: AdapterLayout) -> None:
    """Raise ModelError, with the names of modules on both sides, unless adapters of `layout` change what `engine` says."""
    bare, adapted = (
        probe_requests(engine.tokenizer, None),
        probe_requests(engine.tokenizer, random_adapter(layout)),
    )
    try:
        answers = engine.generate([*bare, *adapted], ONE_TOKEN)
    except EngineDiedError:
        raise
    except EngineError as error:
        raise inert(layout, engine.adapted_modules(), str(error)) from error
    if not differ(answers[: len(bare)], answers[len(bare) :]):
        raise inert(layout, engine.adapted_modules())


def probe_requests(tokenizer: Any, adapter: MergedAdapter | None) -> list[Request]:
    """The prompts, all with the one adapter."""
    return [Request(tuple(encode_text(tokenizer, text)), adapter) for text in PROMPTS]


def random_adapter(layout: AdapterLayout) -> MergedAdapter:
    """An adapter of rank 1 that moves the output of every module by about the size of its input."""
    random = np.random.default_rng(0)
    factors = {
        m.name: Factors(
            (random.standard_normal((1, m.in_features)) / m.in_features**0.5).astype(np.float32),
            random.standard_normal((m.out_features, 1)).astype(np.float32),
        )
        for m in layout.modules
    }
    return MergedAdapter("probe", factors, rank=1)


def differ(bare: Sequence[Generation], adapted: Sequence[Generation]) -> bool:
    """Whether more than one answer differs."""
    return sum(not _same(one, other) for one, other in zip(bare, adapted, strict=True)) > 1


def inert(layout: AdapterLayout, modules: Sequence[str], reason: str = "") -> ModelError:
    """The error that names the modules of the adapters, and those of the engine that would take some."""
    why = reason or "its modules have other names"
    return ModelError(
        f"the engine does not apply this bank's adapters: {why}. The adapters are for {_some([m.name for m in layout.modules])}; "
        f"the engine's modules are {_some(modules)}. Use the model that the bank was trained on, or engine.kind=transformers"
    )


def _same(one: Generation, other: Generation) -> bool:
    if one.token_ids != other.token_ids:
        return False
    assert one.probabilities is not None and other.probabilities is not None  # ONE_TOKEN asks for them
    return bool(np.allclose(one.probabilities, other.probabilities, rtol=SAME, atol=0))


def _some(names: Sequence[str]) -> str:
    return f"{', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''} ({len(names)})"
