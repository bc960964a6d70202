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
        let scores = file.load("logits", &candle_core::Device::Cpu).unwrap();
        scores.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    for name in ["llama", "llama-grouped-tied", "llama-linear-rope", "qwen3"] {
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
        ("gpt2", "of gpt2 is not written"),
        ("qwen2", "norms or windows of qwen2 is not written"),
        ("gemma3", "of gemma3_text is not written"),
        ("llama-yarn-rope", "this form of its positions"),
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
