"""More cases: what PyTorch's layers, functions and losses do with their less usual options. See case_tables.py for the format."""


def layer(name, tag, config, *inputs, **extra):
    return name, tag, {**config, "train": config.get("train", True)}, {"inputs": list(inputs), "extra": extra}


def evaluated(name, config, *inputs):
    return layer(name, "eval", {**config, "train": False}, *inputs)


DENSE = [
    layer("Identity", "plain", {}, (2, 3)),
    layer("Unflatten", "rest", {"dim": 1, "unflattened_size": [2, -1, 3]}, (2, 12)),
    layer("Unflatten", "negative", {"dim": -2, "unflattened_size": [2, 2]}, (2, 4, 3)),
    layer("Flatten", "from_the_end", {"start_dim": -3, "end_dim": -2}, (2, 3, 4, 5)),
    layer("Embedding", "padding_from_the_end", {"num_embeddings": 6, "embedding_dim": 3, "padding_idx": -2}, (6, (4, 5))),
    evaluated("Dropout1d", {"p": 0.3}, (2, 3, 4)),
    evaluated("Dropout2d", {"p": 0.3}, (2, 3, 4, 2)),
    evaluated("Dropout3d", {"p": 0.3}, (2, 3, 2, 2, 2)),
    evaluated("AlphaDropout", {"p": 0.3}, (4, 6)),
    evaluated("FeatureAlphaDropout", {"p": 0.3}, (4, 6)),
    evaluated("RReLU", {"lower": 0.1, "upper": 0.4}, (4, 6)),
    layer("Softmax2d", "plain", {}, (2, 3, 4, 2)),
    layer("GLU", "first", {"dim": 1}, (2, 4, 3)),
    layer("PReLU", "pictures", {"num_parameters": 3, "init": 0.1}, (2, 3, 4, 2)),
]


def conv(in_channels, out_channels, kernel_size, **config):
    return {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size, **config}


CONVOLUTION = [
    layer("ReflectionPad2d", "uneven", {"padding": [1, 2, 0, 1]}, (3, 4, 5)),
    layer("ReplicationPad3d", "uneven", {"padding": [1, 2, 1, 2, 1, 2]}, (2, 3, 5, 6, 7)),
    layer("CircularPad1d", "two", {"padding": 2}, (2, 3, 5)),
    layer("ConstantPad2d", "uneven", {"padding": [2, 1, 0, 1], "value": -1.0}, (2, 3, 5)),
    layer("Conv1d", "reflect", conv(2, 3, 3, padding=2, padding_mode="reflect"), (2, 2, 7)),
    layer("Conv1d", "circular_stride", conv(2, 4, 5, padding=2, stride=2, groups=2, padding_mode="circular"), (2, 2, 9)),
    layer("Conv2d", "reflect", conv(2, 3, [3, 2], padding=[2, 1], padding_mode="reflect"), (2, 2, 5, 6)),
    layer("Conv2d", "replicate", conv(2, 3, 3, padding=2, stride=[2, 1], padding_mode="replicate", bias=False), (1, 2, 6, 5)),
    layer("Conv2d", "circular", conv(2, 2, 3, padding=1, dilation=[1, 2], padding_mode="circular"), (1, 2, 5, 6)),
    layer("Conv2d", "same_reflect", conv(2, 3, [4, 3], padding="same", padding_mode="reflect"), (1, 2, 6, 6)),
    layer("Conv2d", "same_dilated", conv(2, 4, 3, padding="same", dilation=2, groups=2), (1, 2, 7, 6)),
    layer("Conv2d", "valid", conv(2, 3, 3, padding="valid", stride=2), (1, 2, 7, 6)),
    layer("Conv2d", "single", conv(2, 3, 3, padding=1), (2, 7, 6)),
    layer("Conv3d", "replicate", conv(1, 2, 3, padding=1, padding_mode="replicate"), (1, 1, 3, 4, 3)),
    layer("Conv3d", "groups_dilated", conv(2, 4, 2, dilation=[1, 2, 1], groups=2, bias=False), (2, 2, 3, 5, 4)),
    layer("ConvTranspose1d", "groups_padded", conv(4, 2, 3, stride=3, padding=1, output_padding=2, groups=2), (2, 4, 5)),
    layer("ConvTranspose2d", "single", conv(2, 3, [2, 3], stride=[1, 2], bias=False), (2, 4, 3)),
    layer("MaxPool1d", "options", {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}, (2, 3, 12)),
    layer("MaxPool2d", "single", {"kernel_size": [2, 3], "stride": 1, "padding": [1, 0]}, (2, 5, 6)),
    layer("AvgPool1d", "options", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}, (2, 3, 10)),
    layer("AvgPool2d", "divisor", {"kernel_size": [2, 3], "stride": [1, 2], "divisor_override": 4}, (2, 2, 5, 8)),
    layer("AvgPool2d", "ceil_padded", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, (1, 2, 8, 7)),
]

