"""`prag bank …`: look into a bank, check it, take an adapter out of it, clear it up."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import yaml
from rich.console import Console

from jobs.cli import start
from prag_core.bank import (
    AdapterReader,
    Bank,
    Entry,
    Snapshot,
    Stage,
    encoded_size,
    export_adapter,
    export_initial,
    gc,
    repair,
    verify,
)
from prag_core.config.full_names import flatten
from prag_core.errors import BankError, ConfigError, CorruptBankError
from prag_core.planning.run_stats import read_run_stats
from prag_core.terminal.console import make_table, open_console
from prag_core.terminal.parser import Parser, add_flag
from prag_core.terminal.streams import say

EXAMPLES = """examples:
  prag bank ls out/bank
  prag bank inspect s3://bucket/bank --doc-id 12345
  prag bank verify out/bank
  prag bank repair out/bank --apply
  prag bank export out/bank --doc-id 12345 --out adapter/
  prag bank gc out/bank --apply --grace 24h"""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def main(argv: Sequence[str]) -> int:
    """Run one of the bank's commands; returns the exit code."""
    options = _parser().parse_args(list(argv))
    bank = Bank.open(options.bank)
    return int(options.run(bank, options, open_console()))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="prag bank",
        description="Look into a bank, check it, export from it, clear it up.",
        epilog=EXAMPLES,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary, epilog=EXAMPLES)
        sub.add_argument("bank", metavar="BANK", help="The bank's folder or URI.")
        sub.set_defaults(run=run)
        return sub

    ls = command("ls", list_documents, "List the documents of the newest snapshot, and count them by status.")
    ls.add_argument(
        "--limit", type=int, default=20, metavar="N", help="List N documents (default: 20; 0: all)."
    )
    only = ls.add_mutually_exclusive_group()
    add_flag(
        only, "--quarantined", old_name="--failed", help="List only quarantined documents, with the reasons."
    )
    only.add_argument(
        "--text-only", action="store_true", help="List only documents whose adapter failed the exam."
    )
    inspect = command(
        "inspect",
        inspect_bank,
        "Describe a bank: recipe, shape, commits and snapshot; or, with --doc-id, one document.",
    )
    check = command(
        "verify",
        verify_bank,
        "Check all bytes of a bank against their digests. Exits with 1 if some are damaged.",
    )
    mend = command(
        "repair", repair_bank, "Set apart what is damaged; its documents are new for the next run."
    )
    mend.add_argument("--apply", action="store_true", help="Repair. Without it, only say what is damaged.")
    save = command("export", export, "Write an adapter as a PEFT folder.")
    save.add_argument(
        "--out", required=True, metavar="DIR", help="The folder to write; it must not exist, or be empty."
    )
    save.add_argument(
        "--init", action="store_true", help="Export the initial adapter that all documents start from."
    )
    save.add_argument(
        "--base-model",
        metavar="MODEL",
        help="The base model that adapter_config.json names (default: that of the bank's newest run).",
    )
    for sub in (inspect, save):
        sub.add_argument("--doc-id", metavar="ID", help="The document.")
        sub.add_argument(
            "--chunk", type=int, default=0, metavar="N", help="The chunk of the document (default: 0)."
        )
    clear = command(
        "gc", collect, "Erase deleted documents, leftovers of failed attempts, and old snapshots."
    )
    clear.add_argument("--apply", action="store_true", help="Erase. Without it, only say what would be done.")
    clear.add_argument(
        "--grace",
        type=duration,
        default="24h",
        metavar="TIME",
        help="Keep what is younger: 90m, 24h, 7d (default: 24h).",
    )
    clear.add_argument(
        "--force",
        action="store_true",
        help="Allow a grace period under an hour. Nothing else may be using the bank.",
    )
    for sub in (ls, inspect, check, mend, clear):
        sub.add_argument("--json", action="store_true", help="Print JSON.")
    return parser


