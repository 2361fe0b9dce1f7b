"""The faults are still there. That the patches mend them is tested by the engines' own tests."""

from __future__ import annotations

import inspect

import torch

from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.patches.vllm import kept_set_num_threads, zero_adapter


def test_the_cpu_worker_still_replaces_set_num_threads() -> None:
    from vllm.v1.worker import cpu_worker

    assert "torch.set_num_threads = skip_set_num_threads" in inspect.getsource(cpu_worker)


def test_the_cpu_backend_still_takes_the_last_adapter_for_none() -> None:
    from vllm.lora.ops.torch_ops import bgmv_expand

    output = torch.zeros(1, 2)
    weights = torch.tensor([[[1.0], [1.0]], [[7.0], [7.0]]])  # of two adapters: [slot, out, rank]
    bgmv_expand(torch.ones(1, 1), weights, output, torch.tensor([-1]), add_inputs=True)
    assert output.tolist() == [[7.0, 7.0]], "a request without adapter would be left at zero"


def test_the_gauge_still_has_adapters_names_for_labels() -> None:
    from vllm.v1.metrics import loggers

    assert "self.labelname_running_lora_adapters" in inspect.getsource(loggers.PrometheusStatLogger)


def test_torch_keeps_its_own_function() -> None:
    own = torch.set_num_threads
    with kept_set_num_threads():
        torch.set_num_threads = lambda nthreads: None
    assert torch.set_num_threads is own


def test_the_zero_adapter_adds_nothing_to_any_module() -> None:
    layout = AdapterLayout((ModuleShape("up", 3, 2),), rank=2, alpha=4)
    (a, b) = zero_adapter(layout).factors["up"]
    assert (a.shape, b.shape) == ((1, 3), (2, 1)) and not (b @ a).any()
