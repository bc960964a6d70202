//! `report`

use cortical_train::{RunPaths, write_page};
use serde_json::json;

use crate::cli::ReportArgs;
use crate::done::Done;
use crate::error::Result;
use crate::output::Output;

/// `cortical report`
pub(crate) fn report(args: &ReportArgs, output: &Output) -> Result<Done> {
    let paths = RunPaths::new(&args.run);
    let bytes = write_page(&paths)?.len();
    let page = paths.page().display().to_string();
    let value = json!({ "run": args.run.display().to_string(), "page": page, "bytes": bytes });
    output.result(&value, |style| format!("wrote {}", style.bold(&page)));
    Ok(Done::Finished)
}
