"""Defines the proxy: a small decoder-only transformer with one flat vector of parameters.

All parameters lie in one vector, because a model this small spends its time between operations.
Clipping, AdamW, the moving average, casts and checkpoints are then one operation each instead of
one operation per weight. RMSNorm has no gains and is applied to the embeddings too. Attention is
written as separate operations instead of the fused kernel. The cross-entropy computes its gradient
in the forward pass, for a chunk of rows at a time. The measured gains of these choices are in
docs/evidence.md.

Shapes: B sequences, T tokens, D width, H heads, K width of a head, V vocabulary, N = B T rows.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear

from bimix_sweep.proxy.spec import HEAD_WIDTH, ProxySpec

CHUNK_LOGITS = 2**20
"""Approximate number of logits in memory at once, so that they stay in the processor's cache."""
MIN_ROWS = 64
"""Minimum number of rows of logits computed at once, for large vocabularies (docs/evidence.md)."""
EMBEDDING_SCALE = 0.01
"""Standard deviation of the initial embeddings; with RMSNorm it only sets how fast AdamW rotates
an embedding."""
EPSILON = 1e-6
"""Constant that RMSNorm adds to the mean square."""


def layout(spec: ProxySpec) -> dict[str, tuple[int, int]]:
    """Shape of every weight, in the order of the weights in the flat vector."""
    width = spec.width
    shapes = {"embedding": (spec.vocabulary, width), "head": (spec.vocabulary, width)}
    for layer in range(spec.layers):
        shapes |= {
            f"{layer}.qkv": (3 * width, width),
            f"{layer}.out": (width, width),
            f"{layer}.up": (4 * width, width),
            f"{layer}.down": (width, 4 * width),
        }
    return shapes


def num_parameters(spec: ProxySpec) -> int:
    """Number of all parameters, embeddings included."""
    return spec.size + spec.embedding_parameters


