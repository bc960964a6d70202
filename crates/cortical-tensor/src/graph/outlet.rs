//! The way from a tensor back to the operation that made it.

use super::lock;
use super::node::Outlet;
use candle_core::{Tensor, TensorId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};

/// candle shows nobody the op behind a tensor, so the outlets of living tensors stand in an index beside it. It is an
/// index and no state: an entry says the same from its tensor's first day to its last, candle never gives an id twice,
/// and a tensor that is missing here gets the same gradient through candle, as any other.
static OUTLETS: LazyLock<Mutex<HashMap<TensorId, Weak<Outlet>>>> = LazyLock::new(Mutex::default);

/// The outlet that made `tensor`, if an operation of ours did.
pub(super) fn of(tensor: &Tensor) -> Option<Arc<Outlet>> {
    lock(&OUTLETS).get(&tensor.id()).and_then(Weak::upgrade)
}

/// Remembers the outlet of a tensor until [`forget`].
pub(super) fn remember(tensor: &Tensor, outlet: &Arc<Outlet>) {
    lock(&OUTLETS).insert(tensor.id(), Arc::downgrade(outlet));
}

/// The tensor is gone.
pub(super) fn forget(id: TensorId) {
    lock(&OUTLETS).remove(&id);
}
