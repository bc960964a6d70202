"""The cases that make_cases.py makes: for each kind a list of (PyTorch's name, tag, its arguments, specification).

The specification names the inputs by shape, or by (way to fill, shape); an integer instead of a way is the number of
classes of integer labels. `train` among the arguments is the mode, true unless stated.
"""

import numpy as np

# An input that holds what is easily got wrong: both zeros, the corners of piecewise functions, and large values.
CORNERS = np.array([[0.0, -0.0, 1.0, -1.0, 3.0, -3.0], [6.0, -6.0, 20.0, -20.0, 60.0, -60.0]], np.float32)
POINTS = (4, 6)


def layer(name, tag, config, *inputs):
    return name, tag, {**config, "train": config.get("train", True)}, {"inputs": list(inputs)}


def activation(name, tag="plain", corners=True, **config):
    """Two cases: ordinary points, and the corners unless two processors may round them differently."""
    cases = [layer(name, tag, config, POINTS)]
    if corners:
        cases.append(layer(name, f"{tag}_corners", config, CORNERS))
    return cases


def conv(in_channels, out_channels, kernel_size, **config):
    return {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size, **config}


LINEAR = [
    layer("Linear", "plain", {"in_features": 7, "out_features": 5}, (3, 7)),
    layer("Linear", "no_bias", {"in_features": 7, "out_features": 5, "bias": False}, (2, 4, 7)),
    layer("Linear", "one", {"in_features": 1, "out_features": 1}, (1, 1)),
    layer("Linear", "vector", {"in_features": 6, "out_features": 4}, (6,)),
    layer("Linear", "wide", {"in_features": 33, "out_features": 17}, (9, 33)),
    layer("Linear", "one_row", {"in_features": 19, "out_features": 23}, (1, 19)),
    layer("Bilinear", "plain", {"in1_features": 3, "in2_features": 4, "out_features": 5}, (6, 3), (6, 4)),
    layer("Embedding", "plain", {"num_embeddings": 11, "embedding_dim": 4}, (11, (3, 5))),
    layer("Embedding", "repeated", {"num_embeddings": 3, "embedding_dim": 5}, (3, (20,))),
    layer("Embedding", "padding", {"num_embeddings": 7, "embedding_dim": 4, "padding_idx": 2}, (7, (3, 6))),
    layer("Flatten", "plain", {}, (2, 3, 4, 5)),
    layer("Flatten", "some", {"start_dim": 1, "end_dim": 2}, (2, 3, 4, 5)),
    layer("Dropout", "eval", {"p": 0.5, "train": False}, POINTS),
]

CONVOLUTION = [
    layer("Conv2d", "plain", conv(3, 5, 3), (2, 3, 8, 9)),
    layer("Conv2d", "rectangular", conv(4, 6, [3, 2], stride=[2, 1], padding=[1, 2]), (2, 4, 9, 7)),
    layer("Conv2d", "dilated_groups", conv(4, 8, 3, padding=2, dilation=2, groups=2, bias=False), (1, 4, 10, 10)),
    layer("Conv2d", "depthwise", conv(6, 6, 3, padding=1, groups=6), (2, 6, 7, 7)),
    layer("Conv2d", "depthwise_stride", conv(4, 8, 3, stride=2, padding=1, groups=4), (2, 4, 9, 6)),
    layer("Conv2d", "pointwise", conv(3, 4, 1), (2, 3, 5, 5)),
    layer("Conv2d", "pointwise_stride", conv(3, 4, 1, stride=2), (2, 3, 6, 5)),
    layer("Conv2d", "same", conv(2, 3, 3, padding="same"), (1, 2, 6, 6)),
    layer("Conv2d", "same_even", conv(2, 3, [4, 2], padding="same"), (1, 2, 7, 6)),
    layer("Conv2d", "whole_input", conv(2, 3, [5, 4]), (3, 2, 5, 4)),
    layer("Conv2d", "stride_leaves_a_rest", conv(2, 3, 3, stride=3), (2, 2, 10, 11)),
    layer("Conv2d", "stride_skips", conv(2, 3, 2, stride=3), (2, 2, 8, 9)),
    layer("Conv2d", "many_channels", conv(17, 19, 3, padding=1), (1, 17, 5, 5)),
    layer("Conv2d", "five", conv(1, 6, 5, padding=2), (2, 1, 8, 8)),
    layer("Conv1d", "plain", conv(3, 4, 3), (2, 3, 12)),
    layer("Conv1d", "groups", conv(4, 4, 5, stride=2, padding=2, groups=2), (3, 4, 15)),
    layer("Conv1d", "dilated", conv(2, 6, 3, dilation=3, padding=3, bias=False), (2, 2, 20)),
    layer("Conv3d", "padded", conv(2, 3, 3, padding=1), (1, 2, 4, 5, 6)),
    layer("Conv3d", "stride", conv(2, 2, [1, 2, 3], stride=[1, 2, 2]), (2, 2, 3, 5, 6)),
    layer("ConvTranspose1d", "stride", conv(3, 4, 4, stride=2, padding=1), (2, 3, 9)),
    layer("ConvTranspose2d", "plain", conv(4, 3, 3), (2, 4, 5, 6)),
    layer("ConvTranspose2d", "groups", conv(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 4, 5, 5)),
    layer("ConvTranspose2d", "dilated", conv(2, 3, 3, dilation=2, stride=[2, 1], bias=False), (1, 2, 4, 5)),
    layer("ConvTranspose3d", "plain", conv(2, 2, 2, stride=2), (1, 2, 2, 3, 3)),
    layer("ConvTranspose3d", "groups", conv(4, 2, [1, 2, 3], stride=[1, 2, 2], padding=[0, 1, 1], output_padding=[0, 1, 0], groups=2), (2, 4, 2, 3, 3)),
]

