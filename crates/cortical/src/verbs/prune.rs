//! `prune`

use std::path::Path;

use cortical_io::GgufFile;
use cortical_kernels::sparse::Precision;
use cortical_neuron::Pattern;
use cortical_prune::{
    Amount, By, Importance, Outcome, Ranked, Removal, Report, Request, Rewind, Share, Target,
    TextRemoval, TextRequest, Weights, prune as prune_network, prune_text, prune_text_run,
};
use cortical_settings::Choice;
use cortical_train::{Override, PruneMethod, PruneScope, RunPaths, TaskKind, in_pool, write_page};
use serde_json::json;

use crate::cli::Common;
use crate::cli_prune::PruneArgs;
use crate::done::Done;
use crate::error::{Error, Result};
use crate::output::Output;
use crate::progress::Progress;
use crate::signals::{Beginning, Listener};
use crate::style::Style;
use crate::table::{Align, Table};

/// Bytes of a text that are read at most.
const TEXT_BYTES: u64 = 64 << 20;

/// Bytes of the embedded novel that perplexity is measured on: its end, which no calibration reads.
const TEST_BYTES: usize = 50_000;

/// `cortical prune`
pub(crate) fn prune(args: &PruneArgs, common: &Common, output: &Output) -> Result<Done> {
    if !args.run.exists() {
        return Err(Error::NotFound {
            path: args.run.clone(),
        });
    }
    let asked = Asked::new(args, common)?;
    let listener = Listener::start()?;
    let watcher = Box::new(Progress::new(output));
    let mut beginning = Beginning {
        listener: &listener,
        watcher,
    };
    let stop = listener.stop();
    let outcome = in_pool(common.threads, || -> Result<Outcome> {
        if !is_language_model(&args.run)? {
            return Ok(prune_network(&asked.of_network()?, stop, &mut beginning)?);
        }
        let request = asked.of_text()?;
        if RunPaths::new(&args.run).is_run() {
            let epochs = args.epochs.unwrap_or(0);
            return Ok(prune_text_run(
                &request,
                (epochs, &asked.set()),
                stop,
                &mut beginning,
            )?);
        }
        if args.epochs.is_some_and(|epochs| epochs > 0) {
            return unfit(
                "a model that is no run says nothing about its training; prune it first, then `cortical train --model DIR`, which leaves pruned weights at 0",
            );
        }
        if args.out.exists() {
            return Err(Error::Occupied {
                path: args.out.clone(),
            });
        }
        Ok(Outcome::Finished(Box::new(prune_text(&request)?)))
    })??;
    drop(beginning);
    let out = args.out.display().to_string();
    match outcome {
        Outcome::Finished(report) => {
            let paths = RunPaths::new(&args.out);
            if paths.is_run()
                && let Err(why) = write_page(&paths)
            {
                output.warning(&format!("report.html was not written: {why}"));
            }
            let mut value = report.to_json();
            value["run"] = json!(out);
            output.result(&value, |style| text(&out, &report, *style));
            Ok(Done::Finished)
        }
        Outcome::Stopped { step, total_steps } => {
            let value =
                json!({ "run": out, "stopped": true, "steps": step, "total_steps": total_steps });
            output.result(&value, |_| {
                format!(
                    "stopped after step {step} of {total_steps}, everything is saved\nthe same command goes on"
                )
            });
            Ok(Done::Stopped)
        }
        _ => Ok(Done::Finished),
    }
}

/// Whether this is a model of a text's next token.
fn is_language_model(path: &Path) -> Result<bool> {
    if path.is_file() {
        return Ok(GgufFile::is_gguf(path));
    }
    let paths = RunPaths::new(path);
    Ok(match paths.is_run() {
        true => paths.read_recipe()?.kind() == TaskKind::NextToken,
        false => path.join("config.json").is_file(),
    })
}

fn unfit<T>(why: &'static str) -> Result<T> {
    Err(Error::PruneArguments { why })
}

/// What the arguments ask for.
struct Asked<'a> {
    args: &'a PruneArgs,
    seed: Option<u64>,
    scope: Option<PruneScope>,
    /// `None` for Wanda, which only language models have.
    method: Option<PruneMethod>,
}

