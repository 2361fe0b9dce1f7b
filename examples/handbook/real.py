"""Run the whole method with a real pretrained model over the handbook, by the commands that a user would type.

Run again, it resumes: what is in the bank already is not made twice.
"""

from __future__ import annotations

import sys

from examples.steps import Step, run_steps

CONFIG = ["--config", "conf/real.yaml"]
STEPS: tuple[Step, ...] = (
    (
        "Every passage of the handbook becomes an adapter: its sentences, with blanks, are what SmolLM2 learns to fill",
        ["parameterize", *CONFIG],
    ),
    ("A retrieval index over the same passages", ["index", *CONFIG]),
    (
        "The handbook's test questions, answered closed book, from text, from adapters, and from both",
        ["evaluate", *CONFIG],
    ),
)
WHERE_NEXT = """

Where to look next
  out/real/report.md, report.json, f1.png     the table above with intervals, by question type, as a plot
  out/real/predictions.jsonl                  every answer of every method, beside the right ones
  prag ask "Who is …?" --config conf/real.yaml      one question, with passages and adapters
  docs/real.md                                the recipe, and what was seen
  examples/handbook/README.md                 the passages and questions"""


if __name__ == "__main__":
    sys.exit(run_steps(STEPS, "run", WHERE_NEXT))
