"""llvmlite 0.47: its library object answers for `__dict__` as for a function of LLVM.

`lib.__dict__` is wrapped like any name that the C library's object has (`llvmlite/binding/ffi.py`, `__getattr__`), which breaks
code that looks into loaded modules, as the start of vLLM's CPU backend does. bm25s loads numba, and numba loads llvmlite. Not
reported upstream, as far as we could find.
"""

from __future__ import annotations

import sys
from typing import Any

FFI = "llvmlite.binding.ffi"


def refuse_python_names() -> None:
    """Make the library raise AttributeError for names that begin with two underscores. Does nothing where it is not loaded."""
    if FFI not in sys.modules:
        return
    library = type(sys.modules[FFI].lib)
    answer = library.__getattr__
    if answer.__name__ == "refuse_dunder":
        return

    def refuse_dunder(self: Any, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return answer(self, name)

    library.__getattr__ = refuse_dunder
