"""The machine a benchmark runs on, its memory, and its results: a table on the screen, JSON in `results/`."""

from __future__ import annotations

import json
import platform
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

CPU = torch.device("cpu")
RESULTS = Path(__file__).parent / "results"


def machine_name() -> str:
    """Make a short name for file names, such as `nvidia-h200` or `cpu-2-amd-epyc`."""
    if torch.cuda.is_available():
        return _slug(torch.cuda.get_device_name())
    return f"cpu-{torch.get_num_threads()}-{_slug(_processor())}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n")
    except OSError:
        lines = []
    return next(
        (line.split(":", 1)[1] for line in lines if line.startswith("model name")), platform.machine()
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(
    device: torch.device,
    dtype: torch.dtype,
    seconds: float = 0.5,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Measure FLOP a second of the product x Wᵀ, at a size that suits the device; the best within `seconds` of the clock."""
    size = 8192 if device.type == "cuda" else 2048
    x, w = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = 0.0
    deadline = clock() + seconds
    while clock() < deadline or not best:
        synchronize(device)
        start = clock()
        torch.nn.functional.linear(x, w)
        synchronize(device)
        best = max(best, 2 * size**3 / (clock() - start))
    return best


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak that `peak_memory` reports (on Linux)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device | None = None) -> int:
    """Return the peak memory in bytes: of the GPU's allocator, or of this process."""
    if device is not None and device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    status = Path("/proc/self/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(peak[1]) * 1024 if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table, numbers to three digits, in Markdown."""
    cells = [[_cell(value) for value in row] for row in rows]
    print(f"\n{title}\n")
    for row in ([*header], ["---"] * len(header), *cells):
        print(f"| {' | '.join(row)} |")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def save(name: str, results: Mapping[str, Any], folder: Path = RESULTS, variant: str = "") -> Path:
    """Write `results/<name><variant>-<machine>.json` with the command and the versions that made it."""
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    about = {"machine": machine_name(), "date": datetime.now(UTC).date().isoformat(), "versions": versions}
    command = " ".join(["python", "-m", f"benchmarks.{name}", *sys.argv[1:]])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{variant}-{machine_name()}.json"
    path.write_text(json.dumps({"command": command, **about, **results}, indent=1) + "\n")
    print(f"\n→ {path}")
    return path
