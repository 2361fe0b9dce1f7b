"""A bank over documents of the miniature world, keys to it, and what a test knows of a running endpoint."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from openai import OpenAI

from cluster.keys.key_file import write_entries
from cluster.keys.keys import Limits, make_key
from prag_core.bank import Bank
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.corpus.reader import read_corpus
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.retrieval import build_index
from prag_core.stages.shard import AugmentStage, TrainStage

MINI = Path(__file__).resolve().parents[2] / "examples/mini"
METHODS = [
    "closed_book",
    "rag",
    "prag",
    "combine",
    "da_rag+prag",
    "ircot",
    "ircot+prag",
    "flare",
    "flare+prag",
]  # offered
DAMAGED = "dev-003-place"  # a document whose adapter is damaged in the bank


@dataclass(frozen=True)
class Endpoint:
    """A running endpoint: where it is, the settings it runs with, its keys by name, and clients that hold the one named `all`
    and do not try again."""

    url: str
    config: Config
    keys: dict[str, str]
    client: OpenAI
    http: httpx.Client


def make_bank(folder: Path, num_documents: int) -> list[str]:
    """A trained and indexed bank of dev documents in `folder`; returns its settings. Strong steps, so that adapters are heard."""
    lines = [
        line
        for line in (MINI / "corpus.jsonl").read_text().splitlines()
        if json.loads(line)["metadata"]["split"] == "dev"
    ]
    (folder / "corpus.jsonl").write_text("\n".join(lines[:num_documents]) + "\n")
    settings = [
        f"corpus.uri={folder}/corpus.jsonl",
        f"bank.uri={folder}/bank",
        "augmentation.engine=transformers",
    ]
    settings += ["engine.dtype=float32", "training.learning_rate=3e-3", "training.epochs=3"]
    config = load_config(settings)
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, bank, read_corpus(config.corpus), prepared, write=True)
    for stage in (AugmentStage(bank.uri, config), TrainStage(bank.uri, config)):
        for shard in plan.shards:
            stage.run(shard.shard_id, shard.documents_object)
    build_index(bank, bank.write_snapshot(plan.wanted()), config.retrieval)
    return settings


def damage(bank: Bank, doc_id: str) -> None:
    """Change a byte of a document's adapter."""
    snapshot = bank.latest_snapshot()
    assert snapshot is not None
    (entry,) = snapshot.lookup([(doc_id, 0)]).values()
    path = Path(bank.uri) / str(entry.adapter_object)
    data = bytearray(path.read_bytes())
    data[int(entry.start or 0)] ^= 1
    path.write_bytes(data)


def wait_until(true: Callable[[], bool]) -> None:
    """Return when it is so, however slow the machine; pytest's own time limit ends a wait in vain."""
    while not true():
        time.sleep(0.05)


def engine_process() -> psutil.Process:
    """The process of the running endpoint's engine."""
    family = psutil.Process().children(recursive=True)
    (engine,) = (process for process in family if "EngineCore" in _title(process))
    return engine


def _title(process: psutil.Process) -> str:
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.NoSuchProcess:  # a short-lived one that was listed
        return ""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def make_keys(path: Path) -> dict[str, str]:
    """A key file with two keys to everything, one to each kind of document, and one that may ask twice a minute."""
    wanted: dict[str, tuple[Limits, dict[str, str] | None]] = {
        "all": (Limits(), None),
        "also_all": (Limits(), None),
        "places": (Limits(), {"kind": "place"}),
        "people": (Limits(), {"kind": "person"}),
        "slow": (Limits(requests_per_minute=2), None),
    }
    made = {name: make_key(name, limits, where, None) for name, (limits, where) in wanted.items()}
    write_entries(path, [entry for _, entry in made.values()])
    return {name: key for name, (key, _) in made.items()}
