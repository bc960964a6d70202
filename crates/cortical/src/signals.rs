//! Ctrl-C and SIGTERM: while a training runs, the first asks for a checkpoint and the second ends the process at once.
//! Before its first step there is nothing to save, so the first ends it.

use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cortical_train::{Event, Observer};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::{Error, Result};

/// What ends the process before the first step: it says that it does, and returns the exit code.
pub(crate) type End = Box<dyn FnOnce() -> u8 + Send>;

/// What signals ask for.
#[derive(Clone)]
pub(crate) struct Listener {
    stop: Arc<AtomicBool>,
    /// What a signal does before the first step; `None` from then on.
    end: Arc<Mutex<Option<End>>>,
}

impl Listener {
    /// Listens from now on. Until [`Listener::before`] has said what else is to be done, a signal ends the process.
    pub(crate) fn start() -> Result<Self> {
        let listener = Self {
            stop: Arc::new(AtomicBool::new(false)),
            end: Arc::new(Mutex::new(Some(Box::new(|| 1)))),
        };
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|why| Error::Signals { why })?;
        let heard = listener.clone();
        let listen = move || {
            for _ in &mut signals {
                heard.hear();
            }
        };
        std::thread::Builder::new()
            .name("cortical-signals".to_owned())
            .spawn(listen)
            .map_err(|why| Error::Signals { why })?;
        Ok(listener)
    }

    /// Says what a signal does before the first step: undo what was made, and say so.
    pub(crate) fn before(&self, end: impl FnOnce() -> u8 + Send + 'static) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(end));
    }

    /// Makes what a signal has to undo from then on, as `make` says with it; a signal that comes meanwhile waits.
    pub(crate) fn make<T, E>(
        &self,
        make: impl FnOnce() -> std::result::Result<(T, End), E>,
    ) -> std::result::Result<T, E> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, undo) = make()?;
        *end = Some(undo);
        Ok(made)
    }

    /// The first step is about to be taken.
    pub(crate) fn begin(&self) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Set by a signal after the first step has begun.
    pub(crate) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    #[allow(clippy::exit, reason = "what is interrupted cannot return")]
    fn hear(&self) {
        // Held until the end, so that no step begins meanwhile.
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = end.take() {
            exit(end().into());
        }
        if self.stop.swap(true, Ordering::SeqCst) {
            exit(1);
        }
    }
}

/// Tells a listener when the first step is about to be taken.
pub(crate) struct Beginning<'a> {
    pub(crate) listener: &'a Listener,
    pub(crate) watcher: Box<dyn Observer + 'a>,
}

impl Observer for Beginning<'_> {
    fn event(&mut self, event: Event<'_>) {
        if let Event::Ready(_) = &event {
            self.listener.begin();
        }
        self.watcher.event(event);
    }
}
