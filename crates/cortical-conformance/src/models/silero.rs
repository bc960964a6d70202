//! silero-vad: is anybody speaking? Five convolutions, an LSTM, and one neuron that answers.

use super::{Agreement, ModelError, SileroWeights, agree, load};
use candle_core::{Device, Tensor};
use cortical_conv::{Conv1d, Padding, PaddingMode};
use cortical_io::TensorFile;
use cortical_kernels::activation::Activation::{Relu, Sigmoid};
use cortical_neuron::{Layer, Params, Pass, Result, network};
use cortical_recurrent::{Lstm, Recurrent, State};
use cortical_tensor::{Seed, ops};
use std::path::Path;

network! {
    /// The network for sound of 16,000 samples a second.
    struct Silero {
        // Windows of a Fourier transform as a convolution: 129 cosines, then 129 sines.
        stft_conv: Conv1d = Conv1d::config(1, 258, 256).stride(128)
            .padding(Padding::Sides([[0, 64]])).padding_mode(PaddingMode::Reflect).bias(false),
        conv1: Conv1d = Conv1d::config(129, 128, 3).padding(1).activation(Relu),
        conv2: Conv1d = Conv1d::config(128, 64, 3).stride(2).padding(1).activation(Relu),
        conv3: Conv1d = Conv1d::config(64, 64, 3).stride(2).padding(1).activation(Relu),
        conv4: Conv1d = Conv1d::config(64, 128, 3).padding(1).activation(Relu),
        lstm_cell: Recurrent = Lstm::config(128, 128),
        final_conv: Conv1d = Conv1d::config(128, 1, 1).activation(Sigmoid),
    }
}

impl Silero {
    /// The probability of speech in one chunk `[1, 576]`, and what the network remembers of it.
    fn listen(&self, chunk: &Tensor, state: Option<&State>) -> Result<(Tensor, State)> {
        let mut pass = Pass::eval();
        let waves = self.stft_conv.forward(&chunk.unsqueeze(1)?, &mut pass)?; // [1, 258, 4]
        let (real, imaginary) = (waves.narrow(1, 0, 129)?, waves.narrow(1, 129, 129)?);
        let mut x = (real.sqr()? + imaginary.sqr()?)?.sqrt()?; // [1, 129, 4], how loud each frequency is
        for conv in [&self.conv1, &self.conv2, &self.conv3, &self.conv4] {
            x = conv.forward(&x, &mut pass)?;
        }
        // [1, 128, 1] as one step of a sequence: [steps, batch, features]
        let run = self
            .lstm_cell
            .run(&x.permute((2, 0, 1))?.contiguous()?, state, &mut pass)?;
        let shown = ops::activate(&run.state.h.get(0)?, Relu)?; // [1, 128]
        let speech = self.final_conv.forward(&shown.unsqueeze(2)?, &mut pass)?; // [1, 1, 1]
        Ok((speech.flatten_all()?, run.state))
    }
}

/// The network with the published weights.
fn published(weights: &Path) -> Result<Silero, ModelError> {
    let params = Params::new(&Device::Cpu, Seed(0));
    let network = Silero::build(&params.root())?;
    let file = TensorFile::open(weights)?;
    for param in params.all() {
        // A cell of PyTorch's has one layer, and so no number behind its names.
        let name = param.name().trim_end_matches("_l0");
        param.set(&load(&file, name)?)?;
    }
    Ok(network)
}

pub(super) fn check(
    fixture: &Path,
    weights: &Path,
    which: SileroWeights,
) -> Result<Vec<Agreement>, ModelError> {
    let of = match which {
        SileroWeights::Onnx => "",
        SileroWeights::Safetensors => "published.",
    };
    let network = published(weights)?;
    let file = TensorFile::open(fixture)?;
    let mut agreements = Vec::new();
    for sound in ["tone", "noise"] {
        let chunks = load(&file, &format!("sound.{sound}"))?;
        let (mut speech, mut state) = (Vec::new(), None);
        for i in 0..chunks.dim(0)? {
            let heard = network.listen(&chunks.narrow(0, i, 1)?, state.as_ref())?;
            speech.push(heard.0);
            state = Some(heard.1);
        }
        let want = |what: &str| load(&file, &format!("{of}{what}.{sound}"));
        let speech = Tensor::cat(&speech, 0)?;
        agreements.push(agree(
            format!("silero-vad, speech in {sound}"),
            &speech,
            &want("speech")?,
        )?);
        if let Some(State { h, c: Some(c) }) = state {
            let name = |what: &str| format!("silero-vad, {what} after {sound}");
            agreements.push(agree(name("h"), &h.get(0)?, &want("h")?)?);
            agreements.push(agree(name("c"), &c.get(0)?, &want("c")?)?);
        }
    }
    Ok(agreements)
}
