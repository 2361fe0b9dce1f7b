"""A run on a local Ray: what it leaves behind, killed or not, on a folder and on S3."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest

from jobs import cli
from jobs.make_bank import report
from prag_core.bank import Bank, Stage
from prag_core.bank.tables import WANTED
from prag_core.bank.verify import verify
from prag_core.identity import Recipe, content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Adapter, Document, Factors
from prag_core.terminal.console import open_console

ROOT = Path(__file__).resolve().parents[2]
PRAG = [sys.executable, "-m", "jobs.cli"]
FAST = [
    "augmentation.engine=transformers",
    "augmentation.num_qa_pairs=3",
    "augmentation.num_rewrites=0",
    "training.epochs=1",
    "bank.shard_documents=2",
]
SHARDS, DOCUMENTS = 6, 12


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """The first documents of the miniature world."""
    lines = (ROOT / "examples/mini/corpus.jsonl").read_text().splitlines()[:DOCUMENTS]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def command(corpus: Path, uri: str, *more: str) -> list[str]:
    return [*PRAG, "parameterize", f"corpus.uri={corpus}", f"bank.uri={uri}", *FAST, *more]


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


@contextmanager
def started(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A run in the background, ended with all it started when the block is left."""
    driver = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield driver
    finally:
        if driver.poll() is None:
            for process in [*psutil.Process(driver.pid).children(recursive=True), driver]:
                process.kill()
            driver.communicate()


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"the run ended before it was stopped: {process.communicate()}"
        assert time.monotonic() < deadline, "the run made no progress"
        time.sleep(0.2)


def foreign_lines(printed: str) -> list[str]:
    """What is no line of prag's: Ray, vLLM and the like belong into the log."""
    ours = (
        r"[\d,]+ documents: .*|[\d,]+ of [\d,]+ documents written, .*|shard \d+/\d+ \w+: .*|\S+: snapshot .*|"
        r"Interrupted\. .*|What libraries printed .*"
    )
    return [line for line in printed.splitlines() if not re.fullmatch(ours, line)]


def training_workers(driver: subprocess.Popen[str]) -> list[psutil.Process]:
    """The Ray actors that train, among the processes the driver started."""
    found = psutil.Process(driver.pid).children(recursive=True)
    return [process for process in found if "TrainActor" in " ".join(process.cmdline())]


def committed(uri: str) -> dict[str, str]:
    """shard → attempt of the adapters that are committed; empty before there is a bank."""
    try:
        return {
            shard: commit.attempt for shard, commit in Bank.open(uri).list_commits(Stage.adapters).items()
        }
    except Exception:
        return {}


def test_killed_workers_and_a_stopped_driver_lose_and_double_nothing(
    corpus: Path, bank_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parameterize = command(corpus, bank_uri)
    with started(parameterize) as driver:
        wait_until(lambda: len(committed(bank_uri)) >= 1, driver)
        workers = training_workers(driver)
        assert workers, "no training actor to kill"
        workers[0].kill()
        wait_until(lambda: len(committed(bank_uri)) >= 2, driver)
        children = psutil.Process(driver.pid).children(recursive=True)
        driver.send_signal(signal.SIGTERM)
        _, printed = driver.communicate(timeout=120)
        assert driver.returncode == 128 + signal.SIGTERM
        assert not foreign_lines(printed)
        assert "Interrupted. The same command goes on where it stopped." in printed
        psutil.wait_procs(children, timeout=60)
        assert not [process for process in children if process.is_running()], (
            "the driver left processes behind"
        )
    before = committed(bank_uri)
    assert 2 <= len(before) < SHARDS

    resumed = run(parameterize)
    assert not foreign_lines(resumed.stderr) and resumed.stdout == ""
    after = committed(bank_uri)
    assert len(after) == SHARDS
    assert before.items() <= after.items(), "a committed shard was done again"
    check_whole(bank_uri, corpus)

    snapshot = Bank.open(bank_uri).latest_snapshot()
    assert snapshot is not None
    assert cli.main(parameterize[len(PRAG) :]) == 0
    assert "0 to do in 0 shards" in capsys.readouterr().err
    assert committed(bank_uri) == after
    newest = Bank.open(bank_uri).latest_snapshot()
    assert newest is not None and newest.name == snapshot.name


def check_whole(uri: str, corpus: Path) -> None:
    """Adapters and quarantined documents are disjoint and together are the corpus; every byte is what was written."""
    bank = Bank.open(uri)
    snapshot = bank.latest_snapshot()
    assert snapshot is not None
    index = snapshot.index.select(["doc_id", "status"]).to_pylist()
    wanted = sorted(json.loads(line)["doc_id"] for line in corpus.read_text().splitlines())
    assert sorted(row["doc_id"] for row in index) == wanted
    assert sum(row["status"] == "adapter" for row in index) >= 0.8 * len(wanted)
    assert not [problem for problem in verify(bank) if problem.severity == "error"]


def test_the_report_counts_what_is_answered_from_as_text_and_says_where_it_is_listed(tmp_path: Path) -> None:
    layout = AdapterLayout((ModuleShape("up_proj", 4, 3),), 2, 32.0)
    factors = {"up_proj": Factors(np.ones((2, 4), np.float32), np.ones((3, 2), np.float32))}
    bank = Bank.create(str(tmp_path / "bank"), Recipe({"model": "tiny"}), layout, factors)
    documents = [Document(name, "text") for name in ("known", "forgotten")]
    with bank.begin(Stage.adapters, "shard") as writer:
        for document, score in zip(documents, (1.0, 0.0), strict=True):
            figures: dict[str, Any] = {"accepted": score > 0, "score": score}
            writer.add(
                Adapter(
                    *document.key,
                    content_hash(document),
                    factors,
                    steps=5,
                    tokens=100,
                    loss_first=3.0,
                    loss_last=1.0,
                    **figures,
                )
            )
        writer.commit([bank.write_documents("shard", documents)])
    rows = [{"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in documents]
    printed = io.StringIO()
    report(
        bank.uri,
        bank.write_snapshot(pa.Table.from_pylist(rows, WANTED)),
        [],
        "prag parameterize",
        open_console(printed),
    )
    assert "1 adapters, 1 documents text_only, 0 documents quarantined" in printed.getvalue()
    assert (
        f"prag bank ls {bank.uri} --text-only" in printed.getvalue()
        and "--retry-quarantined" not in printed.getvalue()
    )


def test_one_bad_shard_does_not_stop_the_others_and_the_report_says_how_to_go_on(
    corpus: Path, tmp_path: Path
) -> None:
    """A shard whose documents were damaged on disk fails; the rest are committed; exit code 1 names shard and command."""
    uri = str(tmp_path / "bank")
    corpus.write_text("\n".join(corpus.read_text().splitlines()[:6]) + "\n")
    with started(command(corpus, uri)) as driver:
        wait_until(lambda: list(Path(uri).glob("runs/*/plan.json")), driver)
        damaged = max(Path(uri).glob("documents/*.parquet"), key=os.path.getmtime)
        damaged.write_bytes(damaged.read_bytes()[:-100])
        _, printed = driver.communicate(timeout=600)
    assert driver.returncode == 1
    assert len(committed(uri)) == 2
    shard = damaged.name.split("-")[0]
    assert f"shard {shard} failed" in printed and "to go on with them: prag parameterize" in printed
