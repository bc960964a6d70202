//! Every kind of file that the command reads, and the verb that reads it.

use super::mutate::Format;

/// One kind of file and the verb that reads it.
pub(super) struct Target {
    pub(super) name: &'static str,
    /// The folder that a case starts from.
    pub(super) folder: &'static str,
    /// The file in it that is damaged.
    pub(super) file: &'static str,
    pub(super) format: Format,
    /// What the command is given, in that folder.
    pub(super) args: &'static str,
    /// Whether the file lies in a checkpoint, whose checksums are made right again.
    pub(super) is_checkpoint: bool,
}

const fn target(
    name: &'static str,
    [folder, file]: [&'static str; 2],
    format: Format,
    args: &'static str,
) -> Target {
    Target {
        name,
        folder,
        file,
        format,
        args,
        is_checkpoint: false,
    }
}

const fn checkpoint(name: &'static str, file: &'static str, format: Format) -> Target {
    Target {
        is_checkpoint: true,
        ..target(name, ["stopped", file], format, "resume run --quiet")
    }
}

const TRAIN: &str = "train --recipe recipe.toml --epochs 1 --out new --quiet";

/// Every kind, in the order of the cases.
pub(super) const TARGETS: &[Target] = &[
    target("table", ["table", "t.csv"], Format::Text, "data t.csv"),
    target(
        "table to predict",
        ["finished", "t.csv"],
        Format::Text,
        "predict run t.csv",
    ),
    target(
        "table to learn",
        ["table", "t.csv"],
        Format::Text,
        "train --data t.csv --epochs 1 --out new --quiet",
    ),
    target(
        "packed table",
        ["packed", "t.csv.gz"],
        Format::Gzip,
        "data t.csv.gz",
    ),
    target(
        "packed IDX images",
        ["packed", "idx/train-images-idx3-ubyte.gz"],
        Format::Gzip,
        "data idx",
    ),
    target(
        "packed IDX labels",
        ["packed", "idx/train-labels-idx1-ubyte.gz"],
        Format::Gzip,
        "data idx",
    ),
    target(
        "PNG picture",
        ["png", "pictures/a/dots.png"],
        Format::Png,
        "data pictures",
    ),
    target(
        "JPEG picture",
        ["jpg", "pictures/a/halves.jpg"],
        Format::Bytes,
        "data pictures",
    ),
    target(
        "oriented JPEG picture",
        ["exif", "pictures/a/exif3.jpg"],
        Format::Bytes,
        "data pictures",
    ),
    target(
        "IDX images",
        ["idx", "idx/train-images-idx3-ubyte"],
        Format::Bytes,
        "data idx",
    ),
    target(
        "IDX labels",
        ["idx", "idx/train-labels-idx1-ubyte"],
        Format::Bytes,
        "data idx",
    ),
    target("recipe", ["recipe", "recipe.toml"], Format::Text, TRAIN),
    target(
        "recipe of a text",
        ["text", "recipe.toml"],
        Format::Text,
        "train --recipe recipe.toml --print-recipe",
    ),
    target(
        "recipe of a run",
        ["finished", "run/recipe.toml"],
        Format::Text,
        "eval run",
    ),
    target(
        "metrics of a run",
        ["finished", "run/metrics.jsonl"],
        Format::Text,
        "report run",
    ),
    target(
        "report of a run",
        ["finished", "run/report.json"],
        Format::Text,
        "report run",
    ),
    target(
        "model of a run",
        ["finished", "run/model.safetensors"],
        Format::Safetensors,
        "eval run",
    ),
    target(
        "model file",
        ["finished", "run/model.safetensors"],
        Format::Safetensors,
        "inspect run/model.safetensors",
    ),
    target(
        "model to look at neurons of",
        ["finished", "run/model.safetensors"],
        Format::Safetensors,
        "neurons run --inputs 8 --silence 2",
    ),
    target(
        "reference to verify with",
        ["verify", "reference.safetensors"],
        Format::Safetensors,
        "verify llama --against reference.safetensors",
    ),
    target(
        "model to predict",
        ["finished", "run/model.safetensors"],
        Format::Safetensors,
        "predict run/model.safetensors t.csv",
    ),
    checkpoint(
        "state of a checkpoint",
        "run/checkpoints/step-4/state.json",
        Format::Text,
    ),
    checkpoint(
        "weights of a checkpoint",
        "run/checkpoints/step-4/model.safetensors",
        Format::Safetensors,
    ),
    checkpoint(
        "optimizer of a checkpoint",
        "run/checkpoints/step-4/optimizer.safetensors",
        Format::Safetensors,
    ),
    target(
        "configuration",
        ["llama", "config.json"],
        Format::Text,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "configuration of GPT-2",
        ["gpt2", "config.json"],
        Format::Text,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "configuration of BERT",
        ["bert", "config.json"],
        Format::Text,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "configuration of Gemma 3",
        ["gemma3", "config.json"],
        Format::Text,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "configuration with YaRN",
        ["llama-yarn-rope", "config.json"],
        Format::Text,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "weights",
        ["llama", "model.safetensors"],
        Format::Safetensors,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "weights to list",
        ["llama", "model.safetensors"],
        Format::Safetensors,
        "inspect .",
    ),
    target(
        "GGUF model",
        ["llama", "model.gguf"],
        Format::Gguf,
        "logits model.gguf --ids 1,2,3 --out new",
    ),
    target(
        "GGUF file",
        ["llama", "model.gguf"],
        Format::Gguf,
        "inspect model.gguf",
    ),
    target(
        "quantized GGUF model",
        ["quantized", "model.gguf"],
        Format::Gguf,
        "logits model.gguf --ids 1,2,3 --out new",
    ),
    target(
        "index of weights in several files",
        ["mistral-window", "model.safetensors.index.json"],
        Format::Text,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "weights in several files",
        ["mistral-window", "model-00002-of-00007.safetensors"],
        Format::Safetensors,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "GGUF tokenizer",
        ["gguf", "model.gguf"],
        Format::Gguf,
        "tokens model.gguf whale",
    ),
    target(
        "adapter",
        ["adapter", "lora-head/adapter_config.json"],
        Format::Text,
        "logits lora-head --ids 1,2,3 --out new",
    ),
    target(
        "adapter with patterns",
        ["adapter", "lora-patterns/adapter_config.json"],
        Format::Text,
        "logits lora-patterns --ids 1,2,3 --out new",
    ),
    target(
        "adapter's weights",
        ["adapter", "lora-head/adapter_model.safetensors"],
        Format::Safetensors,
        "logits lora-head --ids 1,2,3 --out new",
    ),
    target(
        "adapter to merge",
        ["adapter", "lora-head/adapter_config.json"],
        Format::Text,
        "merge lora-head --out new",
    ),
    target(
        "tokenizer",
        ["chat", "tokenizer.json"],
        Format::Text,
        "tokens tokenizer.json the_sea",
    ),
    target(
        "tokenizer of a model",
        ["chat", "tokenizer.json"],
        Format::Text,
        "generate . --prompt the -n 4",
    ),
    target(
        "template",
        ["chat", "chat_template.jinja"],
        Format::Text,
        "chat . --say the -n 4",
    ),
    target(
        "tokenizer's settings",
        ["chat", "tokenizer_config.json"],
        Format::Text,
        "chat . --say the -n 4",
    ),
    target(
        "text",
        ["chat", "text.txt"],
        Format::Text,
        "perplexity . text.txt --window 16 --bytes 16384",
    ),
    target(
        "PyTorch file",
        ["files", "zip-2.pt"],
        Format::Bytes,
        "convert zip-2.pt new.safetensors",
    ),
    target(
        "PyTorch file of protocol 5",
        ["files", "zip-5.pt"],
        Format::Bytes,
        "convert zip-5.pt new.safetensors",
    ),
    target(
        "older PyTorch file",
        ["files", "legacy-2.pt"],
        Format::Bytes,
        "convert legacy-2.pt new.safetensors",
    ),
    target(
        "views in a PyTorch file",
        ["files", "views-legacy.pt"],
        Format::Bytes,
        "convert views-legacy.pt new.safetensors",
    ),
    target(
        "oldest PyTorch file",
        ["files", "tar.pt"],
        Format::Bytes,
        "convert tar.pt new.safetensors",
    ),
    target(
        "NumPy archive",
        ["files", "arrays.npz"],
        Format::Bytes,
        "convert arrays.npz new.safetensors",
    ),
    target(
        "packed NumPy archive",
        ["files", "packed.npz"],
        Format::Bytes,
        "convert packed.npz new.safetensors",
    ),
    target(
        "NumPy array",
        ["files", "single.npy"],
        Format::Bytes,
        "convert single.npy new.safetensors",
    ),
    target(
        "GGUF file of every type",
        ["files", "quantized.gguf"],
        Format::Gguf,
        "convert quantized.gguf new.safetensors",
    ),
    target(
        "PyTorch file to list",
        ["files", "zip-2.pt"],
        Format::Bytes,
        "inspect zip-2.pt --stats",
    ),
    target(
        "weights to convert",
        ["llama", "model.safetensors"],
        Format::Safetensors,
        "convert model.safetensors new.gguf --dtype q8_0",
    ),
    target(
        "weights in a file of PyTorch's",
        ["llama-pickled", "pytorch_model.bin"],
        Format::Bytes,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "weights in several files of PyTorch's",
        ["llama-pickled-shards", "pytorch_model-00002-of-00002.bin"],
        Format::Bytes,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "index of files of PyTorch's",
        ["llama-pickled-shards", "pytorch_model.bin.index.json"],
        Format::Text,
        "logits . --ids 1,2,3 --out new",
    ),
    target(
        "configuration of GPT-2 to describe",
        ["gpt2", "config.json"],
        Format::Text,
        "convert . new.gguf",
    ),
    target(
        "configuration of Gemma 3 to describe",
        ["gemma3", "config.json"],
        Format::Text,
        "convert . new.gguf",
    ),
    target(
        "weights of BERT to describe",
        ["bert", "model.safetensors"],
        Format::Safetensors,
        "convert . new.gguf",
    ),
    target(
        "configuration to describe with rules",
        ["llama-yarn-rope", "config.json"],
        Format::Text,
        "convert . new.gguf --rename model.*=model.*",
    ),
    target(
        "tokenizer of pairs to describe",
        ["chat", "tokenizer.json"],
        Format::Text,
        "convert . new.gguf",
    ),
    target(
        "tokenizer of pieces to describe",
        ["pieces", "tokenizer.json"],
        Format::Text,
        "convert . new.gguf",
    ),
    target(
        "tokenizer of words to describe",
        ["words", "tokenizer.json"],
        Format::Text,
        "convert . new.gguf",
    ),
    target(
        "GGUF model of BERT",
        ["words", "model.gguf"],
        Format::Gguf,
        "logits model.gguf --ids 1,2,3 --out new",
    ),
    target(
        "index to convert",
        ["mistral-window", "model.safetensors.index.json"],
        Format::Text,
        "convert model.safetensors.index.json new",
    ),
];
