//! Layers, functions and losses: outputs, every gradient, and buffers after the call.

use crate::Stop;
use crate::config::Config;
use crate::given::{Given, Layout, numbers};
use crate::outcome::Judge;
use crate::subjects::{self, Made};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use cortical_neuron::{Params, Pass};
use cortical_tensor::{Seed, with_fallback};
use cortical_testkit::Values;

const LAYER: &str = "layer";
const FALLBACK_LAYER: &str = "fallback layer";
const STRIDED_LAYER: &str = "layer of strided tensors";
const OPERATION: &str = "operation";
const FALLBACK: &str = "fallback";
const STRIDED_OPERATION: &str = "operation of strided tensors";

/// Runs a case in every way we have for it: as a layer whose parameters have slots, as an operation on plain variables,
/// both of tensors that are not contiguous, and both as fallbacks in candle's operations.
pub(crate) fn run(judge: &mut Judge<'_>) -> Result<(), Stop> {
    let as_layer = layer(judge, LAYER, Layout::Contiguous)?;
    if as_layer {
        layer(judge, STRIDED_LAYER, Layout::Strided)?;
        with_fallback(|| layer(judge, FALLBACK_LAYER, Layout::Contiguous))?;
    }
    let as_operation = operation(judge, OPERATION, Layout::Contiguous)?;
    if as_operation {
        operation(judge, STRIDED_OPERATION, Layout::Strided)?;
        with_fallback(|| operation(judge, FALLBACK, Layout::Contiguous))?;
    }
    if as_layer || as_operation {
        return Ok(());
    }
    Err(Stop::UnknownSubject {
        kind: judge.case.kind.clone(),
        name: judge.case.name.clone(),
    })
}

/// The layer as a user builds it; `false` if we have none of this name.
fn layer(judge: &mut Judge<'_>, way: &'static str, layout: Layout) -> Result<bool, Stop> {
    if judge.case.kind != "layer" {
        return Ok(false);
    }
    // Parameters are of single precision; their operations are not.
    let mut held = judge.case.with_prefix("param.");
    if held.any(|(_, t)| matches!(t.data, Values::F64(_))) {
        return Ok(false);
    }
    let given = Given::new(judge.case, layout)?;
    let config = Config::new(&judge.case.config);
    // A layer that is larger than what the case holds for it is refused before it is made.
    let held = judge
        .case
        .with_prefix("param.")
        .map(|(_, t)| t.shape.iter().product::<usize>());
    let params = Params::limited(&Device::Cpu, Seed(0), held.sum());
    let Some(layer) = subjects::layer(&judge.case.name, &config, &params, &given)? else {
        return Ok(false);
    };
    config.finish()?;
    given.finish()?;
    load(&params, &given)?;
    let mut rng = params.rng("pass");
    let mut pass = match given.train {
        true => Pass::train(&mut rng),
        // PyTorch's evaluation is differentiated as well.
        false => Pass::eval().tracked(),
    };
    let outputs = layer(&given.inputs, &mut pass)?;
    let gradients = backward(judge, way, &outputs)?;
    compare_outputs(judge, way, &outputs)?;
    for gradient in gradients_of(judge, "d_input.") {
        compare_variable(judge, way, &given, &gradients, &gradient)?;
    }
    for gradient in gradients_of(judge, "d_param.") {
        let param = params.get(gradient.trim_start_matches("d_param."))?;
        let got = match gradients.as_ref().and_then(|g| g.get(param.var())) {
            Some(grad) => Some(grad.clone()),
            None => param.grad(),
        };
        compare_gradient(judge, way, &gradient, got.as_ref())?;
    }
    for buffer in gradients_of(judge, "buffer_after.") {
        let got = params.buffer(buffer.trim_start_matches("buffer_after."))?;
        let got = got.tensor();
        judge.compare(way, &buffer, &numbers(&got)?, Some(got.dims()))?;
    }
    Ok(true)
}

/// The case's values into the layer's parameters and buffers, which must have PyTorch's names.
fn load(params: &Params, given: &Given) -> Result<(), Stop> {
    let names = |given: &std::collections::BTreeMap<String, Tensor>| -> Vec<String> {
        given.keys().cloned().collect()
    };
    let mut got: Vec<String> = params.all().iter().map(|p| p.name().to_string()).collect();
    got.sort();
    let expected = names(given.params());
    if got != expected {
        return Err(Stop::ParameterNames {
            way: LAYER,
            expected,
            got,
        });
    }
    let mut got: Vec<String> = params
        .buffers()
        .iter()
        .map(|b| b.name().to_string())
        .collect();
    got.sort();
    let expected = names(given.buffers());
    if got != expected {
        return Err(Stop::ParameterNames {
            way: LAYER,
            expected,
            got,
        });
    }
    for (name, value) in given.params().iter().chain(given.buffers()) {
        params.set(name, &value.detach())?;
    }
    Ok(())
}

