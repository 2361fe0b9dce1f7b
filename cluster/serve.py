"""`prag serve`: run the endpoint until SIGINT or SIGTERM, on this machine or on the Ray cluster that ray.address names."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from cluster.port import reserved_port
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.config.ray_access import open_cluster_warning
from prag_core.config.schema import Config
from prag_core.errors import StorageError
from prag_core.terminal.streams import say, warn

EXAMPLE = "prag serve bank.uri=out/bank serve.port=8000"


def main(argv: Sequence[str]) -> int:
    """Serve until SIGINT or SIGTERM. Returns the exit code."""
    parser = settings_parser("serve", "Serve a bank over HTTP in OpenAI's protocol, until Ctrl-C.", EXAMPLE)
    config, _ = parse_settings(parser, argv)
    address = start(config)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray has set its own
        signal.signal(number, lambda *_: stop.set())
    say(f"serving {config.bank.uri} at {address} (Ctrl-C stops it)")
    stop.wait()
    shut_down()
    return 0


def start(config: Config) -> str:
    """Start the endpoint; returns its URL. Only its own port listens beyond loopback, and only if `serve.host` says so.

    Raises ConfigError where the port is taken or settings contradict each other, BankError where the bank cannot be served,
    StorageError where no Ray cluster answers.
    """
    address = config.ray.address or os.environ.get("RAY_ADDRESS")
    options = config.serve
    # On a cluster the port belongs to the nodes' proxies, which a running Serve may have opened long ago.
    with nullcontext() if address else reserved_port(options.host, options.port):
        # Ray reads its environment when it is imported: its own ports on loopback, as on a Mac, and no log lines.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        from ray import serve

        from cluster.app import LOGS, NAME, application

        app = application(config)
        _join_ray(address)
        http = {"host": options.host, "port": options.port, "request_timeout_s": options.timeout_seconds + 10}
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        location = "EveryNode" if address else "HeadOnly"
        serve.start(proxy_location=location, http_options=http, logging_config=LOGS)
    serve.run(app, name=NAME, route_prefix="/")
    return f"http://{options.host}:{options.port}/v1"


def _join_ray(address: str | None) -> None:
    """Connect to the cluster at `address`, with a warning where it is open to anyone, or start a Ray on this machine."""
    import ray  # after `start` has set the environment

    local: dict[str, Any] = {} if address else {"include_dashboard": False, "dashboard_host": "127.0.0.1"}
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **local)
    except ConnectionError as error:
        raise StorageError(
            f"ray.address={address}: no Ray cluster answers there ({error}); start one or leave it out"
        ) from None
    if warning := open_cluster_warning(address, os.environ):
        warn(warning)


def shut_down() -> None:
    """Let every replica finish the requests it has, then end Serve and this process's Ray."""
    import ray  # after `start` has set the environment
    from ray import serve

    from cluster.app import NAME

    serve.delete(NAME)
    serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
