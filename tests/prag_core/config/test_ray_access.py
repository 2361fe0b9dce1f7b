"""A cluster that anyone may use is named; one with a token, and a Ray of one's own, are not."""

from __future__ import annotations

from prag_core.config.ray_access import open_cluster_warning


def test_a_cluster_that_asks_for_no_token_is_named_with_what_to_do() -> None:
    warning = open_cluster_warning("10.1.2.3:6379", {})
    assert warning and "10.1.2.3:6379" in warning and "RAY_AUTH_MODE=token" in warning
    assert "\n" not in warning
    assert open_cluster_warning("auto", {"RAY_AUTH_MODE": "disabled"})


def test_a_cluster_with_a_token_and_a_ray_of_this_process_are_fine() -> None:
    assert open_cluster_warning("auto", {"RAY_AUTH_MODE": "Token"}) is None
    assert open_cluster_warning(None, {}) is None
