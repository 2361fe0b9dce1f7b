"""A retriever of several: what it is told that another has seen, it sees, too."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from cluster import retriever
from cluster.records import Found, Inquiry
from cluster.retriever import Retriever
from prag_core.bank import Bank, delete_documents
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.retrieval import build_index

SUBJECT = "dev-000-place"
INQUIRY = Inquiry("In which country is Jelamnax?", 2)


@pytest.fixture
def config(untrained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A bank of its own, and no looking around meanwhile."""
    shutil.copytree(load_config(untrained).bank.uri, tmp_path / "bank")
    monkeypatch.setattr(retriever, "keep_to_loopback", lambda: None)
    return load_config([*untrained, f"bank.uri={tmp_path}/bank", "serve.poll_seconds=3600"])


async def found(made: Retriever, at_least: int) -> list[str]:
    answer = await made.find(Inquiry(INQUIRY.query, INQUIRY.top_k, at_least=at_least))
    assert isinstance(answer, Found)
    return [passage.doc_id for passage in answer.passages]


def test_what_another_has_seen_is_seen_first_deletions_and_then_the_index(config: Config) -> None:
    async def scenario() -> None:
        made: Any = Retriever.__new__(Retriever)
        await made.__init__(config)
        bank, old = Bank.open(config.bank.uri), await made.current(0)
        assert SUBJECT in await found(made, 0)
        newest = delete_documents(bank, [SUBJECT])
        assert SUBJECT in await found(made, 0)  # nobody has said so yet
        assert SUBJECT not in await found(made, newest.number)
        assert await made.current(0) == Found(old.snapshot, newest.number)
        build_index(bank, newest, config.retrieval)
        assert await made.current(0) == Found(old.snapshot, newest.number)
        assert await made.current(newest.number) == Found(newest.name, newest.number)

    asyncio.run(scenario())
