//! Archives that hold model files: zip and tar, with the suspicion that strangers' files deserve.

mod defect;
mod tar;
#[cfg(test)]
mod tests;
mod zip;

pub use defect::ArchiveDefect;
pub(crate) use tar::Tar;
pub(crate) use zip::{Method, Zip, ZipEntry};

/// Bytes of a name in an archive.
const NAME_BYTES: usize = 4096;

/// Refuses names that would leave a folder, or that two readers could read differently.
fn check_name(name: &[u8]) -> Result<&str, ArchiveDefect> {
    let shown = || {
        let text = String::from_utf8_lossy(&name[..name.len().min(80)]);
        crate::printable(&text, 80)
    };
    let text = std::str::from_utf8(name).ok();
    let good = text.filter(|text| {
        let parts = || text.split('/');
        !text.is_empty()
            && text.len() <= NAME_BYTES
            && !text.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'))
            && !text.starts_with('/')
            && parts().all(|part| part != ".." && part != ".")
    });
    good.ok_or_else(|| ArchiveDefect::Name { name: shown() })
}
