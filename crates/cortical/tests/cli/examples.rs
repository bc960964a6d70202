//! Every example that `--help` shows works as it is printed, in a shell.

use std::path::Path;
use std::process::Command;

use candle_core::{DType, Device, Tensor};
use cortical_models::language::{LoadOptions, open};
use cortical_neuron::{Layer, Pass};
use cortical_train::TrainedModel;

use crate::support::{Place, Said};

/// The verbs with examples of their own; the empty one is the command itself.
const VERBS: [&str; 19] = [
    "",
    "data",
    "train",
    "search",
    "resume",
    "eval",
    "predict",
    "inspect",
    "diff",
    "prune",
    "neurons",
    "verify",
    "report",
    "generate",
    "chat",
    "logits",
    "merge",
    "tokens",
    "perplexity",
];

/// The examples on a page of help, as a person copies them: lines that end in a backslash go on in the next one.
fn examples(help: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for line in help.lines() {
        match all.last_mut() {
            Some(last) if last.ends_with('\\') => *last += &format!("\n{line}"),
            _ if line.starts_with("  cortical ") => all.push(line.trim().to_owned()),
            _ => {}
        }
    }
    // What stands behind two spaces is a remark.
    let command = |line: String| line.split("  ").next().unwrap_or_default().to_owned();
    all.into_iter()
        .map(|line| {
            if line.contains('\n') {
                line
            } else {
                command(line)
            }
        })
        .collect()
}

/// What makes a training of an example short; the rest of it stays as it is printed.
fn shortened(example: &str) -> String {
    let writes = ["cortical chat", "cortical generate"];
    if writes.iter().any(|verb| example.starts_with(verb)) && !example.contains(" -n ") {
        // The small model has few positions.
        return format!("{example} --max-tokens 8");
    }
    if example.starts_with("cortical prune smollm2.gguf") {
        return format!("{example} --tokens 100 --test notes.txt");
    }
    if example.starts_with("cortical neurons") {
        return format!("{example} --inputs 40 --silence 4");
    }
    if example.starts_with("cortical search") {
        let few = example
            .replace("--trials 20", "--trials 2")
            .replace("--folds 5", "--folds 2");
        return format!(
            "{} --set train.max_steps=2",
            few.replace("--trials 27", "--trials 3")
        );
    }
    let is_text = ["llama-tiny", "smollm2.gguf"]
        .iter()
        .any(|model| example.contains(model));
    match () {
        () if !example.starts_with("cortical train") || example.contains("--print-recipe") => {
            example.to_owned()
        }
        () if example.contains("--find-lr") => format!("{example} --set train.max_steps=12"),
        () if is_text => format!(
            "{example} --batch 2 --set train.max_steps=2 --set train.block=16 --set train.eval_blocks=1 --set train.sample_tokens=0"
        ),
        () => format!("{example} --set train.max_steps=3"),
    }
}

