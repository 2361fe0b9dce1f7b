"""Whether a Ray cluster lets anyone in who reaches its ports.

Ray's job and client APIs run whatever code they are sent. A Ray that starts inside one machine for one command makes itself a
token (since Ray 2.59). One that `ray start` makes has none unless RAY_AUTH_MODE=token was set when it started (before Ray
2.61): its ports are then open beside the credentials of the bank. Pure: callers pass what they know of their Ray.
"""

from __future__ import annotations

from collections.abc import Mapping

MODE_VARIABLE = "RAY_AUTH_MODE"


def open_cluster_warning(address: str | None, environment: Mapping[str, str]) -> str | None:
    """A line for users who have joined the cluster at `address` and needed no token for it, or None.

    `address` is None for a Ray of this process. `environment` is the process's own after it has joined: a cluster with
    token authentication refuses whoever does not have RAY_AUTH_MODE=token and the token.
    """
    if address is None or environment.get(MODE_VARIABLE, "").lower() == "token":
        return None
    return (
        f"warning: the Ray cluster at {address} asks for no token: anyone who reaches its ports can run code there, with this "
        f"bank's credentials; start it with {MODE_VARIABLE}=token (docs/serve.md, What listens)"
    )
