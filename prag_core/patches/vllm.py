"""vLLM 0.32: three faults, two of them of its CPU backend.

- The CPU worker replaces `torch.set_num_threads` by a function that does nothing, for the whole process and for good
  (`vllm/v1/worker/cpu_worker.py`, `skip_set_num_threads`). Not reported upstream, as far as we could find.
- On the CPU a request without adapter, beside one with, gets the adapter in the last slot: its index, -1, is used as an index
  (`vllm/lora/ops/torch_ops/lora_ops.py`). Reported in https://github.com/vllm-project/vllm/pull/48421.
- `vllm:lora_requests_info` has the names of adapters as labels, and merged adapters have no end of names. Told in
  https://github.com/vllm-project/vllm/pull/13303.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from prag_core.merging import MergedAdapter
from prag_core.models.lora import AdapterLayout
from prag_core.records import Factors


@contextmanager
def kept_set_num_threads() -> Iterator[None]:
    """Put torch's own `set_num_threads` back afterwards."""
    own = torch.set_num_threads
    try:
        yield
    finally:
        torch.set_num_threads = own


def zero_adapter(layout: AdapterLayout) -> MergedAdapter:
    """An adapter that adds nothing, for requests without one on the CPU."""
    factors = {
        m.name: Factors(np.zeros((1, m.in_features), np.float32), np.zeros((m.out_features, 1), np.float32))
        for m in layout.modules
    }
    return MergedAdapter("bare", factors, rank=1)


def metrics_without_adapter_names() -> Any:
    """vLLM's logger of its metrics to Ray (a class of its private module), less the one whose labels are adapters' names."""
    from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger

    class EngineMetrics(RayPrometheusStatLogger):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.gauge_lora_info = None

    return EngineMetrics
