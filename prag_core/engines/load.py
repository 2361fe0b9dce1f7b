"""Load a model into the engine that the configuration names."""

from __future__ import annotations

from prag_core.config.schema import EngineConfig, EngineKind, ModelConfig
from prag_core.engines.adapter_check import AdaptableEngine, check_adapters
from prag_core.engines.base import Engine
from prag_core.models.lora import AdapterLayout


def make_engine(
    config: EngineConfig, model: ModelConfig, *, layout: AdapterLayout | None = None, max_merged_rank: int = 0
) -> Engine:
    """Load `model` into the engine that `config.kind` names. With `layout`, requests may carry adapters of its modules up
    to rank `max_merged_rank`; without, the engine loads no LoRA and refuses them (augmentation is faster so).

    Raises ModelError when the model's folder, tokenizer or chat template is missing, the engine cannot hold it, or adapters of
    this layout do not change what it says."""
    if layout is not None and max_merged_rank < 1:
        raise ValueError(
            f"max_merged_rank={max_merged_rank}: an engine with adapters needs the rank that merged ones may have"
        )
    engine = _load(config, model, layout, max_merged_rank)
    if layout is not None:
        try:
            check_adapters(engine, layout)
        except BaseException:
            engine.close()
            raise
    return engine


def _load(
    config: EngineConfig, model: ModelConfig, layout: AdapterLayout | None, max_merged_rank: int
) -> AdaptableEngine:
    # each engine's package takes seconds to import, and need not be installed for the other
    if config.kind is EngineKind.vllm:
        from prag_core.engines.vllm import VllmEngine

        return VllmEngine(config, model, layout, max_merged_rank)
    from prag_core.engines.transformers import TransformersEngine

    return TransformersEngine(config, model, layout, max_merged_rank)
