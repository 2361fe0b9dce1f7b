from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.bank import Bank, Stage
from prag_core.identity import Recipe
from tests.prag_core.bank.world import Filled, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def examined(tmp_path: Path, world: World) -> Filled:
    """Four documents in one shard of a bank whose adapters had to know half: "b" does not, "d" is quarantined."""
    recipe = Recipe({**world.recipe.fields, "acceptance": {"threshold": 0.5, "max_retries": 1}})
    bank = Bank.create(str(tmp_path / "examined"), recipe, world.layout, world.factors(999))
    documents = world.documents("abcd")
    augmented = world.augment(bank, "shard0", documents)
    with bank.begin(Stage.adapters, "shard0") as writer:
        for number, (document, score) in enumerate(zip(documents, (1.0, 0.25, 0.5), strict=False)):
            writer.add(world.examined(document, number, score, accepted=score >= 0.5))
        writer.add(world.failure(documents[3]))
        writer.commit(augmented.objects)
    bank.write_snapshot(world.wanted(documents))
    return Filled(bank, documents, {d.key: world.factors(i) for i, d in enumerate(documents[:3])})


@pytest.fixture
def filled(tmp_path: Path, world: World) -> Filled:
    """Four documents in two shards of a local bank, "d" is quarantined."""
    return world.fill(world.bank(str(tmp_path / "bank")), failed=["d"])
