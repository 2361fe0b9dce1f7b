"""Every setting: its type, default, range, choices and one sentence of help. `load` makes one configuration of them.

This is the only description of settings: the check at load, the resolving of paths and `prag VERB --help-settings` read it.
Its modules are `offline` (making a bank), `online` (answering) and `experiments`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from prag_core.config.schema.experiments import (
    AblateConfig,
    CalibrateConfig,
    EvaluateConfig,
    PaperConfig,
    QuestionFormat,
    RouterConfig,
)
from prag_core.config.schema.offline import (
    AcceptanceConfig,
    AugmentationConfig,
    AugmentationMethod,
    BankConfig,
    Checks,
    CorpusConfig,
    CorpusFormat,
    Dtype,
    EngineKind,
    LongDocuments,
    ModelConfig,
    Prefill,
    PromptConfig,
    RayConfig,
    Tier,
    TrainingConfig,
    WarmupConfig,
)
from prag_core.config.schema.online import (
    EngineConfig,
    MergeConfig,
    MethodsConfig,
    RetrievalConfig,
    ServeConfig,
    WarmCount,
)
from prag_core.config.setting import setting

__all__ = [
    "AblateConfig",
    "AcceptanceConfig",
    "AugmentationConfig",
    "AugmentationMethod",
    "BankConfig",
    "CalibrateConfig",
    "Checks",
    "Config",
    "CorpusConfig",
    "CorpusFormat",
    "Dtype",
    "EngineConfig",
    "EngineKind",
    "EvaluateConfig",
    "LongDocuments",
    "MergeConfig",
    "MethodsConfig",
    "ModelConfig",
    "PaperConfig",
    "Prefill",
    "PromptConfig",
    "QuestionFormat",
    "RayConfig",
    "RetrievalConfig",
    "RouterConfig",
    "ServeConfig",
    "Tier",
    "TrainingConfig",
    "WarmCount",
    "WarmupConfig",
]


@dataclass
class Config:
    recipe: str = setting(
        "reference", "Preset that the other settings start from: a name in conf/recipe, or a YAML file."
    )
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    bank: BankConfig = field(default_factory=BankConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)
    warmup: WarmupConfig = field(default_factory=WarmupConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    methods: MethodsConfig = field(default_factory=MethodsConfig)
    router: RouterConfig = field(default_factory=RouterConfig)
    calibrate: CalibrateConfig = field(default_factory=CalibrateConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    ablate: AblateConfig = field(default_factory=AblateConfig)
    paper: PaperConfig = field(default_factory=PaperConfig)
    serve: ServeConfig = field(default_factory=ServeConfig)
    ray: RayConfig = field(default_factory=RayConfig)
