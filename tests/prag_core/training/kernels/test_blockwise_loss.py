"""Losses through the output head are torch's over whole logits, block by block, and so are their gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as whole_cross_entropy
from torch.nn.functional import kl_div, linear

from prag_core.training.kernels import blockwise_loss
from prag_core.training.kernels.blockwise_loss import cross_entropy, divergence

TIGHT: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-9}
ROWS = 600  # positions: more than two blocks of the fewest rows a block may have


@pytest.fixture(params=[False, True])
def head(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a head of 11 entries over 5 features, and blocks as small as they come."""
    monkeypatch.setattr(blockwise_loss, "LOGITS_AT_ONCE", {"cpu": 1})
    return draw(11, 5, seed=1), draw(11, seed=2) if request.param else None


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def check(ours: Tensor, expected: Tensor, hidden: tuple[Tensor, Tensor]) -> None:
    """Equal losses, and equal gradients to the hidden states under unequal upstream gradients."""
    torch.testing.assert_close(ours, expected, **TIGHT)
    upstream = draw(ROWS, seed=9)
    (grad_ours,) = torch.autograd.grad((ours * upstream).sum(), hidden[0])
    (grad_expected,) = torch.autograd.grad((expected * upstream).sum(), hidden[1])
    torch.testing.assert_close(grad_ours, grad_expected, **TIGHT)


def two_leaves() -> tuple[Tensor, Tensor]:
    hidden = draw(ROWS, 5, seed=0)
    return hidden.clone().requires_grad_(), hidden.clone().requires_grad_()


def test_cross_entropy_and_its_gradient_are_right_across_blocks(head: tuple[Tensor, Tensor | None]) -> None:
    hidden = two_leaves()
    targets = torch.randint(0, 11, (ROWS,), generator=torch.Generator().manual_seed(3))
    expected = whole_cross_entropy(linear(hidden[1], *head), targets, reduction="none")
    check(cross_entropy(hidden[0], *head, targets), expected, hidden)


def test_divergence_and_its_gradient_are_right_across_blocks(head: tuple[Tensor, Tensor | None]) -> None:
    hidden, teacher = two_leaves(), draw(ROWS, 5, seed=4)
    log_q, log_p = (linear(states, *head).log_softmax(1) for states in (hidden[1], teacher))
    expected = kl_div(log_q, log_p, reduction="none", log_target=True).sum(1)
    check(divergence(hidden[0], *head, teacher), expected, hidden)
    assert expected.min() > 0


def test_what_the_teacher_says_too_diverges_by_nothing(head: tuple[Tensor, Tensor | None]) -> None:
    hidden, _ = two_leaves()
    loss = divergence(hidden, *head, hidden.detach())
    (gradient,) = torch.autograd.grad(loss.sum(), hidden)
    assert not loss.any() and not gradient.any()


def test_softmax_of_a_bfloat16_head_is_taken_in_float32() -> None:
    hidden = torch.eye(8, dtype=torch.bfloat16).requires_grad_()
    weight = torch.linspace(-40, 40, 64).reshape(8, 8).to(torch.bfloat16)
    targets = torch.arange(8)
    loss = cross_entropy(hidden, weight, None, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, whole_cross_entropy(weight.T.float(), targets, reduction="none"))
    other = hidden.detach().roll(1, 0)
    loss = divergence(hidden, weight, None, other)
    log_q, log_p = (states.float() @ weight.T.float() for states in (hidden, other))
    expected = kl_div(log_q.log_softmax(1), log_p.log_softmax(1), reduction="none", log_target=True).sum(1)
    torch.testing.assert_close(loss, expected)