NORMALISATION = [
    layer("BatchNorm1d", "no_momentum", {"num_features": 3, "momentum": 0.0}, (6, 3)),
    layer("BatchNorm1d", "eval_no_affine", {"num_features": 3, "affine": False, "train": False}, (6, 3, 4)),
    layer("BatchNorm2d", "eval_untracked", {"num_features": 2, "track_running_stats": False, "train": False}, (3, 2, 4, 3)),
    layer("BatchNorm3d", "cumulative", {"num_features": 2, "momentum": None, "eps": 1e-2}, (2, 2, 2, 3, 2)),
    layer("InstanceNorm1d", "tracked", {"num_features": 3, "track_running_stats": True, "affine": True}, (2, 3, 5)),
    layer("InstanceNorm1d", "single", {"num_features": 3, "affine": True}, (3, 5)),
    layer("InstanceNorm2d", "tracked_eval", {"num_features": 3, "track_running_stats": True, "train": False}, (2, 3, 4, 2)),
    layer("InstanceNorm2d", "momentum", {"num_features": 2, "track_running_stats": True, "momentum": 0.4, "eps": 1e-3}, (3, 2, 3, 4)),
    layer("InstanceNorm2d", "no_momentum", {"num_features": 2, "track_running_stats": True, "momentum": None}, (3, 2, 3, 4)),
    layer("InstanceNorm3d", "plain", {"num_features": 2, "affine": True}, (2, 2, 2, 3, 2)),
    layer("GroupNorm", "no_affine", {"num_groups": 3, "num_channels": 6, "affine": False, "eps": 1e-3}, (2, 6, 5)),
    layer("GroupNorm", "each_channel", {"num_groups": 4, "num_channels": 4}, (2, 4, 3, 2)),
    layer("LayerNorm", "three", {"normalized_shape": [2, 3, 4]}, (2, 2, 3, 4)),
]

STEPS = {"input_size": 3, "hidden_size": 4}
RECURRENT = [
    layer("RNNCell", "relu", {**STEPS, "nonlinearity": "relu"}, (2, 3), (2, 4)),
    layer("GRUCell", "no_bias", {**STEPS, "bias": False}, (2, 3), (2, 4)),
    layer("LSTMCell", "plain", STEPS, (2, 3)),
    layer("LSTM", "projected_lengths", {**STEPS, "proj_size": 2, "batch_first": True}, (3, 5, 3), lengths=("lengths", (4, 5, 2))),
    layer("RNN", "deep_both_ways", {**STEPS, "num_layers": 2, "bidirectional": True, "nonlinearity": "relu", "bias": False}, (5, 2, 3)),
    layer("RNN", "from_a_state", {**STEPS, "batch_first": True}, (2, 4, 3), (1, 2, 4)),
    layer("RNN", "single", STEPS, (5, 3)),
    layer("LSTM", "from_a_state", {**STEPS, "num_layers": 2, "bidirectional": True}, (5, 2, 3), (4, 2, 4), (4, 2, 4)),
    layer("LSTM", "projected", {**STEPS, "proj_size": 2, "num_layers": 2, "bidirectional": True}, (4, 2, 3)),
    layer("LSTM", "projected_from_a_state", {**STEPS, "proj_size": 2, "batch_first": True, "bias": False}, (2, 4, 3), (1, 2, 2), (1, 2, 4)),
    layer("LSTM", "single", {**STEPS, "bidirectional": True}, (5, 3)),
    layer("LSTM", "lengths", {**STEPS, "batch_first": True, "bidirectional": True, "num_layers": 2}, (3, 5, 3), lengths=("lengths", (2, 5, 3))),
    layer("LSTM", "eval_dropout", {**STEPS, "num_layers": 2, "dropout": 0.4, "train": False}, (4, 2, 3)),
    layer("GRU", "from_a_state", {**STEPS, "bidirectional": True, "batch_first": True}, (2, 4, 3), (2, 2, 4)),
    layer("GRU", "no_bias", {**STEPS, "bias": False, "num_layers": 3}, (4, 2, 3)),
    layer("GRU", "lengths_from_a_state", {**STEPS, "bidirectional": True}, (6, 4, 3), (2, 4, 4), lengths=("lengths", (1, 6, 6, 4))),
    layer("GRU", "single", {**STEPS, "batch_first": True, "num_layers": 2}, (5, 3)),
]

