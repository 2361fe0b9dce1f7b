"""The Serve application: an ingress over a retriever and generators, sized by the `serve` section of the configuration.

`build` is what `serve run`, `serve deploy` and KubeRay call (see serve.yaml); `prag serve` calls `application`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ray import serve
from ray.serve import Application

from cluster.bounds import Bounds, max_merged_rank, most_documents
from cluster.http.endpoint import Ingress
from cluster.replica.generator import Generator
from cluster.retriever import Retriever, indexed_snapshot
from prag_core.answering.registry import METHODS, SERVED
from prag_core.answering.tools import open_bank
from prag_core.bank import Bank
from prag_core.config.load import load_config
from prag_core.config.schema import Config, EngineKind
from prag_core.engines.vllm_arguments import CACHED_BATCHES, slot_rank
from prag_core.errors import ConfigError
from prag_core.models.prompts import DEFAULT_NEW_TOKENS
from prag_core.planning.recipe import recorded_prompt

NAME = "prag"
DEPLOYMENT: Any = serve.deployment
ORIGIN = re.compile(r"https?://[^/\s]+", re.IGNORECASE)
LOGS = {"encoding": "JSON", "enable_access_log": False}


def build(args: dict[str, Any]) -> Application:
    """Build the application from `args`: `config`, a YAML file, and `settings`, a list of key=value. Both are optional."""
    unknown = args.keys() - {"config", "settings"}
    if unknown:
        raise ConfigError(
            f"args: unknown {', '.join(sorted(unknown))}; expected config (a file) and settings (a list of key=value)"
        )
    files = [args["config"]] if args.get("config") else []
    return application(load_config(args.get("settings", ()), *files))


def application(config: Config) -> Application:
    """Build the application. Raises BankError where the bank cannot be served with this model, ConfigError for settings that
    contradict each other."""
    if config.engine.kind is not EngineKind.vllm:
        raise ConfigError(
            f"engine.kind={config.engine.kind.value}: expected vllm, the only engine that serves"
        )
    bank = open_bank(config.bank.uri, config.model)
    indexed_snapshot(bank, config.retrieval)  # an error here is clearer than a replica that cannot start
    bounds = bounds_of(config, bank)
    retriever = _retriever(config)
    app: Application = _ingress(config, bounds).bind(
        retriever,
        _generator(config).bind(config, retriever),
        bounds,
        config.serve.keys,
        allowed_origins(config.serve.cors_origins),
    )
    return app


def _retriever(config: Config) -> Any:
    options = _common(config) | {"num_replicas": config.serve.retrievers, "max_ongoing_requests": 256}
    return DEPLOYMENT(Retriever).options(**options, ray_actor_options={"num_cpus": 0}).bind(config)


def _generator(config: Config) -> Any:
    settings = config.serve
    # Each request may hold an adapter; one of the engine's slots is the bare model's.
    ongoing = min(settings.max_ongoing, CACHED_BATCHES * config.engine.max_sequences - 1)
    return DEPLOYMENT(Generator).options(
        max_ongoing_requests=ongoing,
        max_queued_requests=settings.max_queued,
        ray_actor_options={"num_cpus": settings.generator_cpus, "num_gpus": settings.generator_gpus},
        **_replicas(settings.generators, settings.max_generators, ongoing),
        **_common(config),
    )


def _ingress(config: Config, bounds: Bounds) -> Any:
    return DEPLOYMENT(serve.ingress()(Ingress)).options(
        num_replicas=config.serve.ingresses,
        # Twice what it answers: beyond that the ingress itself refuses, with an error object.
        max_ongoing_requests=2 * bounds.max_in_flight,
        max_queued_requests=bounds.max_in_flight,
        ray_actor_options={"num_cpus": 0},
        **_common(config),
    )


def _common(config: Config) -> dict[str, Any]:
    """Options of every deployment."""
    return {
        "graceful_shutdown_timeout_s": config.serve.drain_seconds,
        "graceful_shutdown_wait_loop_s": min(2.0, config.serve.drain_seconds),
        "health_check_period_s": config.serve.health_seconds,
        "logging_config": LOGS,
    }


def _replicas(least: int, most: int, ongoing: int) -> dict[str, Any]:
    """Options for a fixed number of replicas, or for as many as the load asks for."""
    if most <= least:
        return {"num_replicas": least}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": max(1.0, 0.7 * ongoing),
        }
    }


def bounds_of(config: Config, bank: Bank) -> Bounds:
    """Return what requests may ask for. Raises ConfigError where settings contradict each other."""
    serve = config.serve
    methods = offered(serve.methods)
    allowed = most_documents(config, bank, slot_rank(max_merged_rank(config, bank)))
    if config.retrieval.top_k > allowed:
        raise ConfigError(
            f"retrieval.top_k={config.retrieval.top_k} is above serve.max_top_k={allowed}; raise the latter"
        )
    new_tokens = (
        config.engine.max_new_tokens or DEFAULT_NEW_TOKENS[recorded_prompt(bank.recipe, config.prompt).cot]
    )
    return Bounds(
        methods=methods,
        top_k=config.retrieval.top_k,
        max_top_k=allowed,
        new_tokens=new_tokens,
        max_new_tokens=max(serve.max_new_tokens, new_tokens),
        max_body_bytes=serve.max_body_kilobytes << 10,
        max_characters=serve.max_characters,
        max_in_flight=serve.max_ongoing * max(serve.generators, serve.max_generators) + serve.max_queued,
        timeout_seconds=serve.timeout_seconds,
    )


def offered(names: Sequence[str]) -> tuple[str, ...]:
    """Return the methods to serve, each once. Raises ConfigError for one that cannot be served, with the reason."""
    for name in names:
        if reason := METHODS[name].not_served:
            known = ", ".join(SERVED)
            raise ConfigError(
                f"serve.methods: an endpoint has no method {name!r}; {reason} (expected some of {known})"
            )
    if not names:
        raise ConfigError("serve.methods is empty; name at least one method")
    return tuple(dict.fromkeys(names))


def allowed_origins(names: Sequence[str]) -> tuple[str, ...]:
    """Return the origins of web pages that may ask. Raises ConfigError for what is not an origin, as browsers send it."""
    for name in names:
        if name != "*" and not ORIGIN.fullmatch(name):
            raise ConfigError(
                f"serve.cors_origins: {name!r} is not an origin; expected a scheme and a host, such as "
                "https://app.example or http://localhost:3000, without a path, or '*' for every page"
            )
    return tuple(dict.fromkeys(names))
