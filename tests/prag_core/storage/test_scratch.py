from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prag_core.storage.scratch import PREFIX, ScratchFolder, remove_left_over

HOLD = (
    "import time, prag_core.storage.scratch as s; folder = s.ScratchFolder(); "
    "open(f'{folder.name}/file', 'w').close(); print(folder.name, flush=True); time.sleep(60)"
)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process with a scratch folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_has_is_not(
    holder: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert holder.stdout is not None
    folder = Path(holder.stdout.readline().strip())
    others = [tmp_path / name for name in ("prag-index-x", "other", f"{PREFIX}file")]
    for path in others[:2]:
        path.mkdir()
    others[2].write_text("")
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "other")
    for path in (folder, *others):
        os.utime(path, (0, 0))
    remove_left_over.__wrapped__(str(tmp_path))
    assert (folder / "file").exists()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    remove_left_over.__wrapped__(str(tmp_path))
    assert not folder.exists() and all(path.exists() for path in others)


def test_a_new_folder_is_left_alone_until_it_can_be_locked(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}new").mkdir()
    remove_left_over.__wrapped__(str(tmp_path))
    assert (tmp_path / f"{PREFIX}new").exists()


def test_a_folder_goes_with_its_object() -> None:
    folder = ScratchFolder()
    name = Path(folder.name)
    assert name.is_dir()
    del folder
    assert not name.exists()
