"""A trained router: which of its strategies answers a question, and for which banks it may say so.

One JSON file a method, `<methods.router>/<method>.json`, written whole by `prag train-router`: the strategies in order of cost,
the classifier's numbers, the identity of what it was trained over, and the report of that training. Nothing in it is executed.

What strategies get right depends on the base model, the prompt and the adapters, so a router speaks for banks of the one
recipe it was trained over and is refused for others. Documents may come and go.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from prag_core.answering.adaptive.features import Features
from prag_core.answering.adaptive.linear import Linear
from prag_core.errors import ConfigError
from prag_core.storage import open_root, put_whole, read, storage_errors

FORMAT = 1  # raised when a router of the same numbers would choose otherwise
COMMAND = "prag train-router --method {method} methods.router={folder} bank.uri=… router.questions=…"


@dataclass(frozen=True)
class Router:
    """A classifier over `strategies`, which are methods, cheapest first. If it `retrieves`, it also looks at what a question
    retrieves."""

    strategies: tuple[str, ...]
    linear: Linear
    retrieves: bool
    recipe_id: str
    trained_on: Mapping[str, Any] = field(default_factory=dict)  # for people: questions, snapshot, settings
    report: Mapping[str, Any] = field(default_factory=dict)

    def route(self, described: Sequence[Features], confidence: float | None) -> list[str]:
        """Choose the strategy for each question."""
        return [self.strategies[choose(p_s, confidence)] for p_s in self.linear.probabilities(described)]

    def enough(self, described: Sequence[Features]) -> np.ndarray:
        """Return [questions, strategies]: how likely it is that this strategy, or a cheaper one, suffices."""
        return np.cumsum(self.linear.probabilities(described), axis=1)


def choose(p_s: np.ndarray, confidence: float | None) -> int:
    """Choose a strategy, given how likely each is the cheapest that is right. Without `confidence` it is the likeliest, as
    published; otherwise the first that, with all cheaper ones, is as likely as `confidence`: near 0 always the cheapest, at 1
    the most expensive that may be needed."""
    if confidence is None:
        return int(np.argmax(p_s))
    enough = np.cumsum(p_s) >= min(confidence, 1.0) - 1e-9
    return int(np.argmax(enough))


def router_file(folder: str | None, method: str) -> str:
    """Return the place of the router of `method`. Raises ConfigError that names the command where no folder is set."""
    if folder is None:
        command = COMMAND.format(method=method, folder="out/routers")
        raise ConfigError(f"methods.router is not set, and {method} needs a router; train one: {command}")
    return f"{folder.rstrip('/')}/{method}.json"


def save_router(router: Router, folder: str | None, method: str) -> str:
    """Write the file, replacing it whole, and return where it is."""
    where = router_file(folder, method)
    fields = {
        "format": FORMAT,
        "strategies": router.strategies,
        "recipe": router.recipe_id,
        "retrieves": router.retrieves,
        "trained_on": router.trained_on,
        "report": router.report,
        **router.linear.to_json(),
    }
    fs, path = open_root(where)
    with storage_errors("writing the router", where):
        put_whole(
            fs, path, (json.dumps(fields, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode()
        )
    return where


def load_router(folder: str | None, method: str) -> Router:
    """Load a router. Raises ConfigError where there is none, or where the file is no router."""
    where = router_file(folder, method)
    fs, path = open_root(where)
    try:
        with storage_errors("reading the router", where):
            fields = json.loads(read(fs, path))
    except FileNotFoundError:
        command = COMMAND.format(method=method, folder=folder)
        raise ConfigError(f"{where}: there is no router for {method}; train one: {command}") from None
    except ValueError as error:
        raise ConfigError(f"{where}: not a router: {error}; train it again with prag train-router") from None
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        raise ConfigError(f"{where}: not a router of format {FORMAT}; train it again with prag train-router")
    try:
        strategies = tuple(map(str, fields["strategies"]))
        linear = Linear.from_json(fields, len(strategies))
        retrieves, recipe_id = bool(fields["retrieves"]), str(fields["recipe"])
        return Router(strategies, linear, retrieves, recipe_id, fields["trained_on"], fields["report"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{where}: a damaged router: {error!r}; train it again with prag train-router"
        ) from None
