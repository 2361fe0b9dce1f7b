"""A verb says which settings it reads, with what is needed to set them."""

from __future__ import annotations

import pytest

from prag_core.config.command_line import READS, settings_help
from prag_core.config.load import known_settings


def listed(verb: str) -> list[str]:
    return [line.split("=")[0] for line in settings_help(verb).splitlines() if not line.startswith(" ")]


def test_all_that_verbs_read_are_settings_or_sections() -> None:
    known = known_settings()
    sections = {key.split(".")[0] for key in known}
    for verb, read in READS.items():
        assert set(read) <= known.keys() | sections, verb


@pytest.mark.parametrize("verb", READS)
def test_a_verbs_help_lists_what_it_reads_and_nothing_else(verb: str) -> None:
    whole = {key for key in listed(verb) if key.split(".")[0] in READS[verb]}
    single = {key for key in READS[verb] if "." in key}
    assert set(listed(verb)) == whole | single


def test_of_a_section_only_the_settings_that_are_read_are_listed() -> None:
    assert [key for key in listed("ask") if key.startswith("evaluate.")] == ["evaluate.seed"]
    assert [key for key in listed("serve") if key.startswith("ray.")] == ["ray.address"]
    assert not [key for key in listed("plan") if key.startswith(("engine.", "ray."))]
    assert len(listed("ablate")) == len(known_settings()), "a verb that is not in the table reads all"


def test_default_meaning_and_range_are_written_as_users_write_them() -> None:
    printed = settings_help("parameterize")
    assert "training.compile=false\n    Whether torch.compile is used" in printed
    assert (
        "bank.uri=out/bank\n    Where the bank lies: a local folder or any fsspec URI. A path or URI.\n"
        in printed
    )
    assert "model.revision=null\n" in printed and "Text, or null.\n" in printed
    assert "training.targets=[gate_proj, up_proj, down_proj]\n" in printed
    assert (
        "bank.tier=fp32\n    Number format in which adapters are stored. One of fp32, bf16, int8, int4.\n"
        in printed
    )
    assert (
        "retrieval.b=0.75\n    BM25's b: the larger, the more a long document's score is discounted. "
        "A number, at least 0 and at most 1.\n" in settings_help("ask")
    )
