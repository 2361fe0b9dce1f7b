"""Stores for the benchmarks' banks: a local folder, and real S3 servers on loopback (the scripts that the tests use)."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import AdapterFactors, Factors

SCRIPTS = Path(__file__).resolve().parent.parent / "tests" / "s3"
SWIFT_VENV = Path(os.environ.get("PRAG_SWIFT_VENV", Path.home() / ".cache" / "prag" / "swift-2.38.3"))
STORES = ("local", "swift", "radosgw")
PORTS = {"swift": "24310", "radosgw": "24330"}
SHAPES = {
    "300 KB": (512, 1088, 8),
    "4 MB": (2048, 8192, 16),
}  # width, inner width, layers; the second is Llama-3.2-1B's


@contextmanager
def store(name: str, folder: Path) -> Iterator[str]:
    """Run a store while the context is open, named by the AWS_* variables. Yields a URI under which a bank can be made."""
    if name == "local":
        yield str(folder / "local")
        return
    environment = {**os.environ, "ROOT": str(folder / name), "PORT": PORTS[name], "VENV": str(SWIFT_VENV)}
    script = SCRIPTS / f"{name}.sh"
    try:
        started = subprocess.run(
            [script, "start"], env=environment, capture_output=True, text=True, timeout=200
        )
        if started.returncode:
            raise SystemExit(f"{name} does not start: {started.stderr[-500:]}")
        exports = started.stdout.strip().split("\n")[-1].removeprefix("export ").split()
        os.environ.update({name: value for name, _, value in (item.partition("=") for item in exports)})
        bucket = f"b{uuid.uuid4().hex[:12]}"
        s3_client().create_bucket(Bucket=bucket)
        yield f"s3://{bucket}"
    finally:
        subprocess.run([script, "stop"], env=environment, check=False, timeout=100)
        clear_connections()


def s3_client() -> Any:
    """Make botocore's own client: the least that a request can cost."""
    from botocore.session import get_session  # only S3 stores need it

    return get_session().create_client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])


def clear_connections() -> None:
    """Drop connections to a server that has stopped."""
    import s3fs  # only S3 stores need it

    s3fs.S3FileSystem.clear_instance_cache()


def layout(size: str) -> AdapterLayout:
    """Make the layout of a feed-forward adapter of rank 2 that takes about `size` in float32."""
    width, inner, layers = SHAPES[size]
    shapes = {"gate_proj": (width, inner), "up_proj": (width, inner), "down_proj": (inner, width)}
    modules = [
        ModuleShape(f"model.layers.{n}.mlp.{name}", *shape)
        for n in range(layers)
        for name, shape in shapes.items()
    ]
    return AdapterLayout(tuple(modules), rank=2, alpha=32.0)


def random_factors(of: AdapterLayout, seed: int) -> AdapterFactors:
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal
    return {name: Factors(draw(a, dtype=np.float32), draw(b, dtype=np.float32)) for name, a, b in of.shapes()}