POOLING = [
    layer("MaxPool2d", "plain", {"kernel_size": 2}, (2, 3, 8, 8)),
    layer("MaxPool2d", "overlapping", {"kernel_size": 3, "stride": 2, "padding": 1}, (2, 3, 9, 7)),
    layer("MaxPool2d", "dense", {"kernel_size": 3, "stride": 1}, (1, 2, 6, 6)),
    layer("MaxPool2d", "rest", {"kernel_size": 2}, (1, 2, 7, 5)),
    layer("MaxPool2d", "ceil", {"kernel_size": 2, "ceil_mode": True}, (1, 2, 7, 5)),
    layer("MaxPool2d", "dilated", {"kernel_size": 2, "dilation": 2, "stride": 1}, (1, 2, 6, 5)),
    layer("MaxPool2d", "rectangular", {"kernel_size": [2, 3], "stride": [1, 2]}, (2, 2, 5, 8)),
    layer("MaxPool2d", "ties", {"kernel_size": 2}, ("coarse", (2, 2, 6, 6))),
    layer("MaxPool1d", "plain", {"kernel_size": 2}, (2, 3, 9)),
    layer("MaxPool3d", "plain", {"kernel_size": 2}, (1, 2, 4, 5, 4)),
    layer("MaxPool3d", "ceil", {"kernel_size": [2, 3, 2], "stride": [1, 2, 2], "padding": [1, 1, 0], "dilation": [1, 1, 2], "ceil_mode": True}, (2, 2, 4, 6, 6)),
    layer("MaxPool3d", "ties", {"kernel_size": 2}, ("coarse", (1, 2, 4, 4, 4))),
    layer("AvgPool2d", "plain", {"kernel_size": 2}, (2, 3, 8, 8)),
    layer("AvgPool2d", "overlapping", {"kernel_size": 3, "stride": 2, "padding": 1}, (2, 3, 9, 7)),
    layer("AvgPool2d", "no_padding_counted", {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}, (1, 2, 7, 6)),
    layer("AvgPool2d", "ceil", {"kernel_size": 2, "ceil_mode": True}, (1, 2, 7, 5)),
    layer("AvgPool1d", "plain", {"kernel_size": 2}, (2, 3, 9)),
    layer("AvgPool3d", "plain", {"kernel_size": [2, 3, 2], "padding": [1, 1, 0]}, (1, 2, 4, 5, 4)),
    layer("AvgPool3d", "not_counted", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, (1, 2, 4, 5, 6)),
    layer("AvgPool3d", "divisor", {"kernel_size": 2, "divisor_override": 3}, (2, 4, 4, 4)),
    layer("AdaptiveAvgPool1d", "plain", {"output_size": 3}, (2, 3, 8)),
    layer("AdaptiveAvgPool3d", "uneven", {"output_size": [3, 2, 4]}, (1, 2, 5, 3, 6)),
    layer("AdaptiveAvgPool2d", "one", {"output_size": 1}, (2, 3, 7, 5)),
    layer("AdaptiveAvgPool2d", "uneven", {"output_size": [3, 2]}, (2, 2, 7, 5)),
    layer("AdaptiveMaxPool1d", "plain", {"output_size": 3}, (2, 3, 8)),
    layer("AdaptiveMaxPool2d", "uneven", {"output_size": [3, 2]}, (2, 2, 7, 5)),
    layer("AdaptiveMaxPool2d", "more", {"output_size": 5}, ("coarse", (2, 2, 3, 7))),
    layer("AdaptiveMaxPool3d", "uneven", {"output_size": [3, 2, 4]}, (1, 2, 5, 3, 6)),
    layer("Upsample", "nearest", {"scale_factor": 2.0, "mode": "nearest"}, (2, 2, 3, 4)),
    layer("Upsample", "bilinear", {"scale_factor": 2.0, "mode": "bilinear", "align_corners": False}, (2, 2, 3, 4)),
    layer("Upsample", "bilinear_corners", {"size": [5, 7], "mode": "bilinear", "align_corners": True}, (1, 2, 3, 4)),
    layer("Upsample", "nearest_uneven", {"scale_factor": 1.7, "mode": "nearest"}, (1, 2, 5, 7)),
    layer("Upsample", "linear", {"scale_factor": 2.5, "mode": "linear"}, (2, 3, 6)),
    layer("Upsample", "trilinear", {"size": [3, 5, 4], "mode": "trilinear", "align_corners": True}, (1, 2, 2, 3, 5)),
    layer("PixelShuffle", "plain", {"upscale_factor": 2}, (1, 8, 2, 3)),
    layer("PixelShuffle", "three", {"upscale_factor": 3}, (18, 2, 1)),
    layer("PixelUnshuffle", "plain", {"downscale_factor": 2}, (1, 2, 4, 6)),
]

