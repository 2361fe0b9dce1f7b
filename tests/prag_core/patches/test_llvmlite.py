"""The fault is still there, and the patch mends it and nothing else."""

from __future__ import annotations

import subprocess
import sys

FAULT = """
import llvmlite.binding.ffi as ffi
from prag_core.patches.llvmlite import refuse_python_names
def answers(name):
    try:
        getattr(ffi.lib, name)
        return True
    except AttributeError:
        return False
"""


def run(code: str) -> str:
    """In a process of its own: the patch is for good."""
    return subprocess.run(
        [sys.executable, "-c", FAULT + code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()[-1]


def test_the_fault_is_still_in_the_installed_version() -> None:
    assert run("print(answers('__dict__'))") == "True"


def test_pythons_own_names_are_refused_and_llvms_are_not() -> None:
    patched = "refuse_python_names(); refuse_python_names(); "
    assert (
        run(patched + "print(answers('__dict__'), answers('LLVMPY_DisposeString'), sep=',')") == "False,True"
    )
