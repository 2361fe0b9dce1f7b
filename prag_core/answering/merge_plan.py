"""Decide a question's merge: which documents are in it, why the others are not, what the prompt shows, what the result is called.

Pure: batches and the endpoint decide here, and differ only in how they read adapters and hand them to an engine.

    plan = plan_merge(passages, entries, recipe_id)    # by what the snapshot says of each document
    factors, unreadable = …                            # the adapters of plan.entries
    plan = plan.without(unreadable)
    merged = plan.merge(factors, …)                    # plan.name(…) is known before anything is read

Reasons are told to whoever asks, over the API too: they name no place in the bank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from prag_core.bank import Entry
from prag_core.config.schema import MergeConfig
from prag_core.identity import adapter_version
from prag_core.merging import MergedAdapter, Versioned, merge_adapters, merged_name
from prag_core.models.lora import AdapterLayout
from prag_core.records import AdapterFactors, Key, Passage

NOT_IN_BANK = "it is not in the bank"
UNREADABLE = "its adapter cannot be read"


@dataclass(frozen=True)
class MergePlan:
    """The passages whose adapters are wanted, best first, and for those that are left out the reason. A passage's score is
    what rules that weigh documents weigh it by."""

    recipe_id: str = ""
    wanted: tuple[Passage, ...] = ()
    known: Mapping[Key, Entry] = field(default_factory=dict)
    reasons: Mapping[Key, str] = field(default_factory=dict)

    @property
    def merged(self) -> list[Passage]:
        return [passage for passage in self.wanted if passage.key not in self.reasons]

    @property
    def keys(self) -> tuple[Key, ...]:
        return tuple(passage.key for passage in self.merged)

    @property
    def entries(self) -> list[Entry]:
        return [self.known[key] for key in self.keys]

    @property
    def versions(self) -> dict[Key, str]:
        return {entry.key: adapter_version(entry.content_hash, self.recipe_id) for entry in self.entries}

    @property
    def degraded(self) -> tuple[tuple[Key, str], ...]:
        """Documents that are wanted and left out, with the reason."""
        return tuple((p.key, self.reasons[p.key]) for p in self.wanted if p.key in self.reasons)

    def without(self, reasons: Mapping[Key, str]) -> MergePlan:
        """Leave out these documents too."""
        return replace(self, reasons={**self.reasons, **reasons})

    def shown(self, passages: Sequence[Passage], *, text: bool) -> list[Passage]:
        """The passages that go into the prompt: all as `text`, else those that should be merged and cannot be."""
        return [passage for passage in passages if text or passage.key in self.reasons]

    def name(self, settings: MergeConfig, start: Versioned | None) -> str | None:
        """The merged adapter's name, by its content; None where nothing is merged."""
        scores = [passage.score for passage in self.merged]
        versions = list(self.versions.values())
        return merged_name(versions, settings, scores, start and start[0]) if versions else None

    def merge(
        self,
        factors: Mapping[Key, AdapterFactors],
        layout: AdapterLayout,
        settings: MergeConfig,
        start: Versioned | None,
    ) -> MergedAdapter | None:
        """The merged adapter; None where nothing is merged. `start` is what the documents were warm-started from."""
        adapters = [(version, factors[key]) for key, version in self.versions.items()]
        scores = [passage.score for passage in self.merged]
        return merge_adapters(adapters, layout, settings, scores, start) if adapters else None


def plan_merge(passages: Sequence[Passage], entries: Mapping[Key, Entry], recipe_id: str) -> MergePlan:
    """Plan to merge the adapters of `passages`, by their entries in a snapshot of a bank of that recipe. Whether an adapter can
    be read shows later."""
    reasons = {p.key: why for p in passages if (why := _why_not(entries.get(p.key)))}
    return MergePlan(recipe_id, tuple(passages), entries, reasons)


def _why_not(entry: Entry | None) -> str | None:
    return NOT_IN_BANK if entry is None else entry.unusable
