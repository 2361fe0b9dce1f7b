"""A run says how it is resumed, and what left the bank for its corpus."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from jobs.make_bank import make_bank, resume_command
from prag_core.bank import Bank, Stage
from prag_core.config.load import load_config
from prag_core.corpus.reader import read_corpus
from prag_core.identity import content_hash
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Failure


def test_the_command_that_resumes_leaves_out_the_options_of_one_run_and_quotes_for_a_shell() -> None:
    arguments = ["my table.yaml", "--dry-run", "training.epochs=2", "--retry-quarantined", "--retry-failed"]
    assert resume_command("ablate", arguments) == "prag ablate 'my table.yaml' training.epochs=2"


def test_a_run_over_less_than_the_last_one_says_at_the_terminal_what_left(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"doc_id": name, "text": f"A text about {name}."}) for name in ("ada", "bo")]
    corpus.write_text("\n".join(lines))
    config = load_config([f"corpus.uri={corpus}", f"bank.uri={tmp_path}/bank"])
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, bank, read_corpus(config.corpus), prepared, write=True)
    (shard,) = plan.shards
    for stage in (Stage.augmentations, Stage.adapters):
        with bank.begin(stage, shard.shard_id) as writer:
            for document in bank.read_documents(shard.documents) if stage is Stage.augmentations else ():
                writer.add(Failure(*document.key, content_hash(document), "augment", "no reason", 1))
            writer.commit()
    bank.write_snapshot(plan.wanted())
    corpus.write_text(lines[0])
    console = Console(file=StringIO(), width=200)
    assert make_bank(config, "prag parameterize", console) == 0
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 document of the last snapshot is not in this corpus and left it: bo" in said
