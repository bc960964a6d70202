"""PyTorch's side of the comparison of a whole training: LeNet on Fashion-MNIST, from the start of the process to the model on the disk.

    python lenet.py FOLDER SEED MODEL

FOLDER holds the four IDX files (gzip), MODEL is the safetensors file to write. It is what
`cortical train --data fashion-mnist --model lenet --epochs 3 --seed SEED --set schedule.kind=constant` does: the same network, AdamW at 1e-3 with the
weight decay of both's defaults, batches of 64 in a new order each epoch, a test after each. Data are tensors in memory and the optimizer is the fused one,
which is the fastest way that PyTorch offers. OMP_NUM_THREADS says how many threads there are.
"""

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

EPOCHS, BATCH, EVAL_BATCH = 3, 64, 256


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
        self.fc1, self.fc2 = nn.Linear(9216, 128), nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(x)


def read(folder, part):
    images = gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes())
    images = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
    labels = np.frombuffer(labels, np.uint8, offset=8).astype(np.int64)
    return torch.from_numpy(images.astype(np.float32) / 255), torch.from_numpy(labels)


def accuracy(net, x, y):
    net.eval()
    with torch.inference_mode():
        right = sum(
            (net(x[i : i + EVAL_BATCH]).argmax(1) == y[i : i + EVAL_BATCH]).sum().item()
            for i in range(0, len(x), EVAL_BATCH)
        )
    net.train()
    return right / len(x)


def main():
    folder, seed, model = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.manual_seed(seed)
    (x, y), (test_x, test_y) = read(folder, "train"), read(folder, "t10k")
    net = LeNet()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(net(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: {100 * accuracy(net, test_x, test_y):.2f} %", flush=True)
    save_file(net.state_dict(), model)


main()
