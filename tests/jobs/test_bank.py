from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs import bank as command
from jobs import cli
from jobs.make_bank import report
from prag_core.bank import Bank, Stage, delete_documents
from prag_core.bank.gc import collect
from prag_core.bank.gc.erase import erase
from prag_core.bank.store import BankStore
from prag_core.bank.tables import WANTED
from prag_core.identity import Recipe, content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Adapter, Document, Factors, Failure
from prag_core.terminal.console import open_console

LAYOUT = AdapterLayout((ModuleShape("layers.0.mlp.up_proj", 4, 3),), 2, 32.0)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """A bank of two adapters and one quarantined document."""

    def factors(seed: int) -> dict[str, Factors]:
        draw = np.random.default_rng(seed)
        return {
            n: Factors(draw.normal(size=a).astype("f4"), draw.normal(size=b).astype("f4"))
            for n, a, b in LAYOUT.shapes()
        }

    bank = Bank.create(str(tmp_path / "bank"), Recipe({"model": "tiny"}), LAYOUT, factors(9))
    documents = [Document(name, f"text of {name}") for name in ("ada", "bo", "cy")]
    info = bank.write_documents("shard", documents)
    with bank.begin(Stage.adapters, "shard") as writer:
        for seed, document in enumerate(documents[:2]):
            writer.add(
                Adapter(
                    document.doc_id,
                    0,
                    content_hash(document),
                    factors(seed),
                    steps=5,
                    tokens=100,
                    loss_first=3.0,
                    loss_last=1.0,
                )
            )
        writer.add(Failure("cy", 0, content_hash(documents[2]), "train", "too long for the model", 1))
        writer.commit([info])
    rows = [{"doc_id": d.doc_id, "chunk": d.chunk, "content_hash": content_hash(d)} for d in documents]
    bank.write_snapshot(pa.Table.from_pylist(rows))
    return bank.uri


