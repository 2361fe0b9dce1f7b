"""Serving and making banks need none of the packages of the extra `evaluate`; what needs one says how to install it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prag_core.errors import ConfigError
from prag_core.evaluation.extra import require

ROOT = Path(__file__).resolve().parents[3]
HIDE = """
import sys

class Hidden:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in HIDDEN else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path = [Hidden(finder) for finder in sys.meta_path]
"""


def run(hidden: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which packages seem not to be installed."""
    command = [sys.executable, "-c", f"HIDDEN = {hidden!r}\n{HIDE}\n{code}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_serving_and_making_banks_import_nothing_of_the_extra() -> None:
    modules = ("cluster.app", "cluster.serve", "jobs.cli", "jobs.parameterize", "jobs.ask", "jobs.index")
    code = f"import {', '.join(modules)}\nassert 'prag_core.evaluation.statistics' not in sys.modules"
    done = run(("matplotlib", "sklearn", "ir_measures", "scipy"), code)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("package", ["scipy", "ir_measures", "matplotlib"])
def test_evaluate_without_a_package_of_the_extra_says_how_to_install_it(package: str) -> None:
    done = run((package,), "from jobs import cli\nraise SystemExit(cli.main(['evaluate']))")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert f'evaluation needs {package}, not installed here; run: pip install "prag[evaluate]"' in done.stderr


def test_only_what_is_missing_is_named() -> None:
    require("json")
    with pytest.raises(ConfigError, match="needs not_there_a and not_there_b, not installed"):
        require("json", "not_there_a", "not_there_b")
