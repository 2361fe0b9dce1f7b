"""The recipe of a configuration, as an identity: everything that changes an adapter, and nothing else.

In it: the base model's and the writer's bytes, the prompts and worked examples, the parameterisation and its initial
adapter, objective, optimiser, epochs, precision, seeds, replay samples, the settings of augmentation, and those of the
exam where one is held. Files count by content, not by name. Not in it: the storage tier, how many documents train at
once, threads, paths, the corpus, the engine that runs the augmentation model (two engines are two ways to draw from the
same distribution) and how often it may try.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import fsspec

from prag_core.augmentation.augment import method_fields
from prag_core.bank import load_warm_start
from prag_core.config.dump import as_dict
from prag_core.config.schema import Config, Prefill, PromptConfig
from prag_core.corpus.chunking import PassageLimit
from prag_core.errors import ConfigError
from prag_core.identity import Recipe, digest
from prag_core.models.lora import AdapterLayout, initial_factors, layout_of, partly_adapted
from prag_core.models.prompts import TEMPLATES
from prag_core.planning.model_facts import passage_limit, read_model_facts
from prag_core.records import AdapterFactors
from prag_core.training.trainable import check_trainable

FORMAT = 1  # raised when the code makes another adapter of the same settings
AUGMENTATION_FIELDS = ("num_rewrites", "num_qa_pairs", "max_new_tokens", "temperature", "top_k", "seed")
TRAINING_FIELDS = (
    "objective",
    "epochs",
    "learning_rate",
    "beta1",
    "beta2",
    "eps",
    "weight_decay",
    "dtype",
    "seed",
    "repeat_without_passage",
)
OBJECTIVE_FIELDS = {
    "distill": ("distill_hidden",)
}  # settings of one objective, in the recipe where it is the objective


@dataclass(frozen=True)
class Initial:
    """The initial adapter, and the fields that name it in the recipe."""

    factors: AdapterFactors
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class PreparedRecipe:
    """A configuration made ready for planning and for its bank, without loading any weights."""

    recipe: Recipe
    layout: AdapterLayout
    initial: AdapterFactors  # where every document's adapter starts
    limit: PassageLimit  # how long a passage may be
    tokenizer: Any  # of the base model
    num_parameters: int  # of the base model
    notes: tuple[str, ...] = ()  # what a user should know of it before anything is made


def prepare_recipe(config: Config) -> PreparedRecipe:
    """Read the models' configs and tokenizers, digest their files, and name the recipe. Raises ModelError, also where the base
    model cannot be trained, and ConfigError."""
    training, path = config.training, config.model.path
    base = read_model_facts(path, config.model.revision)
    check_trainable(base.model, path)
    layout = layout_of(base.model, rank=training.rank, alpha=training.alpha, targets=training.targets)
    writer_path = config.augmentation.model or path
    writer = base if writer_path == path else read_model_facts(writer_path)
    initial = find_initial(config, layout, base.digest)
    return PreparedRecipe(
        recipe=build_recipe(config, base.digest, writer.digest, layout, initial),
        layout=layout,
        initial=initial.factors,
        limit=passage_limit(config, base, writer),
        tokenizer=base.tokenizer,
        num_parameters=base.num_parameters,
        notes=tuple(partly_adapted(layout, base.num_layers)),
    )


def find_initial(config: Config, layout: AdapterLayout, base: str) -> Initial:
    """Find the warm start that `training.initial` names, else draw one at random. Raises ConfigError where it does not fit."""
    training = config.training
    if training.initial is None:
        return Initial(
            initial_factors(layout, training.seed), {"kind": "kaiming_uniform", "seed": training.seed}
        )
    warm = load_warm_start("training.initial", training.initial, layout, base)
    return Initial(warm.factors, {"kind": "warm", "sha256": warm.sha256})


def build_recipe(
    config: Config, base: str, writer: str, layout: AdapterLayout, initial: Initial | None = None
) -> Recipe:
    """Build the recipe of a configuration over a base model and a writing model, by their digests. `initial` is found if None.
    Raises ConfigError if a file that the settings name is not there."""
    initial = initial or find_initial(config, layout, base)
    augmentation, training = as_dict(config.augmentation), as_dict(config.training)
    return Recipe(
        {
            "format": FORMAT,
            "model": base,
            "prompt": _prompt_fields(config),
            "layout": {
                "rank": layout.rank,
                "alpha": layout.alpha,
                "modules": digest(layout.to_json()["modules"]),
            },
            "initial": dict(initial.fields),
            "augmentation": {"model": writer, **{name: augmentation[name] for name in AUGMENTATION_FIELDS}}
            | method_fields(config.augmentation),
            "training": {
                name: training[name]
                for name in (*TRAINING_FIELDS, *OBJECTIVE_FIELDS.get(training["objective"], ()))
            }
            | {"replay": _replay_fields(config)},
        }
        | ({"acceptance": as_dict(config.acceptance)} if config.acceptance.threshold is not None else {})
    )


def writing_fields(recipe: Recipe) -> dict[str, Any]:
    """Return the fields of a recipe that change its augmentations: recipes that agree in them can share augmentations."""
    prompt = recipe.fields["prompt"]
    return recipe.fields["augmentation"] | {name: prompt[name] for name in ("templates", "with_title")}


def recorded_prompt(recipe: Recipe, prompt: PromptConfig) -> PromptConfig:
    """Return how a bank's questions are worded, whatever the caller's settings say. Only the file of worked examples comes from
    `prompt.fewshot`, and must be the one that the bank was made with; raises ConfigError if it is not."""
    recorded = recipe.fields["prompt"]
    fewshot = prompt.fewshot if recorded["cot"] else None
    if recorded["fewshot"] != (_file_digest("prompt.fewshot", fewshot) if fewshot else None):
        raise ConfigError(
            f"prompt.fewshot={fewshot}: not the worked examples that the bank's adapters were trained with"
        )
    return PromptConfig(
        with_title=recorded["with_title"],
        cot=recorded["cot"],
        fewshot=fewshot,
        prefill=Prefill(recorded.get("prefill", Prefill.published.value)),
    )


def _prompt_fields(config: Config) -> dict[str, Any]:
    prompt = config.prompt
    fewshot = _file_digest("prompt.fewshot", prompt.fewshot) if prompt.cot and prompt.fewshot else None
    return {
        "templates": digest(TEMPLATES),
        "with_title": prompt.with_title,
        "cot": prompt.cot,
        "fewshot": fewshot,
    } | ({"prefill": prompt.prefill.value} if prompt.prefill is not Prefill.published else {})


def _replay_fields(config: Config) -> dict[str, Any] | None:
    training = config.training
    if not (training.replay_uri and training.replay_samples):
        return None
    return {
        "file": _file_digest("training.replay_uri", training.replay_uri),
        "samples": training.replay_samples,
    }


def _file_digest(setting: str, uri: str) -> str:
    try:
        with fsspec.open(uri, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, ImportError, ValueError) as error:
        raise ConfigError(f"{setting}={uri}: cannot be read: {error}") from None
