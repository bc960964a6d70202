//! Weights that are pruned while a network trains, and stay so whatever interrupts it.

use cortical_io::{TensorFile, save_tensors, sparse_tensors};
use cortical_kernels::sparse::{Precision, SparseMatrix};

use super::*;

/// 24 steps, 8 hidden neurons, and pruning that rises until the middle.
fn pruned(table: &str) -> Recipe {
    let text = format!(
        "version = 2\n[data]\nname = \"iris\"\n[model]\nkind = \"mlp\"\nhidden = [8]\ndropout = 0.1\n\
         [train]\nepochs = 6\nbatch_size = 27\n[average]\nkind = \"ema\"\n[checkpoint]\nevery_steps = 5\n[prune]\n{table}"
    );
    Recipe::from_toml(&text, None, &[]).unwrap()
}

fn masks(root: &Path) -> Vec<u8> {
    fs::read(RunPaths::new(root).masks()).unwrap()
}

/// The share of zeros among the weights, and their number.
fn zeros(root: &Path) -> (usize, usize) {
    let file = TensorFile::open(RunPaths::new(root).model()).unwrap();
    let tensors = file.load_all(&Device::Cpu).unwrap().into_iter();
    let weights = tensors.filter(|(_, tensor)| tensor.rank() == 2);
    let values = weights.flat_map(|(_, t)| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
    let values: Vec<f32> = values.collect();
    (values.iter().filter(|x| **x == 0.0).count(), values.len())
}

#[test]
fn a_pruned_run_that_is_stopped_anywhere_ends_with_the_same_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    for (name, table) in [
        ("magnitude", "sparsity = 0.75\nramp = 0.5\nevery = 2"),
        (
            "movement",
            "method = \"movement\"\nsparsity = 0.5\nfrom_step = 3\nramp = 0.6\nevery = 4\nscope = \"layer\"",
        ),
        ("random", "method = \"random\"\nsparsity = 0.5"),
        (
            "row",
            "sparsity = 0.5\nscope = \"row\"\nramp = 0.2\nevery = 1",
        ),
    ] {
        let recipe = pruned(table);
        let whole = temporary.path().join(format!("{name}-whole"));
        let report = uninterrupted(&whole, &recipe);
        let (zeros, all) = zeros(&whole);
        let share = if table.contains("0.75") { 0.75 } else { 0.5 };
        assert_eq!(zeros, (all as f64 * share) as usize, "{name}: of {all}");
        assert_eq!(report.pruned, zeros, "{name}");

        let root = temporary.path().join(format!("{name}-stopped"));
        let mut folder = RunFolder::create(&root, &recipe).unwrap();
        loop {
            let stop = After(AtomicU64::new(7));
            match train(folder, &recipe, &stop, &mut ()).unwrap() {
                Outcome::Stopped { .. } => {}
                Outcome::Finished(_) => break,
                other => panic!("{other:?}"),
            }
            folder = RunFolder::open(&root).unwrap().0;
        }
        assert!(model(&root) == model(&whole), "{name}: the models differ");
        assert!(masks(&root) == masks(&whole), "{name}: the masks differ");
    }
}

#[test]
fn a_run_that_begins_from_a_pruned_one_keeps_its_masks() {
    let temporary = tempfile::tempdir().unwrap();
    let (first, second) = (temporary.path().join("1"), temporary.path().join("2"));
    uninterrupted(&first, &pruned("sparsity = 0.5"));
    let start = format!("[start]\nfrom = {:?}\n", first.display().to_string());
    let further = recipe(&start);
    uninterrupted(&second, &further);
    assert!(masks(&first) == masks(&second));
    assert_eq!(zeros(&first), zeros(&second));
    // Masks that a file gives come at their step: until then everything is trained.
    let third = temporary.path().join("3");
    let given = format!(
        "method = \"given\"\nmasks = {:?}\nfrom_step = 9",
        first.display().to_string()
    );
    uninterrupted(&third, &pruned(&given));
    assert!(masks(&first) == masks(&third));
    assert!(model(&first) != model(&third));
}

