//! Randomness, and the step of an optimizer.

use super::Family;
use crate::error::Result;
use crate::workloads::{Size, normal};
use candle_core::{Device, Tensor, Var};
use cortical_neuron::Params;
use cortical_optim::{AdamW, AdamWConfig, Optimizer};
use cortical_tensor::{Rng, Seed, ops};
use std::cell::RefCell;

pub(super) fn families(size: Size) -> Result<Vec<Family>> {
    Ok(vec![philox(size), dropout(size)?, optimizer(size)?])
}

fn philox(size: Size) -> Family {
    let n = size.pick(1 << 20, 9);
    Family {
        module: "philox",
        name: "normal numbers",
        ours: Box::new(move || {
            let mut values = vec![0.0; n];
            Rng::new(Seed(0), "philox").fill_normal(&mut values, 0.0, 1.0);
            Ok(vec![Tensor::from_vec(values, n, &Device::Cpu)?])
        }),
        opponent: "candle's randn",
        theirs: Box::new(move || Ok(vec![Tensor::randn(0.0_f32, 1.0, n, &Device::Cpu)?])),
        same: false,
    }
}

fn dropout(size: Size) -> Result<Family> {
    let x = normal("x", &[size.pick(1 << 20, 9)])?;
    let again = x.clone();
    Ok(Family {
        module: "dropout",
        name: "dropout of a half",
        ours: Box::new(move || {
            Ok(vec![ops::dropout(
                &x,
                0.5,
                &mut Rng::new(Seed(0), "dropout"),
            )?])
        }),
        opponent: "candle's rand, compared and multiplied",
        theirs: Box::new(move || {
            let keeps = Tensor::rand(0.0_f32, 1.0, again.shape(), &Device::Cpu)?.ge(0.5)?;
            Ok(vec![(&again * (keeps.to_dtype(again.dtype())? * 2.0)?)?])
        }),
        same: false,
    })
}

/// One step from the same numbers, so that both sides can be compared.
fn optimizer(size: Size) -> Result<Family> {
    let n = size.pick(1 << 20, 9);
    let (start, gradient) = (normal("parameter", &[n])?, normal("gradient", &[n])?);
    let params = Params::new(&Device::Cpu, Seed(0));
    params.adopt("p", Var::from_tensor(&start)?)?;
    let config = AdamWConfig::default();
    let stepping = RefCell::new(AdamW::new(&params, config)?);
    let theirs = RefCell::new((start.clone(), start.zeros_like()?, start.zeros_like()?, 0));
    let of_theirs = gradient.clone();
    Ok(Family {
        module: "optimizer",
        name: "AdamW",
        ours: Box::new(move || {
            for param in params.all() {
                param.slot().set(Some(gradient.clone()));
            }
            stepping.borrow_mut().step()?;
            Ok(vec![params.get("p")?.tensor().copy()?])
        }),
        opponent: "candle's operations",
        theirs: Box::new(move || {
            let mut state = theirs.borrow_mut();
            let (p, m, v, t) = &mut *state;
            *t += 1;
            let [b1, b2] = [config.betas.0, config.betas.1];
            *m = ((&*m * b1)? + (&of_theirs * (1.0 - b1))?)?;
            *v = ((&*v * b2)? + (of_theirs.sqr()? * (1.0 - b2))?)?;
            let (m_hat, v_hat) = ((&*m / (1.0 - b1.powi(*t)))?, (&*v / (1.0 - b2.powi(*t)))?);
            let change = (m_hat / (v_hat.sqrt()? + config.eps)?)?;
            *p = ((&*p * (1.0 - config.lr * config.weight_decay))? - (change * config.lr)?)?;
            Ok(vec![p.clone()])
        }),
        same: true,
    })
}
