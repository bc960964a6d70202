//! Connections, from the first to the last.

use crate::app::{App, Subject};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::metrics::Metrics;
use crate::options::{CONNECTIONS, Options, SLOW_HEAD};
use crate::routes::router;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

/// How often the server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Threads beside the one that speaks to clients: for tokenizers, templates and predictions.
const HELPERS: usize = 4;

/// Serves `subject` on `listener` until `stop` is set, and then for as long as requests that are under way need, at
/// most [`Options::grace`]. It computes with so many threads; as many as there are processors when `None`.
///
/// # Errors
/// [`Error::Start`] when the system gives no threads or the listener cannot be used; [`Error::Context`] for a model
/// that has no room for a text.
pub fn serve(
    subject: Subject,
    options: Options,
    threads: Option<usize>,
    listener: TcpListener,
    stop: &AtomicBool,
) -> Result<()> {
    let start = |why: std::io::Error| Error::Start { why };
    let (jobs, orders) = channel();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .build()
        .map_err(|why| start(std::io::Error::other(why)))?;
    if options.context < 2 {
        return Err(Error::Context {
            got: options.context,
        });
    }
    let places = options.together.saturating_add(options.queue);
    let app = Arc::new(App {
        places: Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS))),
        options,
        subject,
        metrics: Metrics::default(),
        pool,
        jobs,
        is_ending: AtomicBool::new(false),
        next: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(HELPERS)
        .build()
        .map_err(start)?;
    listener.set_nonblocking(true).map_err(start)?;
    std::thread::scope(|scope| {
        let writer = app.clone();
        let engine = move || {
            if let Subject::Language(language) = &writer.subject
                && language.model.has_head()
            {
                let engine = Engine {
                    model: &language.model,
                    tokenizer: &language.tokenizer,
                    options: &writer.options,
                    metrics: &writer.metrics,
                };
                writer.pool.install(|| engine.run(orders));
            }
        };
        let thread = std::thread::Builder::new().name("cortical-serve".to_owned());
        thread.spawn_scoped(scope, engine).map_err(start)?;
        let served = runtime.block_on(accept(&app, listener, stop));
        // Nobody is left to answer: what still computes may go on without an end.
        let _ = app.jobs.send(None);
        runtime.shutdown_timeout(Duration::from_millis(100));
        served
    })
}

async fn accept(app: &Arc<App>, listener: TcpListener, stop: &AtomicBool) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener);
    let listener = listener.map_err(|why| Error::Start { why })?;
    let routes = router(app.clone());
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    let (end, ended) = watch::channel(false);
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => {
                if stop.load(Ordering::SeqCst) {
                    break;
                }
            }
            // A further connection waits where the system keeps it.
            accepted = next(&listener, &connections) => match accepted {
                Ok((stream, place)) => {
                    let (routes, ended) = (routes.clone(), ended.clone());
                    tokio::spawn(async move {
                        connection(stream, routes, ended).await;
                        drop(place);
                    });
                }
                // Too many open files, a client that is gone already: the next one may work.
                Err(_) => tokio::time::sleep(LOOK).await,
            },
        }
    }
    app.is_ending.store(true, Ordering::Relaxed);
    let _ = end.send(true);
    drop(listener);
    let all = connections.acquire_many(CONNECTIONS as u32);
    let _ = tokio::time::timeout(app.options.grace, all).await;
    Ok(())
}

async fn next(
    listener: &tokio::net::TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = connections.clone().acquire_owned().await;
    let place = place.map_err(std::io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Pieces of text go out as they come.
    let _ = stream.set_nodelay(true);
    Ok((stream, place))
}

async fn connection(stream: TcpStream, routes: Router, mut ended: watch::Receiver<bool>) {
    let service = TowerToHyperService::new(routes);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOW_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    loop {
        tokio::select! {
            // What is wrong with a connection is told to its client, where that is possible.
            _ = connection.as_mut() => return,
            changed = ended.changed() => {
                connection.as_mut().graceful_shutdown();
                if changed.is_err() {
                    let _ = connection.as_mut().await;
                    return;
                }
            }
        }
    }
}