def views(flat: Tensor, spec: ProxySpec) -> dict[str, Tensor]:
    """Views of a flat vector (weights or gradients), one for each weight."""
    shapes = layout(spec)
    parts = torch.split_with_sizes(flat, [math.prod(shape) for shape in shapes.values()])
    return {
        name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def initial(spec: ProxySpec, generator: torch.Generator) -> Tensor:
    """(parameters,) float32 initial weights.

    Embeddings are small. The other weights have variance 1 / inputs, except the weights that write
    to the residual stream, which are zero.
    """
    flat = torch.zeros(num_parameters(spec))
    for name, weight in views(flat, spec).items():
        if name == "embedding":
            weight.normal_(std=EMBEDDING_SCALE, generator=generator)
        elif name == "head" or name.endswith((".qkv", ".up")):
            weight.normal_(std=weight.shape[1] ** -0.5, generator=generator)
    return flat


def rotary(spec: ProxySpec, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(2, T, K) cosines and signed sines of the rotary position embedding, in the form that
    `rotate` takes."""
    frequency = 10_000.0 ** -(torch.arange(0, HEAD_WIDTH, 2, dtype=torch.float64) / HEAD_WIDTH)
    angle = torch.arange(spec.context, dtype=torch.float64)[:, None] * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([torch.cat([cos, cos], dim=1), torch.cat([-sin, sin], dim=1)]).to(
        device, dtype
    )


def causal(spec: ProxySpec, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(1, T, T) attention mask: 0 where a token may attend, -inf where it may not."""
    return torch.full((1, spec.context, spec.context), -math.inf).triu(1).to(device, dtype)


def hidden(
    weights: Mapping[str, Tensor],
    tokens_BT: Tensor,
    spec: ProxySpec,
    position: Tensor,
    mask: Tensor,
) -> Tensor:
    """(B, T, D) normalised output of the last block, in the dtype of the weights.

    Args:
        weights: views of the flat vector.
        tokens_BT: (B, T) token ids.
        spec: the proxy.
        position: output of `rotary`.
        mask: output of `causal`.
    """
    batch, context = tokens_BT.shape
    heads, key = spec.heads, HEAD_WIDTH
    x_BTD = norm(embedding(tokens_BT, weights["embedding"]))
    for layer in range(spec.layers):
        qkv = linear(norm(x_BTD), weights[f"{layer}.qkv"]).view(batch, context, 3, heads, key)
        qkv_3BHTK = qkv.permute(2, 0, 3, 1, 4).contiguous().view(3, batch * heads, context, key)
        q, k = rotate(norm(qkv_3BHTK[:2]), position).unbind(0)
        attention = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=key**-0.5).softmax(dim=-1)
        attended = (
            (attention @ qkv_3BHTK[2])
            .view(batch, heads, context, key)
            .transpose(1, 2)
            .reshape(batch, context, spec.width)
        )
        x_BTD = x_BTD + linear(attended, weights[f"{layer}.out"])
        x_BTD = x_BTD + linear(
            squared_relu(linear(norm(x_BTD), weights[f"{layer}.up"])), weights[f"{layer}.down"]
        )
    return norm(x_BTD)


def rotate(x: Tensor, position: Tensor) -> Tensor:
    """Rotary position embedding of (..., T, K): halves (a, b) become (a cos - b sin, b cos + a
    sin)."""
    cos, sin = position[0], position[1]
    return torch.addcmul(x * cos, x.roll(HEAD_WIDTH // 2, dims=-1), sin)


class _SquaredReLU(torch.autograd.Function):
    """y = max(x, 0)^2; the gradient is 2 g max(x, 0), with g the gradient of the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return torch.mul(gradient, positive).mul_(2)


def squared_relu(x: Tensor) -> Tensor:
    """Squared ReLU, max(x, 0)^2, elementwise."""
    out: Tensor = _SquaredReLU.apply(x)  # type: ignore[no-untyped-call]
    return out


class _Norm(torch.autograd.Function):
    """y = x / rms(x); the gradient is (g - y mean(g y)) / rms(x), with g the gradient of the
    output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(dim=-1, keepdim=True).add_(EPSILON))
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        return torch.addcmul(gradient, y, (gradient * y).mean(dim=-1, keepdim=True), value=-1).mul_(
            scale
        )


def norm(x: Tensor) -> Tensor:
    """RMSNorm over the last dimension, without a gain."""
    out: Tensor = _Norm.apply(x)  # type: ignore[no-untyped-call]
    return out


class _CrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of hidden @ head.T.

    Both gradients are computed in the forward pass, so no logits are stored. The gradient of a
    row's loss with respect to its logits is softmax(logits) - onehot(target).
    """

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden_ND.device)
        gradient_hidden, gradient_head = torch.empty_like(hidden_ND), torch.zeros_like(head_VD)
        count, chunk = len(targets_N), chunk_rows(len(head_VD))
        for start in range(0, count, chunk):
            rows, targets_N1 = (
                hidden_ND[start : start + chunk],
                targets_N[start : start + chunk, None],
            )
            share_NV = (rows @ head_VD.T).softmax(dim=1)
            total -= share_NV.gather(1, targets_N1).float().log().sum()
            share_NV.scatter_add_(1, targets_N1, share_NV.new_full(targets_N1.shape, -1))
            torch.mm(share_NV, head_VD, out=gradient_hidden[start : start + chunk])
            gradient_head.addmm_(share_NV.T, rows, alpha=1 / count)
        ctx.save_for_backward(gradient_hidden.mul_(1 / count), gradient_head)
        return total / count

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient_hidden, gradient_head = ctx.saved_tensors
        return gradient_hidden * gradient, gradient_head * gradient, None


def chunk_rows(vocabulary: int) -> int:
    """Number of rows of logits computed at once."""
    return max(MIN_ROWS, CHUNK_LOGITS // vocabulary)


def mean_loss(hidden_BTD: Tensor, head_VD: Tensor, targets_BT: Tensor) -> Tensor:
    """Mean cross-entropy, scalar float32, nats per token, differentiable."""
    out: Tensor = _CrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden_BTD.flatten(0, 1),
        head_VD,
        targets_BT.flatten(),
    )
    return out


def sequence_loss(
    weights: Mapping[str, Tensor], rows: Tensor, spec: ProxySpec, position: Tensor, mask: Tensor
) -> Tensor:
    """Mean loss of (B, T + 1) tokens, nats per token.

    Each token is predicted from the tokens before it.
    """
    return mean_loss(
        hidden(weights, rows[:, :-1], spec, position, mask), weights["head"], rows[:, 1:]
    )
