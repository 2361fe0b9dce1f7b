"""Two real S3 servers on loopback, and `bank_uri`: a place for a bank on a local folder and on each of them.

Swift comes from PyPI into a virtual environment of its own, made once under ~/.cache/prag; radosgw is used where it is
installed (apt-get install --no-install-recommends radosgw ceph-mon ceph-osd). Both end with the test session.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent / "s3"
SWIFT = "swift==2.38.3"
SWIFT_VENV = Path(
    os.environ.get("PRAG_SWIFT_VENV", Path.home() / ".cache" / "prag" / SWIFT.replace("==", "-"))
)


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """AWS_* variables of an OpenStack Swift server, whose conditional put does not exclude."""
    _install_swift()
    yield from _server("swift.sh", tmp_path_factory.mktemp("swift"), {"VENV": str(SWIFT_VENV)})


@pytest.fixture(scope="module")
def radosgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """AWS_* variables of a Ceph object gateway, whose conditional put does. Its store may stall for good when starved of
    processor time, so a module that works the machine hard keeps that to itself."""
    if not shutil.which("radosgw"):
        pytest.skip(
            "radosgw is not installed: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
        )
    yield from _server("radosgw.sh", tmp_path_factory.mktemp("radosgw"), {})


@pytest.fixture(params=["local", "swift", "radosgw"])
def bank_uri(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """Where a bank can be made: a folder, or a fresh bucket (then with the environment that reaches it)."""
    if request.param == "local":
        yield str(tmp_path / "bank")
        return
    yield from s3_place(request.getfixturevalue(request.param), monkeypatch)


@pytest.fixture(params=["swift", "radosgw"])
def s3_uri(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place for a bank on each of the two servers."""
    yield from s3_place(request.getfixturevalue(request.param), monkeypatch)


@pytest.fixture
def swift_uri(swift: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place for a bank on Swift alone."""
    yield from s3_place(swift, monkeypatch)


def s3_place(server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """`s3://<fresh bucket>/bank`, with the server's variables set and no connection kept from another server."""
    import s3fs
    from botocore.session import get_session

    for name, value in server.items():
        monkeypatch.setenv(name, value)
    bucket = f"t{uuid.uuid4().hex[:12]}"
    get_session().create_client("s3", endpoint_url=server["AWS_ENDPOINT_URL"]).create_bucket(Bucket=bucket)
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"s3://{bucket}/bank"
    s3fs.S3FileSystem.clear_instance_cache()


def _server(script: str, root: Path, settings: dict[str, str]) -> Iterator[dict[str, str]]:
    environment = {**os.environ, **settings, "ROOT": str(root), "PORT": str(_free_ports(4))}
    try:
        started = subprocess.run(
            [SCRIPTS / script, "start"], env=environment, capture_output=True, text=True, timeout=400
        )
        assert started.returncode == 0, (
            f"{script} did not start:\n{started.stdout[-2000:]}\n{started.stderr[-2000:]}"
        )
        exports = started.stdout.strip().splitlines()[-1].removeprefix("export ")
        yield dict(item.split("=", 1) for item in exports.split())
    finally:
        subprocess.run([SCRIPTS / script, "stop"], env=environment, check=False, timeout=100)


def _free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nobody listens on."""
    for first in range(20000 + os.getpid() % 20000, 60000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, listener in enumerate(sockets):
                listener.bind(("127.0.0.1", first + offset))
            return first
        except OSError:
            continue
        finally:
            for listener in sockets:
                listener.close()
    raise RuntimeError("no free ports")


def _install_swift() -> None:
    SWIFT_VENV.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{SWIFT_VENV}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (SWIFT_VENV / "bin" / "swift-proxy-server").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", SWIFT_VENV], check=True)
            subprocess.run([SWIFT_VENV / "bin" / "pip", "install", "-q", SWIFT], check=True)
