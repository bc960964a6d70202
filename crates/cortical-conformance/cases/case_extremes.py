"""Where numbers end: every activation, softmax, norm and loss far from zero, and with infinities and NaN.

Each case is computed twice from the same inputs, which single precision holds exactly: in single and in double
precision. make_cases.py packs them all into extremes/extremes.safetensors.
"""

import numpy as np

INF, NAN = float("inf"), float("nan")
SIZES = [0.0, 0.3, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 87.0, 90.0, 100.0, 104.0, 110.0]
SIZES += [1e3, 1e4, 1e5, 1e10, 1e20, 1e30, 3e38, INF]
POINTS = [sign * size for size in SIZES for sign in (1, -1)] + [NAN]
FINITE = [x for x in POINTS if abs(x) <= 1e4]
SMALL = [x for x in POINTS if abs(x) <= 87]

# Scores whose common offset is all that changes; multiples of 1/4 stay exact up to 2^22.
PATTERN = np.array([0.5, -0.25, 1.0, 0.0])
OFFSETS = [sign * 10.0**power for power in (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 30) for sign in (1, -1)]
OFFSET_ROWS = [PATTERN + offset for offset in OFFSETS]
# Rows in which something is extreme.
EXTREME_ROWS = [
    [3e38] * 4,
    [-3e38] * 4,
    [3e38, -3e38, 0.0, 1.0],
    [0.0, -3e38, -3e38, -3e38],
    [-INF, 0.0, 1.0, 2.0],
    [0.0, -INF, -INF, -INF],
    [-INF] * 4,
    [INF, 0.0, 1.0, 2.0],
    [INF, -INF, 1.0, 2.0],
    [NAN, 0.0, 1.0, 2.0],
    [123456.0, 123456.5, -50000.0, 3.0],
    [100.0, -100.0, 0.0, 50.0],
    [-110.0, 0.0, -90.0, -104.0],
    [1e4, -1e4, 9999.0, 0.0],
]
ROWS = np.array([*OFFSET_ROWS, *EXTREME_ROWS])
# The same rows so often side by side that vectors are filled, with a rest.
WIDE_ROWS = np.tile(ROWS, (1, 5))[:, :19]
FAIR = np.isnan(ROWS).any(1) | ((ROWS > -INF).any(1) & (np.nan_to_num(np.abs(ROWS), posinf=0).max(1) < 1e4))
MODEST = ~(np.isfinite(ROWS) & (np.abs(ROWS) > 1e11)).any(1)
FINITE_ROWS = np.array([row for row in ROWS if np.isfinite(row).all() and np.abs(row).max() < 1e13])
LABELS = np.arange(len(ROWS)) % 4
FINITE_LABELS = np.arange(len(FINITE_ROWS)) % 4
SOFT = np.array([[0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0], [0.5, 0.125, 0.125, 0.25]])
CLASS_WEIGHT = np.array([0.5, 2.0, 1.0, 0.25])

# Numbers whose mean is exact with any of these offsets.
SPREAD = np.array([1.0, 2.0, 4.0, 7.0, 5.0, 3.0, -1.0, 3.0])
SPREAD_OFFSETS = [0.0, 1e2, -1e2, 1e3, 1e4, -1e4, 1e5, 1e6, -1e6]
SPREAD_ROWS = np.array([*[SPREAD + offset for offset in SPREAD_OFFSETS], *[SPREAD * 2.0**power for power in (13, -33, -100)]])
BROKEN_ROWS = np.array([[NAN, *SPREAD[1:]], [INF, *SPREAD[1:]], [0.0] * 8, [7.0] * 8, [1e6] * 8])
NORM_ROWS = np.concatenate([SPREAD_ROWS, BROKEN_ROWS])
VARIED_ROWS = NORM_ROWS[~np.isinf(NORM_ROWS).any(1)]


def case(kind, name, tag, config, *inputs, gradients=(0,), **extra):
    given = {f"input.{i}": np.asarray(x) for i, x in enumerate(inputs)}
    given.update({f"extra.{key}": np.asarray(x) for key, x in extra.items()})
    if kind == "loss":
        given.update({f"d_input.{i}": None for i in gradients})
    return kind, name, tag, config, given


def layer(name, tag, config, *inputs, **params):
    made = case("layer", name, tag, {**config, "train": True}, *inputs)
    made[4].update({f"param.{key}": np.asarray(x) for key, x in params.items()})
    return made


def function(name, tag, config, *inputs, **extra):
    return case("function", name, tag, {**config, "train": True}, *inputs, **extra)


