//! The table `[data]`: what is learned from, and what of it is held out.

use std::path::PathBuf;

use cortical_data::csv::LabelColumn;
use cortical_data::{Missing, Normalize, Target};
use cortical_settings::{Broken, at_least, at_most, rule, settings, share_below_one};

settings! {
    /// The fields of `[data]` that every recipe has.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct DataRecipe {
        /// A name of the catalog, a CSV file, a safetensors table, a folder of pictures or of IDX files; for a language
        /// model `moby-dick`, a text file, a folder of `.txt` files, or a table of labelled texts.
        pub name: String = "digits".to_owned(), "a data set, a CSV file, a folder of pictures or IDX files; a text for a language model",
            rule("the name of a data set or a file", |name: &String| !name.is_empty());
        /// The share that is held out for the one test at the end, where the data has no test part of its own.
        pub test_fraction: f64 = 0.2, "held out for the test at the end, where the data has no test part", share_below_one();
        /// The share of the samples that is held out to choose by while training, where the data has no such part of
        /// its own.
        pub valid_fraction: f64 = 0.1, "held out to validate on while training; 0: nothing", share_below_one();
    }
    check = |data| {
        let sum = data.test_fraction + data.valid_fraction;
        (sum >= 1.0).then(|| {
            let found = format!("{} beside data.test_fraction = {}", data.valid_fraction, data.test_fraction);
            Broken::new("valid_fraction", "a share that leaves samples to learn from", found)
        })
    };
}

settings! {
    /// The fields of `[data]` for pictures and tables.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct SampleData {
        /// Draws what is held out; apart from the run's seed, so that runs with different seeds are tested on the same
        /// samples.
        pub split_seed: u64 = 0, "draws what is held out", at_most(i64::MAX as u64);
        /// What happens to raw values.
        pub normalize: Normalize = Normalize::Auto, "auto, none, unit or standardize";
        /// The shape that samples take; as they come when absent.
        pub input_shape: Option<Vec<usize>> = None, "the shape of a sample, such as [1, 8, 8]",
            rule("sizes of at least 1, such as [1, 8, 8]", |shape: &Vec<usize>| {
                !shape.is_empty() && !shape.contains(&0)
            })
            .optional();
        /// What is predicted: a class; of a CSV file also numbers, or any number of labels.
        pub target: Target = Target::Classes, "classes; of a CSV file also numbers, or labels of which a row has any number";
        /// The columns of numbers or of labels that are predicted; the label column when empty.
        pub targets: Vec<LabelColumn> = Vec::new(), "a CSV file's columns of numbers or labels to predict; the label column by default";
        /// The label column of a CSV file; the last one when absent.
        pub label: Option<LabelColumn> = None, "name or number of a CSV file's label column; the last one by default";
        /// Columns of a CSV file that hold categories: each becomes a number of its own, 0 or 1.
        pub one_hot: Vec<LabelColumn> = Vec::new(), "a CSV file's columns of categories";
        /// Columns of a CSV file that hold dates: each becomes the days since 1970.
        pub dates: Vec<LabelColumn> = Vec::new(), "a CSV file's columns of dates, as days since 1970";
        /// Columns of a CSV file that hold dates: each becomes its year, month, day and weekday.
        pub date_parts: Vec<LabelColumn> = Vec::new(), "a CSV file's columns of dates, as year, month, day and weekday";
        /// What becomes of missing values in a CSV file.
        pub missing: Missing = Missing::Refuse, "in a CSV file: refuse, mean, median, most_frequent, category, drop";
        /// Columns of a CSV file that are not read.
        pub ignore: Vec<LabelColumn> = Vec::new(), "a CSV file's columns that are not read";
        /// Whether the first row of a CSV file is a header; guessed from it and the rows below when absent.
        pub header: Option<bool> = None, "true or false: whether a CSV file begins with a header, where the guess is wrong";
        /// In how many parts a cross-validation divides the samples.
        pub folds: Option<usize> = None, "parts of a cross-validation", at_least(2).optional();
        /// Which of them this run tests on, from 0.
        pub fold: usize = 0, "which of them is tested on, from 0";
        /// A folder to look into first.
        pub dir: Option<PathBuf> = None, "a folder to look into first";
    }
    check = |data| {
        let targets = data.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !data.targets.is_empty() && data.target == Target::Classes {
            let expected = "nothing, unless data.target is numbers or labels";
            return Some(Broken::new("targets", expected, targets));
        }
        if !data.targets.is_empty() && data.label.is_some() {
            return Some(Broken::new("targets", "nothing beside data.label", targets));
        }
        let holds = data.fold < data.folds.unwrap_or(1);
        (!holds).then(|| Broken::new("fold", "a number below data.folds", data.fold))
    };
}

settings! {
    /// The fields of `[data]` for a language model.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct TextData {
        /// `auto`, `model` for that of the model, `bytes`, `characters`, or `bpe-2048` for byte pairs trained on the
        /// text.
        pub tokenizer: String = "auto".to_owned(), "auto, model, bytes, characters, or bpe-2048 to train one",
            rule("auto, model, bytes, characters, or bpe-N for N tokens, such as bpe-2048", |name: &String| {
                let size = name.strip_prefix("bpe-").map(str::parse::<u32>);
                ["auto", "model", "bytes", "characters"].contains(&name.as_str()) || matches!(size, Some(Ok(_)))
            });
        /// Draws which labelled texts are held out; the run's seed when absent.
        pub split_seed: Option<u64> = None, "draws which labelled texts are held out; the run's seed by default",
            at_most(i64::MAX as u64).optional();
    }
}
