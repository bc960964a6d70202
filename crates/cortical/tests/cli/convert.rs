//! `cortical convert`: from one format to another, in little memory.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use crate::support::Place;

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../cortical-io/tests/fixtures")
        .join(name);
    path.display().to_string()
}

#[test]
fn a_checkpoint_becomes_safetensors() {
    let place = Place::new();
    let from = fixture("pytorch/zip-2.pt");
    let rules = [
        "--rename",
        "state_dict.*=*",
        "--rename",
        "list.*=",
        "--rename",
        "7=",
    ];
    let convert = |more: &[&str]| {
        let args = ["convert", &from, "model.safetensors"]
            .into_iter()
            .chain(rules);
        place
            .command(args.chain(more.iter().copied()))
            .output()
            .unwrap()
    };
    let said = crate::support::Said::from(convert(&["--dtype", "bf16", "--json"])).expect(0);
    let value = said.json();
    assert_eq!(
        (&value["format"], &value["left_out"]),
        (&"PyTorch".into(), &3.into())
    );
    let listed = place.run("inspect model.safetensors").expect(0).out;
    assert!(
        listed.contains("30 parameters in 9 tensors") && listed.contains("BF16"),
        "{listed}"
    );
    // What is there is not replaced unasked, and what is read never.
    let said = crate::support::Said::from(convert(&[])).expect(2);
    assert!(said.err.contains("exists already"), "{}", said.err);
    crate::support::Said::from(convert(&["--force"])).expect(0);
    let said = place
        .run("convert model.safetensors model.safetensors --force")
        .expect(2);
    assert!(
        said.err.contains("is what this command reads"),
        "{}",
        said.err
    );
    let said = place.run("convert model.safetensors model.txt").expect(2);
    assert!(
        said.err.contains("no ending that says a format"),
        "{}",
        said.err
    );
    let said = place
        .run("convert model.safetensors x.gguf --rename a")
        .expect(2);
    assert!(said.err.contains("is no rule"), "{}", said.err);
}

#[test]
fn what_would_run_is_refused_by_its_name() {
    let place = Place::new();
    let from = fixture("pytorch/refused/system.pt");
    let said = place
        .command(["convert", &from, "model.safetensors"])
        .output()
        .unwrap();
    let said = crate::support::Said::from(said).expect(1);
    assert!(said.err.contains("posix.system"), "{}", said.err);
    assert!(!place.path("model.safetensors").exists());
}

