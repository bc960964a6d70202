//! The table `[train]`: how long, and how much at a time.

use cortical_settings::{
    Value, at_least, at_most, between, choice, not_negative, positive, rule, setting, settings,
    share_below_one,
};

use serde::{Deserialize, Serialize};

use crate::measured::Measure;

/// What is counted in memory stays far from where it would wrap.
const MILLION: u64 = 1 << 20;

settings! {
    /// The fields of `[train]` that every recipe has.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct TrainRecipe {
        /// How often every sample is seen; for a text how often as many tokens as it has are read. 0 for as many steps
        /// as `max_steps` says: for none at all, where that is 0 too and the weights come from somewhere else.
        pub epochs: u64 = 1, "how often every sample is seen; 0: as max_steps says", at_most(1_000_000_000);
        /// Samples of a batch: pictures, rows, texts, or blocks of a text.
        pub batch_size: usize = 64, "samples of a batch", between(1, MILLION as usize);
        /// Batches whose gradients make one step.
        pub accumulate: u64 = 1, "batches whose gradients make one step", between(1, MILLION);
        /// Steps after which the run ends; 0 for after its epochs.
        pub max_steps: u64 = 0, "the run ends after so many; 0: after its epochs", at_most(1 << 40);
        /// Seconds of training after which the run ends; 0 for no limit. What such a run computes depends on the
        /// machine's speed.
        pub time_budget_s: f64 = 0.0, "seconds of training; 0: no limit", not_negative();
        /// Steps between two validations; 0 for one an epoch.
        pub validate_every: u64 = 0, "steps between validations; 0: one an epoch";
        /// How many validations in a row may fail to improve before the run ends; 0 for any number.
        pub patience: u64 = 0, "validations without improvement before the end; 0: any number";
        /// What early stopping, a plateau schedule and the choice of the best models look at.
        pub monitor: Monitor = Monitor::ValidLoss, "valid_loss, valid_accuracy, valid_r2 or valid_average_precision";
        /// Only the first so many batches are learned from, again and again; 0 for all. A network that cannot learn
        /// them by heart has a mistake.
        pub overfit_batches: u64 = 0, "learn the first so many by heart; 0: all";
    }
}

choice! {
    /// What early stopping, a plateau schedule and the choice of the best models look at.
    #[derive(Debug, Default)]
    pub enum Monitor: "figure to monitor" {
        /// The mean loss over the validation samples; smaller is better.
        #[default]
        ValidLoss = "valid_loss",
        /// The share of the validation samples classified rightly; larger is better.
        ValidAccuracy = "valid_accuracy",
        /// The share of the variance of the validation samples' numbers that is explained; larger is better.
        ValidR2 = "valid_r2",
        /// The mean of the labels' average precisions on the validation samples; larger is better.
        ValidAveragePrecision = "valid_average_precision",
    }
}

impl Monitor {
    /// The measure that it is; `None` for the loss.
    pub(crate) fn measure(self) -> Option<Measure> {
        match self {
            Self::ValidLoss => None,
            Self::ValidAccuracy => Some(Measure::Accuracy),
            Self::ValidR2 => Some(Measure::R2),
            Self::ValidAveragePrecision => Some(Measure::AveragePrecision),
        }
    }
}

settings! {
    /// The fields of `[train]` for pictures and tables.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct SampleTraining {
        /// Samples in a batch of an evaluation.
        pub eval_batch_size: usize = 256, "samples at a time in an evaluation", at_least(1);
        /// How wrong a predicted number is.
        pub loss: NumberLoss = NumberLoss::Mse, "of numbers: mse, mae, huber, or gaussian to learn how sure each is";
        /// From which distance on the Huber loss grows in proportion, in standard deviations of the target.
        pub huber_delta: f64 = 1.0, "where huber turns from squares to distances, in deviations", positive();
        /// The probability from which on a label is taken to be there: one for all labels, or one for each.
        pub thresholds: Thresholds = Thresholds::default(), "from which a label is there, with data.target = labels: one, or one for each",
            rule("numbers from 0 to 1", Thresholds::are_shares);
        /// How much each class counts in the loss.
        pub class_weights: ClassWeights = ClassWeights::None, "none, balanced, or a number for each class in their order",
            rule("none, balanced, or finite numbers of at least 0, one of them above", ClassWeights::are_weights);
        /// The share of each label that is spread over all classes.
        pub label_smoothing: f64 = 0.0, "share of a label spread over all classes", share_below_one();
        /// α of mixup: how much two samples of a batch are mixed; 0 for not at all (Zhang et al. 2018).
        pub mixup: f64 = 0.0, "α of mixup; 0: none", not_negative();
        /// α of cutmix: how large a piece of a picture comes from another; 0 for none (Yun et al. 2019).
        pub cutmix: f64 = 0.0, "α of cutmix; 0: none", not_negative();
        /// Only the first so many batches are validated and tested on; 0 for all.
        pub limit_eval_batches: u64 = 0, "validate and test on the first so many; 0: all";
        /// Batches that are prepared ahead, in a thread of their own; 0 for none.
        pub prefetch: usize = 0, "batches prepared ahead in a thread", at_most(1024);
        /// Draws samples so that every class comes up as often as the others.
        pub balanced: bool = false, "every class as often as the others";
        /// In how many segments of layers activations are thrown away and computed once more for the gradients, which
        /// takes less memory and more time; 0 to keep all.
        pub recompute: usize = 0, "segments of layers that run twice, for less memory";
    }
}

