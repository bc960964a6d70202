//! Which of its two implementations an operation runs: the kernel or the composition.

use candle_core::Device;
use std::cell::Cell;

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether an operation on this device is a composition of candle operations instead of one of our kernels.
#[must_use]
pub fn is_composed(device: &Device) -> bool {
    !device.is_cpu() || COMPOSED.get()
}

/// Runs `f` with every operation of this thread as a composition of candle operations, as it runs on a device without
/// kernels of ours. It exists so that tests can compare the two on the CPU.
pub fn with_composition<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            COMPOSED.set(self.0);
        }
    }
    let _restore = Restore(COMPOSED.replace(true));
    f()
}
