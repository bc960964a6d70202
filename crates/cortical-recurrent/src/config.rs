//! The options of recurrent layers.

use cortical_kernels::recurrent::Cell;

/// Plain recurrent neurons: `h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)`, PyTorch's `nn.RNN`.
#[derive(Clone, Copy, Debug)]
pub struct Rnn;

/// Long short-term memory, PyTorch's `nn.LSTM`: gates decide what a cell keeps, takes in and shows.
#[derive(Clone, Copy, Debug)]
pub struct Lstm;

/// Gated recurrent units, PyTorch's `nn.GRU`.
#[derive(Clone, Copy, Debug)]
pub struct Gru;

impl Rnn {
    /// The options of a layer with tanh; see [`RecurrentConfig::relu`] for ReLU.
    #[must_use]
    pub fn config(input_size: usize, hidden_size: usize) -> RecurrentConfig {
        RecurrentConfig::new(Cell::RnnTanh, input_size, hidden_size)
    }
}

impl Lstm {
    /// The options of a layer that reads `input_size` numbers a step and remembers `hidden_size`.
    #[must_use]
    pub fn config(input_size: usize, hidden_size: usize) -> RecurrentConfig {
        RecurrentConfig::new(Cell::Lstm, input_size, hidden_size)
    }
}

impl Gru {
    /// The options of a layer that reads `input_size` numbers a step and remembers `hidden_size`.
    #[must_use]
    pub fn config(input_size: usize, hidden_size: usize) -> RecurrentConfig {
        RecurrentConfig::new(Cell::Gru, input_size, hidden_size)
    }
}

/// The options of a [`Recurrent`](crate::Recurrent) layer.
#[derive(Clone, Copy, Debug)]
pub struct RecurrentConfig {
    pub(crate) cell: Cell,
    pub(crate) input: usize,
    pub(crate) hidden: usize,
    pub(crate) layers: usize,
    pub(crate) bias: bool,
    pub(crate) batch_first: bool,
    pub(crate) bidirectional: bool,
    pub(crate) dropout: f64,
    pub(crate) projection: usize,
}

impl RecurrentConfig {
    fn new(cell: Cell, input: usize, hidden: usize) -> Self {
        Self {
            cell,
            input,
            hidden,
            layers: 1,
            bias: true,
            batch_first: false,
            bidirectional: false,
            dropout: 0.0,
            projection: 0,
        }
    }

    /// ReLU in place of tanh in a plain RNN; other neurons stay what they are.
    #[must_use]
    pub fn relu(mut self) -> Self {
        if self.cell == Cell::RnnTanh {
            self.cell = Cell::RnnRelu;
        }
        self
    }

    /// How many layers lie on one another, each reading the states of the one below; 1 by default.
    #[must_use]
    pub fn num_layers(mut self, layers: usize) -> Self {
        self.layers = layers;
        self
    }

    /// Whether neurons have biases; they have by default.
    #[must_use]
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether sequences are `[batch, steps, features]`; `[steps, batch, features]` by default, as in PyTorch.
    #[must_use]
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// Whether half of the neurons read the sequence from its end; none do by default.
    #[must_use]
    pub fn bidirectional(mut self, bidirectional: bool) -> Self {
        self.bidirectional = bidirectional;
        self
    }

    /// The probability with which training zeroes each element between two layers; 0 by default.
    #[must_use]
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// How many numbers an LSTM shows of what it remembers, by a projection of its own; all of them by default (0). It
    /// runs step by step, slower than one operation for the sequence.
    #[must_use]
    pub fn proj_size(mut self, size: usize) -> Self {
        self.projection = size;
        self
    }

    /// How many numbers a direction shows at each step.
    pub(crate) fn output(&self) -> usize {
        if self.projection > 0 {
            self.projection
        } else {
            self.hidden
        }
    }
}