/// The files that the examples speak of.
fn furnish(place: &Place) {
    let run = |line: &str| {
        place.run(line).expect(0);
    };
    let flowers = "5.1,3.5,1.4,0.2,setosa\n7.0,3.2,4.7,1.4,versicolor\n6.3,3.3,6.0,2.5,virginica\n";
    for name in ["flowers.csv", "more-flowers.csv", "table.csv"] {
        place.write(name, flowers.repeat(8));
    }
    place.write("prompts.jsonl", "\"the sea\"\n{\"prompt\": \"a whale\"}\n");
    let houses: String = (0..40)
        .map(|i| format!("{i},{},{}\n", i % 7, 100 * i))
        .collect();
    place.write("houses.csv", "area,rooms,price\n".to_owned() + &houses);
    place.write(
        "shells.csv",
        "length,sex,rings\n".to_owned() + &"0.4,M,a\n0.6,I,b\n".repeat(8),
    );
    for name in ["text.txt", "moby-dick.txt", "notes.txt"] {
        place.write(
            name,
            "the sea, the open sea, and the white whale in it. ".repeat(40),
        );
    }
    place.write(
        "reviews.csv",
        "text,label\n".to_owned() + &"good,pos\nbad,neg\n".repeat(10),
    );
    let digits = "train --data digits --epochs 1 --set train.max_steps=2 --quiet";
    run(&format!("{digits} --out runs/digits-001"));
    run("train --data iris --epochs 1 --quiet --out runs/iris-001");
    let idx = |name: &str, magic: u8, sizes: &[u32], bytes: Vec<u8>| {
        let sizes = sizes.iter().flat_map(|size| size.to_be_bytes());
        let head = [0, 0, 8, magic].into_iter().chain(sizes);
        place.write(name, head.chain(bytes).collect::<Vec<u8>>());
    };
    std::fs::create_dir_all(place.path(".cache/fashion-mnist")).unwrap();
    for (part, count) in [("train", 40_u32), ("t10k", 20)] {
        let name = |kind: &str| format!(".cache/fashion-mnist/{part}-{kind}-ubyte");
        let labels = (0..count).map(|i| (i % 10) as u8).collect();
        idx(&name("labels-idx1"), 1, &[count], labels);
        let pixels = (0..count * 784).map(|i| (i % 251) as u8).collect();
        idx(&name("images-idx3"), 3, &[count, 28, 28], pixels);
    }
    let images = place.read(".cache/fashion-mnist/t10k-images-idx3-ubyte");
    place.write("t10k-images-idx3-ubyte.gz", images);
    run("train --data fashion-mnist --epochs 1 --quiet --out runs/fashion-mnist-001");
    let text = "train --model llama-tiny --data text.txt --batch 2 --quiet --set train.block=16 --set train.max_steps=1";
    run(&format!("{text} --out base"));
    let small = "--data text.txt --batch 2 --quiet --set train.block=16 --set train.max_steps=1";
    run(&format!(
        "train --model base {small} --set lora.rank=2 --out runs/smollm2-001"
    ));
    run(&format!("{text} --out runs/llama-tiny-001"));
    // One small model stands for all that a reader would bring; a folder is opened as a file is.
    for name in [
        "smollm2.gguf",
        "models/smollm2",
        "models/gpt2",
        "models/tinyllama",
        "models/bert",
        "model.gguf",
        "a-folder-from-hugging-face",
    ] {
        copy(&place.path("base"), &place.path(name));
        let turns = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}";
        place.write(&format!("{name}/chat_template.jinja"), turns);
    }
    copy(
        &place.path("runs/digits-001"),
        &place.path("runs/digits-002"),
    );
    references(place);
    let trained = place.read("runs/iris-001/model.safetensors");
    for name in ["model", "before", "after"] {
        place.write(&format!("{name}.safetensors"), &trained);
    }
    std::fs::write(place.path("x.csv"), "0,".repeat(63) + "0\n").unwrap();
}

/// What another implementation would have computed with the models that `verify` is shown with.
fn references(place: &Place) {
    let write = |name: &str, input: &Tensor, output: &Tensor| {
        let tensors = [("input", input), ("output", output)];
        let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor.clone()));
        cortical_io::save_tensors(place.path(name), &tensors, &Default::default()).unwrap();
    };
    let lenet = place.path("runs/fashion-mnist-001/model.safetensors");
    let lenet = TrainedModel::load(&lenet, &Device::Cpu).unwrap();
    let input = Tensor::ones((2, 1, 28, 28), DType::F32, &Device::Cpu).unwrap();
    let output = lenet.network().forward(&input, &mut Pass::eval()).unwrap();
    write("lenet.safetensors", &input, &output);
    let options = LoadOptions::default();
    let language = open(place.path("models/smollm2"), &options).unwrap().model;
    let input = Tensor::new(&[[1_u32, 5, 7]], &Device::Cpu).unwrap();
    let output = language.logits(&input, None, &mut Pass::eval()).unwrap();
    write("smollm2-pytorch.safetensors", &input, &output);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn every_example_of_help_works_as_it_is_printed() {
    let place = Place::new();
    furnish(&place);
    let program = env!("CARGO_BIN_EXE_cortical");
    let mut failed = String::new();
    let mut count = 0;
    for verb in VERBS {
        let help = place.run(&format!("{verb} --help")).expect(0).out;
        for example in examples(&help) {
            // The shell finds the command under the name that is printed.
            let line = format!(
                "cortical() {{ '{program}' \"$@\"; }}\n{}",
                shortened(&example)
            );
            let mut shell = Command::new("sh");
            shell.args(["-c", &line]).current_dir(place.path("."));
            let said = Said::from(shell.stdin(std::process::Stdio::null()).output().unwrap());
            if said.code != Some(0) {
                failed += &format!("$ {example}\n{}\n", said.err);
            }
            count += 1;
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(count >= 40, "only {count} examples were found");
}
