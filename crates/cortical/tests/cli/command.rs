//! The command from outside: what each verb prints, and its exit code.

use std::io::Read;
use std::process::Stdio;

use crate::support::{Place, QUICK};
use serde_json::json;

#[test]
fn every_verb_has_help_with_an_example() {
    let place = Place::new();
    for verb in ["train", "resume", "eval", "predict", "inspect", "data"] {
        let said = place.run(&format!("{verb} --help")).expect(0);
        for part in [
            &format!("cortical {verb}")[..],
            "Example",
            "--json",
            "--seed",
            "--quiet",
            "--threads",
        ] {
            assert!(said.out.contains(part), "{verb}: {part}\n{}", said.out);
        }
        assert_eq!(said.err, "");
    }
    let said = place.run("--help").expect(0);
    assert!(said.out.contains("cortical train"), "{}", said.out);
    assert!(
        place
            .run("--version")
            .expect(0)
            .out
            .starts_with("cortical ")
    );
}

#[test]
fn shells_and_manuals_know_every_verb() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = place.run(&format!("completions {shell}")).expect(0);
        for part in ["perplexity", "find-lr", "top-p"] {
            assert!(said.out.contains(part), "{shell}: {part}");
        }
    }
    // The shell itself takes it.
    let script = place.run("completions bash").expect(0).out;
    place.write("cortical.bash", &script);
    let checked = std::process::Command::new("bash")
        .args(["-c", "source cortical.bash && COMP_WORDS=(cortical perp) COMP_CWORD=1 && _cortical cortical perp cortical && echo \"${COMPREPLY[*]}\""])
        .current_dir(place.path(""))
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&checked.stdout).trim(),
        "perplexity"
    );
    place.run("completions nushell").expect(2);

    let page = place.run("man").expect(0).out;
    assert!(page.contains("cortical\\-train") || page.contains("cortical-train"));
    let page = place.run("man train").expect(0).out;
    assert!(
        page.contains("find\\-lr") && page.contains("threads"),
        "{page}"
    );
    let said = place.run("man trian").expect(2);
    assert!(said.err.contains("no verb \"trian\""), "{}", said.err);
    let written = place.run("man --out pages --json").expect(0).json();
    let pages = written["pages"].as_array().unwrap();
    assert!(pages.len() > 20, "{written}");
    for page in pages {
        let text = place.read(format!("pages/{}", page.as_str().unwrap()));
        assert!(text.starts_with(b".ie"), "{page}");
    }
}

#[test]
fn machines_are_told_what_was_built_and_found() {
    let about = Place::new().run("--version --json").expect(0).json();
    assert!(about["threads"].as_u64() >= Some(1), "{about}");
    let isa = about["instruction_set"].as_str().unwrap();
    assert!(
        ["portable", "avx2", "avx512", "amx"].contains(&isa),
        "{about}"
    );
    assert!(about["features"].is_array(), "{about}");
}

#[test]
fn one_way_through_every_verb() {
    let place = Place::new();
    let said = place.run(QUICK).expect(0);
    assert!(said.out.contains("test accuracy"), "{}", said.out);
    assert!(
        said.out
            .contains("true \\ predicted  setosa  versico  virgini"),
        "{}",
        said.out
    );
    assert!(said.err.contains("3/3"), "{}", said.err);
    assert!(
        !said.err.contains('\x1b') && !said.out.contains('\x1b'),
        "colours in a pipe"
    );
    for file in [
        "recipe.toml",
        "model.safetensors",
        "metrics.jsonl",
        "report.json",
    ] {
        assert!(place.path("runs/iris-001").join(file).is_file(), "{file}");
    }

    let headline = said
        .out
        .lines()
        .find(|line| line.starts_with("test accuracy"))
        .unwrap();
    let (figure, _) = headline.split_once(" after ").unwrap();
    let said = place.run("eval runs/iris-001").expect(0);
    assert!(
        said.out.trim_end().ends_with(figure),
        "{figure}\n{}",
        said.out
    );

    place.write("rows.csv", "5.1,3.5,1.4,0.2\n6.7,3.0,5.2,2.3\n");
    let said = place.run("predict runs/iris-001 rows.csv").expect(0);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.out);
    assert_eq!(lines[0], "  row  label      probability");
    assert!(lines[1].starts_with("    1  setosa"), "{}", said.out);

    let said = place.run("inspect runs/iris-001").expect(0);
    for part in [
        "weight  64 · 4   F32           256  49.71 %            256",
        "515 parameters in 4 tensors",
        "format: pt",
    ] {
        assert!(said.out.contains(part), "{part}\n{}", said.out);
    }
    assert!(place.run("data").expect(0).out.contains("digits"));
    assert!(place.run("data iris").expect(0).out.contains("setosa"));
    let said = place.run("data moby-dick").expect(0);
    assert!(said.out.contains("public domain"), "{}", said.out);
    let said = place.run("resume runs/iris-001").expect(0);
    assert!(said.err.contains("finished already"), "{}", said.err);
    // A second run takes the next number.
    place.run(&format!("{QUICK} --quiet")).expect(0);
    assert!(place.path("runs/iris-002/report.json").is_file());
}

