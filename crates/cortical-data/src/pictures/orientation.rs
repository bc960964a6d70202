//! Which way up a picture is, as cameras write it into EXIF data beside the pixels.
//!
//! # Source
//! CIPA DC-008 (EXIF 2.32), tag 274 of the first directory of a TIFF structure.

use super::Pixels;

/// The number of the tag.
const ORIENTATION: u16 = 0x0112;
/// The type of its value, a number of 16 bits.
const SHORT: u16 = 3;

/// How the stored rows and columns lie in the picture, from 1 to 8; 1 where EXIF data say nothing that makes sense.
pub(super) fn orientation(exif: &[u8]) -> u8 {
    read(exif).filter(|way| (1..=8).contains(way)).unwrap_or(1)
}

fn read(exif: &[u8]) -> Option<u8> {
    let tiff = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let (order, _) = tiff.split_first_chunk::<4>()?;
    let little = match order {
        b"II*\0" => true,
        b"MM\0*" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = *tiff.get(at..)?.first_chunk()?;
        Some(match little {
            true => u16::from_le_bytes(bytes),
            false => u16::from_be_bytes(bytes),
        })
    };
    let bytes = *tiff.get(4..)?.first_chunk()?;
    let directory = match little {
        true => u32::from_le_bytes(bytes),
        false => u32::from_be_bytes(bytes),
    };
    let directory = usize::try_from(directory).ok()?;
    for entry in 0..usize::from(short(directory)?) {
        let at = directory.checked_add(2 + 12 * entry)?;
        if short(at)? == ORIENTATION && short(at + 2)? == SHORT {
            return u8::try_from(short(at + 8)?).ok();
        }
    }
    None
}

/// The picture as it is to be seen: mirrored for the even numbers up to 4, turned for those above.
pub(super) fn turned(picture: Pixels, way: u8) -> Pixels {
    if way == 1 {
        return picture;
    }
    let Pixels {
        channels,
        height: rows,
        width: columns,
        bytes,
    } = picture;
    let (height, width) = match way {
        5..=8 => (columns, rows),
        _ => (rows, columns),
    };
    // Where a pixel of the new picture lies in the old one.
    let source = |y: usize, x: usize| match way {
        2 => (y, columns - 1 - x),
        3 => (rows - 1 - y, columns - 1 - x),
        4 => (rows - 1 - y, x),
        5 => (x, y),
        6 => (rows - 1 - x, y),
        7 => (rows - 1 - x, columns - 1 - y),
        _ => (x, columns - 1 - y),
    };
    let mut out = Vec::with_capacity(bytes.len());
    for plane in bytes.chunks_exact(rows * columns) {
        for y in 0..height {
            out.extend((0..width).map(|x| {
                let (row, column) = source(y, x);
                plane[row * columns + column]
            }));
        }
    }
    Pixels {
        channels,
        height,
        width,
        bytes: out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EXIF data with one tag before the orientation.
    fn exif(little: bool, way: u16) -> Vec<u8> {
        let short = |x: u16| match little {
            true => x.to_le_bytes(),
            false => x.to_be_bytes(),
        };
        let long = |x: u32| match little {
            true => x.to_le_bytes(),
            false => x.to_be_bytes(),
        };
        let mut out = if little { b"II*\0" } else { b"MM\0*" }.to_vec();
        out.extend(long(8));
        out.extend(short(2));
        for (tag, value) in [(0x0100, 7), (ORIENTATION, way)] {
            out.extend([short(tag), short(SHORT)].concat());
            out.extend(long(1));
            out.extend([short(value), short(0)].concat());
        }
        out
    }

    #[test]
    fn the_tag_is_found_in_either_order_of_bytes() {
        for little in [true, false] {
            for way in 1..=8 {
                assert_eq!(orientation(&exif(little, way)), way as u8);
                let whole = [&b"Exif\0\0"[..], &exif(little, way)].concat();
                assert_eq!(orientation(&whole), way as u8);
            }
            for way in [0, 9, 700] {
                assert_eq!(orientation(&exif(little, way)), 1);
            }
            let cut = exif(little, 6);
            for end in 0..cut.len() - 3 {
                assert_eq!(orientation(&cut[..end]), 1, "{end}");
            }
        }
        assert_eq!(orientation(b"MM\0*\xff\xff\xff\xff"), 1);
    }

    #[test]
    fn each_way_has_the_picture_upright() {
        // As it is to be seen: 1 2 3 above 4 5 6. For each way, how a camera stores it.
        let stored: [(usize, usize, [u8; 6]); 8] = [
            (2, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (2, 3, [6, 5, 4, 3, 2, 1]),
            (2, 3, [4, 5, 6, 1, 2, 3]),
            (3, 2, [1, 4, 2, 5, 3, 6]),
            (3, 2, [3, 6, 2, 5, 1, 4]),
            (3, 2, [6, 3, 5, 2, 4, 1]),
            (3, 2, [4, 1, 5, 2, 6, 3]),
        ];
        for (way, (height, width, bytes)) in (1..).zip(stored) {
            let picture = Pixels {
                channels: 1,
                height,
                width,
                bytes: bytes.to_vec(),
            };
            let seen = turned(picture, way);
            assert_eq!((seen.height, seen.width), (2, 3), "{way}");
            assert_eq!(seen.bytes, [1, 2, 3, 4, 5, 6], "{way}");
        }
    }
}
