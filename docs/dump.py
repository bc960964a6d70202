"""Writes what `cortical verify MODEL --against FILE` compares with. Needs torch and safetensors.

    dump(model, inputs, "reference.safetensors")    # inputs: preprocessed samples, or tokens [batch, tokens]
"""
import torch
from safetensors.torch import save_file


def dump(model, inputs, path):
    found = {"input": inputs}

    def tensor(y):  # of a tuple or one of transformers' outputs, what comes first
        return y if isinstance(y, torch.Tensor) else tensor(y[0]) if isinstance(y, (tuple, list)) else tensor(y.to_tuple())

    def hook(name):
        def keep(module, args, y):
            found.setdefault("output." + name, tensor(y).detach().clone())
        return keep

    hooks = [module.register_forward_hook(hook(name)) for name, module in model.eval().named_modules() if name]
    model.zero_grad()
    output = tensor(model(inputs))
    weight = torch.cos(torch.arange(output.numel(), dtype=output.dtype)).reshape(output.shape)
    (output * weight).sum().backward()
    found |= {"output": output.detach(), "loss_weight": weight}
    found |= {"grad." + name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    save_file({name: t.contiguous().clone() for name, t in found.items()}, path)
    for each in hooks:
        each.remove()
