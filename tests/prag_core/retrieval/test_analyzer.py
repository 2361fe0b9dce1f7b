"""Text becomes the same terms however it was typed, in every script; stop words are told apart."""

import re
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prag_core.retrieval.analyzer import Analyzer, fold, is_content_word, is_unspaced


def test_words_meet_however_their_accents_case_and_width_are_typed() -> None:
    analyze = Analyzer(None, None)
    assert analyze("Brontë") == analyze("Bronte\u0308") == analyze("BRONTE") == ["bronte"]
    assert analyze("Straße") == ["strasse"]
    assert analyze("\uff21\uff22\uff23\uff11") == ["abc1"]


def test_one_letter_words_and_numbers_are_kept() -> None:
    assert Analyzer(None, None)("Malcolm X, 1925") == ["malcolm", "x", "1925"]


def test_stop_words_go_before_stemming_joins_forms() -> None:
    assert Analyzer("english", "english_plus")("Who was directing the films?") == ["direct", "film"]
    assert Analyzer("english", None)("Who was directing") == ["who", "was", "direct"]


def test_stop_words_cannot_hide_behind_capitals_or_accents() -> None:
    assert Analyzer(None, "french")("Même À") == []


@pytest.mark.parametrize(
    ("script", "text", "words"),
    [
        ("Latin", "Émile Zola naïve Straße İzmir", ["emile", "zola", "naive", "strasse", "izmir"]),
        ("Cyrillic", "Ёлка ЕЛКА Война", ["елка", "елка", "воина"]),
        ("Greek", "ἄνθρωπος ΆΝΘΡΩΠΟΣ", ["ανθρωποσ", "ανθρωποσ"]),
        ("Arabic", "كِتَاب كتاب أحمد احمد", ["كتاب", "كتاب", "احمد", "احمد"]),
        ("Hebrew", "שָׁלוֹם שלום", ["שלום", "שלום"]),
        ("Devanagari", "हिन्दी भाषा ज़रूरत जरूरत", ["हिन्दी", "भाषा", "जरूरत", "जरूरत"]),
        ("Tamil", "தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("Ethiopic", "ሰላም ለዓለም", ["ሰላም", "ለዓለም"]),
        ("Han", "中国人", ["中国", "国人"]),
    ],
)
def test_words_of_each_script_stay_whole(script: str, text: str, words: list[str]) -> None:
    """Marks that spell belong to their word; those that may be left out are; Han has no words but pairs."""
    analyze = Analyzer(None, None)
    assert analyze(text) == [unicodedata.normalize("NFKD", word) for word in words]
    assert analyze(text) == analyze(unicodedata.normalize("NFD", text)) == analyze(text.upper())


def test_hangul_words_are_whole_and_kana_keep_their_voicing() -> None:
    analyze = Analyzer(None, None)
    assert len(analyze("한국어 문장")) == 2
    assert analyze("パン") == analyze("ﾊﾟﾝ") != analyze("ハン")


def test_scripts_without_spaces_become_pairs_of_characters_and_other_words_stay_apart() -> None:
    analyze = Analyzer(None, None)
    assert len(analyze("ประเทศไทย")) == 8 and set(analyze("ไทย")) <= set(analyze("ประเทศไทย"))
    assert analyze("日本NHK放送") == ["日本", "nhk", "放送"] and analyze("日") == ["日"]


def test_invisible_characters_are_dropped() -> None:
    analyze = Analyzer(None, None)
    assert analyze("co\u00adop\u00ader\u200ba\u200dte\ufeff\u2060d\ufe0f") == ["cooperated"]
    assert analyze("1\ufe0f\u20e3") == ["1"]


def test_underscores_separate_words() -> None:
    assert Analyzer(None, None)("Barack_Obama __init__") == ["barack", "obama", "init"]
    assert Analyzer(None, None)("Émile_Zola") == ["emile", "zola"]


def test_html_entities_are_what_they_stand_for() -> None:
    analyze = Analyzer(None, None)
    assert analyze("AT&amp;T") == analyze("AT&T") == analyze("AT&#38;T") == ["at", "t"]
    assert analyze("caf&eacute;&nbsp;&#x4e2d;&#22269;") == ["cafe", "中国"]
    assert analyze("R&D; a&b") == ["r", "d", "a", "b"], "what is no entity stays"


def test_stop_words_are_told_apart_and_not_lost() -> None:
    analyze = Analyzer("english", "english_plus")
    assert analyze.split("Who are The Who?") == ([], ["who", "are", "the", "who"])
    assert analyze.split("Who played drums?") == (["play", "drum"], ["who"])


def test_a_content_word_is_more_than_a_stop_word_whatever_touches_it() -> None:
    words = ["She", "wrote,", "in", "1912,", "the", "Iris", ".", "_", "हिन्दी"]
    assert [word for word in words if is_content_word(word)] == ["wrote,", "1912,", "Iris", "हिन्दी"]


def test_a_text_is_of_an_unspaced_script_when_most_of_its_letters_are() -> None:
    assert is_unspaced("東京は日本の首都です (Tokyo).") and is_unspaced("กรุงเทพ")
    assert not is_unspaced("The word 東京 means Tokyo.") and not is_unspaced("한국어") and not is_unspaced("")


@given(st.text())
def test_any_text_has_terms_and_folding_keeps_them(text: str) -> None:
    analyze = Analyzer(None, None)
    assert analyze(text) == analyze(text) and all(analyze(text))
    if "&" not in text:
        assert analyze(fold(text)) == analyze(text)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_words_are_runs_of_letters_and_digits(text: str) -> None:
    if "&" not in text:
        assert Analyzer(None, None)(text) == re.findall("[a-z0-9]+", text.lower())


def test_a_long_text_takes_linear_time() -> None:
    analyze = Analyzer("english", "english_plus")
    for unit in ("&", "&a", "&#1", "é&x", "中", "a\u0301", "&amp;"):
        start = time.perf_counter()
        analyze(unit * 200_000)
        assert time.perf_counter() - start < 5, unit
