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
    "plan": ("jobs.plan", "Say what a run would do: documents, shards, bytes, GPU hours. Writes nothing."),
    "warmup": ("jobs.warmup", "Train the adapter that documents start from, on questions without passages."),
    "parameterize": (
        "jobs.parameterize",
        "Turn a corpus into a bank of adapters, on Ray. Run it again to resume.",
    ),
    "index": ("jobs.index", "Build the retrieval index of a bank's newest snapshot."),
    "ask": ("jobs.ask", "Answer one question."),
    "serve": (
        "cluster.serve",
        "Serve a bank over HTTP in OpenAI's protocol, on this machine or a Ray cluster.",
    ),
    "narrow": ("jobs.narrow", "Make a corpus of what a file of questions retrieves from a larger one."),
    "evaluate": ("jobs.evaluate", "Score methods on a file of questions: a table, reports and a plot."),
    "train-router": ("jobs.train_router", "Train the router of adaptive_rag on questions of its own."),
    "calibrate": (
        "jobs.calibrate",
        "Choose the thresholds of flare, dragin and the routers on dev questions.",
    ),
    "ablate": ("jobs.ablate", "Make tables of rows of settings and methods. What exists is not made again."),
    "paper": ("jobs.paper", "Reproduce a table of the paper beside its published figures."),
    "bank": ("jobs.bank", "Look into a bank, check it, export from it, clear it up."),
    "delete": ("jobs.delete", "Take documents out of a bank, or bring them back."),
    "keys": ("cluster.keys.manage_keys", "Add, list and remove API keys of the endpoint."),
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
    except BrokenPipeError:  # who reads the output has ended, as `head` does
        return 1
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
        f"usage: prag VERB [options] [key=value …]\n\n{verbs}\n\n"
        "prag VERB --help describes the options of a verb, prag VERB --help-settings the settings that it reads.\n"
        "With the miniature corpus and model that come along: prag parameterize && prag index && prag ask 'Where is Jelamnax?'"
    )


if __name__ == "__main__":
    sys.exit(main())
