"""Reference cases: what PyTorch computes, one safetensors file a case, for Cortical's conformance tests.

    python make_cases.py FOLDER

writes every case of the tables in case_tables.py into FOLDER, and those of case_extremes.py into one file of
FOLDER/extremes. Cases that FOLDER holds already and no table
names are computed again from their own inputs and compared, so that a file of unknown origin cannot lie.

A file's metadata are `kind`, `name` (PyTorch's), `config` (JSON of PyTorch's arguments), `rtol` and `atol` for
|got - want| <= atol + rtol * |want|. Its tensors, by kind:

    layer, function, loss   input.N, param.NAME, buffer.NAME (before the call), extra.NAME (tensors among the
                            arguments), output or output.N, d_output or d_output.N (the gradient that comes in),
                            d_input.N, d_param.NAME, buffer_after.NAME
    optimizer               param.K, then for each step S grad.S.K and after.S.K
    schedule                lr at steps 0, 1, 2, ... (float64)
    clip                    grad.K, after.K, total_norm
    run                     input.0, input.1 (labels), param.NAME, losses, after.NAME

In the file of extremes a tensor's name begins with that of its case and a slash, and `cases` among the metadata lists
them. `exact.NAME` is what PyTorch computes from the same numbers in double precision.

Everything a case is made from comes from NumPy's generator, seeded by the case's own name: adding or removing a
case changes no other, and neither does a new PyTorch.
"""

import json
import pathlib
import sys
import zlib

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from case_calls import CALL_ARGUMENTS, CALLS
from case_fused import FUSED, OWN
from case_extremes import EXTREMES
from case_options import OPTIONS
from case_tables import TABLES

PINNED = "2.15.0"
TOLERANCES = {"optimizer": (1e-5, 1e-6), "schedule": (1e-9, 1e-12), "run": (1e-3, 1e-4)}
DTYPES = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "BOOL": "|b1"}
OPTIMIZER_STEPS, LBFGS_STEPS, SCHEDULE_STEPS = 12, 4, 20
OPTIMIZER_SHAPES = [(4, 3), (7,), (2, 3, 2)]
CLIP_SHAPES = [(4, 3), (7,)]


# --- The file format, written by hand so that equal cases are equal bytes -------------------------------------


def write_case(path, metadata, tensors):
    """Tensors of the widest type first, then by name: every one is aligned and the order is settled."""
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    header, chunks, at = {"__metadata__": dict(sorted(metadata.items()))}, [], 0
    for name in names:
        dtype = next(key for key, code in DTYPES.items() if np.dtype(code) == arrays[name].dtype)
        data = arrays[name].astype(DTYPES[dtype]).tobytes()
        header[name] = {"dtype": dtype, "shape": list(arrays[name].shape), "data_offsets": [at, at + len(data)]}
        chunks.append(data)
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(chunks))