HEADS = {"embed_dim": 8, "num_heads": 2, "batch_first": True}
FOUR, FIVE = (2, 4, 8), (2, 5, 8)
BLOCK = {"d_model": 8, "nhead": 2, "dim_feedforward": 12, "dropout": 0.0, "batch_first": True}
HIDDEN, ADDED = lambda *shape: ("hidden", shape), lambda *shape: ("normal", shape)
ATTENTION = [
    layer("MultiheadAttention", "rows_first", {**HEADS, "batch_first": False}, (5, 2, 8)),
    layer("MultiheadAttention", "single", {**HEADS, "need_weights": True}, (5, 8)),
    layer("MultiheadAttention", "weights", {**HEADS, "need_weights": True}, FOUR, FIVE, FIVE),
    layer("MultiheadAttention", "each_heads_weights", {**HEADS, "need_weights": True, "average_attn_weights": False}, FOUR),
    layer("MultiheadAttention", "other_widths", {**HEADS, "kdim": 6, "vdim": 3}, FOUR, (2, 5, 6), (2, 5, 3)),
    layer("MultiheadAttention", "other_values", HEADS, FOUR, FIVE, FIVE),
    layer("MultiheadAttention", "bias_kv", {**HEADS, "add_bias_kv": True}, FOUR),
    layer("MultiheadAttention", "zero_attn", {**HEADS, "add_zero_attn": True, "bias": False}, FOUR, FIVE, FIVE),
    layer("MultiheadAttention", "more_keys_masked", {**HEADS, "add_bias_kv": True, "add_zero_attn": True}, FOUR, attn_mask=HIDDEN(4, 4), key_padding_mask=HIDDEN(2, 4)),
    layer("MultiheadAttention", "hidden_keys", HEADS, FOUR, FIVE, FIVE, key_padding_mask=HIDDEN(2, 5)),
    layer("MultiheadAttention", "added_mask", HEADS, FOUR, FIVE, FIVE, attn_mask=ADDED(4, 5)),
    layer("MultiheadAttention", "a_mask_a_head", {**HEADS, "need_weights": True}, FOUR, attn_mask=HIDDEN(4, 4, 4)),
    layer("MultiheadAttention", "both_masks", {**HEADS, "need_weights": True}, FOUR, attn_mask=ADDED(4, 4, 4), key_padding_mask=ADDED(2, 4)),
    layer("MultiheadAttention", "eval_dropout", {**HEADS, "dropout": 0.4, "train": False}, FOUR),
    layer("TransformerEncoderLayer", "no_bias", {**BLOCK, "bias": False, "activation": "gelu", "layer_norm_eps": 1e-3}, FIVE),
    layer("TransformerEncoderLayer", "masked", {**BLOCK, "batch_first": False}, (4, 2, 8), src_mask=HIDDEN(4, 4), src_key_padding_mask=HIDDEN(2, 4)),
    layer("TransformerEncoderLayer", "added_mask", {**BLOCK, "norm_first": True}, FOUR, src_mask=ADDED(4, 4)),
    layer("TransformerDecoderLayer", "plain", BLOCK, FOUR, FIVE),
    layer("TransformerDecoderLayer", "norm_first", {**BLOCK, "norm_first": True, "activation": "gelu", "bias": False}, FOUR, FIVE),
    layer("TransformerDecoderLayer", "masked", {**BLOCK, "batch_first": False}, (4, 2, 8), (5, 2, 8), tgt_mask=HIDDEN(4, 4), memory_key_padding_mask=HIDDEN(2, 5), memory_mask=ADDED(4, 5), tgt_key_padding_mask=HIDDEN(2, 4)),
]


