"""The serving benchmark runs every phase on real servers. It starts Ray, so it has a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.endless import Corpus
from benchmarks.serve import TOP_K, Questions

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import json, sys
from benchmarks.serve import main
json.dump(main(sys.argv[2:]), open(sys.argv[1], "w"))
"""


def test_every_phase_answers_equally_long_and_says_what_merging_took(tmp_path: Path) -> None:
    options = ["--at-once", "2", "--requests", "4", "--warm-up", "1", "--max-tokens", "4"]
    command = [sys.executable, "-c", RUN, str(tmp_path / "results.json"), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "prag, warm / rag" in done.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    rows = {(row["method"], row["adapters"]): row for row in results["rows"]}
    assert len(rows) == 6 and {(row["requests"], row["tokens"]) for row in rows.values()} == {(4, 4)}
    for (method, state), row in rows.items():
        assert 0 < row["first_token_p50_ms"] <= row["total_p50_ms"] <= row["total_p99_ms"]
        assert (row["merge_ms"] > 0) == (method in ("prag", "combine")), (method, state)
    assert [row["method"] for row in results["without_lora"]] == ["closed_book", "rag"]
    assert set(results["transformers"]) == {"rag_ms", "prag_ms"}


def test_fresh_questions_are_over_new_documents_and_repeated_ones_over_the_same_in_other_company() -> None:
    questions = Questions(Corpus(60, 10))
    asked, numbers = questions.fresh(10)
    again = questions.again(numbers)
    assert len(set(numbers)) == 10 * TOP_K and not set(numbers) & set(questions.fresh(10)[1])
    assert names_in(asked) == names_in(again) and not set(asked) & set(again)


def names_in(questions: list[str]) -> set[str]:
    return {
        word.strip(",") for question in questions for word in question.split() if word.startswith("subject")
    }
