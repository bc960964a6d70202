//! The thread that computes: texts join and leave one batch.

use crate::kept::{Kept, LEAST};
use crate::metrics::{Metrics, add, set};
use crate::options::Options;
use cortical_models::language::LanguageModel;
use cortical_text::{
    Batch, Progress, Request, Sampler, Stop, TextId, TextPieces, TextStreamOptions, Tokenizer,
    Written,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

/// A text to be written.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) prompt: Vec<u32>,
    pub(crate) sampler: Sampler,
    pub(crate) limit: usize,
    pub(crate) ends: Vec<u32>,
    pub(crate) stop: Vec<String>,
    pub(crate) alternatives: Option<usize>,
    /// Which of a request's texts it is.
    pub(crate) choice: usize,
    /// Who hears of it; one that is closed means that nobody does any more.
    pub(crate) events: UnboundedSender<Event>,
    /// When it has taken too long.
    pub(crate) deadline: Instant,
    /// Its place in the queue, which is free again when it ends.
    pub(crate) place: OwnedSemaphorePermit,
}

/// What becomes of a job.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) choice: usize,
    pub(crate) what: What,
}

/// As above.
#[derive(Debug)]
pub(crate) enum What {
    /// Its turn has come; so many tokens of the prompt were known.
    Begun { known: usize },
    /// More of the text, and the tokens that it came with.
    Text {
        piece: String,
        tokens: Vec<TokenText>,
    },
    /// It is at its end.
    End { finish: Finish },
    /// It failed.
    Failed { why: String },
}

/// A token as clients want to know it.
#[derive(Clone, Debug)]
pub(crate) struct TokenText {
    pub(crate) text: String,
    pub(crate) log_probability: Option<f32>,
    pub(crate) alternatives: Vec<(String, f32)>,
}

/// Why a text ended, in the interface's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The model's end or a stop string.
    Stop,
    /// Tokens, positions or time were used up.
    Length,
}

impl Finish {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// A job whose turn has come.
struct Active<'a> {
    pieces: TextPieces<'a>,
    choice: usize,
    events: UnboundedSender<Event>,
    deadline: Instant,
    _place: OwnedSemaphorePermit,
}

/// All that the thread holds.
pub(crate) struct Engine<'a> {
    pub(crate) model: &'a LanguageModel,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) options: &'a Options,
    pub(crate) metrics: &'a Metrics,
}

