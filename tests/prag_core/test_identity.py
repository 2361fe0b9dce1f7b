"""Names depend on content, all of it, and on nothing else."""

import hashlib
import json
from dataclasses import replace

from prag_core.identity import Recipe, adapter_version, content_hash, digest, shard_id
from prag_core.records import Document

DOCUMENT = Document("a", "text", "title", 0, {"lang": "en"})


def test_a_digest_is_sha256_of_canonical_json() -> None:
    value = {"b": [1, 2.5, None, True], "a": "ü"}
    assert digest(value) == hashlib.sha256('{"a":"ü","b":[1,2.5,null,true]}'.encode()).hexdigest()
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_a_digest_of_half_a_character_is_defined() -> None:
    assert digest("\ud800") != digest("?")


def test_a_documents_identity_is_its_wording_and_place_not_its_metadata() -> None:
    same = content_hash(replace(DOCUMENT, metadata={}))
    assert content_hash(DOCUMENT) == same == hashlib.sha256(b'["a",0,"title","text"]').hexdigest()
    for change in ({"doc_id": "b"}, {"chunk": 1}, {"title": "x"}, {"text": "x"}):
        assert content_hash(replace(DOCUMENT, **change)) != same


def test_text_does_not_slide_between_fields() -> None:
    assert content_hash(Document("a", "bc", "d")) != content_hash(Document("ab", "c", "d"))
    assert content_hash(Document("a", "b", "cd")) != content_hash(Document("a", "bc", "d"))


def test_an_adapter_is_named_by_content_and_recipe() -> None:
    names = {adapter_version(content, recipe) for content in ("c1", "c2") for recipe in ("r1", "r2")}
    assert len(names) == 4


def test_a_shard_is_named_by_its_adapters_in_order() -> None:
    assert shard_id(["a", "b"]) != shard_id(["b", "a"]) != shard_id(["ab"])
    assert len(shard_id(["a"])) == 20 and int(shard_id(["a"]), 16) >= 0


def test_a_recipe_is_named_by_all_its_fields_whatever_their_order() -> None:
    recipe = Recipe({"model": "m", "training": {"epochs": 1}})
    assert recipe.id == Recipe({"training": {"epochs": 1}, "model": "m"}).id
    assert recipe.id != Recipe({"model": "m", "training": {"epochs": 2}}).id
    assert Recipe(json.loads(json.dumps(recipe.fields))).id == recipe.id
