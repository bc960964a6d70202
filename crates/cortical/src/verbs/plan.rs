//! `plan`

use std::time::Duration;

use cortical_explain::{Forecast, ForecastOptions, Machine, NumberType, Work, forecast};
use cortical_train::in_pool;
use serde_json::{Map, Value, json};

use crate::cli::{Common, PlanArgs};
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;
use crate::style::{Style, bytes, count, percent};
use crate::table::{Align, Table};

/// How long steps are taken for, to see how long one takes.
const EFFORT: Duration = Duration::from_millis(1500);

/// `cortical plan`
pub(crate) fn plan(args: &PlanArgs, common: &Common, output: &Output) -> Result<Done> {
    let mut options = ForecastOptions::default();
    options.data.clone_from(&args.data);
    options.overrides.clone_from(&args.set);
    options.batch = args.batch;
    options.context = args.context;
    options.dtype = args.dtype.as_deref().and_then(NumberType::named);
    options.optimizer.clone_from(&args.optimizer);
    options.recompute = args.recompute;
    options.card = args.device.as_deref().and_then(Machine::card);
    options.machines = args.machines.map(|machines| (machines, args.link / 8.0));
    if !args.no_trial {
        options.effort = EFFORT;
    }
    let found = in_pool(common.threads, || forecast(&args.what, &options))??;
    let name = args.what.display().to_string();
    output.result(&machines(&name, &found), |style| text(&name, &found, style));
    Ok(Done::Finished)
}

fn machines(name: &str, found: &Forecast) -> Value {
    let machine = &found.machine;
    let splits = found.splits.iter().map(|split| {
        json!({
            "name": split.name,
            "how": split.how,
            "wire_bytes": split.wire_bytes,
            "memory": split.memory,
            "fits": split.memory <= machine.memory,
            "busy": split.busy,
            "wire_ms": split.wire_ms,
            "step_ms": split.step_ms,
        })
    });
    json!({
        "model": name,
        "parameters": found.parameters,
        "trainable": found.trainable,
        "context": found.context,
        "optimizer": found.recipe.optim.kind(),
        "machine": {
            "name": machine.name,
            "memory": machine.memory,
            "gb_s": machine.gb_s,
            "gflops": machine.gflops,
            "bf16_gflops": machine.bf16_gflops,
            "source": machine.source,
        },
        "training": work(&found.training),
        "inference": work(&found.inference),
        "decoding": found.decoding.as_ref().map(work),
        "machines": splits.collect::<Vec<Value>>(),
        "remarks": found.remarks,
    })
}

fn work(work: &Work) -> Value {
    let parts = work.memory.parts();
    let mut memory: Map<String, Value> = parts
        .map(|(part, bytes)| (part.to_owned(), json!(bytes)))
        .collect();
    memory.insert("total".to_owned(), json!(work.memory.total()));
    json!({
        "batch": work.batch,
        "units": work.units,
        "memory": memory,
        "fits": work.fits,
        "largest_batch": work.largest_batch,
        "multiply_adds": work.multiply_adds,
        "bytes_moved": work.bytes_moved,
        "floor_ms": work.floor_ms,
        "measured_ms": work.measured_ms,
        "per_second": work.per_second(),
    })
}

