"""What a request may ask for: from the settings, the bank's recipe and the engine's slots, worked out once."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.records import Refusal, Refused
from prag_core.answering.registry import METHODS
from prag_core.answering.registry import most_documents as most_merged
from prag_core.bank import Bank
from prag_core.config.schema import Config
from prag_core.merging import counts_once


@dataclass(frozen=True, slots=True)
class Bounds:
    methods: tuple[str, ...]  # by name, in the order they are listed
    top_k: int  # where a request does not say
    max_top_k: int
    new_tokens: int  # where a request does not say
    max_new_tokens: int
    max_body_bytes: int
    max_characters: int  # of all messages together
    max_in_flight: int  # requests at one ingress
    timeout_seconds: float

    def check_documents(self, count: int) -> None:
        """Raises Refused where a request names more documents, or chunks of them, than can be merged."""
        if count > self.max_top_k:
            message = f"{count} documents or chunks of them; adapters of at most {self.max_top_k} fit into one request here"
            raise Refused(Refusal(400, message, "prag.doc_ids", "too_many_documents"))


def max_merged_rank(config: Config, bank: Bank) -> int:
    """The rank that merged adapters of the methods offered must have room for, by whatever rule; what the documents started
    from is one adapter more."""
    offered = [METHODS[name] for name in config.serve.methods]
    count = max(config.serve.max_top_k or 0, most_merged(offered, config))
    return bank.layout.rank * (count + _starts(count, config, bank))


def most_documents(config: Config, bank: Bank, slot_rank: int) -> int:
    """How many documents a request may ask for: what is set, else as many as the engine's slots, of that rank, hold."""
    adapters = slot_rank // bank.layout.rank
    return config.serve.max_top_k or max(1, adapters - _starts(adapters, config, bank))


def _starts(count: int, config: Config, bank: Bank) -> int:
    return int(counts_once(count, config.merge) and bank.warm_start() is not None)