/// The probabilities from which on labels are taken to be there.
///
/// In a recipe it is written `thresholds = 0.5` for all labels or `thresholds = [0.5, 0.2]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds(
    /// One for all labels, or one for each.
    pub Vec<f64>,
);

impl Default for Thresholds {
    fn default() -> Self {
        Self(vec![0.5])
    }
}

impl Thresholds {
    fn are_shares(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|share| (0.0..=1.0).contains(share))
    }
}

/// A number as TOML has it.
fn float(value: &Value) -> Option<f64> {
    value.as_float().or(value.as_integer().map(|n| n as f64))
}

setting!(
    Thresholds,
    "a number, or a list of one for each label",
    |value| match value {
        Value::Array(all) => {
            let all: Option<Vec<f64>> = all.iter().map(float).collect();
            all.map(Thresholds)
        }
        one => float(one).map(|one| Thresholds(vec![one])),
    },
    |thresholds| match thresholds.0[..] {
        [one] => Value::Float(one),
        ref all => Value::from(all.to_vec()),
    }
);

/// How much each class counts in the loss.
///
/// In a recipe it is written `class_weights = "balanced"` or `class_weights = [1.0, 5.0]`.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum ClassWeights {
    /// Each sample counts alike.
    #[default]
    None,
    /// Each class counts alike: a sample of a class that has few counts more.
    Balanced,
    /// By these numbers, in the order of the classes.
    Given(Vec<f64>),
}

setting!(
    ClassWeights,
    "none, balanced, or a list of a number for each class",
    |value| match value {
        Value::String(name) if name == "none" => Some(ClassWeights::None),
        Value::String(name) if name == "balanced" => Some(ClassWeights::Balanced),
        Value::Array(all) => {
            let all: Option<Vec<f64>> = all.iter().map(float).collect();
            all.map(ClassWeights::Given)
        }
        _ => None,
    },
    |weights| match weights {
        ClassWeights::None => Value::from("none"),
        ClassWeights::Balanced => Value::from("balanced"),
        ClassWeights::Given(all) => Value::from(all.clone()),
    }
);

impl ClassWeights {
    /// Whether they can be weights.
    fn are_weights(&self) -> bool {
        let Self::Given(all) = self else {
            return true;
        };
        all.iter().all(|w| *w >= 0.0 && (*w as f32).is_finite()) && all.iter().any(|w| *w > 0.0)
    }

    /// The weight of each class, of which there are so many samples to learn from; `None` where all count alike.
    ///
    /// # Errors
    /// [`Error::ClassWeights`](crate::Error::ClassWeights) for another number of them than of classes.
    pub(crate) fn of(&self, counts: &[usize]) -> crate::Result<Option<Vec<f32>>> {
        match self {
            Self::None => Ok(None),
            Self::Balanced => {
                let all = counts.iter().sum::<usize>() as f64;
                // A class that nothing shows has no loss to weigh.
                let weight = |count: &usize| match count {
                    0 => 0.0,
                    some => (all / (counts.len() * some) as f64) as f32,
                };
                Ok(Some(counts.iter().map(weight).collect()))
            }
            Self::Given(all) if all.len() == counts.len() => {
                Ok(Some(all.iter().map(|weight| *weight as f32).collect()))
            }
            Self::Given(all) => Err(crate::Error::ClassWeights {
                expected: counts.len(),
                found: all.len(),
            }),
        }
    }
}

choice! {
    /// How wrong a predicted number is, on the scale on which it is learned.
    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum NumberLoss: "loss of numbers" {
        /// The squared difference.
        #[default]
        Mse = "mse",
        /// The absolute difference.
        Mae = "mae",
        /// The squared difference near the target, the absolute one far from it.
        Huber = "huber",
        /// The negative log-likelihood under a normal distribution whose variance the network says as well.
        Gaussian = "gaussian",
    }
}

impl NumberLoss {
    /// How many outputs a network has for so many targets.
    pub(crate) fn outputs(self, targets: usize) -> usize {
        match self {
            Self::Gaussian => targets.saturating_mul(2),
            _ => targets,
        }
    }
}

settings! {
    /// The fields of `[train]` for a language model.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct TextTraining {
        /// Tokens of a block; the most that are read of a labelled text.
        pub block: usize = 256, "tokens of a block, or the most of a labelled text", between(2, MILLION as usize);
        /// Blocks of a validation or test, evenly spread over the held-out text, or labelled texts; 0 for all.
        pub eval_blocks: usize = 64, "blocks or texts of a validation or test; 0: all that is held out";
        /// Tokens of the text that the model writes at each validation.
        pub sample_tokens: usize = 200, "tokens that the model writes at a validation", at_most(4096);
        /// The share of each label that is spread over all classes, where classes of texts are learned.
        pub label_smoothing: f64 = 0.0, "share of a label spread over all classes, with [classify]", share_below_one();
        /// How weights lie in memory and in the model's file.
        pub dtype: StorageType = StorageType::F32, "f32, or bf16 for weights of half the size";
    }
}

choice! {
    /// The form in which weights lie in memory and in the model's file.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum StorageType: "form of weights" {
        /// 32 bits.
        #[default]
        F32 = "f32",
        /// The upper 16 of them: half the memory, three digits.
        Bf16 = "bf16",
    }
}
