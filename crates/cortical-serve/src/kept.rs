//! What was read of earlier texts, for those that begin in the same way.

use cortical_models::language::ModelCache;
use cortical_text::Result;
use std::collections::VecDeque;

/// Fewer tokens than these are read again sooner than copied.
pub(crate) const LEAST: usize = 16;

/// Texts that have left, the oldest first.
#[derive(Debug)]
pub(crate) struct Kept {
    texts: VecDeque<(Vec<u32>, ModelCache)>,
    /// Positions that all of them have together.
    positions: usize,
    limit: usize,
}

impl Kept {
    /// Keeps so many positions.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            texts: VecDeque::new(),
            positions: 0,
            limit,
        }
    }

    /// How many positions are kept.
    pub(crate) fn positions(&self) -> usize {
        self.positions
    }

    /// Keeps what is read of a text, in no more memory than it needs; the oldest go where room is short.
    pub(crate) fn keep(&mut self, mut tokens: Vec<u32>, cache: &ModelCache) -> Result<()> {
        let len = cache.len();
        if len < LEAST || len > self.limit {
            return Ok(());
        }
        tokens.truncate(len);
        // One that this one goes on from is not needed any more.
        let positions = &mut self.positions;
        self.texts.retain(|(own, _)| {
            let is_older = tokens.starts_with(own);
            if is_older {
                *positions -= own.len();
            }
            !is_older
        });
        while self.positions + len > self.limit
            && let Some((old, _)) = self.texts.pop_front()
        {
            self.positions -= old.len();
        }
        self.texts.push_back((tokens, cache.fork(len, len)?));
        self.positions += len;
        Ok(())
    }

    /// How many tokens of `prompt` are kept at most.
    pub(crate) fn longest(&self, prompt: &[u32]) -> usize {
        let all = self.texts.iter().map(|(own, _)| alike(own, prompt));
        all.max().unwrap_or(0)
    }

    /// The longest beginning of `prompt` that is kept, in memory of its own with room for so many positions.
    pub(crate) fn fork(&mut self, prompt: &[u32], room: usize) -> Result<Option<ModelCache>> {
        let best = (0..self.texts.len()).max_by_key(|at| alike(&self.texts[*at].0, prompt));
        let Some(at) = best else {
            return Ok(None);
        };
        let len = alike(&self.texts[at].0, prompt).min(prompt.len().saturating_sub(1));
        if len < LEAST {
            return Ok(None);
        }
        let Some(used) = self.texts.remove(at) else {
            return Ok(None);
        };
        let cache = used.1.fork(len, room)?;
        // What was used last goes last.
        self.texts.push_back(used);
        Ok(Some(cache))
    }
}

fn alike(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use cortical_models::language::{LanguageModel, preset};
    use cortical_neuron::{Params, Pass};
    use cortical_tensor::Seed;

    #[test]
    fn the_longest_beginning_comes_back_and_the_oldest_go() {
        let config = preset("llama-tiny").unwrap().config;
        let model = LanguageModel::build(&config, &Params::new(&Device::Cpu, Seed(1))).unwrap();
        let text = |first: u32, len: usize| -> Vec<u32> {
            std::iter::once(first).chain(1..len as u32).collect()
        };
        let read = |tokens: &[u32]| {
            let mut cache = model.cache();
            let ids = Tensor::from_slice(tokens, (1, tokens.len()), &Device::Cpu).unwrap();
            model
                .hidden(&ids, Some(&mut cache), &mut Pass::eval())
                .unwrap();
            cache
        };
        let mut kept = Kept::new(100);
        for (first, len) in [(100, 40), (101, 40), (100, 50), (102, 8), (103, 101)] {
            let tokens = text(first, len);
            kept.keep(tokens.clone(), &read(&tokens)).unwrap();
        }
        // The longer one took the place of its beginning; those too short and too long are not there.
        assert_eq!((kept.positions(), kept.texts.len()), (90, 2));
        let mut prompt = text(100, 45);
        prompt.push(7);
        assert_eq!(kept.longest(&prompt), 45);
        assert_eq!(kept.fork(&prompt, 64).unwrap().unwrap().len(), 45);
        // All of a prompt but its last token.
        assert_eq!(kept.fork(&text(100, 20), 64).unwrap().unwrap().len(), 19);
        assert!(kept.fork(&text(100, 10), 64).unwrap().is_none());
        // It was used last, so the other one goes.
        let more = text(104, 30);
        kept.keep(more.clone(), &read(&more)).unwrap();
        assert_eq!(kept.positions(), 80);
        assert_eq!(kept.longest(&text(101, 40)), 0);
    }
}
