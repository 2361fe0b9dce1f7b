"""An endpoint through time: the corpus changes under it, its engine is killed, its metrics tell. Leaves the shared one healed."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest
import ray
from ray import serve

from cluster.app import NAME
from prag_core.bank import Bank, delete_documents, restore_documents
from prag_core.retrieval import build_index
from tests.cluster.endpoint import Endpoint, engine_process, wait_until

QUESTION = "In which country is Jelamnax?"
SUBJECT = "dev-000-place"


def ask(endpoint: Endpoint, **options: Any) -> Any:
    messages: Any = [{"role": "user", "content": QUESTION}]
    return endpoint.client.chat.completions.create(
        model="prag", messages=messages, extra_body={"prag": options}
    )


def used(completion: Any) -> list[str]:
    return [document["doc_id"] for document in completion.prag["documents"]]


def test_a_deleted_document_is_gone_without_an_index_and_a_new_snapshot_is_served_when_it_has_one(
    endpoint: Endpoint,
) -> None:
    bank = Bank.open(endpoint.config.bank.uri)
    before = ask(endpoint)
    assert SUBJECT in used(before)
    delete_documents(bank, [SUBJECT])
    wait_until(lambda: SUBJECT not in used(ask(endpoint)))
    assert ask(endpoint).prag["snapshot"] == before.prag["snapshot"]
    for doc_id in (SUBJECT, "nowhere"):
        with pytest.raises(openai.NotFoundError) as missing:
            ask(endpoint, doc_ids=[doc_id])
        assert str(missing.value).replace(doc_id, "…").count("…") == 1
    newest = bank.latest_snapshot()
    assert newest is not None
    build_index(bank, newest, endpoint.config.retrieval)
    wait_until(lambda: ask(endpoint).prag["snapshot"] == newest.name)
    build_index(bank, restore_documents(bank, [SUBJECT]), endpoint.config.retrieval)
    wait_until(lambda: used(ask(endpoint)) == used(before))
    assert ask(endpoint).choices[0].message.content == before.choices[0].message.content


def test_installed_adapters_go_when_nobody_asks_for_them(endpoint: Endpoint) -> None:
    ask(endpoint)
    generator = serve.get_deployment_handle("Generator", NAME)
    wait_until(lambda: generator.status.remote().result()["installed"] == 0)


def test_metrics_tell_stages_and_rejections_and_no_document(endpoint: Endpoint) -> None:
    ask(endpoint)
    with pytest.raises(openai.BadRequestError):
        ask(endpoint, top_k=99)
    address = f"http://{ray.nodes()[0]['NodeManagerAddress']}:{ray.nodes()[0]['MetricsExportPort']}/metrics"

    def scraped() -> str:
        return httpx.get(address, timeout=10).text

    names = (
        "prag_stage_seconds_bucket",
        "prag_requests",
        "prag_rejected",
        "prag_in_flight",
        "prag_adapter_cache_misses",
        "vllm_generation_tokens",
    )
    wait_until(lambda: all(f"ray_{name}" in scraped() for name in names))
    ours = [line for line in scraped().splitlines() if line.startswith("ray_prag_")]
    stages = {found[1] for line in ours if (found := re.search(r'stage="(\w+)"', line))}
    assert stages - {"generate"} == {"retrieve", "fetch", "merge", "install", "first_token", "total"}
    assert not [line for line in ours if "dev-0" in line] and "lora_requests_info" not in scraped()


def test_a_killed_engine_is_replaced_and_no_answer_is_wrong_meanwhile(endpoint: Endpoint) -> None:
    right = ask(endpoint).choices[0].message.content
    engine_process().kill()
    turned_away, recovered = 0, False
    while not recovered:
        try:
            assert ask(endpoint).choices[0].message.content == right
            recovered = turned_away > 0
        except openai.InternalServerError as error:
            assert error.status_code == 503 and int(error.response.headers["retry-after"]) > 0
            turned_away += 1
            time.sleep(0.2)
    patient = replace(endpoint, client=endpoint.client.with_options(max_retries=2))
    assert ask(patient).choices[0].message.content == right
