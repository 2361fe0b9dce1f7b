"""Every setting is described, in sentences, and the names that settings choose among are those that exist."""

from __future__ import annotations

import bm25s.tokenization
import Stemmer

from prag_core.answering.iterative import dragin
from prag_core.answering.registry import METHODS
from prag_core.config.schema import Config, names
from prag_core.config.setting import walk_settings
from prag_core.merging.rules import RULES
from prag_core.training.objectives import OBJECTIVES


def test_every_setting_is_described_in_a_sentence() -> None:
    for setting in walk_settings(Config()):
        words = setting.description.help
        assert words[0].isupper() and words.endswith(".") and len(words.split()) > 2, setting.key


def test_the_names_of_settings_are_the_names_that_exist() -> None:
    assert list(METHODS) == list(names.METHODS)
    assert list(OBJECTIVES) == list(names.OBJECTIVES)
    assert set(RULES) == set(names.MERGE_RULES)
    assert set(dragin.PUBLISHED) == set(names.DATASETS)
    assert Stemmer.algorithms() == list(names.STEMMERS)
    for name in names.STOPWORDS:
        assert bm25s.tokenization.Tokenizer(stopwords=name).stopwords
    lists = {name for name in vars(bm25s.tokenization) if name.startswith("STOPWORDS_")}
    assert len(lists) == len(names.STOPWORDS), "no list of the library is missing"
