//! Which of its two implementations an operation runs: the kernel or the fallback.

use candle_core::Device;
use std::cell::Cell;

thread_local! {
    static FALLBACK: Cell<bool> = const { Cell::new(false) };
}

/// Whether an operation on this device falls back to candle's operations instead of running one of our kernels.
#[must_use]
pub fn is_fallback(device: &Device) -> bool {
    !device.is_cpu() || FALLBACK.get()
}

/// Runs `f` with every operation of this thread falling back to candle's operations, as it runs on a device without
/// kernels of ours. It exists so that tests can compare the two on the CPU.
pub fn with_fallback<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            FALLBACK.set(self.0);
        }
    }
    let _restore = Restore(FALLBACK.replace(true));
    f()
}