NORMALISATION = [
    layer("BatchNorm2d", "train", {"num_features": 4}, (3, 4, 5, 5)),
    layer("BatchNorm2d", "eval", {"num_features": 4, "train": False}, (3, 4, 5, 5)),
    layer("BatchNorm2d", "momentum", {"num_features": 3, "momentum": 0.3, "eps": 1e-3}, (2, 3, 4, 3)),
    layer("BatchNorm2d", "cumulative", {"num_features": 3, "momentum": None}, (2, 3, 4, 3)),
    layer("BatchNorm2d", "no_affine", {"num_features": 3, "affine": False}, (2, 3, 4, 3)),
    layer("BatchNorm2d", "untracked", {"num_features": 3, "track_running_stats": False}, (2, 3, 4, 3)),
    layer("BatchNorm1d", "train", {"num_features": 5}, (8, 5)),
    layer("BatchNorm1d", "eval", {"num_features": 5, "train": False}, (8, 5)),
    layer("BatchNorm1d", "sequence", {"num_features": 3}, (4, 3, 6)),
    layer("BatchNorm3d", "train", {"num_features": 2}, (2, 2, 3, 3, 2)),
    layer("InstanceNorm2d", "plain", {"num_features": 3}, (2, 3, 4, 5)),
    layer("InstanceNorm2d", "affine", {"num_features": 3, "affine": True}, (2, 3, 4, 5)),
    layer("LayerNorm", "last", {"normalized_shape": [6]}, POINTS),
    layer("LayerNorm", "two", {"normalized_shape": [3, 4], "eps": 1e-06}, (2, 3, 4)),
    layer("LayerNorm", "no_affine", {"normalized_shape": [6], "elementwise_affine": False}, POINTS),
    layer("LayerNorm", "no_bias", {"normalized_shape": [33], "bias": False}, (3, 33)),
    layer("GroupNorm", "plain", {"num_groups": 2, "num_channels": 6}, (2, 6, 4, 4)),
    layer("GroupNorm", "single", {"num_groups": 1, "num_channels": 4}, (2, 4, 3)),
    layer("RMSNorm", "plain", {"normalized_shape": [8], "eps": 1e-05}, (4, 8)),
    layer("RMSNorm", "default_eps", {"normalized_shape": [8]}, (4, 8)),
    layer("RMSNorm", "no_affine", {"normalized_shape": [8], "eps": 1e-6, "elementwise_affine": False}, (2, 3, 8)),
]

ACTIVATION = sum(
    [
        activation("ReLU"),
        activation("ReLU6"),
        activation("LeakyReLU", negative_slope=0.01),
        activation("LeakyReLU", "steep", negative_slope=0.3),
        activation("ELU", alpha=1.0),
        activation("ELU", "alpha", alpha=0.5),
        activation("SELU"),
        activation("CELU", alpha=1.0),
        activation("CELU", "alpha", alpha=0.5),
        activation("GELU", approximate="none"),
        activation("GELU", "tanh", approximate="tanh"),
        activation("SiLU"),
        activation("Mish"),
        activation("Sigmoid"),
        activation("Tanh"),
        activation("Softplus", beta=1.0),
        activation("Softplus", "beta", beta=2.0, threshold=5.0),
        activation("Softsign"),
        activation("Hardswish"),
        activation("Hardsigmoid"),
        activation("Hardtanh", min_val=-1.0, max_val=1.0),
        activation("Hardtanh", "asymmetric", min_val=-0.5, max_val=2.0),
        activation("LogSigmoid"),
        activation("Tanhshrink"),
        activation("Hardshrink", lambd=0.5),
        activation("Softshrink", lambd=0.5),
        activation("Threshold", threshold=0.1, value=-2.0),
        activation("PReLU", num_parameters=1),
        activation("PReLU", "channels", corners=False, num_parameters=6),
        activation("Softmax", dim=-1),
        activation("Softmax", "first", corners=False, dim=0),
        activation("LogSoftmax", dim=-1),
        activation("Softmin", corners=False, dim=-1),
        activation("GLU", corners=False, dim=-1),
    ],
    [],
)

