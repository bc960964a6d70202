"""What PyTorch has no function for, made from those that it has: rotary positions, and what our coarse operations join.

Each takes its tensors first and in the order of a case's inputs, so that every one of them gets its gradient.
"""

import torch
from torch.nn import functional as F

ACTIVATIONS = {"none": lambda x: x, "relu": F.relu, "silu": F.silu, "gelu": F.gelu, "tanh": torch.tanh}


def rotary(x, rotary_dim, start=0, base=10000.0, interleaved=False):
    """Rotary positions over (batch, heads, rows, dim): complex numbers turned by their angles."""
    rows = torch.arange(start, start + x.shape[2], dtype=torch.float64)
    frequencies = base ** (-torch.arange(0, rotary_dim, 2, dtype=torch.float64) / rotary_dim)
    turn = torch.polar(torch.ones(()).double(), torch.outer(rows, frequencies))
    turned, passed = x[..., :rotary_dim].double(), x[..., rotary_dim:]
    pairs = turned.unflatten(-1, (-1, 2)) if interleaved else turned.unflatten(-1, (2, -1)).transpose(-1, -2)
    pairs = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * turn)
    turned = pairs.flatten(-2) if interleaved else pairs.transpose(-1, -2).flatten(-2)
    return torch.cat([turned.float(), passed], -1)


def residual(x, branch, activation="relu"):
    return ACTIVATIONS[activation](x + branch)


def batch_norm_with(x, weight, bias, branch, activation="relu", eps=1e-5):
    normed = F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    return ACTIVATIONS[activation](normed + branch)


def batch_norm_eval_with(x, weight, bias, branch, running_mean, running_var, activation="relu", eps=1e-5):
    normed = F.batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=eps)
    return ACTIVATIONS[activation](normed + branch)


def feed_forward(x, norm, gate, up, down, activation="silu", eps=1e-5):
    n = F.rms_norm(x, norm.shape, norm, eps)
    return x + F.linear(ACTIVATIONS[activation](F.linear(n, gate)) * F.linear(n, up), down)


def attention_half(x, norm, q, k, v, out, *bias, heads, kv_heads, causal=True, eps=1e-5, **turn):
    n = F.rms_norm(x, norm.shape, norm, eps)
    bias = bias or (None, None, None)

    def headed(weight, bias, heads):
        return F.linear(n, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2)

    queries, keys, values = headed(q, bias[0], heads), headed(k, bias[1], kv_heads), headed(v, bias[2], kv_heads)
    if turn:
        queries, keys = rotary(queries, **turn), rotary(keys, **turn)
    mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=causal, enable_gqa=True)
    return x + F.linear(mixed.transpose(1, 2).flatten(2), out)


def linear_cross_entropy(x, labels, weight, bias=None, class_weight=None, **options):
    scores = F.linear(x, weight, bias).flatten(0, -2)
    return F.cross_entropy(scores, labels.flatten(), class_weight, **options)


OWN = {
    function.__name__: function
    for function in (
        rotary,
        residual,
        batch_norm_with,
        batch_norm_eval_with,
        feed_forward,
        attention_half,
        linear_cross_entropy,
    )
}


def function(name, tag, config, *inputs, **extra):
    return name, tag, {**config, "train": True}, {"inputs": list(inputs), "extra": extra}


CHANNELS = [(3, 2, 4, 3), (2,), (2,), (3, 2, 4, 3)]
MOMENTS = {"running_mean": (2,), "running_var": ("positive", (2,))}
HALF = [(2, 5, 6), (6,), (8, 6), (4, 6), (4, 6), (6, 8)]
FUSED = {
    "function": [
        function("residual", "plain", {"activation": "none"}, (3, 4), (3, 4)),
        function("residual", "relu", {}, (2, 3, 4), (2, 3, 4)),
        function("residual", "silu", {"activation": "silu"}, (3, 4), (3, 4)),
        function("batch_norm_with", "relu", {}, *CHANNELS),
        function("batch_norm_with", "gelu", {"activation": "gelu", "eps": 1e-3}, *CHANNELS),
        function("batch_norm_eval_with", "relu", {}, *CHANNELS, **MOMENTS),
        function("batch_norm_eval_with", "tanh", {"activation": "tanh"}, *CHANNELS, **MOMENTS),
        function("feed_forward", "silu", {}, (2, 5, 6), (6,), (9, 6), (9, 6), (6, 9)),
        function("feed_forward", "gelu", {"activation": "gelu", "eps": 1e-2}, (5, 6), (6,), (9, 6), (9, 6), (6, 9)),
        function("attention_half", "causal", {"heads": 4, "kv_heads": 2, "rotary_dim": 2}, *HALF),
        function("attention_half", "biases", {"heads": 2, "kv_heads": 1, "causal": False, "eps": 1e-2}, *HALF, (8,), (4,), (4,)),
        function(
            "attention_half",
            "neighbours",
            {"heads": 2, "kv_heads": 1, "rotary_dim": 4, "base": 50.0, "interleaved": True},
            *HALF,
        ),
        function("linear_cross_entropy", "mean", {}, (2, 3, 4), (7, (2, 3)), (7, 4), (7,)),
        function("linear_cross_entropy", "smoothed", {"label_smoothing": 0.2, "ignore_index": 2, "reduction": "sum"}, (9, 4), (5, (9,)), (5, 4)),
        function("linear_cross_entropy", "weighted", {"ignore_index": 1}, (9, 4), (5, (9,)), (5, 4), (5,), class_weight=("positive", (5,))),
    ],
}
