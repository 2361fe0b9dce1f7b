"""The whole method on the miniature world, as the commands a user would type: parameterize, index, evaluate.

A second bank is trained without replay negatives, from the first one's augmentations, so that the table shows what they
do. Run again, it resumes: what is in the banks already is not made twice.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ["--config", "conf/demo.yaml"]
NO_REPLAY = ["bank.uri=out/demo/bank-no-replay", "augmentation.uri=out/demo/bank", "training.replay_samples=0"]
STEPS = (
    ("Every document becomes an adapter: augmented by vLLM, trained in batches, on Ray", ["parameterize", *CONFIG]),
    ("A retrieval index over the same documents", ["index", *CONFIG]),
    ("The same without replay negatives, to see what they do", ["parameterize", *CONFIG, *NO_REPLAY]),
    ("", ["index", *CONFIG, *NO_REPLAY]),
    ("Held-out questions, answered closed book, from text, from adapters, and from both", ["evaluate", *CONFIG]),
)
WHERE_NEXT = """
Where to look next
  out/demo/report.md, report.json, f1.png     the table above with intervals, by question type, as a plot
  prag ask "Where was … born?" --config conf/demo.yaml       one question, with passages and adapters
  prag bank ls out/demo/bank                  what is in the bank
  README.md                                   the same on a cluster with a model and a corpus of yours"""


def main() -> int:
    prag = str(Path(sys.executable).parent / "prag")
    start = time.monotonic()
    for title, arguments in STEPS:
        if title:
            print(f"\n── {title}", flush=True)
        print(f"$ prag {shlex.join(arguments)}", flush=True)
        status = subprocess.run([prag, *arguments], cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}).returncode
        if status:
            print(f"the demo stopped: prag {arguments[0]} ended with status {status}", file=sys.stderr)
            return status
    print(WHERE_NEXT)
    print(f"\n{time.monotonic() - start:.0f} s in all")
    return 0


if __name__ == "__main__":
    sys.exit(main())