def function(name, tag, config, *inputs, **extra):
    return name, tag, {**config, "train": True}, {"inputs": list(inputs), "extra": extra}


FUNCTION = [
    function("max_pool2d", "ceil", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}, (2, 2, 6, 7)),
    function("adaptive_avg_pool3d", "plain", {"output_size": 3}, (2, 2, 4, 5, 4)),
    function("linear", "plain", {}, (3, 4), (2, 4), (2,)),
    function("conv2d", "plain", {"stride": 2, "padding": [1, 0], "groups": 2}, (1, 4, 6, 5), (4, 2, 3, 3), (4,)),
    function("conv1d", "same", {"padding": "same", "dilation": 2}, (1, 2, 7), (3, 2, 4)),
    function("conv_transpose2d", "plain", {"stride": 2, "output_padding": 1}, (1, 3, 3, 4), (3, 2, 3, 3), (2,)),
    function("layer_norm", "plain", {"normalized_shape": [4], "eps": 1e-3}, (3, 4), weight=(4,), bias=(4,)),
    function("rms_norm", "plain", {"normalized_shape": [4]}, (3, 4), weight=(4,)),
    function("group_norm", "plain", {"num_groups": 2}, (2, 4, 3), weight=(4,), bias=(4,)),
    function("gelu", "tanh", {"approximate": "tanh"}, (3, 4)),
    function("leaky_relu", "steep", {"negative_slope": 0.3}, (3, 4)),
    function("softplus", "beta", {"beta": 2.0, "threshold": 3.0}, (3, 4)),
    function("hardtanh", "asymmetric", {"min_val": -0.5, "max_val": 0.25}, (3, 4)),
    function("softmax", "first", {"dim": 0}, (3, 4)),
    function("log_softmax", "last", {"dim": -1}, (3, 4)),
    function("glu", "first", {"dim": 0}, (4, 3)),
    function("prelu", "channels", {}, (2, 3, 4), (3,)),
    function("normalize", "plain", {}, (3, 4)),
    function("normalize", "rows_of_three", {"p": 3.0, "dim": -1}, (3, 4)),
    function("cosine_similarity", "rows", {"dim": 1}, (3, 4), (3, 4)),
    function("pairwise_distance", "plain", {}, (3, 4), (3, 4)),
    function("pairwise_distance", "kept", {"p": 1.0, "keepdim": True}, (3, 4), (3, 4)),
    function("mse_loss", "sum", {"reduction": "sum"}, (3, 4), (3, 4)),
    function("smooth_l1_loss", "beta", {"beta": 0.3, "reduction": "none"}, (3, 4), (3, 4)),
    function("cross_entropy", "smoothed", {"label_smoothing": 0.2}, (5, 4), (4, (5,))),
]


def loss(name, tag, config, *inputs, gradients=(0,), **extra):
    return name, tag, config, {"inputs": list(inputs), "gradients": list(gradients), "extra": extra}


