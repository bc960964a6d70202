//! The arguments of every verb.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use cortical_explain::{Machine, NumberType};
use cortical_train::{Override, presets};

use crate::cli_convert::ConvertArgs;
use crate::cli_language::{
    ChatArgs, GenerateArgs, LogitsArgs, MergeArgs, PerplexityArgs, TokensArgs,
};
use crate::cli_observe::{NeuronsArgs, VerifyArgs};
use crate::cli_prune::PruneArgs;
use crate::cli_search::SearchArgs;
#[cfg(feature = "serve")]
use crate::cli_serve::ServeArgs;
use crate::cli_shell::{CompletionsArgs, ManArgs};

/// Train, resume, evaluate, use and inspect neural networks.
#[derive(Debug, Parser)]
#[command(
    name = "cortical",
    version,
    about,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:\n  cortical train                        train a small network on handwritten digits\n  cortical eval runs/digits-001         test it again\n  cortical predict runs/digits-001 x.csv  a label and its probability for each row"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What every verb understands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Common {
    /// One JSON object on stdout, for machines
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Results only: no progress, no remarks
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Number of threads; RAYON_NUM_THREADS or all processors when absent
    #[arg(long, global = true, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
    /// Decides what is random: initial weights, order of samples, dropout
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub(crate) seed: Option<u64>,
}

/// What `--preset` takes.
fn preset_help() -> String {
    let names: Vec<&str> = presets().iter().map(|preset| preset.name).collect();
    format!("Start from a built-in recipe: {}", names.join(", "))
}

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1024).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

/// A number of tokens.
pub(crate) fn tokens(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1 << 24).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 16777216".to_owned()),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Train a network; without arguments a small one on the embedded digits
    Train(TrainArgs),
    /// Try settings of a recipe: a grid, random ones or successive halving, one run each, and show which is the best
    Search(SearchArgs),
    /// Resume a run that was stopped or killed, to the same result as without a break
    Resume(ResumeArgs),
    /// Test a trained network, on the samples that its run held out or on other data
    Eval(EvalArgs),
    /// Predict a label and its probability for each row of a CSV file, each picture or each IDX image
    Predict(PredictArgs),
    /// Show the modules of a run, a model file or folder, a recipe or a well-known model, and explain its size
    Inspect(InspectArgs),
    /// Tell what training or using a model would take: memory, arithmetic, time, and what several machines would send
    Plan(PlanArgs),
    /// Compare two models tensor by tensor, from whatever files they come
    Diff(DiffArgs),
    /// Make a trained network smaller and faster: remove neurons or weights, train what is left, measure both
    Prune(Box<PruneArgs>),
    /// Show what single neurons do: how they answer, to which inputs, and what is lost without each
    Neurons(NeuronsArgs),
    /// Compare a model with PyTorch's outputs and gradients, layer by layer, and name the first layer that departs
    Verify(VerifyArgs),
    /// Continue a prompt with a language model
    Generate(GenerateArgs),
    /// Talk with a language model
    Chat(ChatArgs),
    /// Write a language model's scores for tokens to a file, to compare them with another implementation's
    Logits(LogitsArgs),
    /// Write a language model as a folder of its own, with its low-rank changes made part of its weights
    Merge(MergeArgs),
    /// Write a model in another format, with other types or names: safetensors, GGUF, NumPy's, out of PyTorch's too
    Convert(ConvertArgs),
    /// Turn text into a language model's tokens
    Tokens(TokensArgs),
    /// Let others use a model over HTTP, by the interfaces that clients know, and on a page
    #[cfg(feature = "serve")]
    Serve(ServeArgs),
    /// Measure a language model's loss on a text
    Perplexity(PerplexityArgs),
    /// List the data sets, or describe one
    Data(DataArgs),
    /// Write report.html of a finished run: curves, mistakes, filters, weights
    Report(ReportArgs),
    /// Print a script that completes this command's arguments in a shell
    Completions(CompletionsArgs),
    /// Print the manual page of the command or of a verb
    Man(ManArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical train\n  cortical train --data iris --epochs 50\n  cortical train --data fashion-mnist --model lenet --epochs 5 --seed 1\n  cortical train --data flowers.csv --set 'model.hidden=[128,64]' --out runs/flowers\n  cortical train --data houses.csv --auto-columns --set data.target=numbers --set data.label=price\n  cortical train --print-recipe > my.toml; cortical train --recipe my.toml\n  cortical train --model llama-tiny --data moby-dick --set train.max_steps=2000\n  cortical train --model smollm2.gguf --data notes.txt --set lora.rank=8\n  cortical train --model runs/llama-tiny-001 --data reviews.csv\n  cortical train --data digits --find-lr\n  cortical train --data digits --set start.from=runs/digits-001 \\\n    --set 'start.freeze=[conv*]' --set 'start.replace=[fc2.*]'"
)]
pub(crate) struct TrainArgs {
    #[arg(long, value_name = "NAME", conflicts_with = "recipe", help = preset_help())]
    pub(crate) preset: Option<String>,
    /// Start from a recipe in a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) recipe: Option<PathBuf>,
    /// A data set (see `cortical data`), a CSV file with a label column, or a folder of pictures or of IDX files; for a
    /// language model a text, or a CSV file with columns `text` and `label`
    #[arg(long, value_name = "NAME")]
    pub(crate) data: Option<String>,
    /// The network: digits-cnn, lenet, mlp, softmax or resnet20, others are listed layer by layer in a recipe; or a
    /// language model: llama-tiny, another of `cortical inspect`, a folder as Hugging Face has it or a GGUF file
    #[arg(long, value_name = "KIND")]
    pub(crate) model: Option<String>,
    /// How often every sample is seen
    #[arg(long, value_name = "N")]
    pub(crate) epochs: Option<u64>,
    /// Samples in a step
    #[arg(long, value_name = "N")]
    pub(crate) batch: Option<u64>,
    /// Base learning rate
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) lr: Option<f64>,
    /// Set any field of the recipe, such as optim.lr=3e-4; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<Override>,
    /// Read the columns of a CSV file as what they seem to hold, numbers, dates or categories, and say so
    #[arg(long)]
    pub(crate) auto_columns: bool,
    /// The folder of the run; the next free runs/NAME-001 when absent
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Print the complete recipe and do nothing
    #[arg(long)]
    pub(crate) print_recipe: bool,
    /// Three steps and a short validation and test in a folder that is removed: whether everything works
    #[arg(long, conflicts_with = "out")]
    pub(crate) fast_dev_run: bool,
    /// Learn the first N batches by heart: a network that cannot has a mistake
    #[arg(long, value_name = "N")]
    pub(crate) overfit_batches: Option<u64>,
    /// Try rising learning rates, suggest one, plot the losses into the file given by --out (lr-finder.html when
    /// absent)
    #[arg(long, conflicts_with_all = ["fast_dev_run", "tensorboard", "tui"])]
    pub(crate) find_lr: bool,
    /// With --find-lr: replace that file even if it holds something else
    #[arg(long, requires = "find_lr")]
    pub(crate) force: bool,
    /// Write an event file for TensorBoard as well
    #[arg(long)]
    pub(crate) tensorboard: bool,
    /// Show curves and figures on the whole terminal
    #[arg(long)]
    pub(crate) tui: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cortical report runs/digits-001")]