def loss(name, tag, config, *inputs, **more):
    return case("loss", name, tag, config, *inputs, **more)


def activation(name, tag="plain", **config):
    return layer(name, tag, config, POINTS)


ACTIVATIONS = [
    activation("ReLU"),
    activation("ReLU6"),
    activation("LeakyReLU"),
    activation("LeakyReLU", "steep", negative_slope=0.3),
    activation("LeakyReLU", "downward", negative_slope=-0.5),
    activation("LeakyReLU", "flat", negative_slope=0.0),
    activation("ELU"),
    activation("ELU", "alpha", alpha=0.5),
    activation("SELU"),
    activation("CELU"),
    activation("CELU", "alpha", alpha=0.5),
    activation("GELU", approximate="none"),
    activation("GELU", "tanh", approximate="tanh"),
    activation("SiLU"),
    activation("Mish"),
    activation("Sigmoid"),
    activation("Tanh"),
    activation("Softplus"),
    activation("Softplus", "beta", beta=2.0, threshold=5.0),
    activation("Softplus", "late", beta=0.5, threshold=200.0),
    activation("Softsign"),
    activation("Hardswish"),
    activation("Hardsigmoid"),
    activation("Hardtanh"),
    activation("Hardtanh", "asymmetric", min_val=-0.5, max_val=2.0),
    activation("LogSigmoid"),
    activation("Tanhshrink"),
    activation("Hardshrink"),
    activation("Hardshrink", "wide", lambd=2.0),
    activation("Softshrink"),
    activation("Softshrink", "wide", lambd=2.0),
    activation("Threshold", threshold=0.1, value=-2.0),
    layer("PReLU", "plain", {"num_parameters": 1}, FINITE, weight=[0.25]),
    layer("GLU", "gate", {"dim": -1}, np.array([[1.5, -2.0, x, x] for x in POINTS])),
    layer("GLU", "value", {"dim": -1}, np.array([[x, 1.0, 0.5, -0.5] for x in POINTS])),
]

SOFTMAX = [
    layer(name, f"{tag}_{dim}", {"dim": dim}, rows if dim else rows.T)
    for name in ("Softmax", "LogSoftmax", "Softmin")
    for tag, rows in (("rows", ROWS), ("wide", WIDE_ROWS))
    for dim in (-1, 0)
]

REDUCTIONS = [
    # Without a row of −∞ alone (our gradient there is 0, PyTorch's NaN) and without scores that swallow a logarithm:
    # PyTorch's gradient there is not the softmax.
    function("logsumexp", "rows", {"dim": [-1]}, ROWS[FAIR]),
    function("logsumexp", "columns", {"dim": [0]}, ROWS[FAIR].T),
    function("logsumexp", "wide", {"dim": [-1]}, WIDE_ROWS[FAIR]),
    function("var", "rows", {"dim": [-1]}, VARIED_ROWS),
    function("var", "columns", {"dim": [0]}, VARIED_ROWS.T),
    function("var", "biased", {"dim": [-1], "correction": 0}, VARIED_ROWS),
    function("mean", "rows", {"dim": [-1]}, NORM_ROWS),
    function("sum", "rows", {"dim": [-1]}, NORM_ROWS),
]

AFFINE = {"weight": [0.5, 1.0, 2.0, -1.0, 0.25, 1.5, 1.0, 3.0], "bias": [0.0, 1.0, -1.0, 0.5, 0.0, 2.0, 0.0, 1.0]}
NORMS = [
    layer("LayerNorm", "rows", {"normalized_shape": [8]}, NORM_ROWS, **AFFINE),
    layer("LayerNorm", "plain", {"normalized_shape": [8], "elementwise_affine": False}, NORM_ROWS),
    layer("RMSNorm", "rows", {"normalized_shape": [8], "eps": 1e-6}, NORM_ROWS, weight=AFFINE["weight"]),
    layer("GroupNorm", "rows", {"num_groups": 1, "num_channels": 8}, NORM_ROWS, **AFFINE),
    layer("InstanceNorm1d", "rows", {"num_features": 1}, NORM_ROWS[:, None, :]),
    layer("BatchNorm1d", "columns", {"num_features": len(NORM_ROWS), "affine": False, "track_running_stats": False}, NORM_ROWS.T),
]



def attention(tag, q, k, v, **more):
    return function("scaled_dot_product_attention", tag, {}, q[None, None], k[None, None], v[None, None], **more)


