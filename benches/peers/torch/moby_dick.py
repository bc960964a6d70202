"""PyTorch's side of `cortical train --preset moby-dick`: step for step the same work.

    gunzip -c crates/cortical-data/data/moby-dick.txt.gz > moby-dick.txt
    python moby_dick.py moby-dick.txt curve.jsonl [--seconds 600]

Same model (`llama-tiny`: Llama's blocks, bytes as tokens, the head shares their table), same first distribution of weights, same
blocks of 256 bytes from random places, same AdamW with decay on matrices alone, same clipping, same warm-up and cosine, same held-out
tenth and the same blocks of it. The draws differ. OMP_NUM_THREADS says how many threads there are.

The curve has the lines that the command writes into metrics.jsonl: seconds are those of steps, tests are not counted.
"""

import argparse
import json
import math
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

VOCABULARY, WIDTH, FEED_FORWARD, BLOCKS, HEADS = 256, 160, 432, 3, 5
HEAD = WIDTH // HEADS
BATCH, BLOCK, STEPS, WARMUP = 8, 256, 4000, 50
LR, LEAST, BETAS, DECAY, CLIP = 3e-3, 0.1, (0.9, 0.95), 0.1, 1.0
TEST_EVERY, TEST_BLOCKS, LOG_EVERY = 200, 64, 10


def angles():
    frequencies = 10_000.0 ** (-torch.arange(0, HEAD, 2) / HEAD)
    turned = torch.outer(torch.arange(BLOCK).float(), frequencies)
    turned = torch.cat([turned, turned], -1)
    return turned.cos(), turned.sin()


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat([-second, first], -1) * sin


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        linear = lambda cin, cout: nn.Linear(cin, cout, bias=False)
        self.q, self.k, self.v, self.o = (linear(WIDTH, WIDTH) for _ in range(4))
        self.gate, self.up = linear(WIDTH, FEED_FORWARD), linear(WIDTH, FEED_FORWARD)
        self.down = linear(FEED_FORWARD, WIDTH)
        self.norm1, self.norm2 = nn.RMSNorm(WIDTH, eps=1e-5), nn.RMSNorm(WIDTH, eps=1e-5)

    def forward(self, x, cos, sin):
        batch, rows, _ = x.shape
        heads = lambda t: t.view(batch, rows, HEADS, HEAD).transpose(1, 2)
        normed = self.norm1(x)
        q, k = (rotate(heads(f(normed)), cos, sin) for f in (self.q, self.k))
        mixed = F.scaled_dot_product_attention(q, k, heads(self.v(normed)), is_causal=True)
        x = x + self.o(mixed.transpose(1, 2).reshape(batch, rows, WIDTH))
        normed = self.norm2(x)
        return x + self.down(F.silu(self.gate(normed)) * self.up(normed))


class Llama(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.RMSNorm(WIDTH, eps=1e-5)
        self.cos, self.sin = angles()
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # What adds to the stream of every block begins smaller.
                adds = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * BLOCKS) if adds else 0.02)

    def loss(self, tokens, labels):
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        scores = F.linear(self.norm(x), self.embedding.weight)
        return F.cross_entropy(scores.flatten(0, 1), labels.flatten())


def rate(step):
    """The learning rate of a step, counted from 0: up in a line, then down half a cosine."""
    if step < WARMUP:
        return LR * (step + 1) / WARMUP
    share = (step - WARMUP) / (STEPS - WARMUP)
    return LR * (LEAST + (1 - LEAST) * 0.5 * (1 + math.cos(math.pi * share)))


def cut(tokens, starts):
    parts = torch.stack([tokens[at : at + BLOCK + 1] for at in starts])
    return parts[:, :-1], parts[:, 1:]


@torch.inference_mode()
def test(model, tokens):
    whole = (len(tokens) - 1) // BLOCK
    starts = [i * whole // TEST_BLOCKS * BLOCK for i in range(TEST_BLOCKS)]
    losses = [model.loss(*cut(tokens, starts[i : i + BATCH])).item() for i in range(0, TEST_BLOCKS, BATCH)]
    return sum(losses) / len(losses)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("text")
    parser.add_argument("curve")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--steps", type=int, default=STEPS, help="end after so many of them")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    with open(args.text, "rb") as file:
        tokens = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()
    kept = int(len(tokens) * 0.9)
    train, held_out = tokens[:kept], tokens[kept:]
    model = Llama()
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=BETAS, fused=True)
    seconds, step = 0.0, 0
    with open(args.curve, "w") as curve:
        line = lambda **fields: print(json.dumps(fields), file=curve, flush=True)
        while step < min(STEPS, args.steps) and seconds < args.seconds:
            began = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            starts = torch.randint(0, len(train) - BLOCK, (BATCH,)).tolist()
            loss = model.loss(*cut(train, starts))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            loss = loss.item()
            step += 1
            spent = time.perf_counter() - began
            seconds += spent
            if step % LOG_EVERY == 0:
                line(event="step", step=step, loss=loss, tokens_per_second=round(BATCH * BLOCK / spent))
            if step % TEST_EVERY == 0:
                line(event="test", step=step, test_loss=test(model, held_out), train_seconds=seconds)
        if step % TEST_EVERY:
            line(event="test", step=step, test_loss=test(model, held_out), train_seconds=seconds)
    print(json.dumps({"peer": "torch", "steps": step, "seconds": seconds, "tokens_per_second": step * BATCH * BLOCK / seconds}))


if __name__ == "__main__":
    main()
