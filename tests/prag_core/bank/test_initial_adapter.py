"""A warm-up's file comes back as it was written, or says what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prag_core.bank import Bank, WarmStart, load_warm_start, read_warm_start, write_warm_start
from prag_core.bank.initial_adapter import adds_nothing, pack
from prag_core.errors import ConfigError, ModelError, StorageError
from prag_core.identity import Recipe
from prag_core.models.lora import initial_factors
from prag_core.records import Factors
from tests.prag_core.bank.world import World


@pytest.fixture
def warm(world: World) -> WarmStart:
    return WarmStart(
        world.factors(3), world.layout, "model-1", {"questions": "abc", "learning_rate": 3e-4}, {"steps": 7}
    )


@pytest.mark.parametrize("where", ["local", "memory"])
def test_a_warm_start_comes_back_with_what_it_was_made_from(
    where: str, warm: WarmStart, tmp_path: Path
) -> None:
    uri = (
        str(tmp_path / "new folder" / "warm.safetensors")
        if where == "local"
        else f"memory://{tmp_path.name}/warm.safetensors"
    )
    assert read_warm_start(uri) is None
    write_warm_start(uri, warm)
    found = load_warm_start("training.initial", uri, warm.layout, "model-1")
    assert pack(found.factors) == pack(warm.factors) and found.sha256 == warm.sha256
    assert (found.layout, found.model, found.made_from, found.figures) == (
        warm.layout,
        "model-1",
        warm.made_from,
        {"steps": 7},
    )
    if where == "local":
        assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["warm.safetensors"]


def test_a_bank_keeps_it_under_the_same_digest_and_knows_that_it_adds_something(
    warm: WarmStart, world: World, tmp_path: Path
) -> None:
    bank = Bank.create(str(tmp_path / "bank"), Recipe({"model": "m"}), world.layout, warm.factors)
    assert bank.fields["initial"]["sha256"] == warm.sha256
    start = Bank.open(bank.uri).warm_start()
    assert start is not None and start[0] == warm.sha256 and pack(start[1]) == pack(warm.factors)


def test_a_bank_of_random_starts_has_no_warm_start(world: World, tmp_path: Path) -> None:
    random = initial_factors(world.layout, seed=0)
    bank = Bank.create(str(tmp_path / "bank"), Recipe({"model": "m"}), world.layout, random)
    assert adds_nothing(random) and bank.warm_start() is None


def test_any_changed_byte_is_noticed(warm: WarmStart, tmp_path: Path) -> None:
    path = tmp_path / "warm.safetensors"
    write_warm_start(str(path), warm)
    good = path.read_bytes()
    for place in range(len(good)):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        with pytest.raises(StorageError, match="make it again"):
            read_warm_start(str(path))
    path.write_bytes(good[:-1])
    with pytest.raises(StorageError, match="damaged"):
        read_warm_start(str(path))


def test_what_is_no_warm_start_says_so(warm: WarmStart, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    for content in (b"", b"{}", pack(warm.factors), b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(StorageError, match="not a file that prag warmup wrote"):
            read_warm_start(str(path))
    with pytest.raises(StorageError, match=r"[Dd]irectory"):
        read_warm_start(str(tmp_path))


def test_what_does_not_fit_the_settings_is_refused_with_both_shapes(warm: WarmStart, tmp_path: Path) -> None:
    uri = str(tmp_path / "warm.safetensors")
    with pytest.raises(ConfigError, match=r"training\.initial=.*no such file; prag warmup makes one"):
        load_warm_start("training.initial", uri, warm.layout, "model-1")
    write_warm_start(uri, warm)
    with pytest.raises(ConfigError, match="another base model"):
        load_warm_start("training.initial", uri, warm.layout, "model-2")
    wider = replace(warm.layout, rank=4, modules=warm.layout.modules[:1])
    with pytest.raises(
        ConfigError, match=r"rank 2, alpha 32, 2 modules .*down_proj.* ask for rank 4, alpha 32, 1 modules"
    ):
        load_warm_start("training.initial", uri, wider, "model-1")


def test_factors_that_are_not_finite_are_not_written(warm: WarmStart, tmp_path: Path) -> None:
    name, pair = next(iter(warm.factors.items()))
    broken = replace(warm, factors={**warm.factors, name: Factors(pair.a * np.nan, pair.b)})
    with pytest.raises(ModelError, match="not finite"):
        write_warm_start(str(tmp_path / "warm.safetensors"), broken)
    assert not list(tmp_path.iterdir())
