"""Writes totals.json: configurations of published models and transformers' own count of their parameters.

The models are built on the `meta` device, so no weight is allocated or downloaded.

    python make.py        # with torch and transformers; totals.json beside this script is replaced
"""

import json
import pathlib

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoConfig


def llama(layers, width, heads, kv_heads, inner, vocab, tied=False, **more):
    return dict(
        model_type="llama",
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=inner,
        vocab_size=vocab,
        tie_word_embeddings=tied,
        **more,
    )


def like(model_type, *sizes, **more):
    return llama(*sizes, **more) | dict(model_type=model_type)


def bert(layers, width, heads, inner):
    return dict(
        model_type="bert",
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=inner,
        vocab_size=30522,
        max_position_embeddings=512,
        type_vocab_size=2,
    )


def gpt2(layers, width, heads):
    return dict(model_type="gpt2", n_layer=layers, n_embd=width, n_head=heads, n_positions=1024, vocab_size=50257)


MODELS = {
    "llama-2-7b": llama(32, 4096, 32, 32, 11008, 32000),
    "llama-2-13b": llama(40, 5120, 40, 40, 13824, 32000),
    "llama-2-70b": llama(80, 8192, 64, 8, 28672, 32000),
    "llama-3-8b": llama(32, 4096, 32, 8, 14336, 128256),
    "llama-3-70b": llama(80, 8192, 64, 8, 28672, 128256),
    "llama-3.2-1b": llama(16, 2048, 32, 8, 8192, 128256, tied=True, head_dim=64),
    "llama-3.2-3b": llama(28, 3072, 24, 8, 8192, 128256, tied=True, head_dim=128),
    "codellama-7b": llama(32, 4096, 32, 32, 11008, 32016),
    "codellama-34b": llama(48, 8192, 64, 8, 22016, 32000),
    "mistral-7b": like("mistral", 32, 4096, 32, 8, 14336, 32000),
    "qwen2.5-0.5b": like("qwen2", 24, 896, 14, 2, 4864, 151936, tied=True),
    "qwen2.5-7b": like("qwen2", 28, 3584, 28, 4, 18944, 152064),
    "qwen3-0.6b": like("qwen3", 28, 1024, 16, 8, 3072, 151936, tied=True, head_dim=128),
    "qwen3-8b": like("qwen3", 36, 4096, 32, 8, 12288, 151936, head_dim=128),
    "gpt2": gpt2(12, 768, 12),
    "gpt2-untied": gpt2(12, 768, 12) | dict(tie_word_embeddings=False),
    "gpt2-xl": gpt2(48, 1600, 25),
    "bert-tiny": bert(2, 128, 2, 512),
    "bert-base": bert(12, 768, 12, 3072),
    "bert-large": bert(24, 1024, 16, 4096),
}


def main():
    rows = []
    for name, fields in MODELS.items():
        fields = dict(fields)
        config = AutoConfig.for_model(**fields)
        kind = AutoModel if fields["model_type"] == "bert" else AutoModelForCausalLM
        with torch.device("meta"):
            model = kind.from_config(config)
        model.tie_weights()
        rows.append({"name": name, "parameters": sum(p.numel() for p in model.parameters()), "config": fields})
        print(name, rows[-1]["parameters"])
    text = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"
    pathlib.Path(__file__).with_name("totals.json").write_text(text)


if __name__ == "__main__":
    main()
