"""Copies of tensors from the device to the host, made while the device goes on with other work."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class HostCopy:
    """Copies of `tensors` as they are now, begun at once. On a GPU they go to pinned memory on a stream of their own, behind
    the work that makes them and beside what is queued later; on the CPU they are the tensors themselves."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = list(tensors)
        self._done: torch.cuda.Event | None = None
        if self._tensors[0].device.type == "cuda":
            self._begin()

    def _begin(self) -> None:
        device = self._tensors[0].device
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        copies = []
        with torch.cuda.stream(stream):
            for tensor in self._tensors:
                copies.append(
                    torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(
                        tensor, non_blocking=True
                    )
                )
                tensor.record_stream(stream)
            self._done = stream.record_event()
        self._tensors = copies

    def wait(self) -> list[Tensor]:
        """Wait until the copies have arrived, and return them."""
        if self._done is not None:
            self._done.synchronize()
        return self._tensors
