//! What a case starts from, as tensors.

use crate::Stop;
use candle_core::{Device, Tensor, Var};
use cortical_testkit::{Case, CaseTensor, Values};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// How the elements of a case's tensors lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One after the other.
    Contiguous,
    /// The last axis is furthest apart; a single axis has a gap after every element.
    Strided,
}

/// Inputs, parameters, buffers and further tensors of a case. Those whose gradient the case knows are variables.
pub(crate) struct Given {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) train: bool,
    /// How many outputs the case expects.
    pub(crate) outputs: usize,
    params: BTreeMap<String, Tensor>,
    buffers: BTreeMap<String, Tensor>,
    extra: BTreeMap<String, Tensor>,
    read: RefCell<BTreeSet<String>>,
    variables: BTreeMap<String, Var>,
}

impl Given {
    /// The tensors of a case whose names begin as these kinds of arguments do.
    pub(crate) fn new(case: &Case, layout: Layout) -> Result<Self, Stop> {
        let mut given = Self {
            inputs: Vec::new(),
            train: case.config["train"].as_bool().unwrap_or(true),
            outputs: case.with_prefix("output").count(),
            params: BTreeMap::new(),
            buffers: BTreeMap::new(),
            extra: BTreeMap::new(),
            read: RefCell::default(),
            variables: BTreeMap::new(),
        };
        while let Some(values) = case.tensors.get(&format!("input.{}", given.inputs.len())) {
            let gradient = format!("d_input.{}", given.inputs.len());
            let input = given.argument(case, (values, layout), &gradient)?;
            given.inputs.push(input);
        }
        for (name, values) in case.with_prefix("param.") {
            let param = given.argument(case, (values, layout), &format!("d_param.{name}"))?;
            given.params.insert(name.to_string(), param);
        }
        for (name, values) in case.with_prefix("buffer.") {
            given.buffers.insert(name.to_string(), tensor(values)?);
        }
        for (name, values) in case.with_prefix("extra.") {
            given.extra.insert(name.to_string(), tensor(values)?);
        }
        Ok(given)
    }

    fn argument(
        &mut self,
        case: &Case,
        (values, layout): (&CaseTensor, Layout),
        gradient: &str,
    ) -> Result<Tensor, Stop> {
        let mut tensor = tensor(values)?;
        if layout == Layout::Strided {
            tensor = strided(&tensor)?;
        }
        if !case.tensors.contains_key(gradient) {
            return Ok(tensor);
        }
        let var = Var::from_tensor(&tensor)?;
        let tensor = var.as_tensor().clone();
        self.variables.insert(gradient.to_string(), var);
        Ok(tensor)
    }

    /// The variable whose gradient the case calls `gradient`.
    pub(crate) fn variable(&self, gradient: &str) -> Option<&Var> {
        self.variables.get(gradient)
    }

    pub(crate) fn input(&self, i: usize) -> Result<&Tensor, Stop> {
        self.inputs.get(i).ok_or_else(|| Stop::Malformed {
            what: format!("input.{i}"),
        })
    }

    pub(crate) fn param(&self, name: &str) -> Result<&Tensor, Stop> {
        self.params.get(name).ok_or_else(|| Stop::Malformed {
            what: format!("param.{name}"),
        })
    }

    /// A tensor among the arguments of a function: the input at this place, or the further tensor of this name.
    pub(crate) fn argument_opt(&self, i: usize, name: &str) -> Option<&Tensor> {
        let by_name = self.extra(name);
        self.inputs.get(i).or(by_name)
    }

    pub(crate) fn param_opt(&self, name: &str) -> Option<&Tensor> {
        self.params.get(name)
    }

    /// A tensor that an option of the subject holds, noted as read.
    pub(crate) fn extra(&self, name: &str) -> Option<&Tensor> {
        self.read.borrow_mut().insert(name.to_string());
        self.extra.get(name)
    }

    pub(crate) fn buffer_opt(&self, name: &str) -> Option<&Tensor> {
        self.buffers.get(name)
    }

    pub(crate) fn params(&self) -> &BTreeMap<String, Tensor> {
        &self.params
    }

    pub(crate) fn buffers(&self) -> &BTreeMap<String, Tensor> {
        &self.buffers
    }

    /// Refuses a case with a further tensor that nobody has read.
    pub(crate) fn finish(&self) -> Result<(), Stop> {
        let read = self.read.borrow();
        match self.extra.keys().find(|name| !read.contains(*name)) {
            Some(name) => Err(Stop::UnknownOption {
                option: name.clone(),
                value: "a tensor".to_string(),
            }),
            None => Ok(()),
        }
    }
}

/// A tensor of a case on the CPU.
pub(crate) fn tensor(values: &CaseTensor) -> Result<Tensor, Stop> {
    let shape = &values.shape[..];
    let tensor = match &values.data {
        Values::F32(data) => Tensor::from_slice(data, shape, &Device::Cpu),
        Values::F64(data) => Tensor::from_slice(data, shape, &Device::Cpu),
        Values::I64(data) => Tensor::from_slice(data, shape, &Device::Cpu),
        Values::U32(data) => Tensor::from_slice(data, shape, &Device::Cpu),
        Values::U8(data) => Tensor::from_slice(data, shape, &Device::Cpu),
        _ => {
            return Err(Stop::Malformed {
                what: "dtype of a tensor".to_string(),
            });
        }
    };
    Ok(tensor?)
}

/// The same tensor in other places: its first and last axis change theirs, or every second element is skipped.
fn strided(tensor: &Tensor) -> Result<Tensor, Stop> {
    let tensor = match tensor.rank() {
        0 => tensor.clone(),
        1 => Tensor::stack(&[tensor, tensor], 1)?
            .narrow(1, 1, 1)?
            .squeeze(1)?,
        rank => tensor
            .transpose(0, rank - 1)?
            .contiguous()?
            .transpose(0, rank - 1)?,
    };
    Ok(tensor)
}

/// The elements of any tensor as `f64`.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f64>, Stop> {
    let wide = tensor.to_dtype(candle_core::DType::F64)?.contiguous()?;
    Ok(wide.flatten_all()?.to_vec1()?)
}
