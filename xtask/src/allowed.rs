//! Which crates from outside each of ours may use, and why: a new dependency is a decision somebody sees.

/// One permission.
pub(crate) struct Allowed {
    /// The dependency's name on crates.io.
    pub(crate) dependency: &'static str,
    /// What it is used for, so that the next reader can judge whether it still is.
    pub(crate) why: &'static str,
}

const fn allow(dependency: &'static str, why: &'static str) -> Allowed {
    Allowed { dependency, why }
}

/// The tensor every public function takes and returns.
const CANDLE: Allowed = allow("candle-core", "the tensor, its graph and its devices");
/// How every crate writes its errors.
const THISERROR: Allowed = allow("thiserror", "error enums with messages");
/// How tests try many cases.
const PROPTEST: Allowed = allow("proptest", "tests: properties over many cases");
/// Where tests write.
const TEMPFILE: Allowed = allow("tempfile", "tests: folders that clean up after themselves");

/// Permissions by package. Our own packages are ruled by their tiers and do not appear as dependencies.
pub(crate) const ALLOWED: &[(&str, &[Allowed])] = &[
    (
        "cortical-kernels",
        &[
            allow(
                "gemm",
                "matrix products with AVX-512, the same bits at any number of threads",
            ),
            allow("libm", "erf and its kin, which the standard library lacks"),
            allow("rayon", "threads"),
            PROPTEST,
        ],
    ),
    (
        "cortical-settings",
        &[
            THISERROR,
            allow("strsim", "the nearest name to an unknown field"),
            allow("toml", "the format that settings are written in"),
        ],
    ),
    (
        "cortical-testkit",
        &[
            allow(
                "serde_json",
                "headers and configurations of reference cases",
            ),
            PROPTEST,
            TEMPFILE,
            THISERROR,
        ],
    ),
    (
        "cortical-tensor",
        &[
            CANDLE,
            THISERROR,
            allow("half", "the bits of bf16 tensors"),
            allow(
                "rayon",
                "tests: the same bits on pools of 1, 2, 4 and 8 threads",
            ),
        ],
    ),
    (
        "cortical-neuron",
        &[
            CANDLE,
            THISERROR,
            allow("strsim", "the nearest name to an unknown parameter"),
        ],
    ),
    (
        "cortical-dense",
        &[
            CANDLE,
            allow(
                "candle-nn",
                "tests: our layers in candle programs, and theirs in ours",
            ),
        ],
    ),
    ("cortical-conv", &[CANDLE]),
    ("cortical-recurrent", &[CANDLE]),
    ("cortical-attention", &[CANDLE]),
    (
        "cortical-optim",
        &[
            CANDLE,
            THISERROR,
            allow("rayon", "tests: pools of one, two and four threads"),
            allow("serde", "optimizers and schedules as a recipe holds them"),
            allow("toml", "tables of optimizers and schedules"),
        ],
    ),
    (
        "cortical-io",
        &[
            CANDLE,
            THISERROR,
            allow("half", "f16 and bf16 in model files"),
            allow("crc32fast", "damaged checkpoints are recognised"),
            allow("flate2", "packed arrays of NumPy's"),
            allow("memmap2", "mapped model files"),
            allow("rayon", "large tensors are read by all threads"),
            allow("serde", "headers and checkpoints, read strictly"),
            allow("serde_json", "headers of safetensors files and checkpoints"),
            allow("sha2", "changed data are recognised"),
            allow("strsim", "the nearest name to a missing tensor"),
            PROPTEST,
            TEMPFILE,
        ],
    ),
    (
        "cortical-models",
        &[
            CANDLE,
            THISERROR,
            allow(
                "fancy-regex",
                "PEFT names layers by regular expressions as Python has them",
            ),
            allow("serde_json", "the description that a model file keeps"),
            allow("toml", "networks described in a recipe"),
            TEMPFILE,
        ],
    ),
    (
        "cortical-data",
        &[
            CANDLE,
            THISERROR,
            allow("flate2", "IDX files and embedded data as .gz, PNG pictures"),
            allow("zune-jpeg", "JPEG pictures"),
            allow("serde", "preprocessing that is saved with the model"),
            allow("serde_json", "preprocessing that is saved with the model"),
            allow("strsim", "the nearest name to an unknown data set"),
            PROPTEST,
            TEMPFILE,
        ],
    ),
    ("cortical-report", &[PROPTEST]),
    (
        "cortical-text",
        &[
            CANDLE,
            THISERROR,
            allow("minijinja", "chat templates, which are Jinja"),
            allow(
                "minijinja-contrib",
                "the methods of Python's text that chat templates call",
            ),
            allow(
                "serde_json",
                "tokenizers and their settings as files have them",
            ),
            allow("tokenizers", "byte-pair encoding and its training"),
            PROPTEST,
            TEMPFILE,
        ],
    ),
    (
        "cortical-train",
        &[
            CANDLE,
            THISERROR,
            allow("rayon", "the number of threads"),
            allow("serde", "recipes"),
            allow("serde_json", "metrics and checkpoints"),
            allow("toml", "recipes"),
            TEMPFILE,
        ],
    ),
    (
        "cortical-explain",
        &[
            THISERROR,
            allow(
                "serde_json",
                "whether a .json file is a configuration or an index",
            ),
            CANDLE,
            allow("toml", "tests: layers of networks"),
            TEMPFILE,
        ],
    ),
    (
        "cortical-prune",
        &[
            CANDLE,
            THISERROR,
            allow("serde_json", "reports for machines"),
            TEMPFILE,
        ],
    ),
    (
        "cortical-serve",
        &[
            CANDLE,
            THISERROR,
            allow("axum", "paths, methods and answers of HTTP"),
            allow("hyper", "HTTP itself, with limits on slow clients"),
            allow("hyper-util", "joins hyper, axum and tokio"),
            allow("rayon", "the number of threads"),
            allow("serde_json", "the bodies of requests and answers"),
            allow("tokio", "many connections on one thread"),
        ],
    ),
    (
        "cortical",
        &[
            CANDLE,
            THISERROR,
            allow("clap", "the command line"),
            allow("clap_complete", "completions of the command line"),
            allow("clap_mangen", "manual pages of the command line"),
            allow("indicatif", "the progress bar"),
            allow("serde_json", "`--json`"),
            allow("signal-hook", "Ctrl-C and SIGTERM ask for a checkpoint"),
            allow("terminal_size", "how wide the dashboard may be"),
            allow("toml", "printed recipes"),
            TEMPFILE,
        ],
    ),
    (
        "cortical-conformance",
        &[
            CANDLE,
            THISERROR,
            allow("serde_json", "configurations of reference cases"),
            PROPTEST,
            allow("rayon", "tests: the same bits on pools of any size"),
        ],
    ),
    (
        "cortical-bench",
        &[
            CANDLE,
            THISERROR,
            allow("criterion", "times each family of kernels"),
            allow("rayon", "how many threads there are"),
            allow("serde_json", "a line of JSON for each workload"),
            allow("tempfile", "where the files that are timed are written"),
        ],
    ),
    (
        "xtask",
        &[
            allow("serde_json", "what `cargo metadata` prints"),
            THISERROR,
        ],
    ),
];