#[test]
fn what_an_option_cannot_do_is_said() {
    let place = Place::new();
    for other in ["--tui", "--tensorboard", "--fast-dev-run"] {
        let said = place.run(&format!("train --data iris --find-lr {other}"));
        let said = said.expect(2);
        assert!(said.err.contains("cannot be used with"), "{}", said.err);
    }
    let said = place.run(&format!("{QUICK} --tui")).expect(0);
    let remark = "--tui draws on a terminal, and stderr is none";
    assert!(said.err.contains(remark), "{}", said.err);
    for (line, want) in [
        (
            "--data iris --set train.cutmix=1",
            "train.cutmix is a setting for pictures, and this recipe is for rows of numbers",
        ),
        (
            "--data digits --set data.label=foo",
            "data.label is a setting for CSV files, and this recipe is for data without columns",
        ),
        (
            "--data digits --set data.one_hot=[a]",
            "data.one_hot is a setting for CSV files",
        ),
        (
            "--data digits --set data.header=true",
            "data.header is a setting for CSV files",
        ),
        (
            "--data iris --set data.dir=x",
            "data.dir is a setting for data sets that are installed by name",
        ),
    ] {
        let said = place.run(&format!("train {line}")).expect(2);
        assert!(said.err.contains(want), "{line}: {}", said.err);
    }
}

#[test]
fn a_test_keeps_to_the_limits_of_its_run() {
    let place = Place::new();
    let line = "--out r --set train.limit_eval_batches=1 --set train.eval_batch_size=4";
    place.run(&format!("{QUICK} {line}")).expect(0);
    let report: serde_json::Value = serde_json::from_slice(&place.read("r/report.json")).unwrap();
    let said = place.run("eval r --data iris --label foo").expect(2);
    assert!(
        said.err.contains("found \"iris\", which has no columns"),
        "{}",
        said.err
    );
    let found = place.run("eval r --json").expect(0).json();
    assert_eq!(found["test_samples"], 4);
    assert_eq!(found["test_accuracy"], report["test"]["accuracy"]);
}

#[test]
fn every_verb_speaks_json() {
    let place = Place::new();
    let train = place
        .run(&format!("{QUICK} --out r --json"))
        .expect(0)
        .json();
    assert_eq!(train["run"], "r");
    assert_eq!(train["steps"], 21);
    assert!(train["train_seconds"].as_f64().unwrap() > 0.0);
    let accuracy = train["test_accuracy"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&accuracy));

    let resume = place.run("resume r --json").expect(0).json();
    assert_eq!(resume, train);
    let eval = place.run("eval r --json").expect(0).json();
    assert_eq!(eval["test_accuracy"], train["test_accuracy"]);
    assert_eq!(eval["confusion"], train["confusion"]);

    place.write(
        "rows.csv",
        "a,b,c,d,kind\n5.1,3.5,1.4,0.2,setosa\n6.7,3.0,5.2,2.3,setosa\n",
    );
    let predict = place.run("predict r rows.csv --json").expect(0).json();
    assert_eq!(predict["predictions"].as_array().unwrap().len(), 2);
    assert_eq!(predict["predictions"][0]["label"], "setosa");
    assert!(predict["predictions"][0]["probability"].as_f64().unwrap() > 0.3);
    assert!(predict["accuracy"].is_number());
    let eval = place
        .run("eval r/model.safetensors --data rows.csv --json")
        .expect(0)
        .json();
    assert_eq!(eval["test_accuracy"], predict["accuracy"]);

    let inspect = place.run("inspect r --json").expect(0).json();
    assert_eq!(inspect["parameters"], 515);
    let first = &inspect["tensors"][0];
    assert_eq!(
        (&first["name"], &first["shape"]),
        (&json!("fc1.weight"), &json!([64, 4]))
    );
    assert_eq!(
        (&first["dtype"], &first["parameters"]),
        (&json!("F32"), &json!(256))
    );
    assert_eq!(inspect["multiply_adds"], 64 * 4 + 3 * 64);
    assert_eq!(
        inspect["kinds"],
        json!({ "feed-forward": 320, "head": 195 })
    );

    let data = place.run("data --json").expect(0).json();
    assert_eq!(data["data"][1]["name"], "digits");
    let data = place.run("data iris --json").expect(0).json();
    assert_eq!(
        (&data["train_samples"], &data["test_samples"]),
        (&json!(120), &json!(30))
    );
    let recipe = place.run("train --print-recipe --json").expect(0).json();
    assert_eq!(recipe["recipe"]["data"]["name"], "digits");
}

