"""What cannot be served is said before anything is started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from cluster.app import application, bounds_of, build
from jobs import cli
from prag_core.bank import Bank
from prag_core.config.load import load_config
from prag_core.errors import BankError, ConfigError

ROOT = Path(__file__).resolve().parents[2]


def test_a_bank_that_cannot_be_served_is_named_with_what_to_do(untrained: list[str], tmp_path: Path) -> None:
    with pytest.raises(BankError, match="no bank here"):
        application(load_config([f"bank.uri={tmp_path}/nothing"]))
    with pytest.raises(BankError, match="run prag index"):
        application(load_config([*untrained, "retrieval.k1=0.123"]))


@pytest.mark.parametrize("setting", ["engine.kind=transformers", "serve.max_top_k=2"])
def test_settings_that_contradict_each_other_are_refused(untrained: list[str], setting: str) -> None:
    with pytest.raises(ConfigError, match=setting):
        application(load_config([*untrained, setting]))


REFUSED = [
    ("[prga]", "did you mean prag?"),
    ("[rag_gold]", "labelled documents, which no request has (expected some of closed_book, rag"),
    ("[dragin+prag]", "reads attentions, which vLLM"),
    ("[]", "empty"),
]


def test_a_method_that_cannot_be_served_is_refused_with_the_reason_or_the_nearest(
    untrained: list[str],
) -> None:
    for methods, message in REFUSED:
        with pytest.raises(ConfigError, match=re.escape(message)):
            application(load_config([*untrained, f"serve.methods={methods}"]))


def test_the_engine_has_room_for_all_that_an_offered_method_merges(untrained: list[str]) -> None:
    """Rank 2: three documents need a slot of 8, fifteen one of 32, and a request may then ask for as many as fit."""
    for methods, most in (("[prag]", 4), ("[flare]", 4), ("[da_rag+prag]", 4), ("[prag,flare+prag]", 16)):
        config = load_config([*untrained, f"serve.methods={methods}"])
        assert bounds_of(config, Bank.open(config.bank.uri)).max_top_k == most


def test_prag_serve_says_it_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", f"bank.uri={tmp_path}/nothing"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


def test_the_deployment_files_build_what_prag_serve_does(untrained: list[str]) -> None:
    """Their settings are known ones; with this bank and model in place of theirs they make an application."""
    deployed = yaml.safe_load((ROOT / "cluster/serve.yaml").read_text())
    service = yaml.safe_load((ROOT / "cluster/kuberay/rayservice.yaml").read_text())
    in_service = yaml.safe_load(service["spec"]["serveConfigV2"])
    assert in_service["applications"] == deployed["applications"]
    (application,) = deployed["applications"]
    args = application["args"]
    theirs = [setting for setting in args["settings"] if not setting.startswith(("bank.", "model."))]
    assert build({"config": str(ROOT / args["config"]), "settings": [*theirs, *untrained]})
    with pytest.raises(ConfigError, match="unknown"):
        build({"setings": []})


@pytest.mark.parametrize(
    ("file", "cluster"), [("rayservice", "rayClusterConfig"), ("rayjob", "rayClusterSpec")]
)
def test_clusters_on_kubernetes_ask_for_a_token(file: str, cluster: str) -> None:
    manifest = yaml.safe_load((ROOT / f"cluster/kuberay/{file}.yaml").read_text())
    assert manifest["spec"][cluster]["authOptions"] == {"mode": "token"}