impl<'a> Asked<'a> {
    fn new(args: &'a PruneArgs, common: &Common) -> Result<Self> {
        let field = |error| Error::from(cortical_train::Error::Field(error));
        let scope = args.scope.as_deref();
        let scope = scope.map(|name| PruneScope::from_name("--scope", name));
        let method = match args.method.as_str() {
            "wanda" => None,
            "given" => return unfit("--method given is for recipes: set prune.masks there"),
            name => Some(PruneMethod::from_name("--method", name).map_err(field)?),
        };
        if args
            .pattern
            .as_deref()
            .is_some_and(|text| Pattern::parse(text).is_none())
        {
            return unfit(
                "--pattern: expected two numbers of which the first is smaller, such as 2:4",
            );
        }
        Ok(Self {
            args,
            seed: common.seed,
            scope: scope.transpose().map_err(field)?,
            method,
        })
    }

    /// The fields of the new run's recipe.
    fn set(&self) -> Vec<Override> {
        let lr = self.args.lr.map(|lr| Override::new("optim.lr", lr));
        let seed = self
            .seed
            .map(|seed| i64::try_from(seed).unwrap_or(i64::MAX));
        let seed = seed.map(|seed| Override::new("seed", seed));
        let set = self.args.set.iter().cloned();
        lr.into_iter().chain(seed).chain(set).collect()
    }

    /// The precision of packed connections.
    fn pack(&self) -> Result<Option<Precision>> {
        match self.args.pack.as_deref() {
            None => Ok(None),
            Some(_) if self.args.sparsity.is_none() && self.args.pattern.is_none() => unfit(
                "--pack is for single weights that are 0 (--sparsity or --pattern): what is left of whole neurons is dense",
            ),
            Some("f32") => Ok(Some(Precision::F32)),
            Some("bf16") => Ok(Some(Precision::Bf16)),
            Some(_) => unfit("--pack: expected f32 or bf16"),
        }
    }

    /// What makes a neuron important.
    fn importance(&self) -> Result<Importance> {
        if self.args.ramp > 0.0 || !self.args.exclude.is_empty() {
            return unfit("--ramp and --exclude are for weights (--sparsity), not for neurons");
        }
        match self.method {
            Some(PruneMethod::Magnitude) => Ok(Importance::Magnitude),
            Some(PruneMethod::Random) => Ok(Importance::Random(self.seed.unwrap_or(0))),
            _ => unfit("neurons are removed by --method magnitude or random"),
        }
    }

    fn of_network(&self) -> Result<Request> {
        let args = self.args;
        if args.heads.is_some() || args.intermediate.is_some() {
            return unfit(
                "--heads and --intermediate are for language models; use --neurons for a network",
            );
        }
        if args.calibrate.is_some() || args.test.is_some() {
            return unfit("--calibrate and --test are for language models");
        }
        let latency = args.target_latency.map(Target::Milliseconds);
        let target = latency.or(args.target_speedup.map(Target::Speedup));
        let removal = match (args.neurons, target) {
            (_, Some(target)) => Removal::Target {
                importance: self.importance()?,
                target,
                batch: args.batch.first().copied().unwrap_or(1),
            },
            (Some(share), _) => Removal::Neurons {
                importance: self.importance()?,
                share: match self.scope {
                    None | Some(PruneScope::Layer) => Share::Each(share),
                    Some(PruneScope::Global) => Share::All(share),
                    _ => return unfit("--neurons are ranked with --scope layer or global"),
                },
            },
            (None, None) => {
                let Some(method) = self.method else {
                    return unfit(
                        "--method wanda is for language models; use magnitude, movement or random",
                    );
                };
                let weights = Weights {
                    method,
                    scope: self.scope.unwrap_or_default(),
                    sparsity: args.sparsity,
                    pattern: args.pattern.clone(),
                    ramp: args.ramp,
                    exclude: args.exclude.clone(),
                };
                match args.rewind {
                    Some(_) if method == PruneMethod::Movement => {
                        return unfit(
                            "--rewind looks at trained weights: use --method magnitude or random",
                        );
                    }
                    Some(step) => Removal::Rewind(Rewind {
                        weights,
                        rounds: args.rounds,
                        step,
                    }),
                    None => Removal::Weights(weights),
                }
            }
        };
        Ok(Request {
            run: args.run.clone(),
            out: args.out.clone(),
            removal,
            epochs: args.epochs,
            pack: self.pack()?,
            set: self.set(),
            batches: args.batch.clone(),
        })
    }