SEQUENCE = {"input_size": 4, "hidden_size": 5, "batch_first": True}
RECURRENT = [
    layer("RNN", "plain", SEQUENCE, (2, 6, 4)),
    layer("RNN", "relu", {**SEQUENCE, "nonlinearity": "relu"}, (2, 4, 4)),
    layer("LSTM", "plain", SEQUENCE, (2, 6, 4)),
    layer("LSTM", "bidirectional", {**SEQUENCE, "bidirectional": True}, (2, 4, 4)),
    layer("LSTM", "stacked", {**SEQUENCE, "num_layers": 2}, (2, 4, 4)),
    layer("LSTM", "no_bias", {**SEQUENCE, "bias": False}, (1, 3, 4)),
    layer("GRU", "plain", SEQUENCE, (2, 6, 4)),
    layer("GRU", "bidirectional", {**SEQUENCE, "bidirectional": True, "num_layers": 2}, (2, 3, 4)),
    layer("GRU", "time_first", {**SEQUENCE, "batch_first": False}, (5, 2, 4)),
]

HEADS = {"embed_dim": 8, "num_heads": 2, "batch_first": True}
BLOCK = {"d_model": 8, "nhead": 2, "dim_feedforward": 16, "dropout": 0.0, "batch_first": True}
ATTENTION = [
    layer("MultiheadAttention", "to_itself", HEADS, (2, 5, 8)),
    layer("MultiheadAttention", "cross", HEADS, (2, 3, 8), (2, 5, 8), (2, 5, 8)),
    layer("MultiheadAttention", "no_bias", {**HEADS, "bias": False}, (2, 4, 8)),
    layer("TransformerEncoderLayer", "plain", BLOCK, (2, 5, 8)),
    layer("TransformerEncoderLayer", "norm_first", {**BLOCK, "norm_first": True, "activation": "gelu"}, (2, 4, 8)),
]


def attention(tag, config, *inputs, **extra):
    return "scaled_dot_product_attention", tag, {**config, "train": True}, {"inputs": list(inputs), "extra": extra}


def interpolate(tag, config, shape):
    return "interpolate", tag, {**config, "train": True}, {"inputs": [shape]}


def function(name, tag, config, *shapes):
    return name, tag, {**config, "train": True}, {"inputs": list(shapes)}


def reductions(name, *configs):
    """One reduction with several choices of axes."""
    return [function(name, tag, config, (3, 4, 5)) for tag, config in zip(("first", "second", "third", "fourth"), configs)]


FUNCTION = [
    attention("unmasked", {}, *[(2, 3, 5, 8)] * 3),
    attention("causal_square", {"is_causal": True}, *[(2, 3, 6, 8)] * 3),
    attention("gqa_unmasked", {"enable_gqa": True}, (2, 4, 5, 8), (2, 2, 5, 8), (2, 2, 5, 8)),
    attention("gqa_causal", {"enable_gqa": True, "is_causal": True}, (1, 6, 4, 4), (1, 2, 4, 4), (1, 2, 4, 4)),
    attention("scale", {"scale": 0.5}, *[(1, 2, 4, 8)] * 3),
    attention("lengths", {}, (1, 2, 3, 8), (1, 2, 7, 8), (1, 2, 7, 5)),
    attention("mask", {}, *[(1, 2, 4, 8)] * 3, attn_mask=(4, 4)),
    interpolate("nearest", {"size": [5, 3], "mode": "nearest"}, (1, 2, 3, 4)),
    interpolate("bicubic", {"scale_factor": 2.0, "mode": "bicubic", "align_corners": False}, (1, 2, 4, 3)),
    interpolate("bicubic_corners", {"size": [7, 2], "mode": "bicubic", "align_corners": True}, (1, 2, 4, 3)),
    interpolate("bicubic_smooth", {"size": [3, 4], "mode": "bicubic", "antialias": True}, (1, 2, 9, 7)),
    interpolate("bilinear_smooth", {"scale_factor": 0.4, "mode": "bilinear", "antialias": True}, (1, 2, 9, 8)),
    interpolate("bilinear_by_factor", {"scale_factor": [1.3, 0.7], "mode": "bilinear"}, (2, 1, 6, 9)),
    interpolate("bilinear_recomputed", {"scale_factor": 1.3, "mode": "bilinear", "recompute_scale_factor": True}, (2, 1, 6, 9)),
    interpolate("nearest_exact", {"size": [5, 3], "mode": "nearest-exact"}, (1, 2, 3, 4)),
    interpolate("nearest_rounded", {"size": 82, "mode": "nearest"}, (1, 1, 2)),
    interpolate("area", {"size": [2, 3], "mode": "area"}, (1, 2, 5, 7)),
    *reductions("sum", {}, {"dim": [0, 2]}, {"dim": 1, "keepdim": True}),
    *reductions("mean", {}, {"dim": [-1, 0]}, {"dim": 1, "keepdim": True}),
    *reductions("amax", {}, {"dim": [0, 2]}, {"dim": -1, "keepdim": True}),
    *reductions("amin", {}, {"dim": [0, 2]}, {"dim": -1, "keepdim": True}),
    *reductions("argmax", {"dim": 1}, {"dim": -1, "keepdim": True}),
    *reductions("argmin", {"dim": 0}, {"dim": -1, "keepdim": True}),
    *reductions("var", {"dim": 1}, {"dim": [0, 2], "correction": 0}, {"dim": -1, "correction": 2, "keepdim": True}),
    *reductions("logsumexp", {"dim": 1}, {"dim": [0, 2]}, {"dim": -1, "keepdim": True}),
    *reductions("norm", {"dim": 1}, {"p": 1.0, "dim": [0, 2]}, {"p": 3.0, "dim": -1, "keepdim": True}, {"p": "inf", "dim": 1}),
    function("matmul", "batch", {}, (2, 3, 4), (2, 4, 5)),
    function("matmul", "one_for_all", {}, (2, 3, 4), (4, 5)),
    function("split", "parts", {"split_size_or_sections": [1, 3, 2], "dim": -1}, (2, 3, 6)),
    function("pad", "constant", {"pad": [1, 2, 0, 1], "value": 0.5}, (2, 3, 4)),
    function("pad", "reflect", {"pad": [1, 2, 2, 1], "mode": "reflect"}, (2, 2, 3, 4)),
    function("pad", "replicate", {"pad": [1, 2], "mode": "replicate"}, (2, 3, 4)),
    function("pad", "circular", {"pad": [1, 2, 2, 3, 0, 1], "mode": "circular"}, (1, 2, 3, 3, 4)),
    function("rotary", "halves", {"rotary_dim": 6, "start": 3}, (2, 2, 5, 8)),
    function("rotary", "neighbours", {"rotary_dim": 4, "base": 100.0, "interleaved": True}, (1, 3, 4, 4)),
]


