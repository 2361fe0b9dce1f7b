"""The `prag` command: a table of verbs, each a module that is imported only when it is called.

`python -m jobs.<verb> …` is the same as `prag <verb> …`, so that `ray job submit -- python -m jobs.parameterize …` works.
A mistake the user can mend ends as one `error: …` line and exit code 1 (2 where the command line itself is wrong).
"""

from __future__ import annotations

import importlib
import signal
import sys
import traceback
from collections.abc import Sequence

from prag_core.errors import ConfigError, PragError, did_you_mean
from prag_core.terminal.streams import hide_libraries, say, stderr, warn
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
RESUMED = ("parameterize", "ablate", "paper")  # verbs that keep what they have done when they are interrupted
NEED_SERVE = ("serve", "keys")
SERVE_PACKAGES = ("fastapi", "starlette", "pydantic", "jinja2", "psutil")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; without one, this process's own, as the console command does. Returns the exit code."""
    if argv is None:
        return start(*sys.argv[1:])
    arguments = list(argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(usage())
        return 0
    verb, *rest = arguments
    if verb not in VERBS:
        warn(f"error: no verb {verb!r}{did_you_mean(verb, VERBS)} (prag --help lists them)")
        return 2
    return run(verb, rest)


def start(*arguments: str) -> int:
    """Run the command line as this process: what libraries print goes to a log, named where something went wrong."""
    if "--verbose" in arguments:
        return main(arguments)
    log = hide_libraries(arguments[0] if arguments and arguments[0] in VERBS else "prag")
    try:
        status = main(arguments)
    except Exception:
        traceback.print_exc(file=stderr())
        status = 1
    if status and log.stat().st_size:
        warn(f"What libraries printed is in {log}.")
    return status


def run(verb: str, argv: Sequence[str]) -> int:
    """Run one verb's `main(argv)`, turning what the user can mend into a line on stderr and an exit code."""
    try:
        if verb in NEED_SERVE:
            require_installed(f"prag {verb}", "serve", *SERVE_PACKAGES)
        return int(importlib.import_module(VERBS[verb][0]).main(list(argv)))
    except PragError as error:
        warn(f"error: {error}")
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt as interrupt:
        warn(f"Interrupted.{' The same command goes on where it stopped.' if verb in RESUMED else ''}")
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
