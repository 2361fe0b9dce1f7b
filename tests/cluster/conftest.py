"""One bank and one running endpoint for all of its tests: the real Serve application, engine and HTTP."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from cluster.serve import shut_down, start
from prag_core.bank import Bank
from prag_core.config.load import load_config
from tests.cluster.endpoint import DAMAGED, METHODS, MINI, Endpoint, damage, free_port, make_bank, make_keys
from tests.untrained import make_untrained_bank


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of a bank of 24 documents, one of them damaged."""
    made = make_bank(tmp_path_factory.mktemp("endpoint"), 24)
    damage(Bank.open(load_config(made).bank.uri), DAMAGED)
    return made


@pytest.fixture(scope="package")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Settings of a bank without adapters, which takes no training to make."""
    return make_untrained_bank(tmp_path_factory.mktemp("untrained"))


@pytest.fixture(scope="session")
def endpoint(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """The endpoint that all tests share. Those that change it (test_life) leave it as they found it."""
    keys_file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    keys = make_keys(keys_file)
    quick = [
        "serve.poll_seconds=0.3",
        "serve.health_seconds=0.5",
        "serve.grace_seconds=1",
        "serve.drain_seconds=5",
        "serve.timeout_seconds=900",
    ]
    quick += [
        f"serve.port={free_port()}",
        f"serve.keys={keys_file}",
        "serve.cors_origins=[https://app.example]",
        "engine.max_sequences=16",
        "serve.max_queued=256",
    ]
    quick += [
        f"serve.methods=[{','.join(METHODS)}]",
        "methods.max_documents=4",
    ]  # as large adapter slots as without
    config = load_config([*settings, *quick])
    os.environ.setdefault("RAY_metrics_report_interval_ms", "2000")  # not ten seconds: tests wait for them
    url = start(config)
    client = OpenAI(base_url=url, api_key=keys["all"], max_retries=0, timeout=60)
    headers = {"authorization": f"Bearer {keys['all']}"}
    try:
        with httpx.Client(base_url=url.removesuffix("/v1"), timeout=60, headers=headers) as http:
            yield Endpoint(url, config, keys, client, http)
    finally:
        shut_down()


@pytest.fixture(scope="session")
def questions_about(settings: list[str]) -> dict[str, list[str]]:
    """Single-hop questions by the document of the bank that answers them."""
    found: dict[str, list[str]] = {}
    for line in Path(load_config(settings).corpus.uri).read_text().splitlines():
        found[json.loads(line)["doc_id"]] = []
    for line in (MINI / "questions.dev.jsonl").read_text().splitlines():
        asked = json.loads(line)
        if asked["type"] == "single" and asked["gold_doc_ids"][0] in found:
            found[asked["gold_doc_ids"][0]].append(asked["question"])
    return found


@pytest.fixture(scope="session")
def questions(questions_about: dict[str, list[str]]) -> list[str]:
    return [question for asked in questions_about.values() for question in asked]