def loss(name, tag, config, *inputs, gradients=(0,), **extra):
    return name, tag, config, {"inputs": list(inputs), "gradients": list(gradients), "extra": extra}


def losses_of_two(name, **config):
    """The three reductions of a loss between two tensors of the same shape."""
    return [
        loss(name, f"pair_{reduction}", {**config, "reduction": reduction}, (4, 5), (4, 5))
        for reduction in ("mean", "sum", "none")
    ]


CLASSES_OF_ROWS = np.array([[2, 0, -1, 1], [3, -1, 0, 0], [0, 1, 2, 3]])
LOGITS, LABELS = ("wide", (5, 7)), (7, (5,))
LOSS = [
    loss("CrossEntropyLoss", "plain", {}, LOGITS, LABELS),
    loss("CrossEntropyLoss", "sum", {"reduction": "sum"}, LOGITS, LABELS),
    loss("CrossEntropyLoss", "none", {"reduction": "none"}, LOGITS, LABELS),
    loss("CrossEntropyLoss", "smoothed", {"label_smoothing": 0.1}, LOGITS, LABELS),
    loss("CrossEntropyLoss", "weighted", {}, LOGITS, LABELS, weight=("positive", (7,))),
    loss("CrossEntropyLoss", "weighted_smoothed", {"label_smoothing": 0.2}, LOGITS, LABELS, weight=("positive", (7,))),
    loss("CrossEntropyLoss", "ignored_sum", {"ignore_index": 2, "reduction": "sum"}, (9, 4), (4, (9,))),
    loss("CrossEntropyLoss", "ignored_mean", {"ignore_index": 1}, (9, 4), (4, (9,))),
    loss("CrossEntropyLoss", "sequence", {}, (2, 4, 3), (4, (2, 3))),
    loss("CrossEntropyLoss", "soft_labels", {}, (3, 5), ("softmax", (3, 5))),
    loss("CrossEntropyLoss", "one_class", {}, (3, 1), (1, (3,))),
    loss("CrossEntropyLoss", "one_row", {}, (1, 10), (10, (1,))),
    loss("CrossEntropyLoss", "many_classes", {}, (3, 67), (67, (3,))),
    loss("NLLLoss", "plain", {}, ("log_softmax", (4, 6)), (6, (4,))),
    loss("NLLLoss", "weighted", {}, ("log_softmax", (4, 6)), (6, (4,)), weight=("positive", (6,))),
    *losses_of_two("MSELoss"),
    *losses_of_two("L1Loss"),
    *losses_of_two("SmoothL1Loss", beta=1.0),
    *losses_of_two("HuberLoss", delta=0.5),
    loss("BCELoss", "plain", {}, ("sigmoid", (4, 3)), ("sigmoid", (4, 3))),
    loss("BCEWithLogitsLoss", "plain", {}, (4, 3), ("sigmoid", (4, 3))),
    loss("BCEWithLogitsLoss", "pos_weight", {}, (4, 3), ("sigmoid", (4, 3)), pos_weight=("positive", (3,))),
    loss("KLDivLoss", "batchmean", {"reduction": "batchmean"}, ("log_softmax", (4, 5)), ("softmax", (4, 5))),
    loss("KLDivLoss", "log_target", {"reduction": "sum", "log_target": True}, ("log_softmax", (4, 5)), ("log_softmax", (4, 5))),
    loss("CosineEmbeddingLoss", "margin", {"margin": 0.1}, (4, 5), (4, 5), ("sign", (4,)), gradients=(0, 1)),
    loss("MarginRankingLoss", "margin", {"margin": 0.3}, (6,), (6,), ("sign", (6,)), gradients=(0, 1)),
    loss("TripletMarginLoss", "plain", {"margin": 1.0}, (4, 5), (4, 5), (4, 5), gradients=(0, 1, 2)),
    loss("PoissonNLLLoss", "plain", {}, (4, 3), ("positive", (4, 3))),
    loss("GaussianNLLLoss", "full", {"full": True}, (4, 3), (4, 3), ("positive", (4, 3)), gradients=(0, 1, 2)),
    loss("SoftMarginLoss", "plain", {}, (4, 3), ("sign", (4, 3))),
    loss("HingeEmbeddingLoss", "margin", {"margin": 0.8}, (4, 3), ("sign", (4, 3))),
    loss("MultiLabelSoftMarginLoss", "weighted", {}, (4, 3), ("sigmoid", (4, 3)), weight=("positive", (3,))),
    loss("MultiMarginLoss", "plain", {}, (4, 5), (5, (4,))),
    loss("MultiMarginLoss", "squared", {"p": 2, "margin": 0.7, "reduction": "none"}, (4, 5), (5, (4,)), weight=("positive", (5,))),
    loss("MultiLabelMarginLoss", "plain", {}, (3, 4), CLASSES_OF_ROWS),
    loss("MultiLabelMarginLoss", "none", {"reduction": "none"}, (3, 4), CLASSES_OF_ROWS),
    loss("TripletMarginLoss", "swap", {"p": 3.0, "swap": True, "reduction": "none"}, (4, 5), (4, 5), (4, 5), gradients=(0, 1, 2)),
    loss("TripletMarginWithDistanceLoss", "swap", {"margin": 2.0, "swap": True}, (4, 5), (4, 5), (4, 5), gradients=(0, 1, 2)),
    loss("CTCLoss", "plain", {}, ("log_softmax", (7, 3, 5)), np.array([[1, 2, 2], [4, 1, 0], [3, 3, 3]]), np.array([7, 5, 6]), np.array([3, 2, 1])),
    loss("CTCLoss", "blank_last", {"blank": 4, "reduction": "none"}, ("log_softmax", (6, 2, 5)), np.array([0, 1, 3, 3]), np.array([6, 6]), np.array([1, 3])),
    loss("CTCLoss", "too_short", {"zero_infinity": True, "reduction": "sum"}, ("log_softmax", (3, 2, 4)), np.array([[1, 1], [2, 3]]), np.array([2, 3]), np.array([2, 2])),
    loss("CTCLoss", "single", {}, ("log_softmax", (5, 4)), np.array([1, 3]), np.array(5), np.array(2)),
]