pub(crate) struct ReportArgs {
    /// The folder of a finished run
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  cortical resume runs/digits-001")]
pub(crate) struct ResumeArgs {
    /// The folder of the run
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Go on although the run's data are not those that it has learned from
    #[arg(long)]
    pub(crate) changed_data: bool,
    /// Show curves and figures on the whole terminal
    #[arg(long)]
    pub(crate) tui: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical eval runs/digits-001\n  cortical eval runs/flowers --data more-flowers.csv"
)]
pub(crate) struct EvalArgs {
    /// The folder of a finished run, or a model file that `train` wrote
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// Test on this: the test part of a data set or of an IDX folder, or all rows of a CSV file; for a language model,
    /// a text
    #[arg(long, value_name = "NAME")]
    pub(crate) data: Option<String>,
    /// Name or number of the label column of a CSV file; that of the training, else the last one, when absent
    #[arg(long, value_name = "COLUMN", requires = "data")]
    pub(crate) label: Option<String>,
    /// Test although the run's data are not those that it has learned from: the test may hold samples that it has seen
    #[arg(long, conflicts_with = "data")]
    pub(crate) changed_data: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical predict runs/iris-001 flowers.csv\n  cortical predict runs/fashion-mnist-001 t10k-images-idx3-ubyte.gz --json\n  cortical predict runs/iris-001 flowers.csv --out found.csv"
)]
pub(crate) struct PredictArgs {
    /// The folder of a finished run, or a model file that `train` wrote
    #[arg(value_name = "RUN")]
    pub(crate) run: PathBuf,
    /// A CSV file, with or without a label column, a picture or a folder of them, or a file of IDX images; for a
    /// language model a CSV file with a column of texts or a .txt file with a text in each line; gzip is recognised
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Name or number of the label column, if the file has one; the last one when absent
    #[arg(long, value_name = "COLUMN")]
    pub(crate) label: Option<String>,
    /// Write every prediction with all probabilities, and beside it the columns of the file, as CSV or JSON lines
    #[arg(long, value_name = "FILE.csv|FILE.jsonl")]
    pub(crate) out: Option<PathBuf>,
    /// With --out: replace that file even if it holds something else
    #[arg(long, requires = "out")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical inspect runs/digits-001\n  cortical inspect model.safetensors --stats --json\n  cortical inspect llama2-70b --depth 3\n  cortical inspect llama2-7b --why\n  cortical inspect resnet20"
)]
pub(crate) struct InspectArgs {
    /// The folder of a run or model, a safetensors or GGUF file, a config.json, a recipe, or the name of a language
    /// model such as llama2-7b, of a network such as lenet, or of a recipe such as digits
    #[arg(value_name = "RUN|FILE|NAME")]
    pub(crate) what: PathBuf,
    /// Explain the number of parameters part by part
    #[arg(long)]
    pub(crate) why: bool,
    /// Read all weights, and show sparsity and norms
    #[arg(long)]
    pub(crate) stats: bool,
    /// Show so many levels of modules
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<usize>,
    /// Count multiply-adds for a text of so many tokens; as many as the model has positions, at most 2048, when absent
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub(crate) context: Option<usize>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical plan lenet --batch 256\n  cortical plan my.toml --json\n  cortical plan llama2-7b --context 2048 --batch 1 --dtype bf16 --device h100\n  cortical plan gpt2 --device a100 --machines 4 --link 100Gbit\n  cortical plan a-folder-from-hugging-face --set lora.rank=8"
)]
pub(crate) struct PlanArgs {
    /// A recipe, a run, the folder of a model or its config.json, a GGUF file, or the name of a language model such as
    /// llama2-7b, of a network such as lenet, or of a recipe such as digits
    #[arg(value_name = "RECIPE|RUN|MODEL|NAME")]
    pub(crate) what: PathBuf,
    /// The data set to train on, which takes memory too
    #[arg(long, value_name = "NAME")]
    pub(crate) data: Option<String>,
    /// Samples or texts together
    #[arg(long, value_name = "N", value_parser = batch)]
    pub(crate) batch: Option<usize>,
    /// Tokens of a text
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub(crate) context: Option<usize>,
    /// How weights lie in memory: f32, bf16 or, for a model that is used and not trained, another format such as q8_0
    #[arg(long, value_name = "TYPE", value_parser = number_type())]
    pub(crate) dtype: Option<String>,
    /// The optimizer: adamw, sgd, lion, ...
    #[arg(long, value_name = "NAME")]
    pub(crate) optimizer: Option<String>,
    /// Segments of a network's layers that run twice, for less memory
    #[arg(long, value_name = "N")]
    pub(crate) recompute: Option<usize>,
    /// A card in place of this machine, such as h100
    #[arg(long, value_name = "NAME", value_parser = card())]
    pub(crate) device: Option<String>,
    /// Machines that share the training
    #[arg(long, value_name = "N", value_parser = machines)]
    pub(crate) machines: Option<usize>,
    /// What the link of each of them carries each way
    #[arg(long, value_name = "RATE", value_parser = link, default_value = "10Gbit", requires = "machines")]
    pub(crate) link: f64,
    /// Set any field of the recipe, such as lora.rank=8; may be repeated
    #[arg(long, value_name = "FIELD=VALUE")]
    pub(crate) set: Vec<Override>,
    /// Take no steps to see how long they take
    #[arg(long)]
    pub(crate) no_trial: bool,
}