fn text(name: &str, found: &Forecast, style: &Style) -> String {
    let machine = &found.machine;
    let mut text = format!(
        "  {}: {} parameters",
        style.bold(name),
        style.bold(&count(found.parameters))
    );
    if found.trainable < found.parameters {
        text += &format!(", {} of them trained", count(found.trainable));
    }
    text += &format!(
        "\n  {}: {} of memory at {:.0} GB/s, {} in f32{}\n",
        machine.name,
        bytes(machine.memory),
        machine.gb_s,
        flops(machine.gflops),
        machine
            .bf16_gflops
            .map_or(String::new(), |bf16| format!(", {} in bf16", flops(bf16))),
    );
    text += &style.dim(&format!("  {}\n", machine.source));
    let training = &found.training;
    let of_text = found.context.map_or(String::new(), |context| {
        format!(" of {} tokens", count(context))
    });
    let unit = if found.context.is_some() {
        "tokens"
    } else {
        "samples"
    };
    let thing = if found.context.is_some() {
        "text"
    } else {
        "sample"
    };
    let things = |number: usize| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{} {thing}{plural}", count(number))
    };
    let heading = |what: &str, work: &Work| format!("{what}, {}{of_text}", things(work.batch));
    let optimizer = found.recipe.optim.kind();
    let mut works = vec![
        (
            heading(&format!("a step of training with {optimizer}"), training),
            training,
        ),
        (heading("a way forward", &found.inference), &found.inference),
    ];
    if let Some(decoding) = &found.decoding {
        let what = format!(
            "the next token behind {}",
            count(found.context.unwrap_or(0))
        );
        works.push((
            format!("{what}, {} at once", things(decoding.batch)),
            decoding,
        ));
    }
    for (heading, work) in works {
        text += &format!("\n{}", section(&heading, work, unit, style));
    }
    if !found.splits.is_empty() {
        text += &format!("\n{}", splits(found, style));
    }
    for remark in &found.remarks {
        text += &format!("\n  {remark}\n");
    }
    text
}

/// One kind of work: its memory as a table, then arithmetic and time.
fn section(heading: &str, work: &Work, unit: &str, style: &Style) -> String {
    let total = work.memory.total();
    let mut table = Table::new(&[
        ("memory", Align::Left),
        ("bytes", Align::Right),
        ("share", Align::Right),
    ]);
    for (part, size) in work.memory.parts().chain([("total", total)]) {
        let share = percent(size as f64 / total.max(1) as f64);
        table.row(vec![part.to_owned(), bytes(size), share]);
    }
    let mut text = format!("  {}\n{}", style.bold(heading), table.render(style));
    text += match (work.fits, work.largest_batch) {
        (true, Some(largest)) => format!(
            "  fits; the largest batch that does is {}\n",
            count(largest)
        ),
        (false, Some(largest)) => {
            format!(
                "  does not fit; the largest batch that does is {}\n",
                count(largest)
            )
        }
        (_, None) => "  does not fit, whatever the batch\n".to_owned(),
    }
    .as_str();
    text += &format!(
        "  {} multiply-adds, {} moved: at least {}\n",
        count(work.multiply_adds),
        bytes(work.bytes_moved),
        ms(work.floor_ms)
    );
    let rate = rate(work.per_second());
    text += &match work.measured_ms {
        Some(taken) => format!(
            "  {} as tried here ({} of what is possible): {rate} {unit} a second\n",
            style.bold(&ms(taken)),
            percent(work.floor_ms / taken)
        ),
        None => format!("  at most {rate} {unit} a second\n"),
    };
    text
}

fn splits(found: &Forecast, style: &Style) -> String {
    let mut table = Table::new(&[
        ("several machines", Align::Left),
        ("memory of each", Align::Right),
        ("fits", Align::Left),
        ("sent a step", Align::Right),
        ("on the wire", Align::Right),
        ("busy", Align::Right),
        ("step", Align::Right),
        ("faster", Align::Right),
    ]);
    for split in &found.splits {
        let fits = if split.memory <= found.machine.memory {
            "yes"
        } else {
            "no"
        };
        table.row(vec![
            split.name.to_owned(),
            bytes(split.memory),
            fits.to_owned(),
            bytes(split.wire_bytes),
            ms(split.wire_ms),
            percent(split.busy),
            ms(split.step_ms),
            format!("{:.2}×", found.training.ms() / split.step_ms),
        ]);
    }
    let mut text = table.render(style);
    for split in &found.splits {
        text += &style.dim(&format!("  {}: {}\n", split.name, split.how));
    }
    text
}

fn flops(gflops: f64) -> String {
    match gflops < 1000.0 {
        true => format!("{gflops:.0} GFLOP/s"),
        false => format!("{:.1} TFLOP/s", gflops / 1e3),
    }
}

fn ms(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.3} ms"),
    }
}

fn rate(per_second: f64) -> String {
    match per_second < 100.0 {
        true => format!("{per_second:.2}"),
        false => count(per_second.round() as u64),
    }
}
