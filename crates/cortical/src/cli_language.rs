//! The arguments of the verbs for language models.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use cortical_kernels::quantized::Format;
use cortical_models::language::Weights;
use cortical_text::Sampling;

/// A model, and how its weights lie in memory.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// A folder with config.json and safetensors files, as Hugging Face has it, or a GGUF file
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// How weights lie in memory; as the file has them when absent (safetensors in f32)
    #[arg(long, value_name = "FORM")]
    pub(crate) weights: Option<WeightsArg>,
    /// Take texts that are longer than what the model was made for, where its positions are computed
    #[arg(long)]
    pub(crate) beyond_context: bool,
}

/// The names of the forms of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsArg {
    F32,
    Bf16,
    F16,
    Int8,
    #[value(name = "q8_0")]
    Q8_0,
    #[value(name = "q4_1")]
    Q4_1,
    #[value(name = "q4_0")]
    Q4_0,
}

impl WeightsArg {
    /// What the model is opened with.
    pub(crate) fn form(weights: Option<Self>) -> Weights {
        match weights {
            None => Weights::Stored,
            Some(WeightsArg::F32) => Weights::Single,
            Some(WeightsArg::Bf16) => Weights::Quantized(Format::Bf16),
            Some(WeightsArg::F16) => Weights::Quantized(Format::F16),
            Some(WeightsArg::Int8) => Weights::Quantized(Format::Int8),
            Some(WeightsArg::Q8_0) => Weights::Quantized(Format::Q8_0),
            Some(WeightsArg::Q4_1) => Weights::Quantized(Format::Q4_1),
            Some(WeightsArg::Q4_0) => Weights::Quantized(Format::Q4_0),
        }
    }
}

impl ModelArgs {
    pub(crate) fn weights(&self) -> Weights {
        WeightsArg::form(self.weights)
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical logits models/tinyllama --ids 1,5,7 --out logits.safetensors\n  cortical logits models/bert --text \"a whale\" --out hidden.safetensors\n\nThe file has `logits` [tokens, vocab], or `last_hidden_state` [tokens, hidden] for an encoder, and `ids`."
)]
pub(crate) struct LogitsArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Tokens by their numbers
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        required_unless_present = "text",
        conflicts_with = "text"
    )]
    pub(crate) ids: Vec<u32>,
    /// Text, cut into tokens by the model's tokenizer
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// Where to write them, as safetensors
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Replace that file even if it holds something else
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical merge runs/smollm2-001 --out models/mine\n  cortical merge smollm2.gguf --out models/whole\n\nThe folder has config.json, model.safetensors in f32 and tokenizer.json, as Hugging Face has them."
)]
pub(crate) struct MergeArgs {
    /// A run or a folder with low-rank changes, or any model
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// The folder to write, which must not be there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical tokens models/smollm2 \"Call me Ishmael.\"\n  cortical tokens smollm2.gguf \"Call me Ishmael.\" --json\n  cortical tokens models/smollm2 --ids 3,5,7"
)]
pub(crate) struct TokensArgs {
    /// A model's folder, its GGUF file, or a tokenizer.json
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// The text
    #[arg(
        value_name = "TEXT",
        required_unless_present = "ids",
        allow_hyphen_values = true
    )]
    pub(crate) text: Option<String>,
    /// The other way round: the text of these tokens
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        conflicts_with = "text"
    )]
    pub(crate) ids: Vec<u32>,
}

/// How the next token is chosen.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sampling")]
pub(crate) struct SamplingArgs {
    /// 0 takes the likeliest token always, 1 draws with the model's own probabilities
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        default_value_t = 0.0
    )]
    pub(crate) temperature: f64,
    /// Draw from the N likeliest tokens only; 0 for all
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    pub(crate) top_k: usize,
    /// Draw from the likeliest tokens that together reach this probability
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 1.0
    )]
    pub(crate) top_p: f64,
    /// Draw from tokens at least this part as likely as the likeliest one
    #[arg(
        long,
        value_name = "P",
        allow_negative_numbers = true,
        default_value_t = 0.0
    )]
    pub(crate) min_p: f64,
    /// Make tokens of the text so far less likely; 1 for not at all
    #[arg(
        long,
        value_name = "X",
        allow_negative_numbers = true,
        default_value_t = 1.0
    )]
    pub(crate) repetition_penalty: f64,
    /// The most tokens to write
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 256
    )]
    pub(crate) max_tokens: usize,
    /// End before this text; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
}

