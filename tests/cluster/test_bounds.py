"""An engine has room for the documents that a request may ask for, and for what they started from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cluster.bounds import max_merged_rank, most_documents
from prag_core.bank import Bank
from prag_core.config.load import load_config
from prag_core.identity import Recipe
from prag_core.merging import merged_rank
from prag_core.models.lora import AdapterLayout, ModuleShape, initial_factors
from prag_core.records import Factors

LAYOUT = AdapterLayout((ModuleShape("m", 3, 4),), rank=2, alpha=32.0)


@pytest.fixture(params=[False, True], ids=["random", "warm"])
def bank(request: pytest.FixtureRequest, tmp_path: Path) -> Bank:
    factors = dict(initial_factors(LAYOUT, seed=0))
    if request.param:
        factors["m"] = Factors(factors["m"].a, np.ones((4, 2), np.float32))
    return Bank.create(str(tmp_path / "bank"), Recipe({"warm": request.param}), LAYOUT, factors)


@pytest.mark.parametrize(
    "setting", ["retrieval.top_k=3", "retrieval.top_k=1", "serve.max_top_k=7", "merge.warm=every"]
)
def test_the_engine_holds_every_merge_that_may_be_asked_for(setting: str, bank: Bank) -> None:
    config = load_config([setting])
    warm = bank.recipe.fields["warm"]
    rank = max_merged_rank(config, bank)
    slot = 8 * -(-rank // 8)
    most = most_documents(config, bank, slot)
    assert most >= (config.serve.max_top_k or config.retrieval.top_k)
    for count in (1, most):
        assert merged_rank(LAYOUT.rank, count, config.merge, warm=warm) <= slot


def test_a_warm_start_takes_the_room_of_one_document(bank: Bank) -> None:
    room = {False: 4, True: 3}[bank.recipe.fields["warm"]]
    assert most_documents(load_config([]), bank, 8) == room
    assert most_documents(load_config(["merge.warm=every"]), bank, 8) == 4