    fn of_text(&self) -> Result<TextRequest> {
        let args = self.args;
        let no = |given: bool, why: &'static str| if given { unfit(why) } else { Ok(()) };
        no(
            args.neurons.is_some(),
            "a language model loses heads (--heads) or feed-forward neurons (--intermediate), not --neurons",
        )?;
        no(
            args.target_latency.is_some() || args.target_speedup.is_some(),
            "targets are for networks of pictures and tables; say --heads or --intermediate",
        )?;
        no(
            args.rewind.is_some(),
            "--rewind is for networks of pictures and tables",
        )?;
        no(
            args.ramp > 0.0 || !args.exclude.is_empty(),
            "--ramp and --exclude are for networks; in a recipe for a language model, set prune.ramp and prune.exclude",
        )?;
        let by = match self.method {
            None => By::Wanda,
            Some(PruneMethod::Magnitude) => By::Magnitude,
            Some(PruneMethod::Random) => By::Random,
            _ => {
                return unfit(
                    "a language model is pruned by --method magnitude, random or wanda; movement is for recipes (prune.method)",
                );
            }
        };
        let is_narrow = args.heads.is_some() || args.intermediate.is_some();
        let removal = match (&args.pattern, args.sparsity) {
            _ if is_narrow => {
                no(
                    by == By::Random,
                    "heads and feed-forward neurons are removed by --method magnitude or wanda",
                )?;
                TextRemoval::Widths {
                    heads: args.heads.unwrap_or(0.0),
                    inner: args.intermediate.unwrap_or(0.0),
                    calibrated: by == By::Wanda,
                }
            }
            (Some(pattern), _) => {
                let pattern = Pattern::parse(pattern).ok_or(Error::PruneArguments {
                    why: "--pattern: expected two numbers such as 2:4",
                })?;
                TextRemoval::Weights(Ranked {
                    by,
                    amount: Amount::Pattern(pattern),
                })
            }
            (None, share) => {
                let share = share.unwrap_or(0.0);
                let amount = match (self.scope, by) {
                    (Some(PruneScope::Row), _) | (None, By::Wanda) => Amount::OfRow(share),
                    (Some(PruneScope::Layer) | None, _) => Amount::OfLayer(share),
                    _ => {
                        return unfit(
                            "weights of a language model are ranked with --scope layer or row",
                        );
                    }
                };
                TextRemoval::Weights(Ranked { by, amount })
            }
        };
        let novel = cortical_data::moby_dick()?;
        let read = |path: Option<&Path>, own: &str| match path {
            Some(path) => Ok(cortical_io::read_text(path, TEXT_BYTES)?),
            None => Ok::<_, Error>(own.to_owned()),
        };
        let split = novel.len() - TEST_BYTES.min(novel.len() / 2);
        let split = (split..novel.len())
            .find(|at| novel.is_char_boundary(*at))
            .unwrap_or(0);
        let (first, last) = novel.split_at(split);
        Ok(TextRequest {
            model: args.run.clone(),
            out: args.out.clone(),
            removal,
            calibration: read(args.calibrate.as_deref(), first)?,
            tokens: args.tokens,
            test: read(args.test.as_deref(), last)?,
            pack: self.pack()?,
            batches: args.batch.clone(),
            seed: self.seed.unwrap_or(0),
        })
    }
}

/// The report for people.
fn text(run: &str, report: &Report, style: Style) -> String {
    let columns = [
        ("", Align::Left),
        ("before", Align::Right),
        ("after", Align::Right),
        ("", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for row in report.rows() {
        table.row(row.to_vec());
    }
    let mut text = format!(
        "\n{}\n\n{}",
        style.bold(&report.method),
        table.render(&style)
    );
    if !report.widths.is_empty() {
        let mut table = Table::new(&[
            ("neurons of", Align::Left),
            ("before", Align::Right),
            ("after", Align::Right),
        ]);
        for width in &report.widths {
            table.row(vec![
                width.layers.join(", "),
                width.before.to_string(),
                width.after.to_string(),
            ]);
        }
        text += &format!("\n{}", table.render(&style));
    }
    for remark in &report.remarks {
        text += &format!("\n  {remark}\n");
    }
    text += &format!("\n  {:<15}  {run}/model.safetensors\n", "model");
    text += &format!("  {:<15}  {run}/prune.html\n", "curves");
    text += &format!(
        "  {:<15}  {}\n",
        "test again",
        style.bold(&format!("cortical eval {run}"))
    );
    text
}
