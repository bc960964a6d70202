//! The arguments of `serve`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

// circle: the enum of verbs names every verb's arguments, which share the parsers of their values.
use crate::cli::tokens;
use crate::cli_language::{WeightsArg, together};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cortical serve smollm2.gguf\n  cortical serve models/tinyllama --weights q8_0 --together 16 --port 9000\n  cortical serve runs/iris-001\n  curl localhost:8080/v1/chat/completions -H 'Content-Type: application/json' \\\n    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Who are you?\"}]}'\n\nA page to talk to the model is at http://localhost:8080/. Clients of OpenAI's interface take http://localhost:8080/v1\nas their base URL."
)]
pub(crate) struct ServeArgs {
    /// A language model, an encoder or a classifier: a run, a folder with config.json and safetensors files, a GGUF
    /// file, or a model file that `train` wrote
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// How weights lie in memory; as the file has them when absent (safetensors in f32)
    #[arg(long, value_name = "FORM")]
    pub(crate) weights: Option<WeightsArg>,
    /// The address to listen at; this machine only when absent
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) host: IpAddr,
    /// The port; 0 for a free one
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,
    /// What clients call the model; the name of the file or folder when absent
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Texts that are written together
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = together)]
    pub(crate) together: usize,
    /// Requests that may wait for their turn; more are refused
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) queue: u16,
    /// Tokens that a text may have, its prompt and the answer; as many as the model was made for, at most 4096, when
    /// absent
    #[arg(long, value_name = "TOKENS", value_parser = tokens)]
    pub(crate) context: Option<usize>,
    /// The most tokens of an answer
    #[arg(long, value_name = "TOKENS", value_parser = tokens, default_value_t = 1024)]
    pub(crate) max_tokens: usize,
    /// Tokens of earlier texts that are kept, for those that begin in the same way; four texts' worth when absent
    #[arg(long, value_name = "TOKENS")]
    pub(crate) kept: Option<usize>,
    /// The largest request in MiB
    #[arg(long, value_name = "MIB", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) max_body: u16,
    /// Seconds that a request may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) timeout: u32,
    /// What clients have to send as `Authorization: Bearer KEY`; CORTICAL_API_KEY when absent
    #[arg(long, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// An origin whose pages may use the server from a browser, such as `https://example.org`, or * for all; may be
    /// repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) cors: Vec<String>,
}
