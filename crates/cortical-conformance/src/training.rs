//! Cases of training's machinery: optimizers, schedules, limits on gradients.

use crate::Stop;
use crate::given::{numbers, tensor};
use crate::outcome::Judge;
use candle_core::{DType, Device, Tensor, Var};
use cortical_neuron::Params;
use cortical_optim::{
    Lbfgs, LbfgsConfig, Norm, Optimizer, OptimizerConfig, Plateau, PlateauConfig, Schedule, Sgd,
    SgdConfig, clip_grad_norm, clip_grad_value,
};
use cortical_tensor::{Seed, with_fallback};
use serde_json::{Value, json};

/// Runs an optimizer by its kernels, by candle's operations, and with its state saved and loaded before every step.
pub(crate) fn optimizer(judge: &mut Judge<'_>) -> Result<(), Stop> {
    if judge.case.name == "LBFGS" {
        return lbfgs(judge);
    }
    let config: OptimizerConfig =
        serde_json::from_value(recipe(judge)).map_err(|error| unknown(judge, error))?;
    steps(judge, config, "kernel", false)?;
    with_fallback(|| steps(judge, config, "fallback", false))?;
    steps(judge, config, "reloaded", true)
}

/// L-BFGS asks for the loss itself: the logistic loss of a linear map, `mean(softplus(x w + b) − y (x w + b))`.
fn lbfgs(judge: &mut Judge<'_>) -> Result<(), Stop> {
    let mut config = recipe(judge);
    if let Some(arguments) = config.as_object_mut() {
        arguments.remove("name");
    }
    let config: LbfgsConfig =
        serde_json::from_value(config).map_err(|error| unknown(judge, error))?;
    let case = judge.case;
    let given = |name: &str| {
        let values = case.tensors.get(name);
        tensor(values.ok_or_else(|| malformed(name))?)
    };
    let (x, y) = (given("input.0")?, given("input.1")?);
    for (way, reload) in [("straight", false), ("reloaded", true)] {
        let params = Params::new(&Device::Cpu, Seed(0));
        for (name, values) in case.with_prefix("param.") {
            params.adopt(name, Var::from_tensor(&tensor(values)?)?)?;
        }
        let (w, b) = (params.get("0")?, params.get("1")?);
        let mut optimizer = Lbfgs::new(&params, config)?;
        for step in 0.. {
            if case.with_prefix(&format!("after.{step}.")).next().is_none() {
                break;
            }
            if reload {
                let state = optimizer.state()?;
                optimizer = Lbfgs::new(&params, config)?;
                optimizer.load_state(&state)?;
            }
            optimizer.step(|| -> Result<f64, Stop> {
                let z = x.matmul(w.var().as_tensor())?;
                let z = z.broadcast_add(b.var().as_tensor())?;
                // softplus(z) = max(z, 0) + ln(1 + exp(−|z|))
                let tail = z.abs()?.neg()?.exp()?.affine(1.0, 1.0)?.log()?;
                let loss = ((z.relu()? + tail)? - (&z * &y)?)?.mean_all()?;
                params.backward(&loss)?;
                Ok(loss.to_scalar()?)
            })?;
            for param in params.all() {
                let what = format!("after.{step}.{}", param.name());
                compare(judge, way, &what, param.tensor())?;
            }
        }
    }
    Ok(())
}

fn steps(
    judge: &mut Judge<'_>,
    config: OptimizerConfig,
    way: &'static str,
    reload: bool,
) -> Result<(), Stop> {
    let case = judge.case;
    let params = Params::new(&Device::Cpu, Seed(0));
    for (name, values) in case.with_prefix("param.") {
        params.adopt(name, Var::from_tensor(&tensor(values)?)?)?;
    }
    let mut optimizer = config.build(&params, Vec::new())?;
    for step in 0.. {
        let prefix = format!("grad.{step}.");
        if case.with_prefix(&prefix).next().is_none() {
            return Ok(());
        }
        for (name, values) in case.with_prefix(&prefix) {
            params.get(name)?.slot().set(Some(tensor(values)?));
        }
        if reload {
            let state = optimizer.state()?;
            optimizer = config.build(&params, Vec::new())?;
            optimizer.load_state(&state)?;
        }
        optimizer.step()?;
        for param in params.all() {
            let what = format!("after.{step}.{}", param.name());
            compare(judge, way, &what, param.tensor())?;
        }
    }
    Ok(())
}