def duration(text: str) -> timedelta:
    """Read a duration: `90s`, `30m`, `24h`, `7d`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 90s, 30m, 24h or 7d")
    return timedelta(seconds=float(match[1]) * UNITS[match[2]])


def list_documents(bank: Bank, options: argparse.Namespace, console: Console) -> int:
    snapshot = bank.require_snapshot()
    columns = ["doc_id", "chunk", "status", "tier", "length", "stage", "reason", "score"]
    index = snapshot.index.select(columns)
    if wanted := "failed" if options.quarantined else "text_only" if options.text_only else "":
        index = index.filter([status == wanted for status in index["status"].to_pylist()])
    shown = index.slice(0, options.limit or index.num_rows).to_pylist()
    if options.json:
        found = {"snapshot": snapshot.name, "counts": snapshot.counts, "documents": shown}
        say(json.dumps(found, ensure_ascii=False))
        return 0
    table = make_table("document", "chunk", "status", "tier", "bytes", "score", "why")
    for row in shown:
        why = f"{row['stage']}: {row['reason']}" if row["reason"] else ""
        score = "" if row["score"] is None else f"{row['score']:.2f}"
        size = f"{row['length']:,}" if row["length"] else ""
        table.add_row(
            row["doc_id"], str(row["chunk"]), said(row["status"]), row["tier"] or "", size, score, _clip(why)
        )
    if shown:
        console.print(table)
    more = index.num_rows - len(shown)
    rest = f"; {more:,} not shown (--limit 0 shows all)" if more else ""
    console.print(f"snapshot {snapshot.name}: {count_documents(snapshot)}{rest}")
    return 0


def count_documents(snapshot: Snapshot) -> str:
    """Say how many documents of each status a snapshot has."""
    return ", ".join(f"{number:,} {said(status)}" for status, number in snapshot.counts.items())


def said(status: str) -> str:
    """Return the word for a status: a bank's files have "failed" where users read "quarantined"."""
    return "quarantined" if status == "failed" else status


def inspect_bank(bank: Bank, options: argparse.Namespace, console: Console) -> int:
    facts = (
        describe_document(bank, options.doc_id, options.chunk)
        if options.doc_id is not None
        else describe_bank(bank)
    )
    if options.json:
        say(json.dumps(facts, ensure_ascii=False))
        return 0
    table = make_table("", "", show_header=False)
    for name, value in flatten(facts).items():
        table.add_row(name, str(value))
    console.print(table)
    return 0


def describe_bank(bank: Bank) -> dict[str, Any]:
    """Describe a bank: recipe, shape, sizes, commits and its newest snapshot."""
    snapshot = bank.latest_snapshot()
    layout = bank.layout
    return {
        "uri": bank.uri,
        "recipe_id": bank.recipe.id,
        "recipe": bank.recipe.fields,
        "adapter": {
            "rank": layout.rank,
            "alpha": layout.alpha,
            "modules": len(layout.modules),
            "parameters": layout.num_parameters,
            "bytes": {tier: encoded_size(layout, tier) for tier in ("fp32", "bf16", "int8", "int4")},
        },
        "committed_shards": {stage.value: len(bank.committed_shards(stage)) for stage in Stage},
        "runs": bank.list_runs(),
        "augmentation": dict(read_run_stats(bank).tally),
        "snapshot": snapshot
        and {
            "name": snapshot.name,
            "created": snapshot.manifest["created"],
            "counts": snapshot.counts,
            "data_bytes": sum(info.bytes for info in snapshot.objects.values()),
            "deleted": sorted(snapshot.deleted),
        },
    }


def describe_document(bank: Bank, doc_id: str, chunk: int) -> dict[str, Any]:
    """Collect all that the newest snapshot has of one document."""
    snapshot = bank.require_snapshot()
    entry = snapshot.lookup([(doc_id, chunk)]).get((doc_id, chunk))
    if entry is None:
        gone = " (it was deleted; prag delete --restore brings it back)" if doc_id in snapshot.deleted else ""
        raise BankError(
            f"{bank.uri}: snapshot {snapshot.name} has no document {doc_id!r} chunk {chunk}{gone}"
        )
    facts = {name: value for name, value in asdict(entry).items() if value is not None}
    if entry.documents_object:
        documents = bank.read_documents(snapshot.objects[entry.documents_object])
        facts["document"] = next(asdict(document) for document in documents if document.key == entry.key)
    augmentation = snapshot.augmentations([entry.key]).get(entry.key)
    if augmentation:
        facts["augmentation"] = asdict(augmentation)
    return facts | ({"norms": _norms(bank, snapshot, entry)} if entry.adapter_object else {})