def test_ls_shows_documents_and_why_some_were_quarantined(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["ls", uri]) == 0
    shown = capsys.readouterr().out
    assert (
        "ada" in shown and "too long" in shown and "2 adapter, 0 text_only, 1 quarantined, 0 deleted" in shown
    )
    assert command.main(["ls", uri, "--quarantined", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["doc_id"] for row in listed["documents"]] == ["cy"] and listed["counts"]["adapter"] == 2
    assert command.main(["ls", uri, "--failed", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == listed, "the option's old name"


@pytest.mark.parametrize("doc_id", ["[/r/]python", "arXiv:2301.1[cs.CL]", f"[b]{'x' * 90}[/b]"])
def test_ids_reasons_and_texts_are_printed_letter_for_letter(
    doc_id: str, uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    bank = Bank.open(uri)
    document = Document(doc_id, "text [/i] :smile:", title="[red]T[/red]")
    with bank.begin(Stage.adapters, "odd") as writer:
        writer.add(Failure(doc_id, 0, content_hash(document), "train", "no [/x] :smile: list[int]", 1))
        writer.commit([bank.write_documents("odd", [document])])
    row = {"doc_id": doc_id, "chunk": 0, "content_hash": content_hash(document)}
    bank.write_snapshot(pa.Table.from_pylist([row], WANTED))
    assert command.main(["ls", uri]) == 0
    shown = capsys.readouterr().out
    assert doc_id in shown and "train: no [/x] :smile: list[int]" in shown
    report(uri, bank.require_snapshot(), [], "prag parameterize", open_console())
    assert f"  {doc_id} chunk 0, at train: no [/x] :smile: list[int]" in capsys.readouterr().out
    assert command.main(["inspect", uri, "--doc-id", doc_id]) == 0
    shown = capsys.readouterr().out
    for text in (doc_id, "no [/x] :smile: list[int]", "text [/i] :smile:", "[red]T[/red]"):
        assert text in shown
    assert cli.main(["delete", uri, "--doc-id", doc_id]) == 0
    assert command.main(["inspect", uri]) == 0 and doc_id in capsys.readouterr().out
    assert command.main(["gc", uri]) == 0
    assert cli.main(["bank", "inspect", uri, "--doc-id", doc_id]) == 1 and doc_id in capsys.readouterr().err


def test_text_only_documents_are_listed_inspected_and_exported(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank.open(uri)
    document, factors = Document("di", "text of di"), bank.initial_factors()
    info = bank.write_documents("examined", [document])
    with bank.begin(Stage.adapters, "examined") as writer:
        writer.add(
            Adapter(
                "di",
                0,
                content_hash(document),
                factors,
                steps=5,
                tokens=100,
                loss_first=3.0,
                loss_last=1.0,
                accepted=False,
                score=0.25,
            )
        )
        writer.commit([info])
    row = {"doc_id": "di", "chunk": 0, "content_hash": content_hash(document)}
    before = bank.latest_snapshot()
    assert before is not None
    bank.write_snapshot(
        pa.concat_tables([before.index.select(list(row)), pa.Table.from_pylist([row], WANTED)])
    )
    assert command.main(["ls", uri, "--text-only"]) == 0
    shown = capsys.readouterr().out
    assert (
        "0.25" in shown
        and " ada " not in shown
        and "2 adapter, 1 text_only, 1 quarantined, 0 deleted" in shown
    )
    assert command.main(["ls", uri, "--text-only", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["documents"]
    assert (listed["doc_id"], listed["score"]) == ("di", 0.25) and "answered 25%" in listed["reason"]
    assert command.main(["inspect", uri, "--doc-id", "di", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["status"], facts["score"]) == ("text_only", 0.25) and facts["norms"]["up_proj"] > 0
    assert command.main(["export", uri, "--doc-id", "di", "--out", str(tmp_path / "di")]) == 0
    assert (tmp_path / "di" / "adapter_model.safetensors").exists()


def test_inspect_describes_the_bank_and_one_document(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["inspect", uri, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["adapter"]["parameters"] == 14 and facts["snapshot"]["counts"]["adapter"] == 2
    assert command.main(["inspect", uri, "--doc-id", "bo", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["document"]["text"] == "text of bo" and facts["norms"]["up_proj"] > 0
    assert command.main(["inspect", uri, "--doc-id", "bo"]) == 0 and "text of bo" in capsys.readouterr().out


def test_verify_exits_0_then_1_naming_the_damaged_object(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bank", "verify", uri]) == 0 and "sound" in capsys.readouterr().out
    (path,) = Path(uri, "adapters").iterdir()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert cli.main(["bank", "verify", uri]) == 1 and f"adapters/{path.name}" in capsys.readouterr().out
    (Path(uri) / "bank.json").write_bytes(b"{}")
    assert cli.main(["bank", "verify", uri]) == 1 and "bank.json" in capsys.readouterr().err


def test_export_writes_a_peft_folder_that_names_the_base_of_the_newest_run(uri: str, tmp_path: Path) -> None:
    Bank.open(uri).write_run("2025", "config.yaml", b"model:\n  path: some/base\n")
    assert command.main(["export", uri, "--doc-id", "ada", "--out", str(tmp_path / "out")]) == 0
    assert (
        json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"]
        == "some/base"
    )
    assert command.main(["export", uri, "--init", "--out", str(tmp_path / "init")]) == 0
    assert (tmp_path / "init" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("options", [[], ["--doc-id", "ada", "--init"]])
def test_export_takes_a_document_or_the_initial_adapter(
    uri: str, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bank", "export", uri, *options, "--out", str(tmp_path / "out")]) == 2
    assert "--doc-id ID or --init" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_unknown_documents_and_banks_are_one_line_and_exit_1(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bank", "inspect", uri, "--doc-id", "nobody"]) == 1
    assert cli.main(["bank", "ls", uri + "-not"]) == 1
    assert capsys.readouterr().err.count("error: ") == 2


def test_delete_restore_and_gc(uri: str, capsys: pytest.CaptureFixture[str]) -> None:
    def names() -> set[str]:
        return set(Bank.open(uri).latest_snapshot().index["doc_id"].to_pylist())  # type: ignore[union-attr]

    assert cli.main(["delete", uri, "--doc-id", "ada", "--doc-id", "cy"]) == 0 and names() == {"bo"}
    assert cli.main(["delete", uri, "--doc-id", "cy", "--restore"]) == 0 and names() == {"bo", "cy"}
    assert (
        cli.main(["bank", "gc", uri, "--grace", "0s", "--force"]) == 0
        and "Nothing was changed" in capsys.readouterr().out
    )
    assert cli.main(["bank", "gc", uri, "--grace", "0s", "--force", "--apply", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["erased"] == ["ada"]
    assert b"ada" not in b"".join(path.read_bytes() for path in Path(uri, "adapters").iterdir())
    assert cli.main(["delete", uri, "--doc-id", "nobody"]) == 1 and "'nobody'" in capsys.readouterr().err


def test_gc_tells_of_another_commands_snapshot_between(
    uri: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = ["bank", "gc", uri, "--grace", "0s", "--force", "--apply"]
    between: list[str] = []

    def overtaken(bank: BankStore, *arguments: Any) -> None:
        between.append(delete_documents(bank, ["bo"]).name)
        erase(bank, *arguments)

    assert cli.main(["delete", uri, "--doc-id", "ada"]) == 0 and cli.main(clear) == 0
    assert "another command" not in capsys.readouterr().out
    assert cli.main(["delete", uri, "--doc-id", "cy"]) == 0
    monkeypatch.setattr(collect, "erase", overtaken)
    assert cli.main(clear) == 0
    assert f"another command published snapshot {between[0]} meanwhile" in capsys.readouterr().out


def test_a_grace_period_needs_a_unit(uri: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(["gc", uri, "--grace", "24"])


@pytest.mark.parametrize("verb", [[], ["ls"], ["inspect"], ["verify"], ["export"], ["gc"]])
def test_help_has_examples(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main([*verb, "--help"])
    shown: Any = capsys.readouterr().out
    assert "examples:" in shown
