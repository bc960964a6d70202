//! Tokens that a text repeats: guesses of what comes next, out of the text itself.
//!
//! Where the last tokens of a text stand in it already, what stood behind them may come again. The model reads such
//! guesses together with the token that it has to read anyway, and weights are read once for all of them; what it would
//! have written itself is kept, the rest is forgotten, so the text is the same.
//!
//! # Source
//! Leviathan et al., "Fast inference from transformers via speculative decoding" (2023); Saxena, "Prompt lookup
//! decoding" (2023).

/// As many of the last tokens have to stand in the text a second time.
const ALIKE: usize = 3;
/// The first guess has so many tokens.
const FIRST: usize = 2;
/// The most steps without a guess after guesses that were wrong.
const LONGEST_PAUSE: usize = 64;

/// What is guessed of one text, and how well that went: wrong guesses cost time, so they become rare.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    /// Tokens of the next guess.
    most: usize,
    /// Steps without a guess that are left, and those after the next wrong one.
    rest: usize,
    pause: usize,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            most: FIRST,
            rest: 0,
            pause: 1,
        }
    }
}

impl Lookup {
    /// Up to `limit` tokens that may come behind `text`. Where the place that is looked at is near the end, so that its
    /// own guesses would come next, the text goes round.
    pub(crate) fn guess(&mut self, text: &[u32], limit: usize) -> Vec<u32> {
        if self.rest > 0 {
            self.rest -= 1;
            return Vec::new();
        }
        let Some(start) = text.len().checked_sub(ALIKE).filter(|_| limit > 0) else {
            return Vec::new();
        };
        let last = &text[start..];
        // The last place is the likeliest to go on in the same way.
        let found = text[..text.len() - 1]
            .windows(ALIKE)
            .rposition(|tokens| tokens == last);
        let Some(at) = found else {
            return Vec::new();
        };
        let round = text[at + ALIKE..].iter().cycle();
        round.take(self.most.min(limit)).copied().collect()
    }

    /// Learns how many tokens of the last guess were right.
    pub(crate) fn learn(&mut self, guessed: usize, right: usize) {
        if guessed == 0 {
            return;
        }
        if right == guessed {
            self.most = (2 * self.most).min(64);
        } else {
            self.most = (right + 1).max(FIRST);
        }
        if right > 0 {
            self.pause = 1;
        } else {
            self.rest = self.pause;
            self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_behind_the_last_tokens_is_guessed() {
        let mut lookup = Lookup::default();
        let text = [9, 1, 2, 3, 4, 5, 6, 7, 1, 2, 3, 8, 1, 2, 3];
        assert_eq!(lookup.guess(&text, 7), [8, 1]);
        lookup.learn(2, 2);
        assert_eq!(lookup.guess(&text, 7), [8, 1, 2, 3]);
        assert_eq!(lookup.guess(&text, 1), [8]);
        assert!(lookup.guess(&text, 0).is_empty());
        assert_eq!(lookup.guess(&text[..11], 7), [4, 5, 6, 7]);
        // A token, or some, again and again.
        assert_eq!(lookup.guess(&[5, 5, 5, 5], 7), [5, 5, 5, 5]);
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 1, 2, 3], 7), [4, 1, 2, 3]);
        for short in [&[][..], &[1], &[1, 1], &[1, 2, 3], &[1, 2, 3, 4]] {
            assert!(lookup.guess(short, 7).is_empty());
        }
    }

    #[test]
    fn wrong_guesses_become_rare() {
        let mut lookup = Lookup::default();
        let mut guesses = 0;
        for _ in 0..1000 {
            let guess = lookup.guess(&[1, 2, 3, 4, 1, 2, 3], 7).len();
            guesses += usize::from(guess > 0);
            lookup.learn(guess, 0);
        }
        assert!((10..30).contains(&guesses), "{guesses}");
        // A right one makes up for all.
        while lookup.guess(&[1, 2, 3, 4, 1, 2, 3], 7).is_empty() {}
        lookup.learn(2, 1);
        assert_eq!(lookup.guess(&[1, 2, 3, 4, 1, 2, 3], 7).len(), 2);
    }
}