#[test]
fn errors_are_named_on_stderr_and_in_json() {
    let place = Place::new();
    place.write("garbage.safetensors", [0xff; 100]);
    place.write("empty.safetensors", "");
    place.write("bad.toml", "version = 1\n[optim]\nlrr = 1\n");
    place.write("bad.csv", "1,2,a\n3,b\n");
    std::fs::create_dir(place.path("folder")).unwrap();
    let check = |line: &str, code: i32, want: &str| {
        let said = place.run(line).expect(code);
        assert_eq!(said.out, "", "{line}");
        assert_eq!(
            said.err.lines().next(),
            Some(&format!("error: {want}")[..]),
            "{line}"
        );
        let said = place.run(&format!("{line} --json")).expect(code);
        let error = said.json()["error"].as_str().unwrap().to_owned();
        assert!(
            want.starts_with(error.lines().next().unwrap()),
            "{line}: {error}"
        );
    };
    check(
        "train --set optim.lrr=1",
        2,
        "recipe: there is no field optim.lrr; did you mean optim.lr?",
    );
    check(
        "train --recipe bad.toml",
        2,
        "bad.toml: there is no field optim.lrr; did you mean optim.lr?",
    );
    check(
        "train --epochs 0",
        2,
        "recipe: train.epochs: expected at least 1, unless train.max_steps says when the run ends, found 0",
    );
    check(
        "train --lr -1",
        2,
        "recipe: optim.lr: expected a number from 0 up, found -1",
    );
    check(
        "train --preset digit",
        2,
        "there is no preset \"digit\" (did you mean \"digits\"?); presets: concrete, digits, edges, fashion-mnist, fashion-mnist-cnn, iris, moby-dick, table",
    );
    check(
        "train --data digitz",
        2,
        "there is no data set, file or folder called \"digitz\" (did you mean \"digits\"?); data sets: concrete, digits, edges, iris, fashion-mnist; a path names a CSV file, a safetensors table, or a folder of pictures or with four IDX files",
    );
    check(
        "train --data iris --model lenet",
        2,
        "model: layer 1 (conv2d conv1) expects pictures [channels, height, width], but gets [4]; use linear layers, or give the data such a shape (data.input_shape)",
    );
    check(
        "train --data bad.csv",
        1,
        &format!(
            "{}, line 2: expected 3 cells separated by commas, found 2",
            place.path("bad.csv").display()
        ),
    );
    check(
        "resume folder",
        2,
        "folder holds no run: it has no recipe.toml; start one there with `cortical train --out folder`",
    );
    check(
        "resume nowhere",
        2,
        "nowhere holds no run: it has no recipe.toml; start one there with `cortical train --out nowhere`",
    );
    check("eval nowhere", 2, "nowhere does not exist");
    check("inspect nowhere/at-all", 2, "nowhere/at-all does not exist");
    check(
        "inspect folder",
        2,
        "folder holds no model: it has nothing in it; expected model.safetensors or other safetensors files, a GGUF file, a config.json of a language model, or the recipe.toml and checkpoints of a run",
    );
    check("no-such-verb", 2, "unrecognized subcommand 'no-such-verb'");
    check(
        "train --threads 0",
        2,
        "invalid value '0' for '--threads <N>': expected a number from 1 to 1024",
    );
    check(
        "train --set lr",
        2,
        "invalid value 'lr' for '--set <FIELD=VALUE>': cannot set \"lr\": expected FIELD=VALUE, such as optim.lr=3e-4",
    );
    assert!(
        !place.path("runs").join("digits-001").exists(),
        "no dead folder stays"
    );

    for line in [
        "inspect garbage.safetensors",
        "inspect empty.safetensors",
        "eval garbage.safetensors",
        "predict garbage.safetensors bad.csv",
    ] {
        let said = place.run(line).expect(1);
        assert!(
            said.err.contains("is not a usable safetensors file"),
            "{line}: {}",
            said.err
        );
    }
}