impl SamplingArgs {
    pub(crate) fn sampling(&self) -> Sampling {
        Sampling {
            repetition_penalty: self.repetition_penalty,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
        }
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical generate smollm2.gguf --prompt \"The whale\" -n 64\n  cortical generate models/gpt2 --prompt \"Once\" --temperature 0.8 --top-p 0.95 --seed 7\n  cortical generate models/tinyllama --prompt \"1, 2, 3,\" --weights bf16 --json\n  cortical generate smollm2.gguf --prompts prompts.jsonl --together 16 > written.jsonl\n\nA line of --prompts is a text in quotes or an object: {\"prompt\": \"The whale\", \"id\": 7, \"seed\": 1, \"max_tokens\": 32},\nor with \"ids\" in place of the prompt. Each becomes a line of JSON on stdout, in the same order."
)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text to go on from
    #[arg(long, short, value_name = "TEXT", required_unless_present_any = ["ids", "prompts"])]
    pub(crate) prompt: Option<String>,
    /// The tokens to go on from, in place of a text
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        conflicts_with = "prompt"
    )]
    pub(crate) ids: Vec<u32>,
    /// Keep what is read of the prompt in this file, and go on from what it holds: a prompt that begins in the same
    /// way is not read again
    #[arg(long, value_name = "FILE", conflicts_with = "prompts")]
    pub(crate) prompt_cache: Option<PathBuf>,
    /// Many texts to go on from, one in a line of this file; each has the result that it has alone
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["prompt", "ids"])]
    pub(crate) prompts: Option<PathBuf>,
    /// With --prompts: how many texts the model goes on with at a time
    #[arg(long, value_name = "N", requires = "prompts", default_value_t = 8, value_parser = together)]
    pub(crate) together: usize,
    /// Read no tokens along that the text seems to repeat; the text is the same, where it repeats itself it comes
    /// slower
    #[arg(long)]
    pub(crate) no_lookup: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical chat smollm2.gguf\n  cortical chat smollm2.gguf --system \"You are a whaler.\" --temperature 0.7\n  cortical chat smollm2.gguf --say \"Who are you?\" --say \"And who am I?\" --json\n\nType a line and press enter; an empty line or the end of the input ends the conversation."
)]
pub(crate) struct ChatArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Who the model is to be
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// Say this in place of what is typed; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) say: Vec<String>,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical perplexity smollm2.gguf moby-dick.txt --bytes 50000\n  cortical perplexity models/gpt2 text.txt --window 256"
)]
pub(crate) struct PerplexityArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// A text file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only its first bytes
    #[arg(long, value_name = "N")]
    pub(crate) bytes: Option<usize>,
    /// Tokens that are read at a time; those of the first half of each window are context only. 512 when absent, or
    /// what the model was made for
    #[arg(long, value_name = "N", value_parser = window)]
    pub(crate) window: Option<usize>,
    /// Tokens of each window that are context only; half of it when absent
    #[arg(long, value_name = "N", value_parser = context)]
    pub(crate) skip: Option<usize>,
}

/// A number of texts.
pub(crate) fn together(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=1024).contains(&n) => Ok(n),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

/// A window has a token to read and one to predict.
fn window(text: &str) -> Result<usize, String> {
    at_least(2, text)
}

/// The first token of a window cannot be predicted.
fn context(text: &str) -> Result<usize, String> {
    at_least(1, text)
}

fn at_least(least: usize, text: &str) -> Result<usize, String> {
    let found = text.parse().ok().filter(|found| *found >= least);
    found.ok_or_else(|| format!("expected a whole number of at least {least}"))
}
