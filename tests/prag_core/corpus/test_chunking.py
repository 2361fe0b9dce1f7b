"""A passage's budget is what its prompts leave; long documents become chunks that cover all their text and fit."""

import random
from dataclasses import replace
from typing import Any

import pytest

from prag_core.config.schema import AugmentationConfig, CorpusConfig, LongDocuments, PromptConfig
from prag_core.corpus.chunking import (
    PassageLimit,
    TokenBudget,
    chunk_document,
    split_long,
    token_budget,
)
from prag_core.corpus.cutting import TokenPlaces
from prag_core.errors import ConfigError, ModelError
from prag_core.models.base_model import load_tokenizer
from prag_core.models.control_tokens import encode_text
from prag_core.models.prompts import encode, qa_messages, rewrite_messages, show_passage
from prag_core.records import Document

AMHARIC = "አዲስ አበባ የኢትዮጵያ ዋና ከተማ ናት። በ1886 ተመሠረተች። ከተማዋ በእንጦጦ ተራራ ግርጌ ትገኛለች።"
TIBETAN = "ལྷ་ས་ནི་བོད་ཀྱི་རྒྱལ་ས་ཡིན། དེ་ནི་སྐྱིད་ཆུའི་འགྲམ་དུ་ཡོད།"
CHUNK = CorpusConfig(long_documents=LongDocuments.chunk, chunk_overlap=6)