# Matrices with more rows, more columns, and as many of both.
MATRICES = [(4, 3), (3, 5), (4, 4)]


def optimizer(name, tag, shapes=None, **config):
    return name, tag, config, {} if shapes is None else {"shapes": shapes}


OPTIMIZER = [
    optimizer("SGD", "plain", lr=0.1),
    optimizer("SGD", "momentum", lr=0.1, momentum=0.9),
    optimizer("SGD", "dampening", lr=0.1, momentum=0.9, dampening=0.5),
    optimizer("SGD", "nesterov_decay", lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    optimizer("SGD", "decay", lr=0.05, weight_decay=0.1),
    optimizer("SGD", "maximize", lr=0.05, momentum=0.5, maximize=True),
    optimizer("Adam", "plain", lr=0.01),
    optimizer("Adam", "decay", lr=0.01, weight_decay=0.1),
    optimizer("Adam", "amsgrad", lr=0.01, amsgrad=True),
    optimizer("AdamW", "plain", lr=0.01),
    optimizer("AdamW", "decay", lr=0.01, weight_decay=0.1),
    optimizer("AdamW", "betas", lr=0.02, betas=[0.8, 0.95], eps=1e-4, weight_decay=0.0),
    optimizer("AdamW", "amsgrad", lr=0.01, amsgrad=True),
    optimizer("RMSprop", "plain", lr=0.01),
    optimizer("RMSprop", "centered", lr=0.01, alpha=0.9, centered=True, momentum=0.9, weight_decay=0.01),
    optimizer("Adagrad", "plain", lr=0.1),
    optimizer("Adagrad", "decay", lr=0.1, lr_decay=0.1, weight_decay=0.01, initial_accumulator_value=0.1),
    optimizer("NAdam", "plain", lr=0.01),
    optimizer("RAdam", "plain", lr=0.01),
    optimizer("Adadelta", "plain", lr=1.0),
    optimizer("Adamax", "plain", lr=0.01),
    optimizer("SGD", "maximize_decay", lr=0.05, weight_decay=0.1, maximize=True),
    optimizer("SGD", "nesterov_maximize", lr=0.05, momentum=0.8, nesterov=True, maximize=True),
    optimizer("Adam", "maximize", lr=0.02, betas=[0.7, 0.9], maximize=True),
    optimizer("Adam", "decoupled", lr=0.02, weight_decay=0.2, decoupled_weight_decay=True),
    optimizer("Adam", "everything", lr=0.02, betas=[0.5, 0.8], eps=1e-3, weight_decay=0.1, amsgrad=True, maximize=True),
    optimizer("Adam", "no_momentum", lr=0.02, betas=[0.0, 0.9]),
    optimizer("AdamW", "maximize", lr=0.02, amsgrad=True, maximize=True, weight_decay=0.3),
    optimizer("NAdam", "decay", lr=0.02, weight_decay=0.1, momentum_decay=0.05),
    optimizer("NAdam", "decoupled", lr=0.02, weight_decay=0.1, decoupled_weight_decay=True, maximize=True),
    optimizer("NAdam", "betas", lr=0.02, betas=[0.6, 0.8], eps=1e-4, momentum_decay=0.0),
    optimizer("RAdam", "rectified", lr=0.02, betas=[0.8, 0.7]),
    optimizer("RAdam", "decay", lr=0.02, weight_decay=0.1, betas=[0.9, 0.95]),
    optimizer("RAdam", "decoupled", lr=0.02, weight_decay=0.1, betas=[0.9, 0.9], decoupled_weight_decay=True),
    optimizer("RAdam", "maximize", lr=0.02, eps=1e-3, betas=[0.7, 0.9], maximize=True),
    optimizer("Adamax", "decay", lr=0.02, betas=[0.7, 0.8], eps=1e-3, weight_decay=0.1),
    optimizer("Adamax", "maximize", lr=0.02, maximize=True),
    optimizer("Adagrad", "maximize", lr=0.05, eps=1e-3, maximize=True),
    optimizer("Adagrad", "initial", lr=0.05, initial_accumulator_value=2.0, lr_decay=0.5),
    optimizer("Adadelta", "decay", lr=0.5, rho=0.7, eps=1e-3, weight_decay=0.1),
    optimizer("Adadelta", "maximize", lr=0.5, maximize=True),
    optimizer("RMSprop", "momentum", lr=0.01, momentum=0.7, alpha=0.8, eps=1e-4),
    optimizer("RMSprop", "centered_alone", lr=0.01, centered=True, alpha=0.7, eps=1e-3),
    optimizer("RMSprop", "maximize", lr=0.01, weight_decay=0.1, maximize=True),
    optimizer("Muon", "plain", shapes=MATRICES),
    optimizer("Muon", "heavy", lr=0.02, momentum=0.8, weight_decay=0.3, nesterov=False, shapes=MATRICES),
    optimizer("Muon", "rms", lr=0.02, adjust_lr_fn="match_rms_adamw", shapes=MATRICES),
    optimizer("Muon", "spectral", lr=0.02, adjust_lr_fn="spectral_unclamped", ns_steps=3, shapes=MATRICES),
    optimizer("Muon", "coefficients", lr=0.02, ns_coefficients=[2.0, -1.5, 0.5], momentum=0.3, shapes=MATRICES),
    optimizer("ASGD", "plain", lr=0.1, lambd=0.01),
    optimizer("ASGD", "averaged", lr=0.1, lambd=0.1, alpha=0.5, t0=2, weight_decay=0.1),
    optimizer("ASGD", "maximize", lr=0.05, maximize=True),
    optimizer("LBFGS", "plain", lr=0.5, max_iter=4),
    optimizer("LBFGS", "history", lr=0.3, max_iter=6, history_size=2),
    optimizer("LBFGS", "wolfe", max_iter=5, line_search_fn="strong_wolfe"),
    optimizer("LBFGS", "long_step", lr=8.0, max_iter=3, line_search_fn="strong_wolfe"),
    optimizer("LBFGS", "few_evaluations", max_iter=10, max_eval=4, line_search_fn="strong_wolfe"),
]


# A loss that falls, stands still, falls a little and rises.
FALLING = [1.0, 0.8, 0.8, 0.8, 0.7, 0.69, 0.68, 0.7, 0.7, 0.7, 0.71, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6]


def schedule(name, tag, **config):
    return name, tag, {**config, "base_lr": config.get("base_lr", 0.05)}, {}


SCHEDULE = [
    schedule("ConstantLR", "plain", factor=0.25, total_iters=4),
    schedule("StepLR", "plain", step_size=4, gamma=0.5),
    schedule("MultiStepLR", "plain", milestones=[3, 8], gamma=0.1),
    schedule("ExponentialLR", "plain", gamma=0.9),
    schedule("CosineAnnealingLR", "past_the_end", T_max=10),
    schedule("CosineAnnealingLR", "floor", T_max=19, eta_min=0.001),
    schedule("CosineAnnealingWarmRestarts", "plain", T_0=4, T_mult=2, eta_min=0.002),
    schedule("LinearLR", "warmup", start_factor=0.1, total_iters=5),
    schedule("LinearLR", "down", start_factor=1.0, end_factor=0.2, total_iters=15),
    schedule("PolynomialLR", "square", total_iters=10, power=2.0),
    schedule("OneCycleLR", "cosine", max_lr=0.1, total_steps=20),
    schedule("OneCycleLR", "linear", max_lr=0.1, total_steps=20, pct_start=0.4, anneal_strategy="linear"),
    schedule("OneCycleLR", "three_phase", max_lr=0.1, total_steps=20, three_phase=True, div_factor=10.0),
    schedule("ExponentialLR", "slow", gamma=0.99),
    schedule("ConstantLR", "default"),
    schedule("LinearLR", "default"),
    schedule("PolynomialLR", "default"),
    schedule("PolynomialLR", "root", total_iters=25, power=0.5),
    schedule("StepLR", "default", step_size=3),
    schedule("MultiStepLR", "twice", milestones=[2, 5, 5, 11], gamma=0.5),
    schedule("CosineAnnealingLR", "three_ways", T_max=6, eta_min=0.01),
    schedule("CosineAnnealingWarmRestarts", "equal", T_0=5),
    schedule("CosineAnnealingWarmRestarts", "triple", T_0=1, T_mult=3),
    schedule("OneCycleLR", "epochs", max_lr=0.2, epochs=4, steps_per_epoch=5, final_div_factor=10.0),
    schedule("OneCycleLR", "linear_three", max_lr=0.2, total_steps=20, three_phase=True, anneal_strategy="linear", pct_start=0.45),
    schedule("OneCycleLR", "momentum", max_lr=0.2, total_steps=20, base_momentum=0.7, max_momentum=0.9, cycle_momentum=True),
    schedule("CyclicLR", "plain", base_lr=0.01, max_lr=0.1, step_size_up=3, cycle_momentum=False),
    schedule("CyclicLR", "halving", base_lr=0.01, max_lr=0.1, step_size_up=3, step_size_down=2, mode="triangular2"),
    schedule("CyclicLR", "fading", base_lr=0.01, max_lr=0.1, step_size_up=4, mode="exp_range", gamma=0.95, cycle_momentum=False),
    schedule("SequentialLR", "warmup", milestones=[5], schedulers=[
        {"name": "LinearLR", "start_factor": 0.1, "total_iters": 5}, {"name": "CosineAnnealingLR", "T_max": 15}]),
    schedule("SequentialLR", "three", milestones=[3, 8], schedulers=[
        {"name": "ConstantLR", "factor": 0.5, "total_iters": 10}, {"name": "ExponentialLR", "gamma": 0.8}, {"name": "StepLR", "step_size": 4}]),
    schedule("ChainedScheduler", "two", schedulers=[
        {"name": "ConstantLR", "factor": 0.1, "total_iters": 4}, {"name": "ExponentialLR", "gamma": 0.9}]),
    schedule("ChainedScheduler", "three", schedulers=[
        {"name": "LinearLR", "start_factor": 0.2, "total_iters": 6}, {"name": "StepLR", "step_size": 7, "gamma": 0.5}, {"name": "CosineAnnealingLR", "T_max": 30}]),
    schedule("ReduceLROnPlateau", "plain", metrics=FALLING, patience=1, factor=0.5),
    schedule("ReduceLROnPlateau", "rising", metrics=FALLING, mode="max", patience=0, cooldown=2, min_lr=0.001),
    schedule("ReduceLROnPlateau", "amount", metrics=FALLING, threshold=0.1, threshold_mode="abs", patience=2, factor=0.3),
]


def clip(name, tag, scale=1.0, **config):
    return name, tag, config, {"scale": scale}


CLIP = [
    clip("clip_grad_norm_", "two", max_norm=1.0, norm_type="2.0"),
    clip("clip_grad_norm_", "one", max_norm=1.0, norm_type="1.0"),
    clip("clip_grad_norm_", "inf", max_norm=0.5, norm_type="inf"),
    clip("clip_grad_norm_", "short_enough", scale=0.01, max_norm=1.0, norm_type="2.0"),
    clip("clip_grad_norm_", "zero", scale=0.0, max_norm=1.0, norm_type="2.0"),
    clip("clip_grad_value_", "plain", clip_value=0.5),
    clip("clip_grad_norm_", "three", max_norm=0.7, norm_type="3.0"),
    clip("clip_grad_norm_", "half", max_norm=2.0, norm_type="0.5"),
    clip("clip_grad_value_", "wide", scale=3.0, clip_value=2.5),
]


def run(tag, optimizer, conv1, conv2, batch):
    config = {"conv1": conv1, "conv2": conv2, "optimizer": optimizer, "steps": 10}
    return "lenet12", tag, config, {"inputs": [(batch, 1, 12, 12), (10, (batch,))]}


RUN = [
    run("adamw", "AdamW lr=3e-3", 4, 8, 64),
    run("sgd", "SGD lr=5e-2 momentum=0.9", 3, 5, 33),
    run("adamw_decay", "AdamW lr=1e-2 weight_decay=0.1", 2, 3, 16),
]

TABLES = {
    "layer": LINEAR + CONVOLUTION + POOLING + NORMALISATION + ACTIVATION + RECURRENT + ATTENTION,
    "function": FUNCTION,
    "loss": LOSS,
    "optimizer": OPTIMIZER,
    "schedule": SCHEDULE,
    "clip": CLIP,
    "run": RUN,
}
