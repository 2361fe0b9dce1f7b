"""Two real S3 servers on loopback, and `bank_uri`: a place for a bank on a local folder and on each of them.

Swift comes from PyPI into a virtual environment of its own, made once under ~/.cache/prag; radosgw is used where it is
installed (apt-get install --no-install-recommends radosgw ceph-mon ceph-osd). Each starts when a test first needs it and
ends with the test session.
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
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # models of tests are small, and several processes run at once
SCRIPTS = Path(__file__).parent / "s3"
SWIFT = "swift==2.38.3"
SWIFT_VENV = Path(
    os.environ.get("PRAG_SWIFT_VENV", Path.home() / ".cache" / "prag" / SWIFT.replace("==", "-"))
)


SLOW_FIXTURES = {"swift", "radosgw", "vllm_engine", "endpoint", "page"}  # a server, an engine, a browser
SLOW_PLACES = (  # tests that start Ray, vLLM or `prag` as a process, or train for long
    "tests/benchmarks/",
    "tests/cluster/http/page/",
    "tests/cluster/test_life.py",
    "tests/cluster/test_serve.py",
    "tests/examples/",
    "tests/faults/",
    "tests/jobs/test_ablate.py",
    "tests/jobs/test_ask.py::test_as_a_process",
    "tests/jobs/test_calibrate.py",
    "tests/jobs/test_paper.py",
    "tests/jobs/test_parameterize.py",
    "tests/jobs/test_ray_pipeline.py",
    "tests/jobs/test_train_router.py",
    "tests/jobs/test_warmup.py",
    "tests/prag_core/engines/test_vllm",
    "tests/simulation/",
    "tests/test_line.py",
)


SHARED: dict[str, tuple[set[str], tuple[str, ...]]] = {  # group → its fixtures and places
    "endpoint": ({"settings", "endpoint"}, ("tests/benchmarks/test_serve.py",)),
    "radosgw": ({"radosgw"}, ()),
    "swift": ({"swift"}, ()),
    "engines": (set(), ("tests/prag_core/engines/",)),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `slow` what `make quick` leaves out, and name each test's group: what it shares, else its file."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        needs = {*getattr(item, "fixturenames", ()), *(p for p in parameters if isinstance(p, str))}
        if needs & SLOW_FIXTURES or item.nodeid.startswith(SLOW_PLACES):
            item.add_marker(pytest.mark.slow)
        shared = (
            name for name, (uses, places) in SHARED.items() if needs & uses or item.nodeid.startswith(places)
        )
        item.add_marker(pytest.mark.xdist_group(next(shared, item.nodeid.partition("::")[0])))
    if "PYTEST_XDIST_WORKER" in os.environ:  # side by side, the long ones come first
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


class S3Server:
    """A server that a script starts and stops. `variables`: the AWS_* variables that reach it."""

    def __init__(self, script: str, root: Path, **settings: str) -> None:
        self.script, self.settings = SCRIPTS / script, {**settings, "ROOT": str(root)}
        self.variables: dict[str, str] = {}

    def start(self) -> None:
        self.settings["PORT"] = str(_free_ports(4))
        result = self._run("start", timeout=400)
        assert result.returncode == 0, (
            f"{self.script} did not start:\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
        )
        exports = result.stdout.strip().splitlines()[-1].removeprefix("export ")
        self.variables = dict(item.split("=", 1) for item in exports.split())

    def stop(self) -> None:
        self._run("stop", timeout=100)

    def answers(self) -> bool:
        """Whether it is running and stores and returns an object within a few seconds."""
        from botocore.exceptions import BotoCoreError, ClientError

        if not self.variables:
            return False
        bucket = f"probe{uuid.uuid4().hex[:12]}"
        try:
            client = s3_client(self.variables, connect_timeout=2, read_timeout=8, retries={"max_attempts": 0})
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="probe", Body=b"probe")
            return bool(client.get_object(Bucket=bucket, Key="probe")["Body"].read() == b"probe")
        except (BotoCoreError, ClientError):
            return False

    def _run(self, action: str, timeout: int) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **self.settings}
        return subprocess.run(
            [self.script, action],
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """AWS_* variables of an OpenStack Swift server, whose conditional put does not exclude."""
    install_swift()
    server = S3Server("swift.sh", tmp_path_factory.mktemp("swift"), VENV=str(SWIFT_VENV))
    try:
        server.start()
        yield server.variables
    finally:
        server.stop()


@pytest.fixture(scope="session")
def radosgw_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A Ceph object gateway, not started yet."""
    if not shutil.which("radosgw"):
        pytest.skip(
            "radosgw is not installed: apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"
        )
    server = S3Server("radosgw.sh", tmp_path_factory.mktemp("radosgw"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def radosgw(radosgw_server: S3Server) -> dict[str, str]:
    """AWS_* variables of a Ceph object gateway, whose conditional put does exclude. Its store may stall for good when starved
    of processor time; every module begins with one that answers, whatever the modules before it did to the machine."""
    if not radosgw_server.answers():
        radosgw_server.stop()
        radosgw_server.start()
    return radosgw_server.variables


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

    for name, value in server.items():
        monkeypatch.setenv(name, value)
    bucket = f"t{uuid.uuid4().hex[:12]}"
    s3_client(server).create_bucket(Bucket=bucket)
    s3fs.S3FileSystem.clear_instance_cache()
    yield f"s3://{bucket}/bank"
    s3fs.S3FileSystem.clear_instance_cache()


def s3_client(server: dict[str, str], **settings: Any) -> Any:
    """A plain S3 client of a server, as botocore makes it (untyped)."""
    from botocore.config import Config
    from botocore.session import get_session

    return get_session().create_client(
        "s3",
        endpoint_url=server["AWS_ENDPOINT_URL"],
        aws_access_key_id=server["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server["AWS_SECRET_ACCESS_KEY"],
        region_name=server["AWS_DEFAULT_REGION"],
        config=Config(**settings),
    )


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


def install_swift() -> None:
    SWIFT_VENV.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{SWIFT_VENV}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (SWIFT_VENV / "bin" / "swift-proxy-server").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", SWIFT_VENV], check=True)
            subprocess.run([SWIFT_VENV / "bin" / "pip", "install", "-q", SWIFT], check=True)