def read_case(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__")
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        array = np.frombuffer(data[start + first : start + last], DTYPES[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"])
    return metadata, tensors


# --- Drawing what a case is made from --------------------------------------------------------------------------


def draw(rng, spec):
    """An input: a shape is filled from the normal distribution; a pair names another way to fill it."""
    if isinstance(spec, np.ndarray):
        return spec
    how, shape = spec if spec and isinstance(spec[-1], tuple) else ("normal", spec)
    if isinstance(how, int):
        return rng.integers(0, how, shape)
    if how == "lengths":
        return np.array(shape, np.int64)
    if how == "hidden":
        hidden = rng.random(shape) < 0.4
        hidden[..., 0] = False  # PyTorch makes NaN of a row that sees nothing
        return hidden
    values = rng.standard_normal(shape)
    if how == "wide":
        values = 4 * values
    elif how == "sigmoid":
        values = 1 / (1 + np.exp(-values))
    elif how in ("softmax", "log_softmax"):
        values = np.exp(values) / np.exp(values).sum(-1, keepdims=True)
        values = np.log(values) if how == "log_softmax" else values
    elif how == "sign":
        values = np.sign(values)
    elif how == "positive":
        values = 0.5 + np.abs(values)
    elif how == "coarse":
        values = np.round(values)  # many ties and zeros
    elif how != "normal":
        raise ValueError(f"unknown way to fill an input: {how}")
    return np.asarray(values, np.float32)


def numbered(prefix, values):
    """`output` for one tensor, `output.0`, `output.1`, ... for several."""
    if len(values) == 1:
        return {prefix: values[0]}
    return {f"{prefix}.{index}": value for index, value in enumerate(values)}


def flat(value):
    """The tensors of nested tuples, left to right."""
    if isinstance(value, (tuple, list)):
        return [tensor for part in value for tensor in flat(part)]
    return [] if value is None else [value]


def arguments(config):
    """PyTorch's arguments: without our own `train`, with pairs as it wants them, and infinity as a number."""
    pairs = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
    pairs.pop("train", None)
    if pairs.get("p") == "inf":
        pairs["p"] = float("inf")
    return pairs


def tensors_of(case, prefix):
    """The tensors called `prefix.NAME` by NAME, numbered ones in the order of their numbers."""
    prefix += "."
    chosen = {name[len(prefix) :]: array for name, array in case.items() if name.startswith(prefix)}
    names = sorted(chosen, key=lambda name: (int(name) if name.isdigit() else 0, name))
    return {name: torch.tensor(chosen[name]) for name in names}


# --- One function a kind: from what is given to what PyTorch makes of it ---------------------------------------


def build(name, config, extra=None):
    """The module without what is an argument of its call."""
    kept = {key: value for key, value in config.items() if key not in CALL_ARGUMENTS.get(name, ())}
    return getattr(nn, name)(**(extra or {}), **arguments(kept))


def call(kind, name, config, given):
    """The function to call on the inputs, and the module behind it if there is one."""
    extra = tensors_of(given, "extra")
    if kind == "function":
        function = OWN.get(name) or getattr(nn.functional, name, None) or getattr(torch, name)
        return (lambda *inputs: function(*inputs, **extra, **arguments(config))), None
    call_extra, extra = (extra, {}) if name in CALLS else ({}, extra)
    module = build(name, config, extra).train(config.get("train", True))
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            parameter.copy_(torch.tensor(given[f"param.{key}"]))
        for key, buffer in module.named_buffers():
            if f"buffer.{key}" in given:
                buffer.copy_(torch.tensor(given[f"buffer.{key}"]))
    return CALLS[name](module, config, call_extra) if name in CALLS else module, module


def differentiate(kind, name, config, given):
    """Layers, functions and losses: outputs, gradients, and buffers after the call."""
    inputs = list(tensors_of(given, "input").values())
    wanted = [i for i, x in enumerate(inputs) if x.is_floating_point() and (kind != "loss" or f"d_input.{i}" in given)]
    for index in wanted:
        inputs[index].requires_grad_()
    function, module = call(kind, name, config, given)
    outputs = flat(function(*inputs))
    made = numbered("output", [output.detach().numpy() for output in outputs])
    if not outputs[0].is_floating_point():
        return made  # places of maxima have no gradient
    d_outputs = given["d_outputs"](outputs)
    torch.autograd.backward(outputs, [torch.tensor(d_output) for d_output in d_outputs])
    made.update(numbered("d_output", d_outputs))
    made.update({f"d_input.{index}": inputs[index].grad.numpy() for index in wanted})
    if module is not None and kind == "layer":
        made.update({f"d_param.{key}": p.grad.numpy() for key, p in module.named_parameters()})
        made.update({f"buffer_after.{key}": b.numpy() for key, b in module.named_buffers()})
    return made


def logistic_loss(x, y, w, b):
    """What L-BFGS minimises: it asks for the loss itself."""
    z = x @ w + b
    return (nn.functional.softplus(z) - y * z).mean()


def minimise(name, config, given):
    x, y = (torch.tensor(given[f"input.{index}"]) for index in range(2))
    parameters = [nn.Parameter(array) for array in tensors_of(given, "param").values()]
    optimizer = getattr(torch.optim, name)(parameters, **arguments(config))

    def closure():
        optimizer.zero_grad()
        loss = logistic_loss(x, y, *parameters)
        loss.backward()
        return loss

    made = {}
    for step in range(LBFGS_STEPS):
        optimizer.step(closure)
        for index, parameter in enumerate(parameters):
            made[f"after.{step}.{index}"] = parameter.detach().numpy().copy()
    return made


def optimize(_kind, name, config, given):
    if name == "LBFGS":
        return minimise(name, config, given)
    parameters = [nn.Parameter(array) for array in tensors_of(given, "param").values()]
    optimizer = getattr(torch.optim, name)(parameters, **arguments(config))
    made = {}
    for step in range(OPTIMIZER_STEPS):
        for index, parameter in enumerate(parameters):
            parameter.grad = torch.tensor(given[f"grad.{step}.{index}"])
        optimizer.step()
        for index, parameter in enumerate(parameters):
            made[f"after.{step}.{index}"] = parameter.detach().numpy().copy()
    return made


def schedule(_kind, name, config, _given):
    keywords = arguments(config)
    base_lr = keywords["base_lr"] if name == "CyclicLR" else keywords.pop("base_lr")
    moves_momentum = keywords.get("cycle_momentum", name == "CyclicLR")
    momentum = 0.5 if moves_momentum else 0.0
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=base_lr, momentum=momentum)
    if name == "OneCycleLR":
        keywords["cycle_momentum"] = moves_momentum
    metrics = iter(keywords.pop("metrics", []))
    if "schedulers" in keywords:
        members = [dict(member) for member in keywords["schedulers"]]
        keywords["schedulers"] = [
            getattr(torch.optim.lr_scheduler, member.pop("name"))(optimizer, **member) for member in members
        ]
    if name == "ChainedScheduler":
        scheduler = torch.optim.lr_scheduler.ChainedScheduler(keywords["schedulers"], optimizer)
    else:
        scheduler = getattr(torch.optim.lr_scheduler, name)(optimizer, **keywords)
    rates, momenta = [], []
    for step in range(SCHEDULE_STEPS):
        group = optimizer.param_groups[0]
        rates.append(group["lr"])
        momenta.append(group["momentum"])
        if step + 1 < SCHEDULE_STEPS:
            optimizer.step()
            scheduler.step(*([next(metrics)] if name == "ReduceLROnPlateau" else []))
    made = {"lr": np.array(rates, np.float64)}
    if moves_momentum:
        made["momentum"] = np.array(momenta, np.float64)
    return made


def clip(_kind, name, config, given):
    parameters = []
    for gradient in tensors_of(given, "grad").values():
        parameters.append(nn.Parameter(torch.zeros_like(gradient)))
        parameters[-1].grad = gradient
    keywords = arguments(config)
    if "norm_type" in keywords:
        keywords["norm_type"] = float(keywords["norm_type"])  # JSON has no infinity, so it is a string
    total = getattr(nn.utils, name)(parameters, **keywords)
    made = {f"after.{index}": parameter.grad.numpy() for index, parameter in enumerate(parameters)}
    if total is not None:
        made["total_norm"] = total.reshape(1).numpy()
    return made


class LeNet12(nn.Module):
    """The small network of the training runs; 12 by 12 pixels in, ten classes out."""

    def __init__(self, conv1, conv2):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, conv1, 3), nn.Conv2d(conv1, conv2, 3)
        self.fc1, self.fc2 = nn.Linear(conv2 * 16, 32), nn.Linear(32, 10)

    def forward(self, x):
        x = self.conv2(self.conv1(x).relu()).relu()
        x = nn.functional.max_pool2d(x, 2).flatten(1)
        return self.fc2(self.fc1(x).relu())


def run(_kind, _name, config, given):
    net = LeNet12(config["conv1"], config["conv2"])
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            parameter.copy_(torch.tensor(given[f"param.{key}"]))
    optimizer_name, *settings = config["optimizer"].split()
    keywords = {key: float(value) for key, value in (setting.split("=") for setting in settings)}
    optimizer = getattr(torch.optim, optimizer_name)(net.parameters(), **keywords)
    inputs, labels = (torch.tensor(given[f"input.{index}"]) for index in range(2))
    losses = []
    for _ in range(config["steps"]):
        loss = nn.functional.cross_entropy(net(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    made = {f"after.{key}": parameter.detach().numpy() for key, parameter in net.named_parameters()}
    return {"losses": np.array(losses, np.float32), **made}


COMPUTE = {
    "layer": differentiate,
    "function": differentiate,
    "loss": differentiate,
    "optimizer": optimize,
    "schedule": schedule,
    "clip": clip,
    "run": run,
}


# --- Making and checking ---------------------------------------------------------------------------------------


def given_for(rng, kind, name, config, specs):
    """Everything a case starts from."""
    given = {}
    for index, spec in enumerate(specs.get("inputs", [])):
        given[f"input.{index}"] = draw(rng, spec)
    for key, spec in specs.get("extra", {}).items():
        given[f"extra.{key}"] = draw(rng, spec)
    if kind == "layer":
        module = build(name, config)
        for key, parameter in module.named_parameters():
            given[f"param.{key}"] = np.float32(0.5) * draw(rng, tuple(parameter.shape))
        for key, buffer in module.named_buffers():
            way = "positive" if key.endswith("running_var") else "normal"
            counts = not buffer.is_floating_point()
            given[f"buffer.{key}"] = buffer.numpy().copy() if counts else draw(rng, (way, tuple(buffer.shape)))
    elif kind == "optimizer" and name == "LBFGS":
        x = draw(rng, (20, 3)).astype(np.float64)
        given["input.0"], given["input.1"] = x, (x[:, :1] + 0.5 * draw(rng, (20, 1)) > 0).astype(np.float64)
        given["param.0"], given["param.1"] = np.zeros((3, 1)), np.zeros(1)
    elif kind == "optimizer":
        for index, shape in enumerate(specs.get("shapes", OPTIMIZER_SHAPES)):
            given[f"param.{index}"] = draw(rng, shape)
            for step in range(OPTIMIZER_STEPS):
                given[f"grad.{step}.{index}"] = draw(rng, shape)
    elif kind == "clip":
        for index, shape in enumerate(CLIP_SHAPES):
            given[f"grad.{index}"] = np.float32(specs.get("scale", 1)) * draw(rng, shape)
    elif kind == "run":
        for key, parameter in LeNet12(config["conv1"], config["conv2"]).named_parameters():
            fan_in = max(1, int(np.prod(parameter.shape[1:])))
            given[f"param.{key}"] = np.float32(fan_in**-0.5) * draw(rng, tuple(parameter.shape))
    if kind == "loss":
        given.update({f"d_input.{index}": None for index in specs.get("gradients", [0])})
    return given


def make(folder, kind, name, tag, config, specs):
    stem = f"{kind}-{name}-{tag}"
    rng = np.random.default_rng(zlib.crc32(stem.encode()))
    given = given_for(rng, kind, name, config, specs)
    given["d_outputs"] = lambda outputs: [draw(rng, tuple(output.shape)) for output in outputs]
    made = COMPUTE[kind](kind, name, config, given)
    tensors = {key: array for key, array in given.items() if isinstance(array, np.ndarray)}
    tensors.update(made)
    for key, array in tensors.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{stem}: {key} is not finite; choose other inputs")
    rtol, atol = TOLERANCES.get(kind, (1e-4, 1e-5))
    metadata = {"kind": kind, "name": name, "config": json.dumps(config), "rtol": str(rtol), "atol": str(atol)}
    write_case(folder / f"{stem}.safetensors", metadata, tensors)
    return f"{stem}.safetensors"


def check(path):
    """Computes a case from what it starts with and compares the rest; returns what differs."""
    metadata, tensors = read_case(path)
    d_outputs = [array for key, array in sorted(tensors.items()) if key.split(".")[0] == "d_output"]
    given = {**tensors, "d_outputs": lambda _: d_outputs}
    made = COMPUTE[metadata["kind"]](metadata["kind"], metadata["name"], json.loads(metadata["config"]), given)
    rtol, atol = float(metadata["rtol"]), float(metadata["atol"])
    complaints = [f"{key} is missing" for key in made.keys() - tensors.keys()]
    for key in made.keys() & tensors.keys():
        if not np.allclose(made[key], tensors[key], rtol=rtol, atol=atol):
            complaints.append(f"{key} differs by up to {np.abs(made[key] - tensors[key]).max():.3g}")
    return sorted(complaints)


def typed(given, dtype):
    """The same tensors with floats of one type."""
    kept = {key: value for key, value in given.items() if not isinstance(value, np.ndarray)}
    arrays = {key: array for key, array in given.items() if isinstance(array, np.ndarray)}
    return {**kept, **{key: array.astype(dtype) if array.dtype.kind == "f" else array for key, array in arrays.items()}}


def make_extremes(folder):
    """All cases of case_extremes.py in one file, computed in both precisions from what single precision holds."""
    listed, tensors = [], {}
    for kind, name, tag, config, given in EXTREMES:
        stem = f"{kind}-{name}-{tag}"
        rng = np.random.default_rng(zlib.crc32(stem.encode()))
        with np.errstate(over="ignore"):
            single = typed(given, np.float32)
        drawn = []

        def d_outputs(outputs):
            drawn[:] = drawn or [draw(rng, tuple(output.shape)) for output in outputs]
            return [d_output.astype(output.detach().numpy().dtype) for d_output, output in zip(drawn, outputs)]

        # Attention as it is defined: PyTorch's fast kernels lose the softmax's sum under a large finite mask.
        with sdpa_kernel(SDPBackend.MATH):
            made = differentiate(kind, name, config, {**single, "d_outputs": d_outputs})
            torch.set_default_dtype(torch.float64)
            exact = differentiate(kind, name, config, {**typed(single, np.float64), "d_outputs": d_outputs})
            torch.set_default_dtype(torch.float32)
        held = {key: array for key, array in single.items() if array is not None}
        held.update(made)
        held.update({f"exact.{key}": array for key, array in exact.items() if not key.startswith("d_output")})
        tensors.update({f"{stem}/{key}": array for key, array in held.items()})
        listed.append({"kind": kind, "name": name, "tag": tag, "config": config})
    folder.mkdir(exist_ok=True)
    write_case(folder / "extremes.safetensors", {"cases": json.dumps(listed)}, tensors)
    return len(listed)


def main(arguments):
    if len(arguments) != 1:
        sys.exit("usage: python make_cases.py FOLDER")
    if torch.__version__.split("+")[0] != PINNED:
        sys.exit(f"these cases are PyTorch {PINNED}'s, this is {torch.__version__}; run `cargo xtask cases`")
    folder = pathlib.Path(arguments[0])
    torch.set_num_threads(1)
    tables = [*TABLES.items(), *OPTIONS.items(), *FUSED.items()]
    written = [make(folder, kind, *case) for kind, cases in tables for case in cases]
    if len(set(written)) != len(written):
        sys.exit("two cases have the same name; give one another tag")
    others = sorted(path for path in folder.glob("*.safetensors") if path.name not in written)
    wrong = [f"{path.name}: {complaint}" for path in others for complaint in check(path)]
    extremes = make_extremes(folder / "extremes")
    print(f"{len(written)} cases and {extremes} extremes written, {len(others)} others computed again")
    if wrong:
        sys.exit("\n".join(["PyTorch computes something else than these files hold:", *wrong]))


if __name__ == "__main__":
    main(sys.argv[1:])
