"""What a user gets wrong ends in one clear line, a non-zero exit code, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from jobs import cli

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "examples/mini/model"
GOOD = [
    {"doc_id": "d1", "title": "Ada", "text": "Ada was born in Rome."},
    {"doc_id": "d2", "text": "Bo wrote Iris."},
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "corpus.jsonl", [json.dumps(row) for row in GOOD])


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, *settings: Any, verb: str = "parameterize"
) -> str:
    """Run the verb, expecting a refusal before anything is in the bank; the message."""
    bank = tmp_path / "bank"
    status = cli.main([verb, f"bank.uri={bank}", f"model.path={MODEL}", *map(str, settings)])
    message = capsys.readouterr().err
    assert status != 0
    assert message.startswith("error: ") and "Traceback" not in message
    assert (
        not list(bank.glob("snapshots/*"))
        and not list(bank.glob("commits/*/*"))
        and not list(bank.glob("runs/*/plan.json"))
    )
    return message


def test_a_missing_corpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "nowhere.jsonl" in refused(capsys, tmp_path, f"corpus.uri={tmp_path}/nowhere.jsonl")


def test_an_unreadable_corpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    broken = tmp_path / "corpus.jsonl.gz"
    broken.write_bytes(b"\x1f\x8b not really compressed")
    assert "corpus.jsonl.gz" in refused(capsys, tmp_path, f"corpus.uri={broken}")


def test_an_empty_corpus(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    empty = write_lines(tmp_path / "corpus.jsonl", [])
    assert "empty" in refused(capsys, tmp_path, f"corpus.uri={empty}")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{not json", "line 3"),
        ('{"doc_id": "d3"}', "d3"),
        ('{"doc_id": "d3", "text": "   "}', "d3"),
        ('{"doc_id": "d1", "text": "another text"}', "d1"),
        ('{"text": "no id"}', "line 3"),
        (json.dumps({"doc_id": "nul\0", "text": "t"}), "U+0000"),
        (json.dumps({"doc_id": "tab\tbed", "text": "t"}), "U+0009"),
        (json.dumps({"doc_id": "x" * 10_000, "text": "t"}), "10,000"),
        (json.dumps({"doc_id": "d3", "text": "nul \0 in text"}), "NUL"),
    ],
    ids=[
        "not-json",
        "no-text",
        "blank-text",
        "two-texts",
        "no-id",
        "nul-id",
        "control-id",
        "long-id",
        "nul-text",
    ],
)
def test_a_bad_record_is_named_where_none_may_be_left_out(
    line: str, said: str, capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    write_lines(corpus, [*map(json.dumps, GOOD), line])
    assert said in refused(capsys, tmp_path, f"corpus.uri={corpus}", "corpus.max_rejected=0")


def test_an_unknown_setting(capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path) -> None:
    message = refused(capsys, tmp_path, f"corpus.uri={corpus}", "training.epoch=3")
    assert "training.epoch" in message and "training.epochs" in message


def test_a_setting_of_the_wrong_type(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    assert "training.epochs" in refused(capsys, tmp_path, f"corpus.uri={corpus}", "training.epochs=many")


def test_a_setting_out_of_range(capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path) -> None:
    assert "training.epochs=0" in refused(capsys, tmp_path, f"corpus.uri={corpus}", "training.epochs=0")


def test_a_model_path_that_is_not_there(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    assert "no-model" in refused(capsys, tmp_path, f"corpus.uri={corpus}", f"model.path={tmp_path}/no-model")


def test_a_model_without_a_tokenizer(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "model"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(MODEL / name, bare / name)
    assert "tokenizer" in refused(capsys, tmp_path, f"corpus.uri={corpus}", f"model.path={bare}")


def test_a_model_without_a_chat_template(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "model"
    shutil.copytree(MODEL, plain, ignore=shutil.ignore_patterns("chat_template*"))
    settings = json.loads((plain / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (plain / "tokenizer_config.json").write_text(json.dumps(settings))
    assert "chat template" in refused(capsys, tmp_path, f"corpus.uri={corpus}", f"model.path={plain}")


def model_like_ours(folder: Path, **fields: Any) -> Path:
    """The miniature model with other fields in its config, and no weights: nothing may come to read them."""
    shutil.copytree(MODEL, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    return folder


@pytest.mark.parametrize("verb", ["plan", "parameterize"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_type": "gemma2", "head_dim": 32}, "Gemma2ForCausalLM scales or caps its logits"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "its weights are quantised (awq)"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "its weights are quantised (gptq)"),
        ({"model_type": "phi3"}, "named gate_proj; did you mean gate_up_proj?"),
    ],
    ids=["gemma2", "awq", "gptq", "phi3"],
)
def test_a_model_that_cannot_be_trained_is_refused_in_one_line_before_any_work(
    verb: str,
    fields: dict[str, Any],
    said: str,
    capsys: pytest.CaptureFixture[str],
    corpus: Path,
    tmp_path: Path,
) -> None:
    model = model_like_ours(tmp_path / "model", **fields)
    message = refused(capsys, tmp_path, f"corpus.uri={corpus}", f"model.path={model}", verb=verb)
    assert said in message and message.count("\n") == 1
    assert not (tmp_path / "bank").exists()


def test_a_bank_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    message = refused(capsys, tmp_path, f"corpus.uri={corpus}", f"bank.uri={corpus}/bank")
    assert f"{corpus}/bank" in message


@pytest.fixture
def made_bank(corpus: Path, tmp_path: Path) -> Path:
    """A bank of the reference recipe, created and nothing more."""
    from prag_core.bank import Bank
    from prag_core.config.load import load_config
    from prag_core.planning.recipe import prepare_recipe

    uri = tmp_path / "made"
    prepared = prepare_recipe(load_config([f"model.path={MODEL}"]))
    Bank.create(str(uri), prepared.recipe, prepared.layout, prepared.initial)
    return uri


def test_a_bank_of_another_recipe(
    capsys: pytest.CaptureFixture[str], corpus: Path, made_bank: Path, tmp_path: Path
) -> None:
    message = refused(capsys, tmp_path, f"corpus.uri={corpus}", f"bank.uri={made_bank}", "training.epochs=2")
    assert "another recipe" in message and "training.epochs: 1 there, 2 here" in message


def test_augmentations_of_another_writer_or_other_settings(
    capsys: pytest.CaptureFixture[str], corpus: Path, made_bank: Path, tmp_path: Path
) -> None:
    settings = (
        f"corpus.uri={corpus}",
        f"augmentation.uri={made_bank}",
        "augmentation.num_qa_pairs=6",
        "training.epochs=2",
    )
    message = refused(capsys, tmp_path, *settings)
    assert str(made_bank) in message and "(num_qa_pairs 3 there, 6 here)" in message


def test_a_bank_of_another_model(
    capsys: pytest.CaptureFixture[str], corpus: Path, made_bank: Path, tmp_path: Path
) -> None:
    other = tmp_path / "model"
    shutil.copytree(MODEL, other)
    settings = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(settings | {"rms_norm_eps": 1e-3}))
    message = refused(
        capsys, tmp_path, f"corpus.uri={corpus}", f"bank.uri={made_bank}", f"model.path={other}"
    )
    assert "another recipe" in message and "model:" in message


@pytest.mark.parametrize("verb", ["index", "evaluate"])
def test_a_bank_that_is_not_there(verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    message = refused(capsys, tmp_path, verb=verb)
    assert str(tmp_path / "bank") in message


def test_asking_a_bank_without_a_snapshot(capsys: pytest.CaptureFixture[str], made_bank: Path) -> None:
    assert cli.main(["ask", "Where?", f"bank.uri={made_bank}", f"model.path={MODEL}"]) == 1
    assert "prag parameterize" in capsys.readouterr().err


def test_a_method_that_is_not_there(capsys: pytest.CaptureFixture[str], made_bank: Path) -> None:
    assert cli.main(["evaluate", f"bank.uri={made_bank}", "evaluate.methods=[pragg]"]) == 2
    assert "did you mean prag?" in capsys.readouterr().err


def test_a_merge_rule_that_is_not_there(capsys: pytest.CaptureFixture[str], made_bank: Path) -> None:
    assert cli.main(["ask", "Where?", f"bank.uri={made_bank}", "merge.rule=tie"]) == 2
    assert "did you mean ties?" in capsys.readouterr().err


def test_a_filter_that_is_none(capsys: pytest.CaptureFixture[str], made_bank: Path) -> None:
    assert cli.main(["ask", "Where?", f"bank.uri={made_bank}", "--filter", "kind"]) == 2
    assert "filter 'kind': expected field=value" in capsys.readouterr().err


def test_s3_with_wrong_credentials(
    swift_uri: str,
    capsys: pytest.CaptureFixture[str],
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the secret")
    message = refused(capsys, tmp_path, f"corpus.uri={corpus}", f"bank.uri={swift_uri}")
    assert swift_uri in message and "AWS_SECRET_ACCESS_KEY" in message


def test_a_bucket_that_is_not_there(
    swift_uri: str, capsys: pytest.CaptureFixture[str], corpus: Path, tmp_path: Path
) -> None:
    message = refused(capsys, tmp_path, f"corpus.uri={corpus}", "bank.uri=s3://no-such-bucket/bank")
    assert "s3://no-such-bucket/bank" in message and "bucket" in message