def word_tokenizer() -> Any:
    """A token a word, whatever its length."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=words)


@pytest.fixture
def limit(tiny_tokenizer: Any) -> PassageLimit:
    return PassageLimit((TokenBudget(tiny_tokenizer, max_tokens=40, overhead=0),))


def random_text(rng: random.Random) -> str:
    """Words of 1 to 60 letters of one to three bytes, no letter twice, so that a piece is found at one place only."""
    letters = (chr(0x4E00 + i) if i % 3 else chr(0xC0 + i) for i in range(5000))
    words = [rng.choice([1, 2, 3, 4, 5, rng.randrange(1, 60)]) for _ in range(rng.randrange(1, 60))]
    return "".join(
        "".join(next(letters) for _ in range(length)) + rng.choice([" ", " ", "\n", "  ", ""])
        for length in words
    )


def covers(text: str, chunks: list[str]) -> bool:
    """Whether the chunks, laid over the text in order, leave only white space uncovered."""
    reached = begin = 0
    for chunk in chunks:
        begin = text.index(chunk, begin)
        if text[reached:begin].strip():
            return False
        reached = max(reached, begin + len(chunk))
    return not text[reached:].strip()


def test_a_passage_that_fills_its_budget_fits_every_prompt_with_the_answers_room(tiny_tokenizer: Any) -> None:
    augmentation = AugmentationConfig(max_new_tokens=100)
    budget = token_budget(tiny_tokenizer, 2000, PromptConfig(), augmentation)
    passage = "x" * budget.max_tokens
    for messages in (rewrite_messages(passage), qa_messages(passage, 3)):
        assert len(encode(tiny_tokenizer, messages)) + 100 <= 2000
    longest = max(
        len(encode(tiny_tokenizer, m)) for m in (rewrite_messages(passage), qa_messages(passage, 3))
    )
    assert longest + 100 > 2000 - 20, "and hardly a token is given away"


def test_worked_examples_take_their_room(tiny_tokenizer: Any) -> None:
    augmentation, prompt = AugmentationConfig(max_new_tokens=100), PromptConfig(cot=True)
    plain = token_budget(tiny_tokenizer, 4000, prompt, augmentation)
    worked = token_budget(tiny_tokenizer, 4000, prompt, augmentation, [("q" * 500, "a" * 500)])
    assert worked.max_tokens < plain.max_tokens - 500


def test_a_context_with_no_room_for_a_passage_is_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError, match=r"context of 512 tokens.*max_new_tokens=512"):
        token_budget(tiny_tokenizer, 512, PromptConfig(), AugmentationConfig())


@pytest.mark.parametrize(("length", "held"), [(40, True), (41, False)])
def test_the_limit_is_exact(limit: PassageLimit, length: int, held: bool) -> None:
    assert limit.holds(Document("a", "x" * length)) is held


def test_few_tokens_of_many_bytes_are_counted_not_guessed() -> None:
    limit = PassageLimit((TokenBudget(word_tokenizer(), max_tokens=3, overhead=0),))
    assert limit.holds(Document("a", "longword " * 3)) and not limit.holds(Document("a", "longword " * 4))


def test_a_title_that_is_shown_counts(limit: PassageLimit) -> None:
    document = Document("a", "x" * 38, "Title")
    assert limit.holds(document) and not replace(limit, with_title=True).holds(document)


def test_every_model_that_reads_the_passage_must_hold_it(limit: PassageLimit) -> None:
    both = PassageLimit((*limit.budgets, TokenBudget(word_tokenizer(), max_tokens=3, overhead=0)))
    assert (
        both.holds(Document("a", "x y z"))
        and not both.holds(Document("a", "x y z w"))
        and not both.holds(Document("a", "x" * 41))
    )


@pytest.mark.parametrize("seed", range(30))
def test_chunks_fit_are_numbered_and_cover_the_whole_text(limit: PassageLimit, seed: int) -> None:
    document = Document("a", random_text(random.Random(seed)), "Title", metadata={"k": 1})
    chunks = chunk_document(document, limit, overlap=6)
    assert all(limit.holds(chunk) for chunk in chunks)
    assert [chunk.chunk for chunk in chunks] == list(range(len(chunks)))
    assert {(c.doc_id, c.title, c.metadata["k"]) for c in chunks} <= {("a", "Title", 1)}
    assert covers(document.text, [chunk.text for chunk in chunks])


@pytest.mark.parametrize("seed", range(10))
def test_chunks_fit_with_their_title(limit: PassageLimit, seed: int) -> None:
    titled = replace(limit, with_title=True)
    document = Document("a", random_text(random.Random(seed)) + "end", "A title")
    chunks = chunk_document(document, titled, overlap=6)
    tokenizer = limit.budgets[0]
    assert all(tokenizer.count(show_passage(c.title, c.text, with_title=True)) <= 40 for c in chunks)
    assert covers(document.text, [chunk.text for chunk in chunks])


def test_short_documents_pass_through_and_long_ones_only_as_configured(limit: PassageLimit) -> None:
    documents = [Document("a", "short"), Document("b", "long " * 20)]
    assert list(split_long(documents, limit, CorpusConfig())) == documents
    chunked = list(split_long(documents, limit, CHUNK))
    assert chunked[0] == documents[0] and [c.key for c in chunked[1:4]] == [("b", 0), ("b", 1), ("b", 2)]


def test_a_document_whose_title_fills_the_context_stays_whole(limit: PassageLimit) -> None:
    document = Document("a", "text " * 20, "T" * 100)
    assert chunk_document(document, replace(limit, with_title=True), overlap=6) == [document]


class CountingTokenizer:
    """Counts the characters that it is asked to tokenise."""

    def __init__(self, tokenizer: Any, *, is_fast: bool = True) -> None:
        self._tokenizer, self.is_fast, self.characters = tokenizer, is_fast, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        self.characters += len(text)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
        return ids

    def __call__(self, text: str, **options: Any) -> Any:
        self.characters += len(text)
        return self._tokenizer(text, **options)


def test_a_long_document_is_tokenised_a_few_times_not_once_for_every_guess(tiny_tokenizer: Any) -> None:
    counting = CountingTokenizer(tiny_tokenizer)
    rng = random.Random(5)
    text = " ".join("w" * rng.randrange(1, 12) for _ in range(8000))
    chunks = chunk_document(
        Document("a", text), PassageLimit((TokenBudget(counting, max_tokens=1500, overhead=0),)), overlap=32
    )
    assert len(chunks) > 30 and counting.characters < 6 * len(text)


def test_control_tokens_in_a_document_count_as_plain_text(tiny_tokenizer: Any) -> None:
    text = "<|end|>" * 6
    assert TokenBudget(tiny_tokenizer, max_tokens=99, overhead=0).count(text) == len(text)
    limit = PassageLimit((TokenBudget(tiny_tokenizer, max_tokens=14, overhead=0),))
    assert not limit.holds(Document("a", text))
    assert [chunk.text for chunk in chunk_document(Document("a", text), limit, overlap=0)] == [
        "<|end|>" * 2
    ] * 3


def test_a_tokenizer_that_cannot_say_where_tokens_lie_gives_the_same_chunks(tiny_tokenizer: Any) -> None:
    slow = CountingTokenizer(tiny_tokenizer, is_fast=False)
    document = Document("a", random_text(random.Random(7)))
    one, other = (
        chunk_document(document, PassageLimit((TokenBudget(t, max_tokens=40, overhead=0),)), overlap=6)
        for t in (slow, tiny_tokenizer)
    )
    assert one == other


@pytest.mark.parametrize("length", [1000, 5000])
def test_a_text_far_beyond_its_budget_is_told_by_its_beginning(tiny_tokenizer: Any, length: int) -> None:
    counting = CountingTokenizer(tiny_tokenizer)
    assert not TokenBudget(counting, max_tokens=10, overhead=0).holds("word " * length)
    assert counting.characters == 160


@pytest.fixture(params=["a token a byte", pytest.param("smollm2", marks=pytest.mark.slow)])
def byte_tokenizer(request: pytest.FixtureRequest, tiny_tokenizer: Any) -> Any:
    """A tokenizer that breaks characters into bytes: of every script but Latin, or of those that it has not learned."""
    return load_tokenizer("smollm2") if request.param == "smollm2" else tiny_tokenizer


@pytest.mark.parametrize("text", [AMHARIC, TIBETAN], ids=["Amharic", "Tibetan"])
def test_no_character_is_broken_where_tokens_are_its_bytes(byte_tokenizer: Any, text: str) -> None:
    assert len(encode_text(byte_tokenizer, text)) > len(text), "several tokens a character"
    assert byte_tokenizer.decode(encode_text(byte_tokenizer, text)) == text
    places = TokenPlaces.of(byte_tokenizer, text)
    assert places.starts[0] == 0 and places.ends[-1] == len(text)
    assert all(0 <= end - start <= 3 for start, end in zip(places.starts, places.ends, strict=True))
    limit = PassageLimit((TokenBudget(byte_tokenizer, max_tokens=40, overhead=0),))
    document = Document("a", text)
    chunks = list(split_long([document], limit, CHUNK))
    assert len(chunks) > 1 and all(limit.holds(chunk) for chunk in chunks)
    assert covers(text, [chunk.text for chunk in chunks])
    assert not any("\ufffd" in chunk.text for chunk in chunks)


def test_an_overlap_that_leaves_no_progress_is_refused(limit: PassageLimit) -> None:
    with pytest.raises(ConfigError, match=r"corpus\.chunk_overlap=21.*0 to 20"):
        chunk_document(Document("a", "x" * 100), limit, overlap=21)