#[test]
fn a_run_without_steps_is_pruned_and_tested() {
    let temporary = tempfile::tempdir().unwrap();
    let (first, second) = (temporary.path().join("1"), temporary.path().join("2"));
    uninterrupted(&first, &recipe(""));
    let mut none = pruned("pattern = \"2:4\"");
    none.train.epochs = 0;
    none.start.from = first.display().to_string();
    let report = uninterrupted(&second, &none);
    assert_eq!(report.steps, 0);
    // 8 rows of 4 inputs and 3 rows of 8.
    assert_eq!(zeros(&second), (28, 56));
}

#[test]
fn mistakes_are_told_before_the_first_step() {
    let temporary = tempfile::tempdir().unwrap();
    let refused = |table: &str| {
        let recipe = pruned(table);
        let folder = RunFolder::create(&temporary.path().join("a"), &recipe).unwrap();
        train(folder, &recipe, &(), &mut ())
            .unwrap_err()
            .to_string()
    };
    let late = refused("sparsity = 0.5\nfrom_step = 1000");
    assert_eq!(late, "prune.from_step is 1000, but the run has 24 steps");
    let idle = refused("sparsity = 0.5\nexclude = [\"conv*\"]");
    assert!(
        idle.contains("prune.exclude") && idle.contains("conv*"),
        "{idle}"
    );
    let all = refused("sparsity = 0.5\nexclude = [\"fc*\"]");
    assert!(all.starts_with("nothing is left to prune"), "{all}");
    let gone = refused("method = \"given\"\nmasks = \"nowhere.safetensors\"");
    assert!(gone.contains("nowhere.safetensors"), "{gone}");
    for (table, want) in [
        (
            "ramp = 0.5",
            "prune.sparsity: expected a share above 0, or a pattern",
        ),
        (
            "sparsity = 0.5\npattern = \"2:4\"",
            "prune.pattern: expected either it or a sparsity",
        ),
        (
            "pattern = \"4:2\"",
            "prune.pattern: expected two numbers such as 2:4",
        ),
        (
            "sparsity = 0.5\nmasks = \"a\"",
            "prune.method: expected \"given\" beside a file of masks",
        ),
    ] {
        let text = format!("version = 2\n[prune]\n{table}");
        let error = Recipe::from_toml(&text, None, &[]).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn a_model_file_with_sparse_weights_predicts_what_the_dense_one_does() {
    let temporary = tempfile::tempdir().unwrap();
    let root = temporary.path().join("run");
    let recipe = pruned("sparsity = 0.75");
    uninterrupted(&root, &recipe);
    let dense = RunPaths::new(&root).model();
    let file = TensorFile::open(&dense).unwrap();
    let mut tensors = Vec::new();
    for (name, tensor) in file.load_all(&Device::Cpu).unwrap() {
        let &[rows, cols] = tensor.dims() else {
            tensors.push((name, tensor));
            continue;
        };
        let weights: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        let matrix = SparseMatrix::from_dense(rows, cols, &weights, Precision::F32);
        tensors.extend(sparse_tensors(&name, &matrix).unwrap());
    }
    let sparse = temporary.path().join("sparse.safetensors");
    save_tensors(&sparse, &tensors, file.metadata()).unwrap();
    let [dense, sparse] =
        [dense, sparse].map(|path| TrainedModel::load(&path, &Device::Cpu).unwrap());
    // The weights are no parameters there: the layers compute with them as they lie.
    assert!(dense.params().get("fc1.weight").is_ok());
    assert!(sparse.params().get("fc1.weight").is_err());
    let splits = recipe.open_samples(&[]).unwrap();
    for batch in [1, 5, 64] {
        let predict = |model: &TrainedModel| model.predict(splits.test.inputs(), batch).unwrap();
        for (a, b) in predict(&dense).iter().zip(predict(&sparse)) {
            for (a, b) in a.probabilities.iter().zip(&b.probabilities) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }
}
