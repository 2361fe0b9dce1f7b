"""Benchmark of the endpoint under load: closed_book, rag, prag and combine on one server, 1, 4 and 16 requests at once.

    python -m benchmarks.serve
    python -m benchmarks.serve --passage-tokens 900

Every answer is equally long (the model never ends by itself), every question is new, and its three documents are retrieved by
BM25. Cold: no adapter was used before. Warm: all are in the host's memory, but not in this combination, so that each
request merges and installs. Then rag alone on a server without room for adapters, which is how one would run it; and rag
against prag on the transformers engine, one question after the other.
"""

from __future__ import annotations

import argparse
import random
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.endless import Corpus, make_bank, make_model
from benchmarks.load import run_load, summarise
from benchmarks.models import MODELS
from cluster.serve import shut_down, start
from prag_core.answering.registry import METHODS
from prag_core.answering.tools import open_tools
from prag_core.config.load import load_config
from prag_core.config.schema import Config
from prag_core.records import Question

TOP_K = 3
PHASES = (
    ("closed_book", ""),
    ("rag", ""),
    ("prag", "cold"),
    ("prag", "warm"),
    ("combine", "cold"),
    ("combine", "warm"),
)
HEADER = [
    "at once",
    "method",
    "adapters",
    "requests/s",
    "first p50",
    "p95",
    "p99",
    "total p50",
    "p95",
    "p99",
    "fetch",
    "merge",
    "install",
    "share %",
]
Row = dict[str, Any]


class Questions:
    """Questions that were never asked before: over unused documents (`fresh`), or over used ones in other groups (`again`)."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus, self._next, self._rng = corpus, 0, random.Random(0)

    def fresh(self, count: int) -> tuple[list[str], list[int]]:
        numbers = list(range(self._next, self._next + count * TOP_K))
        self._next += count * TOP_K
        assert self._next <= self._corpus.num_documents
        return self._ask(numbers), numbers

    def again(self, numbers: Sequence[int]) -> list[str]:
        shuffled = list(numbers)
        self._rng.shuffle(shuffled)
        return self._ask(shuffled)

    def _ask(self, numbers: Sequence[int]) -> list[str]:
        return [self._corpus.question(tuple(numbers[i : i + TOP_K])) for i in range(0, len(numbers), TOP_K)]


@contextmanager
def serving(config: Config) -> Iterator[str]:
    """Serve on this machine while the context is open. Yields the endpoint's URL."""
    try:
        yield f"{start(config)}/"
    finally:
        shut_down()


def measure(
    url: str, questions: Questions, phases: Sequence[tuple[str, str]], options: argparse.Namespace
) -> list[Row]:
    """Measure every phase at every number of requests at once. The warm-up requests of each method are not counted."""
    for method in dict(phases):
        run_load(url, method, questions.fresh(options.warm_up)[0], options.warm_up, options.max_tokens)
    rows = []
    for at_once in options.at_once:
        seen: dict[str, list[int]] = {}
        for method, state in phases:
            if state == "warm":
                asked = questions.again(seen[method])
            else:
                asked, seen[method] = questions.fresh(options.requests)
            answered, seconds = run_load(url, method, asked, at_once, options.max_tokens)
            rows.append(
                {"at_once": at_once, "method": method, "adapters": state, **summarise(answered, seconds)}
            )
            print(f"{at_once} at once, {method} {state}: {rows[-1]['requests_per_second']:.1f}/s", flush=True)
    return rows


