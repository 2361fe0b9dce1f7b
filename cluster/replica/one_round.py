"""A task of one round → the answer as events: adapters fetched, merged, installed, then text as the engine makes it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from cluster.records import Begun, Delta, Done, Event, Refusal, Refused, Task, Usage, UsedDocument, used_as
from cluster.replica.installer import Installed, Made
from cluster.replica.replica import Plan, Replica, make_plan
from prag_core.answering.base import Stopwatch
from prag_core.answering.registry import OneRound
from prag_core.merging import merge_adapters, merged_name
from prag_core.models.prompts import encode_question
from prag_core.records import AdapterFactors, Key, Passage, Round


async def answer_in_one_round(task: Task, method: OneRound, replica: Replica) -> AsyncGenerator[Event, None]:
    """Yield Begun, the text in pieces, Done. Raises Refused, EngineError."""
    clock = Stopwatch()
    passages = task.found.passages
    keys = [passage.key for passage in passages] if method.adapters else []
    plan = make_plan(keys, task.found.entries)
    with clock.stage("fetch"):
        name, factors, plan = await _fetch(task, plan, replica)

    async def make() -> Made:
        usable = factors or (await replica.cache.fetch(plan.entries, task.order.salt)).factors
        with clock.stage("merge"):
            return await asyncio.to_thread(_merge, task, plan, usable, replica)

    started = time.perf_counter()
    async with replica.adapter(name, task.order.salt, make) as adapter:
        clock.milliseconds["install"] = (time.perf_counter() - started) * 1000 - clock.milliseconds.get(
            "merge", 0.0
        )
        shown = [passage for passage in passages if method.text or passage.key in plan.degraded]
        token_ids = await asyncio.to_thread(_encode, task, shown, replica)
        if len(token_ids) >= replica.engine.max_length:
            raise Refused(too_long(len(token_ids), replica.engine.max_length))
        rounds = rounds_of(task)
        replica.metrics.prepared(clock.milliseconds, task.order.method, len(plan.degraded), len(rounds))
        facts = await _trace(task, plan, adapter, replica) if task.order.trace else {}
        documents = _used(passages, plan, [passage.key for passage in shown], replica)
        degraded = tuple(plan.degraded.items())
        yield Begun(
            documents=documents,
            degraded=degraded,
            timings_ms=dict(clock.milliseconds),
            prompt_tokens=len(token_ids),
            trace=facts,
            rounds=rounds,
        )
        async with aclosing(_generate(task, token_ids, adapter and adapter.handle, replica)) as events:
            async for event in events:
                yield event


async def _generate(
    task: Task, token_ids: Sequence[int], adapter: Any, replica: Replica
) -> AsyncGenerator[Event, None]:
    async with aclosing(
        replica.engine.stream(token_ids, task.order.decoding, adapter, task.order.salt)
    ) as pieces:
        async for piece in pieces:
            if piece.text:
                yield Delta(piece.text, piece.num_tokens)
            elif not piece.finish:
                yield Usage(len(token_ids), piece.num_tokens)
            if piece.finish:
                yield Done(piece.finish, piece.num_tokens)


async def _fetch(
    task: Task, plan: Plan, replica: Replica
) -> tuple[str | None, Mapping[Key, AdapterFactors], Plan]:
    """The merged adapter's name; unless it is installed, its documents' adapters; and the plan without the unreadable."""
    name = _name(task, plan, replica)
    if name is None or replica.is_installed(name, task.order.salt):
        return name, {}, plan
    factors, plan = await replica.fetch(plan, task.order.salt)
    return _name(task, plan, replica), factors, plan


def _name(task: Task, plan: Plan, replica: Replica) -> str | None:
    """By content: what is merged, and how. None where nothing is."""
    versions, start = [replica.version(entry) for entry in plan.entries], replica.start and replica.start[0]
    return (
        merged_name(versions, replica.rule(task.order.merge), scores_of(task, plan), start)
        if versions
        else None
    )


def _merge(task: Task, plan: Plan, factors: Mapping[Key, AdapterFactors], replica: Replica) -> Made:
    adapters = [(replica.version(entry), factors[entry.key]) for entry in plan.entries]
    merged = merge_adapters(
        adapters, replica.layout, replica.rule(task.order.merge), scores_of(task, plan), replica.start
    )
    return Made(merged, plan.keys)


async def _trace(task: Task, plan: Plan, adapter: Installed | None, replica: Replica) -> dict[str, Any]:
    if adapter is None or not plan.entries:
        return {}
    return await replica.merge_facts(
        plan.entries, task.order.salt, replica.rule(task.order.merge).rule, adapter.rank
    )


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


def _used(
    passages: Sequence[Passage], plan: Plan, shown: Sequence[Key], replica: Replica
) -> tuple[UsedDocument, ...]:
    versions = {entry.key: replica.version(entry) for entry in plan.entries}
    return tuple(
        UsedDocument(p, versions.get(p.key), used_as(p.key in versions, p.key in shown)) for p in passages
    )


def rounds_of(task: Task) -> tuple[Round, ...]:
    """The one retrieval; none where documents were named, or are of no use."""
    inquiry = task.order.inquiry
    return (
        () if inquiry is None or inquiry.doc_ids is not None else (Round(inquiry.query, task.found.passages),)
    )


def scores_of(task: Task, plan: Plan) -> list[float]:
    scores = {passage.key: passage.score for passage in task.found.passages}
    return [scores[entry.key] for entry in plan.entries]


def too_long(tokens: int, limit: int) -> Refusal:
    message = f"the prompt has {tokens} tokens with its passages; the model's context is {limit}, one kept for the answer"
    return Refusal(400, message, "messages", "context_length_exceeded")
