import pytest

from prag_core.errors import ConfigError
from prag_core.retrieval.analyzer import make_analyzer


def test_words_meet_however_their_accents_case_and_width_are_typed() -> None:
    analyze = make_analyzer(None, None)
    assert analyze("Brontë") == analyze("Bronte\u0308") == analyze("BRONTE") == ["bronte"]
    assert analyze("Straße") == ["strasse"]
    assert analyze("\uff21\uff22\uff23\uff11") == ["abc1"]


def test_one_letter_words_and_numbers_are_kept() -> None:
    assert make_analyzer(None, None)("Malcolm X, 1925") == ["malcolm", "x", "1925"]


def test_stop_words_go_before_stemming_joins_forms() -> None:
    assert make_analyzer("english", "english_plus")("Who was directing the films?") == ["direct", "film"]
    assert make_analyzer("english", None)("Who was directing") == ["who", "was", "direct"]


def test_stop_words_cannot_hide_behind_capitals_or_accents() -> None:
    assert make_analyzer(None, "french")("Même À") == []


@pytest.mark.parametrize(
    ("stemmer", "stopwords", "named"), [("klingon", None, "english"), (None, "klingon", "english_plus")]
)
def test_unknown_names_are_refused_with_the_known_ones(
    stemmer: str | None, stopwords: str | None, named: str
) -> None:
    with pytest.raises(ConfigError, match=f"klingon.*{named}"):
        make_analyzer(stemmer, stopwords)
