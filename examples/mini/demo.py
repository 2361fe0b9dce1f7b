"""Run the whole method on the miniature world, by the commands that a user would type: parameterize, index, evaluate.

A second bank is trained without replay negatives, from the first one's augmentations, so that the table shows what they
do. Run again, it resumes: what is in the banks already is not made twice.
"""

from __future__ import annotations

import sys

from examples.steps import Step, run_steps

CONFIG = ["--config", "conf/demo.yaml"]
NO_REPLAY = [
    "bank.uri=out/demo/bank-no-replay",
    "augmentation.uri=out/demo/bank",
    "training.replay_samples=0",
]
STEPS: tuple[Step, ...] = (
    (
        "Every document becomes an adapter: augmented by vLLM, trained in batches, on Ray",
        ["parameterize", *CONFIG],
    ),
    ("A retrieval index over the same documents", ["index", *CONFIG]),
    ("The same without replay negatives, to see what they do", ["parameterize", *CONFIG, *NO_REPLAY]),
    ("", ["index", *CONFIG, *NO_REPLAY]),
    (
        "Held-out questions, answered closed book, from text, from adapters, and from both",
        ["evaluate", *CONFIG],
    ),
)
WHERE_NEXT = """

Where to look next
  out/demo/report.md, report.json, f1.png     the table above with intervals, by question type, as a plot
  prag ask "Where was … born?" --config conf/demo.yaml       one question, with passages and adapters
  prag bank ls out/demo/bank                  what is in the bank
  make compare                                every method and what it gains, in one table
  README.md                                   the same on a cluster with a model and a corpus of yours"""


if __name__ == "__main__":
    sys.exit(run_steps(STEPS, "demo", WHERE_NEXT))
