"""`prag paper`: a table of "Parametric Retrieval Augmented Generation", made again and printed beside its published figures.

One command takes a table from the published files to the printed figures: the corpus is narrowed to what the questions
retrieve, the initial adapters are warmed up where a row wants that, banks are made on Ray, every run is answered and scored.
What an earlier command has made is taken from there, so that the same command goes on where it stopped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence

from rich.console import Console

from jobs.ablate import answer_all_missing, banks_to_make, make_banks
from jobs.make_bank import resume_command
from jobs.progress import stage_progress
from prag_core.bank.initial_adapter import read_warm_start, write_warm_start
from prag_core.config.command_line import settings_parser
from prag_core.config.schema import as_dict, as_yaml
from prag_core.corpus.reader import read_corpus
from prag_core.corpus.writer import write_corpus
from prag_core.evaluation.output import show_grid, write_report
from prag_core.evaluation.tables import grid_to_markdown
from prag_core.experiments.ablations.answers import AnswerStore
from prag_core.experiments.ablations.banks import BankNames, NamedBank
from prag_core.experiments.ablations.run import PlannedTable, find_answers, plan_table, report_table
from prag_core.experiments.paper.columns import (
    Reproduction,
    check_data,
    choose,
    column_questions,
    column_tables,
)
from prag_core.experiments.paper.description import (
    Cell,
    load_paper_table,
    load_setup,
    read_settings,
    table_names,
)
from prag_core.experiments.paper.grid import measure, paper_grids, to_json
from prag_core.experiments.paper.warm import warm_config
from prag_core.identity import digest
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.retrieval.narrow import narrow_corpora
from prag_core.storage import open_root, put_whole, storage_errors
from prag_core.training.warmup import warm_up

EXAMPLE = "prag paper main --model llama-3.2-1b --dataset popqa paper.data=data --dry-run"

Planned = Mapping[tuple[str, Cell], PlannedTable]  # by model and column


def main(argv: Sequence[str]) -> int:
    help = f"{', '.join(table_names())}, or a YAML file"
    parser = settings_parser(
        "paper", "Make a published table again, beside its published figures.", EXAMPLE, table=help
    )
    parser.add_argument("--model", action="append", default=[], help="only this model (again for another)")
    parser.add_argument(
        "--dataset", action="append", default=[], help="only this question set (again for another)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be made, and what that costs"
    )
    parser.add_argument(
        "--retry-failed", action="store_true", help="try documents again that were quarantined"
    )
    options = parser.parse_intermixed_args(list(argv))
    setup = load_setup()
    overrides = [*map(read_settings, options.config), *options.settings]
    made = choose(load_paper_table(options.table, setup), setup, options.model, options.dataset, overrides)
    if options.print_config:
        print(as_yaml(made.config(made.datasets[0], made.models[0])), end="")
        return 0
    check_data(made)
    console, out = Console(stderr=True), made.config(made.datasets[0]).paper.out.rstrip("/")
    command = resume_command("paper", argv)
    corpora = narrowed(made, out, console)
    wanted = any(row.warm for row in made.table.rows)
    warm = warmed_up(made, out, console, train=not options.dry_run) if wanted else {}
    names, store = BankNames(f"{out}/banks"), AnswerStore(f"{out}/answers")
    planned = {
        (model, cell): plan_table(table, names) for model, cell, table in column_tables(made, corpora, warm)
    }
    missing = banks_to_make([*planned.values()], retry_failed=options.retry_failed)
    show_plan(made, planned, missing, store, console)
    if options.dry_run:
        show_costs(missing, Console())
        return 0
    if not make_banks(missing, [*planned.values()], command, console, retry_failed=options.retry_failed):
        return 1
    answer_all_missing([*planned.values()], store, console)
    publish(made, planned, store, out)
    return 0


def narrowed(made: Reproduction, out: str, console: Console) -> dict[str, str]:
    """Where the passages lie that each question set retrieves. They are looked for once, for all sets in the same passes."""
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
        say(
            f"reading {corpus.uri} for {sum(map(len, missing.values())):,} questions of {', '.join(missing)}",
            console,
        )
        for name, found in narrow_corpora(corpus, missing, config.retrieval, depth).items():
            write_corpus(found.documents, places[name])
            say(f"{name}: {found.summary()}", console)
    return places


def say(text: str, console: Console) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _size(uri: str) -> int | None:
    fs, path = open_root(uri)
    return fs.size(path) if fs.isfile(path) else None


def warmed_up(made: Reproduction, out: str, console: Console, *, train: bool) -> dict[tuple[str, str], str]:
    """Each model's initial adapter for each question set: one for all that are answered directly. Without `train` only those
    that are there."""
    found = {}
    for model in made.models:
        for dataset in made.datasets:
            config = warm_config(made, model, dataset, f"{out}/warm")
            if not train and read_warm_start(config.warmup.out) is None:
                say(
                    f"{model.title}, {dataset.title}: an initial adapter to warm up; what starts from it is not counted",
                    console,
                )
                continue
            with stage_progress(console) as tick:
                done = warm_up(config, tick)
            if not done.reused:
                write_warm_start(config.warmup.out, done.warm)
            found[model.name, dataset.name] = config.warmup.out
    return found


def show_plan(
    made: Reproduction, planned: Planned, missing: Sequence[NamedBank], store: AnswerStore, console: Console
) -> None:
    """A line a model and question set: which banks and answers are there."""
    lacking = {bank.uri for bank in missing}
    for model in made.models:
        for dataset in made.datasets:
            columns = [
                column
                for (name, cell), column in planned.items()
                if (name, cell[0]) == (model.name, dataset.name)
            ]
            banks = {bank.uri for column in columns for bank in column.banks}
            runs = [run for column in columns for run in column.runs]
            answered = sum(
                run.bank.uri not in lacking and find_answers(run, store) is not None for run in runs
            )
            todo = f"{len(banks & lacking)} of {len(banks)} banks to make, {len(runs) - answered} of {len(runs)} runs to answer"
            say(f"{model.title}, {dataset.title}: {len(columns)} columns, {todo}", console)


def show_costs(missing: Sequence[NamedBank], console: Console) -> None:
    """What the banks to make would take, as `prag plan` has it."""
    for bank in missing:
        prepared = prepare_recipe(bank.config)
        plan = make_plan(bank.config, None, read_corpus(bank.config.corpus), prepared, write=False)
        cost, todo = plan.estimate, sum(shard.num_documents for shard in plan.shards)
        what = f"{todo:,} documents, {cost.gpu_hours:.2g} GPU hours (prag plan says what is assumed)"
        say(f"{bank.uri}: {what}, {cost.bank_bytes / 1e9:.2f} GB", console)


def publish(made: Reproduction, planned: Planned, store: AnswerStore, out: str) -> None:
    """Print the table; write it as Markdown and JSON, and the whole report of every column beside it."""
    table, figures = made.table, {}
    for (model, cell), column in planned.items():
        report = report_table(column, store)
        write_report(report, f"{out}/{table.name}/{column.table.name}")
        for row in table.rows:
            published = table.published.get(model, {}).get(row.label, {}).get(cell)
            figures[model, row.label, cell] = measure(
                row, report.methods[table.answered_by(row).label], published
            )
    models = {model.name: made.config(made.datasets[0], model).model.path for model in made.models}
    grids = [*paper_grids(table, made.setup, models, figures)]
    markdown = "\n\n".join([f"# {table.title}", *map(grid_to_markdown, grids)]) + "\n"
    contents = {
        f"{table.name}.md": markdown,
        f"{table.name}.json": json.dumps(to_json(table, figures), indent=1) + "\n",
    }
    fs, root = open_root(out)
    for name, text in contents.items():
        with storage_errors("writing", f"{out}/{name}"):
            put_whole(fs, f"{root}/{name}", text.encode())
    for grid in grids:
        show_grid(grid, Console())
    for name in contents:
        print(f"{out}/{name}")


if __name__ == "__main__":
    from jobs.cli import run

    sys.exit(run("paper", sys.argv[1:]))