/// The most memory that a process has had, while it runs.
#[cfg(target_os = "linux")]
fn peak_mib(mut child: std::process::Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak >> 10;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn large_files_take_little_memory() {
    let place = Place::new();
    // 192 MiB that take no room on the disk: two matrices of zeros.
    let header = r#"{"a":{"dtype":"F32","shape":[24576,1024],"data_offsets":[0,100663296]},"b":{"dtype":"F32","shape":[24576,1024],"data_offsets":[100663296,201326592]}}"#;
    let mut file = std::fs::File::create(place.path("large.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes())
        .unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.seek(SeekFrom::Current(201_326_592 - 1)).unwrap();
    file.write_all(&[0]).unwrap();
    for args in [
        "large.safetensors again.safetensors",
        "large.safetensors split --shard 100MB",
        "split half.safetensors --dtype bf16",
        "half.safetensors small.gguf --dtype q8_0",
        "small.gguf kept.safetensors",
        "small.gguf numbers.npz --dtype f16",
    ] {
        let child = place
            .command(format!("convert {args} --quiet").split(' '))
            .spawn()
            .unwrap();
        let peak = peak_mib(child);
        assert!((1..=64).contains(&peak), "{args}: {peak} MiB");
    }
}

/// A folder of a published architecture, small and with random weights.
fn model(place: &Place, name: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../cortical-models/fixtures")
        .join(name);
    std::fs::create_dir_all(place.path(name)).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::copy(from.join(file), place.path(name).join(file)).unwrap();
    }
}

#[test]
fn a_folder_becomes_a_gguf_file_that_computes_the_same() {
    let place = Place::new();
    let logits = |model: &str, out: &str| {
        place
            .run(&format!("logits {model} --ids 1,2,3,4 --out {out}"))
            .expect(0);
        let file = cortical_io::TensorFile::open(place.path(out)).unwrap();
        // What sees the whole text has no scores of tokens.
        let mut names = ["logits", "last_hidden_state"].into_iter();
        let name = names.find(|name| file.info(name).is_some()).unwrap();
        let scores = file.load(name, &candle_core::Device::Cpu).unwrap();
        scores.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    for name in [
        "llama",
        "llama-grouped-tied",
        "llama-linear-rope",
        "llama-yarn-rope",
        "llama3-rope",
        "qwen3",
        "gpt2",
        "gemma2",
        "gemma3",
        "phi3",
        "phi3-longrope",
        "olmo2",
        "smollm3",
        "bert",
    ] {
        model(&place, name);
        let said = place.run(&format!("convert {name} {name}.gguf")).expect(0);
        assert!(said.err.contains("no usable tokenizer"), "{}", said.err);
        let want = logits(name, "a.safetensors");
        let got = logits(&format!("{name}.gguf"), "b.safetensors");
        let far = want
            .iter()
            .zip(&got)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(far < 1e-5, "{name}: {far}");
        std::fs::remove_file(place.path("a.safetensors")).unwrap();
        std::fs::remove_file(place.path("b.safetensors")).unwrap();
    }
    for (name, what) in [
        (
            "gpt2-scaled",
            "its activation function of gpt2 is not written",
        ),
        (
            "qwen2",
            "a window of attention in some of its blocks of qwen2 is not written",
        ),
        (
            "llama-dynamic-rope",
            "positions scaled dynamically of llama",
        ),
    ] {
        model(&place, name);
        let said = place.run(&format!("convert {name} {name}.gguf")).expect(1);
        assert!(said.err.contains(what), "{name}: {}", said.err);
        assert!(!place.path(&format!("{name}.gguf")).exists());
    }
    // With a tokenizer of pairs over bytes.
    let tokenizer = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null, "added_tokens": [
{"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
"decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
"model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false, "byte_fallback": false,
"vocab": {"a": 1, "e": 3, "h": 4, "s": 5, "t": 6, "th": 7, "the": 8, "Ġ": 9, "se": 10, "sea": 11, "Ġsea": 12},
"merges": [["t", "h"], ["th", "e"], ["s", "e"], ["se", "a"], ["Ġ", "sea"]]}}"#;
    place.write("llama/tokenizer.json", tokenizer);
    place
        .run("convert llama llama.gguf --force --quiet")
        .expect(0);
    let tokens = |model: &str| {
        let said = place
            .command(["tokens", model, "the sea the"])
            .output()
            .unwrap();
        crate::support::Said::from(said).expect(0).out
    };
    assert_eq!(tokens("llama"), tokens("llama.gguf"));
}

/// A GGUF file that Python wrote as llama.cpp's converter does, and the one that we write of the same folder.
#[test]
fn a_gguf_file_has_the_tensors_of_llama_cpps_converter() {
    let place = Place::new();
    for name in [
        "llama",
        "llama-grouped-tied",
        "qwen3",
        "gemma2",
        "gemma3",
        "phi3",
        "phi3-longrope",
        "olmo2",
        "smollm3",
    ] {
        model(&place, name);
        place
            .run(&format!("convert {name} {name}.gguf --quiet"))
            .expect(0);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cortical-models/fixtures");
        let theirs = cortical_io::AnyModel::open(fixtures.join(name).join("model.gguf")).unwrap();
        let ours = cortical_io::AnyModel::open(place.path(&format!("{name}.gguf"))).unwrap();
        assert_eq!(theirs.tensors().len(), ours.tensors().len(), "{name}");
        for tensor in theirs.tensors() {
            let own = ours.info(tensor.name());
            assert_eq!(own, Some(tensor), "{name}");
            let [mut a, mut b] = [0; 2].map(|_| vec![0; tensor.bytes() as usize]);
            theirs.read_bytes(tensor.name(), 0, &mut a).unwrap();
            ours.read_bytes(tensor.name(), 0, &mut b).unwrap();
            assert_eq!(a, b, "{name}: {}", tensor.name());
        }
    }
    // What llama.cpp adds to sums of single precision is in single precision, whatever the rest is.
    model(&place, "llama-bf16");
    place
        .run("convert llama-bf16 halves.gguf --quiet")
        .expect(0);
    let halves = cortical_io::AnyModel::open(place.path("halves.gguf")).unwrap();
    for (tensor, kind) in [
        ("output_norm.weight", "F32"),
        ("blk.0.attn_q.weight", "BF16"),
    ] {
        assert_eq!(halves.info(tensor).unwrap().kind().name(), kind);
    }
}

#[test]
fn names_are_changed_before_a_model_is_described() {
    let place = Place::new();
    model(&place, "llama");
    place
        .run("convert llama prefixed --rename *=module.* --quiet")
        .expect(0);
    std::fs::copy(
        place.path("llama/config.json"),
        place.path("prefixed/config.json"),
    )
    .unwrap();
    let said = place.run("convert prefixed x.gguf").expect(1);
    assert!(
        said.err.contains("fit with the rule 'module.*=*'"),
        "{}",
        said.err
    );
    place
        .run("convert prefixed x.gguf --rename module.*=* --quiet")
        .expect(0);
    place.run("convert llama y.gguf --quiet").expect(0);
    let [x, y] = ["x.gguf", "y.gguf"].map(|name| std::fs::read(place.path(name)).unwrap());
    assert!(x == y);
    // A name with what has a meaning in rules, of a tensor that is left out.
    let cpu = candle_core::Device::Cpu;
    let file = cortical_io::TensorFile::open(place.path("llama/model.safetensors")).unwrap();
    let mut tensors = file.load_all(&cpu).unwrap();
    let spare = tensors[0].1.clone();
    tensors.push(("a*=.rotary_emb.inv_freq".to_owned(), spare));
    let path = place.path("llama/model.safetensors");
    cortical_io::save_tensors(path, &tensors, &Default::default()).unwrap();
    place.run("convert llama spare.gguf --quiet").expect(0);
    let spare = std::fs::read(place.path("spare.gguf")).unwrap();
    assert_eq!(spare.len(), y.len());
    let config = std::fs::read_to_string(place.path("llama/config.json")).unwrap();
    let config = config.replace("\"llama\"", "\"mine\"");
    place.write("prefixed/config.json", &config);
    let said = place.run("convert prefixed z.gguf").expect(1);
    assert!(
        said.err
            .contains("called as those of llama, with --rename 'module.*=*'"),
        "{}",
        said.err
    );
}

#[test]
fn tokens_of_pieces_and_words_are_written() {
    let place = Place::new();
    model(&place, "llama");
    let pieces = r#"{"version": "1.0", "truncation": null, "padding": null, "post_processor": null, "pre_tokenizer": null,
"added_tokens": [{"id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
"decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]},
"model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
"vocab": {"<unk>": 0, "<0x61>": 1, "▁the": 2, "th": 3, "▁th": 4, "e": 5, "h": 6, "s": 7, "t": 8, "▁": 9, "se": 10, "the": 11},
"merges": [["▁t", "he"], ["t", "h"], ["▁", "th"], ["th", "e"], ["▁th", "e"], ["▁", "the"], ["s", "e"]]}}"#;
    let tokens = |model: &str| {
        let said = place
            .command(["tokens", model, "the sea the set"])
            .output()
            .unwrap();
        crate::support::Said::from(said).expect(0).out
    };
    place.write(
        "llama/tokenizer.json",
        pieces.replace("[\"▁t\", \"he\"], ", ""),
    );
    let said = place.run("convert llama llama.gguf").expect(0);
    assert_eq!(said.err, "");
    assert_eq!(tokens("llama"), tokens("llama.gguf"));
    let file = cortical_io::GgufFile::open(place.path("llama.gguf")).unwrap();
    let scores = file.value("tokenizer.ggml.scores").unwrap();
    let scores = scores.as_floats().unwrap();
    // In the order in which merges first make them: th, ▁th, the, ▁the, se.
    assert_eq!(
        [3, 4, 11, 2, 10].map(|id| scores[id]),
        [-0.0, -1.0, -2.0, -3.0, -4.0]
    );
    // What llama.cpp would join and the tokenizer does not.
    place.write(
        "llama/tokenizer.json",
        pieces
            .replace("[\"▁t\", \"he\"], ", "")
            .replace(", [\"▁\", \"the\"]", ""),
    );
    let said = place.run("convert llama llama.gguf --force").expect(0);
    assert!(
        said.err.contains("are never joined, and llama.cpp would"),
        "{}",
        said.err
    );
    let words = r###"{"version": "1.0", "truncation": null, "padding": null, "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
"added_tokens": [{"id": 1, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
"normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
"pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": null,
"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
"vocab": {"[UNK]": 0, "[CLS]": 1, "sea": 2, "##s": 3}}}"###;
    model(&place, "bert");
    place.write("bert/tokenizer.json", words);
    place.write("bert/tokenizer_config.json", r#"{"cls_token": "[CLS]"}"#);
    std::fs::create_dir(place.path("bert/1_Pooling")).unwrap();
    place.write(
        "bert/1_Pooling/config.json",
        r#"{"pooling_mode_mean_tokens": true}"#,
    );
    let said = place.run("convert bert bert.gguf").expect(0);
    assert!(
        said.err.contains("GELU by its approximation")
            && said.err.contains("its pooler is left out"),
        "{}",
        said.err
    );
    let file = cortical_io::GgufFile::open(place.path("bert.gguf")).unwrap();
    let texts = file.value("tokenizer.ggml.tokens").unwrap();
    assert_eq!(
        texts.as_texts().unwrap()[..4],
        ["▁[UNK]", "[CLS]", "▁sea", "s"]
    );
    for (key, want) in [
        ("tokenizer.ggml.cls_token_id", 1),
        ("tokenizer.ggml.bos_token_id", 1),
        ("bert.pooling_type", 1),
    ] {
        assert_eq!(
            file.value(key).and_then(|value| value.as_u64()),
            Some(want),
            "{key}"
        );
    }
    place.write(
        "bert/tokenizer.json",
        words.replace("\"lowercase\": true", "\"lowercase\": false"),
    );
    let said = place.run("convert bert bert.gguf --force").expect(0);
    assert!(said.err.contains("that knows no capitals"), "{}", said.err);
}
