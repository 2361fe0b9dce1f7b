"""What vLLM's workers can be asked for in addition: vLLM mixes this class into theirs (its argument `worker_extension_cls`)."""

from __future__ import annotations

from typing import Any


class AdaptedModules:
    """A worker that can name the modules of its model that take adapters."""

    get_model: Any  # the worker's own

    def adapted_modules(self) -> list[str]:
        """Names as vLLM has them, which may be others than in the checkpoint."""
        from vllm.lora.layers import BaseLayerWithLoRA

        return [
            name for name, module in self.get_model().named_modules() if isinstance(module, BaseLayerWithLoRA)
        ]
