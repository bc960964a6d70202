//! Where a training stands, as numbers; and `state.json`, in which they survive with every bit.

use std::collections::BTreeMap;
use std::path::Path;

use cortical_tensor::RngState;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{CHECKPOINT_VERSION, Damage};
use crate::{Digest, Error, Result};

/// What `state.json` says it is.
const FORMAT: &str = "cortical-checkpoint";

/// Everything about where a training stands that is not a tensor.
///
/// The maps belong to the training loop, the schedule and the optimizer, which choose the keys; every `f64` and every
/// word of a random stream comes back with the same bits (a NaN as some NaN).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingState {
    /// Optimizer steps that have been taken.
    pub step: u64,
    /// Epochs that are complete.
    pub epoch: u64,
    /// Batches of the current epoch that have been used.
    pub position: u64,
    /// Where each random stream stands, by the stream's name.
    #[serde(serialize_with = "write_random", deserialize_with = "read_random")]
    pub random: BTreeMap<String, RngState>,
    /// State of the learning rate's schedule.
    #[serde(serialize_with = "write_exact", deserialize_with = "read_exact")]
    pub schedule: BTreeMap<String, f64>,
    /// State of the optimizer that is not a tensor.
    #[serde(serialize_with = "write_exact", deserialize_with = "read_exact")]
    pub optimizer: BTreeMap<String, f64>,
    /// Running sums and best values of the metrics.
    #[serde(serialize_with = "write_exact", deserialize_with = "read_exact")]
    pub metrics: BTreeMap<String, f64>,
    /// Instruction set of the processor; on another one the same bits are not promised.
    pub instruction_set: String,
    /// Hash of the recipe, so that a run is not resumed with another one.
    pub recipe_hash: String,
    /// What the files held that the training learns from, by their names; empty before version 3, and where there are
    /// none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Digest>,
}

/// Size and checksum of a file beside `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRecord {
    pub(super) bytes: u64,
    pub(super) crc32: u32,
}

/// The content of `state.json` but its own checksum.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: String,
    version: u64,
    pub(super) state: TrainingState,
    pub(super) files: BTreeMap<String, FileRecord>,
}

impl Manifest {
    pub(super) fn new(state: TrainingState, files: BTreeMap<String, FileRecord>) -> Self {
        Self {
            format: FORMAT.into(),
            version: CHECKPOINT_VERSION,
            state,
            files,
        }
    }

    /// The checksum that makes an altered `state.json` recognisable: of the compact JSON, in which fields have an
    /// order of their own and numbers one form.
    fn checksum(&self) -> u32 {
        let json = serde_json::to_vec(self)
            .expect("strings, integers and maps by string always serialise");
        crc32fast::hash(&json)
    }

    /// The bytes of `state.json`.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut json = serde_json::to_value(self)
            .expect("strings, integers and maps by string always serialise");
        json["crc32"] = self.checksum().into();
        let mut bytes = serde_json::to_vec_pretty(&json).expect("a JSON value always serialises");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the bytes of the `state.json` in `folder`.
    pub(super) fn parse(folder: &Path, bytes: &[u8]) -> Result<Self> {
        let damaged = |damage| Error::Damaged {
            path: folder.into(),
            damage,
        };
        let mut json: Value =
            serde_json::from_slice(bytes).map_err(|source| damaged(Damage::State { source }))?;
        if json["format"] != FORMAT {
            return Err(damaged(Damage::NotACheckpoint));
        }
        // Asked before anything else, because a newer version may have other fields.
        if let Some(version) = json["version"]
            .as_u64()
            .filter(|&version| version > CHECKPOINT_VERSION)
        {
            return Err(Error::NewerCheckpoint {
                path: folder.into(),
                version,
            });
        }
        let crc32 = json
            .as_object_mut()
            .and_then(|fields| fields.remove("crc32"));
        let manifest: Self =
            serde_json::from_value(json).map_err(|source| damaged(Damage::State { source }))?;
        if crc32.and_then(|crc32| crc32.as_u64()) != Some(manifest.checksum().into()) {
            return Err(damaged(Damage::Checksum {
                file: super::STATE.into(),
            }));
        }
        Ok(manifest)
    }
}

