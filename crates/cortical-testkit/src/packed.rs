//! Many small cases in one file.
//!
//! `cases` among the metadata lists them, in JSON, by kind, name, tag and configuration; the tensors of a case are
//! called `KIND-NAME-TAG/TENSOR`.

use crate::case::split;
use crate::{Case, CaseError};
use serde_json::Value;
use std::path::Path;

/// The cases of one file, in the order of its list, with these tolerances.
///
/// # Errors
/// [`CaseError`] if the file cannot be read, its list is not one, or a case has no tensors.
pub fn packed(path: impl AsRef<Path>, rtol: f64, atol: f64) -> Result<Vec<Case>, CaseError> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|source| CaseError::Read {
        path: path.into(),
        source,
    })?;
    parse(path, &bytes, (rtol, atol)).map_err(|what| CaseError::Malformed {
        path: path.into(),
        what,
    })
}

fn parse(path: &Path, bytes: &[u8], (rtol, atol): (f64, f64)) -> Result<Vec<Case>, String> {
    let (metadata, tensors) = split(bytes)?;
    let list = metadata["cases"].as_str().ok_or("metadata \"cases\"")?;
    let list: Vec<Value> =
        serde_json::from_str(list).map_err(|error| format!("metadata \"cases\" ({error})"))?;
    let case = |entry: &Value| {
        let text = |key: &str| {
            let text = entry[key].as_str().map(str::to_owned);
            text.ok_or_else(|| format!("{key:?} of the case {entry}"))
        };
        let (kind, name) = (text("kind")?, text("name")?);
        let stem = format!("{kind}-{name}-{}", text("tag")?);
        let prefix = format!("{stem}/");
        let own = tensors.range(prefix.clone()..).map_while(|(key, tensor)| {
            let rest = key.strip_prefix(&prefix)?;
            Some((rest.to_owned(), tensor.clone()))
        });
        let case = Case {
            path: path.join(&stem),
            kind,
            name,
            config: entry["config"].clone(),
            rtol,
            atol,
            tensors: own.collect(),
        };
        match case.tensors.is_empty() {
            true => Err(format!("a tensor of {stem}")),
            false => Ok(case),
        }
    };
    list.iter().map(case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Result<Vec<Case>, String> {
        let list = Value::from(list);
        let header = format!(
            r#"{{"__metadata__":{{"cases":{list}}},"loss-L-a/x":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}},"loss-L-ab/x":{{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}}}"#
        );
        let length = (header.len() as u64).to_le_bytes();
        parse(
            Path::new("packed"),
            &[&length, header.as_bytes(), &[7, 8]].concat(),
            (0.0, 1.0),
        )
    }

    #[test]
    fn each_case_has_its_own_tensors() {
        let cases = read(
            r#"[{"kind":"loss","name":"L","tag":"ab","config":{}},{"kind":"loss","name":"L","tag":"a","config":{"p":2}}]"#,
        )
        .unwrap();
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[0].tensor("x").to_f64(), [8.0]);
        assert_eq!(cases[1].tensor("x").to_f64(), [7.0]);
        assert_eq!(cases[1].config["p"], 2);
        assert!(cases[1].path.ends_with("loss-L-a"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            read(r#"[{"kind":"loss","name":"M","tag":"a"}]"#).unwrap_err(),
            "a tensor of loss-M-a"
        );
        let error = read(r#"[{"kind":"loss","name":"L"}]"#).unwrap_err();
        assert!(error.starts_with("\"tag\" of the case"), "{error}");
        assert!(read("7").unwrap_err().starts_with("metadata \"cases\""));
    }
}