SCORES, SIGNS = (5, 4), ("sign", (5,))
LOSS = [
    loss("CrossEntropyLoss", "one_without_batch", {"label_smoothing": 0.1}, (4,), ("softmax", (4,))),
    loss("NLLLoss", "one_without_batch", {"reduction": "none"}, ("log_softmax", (4,)), (4, ())),
    loss("BCEWithLogitsLoss", "weighted_rows", {"reduction": "none"}, SCORES, ("sigmoid", SCORES), weight=("positive", (5, 1)), pos_weight=("positive", (4,))),
    loss("GaussianNLLLoss", "shared_variance", {"reduction": "sum"}, SCORES, SCORES, ("positive", (5, 1)), gradients=(0, 1, 2)),
    loss("CrossEntropyLoss", "weighted_sequence", {"reduction": "sum", "ignore_index": 1}, (2, 4, 3), (4, (2, 3)), weight=("positive", (4,))),
    loss("CrossEntropyLoss", "weighted_soft", {"label_smoothing": 0.1}, (3, 5), ("softmax", (3, 5)), weight=("positive", (5,))),
    loss("CrossEntropyLoss", "weighted_none", {"reduction": "none", "label_smoothing": 0.1}, SCORES, (4, (5,)), weight=("positive", (4,))),
    loss("NLLLoss", "pictures", {"ignore_index": 2, "reduction": "none"}, ("log_softmax", (2, 4, 3, 2)), (4, (2, 3, 2))),
    loss("NLLLoss", "sum_weighted", {"reduction": "sum"}, ("log_softmax", SCORES), (4, (5,)), weight=("positive", (4,))),
    loss("BCELoss", "weighted_none", {"reduction": "none"}, ("sigmoid", (4, 3)), ("sigmoid", (4, 3)), weight=("positive", (3,))),
    loss("BCEWithLogitsLoss", "both_weights", {"reduction": "sum"}, (4, 3), ("sigmoid", (4, 3)), weight=("positive", (4, 3)), pos_weight=("positive", (3,))),
    loss("KLDivLoss", "mean", {"reduction": "mean"}, ("log_softmax", (4, 5)), ("softmax", (4, 5))),
    loss("KLDivLoss", "log_none", {"reduction": "none", "log_target": True}, ("log_softmax", (4, 5)), ("log_softmax", (4, 5))),
    loss("SmoothL1Loss", "no_beta", {"beta": 0.0, "reduction": "sum"}, (4, 5), (4, 5)),
    loss("HuberLoss", "wide", {"delta": 2.5, "reduction": "none"}, (4, 5), (4, 5)),
    loss("PoissonNLLLoss", "full", {"log_input": False, "full": True, "eps": 1e-6}, ("positive", (4, 3)), ("positive", (4, 3))),
    loss("PoissonNLLLoss", "full_log_sum", {"full": True, "reduction": "sum"}, (4, 3), ("positive", (4, 3))),
    loss("GaussianNLLLoss", "full_eps", {"full": True, "eps": 1e-4}, (4, 3), (4, 3), ("positive", (4, 3)), gradients=(0, 2)),
    loss("SoftMarginLoss", "sum", {"reduction": "sum"}, SCORES, ("sign", SCORES)),
    loss("HingeEmbeddingLoss", "half_margin", {"margin": 0.5}, SCORES, ("sign", SCORES)),
    loss("MarginRankingLoss", "none", {"margin": 0.1, "reduction": "none"}, (5,), (5,), SIGNS, gradients=(0, 1)),
    loss("CosineEmbeddingLoss", "sum", {"reduction": "sum"}, SCORES, SCORES, SIGNS, gradients=(0, 1)),
    loss("MultiMarginLoss", "square", {"p": 2, "margin": 0.5}, SCORES, (4, (5,)), weight=("positive", (4,))),
    loss("MultiLabelSoftMarginLoss", "weighted_none", {"reduction": "none"}, SCORES, ("sigmoid", SCORES), weight=("positive", (4,))),
    loss("TripletMarginLoss", "swapped", {"swap": True, "p": 1.0, "margin": 0.5, "reduction": "sum"}, SCORES, SCORES, SCORES, gradients=(0, 1, 2)),
]

OPTIONS = {
    "layer": DENSE + CONVOLUTION + NORMALISATION + RECURRENT + ATTENTION,
    "function": FUNCTION,
    "loss": LOSS,
}
