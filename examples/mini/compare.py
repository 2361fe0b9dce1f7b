"""Compare every method on the miniature world in one table, by the commands that a user would type.

Before the table: routers, trained on further questions about the dev documents, and a warm initial adapter. Run again, what is
there is not made twice; the table costs only what is new.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice

from examples.mini.warmup import warmup_questions
from examples.steps import ROOT, Step, run_steps

FOLDER = ROOT / "out" / "compare"
DEV = ["--config", "conf/dev.yaml"]
ROUTERS = ("adaptive_rag", "adaptive_prag")
WARM = ["warmup.questions=out/compare/warmup.jsonl", "warmup.out=out/compare/warm.safetensors"]


def steps() -> Iterator[Step]:
    """Yield the commands that make what is missing, then the table's."""
    missing = [name for name in ROUTERS if not (FOLDER / "routers" / f"{name}.json").exists()]
    if missing:
        yield "The dev documents' adapters, for routers to be trained over", ["parameterize", *DEV]
        yield "", ["index", *DEV]
    for name in missing:
        yield (
            f"The router of {name}",
            ["train-router", *DEV, "--method", name, "methods.router=out/compare/routers"],
        )
    yield "A warm initial adapter, from questions about subjects of no corpus", ["warmup", *DEV, *WARM]
    yield "Banks, answers and the table", ["ablate", "conf/compare.yaml"]


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    rows = islice(warmup_questions(), 2000)
    (FOLDER / "warmup.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return run_steps(steps(), "comparison")


if __name__ == "__main__":
    sys.exit(main())