/// Asks a schedule for each step's learning rate.
pub(crate) fn schedule(judge: &mut Judge<'_>) -> Result<(), Stop> {
    if judge.case.name == "ReduceLROnPlateau" {
        return plateau(judge);
    }
    let mut config = recipe(judge);
    // A cyclic schedule has a base learning rate of its own.
    if judge.case.name != "CyclicLR"
        && let Some(arguments) = config.as_object_mut()
    {
        arguments.remove("base_lr");
    }
    with_defaults(&mut config);
    let schedule: Schedule =
        serde_json::from_value(config).map_err(|error| unknown(judge, error))?;
    schedule.validate()?;
    let base = number(&judge.case.config, "base_lr")?;
    let steps = judge
        .case
        .tensors
        .get("lr")
        .map_or(0, |lr| lr.to_f64().len());
    let rates: Vec<f64> = (0..steps as u64).map(|t| schedule.lr(t, base)).collect();
    judge.compare("function", "lr", &rates, None)?;
    if judge.case.tensors.contains_key("momentum") {
        let momenta: Option<Vec<f64>> = (0..steps as u64).map(|t| schedule.momentum(t)).collect();
        let momenta = momenta.ok_or_else(|| malformed("momentum"))?;
        judge.compare("function", "momentum", &momenta, None)?;
    }
    Ok(())
}

/// Writes out what PyTorch's constant schedule leaves out: ours of that name is constant unless told otherwise.
fn with_defaults(config: &mut Value) {
    if let Some(arguments) = config.as_object_mut() {
        if arguments
            .get("name")
            .is_some_and(|name| name == "ConstantLR")
        {
            arguments.entry("factor").or_insert(json!(1.0 / 3.0));
            arguments.entry("total_iters").or_insert(json!(5));
        }
        if let Some(members) = arguments
            .get_mut("schedulers")
            .and_then(Value::as_array_mut)
        {
            members.iter_mut().for_each(with_defaults);
        }
    }
}

/// Shows a plateau schedule the metrics of the case, one after each step.
fn plateau(judge: &mut Judge<'_>) -> Result<(), Stop> {
    let mut config = recipe(judge);
    let mut metrics = Vec::new();
    if let Some(arguments) = config.as_object_mut() {
        arguments.remove("name");
        arguments.remove("base_lr");
        let given = arguments.remove("metrics").unwrap_or_default();
        metrics = serde_json::from_value(given).map_err(|error| unknown(judge, error))?;
    }
    let config: PlateauConfig =
        serde_json::from_value(config).map_err(|error| unknown(judge, error))?;
    let mut plateau = Plateau::new(config, number(&judge.case.config, "base_lr")?)?;
    let mut rates = vec![plateau.lr()];
    rates.extend(metrics.iter().map(|metric: &f64| plateau.observe(*metric)));
    rates.truncate(
        judge
            .case
            .tensors
            .get("lr")
            .map_or(0, |lr| lr.to_f64().len()),
    );
    judge.compare("function", "lr", &rates, None)
}

/// Limits gradients by kernels, by candle's operations, and inside a step of an optimizer.
pub(crate) fn clip(judge: &mut Judge<'_>) -> Result<(), Stop> {
    clip_slots(judge, "kernel")?;
    with_fallback(|| clip_slots(judge, "fallback"))?;
    if judge.case.name == "clip_grad_norm_" {
        clip_in_step(judge)?;
    }
    Ok(())
}

