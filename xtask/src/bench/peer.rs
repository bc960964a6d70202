//! Whose libraries we are compared with.

/// Somebody else's library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// PyTorch, with its fused AdamW.
    Torch,
    /// candle-nn.
    Candle,
    /// Burn with its flex backend.
    Burn,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::Torch, Self::Candle, Self::Burn];

    /// What its program calls itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::Candle => "candle-nn",
            Self::Burn => "burn-flex",
        }
    }

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Torch => "PyTorch",
            Self::Candle => "candle-nn",
            Self::Burn => "Burn",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }
}