QUARTERS = np.resize([0.5, -0.25, 1.0, 0.0, 0.75, -1.0, 0.25], (5, 4))
ATTENTION = [
    # Rows that a finite mask hides whole, as padding is hidden in many programs.
    attention("masked", QUARTERS, QUARTERS[::-1].copy(), QUARTERS, attn_mask=np.array([[0.0] * 5, [-1e4] * 5, [-1e9] * 5, [-3e38] * 5, [0.0, -INF, -1e9, 0.0, -INF]])),
    attention("nan", np.where(np.arange(5)[:, None] == 2, NAN, QUARTERS), QUARTERS, QUARTERS),
    attention("nan_value", QUARTERS, QUARTERS, np.where(np.arange(5)[:, None] == 2, NAN, QUARTERS)),
]

HEAD_X = np.array([[0.5, -0.25], [1.0, 0.75], [-0.5, 0.25], [0.0, 1.0], [0.25, 0.25]])
HEAD_W = np.array([[0.5, 0.25], [-0.25, 0.5], [1.0, -0.5], [0.0, 0.25]])
HEAD_LABELS = np.array([0, 1, 2, 3, 1])


def head(tag, offset, **config):
    return function("linear_cross_entropy", tag, config, HEAD_X, HEAD_LABELS, HEAD_W, np.full(4, offset))


HEADS = [
    head(f"{tag}_{power}_{sign}", sign * 10.0**power, **config)
    for power in (2, 4, 6, 8, 30)
    for sign in (1, -1)
    for tag, config in (
        ("mean", {}),
        ("sum", {"reduction": "sum", "ignore_index": 1}),
        ("smoothed", {"label_smoothing": 0.1}),
    )
]

# A prediction at each point, for two targets.
AT_POINTS = np.array([POINTS, POINTS]).T
NOT_BELOW = np.array([[x, x] for x in POINTS if x != -INF])
BOTH_TARGETS = np.array([[0.0, 1.0]] * len(POINTS))
SIGNS = 2.0 * BOTH_TARGETS - 1.0
SOME = np.array([[0.25, -1.5]] * len(POINTS))
PROBABILITIES = np.array([[p, p, p] for p in (0.0, 1.0, 0.5, 1e-30, 1e-44, 1 - 2**-24, 2**-24)])
LOG_PROBABILITIES = np.array([[x, x, x] for x in (0.0, -1e2, -1e4, -1e30, -INF, NAN)])
NONE = {"reduction": "none"}
PAIRS = [
    loss(name, tag, {**NONE, **config}, AT_POINTS, SOME)
    for name, tag, config in (
        ("MSELoss", "points", {}),
        ("L1Loss", "points", {}),
        ("SmoothL1Loss", "points", {}),
        ("SmoothL1Loss", "beta", {"beta": 0.3}),
        ("SmoothL1Loss", "no_beta", {"beta": 0.0}),
        ("HuberLoss", "points", {}),
        ("HuberLoss", "wide", {"delta": 2.5}),
    )
]
ELEMENTS = [
    # Without −∞, of which PyTorch makes NaN.
    loss("BCEWithLogitsLoss", "points", NONE, NOT_BELOW, BOTH_TARGETS[1:]),
    loss("BCEWithLogitsLoss", "between", NONE, NOT_BELOW, np.full(NOT_BELOW.shape, 0.25)),
    loss("BCEWithLogitsLoss", "pos_weight", NONE, NOT_BELOW, BOTH_TARGETS[1:], pos_weight=[3.0, 0.5]),
    loss("BCELoss", "ends", NONE, PROBABILITIES, np.array([[0.0, 1.0, 0.5]] * len(PROBABILITIES))),
    loss("KLDivLoss", "ends", NONE, LOG_PROBABILITIES, np.array([[0.0, 1.0, 0.5]] * len(LOG_PROBABILITIES))),
    loss("KLDivLoss", "logs", {**NONE, "log_target": True}, LOG_PROBABILITIES, np.array([[-INF, 0.0, -1.0]] * len(LOG_PROBABILITIES))),
    loss("PoissonNLLLoss", "log_rate", NONE, AT_POINTS, np.array([[0.0, 3.0]] * len(POINTS))),
    loss("PoissonNLLLoss", "rate", {**NONE, "log_input": False}, np.abs(AT_POINTS), np.array([[0.0, 3.0]] * len(POINTS))),
    loss("GaussianNLLLoss", "points", NONE, AT_POINTS, SOME, np.full(AT_POINTS.shape, 0.5)),
    loss("GaussianNLLLoss", "no_variance", NONE, np.array(SOME[:3]), SOME[:3] + 0.5, np.array([[0.0, 1e-30], [1e-8, 1.0], [1e30, 1e10]])),
    # Below the size from which on PyTorch's exponential overflows.
    loss("SoftMarginLoss", "sum", {"reduction": "sum"}, np.array([SMALL, SMALL]).T, SIGNS[: len(SMALL)]),
    loss("SoftMarginLoss", "each", NONE, np.array([[*SMALL, NAN]] * 2).T, SIGNS[: len(SMALL) + 1]),
    loss("HingeEmbeddingLoss", "points", NONE, AT_POINTS, SIGNS),
    loss("MultiLabelSoftMarginLoss", "points", NONE, AT_POINTS, BOTH_TARGETS),
    loss("MarginRankingLoss", "points", NONE, np.array(POINTS), np.full(len(POINTS), 0.25), np.ones(len(POINTS)), gradients=(0, 1)),
]

