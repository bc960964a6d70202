"""Makes the models and references of this folder: python make.py, with torch, transformers and safetensors."""
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parents[3] / "docs"))
from dump import dump  # noqa: E402

torch.manual_seed(1)


def spread(model, std):
    """Weights as large as trained ones: with the first ones of transformers everything is nearly linear."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.add_(torch.randn_like(p) * std)


def language(name, model, inputs):
    spread(model, 0.3)
    folder = here / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    dump(model, inputs, here / f"{name}.reference.safetensors")


tokens = torch.randint(1, 24, (2, 7))  # 0 is BERT's padding, whose vector gets no gradient in PyTorch
sizes = dict(vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2)
llama = transformers.LlamaConfig(**sizes, num_key_value_heads=2, rms_norm_eps=1e-2, max_position_embeddings=32, tie_word_embeddings=False, attn_implementation="eager")
language("llama", transformers.LlamaForCausalLM(llama), tokens)
gpt2 = transformers.GPT2Config(vocab_size=24, n_embd=16, n_layer=2, n_head=2, n_positions=32, attn_implementation="eager", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
language("gpt2", transformers.GPT2LMHeadModel(gpt2), tokens)
bert = transformers.BertConfig(**sizes, max_position_embeddings=32, attn_implementation="eager")
language("bert", transformers.BertModel(bert, add_pooling_layer=False), tokens)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 3)
        self.bn = torch.nn.BatchNorm2d(4, eps=1e-2)
        self.conv2 = torch.nn.Conv2d(4, 4, 3)
        self.fc1 = torch.nn.Linear(16, 16)
        self.fc2 = torch.nn.Linear(16, 4)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv1(x)))
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc2(torch.tanh(self.fc1(x.flatten(1))))


net = Net()
spread(net, 0.2)
with torch.no_grad():
    net.bn.running_mean.normal_()
    net.bn.running_var.uniform_(0.1, 1.0)
layers = """[
 { conv2d = { name = "conv1", out_channels = 4, kernel_size = 3 } },
 { batch_norm = { name = "bn", eps = 0.01, activation = "relu" } },
 { conv2d = { name = "conv2", out_channels = 4, kernel_size = 3, activation = "relu", max_pool = 2 } },
 "flatten",
 { linear = { name = "fc1", out_features = 16, activation = "tanh" } },
 { linear = { name = "fc2", out_features = 4 } } ]"""
save_file(net.state_dict(), here / "net.weights.safetensors")
(here / "net.toml").write_text("layers = " + layers + "\n")
dump(net, torch.randn(3, 1, 8, 8), here / "net.reference.safetensors")
