"""Recorded versions are those installed."""

from __future__ import annotations

import platform

import torch

from prag_core.versions import installed_versions


def test_versions_are_those_of_this_interpreter_and_leave_out_what_is_not_installed() -> None:
    versions = installed_versions()
    assert versions["python"] == platform.python_version()
    assert versions["torch"] == torch.__version__
    assert all(versions.values())
