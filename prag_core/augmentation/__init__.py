"""Document augmentation: rewrites and question-answer pairs written by a language model."""
