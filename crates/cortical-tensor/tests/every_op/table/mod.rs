//! The table: every public operation, family by family.

mod conv;
mod dense;
mod fused;
mod loss;
mod norm;
mod pool;
mod reduction;
mod sequence;

use crate::subject::Subject;

/// All entries.
pub(crate) fn table() -> Vec<Subject> {
    [
        dense::table(),
        conv::table(),
        pool::table(),
        norm::table(),
        loss::table(),
        sequence::table(),
        reduction::table(),
        fused::table(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