/// JSON numbers lose bits in many readers and cannot be infinite, so floats are strings: the shortest decimal that
/// is read back as the same number.
fn write_exact<S: Serializer>(
    map: &BTreeMap<String, f64>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(map.iter().map(|(key, number)| (key, format!("{number:?}"))))
}

fn read_exact<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, f64>, D::Error> {
    let map = BTreeMap::<String, String>::deserialize(deserializer)?;
    let number =
        |(key, text): (String, String)| Ok((key, text.parse().map_err(serde::de::Error::custom)?));
    map.into_iter().map(number).collect()
}

/// 64-bit words do not fit into the numbers of many JSON readers, so they are hexadecimal strings.
fn write_random<S: Serializer>(
    map: &BTreeMap<String, RngState>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let words = |state: &RngState| state.to_words().map(|word| format!("{word:016x}"));
    serializer.collect_map(map.iter().map(|(name, state)| (name, words(state))))
}

fn read_random<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, RngState>, D::Error> {
    let map = BTreeMap::<String, [String; 2]>::deserialize(deserializer)?;
    let state = |(name, [a, b]): (String, [String; 2])| {
        let word = |text: &str| u64::from_str_radix(text, 16).map_err(serde::de::Error::custom);
        Ok((name, RngState::from_words([word(&a)?, word(&b)?])))
    };
    map.into_iter().map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortical_tensor::{Rng, Seed};
    use proptest::prelude::*;

    fn state() -> TrainingState {
        let mut rng = Rng::new(Seed(7), "dropout");
        rng.next_u64();
        TrainingState {
            step: u64::MAX,
            epoch: 2,
            position: 3,
            random: [("dropout".into(), rng.state())].into(),
            schedule: [("lr".into(), 0.1 + 0.2), ("best".into(), f64::NEG_INFINITY)].into(),
            optimizer: [("beta1_power".into(), 5e-324)].into(),
            metrics: BTreeMap::new(),
            instruction_set: "x86-64 avx512f".into(),
            recipe_hash: "9b".into(),
            data: [(
                "a.csv".to_owned(),
                Digest {
                    files: 1,
                    bytes: 2,
                    sha256: "ab".into(),
                },
            )]
            .into(),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Manifest> {
        Manifest::parse(Path::new("step-1"), bytes)
    }

    #[test]
    fn every_field_survives() {
        let files = [("a".to_owned(), FileRecord { bytes: 1, crc32: 2 })];
        let read = parse(&Manifest::new(state(), files.clone().into()).to_bytes()).unwrap();
        assert_eq!((read.state, read.files), (state(), files.into()));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn floats_keep_their_bits(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            let state = TrainingState { metrics: [("x".into(), number)].into(), ..TrainingState::default() };
            let read = parse(&Manifest::new(state, BTreeMap::new()).to_bytes()).unwrap().state.metrics["x"];
            prop_assert!(read.to_bits() == bits || (read.is_nan() && number.is_nan()));
        }
    }

    #[test]
    fn an_altered_byte_is_noticed_or_means_the_same() {
        let bytes = Manifest::new(state(), BTreeMap::new()).to_bytes();
        let mut noticed = 0;
        for index in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[index] ^= 1;
            match parse(&altered) {
                // White space, or the last digit of a decimal that says more than a float holds.
                Ok(read) => assert_eq!(read.state, state(), "byte {index}"),
                Err(_) => noticed += 1,
            }
        }
        assert!(noticed > bytes.len() / 2, "{noticed} of {}", bytes.len());
    }

    #[test]
    fn newer_versions_and_other_files_are_named() {
        let newer = parse(br#"{"format":"cortical-checkpoint","version":5,"new":[]}"#).unwrap_err();
        let want =
            "step-1 is a checkpoint of version 5, this program knows 4; use a newer version of it";
        assert_eq!(newer.to_string(), want);
        for (bytes, want) in [
            ("{}", "no checkpoint"),
            ("7", "no checkpoint"),
            ("{", "state.json cannot be read"),
        ] {
            let message = parse(bytes.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(want), "{message}");
        }
    }
}
