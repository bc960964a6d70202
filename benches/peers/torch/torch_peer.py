"""PyTorch's side of the comparison: the same workloads as our own program, one JSON line each.

    python torch_peer.py [--turns] [NAME...]

A name picks every workload that contains it; without one all of them run. OMP_NUM_THREADS says how many threads there are.

With --turns one workload takes turns with another program's: when it is warm, and after each turn, the milliseconds of the
turn's steps are printed as a JSON array, and a line of input says how many steps the next turn has.
"""

import json
import os
import resource
import sys
import tempfile
import time
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F

WORKLOADS = {}


def workload(name, items, unit, warm_ups, repeats):
    """Registers a function that prepares the workload and returns its step."""

    def register(prepare):
        WORKLOADS[name] = (prepare, items, unit, warm_ups, repeats)
        return prepare

    return register


def report(name, ms, rate, unit):
    line = {
        "peer": "torch",
        "bench": name,
        "ms": round(ms, 4),
        "rate": round(rate, 1),
        "unit": unit,
        "threads": torch.get_num_threads(),
        # Linux counts in KiB.
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
    }
    print(json.dumps(line), flush=True)


def measure(name, in_turns=False):
    prepare, items, unit, warm_ups, repeats = WORKLOADS[name]
    step = prepare()
    for _ in range(warm_ups):
        step()
    parts = 64 if name == "llama15m_decode" else 1
    times = []

    def some(count):
        last = []
        for _ in range(count):
            start = time.perf_counter()
            own = step()
            # A step that has something to prepare says itself how long the rest took.
            last.append((time.perf_counter() - start if own is None else own) * 1e3 / parts)
        times.extend(last)
        return last

    if in_turns:
        print(json.dumps([]), flush=True)
        while asked := sys.stdin.readline().strip():
            print(json.dumps(some(int(asked))), flush=True)
    else:
        some(repeats)
    ms = sorted(times)[len(times) // 2]
    report(name, ms, items / (ms * parts) * 1e3, unit)


def training(model, inputs, labels):
    """Forward, loss, backward, fused AdamW, and the loss as a number."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)

    def step():
        logits = model(inputs)
        loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()

    return step


def inference(model, inputs):
    model.eval()

    def step():
        with torch.inference_mode():
            model(inputs)

    return step


def discard(f):
    """A step that computes something and lets go of it."""

    def step():
        f()

    return step


# Matrix products


def gemm(n, dtype):
    def prepare():
        a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
        return discard(lambda: a @ b)

    return prepare


for n in (256, 1024, 2048):
    workload(f"gemm_f32_{n}", 2 * n**3 / 1e9, "GFLOP/s", 3, 15)(gemm(n, torch.float32))
for n in (1024, 2048):
    workload(f"gemm_bf16_{n}", 2 * n**3 / 1e9, "GFLOP/s", 3, 15)(gemm(n, torch.bfloat16))


# Dense layers


def mlp(wide=512, narrow=256, classes=10):
    return nn.Sequential(
        nn.Linear(784, wide), nn.ReLU(), nn.Linear(wide, narrow), nn.ReLU(), nn.Linear(narrow, classes)
    )


for name, widths, batch in (
    ("mlp_train_b32", (512, 256, 10), 32),
    ("mlp_train_b256", (512, 256, 10), 256),
    ("odd_mlp_200_train_b48", (200, 200, 11), 48),
):

    @workload(name, batch, "samples/s", 10, 60)
    def _(widths=widths, batch=batch):
        labels = torch.randint(0, widths[2], (batch,))
        return training(mlp(*widths), torch.randn(batch, 784), labels)


@workload("mlp_infer_b1", 1, "samples/s", 50, 300)
def _():
    return inference(mlp(), torch.randn(1, 784))


# Convolutions


def cnn(first=32, second=64, kernel=3, hidden=128):
    side = (30 - 2 * kernel) // 2
    return nn.Sequential(
        nn.Conv2d(1, first, kernel), nn.ReLU(), nn.Conv2d(first, second, kernel), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(second * side**2, hidden), nn.ReLU(), nn.Linear(hidden, 10),
    )  # fmt: skip


for name, sizes, batch in (
    ("cnn_train_b64", (32, 64, 3, 128), 64),
    ("odd_cnn_24_40_train_b48", (24, 40, 5, 200), 48),
):

    @workload(name, batch, "samples/s", 3, 15)
    def _(sizes=sizes, batch=batch):
        return training(cnn(*sizes), torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,)))


@workload("cnn_infer_b64", 64, "samples/s", 3, 15)
def _():
    return inference(cnn(), torch.randn(64, 1, 28, 28))


@workload("cnn_infer_b1", 1, "samples/s", 20, 100)
def _():
    return inference(cnn(), torch.randn(1, 1, 28, 28))


def convolution(batch, channels, groups=1, side=32, kernel=3, stride=1):
    """Forward, and the gradients of input and weight."""

    def prepare():
        cin, cout = channels
        x = torch.randn(batch, cin, side, side, requires_grad=True)
        weight = (torch.randn(cout, cin // groups, kernel, kernel) * 0.1).requires_grad_()
        how = {"padding": kernel // 2, "stride": stride, "groups": groups}

        def step():
            x.grad = weight.grad = None
            F.conv2d(x, weight, **how).sum().backward()

        return step

    return prepare


def convolution_gflop(batch, channels, groups=1, side=32, kernel=3, stride=1):
    cin, cout = channels
    out = (side + 2 * (kernel // 2) - kernel) // stride + 1
    return 3 * 2 * batch * cout * out * out * (cin // groups) * kernel * kernel / 1e9


for name, sizes in {
    "conv3x3_64": (32, (64, 64)),
    "conv_depthwise": (16, (128, 128), 128),
    "odd_conv3x3_40": (48, (40, 40), 1, 20),
    "odd_conv5x5_24_40_s2": (48, (24, 40), 1, 30, 5, 2),
    "odd_conv7x7_3_24_s2": (48, (3, 24), 1, 50, 7, 2),
    "odd_conv1x1_40_24_s2": (48, (40, 24), 1, 30, 1, 2),
}.items():
    gflop = convolution_gflop(*sizes)
    workload(f"{name}_fwdbwd", gflop, "GFLOP/s", 2, 9)(convolution(*sizes))


class Block(nn.Module):
    """Two convolutions with norms around a shortcut."""

    def __init__(self, cin, cout, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(cin, cout, 3, stride, 1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(),
            nn.Conv2d(cout, cout, 3, 1, 1, bias=False), nn.BatchNorm2d(cout),
        )  # fmt: skip
        self.shortcut = nn.Identity()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(
                nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout)
            )

    def forward(self, x):
        return F.relu(self.body(x) + self.shortcut(x))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for stage in (16, 32, 64):
        for block in range(3):
            stride = 2 if stage > 16 and block == 0 else 1
            layers.append(Block(channels, stage, stride))
            channels = stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


@workload("resnet20_train_b32", 32, "samples/s", 2, 9)
def _():
    return training(resnet20(), torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,)))


# Recurrence


class CharacterModel(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(128, hidden)
        self.lstm = nn.LSTM(hidden, hidden, num_layers=2, batch_first=True)
        self.out = nn.Linear(hidden, 128)

    def forward(self, tokens):
        states, _ = self.lstm(self.embedding(tokens))
        return self.out(states)


for name, hidden, batch, steps in (
    ("lstm_train_b32_t64", 256, 32, 64),
    ("odd_lstm_200_train_b48_t50", 200, 48, 50),
):

    @workload(name, batch * steps, "tokens/s", 2, 9)
    def _(hidden=hidden, batch=batch, steps=steps):
        tokens = torch.randint(0, 128, (batch, steps))
        return training(CharacterModel(hidden), tokens, torch.randint(0, 128, (batch * steps,)))


# Small Llamas


class Shape(NamedTuple):
    vocabulary: int
    width: int
    blocks: int
    heads: int
    feed_forward: int

    @property
    def head(self):
        return self.width // self.heads


USUAL, ODD = Shape(4096, 288, 6, 6, 768), Shape(5003, 320, 4, 5, 840)


def angles(head, first, rows):
    frequencies = 1 / 10_000 ** (torch.arange(0, head, 2).float() / head)
    turned = torch.outer(torch.arange(first, first + rows).float(), frequencies)
    return turned.cos(), turned.sin()


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Cache:
    """Keys and values of one block, with room for what is still to come."""

    def __init__(self, shape, room):
        self.keys = torch.zeros(1, shape.heads, room, shape.head)
        self.values = torch.zeros(1, shape.heads, room, shape.head)
        self.length = 0

    def append(self, keys, values):
        end = self.length + keys.shape[2]
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class LlamaBlock(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape, width, feed_forward = shape, shape.width, shape.feed_forward
        linear = lambda cin, cout: nn.Linear(cin, cout, bias=False)
        self.q, self.k, self.v, self.o = (linear(width, width) for _ in range(4))
        self.gate, self.up = linear(width, feed_forward), linear(width, feed_forward)
        self.down = linear(feed_forward, width)
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)

    def forward(self, x, cos, sin, cache=None):
        batch, rows, _ = x.shape
        heads = lambda t: t.view(batch, rows, self.shape.heads, self.shape.head).transpose(1, 2)
        normed = self.norm1(x)
        q = rotate(heads(self.q(normed)), cos, sin)
        k = rotate(heads(self.k(normed)), cos, sin)
        v = heads(self.v(normed))
        if cache is not None:
            k, v = cache.append(k, v)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=rows > 1)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, rows, self.shape.width))
        normed = self.norm2(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    def __init__(self, shape=USUAL):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.blocks = nn.ModuleList(LlamaBlock(shape) for _ in range(shape.blocks))
        self.norm = nn.RMSNorm(shape.width, eps=1e-5)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)

    def forward(self, tokens, caches=None, first=0):
        cos, sin = angles(self.shape.head, first, tokens.shape[1])
        x = self.embedding(tokens)
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin, caches[i] if caches else None)
        return self.head(self.norm(x))


for name, shape, batch, rows in (
    ("llama15m_train_b4_t256", USUAL, 4, 256),
    ("odd_llama_5x64_train_b3_t100", ODD, 3, 100),
):

    @workload(name, batch * rows, "tokens/s", 2, 9)
    def _(shape=shape, batch=batch, rows=rows):
        tokens = torch.randint(0, shape.vocabulary, (batch, rows))
        labels = torch.randint(0, shape.vocabulary, (batch * rows,))
        return training(Llama(shape), tokens, labels)


@workload("llama15m_prefill_t256", 256, "tokens/s", 2, 9)
def _():
    return inference(Llama(), torch.randint(0, USUAL.vocabulary, (1, 256)))


@workload("llama15m_decode", 64, "tokens/s", 1, 5)
def _():
    model, prompt = Llama().eval(), torch.randint(0, USUAL.vocabulary, (1, 256))

    @torch.inference_mode()
    def step():
        caches = [Cache(USUAL, 256 + 64) for _ in range(USUAL.blocks)]
        logits = model(prompt, caches)
        start = time.perf_counter()
        for i in range(64):
            logits = model(logits[:, -1:].argmax(-1), caches, 256 + i)
        return time.perf_counter() - start

    return step


# Single operations


def pointwise(name, shape, operation):
    numbers = 16 * 1024 * 1024

    @workload(name, 2 * numbers * 4 / 1e9, "GB/s", 2, 9)
    def _():
        x = torch.randn(shape)
        return discard(lambda: operation(x))


pointwise("softmax_4096x4096", (4096, 4096), lambda x: F.softmax(x, -1))
pointwise("relu_16m", (16 * 1024 * 1024,), F.relu)
pointwise("gelu_erf_16m", (16 * 1024 * 1024,), F.gelu)


@workload("layernorm_8192x768_fwdbwd", 4 * 8192 * 768 * 4 / 1e9, "GB/s", 2, 9)
def _():
    x = torch.randn(8192, 768, requires_grad=True)
    weight, bias = torch.ones(768, requires_grad=True), torch.zeros(768, requires_grad=True)
    upstream = torch.randn(8192, 768)

    def step():
        x.grad = weight.grad = bias.grad = None
        F.layer_norm(x, (768,), weight, bias).backward(upstream)

    return step


@workload("adamw_10m", 10, "M parameters/s", 2, 15)
def _():
    parameters = [torch.randn(200_000, requires_grad=True) for _ in range(50)]
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.01, fused=True)
    return discard(optimizer.step)


# Files


def tensors():
    return {f"t{i}": torch.randn(1_000_000) for i in range(100)}


@workload("safetensors_save_400mb", 400, "MB/s", 1, 5)
def _():
    from safetensors.torch import save_file

    values, folder = tensors(), tempfile.TemporaryDirectory()
    # The default argument keeps the folder alive as long as the step.
    return lambda folder=folder: save_file(values, os.path.join(folder.name, "x.safetensors"))


@workload("safetensors_load_400mb", 400, "MB/s", 1, 5)
def _():
    from safetensors.torch import load_file, save_file

    folder = tempfile.TemporaryDirectory()
    file = os.path.join(folder.name, "x.safetensors")
    save_file(tensors(), file)

    def step(folder=folder):
        sum(float(values.sum()) for values in load_file(file).values())

    return step


def main():
    in_turns = "--turns" in sys.argv[1:]
    names = [name for name in sys.argv[1:] if name != "--turns"]
    if in_turns:
        names = [name for name in names if name in WORKLOADS]
        torch.manual_seed(0)
        for name in names[:1]:
            measure(name, in_turns=True)
        return 0
    for name in names:
        if not any(name in known for known in WORKLOADS):
            print(f"no workload's name contains {name!r}; there are {', '.join(WORKLOADS)}", file=sys.stderr)
            return 2
    torch.manual_seed(0)
    for known in WORKLOADS:
        if not names or any(name in known for name in names):
            measure(known)
    return 0


if __name__ == "__main__":
    sys.exit(main())
