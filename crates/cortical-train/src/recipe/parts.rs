//! The tables of a recipe that are plain settings.

use cortical_data::csv::LabelColumn;
use cortical_optim::Averaging;
use cortical_settings::{
    Broken, Setting, at_least, between, choice, positive, rule, settings, share_below_one,
};

settings! {
    /// The table `[average]`: a second set of weights that follows the trained ones, which is tested and saved in their
    /// place.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct AverageRecipe {
        /// How weights are averaged.
        pub kind: AverageKind = AverageKind::None, "none, ema or mean: weights that are tested and saved";
        /// The share of the exponential average that a step keeps.
        pub decay: f64 = 0.999, "share of the average that a step keeps", share_below_one();
        /// Whether early steps count more.
        pub warmup: bool = true, "early steps count more";
        /// The first step that is averaged.
        pub from_step: u64 = 0, "the first step that is averaged";
    }
}

choice! {
    /// How weights are averaged.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum AverageKind: "kind of average" {
        /// Not at all.
        #[default]
        None = "none",
        /// Exponentially (EMA).
        Ema = "ema",
        /// All alike (SWA).
        Mean = "mean",
    }
}

impl AverageRecipe {
    /// The average as `cortical-optim` makes it.
    pub(crate) fn averaging(&self) -> Option<Averaging> {
        match self.kind {
            AverageKind::None => None,
            AverageKind::Ema => Some(Averaging::Exponential {
                decay: self.decay,
                warmup: self.warmup,
            }),
            AverageKind::Mean => Some(Averaging::Mean),
        }
    }
}

settings! {
    /// The table `[start]`: weights from another network, and what of it is trained.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct StartRecipe {
        /// A safetensors file, or the folder of a run; nothing for a fresh network.
        pub from: String = String::new(), "a safetensors file or a run to take weights from";
        /// Patterns of the names that stay as they begin, such as `conv*`.
        pub freeze: Vec<String> = Vec::new(), "names that are not trained, such as [\"conv*\"]";
        /// Patterns of the names that are not taken from the file, such as `fc2.*`: the new head.
        pub replace: Vec<String> = Vec::new(), "names that begin afresh, such as [\"fc2.*\"]";
    }
    check = |start| {
        let replaces = start.from.is_empty() && !start.replace.is_empty();
        replaces.then(|| {
            let found = format!("{:?} without start.from", start.replace);
            Broken::new("replace", "names of a file that is given", found)
        })
    };
}

settings! {
    /// The table `[guard]`: what happens when a loss or a gradient is non-finite.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct GuardRecipe {
        /// Whether the batch is left out, or the run ends.
        pub on_nan: OnNan = OnNan::Stop, "stop, or skip the batches of the step";
        /// How many steps in a row may be left out; 0 for any number.
        pub max_skips: u64 = 10, "steps in a row that may be skipped; 0: any number";
    }
}

choice! {
    /// What happens when a loss or a gradient is non-finite.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum OnNan: "reaction" {
        /// The run ends, and says in which layer and at which step.
        #[default]
        Stop = "stop",
        /// The step is undone and its batches are left out. A step after which every loss is non-finite is taken back:
        /// the run returns to its newest checkpoint and leaves out the newest step; if that does not help the newest
        /// two, then four …
        Skip = "skip",
    }
}

settings! {
    /// The table `[checkpoint]`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct CheckpointRecipe {
        /// Steps between two checkpoints; 0 for one at a stop only.
        pub every_steps: u64 = 500, "0: only when the run is stopped";
        /// How many checkpoints are kept.
        pub keep: usize = 2, "the newest so many stay", at_least(1);
        /// How many models of the best validations are kept, in `best/`.
        pub keep_best: usize = 0, "models of the best so many validations, in best/";
    }
}

settings! {
    /// The table `[log]`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct LogRecipe {
        /// Steps between two lines of `metrics.jsonl`; 0 for one line an epoch only.
        pub every_steps: u64 = 20, "lines in metrics.jsonl, at least 50 in a run; 0: one an epoch";
        /// Whether a TensorBoard event file is written as well.
        pub tensorboard: bool = false, "an event file for TensorBoard as well";
        /// Whether `metrics.csv` is written as well.
        pub csv: bool = false, "metrics.csv as well";
    }
}

settings! {
    /// The table `[lora]`: low-rank changes.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct LoraRecipe {
        /// Their rank.
        pub rank: usize = 8, "numbers that a change is described by, each way", between(1, 1 << 16);
        /// Their scale times the rank.
        pub alpha: f64 = 16.0, "its scale times the rank", positive();
        /// The projections that get one.
        pub targets: Vec<String> = vec!["q_proj".to_owned(), "v_proj".to_owned()], "the projections that get one",
            rule("names such as [\"q_proj\", \"v_proj\"]", |names: &Vec<String>| !names.is_empty());
        /// With a length for each weight vector.
        pub dora: bool = false, "with a length for each weight vector as well";
    }
}

settings! {
    /// The table `[classify]`: the model learns classes of whole texts, which a table of texts and labels shows it, in
    /// place of the next token.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub struct ClassifyRecipe {
        /// The column of texts.
        pub text: LabelColumn = LabelColumn::Name("text".to_owned()), "the column of texts, by name or by number from 1";
        /// The column of labels.
        pub label: LabelColumn = LabelColumn::Name("label".to_owned()), "the column of labels";
    }
    check = |classify| {
        let same = classify.text == classify.label;
        let label = classify.label.to_value().map_or_else(String::new, |label| label.to_string());
        same.then(|| Broken::new("label", "another column than that of texts", label))
    };
}
