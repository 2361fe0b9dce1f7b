"""Training: samples, objectives, stacked training of many adapters at once, self-checks and warm-up."""
