"""A converted model is in the cache whole or not at all, made once, whoever asks at the same time and whoever is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from prag_core.errors import ModelError, StorageError
from prag_core.models import gguf_cache, gguf_folder
from prag_core.models.gguf_cache import cache_folder, converted_folder
from tests.prag_core.models.gguf_files import tiny_llama, write_gguf

CONVERT = "import sys; from prag_core.models.source import local_model; print(local_model(sys.argv[1]))"


class Room(NamedTuple):
    free: int


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "model.gguf", tiny_llama())


def convert(file: Path) -> Path:
    return converted_folder(file, "a model")


def content(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if not path.name.startswith(".lock-"))


def test_the_folder_is_named_by_the_bytes_of_the_file(file: Path, own_cache: Path) -> None:
    made = convert(file)
    assert made == own_cache / subprocess.check_output(["sha256sum", file], text=True).split()[0]
    assert content(own_cache) == [made.name]
    assert convert(Path(shutil.copy(file, file.with_name("copy.gguf")))) == made


def test_a_file_is_converted_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = convert(file)
    monkeypatch.setattr(gguf_cache, "save_as_folder", lambda *_: pytest.fail("converted again"))
    assert convert(file) == made


def test_a_file_that_changed_is_another_model(file: Path) -> None:
    made = convert(file)
    write_gguf(file, tiny_llama(), kind="F16")
    assert convert(file) != made


def test_every_file_can_be_read_by_others(file: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in convert(file).iterdir()} == {0o644}


def test_without_a_setting_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("PRAG_MODELS")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "prag" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "prag" / "models"
    monkeypatch.setenv("PRAG_MODELS", "~/models")
    assert cache_folder() == tmp_path / "models"


def no_locks(*_: Any) -> None:
    raise OSError(errno.ENOLCK, "no locks available")


@pytest.mark.parametrize("locks", [True, False])
def test_who_finds_it_made_meanwhile_takes_that_one(
    file: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, locks: bool
) -> None:
    """Another process makes it while this one does: after its lock was asked for, or where there are none."""
    save, flock = gguf_folder.save_as_folder, fcntl.flock
    made: list[Path] = []

    def by_another(*_: Any) -> None:
        monkeypatch.setattr(gguf_cache, "save_as_folder", save)
        if locks:
            monkeypatch.setattr(fcntl, "flock", flock)
        made.append(convert(file))

    def late(source: Any, folder: Path) -> None:
        save(source, folder)
        by_another()

    if locks:
        monkeypatch.setattr(fcntl, "flock", by_another)
    else:
        monkeypatch.setattr(fcntl, "flock", no_locks)
        monkeypatch.setattr(gguf_cache, "save_as_folder", late)
    assert convert(file) == made[0]
    assert content(own_cache) == [made[0].name]


@pytest.mark.slow
def test_processes_at_once_give_one_folder(file: Path, own_cache: Path) -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", CONVERT, file], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = {process.communicate()[0].strip() for process in processes}
    assert said == {str(convert(file))}
    assert content(own_cache) == [convert(file).name]


def test_what_a_killed_process_left_goes_away(file: Path, own_cache: Path) -> None:
    made = convert(file)
    left = made.rename(own_cache / f".tmp-{made.name}-dead")
    (own_cache / ".tmp-another-dead").mkdir()
    assert convert(file) == made and not left.exists()
    assert (own_cache / ".tmp-another-dead").exists(), "another model's, which may be in the making"


def fill(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("place", "replaced", "said"),
    [
        ((shutil, "disk_usage"), lambda _: Room(10**6), r"0\.07 GB needed, 0\.00 free; free some"),
        ((gguf_cache, "save_as_folder"), fill, "No space left on device; free some room"),
    ],
    ids=["seen before", "while writing"],
)
def test_a_full_disk_leaves_nothing_and_says_what_to_do(
    file: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[Any, str],
    replaced: Callable[..., Any],
    said: str,
) -> None:
    monkeypatch.setattr(*place, replaced)
    with pytest.raises(
        StorageError, match=rf"model\.path=a model: .*{own_cache}.*{said}.*PRAG_MODELS"
    ) as caught:
        convert(file)
    assert "\n" not in str(caught.value) and not content(own_cache)
    monkeypatch.undo()
    monkeypatch.setenv("PRAG_MODELS", str(own_cache))
    assert convert(file).is_dir()


def test_a_cache_that_cannot_be_a_folder_is_named(file: Path, own_cache: Path) -> None:
    own_cache.write_text("")
    with pytest.raises(StorageError, match=rf"{own_cache}.*PRAG_MODELS"):
        convert(file)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a model: cannot be read"):
        convert(tmp_path)
