"""A closed loop of clients on an endpoint: each asks its next question when its last is answered."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

PARTS = ("fetch", "merge", "install")


@dataclass(frozen=True)
class Answered:
    """One request as its client saw it, in milliseconds, with the server's report of its stages."""

    first_token: float
    total: float
    num_tokens: int
    stages: Mapping[str, float]


def run_load(
    url: str, method: str, questions: Sequence[str], at_once: int, max_tokens: int
) -> tuple[list[Answered], float]:
    """Ask all questions, `at_once` at a time. Return the answers and the seconds. Raises at the first incomplete reply."""
    return asyncio.run(_run(url, method, questions, at_once, max_tokens))


async def _run(
    url: str, method: str, questions: Sequence[str], at_once: int, max_tokens: int
) -> tuple[list[Answered], float]:
    waiting = list(reversed(questions))
    answered: list[Answered] = []

    async def client(http: httpx.AsyncClient) -> None:
        while waiting:
            answered.append(await _ask(http, method, waiting.pop(), max_tokens))

    async with httpx.AsyncClient(base_url=url, timeout=600) as http:
        start = time.perf_counter()
        await asyncio.gather(*(client(http) for _ in range(at_once)))
        return answered, time.perf_counter() - start


async def _ask(http: httpx.AsyncClient, method: str, question: str, max_tokens: int) -> Answered:
    body = {
        "model": method,
        "messages": [{"role": "user", "content": question}],
        "max_tokens": max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    start, first, last = time.perf_counter(), 0.0, {}
    async with http.stream("POST", "chat/completions", json=body) as reply:
        if reply.status_code != 200:
            raise RuntimeError(f"{method}: {reply.status_code} {(await reply.aread()).decode()[:300]}")
        async for line in reply.aiter_lines():
            if not line.startswith("data: "):
                continue
            if line == "data: [DONE]":
                break
            last = json.loads(line[6:])
            if not first and last.get("choices") and last["choices"][0]["delta"].get("content"):
                first = time.perf_counter()
        else:
            raise RuntimeError(f"{method}: the answer broke off after {last}")
    end = time.perf_counter()
    if last["prag"]["degraded"]:
        raise RuntimeError(f"{method}: {last['prag']['degraded'][0]}")
    tokens = int(last["usage"]["completion_tokens"])
    return Answered(1e3 * ((first or end) - start), 1e3 * (end - start), tokens, last["prag"]["timings_ms"])


def summarise(answered: Sequence[Answered], seconds: float) -> dict[str, Any]:
    """Compute requests a second, percentiles, tokens an answer, and the time share of fetching, merging, installing."""
    points = {
        f"{name}_p{q}_ms": float(np.percentile([getattr(one, name) for one in answered], q))
        for name in ("first_token", "total")
        for q in (50, 95, 99)
    }
    total = sum(one.stages["total"] for one in answered)
    parts = {f"{part}_ms": float(np.mean([one.stages[part] for one in answered])) for part in PARTS}
    return {
        "requests": len(answered),
        "requests_per_second": len(answered) / seconds,
        **points,
        "tokens": float(np.mean([one.num_tokens for one in answered])),
        **parts,
        "share": sum(one.stages[part] for one in answered for part in PARTS) / total,
    }