/// A number of samples.
fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1 << 20).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 1048576".to_owned()),
    }
}

/// The names of forms of weights.
fn number_type() -> PossibleValuesParser {
    NumberType::names().collect::<Vec<_>>().into()
}

/// The names of cards.
fn card() -> PossibleValuesParser {
    Machine::cards().collect::<Vec<_>>().into()
}

/// A number of machines.
fn machines(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (2..=1 << 20).contains(&n) => Ok(n),
        _ => Err("expected a number from 2 to 1048576".to_owned()),
    }
}

/// A rate such as 10Gbit or 50GB, in Gbit/s.
fn link(text: &str) -> Result<f64, String> {
    let units = [("Gbit", 1.0), ("Mbit", 1e-3), ("GB", 8.0), ("MB", 8e-3)];
    let rate = units.into_iter().find_map(|(unit, factor)| {
        let number: f64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        Some(number * factor)
    });
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "expected a rate a second such as 10Gbit, 800Mbit or 50GB".to_owned())
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical diff before.safetensors after.safetensors\n  cortical diff model.gguf a-folder-from-hugging-face --summary --depth 3\n  cortical diff runs/digits-001 runs/digits-002 --json"
)]
pub(crate) struct DiffArgs {
    /// A run, a safetensors or GGUF file, or the folder of a model
    #[arg(value_name = "A")]
    pub(crate) before: PathBuf,
    /// What it is compared with; changes are those from A to B
    #[arg(value_name = "B")]
    pub(crate) after: PathBuf,
    /// Show modules only, not every tensor
    #[arg(long)]
    pub(crate) summary: bool,
    /// Modules are named by so many parts of their names
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) depth: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical data\n  cortical data digits\n  cortical data table.csv\n  cortical data shells.csv --set 'data.one_hot=[sex]'"
)]
pub(crate) struct DataArgs {
    /// A data set, a CSV file or a folder of IDX files
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Name or number of the label column of a CSV file; the last one when absent
    #[arg(long, value_name = "COLUMN", requires = "name")]
    pub(crate) label: Option<String>,
    /// Read the data as a recipe with this field would, such as data.header=false; may be repeated
    #[arg(long, value_name = "FIELD=VALUE", requires = "name")]
    pub(crate) set: Vec<Override>,
    /// Read the columns of a CSV file as what they seem to hold, numbers, dates or categories, and say so
    #[arg(long, requires = "name")]
    pub(crate) auto_columns: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent_and_every_verb_shows_an_example() {
        let command = Cli::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let after = verb
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let example = format!("cortical {}", verb.get_name());
            assert!(after.contains(&example), "{}: {after}", verb.get_name());
        }
    }
}