/// The operation on plain variables; `false` if we have none of this name.
fn operation(judge: &mut Judge<'_>, way: &'static str, layout: Layout) -> Result<bool, Stop> {
    let given = Given::new(judge.case, layout)?;
    let config = Config::new(&judge.case.config);
    let Some(Made { outputs, buffers }) =
        subjects::operation(&judge.case.kind, &judge.case.name, &config, &given)?
    else {
        return Ok(false);
    };
    config.finish()?;
    given.finish()?;
    let gradients = backward(judge, way, &outputs)?;
    compare_outputs(judge, way, &outputs)?;
    for prefix in ["d_input.", "d_param."] {
        for gradient in gradients_of(judge, prefix) {
            compare_variable(judge, way, &given, &gradients, &gradient)?;
        }
    }
    for (name, value) in buffers {
        let what = format!("buffer_after.{name}");
        judge.compare(way, &what, &numbers(&value)?, Some(value.dims()))?;
    }
    Ok(true)
}

/// `output` for one tensor, `output.0`, `output.1`, … for several.
fn output_name(prefix: &str, i: usize, count: usize) -> String {
    if count == 1 {
        prefix.to_string()
    } else {
        format!("{prefix}.{i}")
    }
}

/// Backpropagation from the case's upstream gradients; nothing if the case knows no gradient.
fn backward(
    judge: &Judge<'_>,
    way: &'static str,
    outputs: &[Tensor],
) -> Result<Option<GradStore>, Stop> {
    let mut loss: Option<Tensor> = None;
    for (i, output) in outputs.iter().enumerate() {
        let name = output_name("d_output", i, outputs.len());
        if !output.dtype().is_float() {
            // Places and other integers have no gradient.
            continue;
        }
        let Some(upstream) = judge.case.tensors.get(&name) else {
            return Err(Stop::Malformed { what: name });
        };
        if upstream.shape != output.dims() {
            return Err(Stop::Shape {
                way,
                what: name.replace("d_", ""),
                expected: upstream.shape.clone(),
                got: output.dims().to_vec(),
            });
        }
        let part = output.mul(&crate::given::tensor(upstream)?)?.sum_all()?;
        loss = Some(match loss {
            Some(loss) => (loss + part)?,
            None => part,
        });
    }
    Ok(loss
        .filter(Tensor::track_op)
        .map(|loss| loss.backward())
        .transpose()?)
}

fn compare_outputs(
    judge: &mut Judge<'_>,
    way: &'static str,
    outputs: &[Tensor],
) -> Result<(), Stop> {
    let expected = judge.case.with_prefix("output").count();
    if expected != outputs.len() {
        return Err(Stop::NotComputed {
            way,
            what: format!("{expected} outputs ({} were)", outputs.len()),
        });
    }
    for (i, output) in outputs.iter().enumerate() {
        let name = output_name("output", i, outputs.len());
        judge.compare(way, &name, &numbers(output)?, Some(output.dims()))?;
    }
    Ok(())
}

/// The names of the case's tensors that begin so.
fn gradients_of(judge: &Judge<'_>, prefix: &str) -> Vec<String> {
    judge
        .case
        .with_prefix(prefix)
        .map(|(name, _)| format!("{prefix}{name}"))
        .collect()
}

fn compare_variable(
    judge: &mut Judge<'_>,
    way: &'static str,
    given: &Given,
    gradients: &Option<GradStore>,
    gradient: &str,
) -> Result<(), Stop> {
    let var = given.variable(gradient).ok_or_else(|| Stop::Malformed {
        what: gradient.to_string(),
    })?;
    let got = gradients.as_ref().and_then(|g| g.get(var));
    compare_gradient(judge, way, gradient, got)
}

fn compare_gradient(
    judge: &mut Judge<'_>,
    way: &'static str,
    gradient: &str,
    got: Option<&Tensor>,
) -> Result<(), Stop> {
    let Some(got) = got else {
        return Err(Stop::NotComputed {
            way,
            what: gradient.to_string(),
        });
    };
    judge.compare(way, gradient, &numbers(got)?, Some(got.dims()))
}
