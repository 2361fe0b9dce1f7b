"""Tensor operations that make stacked training fast: stacked LoRA, blockwise losses, CPU attention, host copies."""
