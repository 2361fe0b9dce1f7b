"""The `prag` command: a table of verbs, each a module that is imported only when it is called.

`python -m jobs.<verb> …` is the same as `prag <verb> …`, so that `ray job submit -- python -m jobs.parameterize …` works.
A mistake the user can mend ends as one `error: …` line and exit code 1 (2 where the command line itself is wrong).
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from prag_core.errors import ConfigError, PragError, did_you_mean
from prag_core.versions import require_installed

VERBS = {
    "plan": ("jobs.plan", "what a run would do: documents, shards, bytes, hours; writes nothing"),
    "warmup": ("jobs.warmup", "train the adapter that documents start from, on questions without passages"),
    "parameterize": (
        "jobs.parameterize",
        "corpus in, adapter bank out: augment and train on Ray; run again to resume",
    ),
    "index": ("jobs.index", "build the retrieval index of the bank's newest snapshot"),
    "ask": ("jobs.ask", "answer one question"),
    "serve": (
        "cluster.serve",
        "the OpenAI-compatible endpoint over a bank, on this machine or a Ray cluster",
    ),
    "narrow": (
        "jobs.narrow",
        "the part of a corpus that a file of questions retrieves, as a corpus of its own",
    ),
    "evaluate": (
        "jobs.evaluate",
        "score methods on a file of questions: table, report.json, report.md, plot",
    ),
    "train-router": ("jobs.train_router", "train the router of adaptive_rag on questions of its own"),
    "calibrate": ("jobs.calibrate", "choose thresholds of flare, dragin and the routers on dev questions"),
    "ablate": (
        "jobs.ablate",
        "tables of what settings do: rows of settings × methods, each made and answered once",
    ),
    "paper": ("jobs.paper", "make a table of the P-RAG paper again, beside its published figures"),
    "bank": ("jobs.bank", "look into a bank: ls, inspect, verify, export, gc"),
    "delete": ("jobs.delete", "take documents out of a bank"),
    "keys": ("cluster.keys.manage_keys", "API keys of the endpoint: add, ls, rm"),
}
NEED_SERVE = ("serve", "keys")
SERVE_PACKAGES = ("fastapi", "starlette", "pydantic", "jinja2", "psutil")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the console command; returns the exit code."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        print(f"error: no verb {verb!r}{did_you_mean(verb, VERBS)} (prag --help lists them)", file=sys.stderr)
        return 2
    return run(verb, rest)


def run(verb: str, argv: Sequence[str]) -> int:
    """Run one verb's `main(argv)`, turning what the user can mend into a line on stderr and an exit code."""
    try:
        if verb in NEED_SERVE:
            require_installed(f"prag {verb}", "serve", *SERVE_PACKAGES)
        return int(importlib.import_module(VERBS[verb][0]).main(list(argv)))
    except PragError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt as interrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 128 + (interrupt.args[0] if interrupt.args else signal.SIGINT)


def usage() -> str:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary}" for verb, (_, summary) in VERBS.items())
    return (
        "prag: parametric retrieval-augmented generation\n\n"
        f"usage: prag <verb> [options] [key=value …]\n\n{verbs}\n\n"
        "prag <verb> --help tells a verb's options; prag <verb> --print-config lists every setting with its value.\n"
        "A first run on embedded defaults: prag parameterize && prag index && prag ask 'Where was … born?'"
    )


if __name__ == "__main__":
    sys.exit(main())
