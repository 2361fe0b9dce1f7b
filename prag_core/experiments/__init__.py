"""Experiments over many settings: ablation tables, the paper's tables, router training, threshold calibration."""
