"""`prag ablate` on a handful of documents: what it makes, what it takes from earlier, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import cli
from prag_core.bank import Bank, Stage

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "examples/mini"
DOCUMENTS = 4
ROWS: list[dict[str, Any]] = [
    {"label": "base"},
    {
        "label": "another writes",
        "settings": {"augmentation.num_rewrites": 1},
    },  # augmentation.model: given by the fixture
    {"label": "k 1", "settings": {"retrieval.top_k": 1}},
    {"methods": ["rag"]},
]


@dataclass(frozen=True)
class Ablation:
    """A table over four documents, and where what it makes lies."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def describe(self, rows: list[dict[str, Any]], name: str = "small") -> Path:
        """The table with these rows. Passages are learned as plain text: nothing but the other writer's rewrites is generated."""
        lines = (MINI / "corpus.jsonl").read_text().splitlines()[:DOCUMENTS]
        ids = {json.loads(line)["doc_id"] for line in lines}
        questions = (MINI / "questions.dev.jsonl").read_text().splitlines()
        asked = [line for line in questions if set(json.loads(line)["gold_doc_ids"]) <= ids]
        (self.folder / "corpus.jsonl").write_text("\n".join(lines) + "\n")
        (self.folder / "questions.jsonl").write_text("\n".join(asked) + "\n")
        settings = {
            "corpus.uri": f"{self.folder}/corpus.jsonl",
            "evaluate.questions": f"{self.folder}/questions.jsonl",
            "augmentation": {
                "engine": "transformers",
                "num_rewrites": 0,
                "num_qa_pairs": 0,
                "max_new_tokens": 24,
            },
            "engine": {"kind": "transformers", "dtype": "float32"},
            "evaluate.num_resamples": 100,
            "ablate.out": str(self.out),
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(
            yaml.safe_dump({"title": "Small", "settings": settings, "methods": ["prag"], "rows": rows})
        )
        return path

    def report(self, name: str = "small") -> dict[str, Any]:
        fields: dict[str, Any] = json.loads((self.out / name / "report.json").read_text())
        return fields

    def kept(self) -> dict[str, float]:
        """Every bank's objects and every run's answers, with when they were written."""
        files = [
            *self.out.glob("banks/*/adapters/*"),
            *self.out.glob("banks/*/augmentations/*"),
            *self.out.glob("answers/*"),
        ]
        return {str(path.relative_to(self.out)): os.stat(path).st_mtime for path in files}


def dry_run(table: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["ablate", str(table), "--dry-run"]) == 0
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    """The table, made by the command as a user runs it."""
    made = Ablation(tmp_path_factory.mktemp("ablation"))
    writer = made.folder / "writer"
    shutil.copytree(MINI / "model", writer)
    fields = json.loads((writer / "config.json").read_text())
    (writer / "config.json").write_text(json.dumps(fields | {"rms_norm_eps": 1e-4}))
    ROWS[1]["settings"]["augmentation.model"] = str(writer)
    command = [sys.executable, "-m", "jobs.cli", "ablate", str(made.describe(ROWS))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "4 rows: 0 cached, 4 to run (2 of 2 banks to make, 4 of 4 runs to answer)" in done.stderr
    assert "prag@another writes" in done.stdout
    return made


def test_every_run_is_in_the_report_with_where_it_comes_from(ablation: Ablation) -> None:
    report = ablation.report()
    assert list(report["methods"]) == ["prag@base", "prag@another writes", "prag@k 1", "rag"]
    origins = report["origins"]
    assert origins["prag@k 1"]["settings"] == {"retrieval.top_k": 1}
    assert all(origin["adapters"] == DOCUMENTS and not origin["quarantined"] for origin in origins.values())
    assert {name: origin["seconds_per_document"] is not None for name, origin in origins.items()} == {
        name: name != "rag" for name in origins
    }
    firsts = [(c["method"], c["baseline"]) for c in report["comparisons"]]
    assert firsts == [(f"prag@{row}", "prag@base") for row in ("another writes", "k 1")]
    assert report["methods"]["rag"]["f1"] > report["methods"]["prag@base"]["f1"]


def test_each_bank_is_its_rows_and_rows_that_only_serve_otherwise_share_one(ablation: Ablation) -> None:
    origins = ablation.report()["origins"]
    uris = {name: origin["bank"] for name, origin in origins.items()}
    assert uris["prag@base"] == uris["prag@k 1"] == uris["rag"]
    assert len(set(uris.values())) == len(list((ablation.out / "banks").iterdir())) == 2
    recipes = {name: Bank.open(uri).recipe.fields for name, uri in uris.items()}
    assert (
        recipes["prag@another writes"]["augmentation"]["model"]
        != recipes["prag@base"]["augmentation"]["model"]
    )
    written = [
        a
        for commit in Bank.open(uris["prag@another writes"]).list_commits(Stage.augmentations).values()
        for a in Bank.open(uris["prag@another writes"]).read_augmentations(commit)
    ]
    assert len(written) == DOCUMENTS and all(a.rewrites and not a.qa_pairs for a in written)


def test_again_it_makes_nothing_and_says_so(ablation: Ablation, capsys: pytest.CaptureFixture[str]) -> None:
    before, report = ablation.kept(), ablation.report()
    assert cli.main(["ablate", str(ablation.describe(ROWS))]) == 0
    assert (
        "4 rows: 4 cached, 0 to run (0 of 2 banks to make, 0 of 4 runs to answer)" in capsys.readouterr().err
    )
    assert ablation.kept() == before
    assert ablation.report() == report


def test_one_more_row_costs_one_row(ablation: Ablation, capsys: pytest.CaptureFixture[str]) -> None:
    before = ablation.kept()
    more = [*ROWS, {"label": "mean", "settings": {"merge.rule": "mean"}}]
    assert cli.main(["ablate", str(ablation.describe(more, "more"))]) == 0
    assert (
        "5 rows: 4 cached, 1 to run (0 of 2 banks to make, 1 of 5 runs to answer)" in capsys.readouterr().err
    )
    added = ablation.kept().items() - before.items()
    assert [Path(name).parent.name for name, _ in added] == ["answers"]
    assert ablation.report("more")["methods"]["prag@base"] == ablation.report()["methods"]["prag@base"]


def test_a_dry_run_says_what_another_bank_and_its_answers_would_cost_and_makes_neither(
    ablation: Ablation, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ablation.kept()
    printed = dry_run(
        ablation.describe([*ROWS, {"label": "3 epochs", "settings": {"training.epochs": 3}}], "dry"), capsys
    )
    assert "5 rows: 4 cached, 1 to run (1 of 3 banks to make, 1 of 5 runs to answer)" in printed
    assert ablation.kept() == before and not (ablation.out / "dry").exists()


def test_answers_that_were_lost_are_given_again_and_nothing_else(
    ablation: Ablation, capsys: pytest.CaptureFixture[str]
) -> None:
    f1 = {name: result["f1"] for name, result in ablation.report()["methods"].items()}
    lost = next(iter((ablation.out / "answers").glob("*.json")))
    lost.unlink()
    before = ablation.kept()
    assert cli.main(["ablate", str(ablation.describe(ROWS))]) == 0
    assert {name for name, _ in ablation.kept().items() - before.items()} <= {f"answers/{lost.name}"}
    assert {name: result["f1"] for name, result in ablation.report()["methods"].items()} == f1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            {"label": "x", "settings": {"training.epoch": 3}},
            "small.yaml, row 2 (x): unknown setting training.epoch; did you",
        ),
        (
            {"label": "x", "methods": ["dragn"]},
            "small.yaml, row 2 (x): no method 'dragn'; did you mean dragin?",
        ),
        ({"label": "x", "settings": {"augmentation.model": "/no/model"}}, "small, prag@x: "),
        ({"label": "x", "settings": {"training.threads": 1}}, "small: prag@x is the same as prag@base"),
    ],
)
def test_a_bad_row_is_refused_before_anything_is_made(
    row: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ablation = Ablation(tmp_path)
    assert cli.main(["ablate", str(ablation.describe([{"label": "base"}, row]))]) != 0
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not ablation.out.exists()


def test_two_tables_of_one_name_and_settings_without_a_table_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = Ablation(tmp_path).describe([{"label": "base"}])
    assert cli.main(["ablate", str(table), str(table)]) == 2
    assert "two tables are named small" in capsys.readouterr().err
    assert cli.main(["ablate", "retrieval.top_k=2"]) == 2
    assert "retrieval.top_k=2: no such file" in capsys.readouterr().err
