"""Answer a task of one round: adapters are read, merged and installed, then text comes as the engine makes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from cluster.records import Begun, Delta, Done, Event, Found, Refusal, Refused, Task, Usage, used_documents
from cluster.replica.installer import Installed, Made
from cluster.replica.replica import Replica
from prag_core.answering.base import Stopwatch
from prag_core.answering.da_rag import augmented
from prag_core.answering.merge_plan import MergePlan, plan_merge
from prag_core.answering.registry import OneRound
from prag_core.config.schema import MergeConfig
from prag_core.models.prompts import encode_question, without_first_blank
from prag_core.records import AdapterFactors, Key, Passage, Round


async def answer_in_one_round(task: Task, method: OneRound, replica: Replica) -> AsyncGenerator[Event, None]:
    """Yield Begun, the text in pieces, Done; Usage in place of pieces that have no text. Raises Refused, EngineError."""
    order, passages, clock = task.order, task.found.passages, Stopwatch()
    rule = replica.rule(order.merge)
    plan = plan_merge(passages if method.merges else (), task.found.entries, replica.bank.recipe.id)
    with clock.stage("fetch"):
        plan, factors = await _read(plan, rule, order.salt, replica)
        texts = await asyncio.to_thread(_augmented, task.found, replica) if method.augmented else passages

    async def make() -> Made:
        usable = factors or (await replica.cache.fetch(plan.entries, order.salt)).factors
        with clock.stage("merge"):
            merged = await asyncio.to_thread(plan.merge, usable, replica.layout, rule, replica.start)
        assert merged is not None  # asked for by its name
        return Made(merged, plan.keys)

    started = time.perf_counter()
    async with replica.adapter(plan.name(rule, replica.start), order.salt, make) as adapter:
        waited = (time.perf_counter() - started) * 1000
        clock.milliseconds["install"] = waited - clock.milliseconds.get("merge", 0.0)
        shown = plan.shown(texts, text=method.text)
        token_ids = await asyncio.to_thread(_encode, task, shown, replica)
        if len(token_ids) >= replica.engine.max_length:
            raise Refused(too_long(len(token_ids), replica.engine.max_length))
        rounds = rounds_of(task)
        replica.metrics.prepared(clock.milliseconds, order.method, len(plan.degraded), len(rounds))
        yield Begun(
            documents=used_documents(passages, plan.versions, {passage.key for passage in shown}),
            degraded=plan.degraded,
            timings_ms=dict(clock.milliseconds),
            prompt_tokens=len(token_ids),
            trace=await _trace(plan, rule, order.salt, adapter, replica) if order.trace else {},
            rounds=rounds,
        )
        pieces = replica.engine.stream(token_ids, order.decoding, adapter and adapter.handle, order.salt)
        async with aclosing(pieces):
            begun = False
            async for piece in pieces:
                text = piece.text if begun else without_first_blank(piece.text)
                if text:
                    begun = True
                    yield Delta(text, piece.num_tokens)
                elif not piece.finish:
                    yield Usage(len(token_ids), piece.num_tokens)
                if piece.finish:
                    yield Done(piece.finish, piece.num_tokens)


async def _read(
    plan: MergePlan, rule: MergeConfig, salt: str, replica: Replica
) -> tuple[MergePlan, Mapping[Key, AdapterFactors]]:
    """The plan without unreadable adapters, and the readable ones; none is read where the merged adapter is installed."""
    name = plan.name(rule, replica.start)
    if name is None or replica.is_installed(name, salt):
        return plan, {}
    fetched = await replica.read(plan.entries, salt)
    return plan.without(fetched.reasons), fetched.factors


def _augmented(found: Found, replica: Replica) -> list[Passage]:
    """The passages, each with what was written about its document. Reads from the bank."""
    written = replica.augmentations(found.snapshot, found.entries.values())
    return [augmented(passage, written.get(passage.key)) for passage in found.passages]


async def _trace(
    plan: MergePlan, rule: MergeConfig, salt: str, adapter: Installed | None, replica: Replica
) -> dict[str, Any]:
    if adapter is None or not plan.keys:
        return {}
    return await replica.merge_facts(plan.entries, salt, rule.rule, adapter.rank)


def _encode(task: Task, shown: Sequence[Passage], replica: Replica) -> tuple[int, ...]:
    passages = [(passage.title, passage.text) for passage in shown]
    return encode_question(
        replica.engine.tokenizer,
        task.order.question,
        passages,
        replica.wording,
        replica.fewshot,
        task.order.earlier,
    )


def rounds_of(task: Task) -> tuple[Round, ...]:
    """The one retrieval; none where documents were named, or are of no use."""
    inquiry = task.order.inquiry
    if inquiry is None or inquiry.doc_ids is not None:
        return ()
    return (Round(inquiry.query, task.found.passages),)


def too_long(tokens: int, limit: int) -> Refusal:
    message = f"the prompt has {tokens} tokens with its passages; the model's context is {limit}, one kept for the answer"
    return Refusal(400, message, "messages", "context_length_exceeded")