impl Engine<'_> {
    /// Writes what comes until it is told to end.
    pub(crate) fn run(&self, jobs: Receiver<Option<Job>>) {
        let mut batch = Batch::new(self.model);
        let mut kept = Kept::new(self.options.kept);
        let mut active: BTreeMap<TextId, Active<'_>> = BTreeMap::new();
        let mut waiting: VecDeque<Job> = VecDeque::new();
        loop {
            if batch.is_empty() && waiting.is_empty() {
                match jobs.recv() {
                    Ok(Some(job)) => waiting.push_back(job),
                    Ok(None) | Err(_) => return,
                }
            }
            loop {
                match jobs.try_recv() {
                    Ok(Some(job)) => waiting.push_back(job),
                    Ok(None) | Err(TryRecvError::Disconnected) => return,
                    Err(TryRecvError::Empty) => break,
                }
            }
            self.drop_abandoned(&mut batch, &mut active, &mut waiting, &mut kept);
            while batch.len() < self.options.together
                && let Some(job) = waiting.pop_front()
            {
                self.begin(job, &mut batch, &mut active, &mut kept);
            }
            set(&self.metrics.waiting, waiting.len());
            set(&self.metrics.active, batch.len());
            set(&self.metrics.kept, kept.positions());
            if batch.is_empty() {
                continue;
            }
            let began = Instant::now();
            match batch.step() {
                Ok(all) => {
                    self.metrics.stepped(began.elapsed());
                    for progress in all {
                        self.tell(progress, &mut batch, &mut active, &mut kept);
                    }
                }
                Err(error) => {
                    // What was read of each may be half of a step: nothing is kept.
                    for (_, job) in std::mem::take(&mut active) {
                        let why = error.to_string();
                        send(&job.events, job.choice, What::Failed { why });
                    }
                    batch = Batch::new(self.model);
                }
            }
        }
    }

    /// Lets those go that nobody waits for any more, and those that have taken too long.
    fn drop_abandoned(
        &self,
        batch: &mut Batch<'_>,
        active: &mut BTreeMap<TextId, Active<'_>>,
        waiting: &mut VecDeque<Job>,
        kept: &mut Kept,
    ) {
        let now = Instant::now();
        waiting.retain(|job| {
            let is_late = now > job.deadline;
            if is_late {
                let why = "the request waited longer than the server's time limit".to_owned();
                send(&job.events, job.choice, What::Failed { why });
            }
            if job.events.is_closed() {
                add(&self.metrics.abandoned, 1);
            }
            !is_late && !job.events.is_closed()
        });
        let gone: Vec<TextId> = active
            .iter()
            .filter(|(_, job)| job.events.is_closed() || now > job.deadline)
            .map(|(id, _)| *id)
            .collect();
        for id in gone {
            let Some(mut job) = active.remove(&id) else {
                continue;
            };
            if job.events.is_closed() {
                add(&self.metrics.abandoned, 1);
            } else {
                let piece = job.pieces.end().unwrap_or_default();
                let tokens = Vec::new();
                send(&job.events, job.choice, What::Text { piece, tokens });
                let finish = Finish::Length;
                send(&job.events, job.choice, What::End { finish });
            }
            leave(id, batch, kept);
        }
    }

    /// Takes a job into the batch, with what is known of its prompt.
    fn begin<'t>(
        &'t self,
        job: Job,
        batch: &mut Batch<'_>,
        active: &mut BTreeMap<TextId, Active<'t>>,
        kept: &mut Kept,
    ) {
        let Job {
            prompt,
            sampler,
            limit,
            ends,
            stop,
            alternatives,
            choice,
            events,
            deadline,
            place,
        } = job;
        let room = prompt.len().saturating_add(limit).min(self.options.context);
        let join = || -> cortical_text::Result<_> {
            // Of another text that is being written, or of one that was.
            let least = kept.longest(&prompt).max(LEAST);
            let known = match batch.fork(&prompt, least, room)? {
                Some(cache) => Some(cache),
                None => kept.fork(&prompt, room)?,
            };
            let cache = known.unwrap_or_else(|| self.model.cache_with_room(room));
            let known = cache.len();
            let options = TextStreamOptions { stop };
            let pieces = TextPieces::new(self.tokenizer, &prompt, options)?;
            let read = prompt.len() - known;
            let request = Request {
                prompt,
                cache,
                sampler,
                limit,
                ends,
                beyond_context: false,
                alternatives,
                lookup: true,
            };
            let id = batch.join(request)?;
            add(&self.metrics.known, known as u64);
            add(&self.metrics.read, read as u64);
            Ok((id, known, pieces))
        };
        match join() {
            Ok((id, known, pieces)) => {
                send(&events, choice, What::Begun { known });
                let job = Active {
                    pieces,
                    choice,
                    events,
                    deadline,
                    _place: place,
                };
                active.insert(id, job);
            }
            Err(error) => {
                let why = error.to_string();
                send(&events, choice, What::Failed { why });
            }
        }
    }

    /// Tells what a step did for a text.
    fn tell(
        &self,
        progress: Progress,
        batch: &mut Batch<'_>,
        active: &mut BTreeMap<TextId, Active<'_>>,
        kept: &mut Kept,
    ) {
        let id = progress.text;
        let Some(job) = active.get_mut(&id) else {
            batch.leave(id);
            return;
        };
        add(&self.metrics.written, progress.written.len() as u64);
        let end = match self.text_of(job, &progress) {
            Ok((piece, tokens)) => {
                if !piece.is_empty() || !tokens.is_empty() {
                    send(&job.events, job.choice, What::Text { piece, tokens });
                }
                match progress.end {
                    _ if job.pieces.is_stopped() => Some(Ok(Finish::Stop)),
                    Some(Ok(Stop::End | Stop::Text)) => Some(Ok(Finish::Stop)),
                    Some(Ok(Stop::Length | Stop::Positions)) => Some(Ok(Finish::Length)),
                    Some(Err(error)) => Some(Err(error)),
                    None => None,
                }
            }
            Err(error) => Some(Err(error)),
        };
        let Some(end) = end else {
            return;
        };
        let what = match end {
            Ok(finish) => What::End { finish },
            Err(error) => What::Failed {
                why: error.to_string(),
            },
        };
        send(&job.events, job.choice, what);
        active.remove(&id);
        leave(id, batch, kept);
    }

    /// The text and the tokens of a step.
    fn text_of(
        &self,
        job: &mut Active<'_>,
        progress: &Progress,
    ) -> cortical_text::Result<(String, Vec<TokenText>)> {
        let (mut piece, mut tokens) = (String::new(), Vec::new());
        for written in &progress.written {
            if job.pieces.is_stopped() {
                break;
            }
            piece += &job.pieces.push(written.token)?;
            tokens.push(self.token(written)?);
        }
        if progress.end.is_some() {
            piece += &job.pieces.end()?;
        }
        Ok((piece, tokens))
    }

    fn token(&self, written: &Written) -> cortical_text::Result<TokenText> {
        let text = |token: u32| -> cortical_text::Result<String> {
            let text = self.tokenizer.decode(&[token])?;
            // Special tokens are no text.
            Ok(match text.is_empty() {
                true => self.tokenizer.piece(token).unwrap_or_default(),
                false => text,
            })
        };
        // What nobody asked for is not decoded.
        if written.log_probability.is_none() {
            return Ok(TokenText {
                text: String::new(),
                log_probability: None,
                alternatives: Vec::new(),
            });
        }
        let alternatives = written.alternatives.iter();
        Ok(TokenText {
            text: text(written.token)?,
            log_probability: written.log_probability,
            alternatives: alternatives
                .map(|(token, p)| Ok((text(*token)?, *p)))
                .collect::<cortical_text::Result<_>>()?,
        })
    }
}

/// Takes a text out of the batch and keeps what was read of it.
fn leave(id: TextId, batch: &mut Batch<'_>, kept: &mut Kept) {
    if let Some(left) = batch.leave(id) {
        // Where memory is short, it is read again.
        let _ = kept.keep(left.tokens, &left.cache);
    }
}

/// Where nobody listens, the next look at the channel lets the text go.
fn send(events: &UnboundedSender<Event>, choice: usize, what: What) {
    let _ = events.send(Event { choice, what });
}
