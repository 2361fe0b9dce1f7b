"""Settings that are one of a few names, for the modules that training and the bank need without OmegaConf."""

from __future__ import annotations

from enum import Enum


class Tier(Enum):
    """How an adapter's numbers are stored."""

    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"
    int4 = "int4"


class Dtype(Enum):
    """The precision of the base model's weights and activations."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    float64 = "float64"
