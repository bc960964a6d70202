//! The table `[prune]`: which weights are disconnected while the network trains, and when.

use cortical_neuron::Pattern;
use cortical_settings::{Broken, at_least, choice, rule, settings, share, share_below_one};

settings! {
    /// The table `[prune]`: weights that are 0 from some step on and get no gradient, by masks that checkpoints keep.
    ///
    /// How many of them there are follows from one of `sparsity`, `pattern` and, for `given`, the file of masks.
    #[derive(Clone, Debug, PartialEq)]
    #[non_exhaustive]
    pub struct PruneRecipe {
        /// What makes a weight important.
        pub method: PruneMethod = PruneMethod::Magnitude, "magnitude, movement, random, or given: as a file says";
        /// The share of weights that is pruned in the end.
        pub sparsity: f64 = 0.0, "the share of weights that is pruned in the end", share_below_one();
        /// Among which weights the least important ones are looked for.
        pub scope: PruneScope = PruneScope::Global, "weights are ranked in the whole network (global), in each layer or in each row";
        /// So many weights of each so many stay, such as `2:4`, in place of a sparsity.
        pub pattern: String = String::new(), "so many of each so many stay, such as 2:4, in place of a sparsity",
            rule("two numbers such as 2:4, or nothing", |text: &String| {
                text.is_empty() || Pattern::parse(text).is_some()
            });
        /// A safetensors file of masks, or the folder of a pruned run.
        pub masks: String = String::new(), "for given: a file of masks, or a pruned run";
        /// Steps that are taken before the first weight goes.
        pub from_step: u64 = 0, "steps that are taken before the first weight goes";
        /// The share of the run's steps over which the sparsity rises, as a cubic (Zhu and Gupta 2017); 0 for at once.
        pub ramp: f64 = 0.0, "the share of the steps over which the sparsity rises; 0: at once", share();
        /// Steps between two prunings of the ramp.
        pub every: u64 = 50, "steps between two prunings of the ramp", at_least(1);
        /// Patterns of names that are left alone, such as `fc2.*`.
        pub exclude: Vec<String> = Vec::new(), "names that are left alone, such as [\"fc2.*\"]";
    }
    check = |prune| {
        let given = prune.method == PruneMethod::Given;
        let amounts = [prune.sparsity > 0.0, !prune.pattern.is_empty(), !prune.masks.is_empty()];
        let broken = |field, expected| Some(Broken::new(field, expected, "another"));
        match amounts {
            [false, false, true] if given => None,
            _ if given => broken("masks", "a file of masks, and neither a sparsity nor a pattern"),
            [true, false, false] | [false, true, false] => None,
            [false, false, false] => Some(Broken::new("sparsity", "a share above 0, or a pattern", prune.sparsity)),
            [_, _, true] => broken("method", "\"given\" beside a file of masks"),
            _ => broken("pattern", "either it or a sparsity"),
        }
    };
}

choice! {
    /// What makes a weight important.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum PruneMethod: "pruning method" {
        /// Its magnitude (Han et al. 2015).
        #[default]
        Magnitude = "magnitude",
        /// How far training moves it away from 0: the sum of −weight · gradient over the steps (Sanh et al. 2020). A
        /// weight that is pruned does not come back.
        Movement = "movement",
        /// Chance: the control.
        Random = "random",
        /// What a file of masks says.
        Given = "given",
    }
}

choice! {
    /// Among which weights the least important ones are looked for.
    #[derive(Debug, Default)]
    #[non_exhaustive]
    pub enum PruneScope: "pruning scope" {
        /// All that are pruned.
        #[default]
        Global = "global",
        /// Those of a parameter: each loses the same share.
        Layer = "layer",
        /// Those of a neuron: each loses the same share.
        Row = "row",
    }
}
