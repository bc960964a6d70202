//! A tensor whose elements do not lie in order: a view of a storage, or one with its columns first.

use std::io;

/// Runs of at least so many bytes are read one by one; shorter ones are gathered out of the map.
const RUN_BYTES: u64 = 4096;

/// Where the elements of a tensor lie in a file. Everything was checked: the last one lies in the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Strided {
    /// The byte at which the first element begins.
    pub(crate) start: u64,
    /// Bytes of an element.
    pub(crate) size: u64,
    pub(crate) shape: Vec<u64>,
    /// In elements.
    pub(crate) strides: Vec<u64>,
}

/// Why a view is not one of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViewError {
    /// As many strides as dimensions are needed.
    Rank,
    /// It reaches behind the storage, or its elements cannot be counted.
    Outside,
}

impl Strided {
    /// A view of a storage of `storage` elements that begins at byte `start`, from its element `offset` on.
    pub(crate) fn view(
        start: u64,
        storage: u64,
        size: u64,
        offset: u64,
        shape: Vec<u64>,
        strides: Vec<u64>,
    ) -> Result<Self, ViewError> {
        if shape.len() != strides.len() {
            return Err(ViewError::Rank);
        }
        // A dimension of 0 counts as 1: strides of empty tensors must be countable too.
        let limit = |count: &u64| isize::try_from(*count).is_ok();
        let count = shape.iter().try_fold(size, |count, dim| {
            count.checked_mul((*dim).max(1)).filter(limit)
        });
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(offset, |at, (dim, stride)| {
                at.checked_add(dim.saturating_sub(1).checked_mul(*stride)?)
            });
        let is_empty = shape.contains(&0);
        let inside = last.is_some_and(|last| last < storage || is_empty);
        let place = offset
            .checked_mul(size)
            .and_then(|at| at.checked_add(start));
        let (true, Some(_), Some(place)) = (inside, count, place) else {
            return Err(ViewError::Outside);
        };
        Ok(Self {
            start: if is_empty { start } else { place },
            size,
            shape,
            strides,
        })
    }

    /// Number of elements.
    pub(crate) fn count(&self) -> u64 {
        self.shape.iter().product()
    }

    /// Elements at the end of the shape that lie side by side.
    fn run(&self) -> u64 {
        let mut run = 1;
        for (dim, stride) in self.shape.iter().zip(&self.strides).rev() {
            if *dim != 1 && *stride != run {
                break;
            }
            run *= dim;
        }
        run.max(1)
    }

    /// Whether the elements lie as a tensor's usually do.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.run() >= self.count()
    }

    /// Where element number `index` lies in the file.
    fn place(&self, mut index: u64) -> u64 {
        let mut at = 0;
        for (dim, stride) in self.shape.iter().zip(&self.strides).rev() {
            at += index % dim * stride;
            index /= dim;
        }
        self.start + at * self.size
    }

    /// Fills `out` with the elements from byte `from` of the tensor on; both are whole elements. `read` reads the file,
    /// `gather` copies few bytes of it at a time.
    pub(crate) fn read(
        &self,
        from: u64,
        out: &mut [u8],
        read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
        gather: impl Fn(u64, &mut [u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        if self.is_contiguous() {
            return read(self.start + from, out);
        }
        let run = self.run();
        let mut index = from / self.size;
        let mut out = out;
        while !out.is_empty() {
            let within = index % run;
            let count = (run - within).min(out.len() as u64 / self.size);
            let (part, rest) = out.split_at_mut((count * self.size) as usize);
            let place = self.place(index);
            match count * self.size >= RUN_BYTES {
                true => read(place, part)?,
                false => gather(place, part)?,
            }
            (index, out) = (index + count, rest);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(view: &Strided, from: u64, count: usize) -> Vec<u8> {
        let file: Vec<u8> = (0..=255).collect();
        let copy = |at: u64, out: &mut [u8]| {
            out.copy_from_slice(&file[at as usize..][..out.len()]);
            Ok(())
        };
        let mut out = vec![0; count];
        view.read(from, &mut out, copy, copy).unwrap();
        out
    }

    #[test]
    fn views_are_read_in_order() {
        let view = |offset, shape: &[u64], strides: &[u64]| {
            Strided::view(10, 24, 2, offset, shape.into(), strides.into())
        };
        let plain = view(1, &[2, 3], &[3, 1]).unwrap();
        assert!(plain.is_contiguous());
        assert_eq!(read(&plain, 2, 4), [14, 15, 16, 17]);
        let turned = view(0, &[3, 2], &[1, 3]).unwrap();
        assert!(!turned.is_contiguous());
        assert_eq!(
            read(&turned, 0, 12),
            [10, 11, 16, 17, 12, 13, 18, 19, 14, 15, 20, 21]
        );
        assert_eq!(read(&turned, 4, 4), [12, 13, 18, 19]);
        let columns = view(2, &[2, 2], &[4, 1]).unwrap();
        assert_eq!(read(&columns, 2, 4), [16, 17, 22, 23]);
        let one = view(23, &[], &[]).unwrap();
        assert_eq!(read(&one, 0, 2), [56, 57]);
        let repeated = view(5, &[3], &[0]).unwrap();
        assert_eq!(read(&repeated, 0, 6), [20, 21, 20, 21, 20, 21]);
        let empty = view(u64::MAX / 4, &[0, 5], &[5, 1]).unwrap();
        assert!(read(&empty, 0, 0).is_empty());
    }

    #[test]
    fn what_reaches_outside_is_refused() {
        let view = |offset, shape: &[u64], strides: &[u64]| {
            Strided::view(10, 24, 2, offset, shape.into(), strides.into()).unwrap_err()
        };
        for (offset, shape, strides) in [
            (1, &[24][..], &[1][..]),
            (24, &[], &[]),
            (u64::MAX, &[2], &[1]),
            (0, &[2], &[u64::MAX]),
            (0, &[3], &[1 << 63]),
            (0, &[1 << 32, 1 << 32], &[0, 0]),
            (0, &[0, 1 << 40, 1 << 40], &[0, 0, 0]),
        ] {
            assert_eq!(view(offset, shape, strides), ViewError::Outside);
        }
        assert_eq!(view(0, &[2], &[]), ViewError::Rank);
    }
}
