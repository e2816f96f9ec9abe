"""The model's hand-made gradients against autograd, its causality, and the average of its weights
against its definition.
"""

import math

import numpy as np
import pytest
import torch

from bimix_sweep.proxy import model
from bimix_sweep.proxy.spec import ProxySpec
from bimix_sweep.proxy.training_state import _power

SPEC = ProxySpec(vocabulary=50, width=32, layers=2, context=16, batch=2)
CPU = torch.device("cpu")


def numbers(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_gradient_of_the_norm_is_that_of_its_definition():
    x = numbers(5, 7, 8).requires_grad_()
    assert torch.autograd.gradcheck(model.norm, (x,))
    plain = x / (x.square().mean(dim=-1, keepdim=True) + model.EPSILON).sqrt()
    torch.testing.assert_close(model.norm(x), plain)


def test_the_gradient_of_the_squared_relu_is_that_of_its_definition():
    x = numbers(5, 7).requires_grad_()
    assert torch.autograd.gradcheck(model.squared_relu, (x,))
    torch.testing.assert_close(model.squared_relu(x), x.clamp(min=0) ** 2)


@pytest.mark.parametrize("rows", [3, 16, 37])
def test_the_chunked_cross_entropy_is_the_plain_one_with_its_gradients(rows, monkeypatch):
    monkeypatch.setattr(model, "CHUNK_LOGITS", 1)  # 16 rows at once
    hidden, head = (
        numbers(1, rows, 8).float().requires_grad_(),
        numbers(50, 8, seed=1).float().requires_grad_(),
    )
    targets = torch.randint(0, 50, (1, rows), generator=torch.Generator().manual_seed(2))
    loss = model.mean_loss(hidden, head, targets)
    plain = torch.nn.functional.cross_entropy((hidden @ head.T)[0], targets[0])
    torch.testing.assert_close(loss, plain)
    for mine, theirs in zip(
        torch.autograd.grad(3 * loss, (hidden, head)),
        torch.autograd.grad(3 * plain, (hidden, head)),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def outputs(tokens, flat, dtype=torch.float32):
    weights = model.views(flat.to(dtype), SPEC)
    return model.hidden(
        weights, tokens, SPEC, model.rotary(SPEC, CPU, dtype), model.causal(SPEC, CPU, dtype)
    )


def lively(seed=0):
    return 0.3 * torch.randn(
        model.num_parameters(SPEC), generator=torch.Generator().manual_seed(seed)
    )


def test_a_token_sees_those_before_it_and_none_after():
    tokens = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 10] = (changed[:, 10] + 1) % 50
    before, after = outputs(tokens, lively()), outputs(changed, lively())
    torch.testing.assert_close(before[:, :10], after[:, :10], rtol=0, atol=0)
    assert (before[:, 10:] - after[:, 10:]).abs().amax(dim=(0, 2)).min() > 1e-4


def test_attention_written_out_is_the_fused_kernels():
    tokens = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    weights, position = model.views(lively(), SPEC), model.rotary(SPEC, CPU, torch.float32)
    x = model.norm(weights["embedding"][tokens])
    for layer in range(2):
        qkv = (
            (model.norm(x) @ weights[f"{layer}.qkv"].T)
            .view(2, 16, 3, SPEC.heads, 32)
            .permute(2, 0, 3, 1, 4)
        )
        (q, k), v = model.rotate(model.norm(qkv[:2]), position), qkv[2]
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + mixed.transpose(1, 2).reshape(2, 16, 32) @ weights[f"{layer}.out"].T
        x = (
            x
            + (model.norm(x) @ weights[f"{layer}.up"].T).relu().square()
            @ weights[f"{layer}.down"].T
        )
    torch.testing.assert_close(outputs(tokens, lively()), model.norm(x), rtol=1e-4, atol=1e-5)


def test_rotated_products_depend_on_the_distance_alone():
    cos_sin = model.rotary(SPEC, CPU, torch.float64)
    q, k = numbers(32).expand(16, 32), numbers(32, seed=1).expand(16, 32)
    products = model.rotate(q, cos_sin) @ model.rotate(k, cos_sin).T
    for distance in (0, 1, 9):
        diagonal = products.diagonal(-distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_an_untrained_proxy_knows_nothing():
    flat = model.initial(SPEC, torch.Generator().manual_seed(0))
    tokens = torch.randint(0, 50, (2, 16), generator=torch.Generator().manual_seed(0))
    loss = model.mean_loss(outputs(tokens, flat), model.views(flat, SPEC)["head"], tokens)
    assert float(loss) == pytest.approx(math.log(50) + 0.5, rel=0.1)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_the_average_reaches_back_over_its_share_of_the_run(share):
    gamma = _power(share)
    steps = np.arange(1, 2_001)
    weight = np.zeros(2_000)
    for step in steps:
        keep = (1 - 1 / step) ** (gamma + 1)
        weight *= keep
        weight[step - 1] += 1 - keep
    assert weight.sum() == pytest.approx(1)
    spread = np.sqrt((weight * (steps - (weight * steps).sum()) ** 2).sum()) / 2_000
    assert spread == pytest.approx(share, rel=0.01)
