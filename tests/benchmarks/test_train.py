"""The training benchmark runs where Ray and vLLM are not installed, and measures what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ABSENT = (
    "ray",
    "vllm",
    "omegaconf",
    "bm25s",
    "ir_measures",
    "pandas",
    "scipy",
    "matplotlib",
    "rich",
    "s3fs",
    "boto3",
    "botocore",
    "Stemmer",
    "sklearn",
    "joblib",
)
BLOCKED = f"""
import sys
from importlib.machinery import PathFinder
class Without:
    find_distributions = PathFinder.find_distributions
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in {ABSENT} else PathFinder.find_spec(name, path, target)
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
from benchmarks.train import main
results = main(["--documents", "3", "--fair", "2", "--published", "0", "--device", "cpu"])
"""
CHECKS = """
systems = {(row["system"], row["dtype"]): row for row in results["systems"]}
assert set(systems) == {(s, d) for s in ("fair", "ours") for d in ("float32", "bfloat16")}, set(systems)
assert systems["ours", "float32"]["documents"] == 3 and systems["fair", "float32"]["documents"] == 2
assert abs(systems["ours", "float32"]["last_loss"] - systems["fair", "float32"]["last_loss"]) < 1e-3  # they learn the same
for row in systems.values():
    assert 0 < row["utilisation"] < 1 and row["tokens_per_second"] > row["documents_per_second"] > 0
    assert {"tokenise", "train", "write"} <= row["seconds"].keys()
"""


def test_it_needs_torch_transformers_peft_safetensors_and_pyarrow_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + CHECKS], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "× fair" in done.stdout and "utilisation %" in done.stdout
