"""`prag ask`: answer one question from the bank, and show what was retrieved and merged, and how long it took."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.text import Text

from prag_core.answering.registry import METHODS, find_method, most_documents
from prag_core.answering.tools import open_tools
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.evaluation.metrics import extract_answer
from prag_core.records import Answer, Question
from prag_core.retrieval import Filter
from prag_core.terminal.console import make_table, open_console
from prag_core.terminal.streams import say

EXAMPLE = 'prag ask "Where was Ada born?" --method combine bank.uri=out/bank --filter kind=person merge.rule=score_weighted'


def main(argv: Sequence[str]) -> int:
    parser = settings_parser(
        "ask",
        "Answer one question from a bank, and show what it rests on.",
        EXAMPLE,
        question="The question, in quotes.",
    )
    known = ", ".join(name for name in METHODS if not name.endswith("_gold"))
    parser.add_argument("--method", default="prag", help=f"The method: {known} (default: prag).")
    parser.add_argument(
        "--filter",
        metavar="FIELD=VALUE",
        action="append",
        help="Take only documents with this metadata. May be repeated: several fields must all hold; of one field's values, any.",
    )
    parser.add_argument(
        "--trace", action="store_true", help="Show every retrieval: the query and what it found."
    )
    parser.add_argument("--json", action="store_true", help="Print the whole answer as JSON.")
    config, options = parse_settings(parser, argv)
    method = find_method(options.method)
    where = Filter.from_text(options.filter) if options.filter else None
    with open_tools(config, {"": config.bank.uri}, where, most_documents([method], config)) as tools:
        question = Question("", options.question, ())
        (answer,) = method.answer([question], tools[""])
        cot = tools[""].prompt.cot
    if options.json:
        say(json.dumps(asdict(answer), ensure_ascii=False, indent=2))
    else:
        show(answer, extract_answer(answer.text, cot), open_console(), trace=options.trace)
    return 0


def show(answer: Answer, short: str, console: Console, *, trace: bool = False) -> None:
    """Print the answer, then the passages behind it and how each was used; with `trace`, every retrieval on the way to it."""
    whole = answer.text.strip()
    console.print(Text(short or "(no answer)", style="bold"))
    if whole != short:
        console.print(Text(whole, style="dim"))
    if answer.route:
        console.print(f"answered by {answer.route}")
    if answer.passages:
        table = make_table("document", "title", "score", "used as")
        degraded = dict(answer.degraded)
        for passage in answer.passages:
            used = "adapter" if passage.key in answer.adapters else "text"
            used = "text and adapter" if used == "adapter" and passage.key in answer.shown else used
            used = f"text ({degraded[passage.key]})" if passage.key in degraded else used
            table.add_row(f"{passage.doc_id}#{passage.chunk}", passage.title, f"{passage.score:.2f}", used)
        console.print(table)
    for number, made in enumerate(answer.rounds if trace else (), 1):
        found = ", ".join(
            f"{passage.title or passage.doc_id} ({passage.score:.2f})" for passage in made.passages
        )
        console.print(f"retrieval {number}: “{made.query}” → {found or 'nothing'}")
    timings = ", ".join(f"{stage} {ms:.0f} ms" for stage, ms in answer.timings_ms.items())
    retrievals = f"{len(answer.rounds)} retrieval{'s' * (len(answer.rounds) != 1)}"
    console.print(Text(f"{timings}; {retrievals}, {answer.num_tokens} tokens generated", style="dim"))