/// Parameters of zeros with the case's gradients in their slots.
fn with_gradients(judge: &Judge<'_>) -> Result<Params, Stop> {
    let params = Params::new(&Device::Cpu, Seed(0));
    for (name, values) in judge.case.with_prefix("grad.") {
        let var = Var::zeros(&values.shape[..], DType::F32, &Device::Cpu)?;
        params.adopt(name, var)?.slot().set(Some(tensor(values)?));
    }
    Ok(params)
}

fn clip_slots(judge: &mut Judge<'_>, way: &'static str) -> Result<(), Stop> {
    let params = with_gradients(judge)?;
    let config = &judge.case.config;
    match judge.case.name.as_str() {
        "clip_grad_norm_" => {
            let (max_norm, norm) = norm_limit(config)?;
            let total = clip_grad_norm(&params, max_norm, norm)?;
            judge.compare(way, "total_norm", &[total], None)?;
        }
        "clip_grad_value_" => clip_grad_value(&params, number(config, "clip_value")?)?,
        name => {
            return Err(Stop::UnknownSubject {
                kind: judge.case.kind.clone(),
                name: name.to_string(),
            });
        }
    }
    for param in params.all() {
        let grad = param.grad().ok_or_else(|| malformed("gradient"))?;
        compare(judge, way, &format!("after.{}", param.name()), &grad)?;
    }
    Ok(())
}

/// A step of SGD uphill from zero with learning rate 1 ends at the gradient that it used.
fn clip_in_step(judge: &mut Judge<'_>) -> Result<(), Stop> {
    let params = with_gradients(judge)?;
    let uphill = SgdConfig {
        lr: 1.0,
        maximize: true,
        ..SgdConfig::default()
    };
    let (max_norm, norm) = norm_limit(&judge.case.config)?;
    let total = Sgd::new(&params, uphill)?.step_clipped(max_norm, norm)?;
    judge.compare("step", "total_norm", &[total], None)?;
    for param in params.all() {
        compare(
            judge,
            "step",
            &format!("after.{}", param.name()),
            param.tensor(),
        )?;
    }
    Ok(())
}

/// The largest norm and which norm it is.
fn norm_limit(config: &Value) -> Result<(f64, Norm), Stop> {
    let norm_type = match config.get("norm_type") {
        Some(_) => number(config, "norm_type")?,
        None => 2.0,
    };
    let norm = match norm_type {
        1.0 => Norm::One,
        2.0 => Norm::Two,
        f64::INFINITY => Norm::Infinity,
        p if p > 0.0 => Norm::P(p),
        other => {
            return Err(Stop::UnknownOption {
                option: "norm_type".to_string(),
                value: other.to_string(),
            });
        }
    };
    Ok((number(config, "max_norm")?, norm))
}

/// A number, also one written as a string (JSON has no infinity).
fn number(config: &Value, key: &str) -> Result<f64, Stop> {
    let value = &config[key];
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed
        .or_else(|| value.as_f64())
        .ok_or_else(|| malformed(&format!("config.{key}")))
}

fn malformed(what: &str) -> Stop {
    Stop::Malformed {
        what: what.to_string(),
    }
}

/// PyTorch's name and arguments as a recipe would hold them.
fn recipe(judge: &Judge<'_>) -> Value {
    let mut config = judge.case.config.clone();
    config["name"] = judge.case.name.clone().into();
    if let Some(arguments) = config.as_object_mut() {
        // What is null is PyTorch's default; the rest chooses an implementation or writes to the screen.
        let no_matter = [
            "foreach",
            "fused",
            "capturable",
            "differentiable",
            "verbose",
            "last_epoch",
            "error_if_nonfinite",
        ];
        arguments.retain(|key, value| !value.is_null() && !no_matter.contains(&key.as_str()));
    }
    config
}

/// Our configuration has no such name or argument.
fn unknown(judge: &Judge<'_>, error: serde_json::Error) -> Stop {
    Stop::UnknownOption {
        option: error.to_string(),
        value: judge.case.config.to_string(),
    }
}

fn compare(judge: &mut Judge<'_>, way: &'static str, what: &str, got: &Tensor) -> Result<(), Stop> {
    judge.compare(way, what, &numbers(got)?, Some(got.dims()))
}