def _norms(bank: Bank, snapshot: Snapshot, entry: Entry) -> dict[str, float]:
    """Compute how far the adapter moves each kind of matrix: the Frobenius norm of scaling · b @ a, over all layers."""
    squares: dict[str, float] = {}
    for name, (a, b) in AdapterReader(bank, snapshot).fetch([entry.key])[entry.key].items():
        kind = name.rsplit(".", 1)[-1]
        squares[kind] = squares.get(kind, 0.0) + float(((b @ a) ** 2).sum())
    return {kind: round(bank.layout.scaling * square**0.5, 4) for kind, square in squares.items()}


def verify_bank(bank: Bank, options: argparse.Namespace, console: Console) -> int:
    problems = verify(bank)
    errors = [problem for problem in problems if problem.severity == "error"]
    if options.json:
        say(json.dumps([asdict(problem) for problem in problems], ensure_ascii=False))
    else:
        for problem in problems:
            say(f"{problem.severity}: {problem.path}: {problem.message}")
        say(f"{bank.uri}: {len(errors)} damaged" if errors else f"{bank.uri}: sound")
    return 1 if errors else 0


def repair_bank(bank: Bank, options: argparse.Namespace, console: Console) -> int:
    report = repair(bank, dry_run=not options.apply)
    if options.json:
        say(json.dumps(asdict(report), ensure_ascii=False))
        return 1 if report.beyond_repair else 0
    for problem in report.damaged:
        say(f"damaged: {problem.path}: {problem.message}")
    if not report.damaged:
        say(f"{bank.uri}: sound, nothing to repair")
    elif report.dry_run:
        say(f"nothing was changed; prag bank repair {bank.uri} --apply sets the damaged files apart")
        return 1
    else:
        names = ", ".join(repr(_clip(doc_id)) for doc_id in report.documents[:10])
        more = f" and {len(report.documents) - 10:,} more" if len(report.documents) > 10 else ""
        say(
            f"the damaged files are in {bank.uri}/{report.folder}; prag bank gc clears them after its grace period"
        )
        say(
            f"{len(report.documents):,} documents are new for the next prag parameterize: {names}{more}".rstrip(
                ": "
            )
        )
    for problem in report.beyond_repair:
        say(f"restore from a copy: {problem.path}: {problem.message}")
    return 1 if report.beyond_repair else 0


def export(bank: Bank, options: argparse.Namespace, console: Console) -> int:
    if options.init == (options.doc_id is not None):
        raise ConfigError("prag bank export takes either --doc-id ID or --init")
    base = options.base_model or base_model_of(bank)
    if options.init:
        folder = export_initial(bank, options.out, base)
    else:
        folder = export_adapter(bank, (options.doc_id, options.chunk), options.out, base)
    console.print(
        f"{folder}: a PEFT adapter; PeftModel.from_pretrained(base_model, {str(folder)!r}) loads it"
    )
    return 0


def base_model_of(bank: Bank) -> str | None:
    """Return the base model's name or path as the newest run that has one was given it."""
    for run in reversed(bank.list_runs()):
        try:
            return str(yaml.safe_load(bank.read_run(run, "config.yaml"))["model"]["path"])
        except CorruptBankError:
            raise
        except (BankError, KeyError, TypeError, yaml.YAMLError):
            continue
    return None


def collect(bank: Bank, options: argparse.Namespace, console: Console) -> int:
    report = gc(bank, options.grace, dry_run=not options.apply, force=options.force)
    if options.json:
        say(json.dumps(asdict(report), ensure_ascii=False))
        return 0
    would = "" if options.apply else "would be "
    table = make_table("what", "how many", "bytes")
    table.add_row(f"deleted documents {would}erased", str(len(report.erased)), "")
    table.add_row(f"wordings that left the corpus {would}erased", str(report.freed), "")
    table.add_row(f"shards {would}rewritten", str(len(report.rewritten)), "")
    table.add_row(f"files {would}removed", str(len(report.removed)), f"{sum(report.removed.values()):,}")
    table.add_row(f"uploads {would}given up", str(len(report.uploads)), "")
    table.add_row(
        "files still in their grace period", str(len(report.waiting)), f"{sum(report.waiting.values()):,}"
    )
    console.print(table)
    if not options.apply:
        console.print("Nothing was changed; run it with --apply to erase.")
    if report.overtook:
        console.print(
            f"another command published snapshot {report.overtook} meanwhile; the one of gc was made from it"
        )
    return 0


def _clip(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"


if __name__ == "__main__":
    sys.exit(start("bank", *sys.argv[1:]))
