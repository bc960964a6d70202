//! What is damaged: small files of every kind that the command reads, made by the command itself or taken from the
//! fixtures of its crates.

use super::checksums::stored_gzip;
use super::gguf;
use super::judge::Judge;
use super::targets::Target;
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A run of a few steps that stops at checkpoints.
const RECIPE: &str = r#"version = 2
[data]
name = "iris"
[model]
kind = "mlp"
hidden = [4]
dropout = 0.2
[optim]
kind = "adamw"
lr = 0.02
[schedule]
kind = "cosine"
[train]
epochs = 2
batch_size = 32
label_smoothing = 0.1
[average]
kind = "ema"
decay = 0.9
[checkpoint]
every_steps = 4
"#;

const TEXT_RECIPE: &str = r#"version = 2
model = "llama-tiny"
[data]
name = "text.txt"
[train]
block = 16
batch_size = 2
max_steps = 1
sample_tokens = 2
[schedule]
warmup_steps = 0
"#;

/// Byte-pair encoding with fewer pieces than the fixtures' models know.
const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [
{"id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
{"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
"post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
"decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
"model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": false, "byte_fallback": false,
"vocab": {"<unk>": 0, "a": 1, "</s>": 2, "e": 3, "h": 4, "s": 5, "t": 6, "th": 7, "the": 8, "Ġ": 9, "se": 10, "sea": 11, "Ġsea": 12},
"merges": [["t", "h"], ["th", "e"], ["s", "e"], ["se", "a"], ["Ġ", "sea"]]}}
"#;

/// Pieces of SentencePiece's.
const PIECES: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "post_processor": null, "pre_tokenizer": null,
"added_tokens": [{"id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
"decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
"model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
"vocab": {"<unk>": 0, "<0x61>": 1, "▁the": 2, "th": 3, "▁th": 4, "e": 5, "h": 6, "s": 7, "t": 8, "▁": 9, "se": 10, "the": 11},
"merges": [["t", "h"], ["▁", "th"], ["th", "e"], ["▁th", "e"], ["▁", "the"], ["s", "e"]]}}
"#;

/// Words of BERT's.
const WORDS: &str = r###"{"version": "1.0", "truncation": null, "padding": null, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
"added_tokens": [{"id": 1, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
"pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
"vocab": {"[UNK]": 0, "[CLS]": 1, "sea": 2, "##s": 3}}}
"###;

const TEMPLATE: &str = "{%- for message in messages %}{{ '<' + message['role'] + '>' + message.content | trim }}{% if loop.last %}the{% endif %}{%- endfor %}";

/// Where whole files lie.
pub(super) struct Seeds {
    folder: PathBuf,
}

impl Seeds {
    /// Makes them anew.
    pub(super) fn make(root: &Path, folder: &Path, judge: &Judge) -> Result<Self> {
        let seeds = Self {
            folder: folder.join("seeds"),
        };
        seeds.tables()?;
        seeds.pictures(root)?;
        seeds.runs(judge)?;
        seeds.language_models(root)?;
        seeds.described(root, judge)?;
        seeds.files(root)?;
        Ok(seeds)
    }

    /// A fresh copy of what `target` starts from.
    pub(super) fn copy(&self, target: &Target, to: &Path) -> Result<()> {
        let _ = fs::remove_dir_all(to);
        copy(&self.folder.join(target.folder), to)
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.folder.join(file);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        fs::write(&path, content).map_err(Error::file("write", &path))
    }

    fn tables(&self) -> Result<()> {
        let row = |i: usize| {
            format!(
                "{},{}.5,{},{}\n",
                i % 7,
                i % 5,
                ["1", "\"2.5\"", "3e2"][i % 3],
                ["yes", "no"][i % 2]
            )
        };
        let table: String = (0..40).map(row).collect();
        let table = format!("length,width,colour,label\n{table}");
        self.write("packed/t.csv.gz", stored_gzip(table.as_bytes()))?;
        self.write("table/t.csv", table)?;
        let images: Vec<u8> = (0..40 * 4).map(|i| (i * 7 % 251) as u8).collect();
        let labels: Vec<u8> = (0..40).map(|i| i % 2).collect();
        for part in ["train", "t10k"] {
            let header = [0, 0, 8, 3, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 2];
            for (name, bytes) in [
                ("images-idx3", [&header[..], &images].concat()),
                (
                    "labels-idx1",
                    [&[0, 0, 8, 1, 0, 0, 0, 40][..], &labels].concat(),
                ),
            ] {
                let packed = format!("packed/idx/{part}-{name}-ubyte.gz");
                self.write(&packed, stored_gzip(&bytes))?;
                self.write(&format!("idx/idx/{part}-{name}-ubyte"), bytes)?;
            }
        }
        Ok(())
    }

    fn pictures(&self, root: &Path) -> Result<()> {
        let from = root.join("crates/cortical-data/data/test");
        for (folder, name) in [
            ("png", "dots.png"),
            ("jpg", "halves.jpg"),
            ("exif", "exif3.jpg"),
        ] {
            let path = from.join(name);
            let picture = fs::read(&path).map_err(Error::file("read", &path))?;
            for place in ["a", "b"] {
                self.write(&format!("{folder}/pictures/{place}/{name}"), &picture)?;
                self.write(&format!("{folder}/pictures/{place}/other-{name}"), &picture)?;
            }
        }
        Ok(())
    }

    /// What other libraries write.
    fn files(&self, root: &Path) -> Result<()> {
        let from = root.join("crates/cortical-io/tests/fixtures");
        for name in [
            "pytorch/zip-2.pt",
            "pytorch/zip-5.pt",
            "pytorch/legacy-2.pt",
            "pytorch/views-legacy.pt",
            "pytorch/tar.pt",
            "numpy/arrays.npz",
            "numpy/packed.npz",
            "numpy/single.npy",
            "gguf/quantized.gguf",
        ] {
            let path = from.join(name);
            let bytes = fs::read(&path).map_err(Error::file("read", &path))?;
            let name = name.rsplit('/').next().unwrap_or(name);
            self.write(&format!("files/{name}"), bytes)?;
        }
        Ok(())
    }

    fn runs(&self, judge: &Judge) -> Result<()> {
        self.write("recipe/recipe.toml", RECIPE)?;
        self.write("text/recipe.toml", TEXT_RECIPE)?;
        self.write(
            "text/text.txt",
            "the sea, the open sea, and the white whale in it. ".repeat(8),
        )?;
        self.write("finished/recipe.toml", RECIPE)?;
        self.write(
            "finished/t.csv",
            "a,b,c,d\n5.1,3.5,1.4,0.2\n6.2,2.9,4.3,1.3\n",
        )?;
        let folder = self.folder.join("finished");
        let status = judge
            .command("train --recipe recipe.toml --out run --quiet", &folder)
            .stdout(Stdio::null())
            .status()
            .map_err(Error::file("train in", &folder))?;
        if !status.success() {
            return Err(Error::Failed {
                line: "cortical train --recipe recipe.toml".to_owned(),
                status: status.to_string(),
            });
        }
        let stopped = self.folder.join("stopped");
        copy(&folder, &stopped)?;
        // A run without its model and report is one that was stopped.
        for file in [
            "run/model.safetensors",
            "run/report.json",
            "run/report.html",
        ] {
            let path = stopped.join(file);
            fs::remove_file(&path).map_err(Error::file("remove", path))?;
        }
        Ok(())
    }

    fn language_models(&self, root: &Path) -> Result<()> {
        let fixtures = root.join("crates/cortical-models/fixtures");
        for name in [
            "llama",
            "gpt2",
            "bert",
            "gemma3",
            "llama-yarn-rope",
            "llama-pickled",
            "llama-pickled-shards",
            "mistral-window",
        ] {
            copy(&fixtures.join(name), &self.folder.join(name))?;
        }
        copy(&fixtures.join("llama"), &self.folder.join("adapter/llama"))?;
        for name in ["lora-head", "lora-patterns"] {
            copy(
                &fixtures.join(name),
                &self.folder.join("adapter").join(name),
            )?;
        }
        copy(&fixtures.join("llama"), &self.folder.join("chat"))?;
        let references = root.join("crates/cortical-explain/tests/references");
        copy(&references.join("llama"), &self.folder.join("verify/llama"))?;
        let reference = references.join("llama.reference.safetensors");
        let dump = fs::read(&reference).map_err(Error::file("read", &reference))?;
        self.write("verify/reference.safetensors", dump)?;
        self.write("chat/tokenizer.json", TOKENIZER)?;
        self.write("chat/chat_template.jinja", TEMPLATE)?;
        let settings = r#"{"bos_token": "<unk>", "eos_token": "</s>", "add_bos_token": true, "model_max_length": 64}"#;
        self.write("chat/tokenizer_config.json", settings)?;
        self.write("chat/text.txt", "the sea the sea ".repeat(20))?;
        self.write("gguf/model.gguf", gguf::tokenizer())?;
        self.write("quantized/model.gguf", gguf::quantized_model())
    }
}

impl Seeds {
    /// Models whose tokenizers llama.cpp is told of, and a GGUF file of a kind that no fixture has.
    fn described(&self, root: &Path, judge: &Judge) -> Result<()> {
        let fixtures = root.join("crates/cortical-models/fixtures");
        copy(&fixtures.join("llama"), &self.folder.join("pieces"))?;
        self.write("pieces/tokenizer.json", PIECES)?;
        copy(&fixtures.join("bert"), &self.folder.join("words"))?;
        self.write("words/tokenizer.json", WORDS)?;
        let folder = self.folder.join("words");
        let status = judge
            .command("convert . ../bert.gguf --quiet", &folder)
            .stdout(Stdio::null())
            .status()
            .map_err(Error::file("convert in", &folder))?;
        let (made, place) = (self.folder.join("bert.gguf"), folder.join("model.gguf"));
        if !status.success() {
            return Err(Error::Failed {
                line: "cortical convert . ../bert.gguf".to_owned(),
                status: status.to_string(),
            });
        }
        fs::rename(&made, &place).map_err(Error::file("move", made))
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::file("make", to))?;
    for entry in fs::read_dir(from).map_err(Error::file("list", from))? {
        let entry = entry.map_err(Error::file("list", from))?;
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &place)?;
        } else {
            fs::copy(&path, &place).map_err(Error::file("copy", &path))?;
        }
    }
    Ok(())
}
