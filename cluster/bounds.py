"""What a request may ask for: from the settings, the bank's recipe and the engine's slots, worked out once."""

from __future__ import annotations

from dataclasses import dataclass

from prag_core.config import Config
from prag_core.lora import AdapterLayout
from prag_core.methods import SERVED, most_documents


@dataclass(frozen=True, slots=True)
class Bounds:
    methods: tuple[str, ...]  # by name, in the order they are listed
    top_k: int  # where a request does not say
    max_top_k: int
    new_tokens: int  # where a request does not say
    max_new_tokens: int
    max_body_bytes: int
    max_in_flight: int  # requests at one ingress
    timeout_seconds: float


def max_merged_rank(config: Config, layout: AdapterLayout) -> int:
    """The rank that merged adapters of the methods offered must have room for."""
    offered = [SERVED[name] for name in config.serve.methods]
    return layout.rank * max(config.serve.max_top_k or 0, most_documents(offered, config))
