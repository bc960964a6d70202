//! What can be wrong with a pickle.

use std::io;

/// Why a pickle is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleDefect {
    /// It names something of Python's that is not needed for tensors.
    #[error(
        "it asks for {module}.{name}, which is not among the things that tensors need, and nothing else is looked up; \
         in Python, save model.state_dict() or the tensors alone"
    )]
    Global {
        /// Python's module.
        module: String,
        /// The name in it.
        name: String,
    },
    /// An instruction that makes objects in other ways, or one that is not known.
    #[error(
        "it has the instruction {name} at byte {at}, which is not carried out; in Python, save it again with torch.save"
    )]
    Instruction {
        /// Python's name of it.
        name: String,
        /// Where it stands, from the beginning of the pickle.
        at: u64,
    },
    /// A protocol that is not read.
    #[error("it is of protocol {got}; protocols 2 to 5 are read")]
    Protocol {
        /// The number that stands there.
        got: u8,
    },
    /// It ends before its last instruction.
    #[error(
        "it ends at byte {at} in the middle of something; it is cut short: copy or download it again"
    )]
    Cut {
        /// Where it ends.
        at: u64,
    },
    /// A name or number in a line of its own is no text, or too long.
    #[error("the line that ends at byte {at} is no short text; it is damaged or made by hand")]
    Line {
        /// Where it ends.
        at: u64,
    },
    /// An instruction needs something that is not there or is of another kind.
    #[error("its instruction {name} at byte {at} needs {expected}; it is damaged or made by hand")]
    Operand {
        /// Python's name of the instruction.
        name: &'static str,
        /// Where it stands.
        at: u64,
        /// What it needs.
        expected: &'static str,
    },
    /// It makes more of itself than a file of this size can need.
    #[error(
        "it would take more than {limit} bytes of memory, more than a model file of this size needs"
    )]
    Memory {
        /// The most that is given.
        limit: u64,
    },
}

/// Why a pickle could not be read.
#[derive(Debug)]
pub(crate) enum Failure {
    Io(io::Error),
    Defect(PickleDefect),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<PickleDefect> for Failure {
    fn from(defect: PickleDefect) -> Self {
        Self::Defect(defect)
    }
}