#[test]
fn runs_are_not_written_over_and_not_mistaken() {
    let place = Place::new();
    place.run(&format!("{QUICK} --out r --quiet")).expect(0);
    let before = place.read("r/model.safetensors");
    let said = place.run(&format!("{QUICK} --out r")).expect(2);
    assert_eq!(
        said.err,
        "error: r already holds a run; continue it with `cortical resume r`, or choose another folder\n"
    );
    assert!(place.read("r/model.safetensors") == before);
    let said = place.run("resume r --seed 5").expect(2);
    assert_eq!(
        said.err,
        "error: the run in r has seed 1, not 5; a run keeps its seed: leave --seed out, or start another run\n"
    );
    let said = place.run("eval r/model.safetensors").expect(2);
    assert!(said.err.contains("name it with --data"), "{}", said.err);
    let said = place.run("eval r --data digits").expect(1);
    assert!(
        said.err
            .contains("expected the classes setosa, versicolor, virginica, found 0, 1, 2,"),
        "{}",
        said.err
    );
    place.write("unlabelled.csv", "5.1,3.5,1.4,0.2\n");
    let said = place.run("eval r --data unlabelled.csv").expect(1);
    assert!(said.err.contains("has no label column"), "{}", said.err);
    place.write("narrow.csv", "5.1,3.5\n");
    let said = place.run("predict r narrow.csv").expect(1);
    assert!(
        said.err.contains("narrow.csv, line 1: expected"),
        "{}",
        said.err
    );
}

#[test]
fn quiet_says_the_result_only_and_a_recipe_repeats_a_run() {
    let place = Place::new();
    let said = place
        .run(&format!("{QUICK} --seed 7 --out a --quiet"))
        .expect(0);
    assert_eq!(said.err, "");
    assert!(said.out.contains("test accuracy"));
    place
        .run("train --recipe a/recipe.toml --out b --quiet --threads 1")
        .expect(0);
    assert!(place.read("a/model.safetensors") == place.read("b/model.safetensors"));
    assert_eq!(place.read("a/recipe.toml"), place.read("b/recipe.toml"));
    place
        .run("train --recipe a/recipe.toml --out c --quiet --seed 8")
        .expect(0);
    assert!(place.read("a/model.safetensors") != place.read("c/model.safetensors"));
}

#[test]
fn a_table_of_ones_own_is_learned_from_and_found_again() {
    let place = Place::new();
    let rows: String = (0..60)
        .map(|i| {
            format!(
                "{},{},{}\n",
                i % 7,
                if i % 2 == 0 { 3 } else { -3 },
                if i % 2 == 0 { "even" } else { "odd" }
            )
        })
        .collect();
    place.write("my.csv", format!("a,b,kind\n{rows}"));
    place
        .run("train --data my.csv --epochs 20 --quiet")
        .expect(0);
    let mut eval = place.command(["eval", "my-001", "--json"]);
    let said: crate::support::Said = eval
        .current_dir(place.path("runs"))
        .output()
        .unwrap()
        .into();
    assert_eq!(said.expect(0).json()["test_accuracy"], 1.0);
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let place = Place::new();
    for line in [
        &["train", "--print-recipe"][..],
        &["data"],
        &["data", "--json"],
        &["--help"],
    ] {
        let mut child = place
            .command(line)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut err)
            .unwrap();
        let status = child.wait().unwrap();
        assert!(!err.contains("panicked"), "{line:?}: {err}");
        assert_eq!(status.code(), Some(0), "{line:?}: {err}");
    }
}