def on_transformers(config: Config, corpus: Corpus, options: argparse.Namespace) -> dict[str, float]:
    """Measure the milliseconds a question of rag and prag on the transformers engine, one question at a time, in turns."""
    overrides = ["engine.kind=transformers", f"engine.max_new_tokens={options.max_tokens}"]
    settings = load_config([*options.settings, *overrides])
    questions = Questions(corpus)
    spent = {"rag": 0.0, "prag": 0.0}
    with open_tools(settings, {"": config.bank.uri}) as tools:
        for number, question in enumerate(questions.fresh(options.requests // 2 + 1)[0]):
            for method in spent:
                start = time.perf_counter()
                METHODS[method].answer([Question("", question, ())], tools[""])
                spent[method] += (time.perf_counter() - start) * (number > 0)
    return {f"{method}_ms": 1e3 * seconds / (options.requests // 2) for method, seconds in spent.items()}


def ratios(rows: Sequence[Row], plain: Sequence[Row], transformers: dict[str, float]) -> list[list[Any]]:
    """Compute the ratios of prag with warm adapters to rag: on the same server, on one without LoRA, on transformers."""

    def find(among: Sequence[Row], at_once: int, method: str, state: str = "") -> Row:
        return next(
            r for r in among if (r["at_once"], r["method"], r["adapters"]) == (at_once, method, state)
        )

    compared: list[list[Any]] = []
    for at_once in dict.fromkeys(row["at_once"] for row in rows):
        prag = find(rows, at_once, "prag", "warm")
        for name, rag in (
            ("the same server", find(rows, at_once, "rag")),
            ("without LoRA", find(plain, at_once, "rag")),
        ):
            compared.append(
                [
                    at_once,
                    name,
                    *(prag[f"{part}_p50_ms"] / rag[f"{part}_p50_ms"] for part in ("first_token", "total")),
                    prag["requests_per_second"] / rag["requests_per_second"],
                ]
            )
    compared.append([1, "transformers", "–", transformers["prag_ms"] / transformers["rag_ms"], "–"])
    return compared


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--model", choices=MODELS, default="mini")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=48, help="requests of each phase")
    parser.add_argument("--warm-up", type=int, default=4, help="requests of each method that are not counted")
    parser.add_argument("--max-tokens", type=int, default=16, help="tokens of every answer")
    parser.add_argument("--passage-tokens", type=int, default=140)
    parser.add_argument("--cpus", type=float, default=2, help="processors of the engine")
    parser.add_argument("--gpus", type=float, default=0)
    options = parser.parse_args(argv)
    fresh = [state for _, state in (*PHASES, *PHASES[:2]) if state != "warm"]
    asked = (
        len(fresh) * len(options.at_once) * options.requests + len(fresh) * options.warm_up
    )  # over new documents
    corpus = Corpus(asked * TOP_K, options.passage_tokens)
    with tempfile.TemporaryDirectory(prefix="prag-benchmark-") as temporary:
        model = make_model(options.model, Path(temporary) / "model")
        options.settings = [f"model.path={model}", f"bank.uri={temporary}/bank", f"retrieval.top_k={TOP_K}"]
        served = [
            f"serve.port={free_port()}",
            f"serve.generator_cpus={options.cpus}",
            f"serve.generator_gpus={options.gpus}",
        ]
        served += [
            f"engine.max_sequences={max(options.at_once)}",
            f"serve.max_new_tokens={options.max_tokens}",
        ]
        config = load_config([*options.settings, *served])
        make_bank(config, corpus)
        questions = Questions(corpus)
        with serving(config) as url:
            rows = measure(url, questions, PHASES, options)
        with serving(load_config([*options.settings, *served, "serve.methods=[closed_book,rag]"])) as url:
            plain = measure(url, questions, PHASES[:2], options)
        transformers = on_transformers(config, corpus, options)
    report(rows, plain, transformers, options)
    kept = {key: value for key, value in vars(options).items() if key != "settings"}
    return {"options": kept, "rows": rows, "without_lora": plain, "transformers": transformers}


def report(
    rows: list[Row], plain: list[Row], transformers: dict[str, float], options: argparse.Namespace
) -> None:
    """Print the tables, in Markdown."""
    title = f"One server for all, {options.model}, passages of {options.passage_tokens} tokens, {machine.machine_name()}"
    machine.show(f"{title}: milliseconds", HEADER, [[*_cells(row)] for row in rows])
    machine.show("A server without room for adapters", HEADER[:10], [[*_cells(row)][:10] for row in plain])
    compared = ratios(rows, plain, transformers)
    machine.show(
        "prag, warm / rag", ["at once", "rag on", "first token p50", "total p50", "requests/s"], compared
    )
    lengths = {row["tokens"] for row in [*rows, *plain]}
    print(f"\nTokens an answer: {', '.join(f'{length:g}' for length in sorted(lengths))}")


def _cells(row: Row) -> Iterator[Any]:
    yield from (row["at_once"], row["method"], row["adapters"], row["requests_per_second"])
    yield from (row[f"{name}_p{q}_ms"] for name in ("first_token", "total") for q in (50, 95, 99))
    yield from (row[f"{part}_ms"] for part in ("fetch", "merge", "install"))
    yield 100 * row["share"]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


if __name__ == "__main__":
    measured = main()
    machine.save(
        "serve", measured, variant=f"-{measured['options']['model']}-{measured['options']['passage_tokens']}"
    )
