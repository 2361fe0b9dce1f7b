"""The base language model: its weights and tokenizer, the LoRA modules it takes, and the prompts it is asked with."""
