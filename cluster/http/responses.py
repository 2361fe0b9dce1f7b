"""Answers as OpenAI objects: whole, or in chunks; with a `prag` object that says which documents they rest on.

Plain dictionaries, which the tests validate with the client's own types. Building them from `openai.types` would be no shorter
and would tie the server to the version of a client.
"""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from cluster.records import Begun, Delta, Done
from cluster.service import Answering
from prag_core.answering.registry import METHODS
from prag_core.records import Round

Kind = Literal["chat", "text"]
NAMES = {
    "chat": ("chatcmpl-", "chat.completion", "chat.completion.chunk"),
    "text": ("cmpl-", "text_completion", "text_completion"),
}


class Reply:
    """One request's reply. `created` and the id are the same in every chunk."""

    def __init__(self, kind: Kind, answering: Answering) -> None:
        prefix, self._whole, self._chunk = NAMES[kind]
        self.kind, self.answering = kind, answering
        self._pieces: list[str] = []
        self._head = {
            "id": prefix + answering.request_id,
            "created": int(time.time()),
            "model": answering.order.model,
        }

    def take(self, event: Begun | Delta | Done) -> None:
        """Note an event of the answer."""
        if isinstance(event, Begun):
            self.answering.begun = event
        elif isinstance(event, Delta):
            self.answering.mark("first_token")
            self._pieces.append(event.text)
        else:
            self.answering.done = event

    def whole(self) -> dict[str, Any]:
        """Return the answer so far as one completion object."""
        text, done = "".join(self._pieces), self.answering.done
        content = (
            {"message": {"role": "assistant", "content": text}} if self.kind == "chat" else {"text": text}
        )
        choice = {"index": 0, **content, "finish_reason": done.finish if done else None, "logprobs": None}
        return {
            **self._head,
            "object": self._whole,
            "choices": [choice],
            "usage": self.usage(),
            "prag": self.prag(),
        }

    def chunk(self, text: str | None, *, first: bool = False, finish: str | None = None) -> dict[str, Any]:
        """Return a piece of text as a chunk; the first one names the role, the last one says how the text ended."""
        delta: dict[str, Any] = ({"role": "assistant"} if first else {}) | (
            {} if text is None else {"content": text}
        )
        content = {"delta": delta} if self.kind == "chat" else {"text": text or ""}
        choice = {"index": 0, **content, "finish_reason": finish, "logprobs": None}
        return {**self._head, "object": self._chunk, "choices": [choice]}

    def last_chunks(self, *, with_usage: bool) -> list[dict[str, Any]]:
        """Return the chunk that says how the text ended and, on request, one with the usage. `prag` is in the last one."""
        done = self.answering.done
        chunks = [self.chunk(None, finish=done.finish if done else None)]
        if with_usage:
            chunks.append({**self._head, "object": self._chunk, "choices": [], "usage": self.usage()})
        chunks[-1]["prag"] = self.prag()
        return chunks

    def usage(self) -> dict[str, int]:
        """Return the tokens that were read and generated."""
        begun, done = self.answering.begun, self.answering.done
        prompt, completion = begun.prompt_tokens if begun else 0, done.completion_tokens if done else 0
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def prag(self) -> dict[str, Any]:
        """Return the method, its documents and how each was used, and the time of each stage; more where a trace is asked for."""
        answering, begun = self.answering, self.answering.begun
        assert begun is not None  # every answer begins with it
        trace = answering.order.trace
        documents = [
            {
                "doc_id": used.passage.doc_id,
                "chunk": used.passage.chunk,
                "title": used.passage.title,
                "score": used.passage.score,
                "adapter": used.adapter,
                "used_as": used.used_as,
            }
            | ({"text": used.passage.text} if trace else {})
            for used in begun.documents
        ]
        stages = {name: round(value, 2) for name, value in all_timings(answering).items()}
        return {
            "method": answering.order.method,
            "documents": documents,
            "degraded": [
                {"doc_id": doc_id, "chunk": chunk, "reason": reason}
                for (doc_id, chunk), reason in begun.degraded
            ],
            "timings_ms": stages,
            "snapshot": answering.snapshot,
        } | (
            {"rounds": [round_object(retrieval) for retrieval in begun.rounds], "trace": dict(begun.trace)}
            if trace
            else {}
        )


def round_object(retrieval: Round) -> dict[str, Any]:
    """Return a retrieval as its query and the documents that it found."""
    documents = [
        {"doc_id": p.doc_id, "chunk": p.chunk, "title": p.title, "score": p.score} for p in retrieval.passages
    ]
    return {"query": retrieval.query, "documents": documents}


def model_object(name: str) -> dict[str, Any]:
    """Return a method as a model; its `prag` says which options it uses, and whether it retrieves several times."""
    method = METHODS[name]
    uses = {"retrieves": method.retrieves, "adapters": method.merges}
    uses["several_rounds"] = method.kind != "one_round"
    return {"id": name, "object": "model", "created": 0, "owned_by": "prag", "prag": uses}


def all_timings(answering: Answering) -> dict[str, float]:
    """Return milliseconds by stage, 0 for one that was not needed. Only methods of several rounds have `generate`."""
    known = dict(answering.begun.timings_ms if answering.begun else {}) | answering.timings_ms
    stages = (
        "retrieve",
        "fetch",
        "merge",
        "install",
        *(["generate"] if "generate" in known else []),
        "first_token",
        "total",
    )
    return {name: known.get(name, 0.0) for name in stages}


def as_event(chunk: dict[str, Any] | str) -> bytes:
    """Encode a chunk as a server-sent event."""
    data = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False, separators=(",", ":"))
    return f"data: {data}\n\n".encode()
