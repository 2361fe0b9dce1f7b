"""Run a list of `prag` commands as a user would type them, up to the first that fails."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
Step = tuple[str, Sequence[str]]  # title ("": it belongs to the step before), arguments of prag


def run_steps(steps: Iterable[Step], what: str, then: str = "") -> int:
    """Run the steps in the checkout, then print `then`. Return the first exit status that is not 0, after a line that says where
    `what` stopped."""
    prag = str(Path(sys.executable).parent / "prag")
    start = time.monotonic()
    for title, arguments in steps:
        if title:
            print(f"\n── {title}", flush=True)
        print(f"$ prag {shlex.join(arguments)}", flush=True)
        status = subprocess.run(
            [prag, *arguments], cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}
        ).returncode
        if status:
            print(f"the {what} stopped: prag {arguments[0]} ended with status {status}", file=sys.stderr)
            return status
    print(f"\n{time.monotonic() - start:.0f} s in all{then}", flush=True)
    return 0
