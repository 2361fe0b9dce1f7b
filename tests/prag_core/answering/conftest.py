"""Tools over six documents and an engine with a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from prag_core.answering.registry import Tools
from prag_core.config.schema import MethodsConfig, PromptConfig
from prag_core.models.lora import AdapterLayout, ModuleShape
from tests.prag_core.answering.stand_ins import Line, ScriptedEngine, SixDocuments


@pytest.fixture
def make_tools(tiny_tokenizer: Any) -> Callable[..., Tools]:
    """`make_tools(*script, cot=…, max_new_tokens=…, **methods settings)`: tools over the six documents."""
    layout = AdapterLayout((ModuleShape("m", 3, 4),), rank=2, alpha=32.0)

    def make(*script: Line, cot: bool = False, max_new_tokens: int = 200, **settings: Any) -> Tools:
        engine = ScriptedEngine(tiny_tokenizer, script)
        methods = replace(MethodsConfig(), **settings)
        prompt = PromptConfig(cot=cot)
        return Tools(
            engine=engine,
            source=SixDocuments(),
            layout=layout,
            prompt=prompt,
            top_k=3,
            max_new_tokens=max_new_tokens,
            methods=methods,
        )

    return make
