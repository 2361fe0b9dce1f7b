"""The installer: one installation a name, in place while it is used, gone afterwards."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from cluster.replica.installer import PREFIX, Installed, Installer, Made, NoRoom, remove_abandoned
from prag_core.errors import EngineError
from prag_core.merging import MergedAdapter
from prag_core.records import Factors


class Slots:
    """An engine that looks at the folders it is given."""

    def __init__(self) -> None:
        self.held: dict[int, Path] = {}
        self.numbers: list[int] = []
        self.refuses = False

    async def install(self, name: str, number: int, folder: Path) -> int:
        assert (folder / "adapter_model.safetensors").exists()
        await asyncio.sleep(0)
        if self.refuses:
            raise EngineError("refused")
        self.held[number] = folder
        self.numbers.append(number)
        return number

    async def uninstall(self, handle: int) -> None:
        assert self.held.pop(handle).exists()  # the folder outlives the engine's use of it


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def making(*doc_ids: str) -> Callable[[], Awaitable[Made]]:
    async def make() -> Made:
        factors = {"layer": Factors(np.ones((1, 2), np.float32), np.ones((2, 1), np.float32))}
        return Made(MergedAdapter("name", factors, rank=1), tuple((doc_id, 0) for doc_id in doc_ids))

    return make


def run(scenario: Callable[[Installer, Slots, Clock], Awaitable[None]], capacity: int = 8) -> None:
    slots, clock = Slots(), Clock()
    installer = Installer(slots, capacity, 10.0, clock)
    try:
        asyncio.run(scenario(installer, slots, clock))  # type: ignore[arg-type]
    finally:
        installer.close()
    assert not installer.folder.exists()


async def hold(installer: Installer, name: str, leave: asyncio.Event) -> Installed:
    async with installer.use(name, making(name)) as installed:
        await leave.wait()
        return installed


def test_concurrent_users_of_a_name_share_one_installation() -> None:
    async def scenario(installer: Installer, slots: Slots, clock: Clock) -> None:
        leave = asyncio.Event()
        users = [asyncio.create_task(hold(installer, "abc", leave)) for _ in range(10)]
        await asyncio.sleep(0.1)
        leave.set()
        installed = await asyncio.gather(*users)
        assert len({id(one) for one in installed}) == 1 and slots.numbers == [1]

    run(scenario)


def test_it_stays_while_it_is_used_and_for_the_grace_time_and_then_goes() -> None:
    async def scenario(installer: Installer, slots: Slots, clock: Clock) -> None:
        async with installer.use("a", making("a")) as installed:
            clock.now = 100
            await installer.sweep()
            assert installed.folder.exists() and len(slots.held) == 1
        clock.now = 109
        await installer.sweep()
        assert installed.folder.exists()
        async with installer.use("a", making("a")) as again:
            assert again is installed
        clock.now = 119
        await installer.sweep()
        assert not installed.folder.exists() and not slots.held and len(installer) == 0

    run(scenario)


def test_numbers_are_never_used_twice() -> None:
    async def scenario(installer: Installer, slots: Slots, clock: Clock) -> None:
        for _ in range(3):
            async with installer.use("a", making("a")):
                pass
            clock.now += 11
            await installer.sweep()
        assert slots.numbers == [1, 2, 3]

    run(scenario)


def test_room_is_made_by_the_longest_idle_and_never_by_one_in_use() -> None:
    async def scenario(installer: Installer, slots: Slots, clock: Clock) -> None:
        for name in ("a", "b"):
            clock.now += 1
            async with installer.use(name, making(name)):
                pass
        async with installer.use("b", making("b")), installer.use("c", making("c")):
            assert "a" not in installer and "b" in installer and len(slots.held) == 2
            with pytest.raises(NoRoom, match="in use"):
                async with installer.use("d", making("d")):
                    pass

    run(scenario, capacity=2)


def test_a_refusal_reaches_every_waiting_user_and_leaves_nothing() -> None:
    async def scenario(installer: Installer, slots: Slots, clock: Clock) -> None:
        slots.refuses = True
        leave = asyncio.Event()
        found = await asyncio.gather(*[hold(installer, "a", leave) for _ in range(3)], return_exceptions=True)
        assert [type(error) for error in found] == [EngineError] * 3
        assert [path.name for path in installer.folder.iterdir()] == [".lock"]
        slots.refuses = False
        async with installer.use("a", making("a")):
            assert len(slots.held) == 1

    run(scenario)


def test_a_user_that_is_cancelled_leaves_the_others_their_adapter() -> None:
    async def scenario(installer: Installer, slots: Slots, clock: Clock) -> None:
        leave = asyncio.Event()
        first, second = (asyncio.create_task(hold(installer, "a", leave)) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        leave.set()
        assert (await second).name == "a"
        clock.now = 11
        await installer.sweep()
        assert not slots.held

    run(scenario)


def test_what_holds_a_deleted_document_goes_at_once_or_after_its_last_user() -> None:
    async def scenario(installer: Installer, slots: Slots, clock: Clock) -> None:
        async with installer.use("idle", making("gone", "other")):
            pass
        async with installer.use("used", making("gone")) as used:
            await installer.forget({"gone"})
            assert "idle" not in installer and used.folder.exists()
        await installer.sweep()
        assert len(installer) == 0 and not slots.held

    run(scenario)


def test_folders_of_a_killed_process_are_removed_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom unittest import mock\nimport cluster.replica.installer as i\n"
        f"mock.patch.object(i, 'ram_folder', lambda: {str(tmp_path)!r}).start()\n"
        "installer = i.Installer(None, 1, 1.0)\nprint(installer.folder, flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    try:
        assert folder.name.startswith(PREFIX)
        remove_abandoned(tmp_path)
        assert folder.exists()
    finally:
        process.kill()
        process.wait()
    deadline = time.monotonic() + 5
    while folder.exists() and time.monotonic() < deadline:
        remove_abandoned(tmp_path)
    assert not folder.exists()
    shutil.rmtree(tmp_path)
