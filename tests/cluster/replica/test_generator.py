"""A generator turns what ends a task into a refusal that its caller understands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoTokenizer

from cluster.records import Event, Found, Inquiry, Order, Refusal, Task
from cluster.replica.generator import Generator
from cluster.replica.installer import NoRoom
from prag_core.config.load import load_config
from prag_core.config.schema import MergeConfig, MethodsConfig, PromptConfig
from prag_core.engines.base import Decoding
from prag_core.records import Passage

NO_SYSTEM = "System role not supported"
NO_TWO_TURNS = "Conversation roles must alternate"
TEMPLATE = (
    "{% for turn in messages %}"
    "{% if turn.role == 'system' %}{{ raise_exception('" + NO_SYSTEM + "') }}{% endif %}"
    "{% if (turn.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('"
    + NO_TWO_TURNS
    + "') }}{% endif %}"
    "{{ turn.content }}{% endfor %}"
)
SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}
FOUND = Found("one", 7, (Passage("place", 0, "A place", "It lies.", 2.0),))


class Replica:
    """A replica that gets as far as a prompt: its tokenizer's chat template refuses system turns and two user turns."""

    def __init__(self, *, slots_in_use: bool = False) -> None:
        self.slots_in_use = slots_in_use
        tokenizer: Any = AutoTokenizer.from_pretrained(load_config().model.path)
        tokenizer.chat_template = TEMPLATE
        self.engine = SimpleNamespace(tokenizer=tokenizer, max_length=1000, max_rank=8)
        self.threads, self.at_work = ThreadPoolExecutor(1), set[Any]()
        self.bank = SimpleNamespace(recipe=SimpleNamespace(id="recipe"))
        self.wording, self.fewshot, self.methods = PromptConfig(), (), MethodsConfig()
        self.layout = self.start = None
        self.watch = SimpleNamespace(look=self._look)

    async def _look(self, number: int) -> None: ...

    @asynccontextmanager
    async def adapter(self, *_: Any) -> AsyncIterator[None]:
        if self.slots_in_use:
            raise NoRoom("all 4 adapters that the engine has room for are in use")
        yield None

    def outdated(self, keys: Any) -> None: ...

    def rule(self, name: str | None) -> MergeConfig:
        return MergeConfig()


def events_of(task: Task, **replica: bool) -> list[Event]:
    """The events of a task at a generator over such a replica."""

    async def find(inquiry: Inquiry) -> Found:
        return FOUND

    async def scenario() -> list[Event]:
        generator: Any = Generator.__new__(Generator)
        generator.replica = Replica(**replica)
        generator._retriever = SimpleNamespace(find=SimpleNamespace(remote=find))
        events = [event async for event in generator.answer(task)]
        generator.replica.threads.shutdown()
        del generator.replica  # a replica is closed with its generator; this one has nothing to close
        return events

    return asyncio.run(scenario())


def task_of(method: str, *earlier: Any) -> Task:
    order = Order(
        model=method,
        method=method,
        question="Where?",
        decoding=Decoding(8),
        inquiry=Inquiry("Where?", 1),
        earlier=earlier,
    )
    return Task(request_id="id", order=order, found=FOUND)


@pytest.mark.parametrize("method", ["closed_book", "rag", "ircot"])
@pytest.mark.parametrize(("turn", "sentence"), [(SYSTEM, NO_SYSTEM), (USER, NO_TWO_TURNS)])
def test_messages_that_the_chat_template_refuses_are_a_400_with_its_sentence(
    method: str, turn: dict[str, str], sentence: str
) -> None:
    (refusal,) = events_of(task_of(method, turn))
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.param, refusal.code) == (400, "messages", "template_refused")
    assert refusal.message.endswith(sentence)


@pytest.mark.parametrize("method", ["rag", "ircot"])
def test_a_request_that_finds_every_adapter_slot_in_use_is_a_503_that_may_be_tried_again(method: str) -> None:
    (refusal,) = events_of(task_of(method), slots_in_use=True)
    assert isinstance(refusal, Refusal)
    assert (refusal.status, refusal.code, refusal.retry_after) == (503, "overloaded", 1)
