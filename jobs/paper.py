"""`prag paper`: reproduce a table of "Parametric Retrieval Augmented Generation" and print it beside the published numbers.

One command takes a table from the published files to the printed numbers: the corpus is narrowed to what the questions
retrieve, the initial adapters are warmed up where a row wants that, banks are made on Ray, every run is answered and scored.
What an earlier command made is reused, so that the same command resumes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console

from jobs.cli import start
from jobs.make_bank import resume_command
from jobs.progress import stage_progress
from jobs.tables import carry_out, show_plan
from prag_core.bank.initial_adapter import read_warm_start, write_warm_start
from prag_core.config.command_line import settings_parser
from prag_core.config.dump import as_dict, as_yaml
from prag_core.corpus.reader import read_corpus
from prag_core.corpus.writer import write_corpus
from prag_core.evaluation.output import show_table, write_report
from prag_core.evaluation.tables import table_to_markdown
from prag_core.experiments.banks import NamedBank
from prag_core.experiments.fields import read_fields
from prag_core.experiments.paper.columns import (
    Reproduction,
    check_data,
    choose,
    column_questions,
    column_tables,
)
from prag_core.experiments.paper.description import (
    Column,
    load_paper_table,
    load_setup,
    table_names,
)
from prag_core.experiments.paper.results import measure, result_tables, to_json
from prag_core.experiments.paper.warm import warm_config
from prag_core.experiments.plan import PlannedRun, PlannedTable
from prag_core.experiments.workspace import Workspace
from prag_core.identity import digest
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.retrieval.narrow import narrow_corpora
from prag_core.storage import open_root, put_whole, storage_errors
from prag_core.terminal.console import open_console
from prag_core.terminal.parser import add_flag
from prag_core.terminal.streams import say, stderr, warn
from prag_core.training.warmup import warm_up

EXAMPLE = "prag paper main --model llama-3.2-1b --dataset popqa paper.data=data --dry-run"

Planned = Mapping[tuple[str, Column], PlannedTable]  # by model and column


def main(argv: Sequence[str]) -> int:
    help = f"The table: {', '.join(table_names())}, or a YAML file (docs/paper.md)."
    parser = settings_parser(
        "paper",
        "Reproduce a published table, and print it beside its published numbers. Run it again to resume.",
        EXAMPLE,
        table=help,
    )
    parser.add_argument(
        "--model", action="append", default=[], help="Make only this model's part. May be repeated."
    )
    parser.add_argument(
        "--dataset", action="append", default=[], help="Make only this question set's part. May be repeated."
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="Only report what would be made, and what that costs."
    )
    add_flag(
        parser, "--retry-quarantined", old_name="--retry-failed", help="Try quarantined documents again."
    )
    options = parser.parse_intermixed_args(list(argv))
    setup = load_setup()
    overrides = [*(read_fields(file, resolve=False) for file in options.config), *options.settings]
    made = choose(load_paper_table(options.table, setup), setup, options.model, options.dataset, overrides)
    if options.print_config:
        say(as_yaml(made.config(made.datasets[0], made.models[0])).rstrip())
        return 0
    check_data(made)
    console, out = open_console(stderr()), made.config(made.datasets[0]).paper.out.rstrip("/")
    corpora = narrowed(made, out)
    wanted = any(row.warm for row in made.table.rows)
    warm = warmed_up(made, out, console, train=not options.dry_run) if wanted else {}
    workspace = Workspace(out)
    planned = {
        (model, column): workspace.plan(table) for model, column, table in column_tables(made, corpora, warm)
    }
    tables, retry_failed = [*planned.values()], options.retry_quarantined
    missing = workspace.missing_banks(tables, retry_failed=retry_failed)
    show_plan(made.table.title, runs_by_set(made, planned), missing, workspace, console)
    if options.dry_run:
        show_costs(missing)
        return 0
    command = resume_command("paper", argv)
    if not carry_out(tables, missing, workspace, command, console, retry_failed=retry_failed):
        return 1
    publish(made, planned, workspace)
    return 0


def narrowed(made: Reproduction, out: str) -> dict[str, str]:
    """Write the passages that each question set retrieves; return their locations. All sets share the passes over the corpus."""
    config = made.config(made.datasets[0])
    corpus, depth = config.corpus, config.retrieval.top_k
    asked = {
        d.name: sorted({q.question for column in column_questions(made, d).values() for q in column})
        for d in made.datasets
    }
    source = [as_dict(corpus), _size(corpus.uri), as_dict(config.retrieval)]
    places = {
        name: f"{out}/corpora/{name}-{digest([source, questions])[:16]}.jsonl"
        for name, questions in asked.items()
    }
    fs, _ = open_root(out)
    if missing := {name: asked[name] for name, uri in places.items() if not fs.exists(open_root(uri)[1])}:
        warn(
            f"reading {corpus.uri} for {sum(map(len, missing.values())):,} questions of {', '.join(missing)}"
        )
        for name, found in narrow_corpora(corpus, missing, config.retrieval, depth).items():
            write_corpus(found.documents, places[name])
            warn(f"{name}: {found.summary()}")
    return places


def _size(uri: str) -> int | None:
    fs, path = open_root(uri)
    return fs.size(path) if fs.isfile(path) else None


def warmed_up(made: Reproduction, out: str, console: Console, *, train: bool) -> dict[tuple[str, str], str]:
    """Return each model's initial adapter for each question set; sets that are answered directly share one. Without `train` only
    adapters that exist."""
    found = {}
    for model in made.models:
        for dataset in made.datasets:
            config = warm_config(made, model, dataset, f"{out}/warm")
            if not train and read_warm_start(config.warmup.out) is None:
                warn(
                    f"{model.title}, {dataset.title}: an initial adapter to warm up; what starts from it is not counted"
                )
                continue
            with stage_progress(console) as tick:
                done = warm_up(config, tick)
            if not done.reused:
                write_warm_start(config.warmup.out, done.warm)
            found[model.name, dataset.name] = config.warmup.out
    return found


def runs_by_set(made: Reproduction, planned: Planned) -> dict[str, list[PlannedRun]]:
    """Group the runs of all columns by model and question set."""
    return {
        f"{model.title}, {dataset.title}": [
            run
            for (name, column), planned_table in planned.items()
            if (name, column[0]) == (model.name, dataset.name)
            for run in planned_table.runs
        ]
        for model in made.models
        for dataset in made.datasets
    }


def show_costs(missing: Sequence[NamedBank]) -> None:
    """Print what making the banks would take, estimated as by `prag plan`."""
    for bank in missing:
        prepared = prepare_recipe(bank.config)
        plan = make_plan(bank.config, None, read_corpus(bank.config.corpus), prepared, write=False)
        cost, todo = plan.estimate, sum(shard.num_documents for shard in plan.shards)
        what = f"{todo:,} documents, {cost.gpu_hours:.2g} GPU hours (prag plan says what is assumed)"
        say(f"{bank.uri}: {what}, {cost.bank_bytes / 1e9:.2f} GB")


def publish(made: Reproduction, planned: Planned, workspace: Workspace) -> None:
    """Print the table; write it as Markdown and JSON, and the whole report of every column beside it."""
    table, results, out = made.table, {}, workspace.out
    for (model, column), planned_table in planned.items():
        report = workspace.report(planned_table)
        write_report(report, f"{out}/{table.name}/{planned_table.table.name}")
        for row in table.rows:
            published = table.published.get(model, {}).get(row.label, {}).get(column)
            result = report.methods[table.answered_by(row).label]
            results[model, row.label, column] = measure(row, result, published)
    models = {model.name: made.config(made.datasets[0], model).model.path for model in made.models}
    text_tables = [*result_tables(table, made.setup, models, results)]
    markdown = "\n\n".join([f"# {table.title}", *map(table_to_markdown, text_tables)]) + "\n"
    contents = {
        f"{table.name}.md": markdown,
        f"{table.name}.json": json.dumps(to_json(table, results), indent=1) + "\n",
    }
    fs, root = open_root(out)
    for name, text in contents.items():
        with storage_errors("writing", f"{out}/{name}"):
            put_whole(fs, f"{root}/{name}", text.encode())
    for shown in text_tables:
        show_table(shown, open_console())
    for name in contents:
        say(f"{out}/{name}")


if __name__ == "__main__":
    sys.exit(start("paper", *sys.argv[1:]))