ROW_LOSSES = [
    loss("CrossEntropyLoss", "rows", NONE, ROWS, LABELS),
    loss("CrossEntropyLoss", "wide", NONE, WIDE_ROWS, LABELS),
    loss("CrossEntropyLoss", "mean", {}, FINITE_ROWS, FINITE_LABELS),
    loss("CrossEntropyLoss", "smoothed", {**NONE, "label_smoothing": 0.1}, ROWS, LABELS),
    loss("CrossEntropyLoss", "smoothed_mean", {"label_smoothing": 0.1, "ignore_index": 2}, FINITE_ROWS, FINITE_LABELS),
    loss("CrossEntropyLoss", "weighted", NONE, ROWS, LABELS, weight=CLASS_WEIGHT),
    loss("CrossEntropyLoss", "weighted_mean", {"label_smoothing": 0.2}, FINITE_ROWS, FINITE_LABELS, weight=CLASS_WEIGHT),
    loss("CrossEntropyLoss", "soft", NONE, ROWS, np.resize(SOFT, ROWS.shape)),
    loss("CrossEntropyLoss", "soft_mean", {"label_smoothing": 0.1}, FINITE_ROWS, np.resize(SOFT, FINITE_ROWS.shape)),
    loss("CrossEntropyLoss", "pictures", NONE, ROWS.T[None], LABELS[None]),
    loss("CrossEntropyLoss", "all_ignored", {"ignore_index": 0}, FINITE_ROWS[:2], np.zeros(2, int)),
    loss("NLLLoss", "rows", NONE, ROWS, LABELS, weight=CLASS_WEIGHT),
    # Without scores that swallow the margin: PyTorch adds it first.
    loss("MultiMarginLoss", "rows", NONE, ROWS[MODEST], LABELS[MODEST]),
    loss("MultiMarginLoss", "square", {**NONE, "p": 2}, FINITE_ROWS, FINITE_LABELS),
    loss("MultiLabelMarginLoss", "rows", NONE, FINITE_ROWS, np.array([[1, 3, -1, 0]] * len(FINITE_ROWS))),
    loss("CosineEmbeddingLoss", "sizes", NONE, SPREAD_ROWS[:-1], SPREAD_ROWS[:-1, ::-1].copy(), np.resize([1.0, -1.0], len(SPREAD_ROWS) - 1), gradients=(0, 1)),
    loss("TripletMarginLoss", "sizes", NONE, SPREAD_ROWS[:9], SPREAD_ROWS[:9, ::-1].copy(), SPREAD_ROWS[:9] + 2.0, gradients=(0, 1, 2)),
]


def ctc(tag, log_probabilities, config):
    """Five steps, four classes, one target of two classes."""
    return loss("CTCLoss", tag, config, np.array(log_probabilities)[:, None, :], np.array([[1, 2]]), np.array([5]), np.array([2]))


LOG_ROWS = np.log([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1]])
CTC = [
    ctc("plain", LOG_ROWS, NONE),
    ctc("low", LOG_ROWS - 1e3, NONE),
    ctc("lower", LOG_ROWS - 1e4, NONE),
    ctc("impossible", np.where(np.arange(4) == 2, -INF, LOG_ROWS), NONE),
    ctc("forgiven", np.where(np.arange(4) == 2, -INF, LOG_ROWS), {**NONE, "zero_infinity": True}),
]

EXTREMES = [*ACTIVATIONS, *SOFTMAX, *REDUCTIONS, *NORMS, *ATTENTION, *HEADS, *PAIRS, *ELEMENTS, *ROW_LOSSES, *CTC]
