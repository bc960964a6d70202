//! PNG: every colour type, bit depth and interlacing of the specification; transparency is left out.
//!
//! ```text
//! signature, then chunks: length (4 bytes), type (4), data, CRC-32 of type and data (4); numbers are big-endian
//! IHDR  width, height, bit depth, colour type, 0, 0, interlacing
//! PLTE  red, green, blue of each index
//! eXIf  which way up it is, among other things
//! IDAT  pieces of one zlib stream: of each row a filter's number and the filtered bytes
//! IEND
//! ```
//!
//! # Source
//! W3C, "Portable Network Graphics (PNG) Specification", third edition (2025).

use std::io::Read;

use flate2::{Crc, read::ZlibDecoder};

use super::orientation::{orientation, turned};
use super::{Decoded, PNG, Pixels, Why, checked, planes};

/// One byte of a zlib stream becomes 1032 at most.
const MOST_GROWTH: usize = 1032;
/// The passes of Adam7: first column and row, and the distance to the next ones.
const ADAM7: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [4, 0, 8, 8],
    [0, 4, 4, 8],
    [2, 0, 4, 4],
    [0, 2, 2, 4],
    [1, 0, 2, 2],
    [0, 1, 1, 2],
];

/// What the header says.
#[derive(Clone, Copy, Debug)]
struct Header {
    width: usize,
    height: usize,
    /// Bits of a sample.
    depth: usize,
    /// Samples of a pixel in the file, and whether they are indices into the palette.
    samples: usize,
    indexed: bool,
    interlaced: bool,
}

/// The picture in a file, the way up that its EXIF data say.
pub(super) fn decode(bytes: &[u8]) -> Decoded<Pixels> {
    let mut rest = bytes.strip_prefix(&PNG).ok_or("it has no signature")?;
    let (mut header, mut palette, mut data, mut way) = (None, &[][..], Vec::new(), 1);
    loop {
        let (kind, chunk, after) = take_chunk(rest)?;
        rest = after;
        match (&kind, header) {
            (b"IHDR", None) => header = Some(read_header(chunk)?),
            (b"IHDR", Some(_)) | (_, None) => {
                return Err("its header is not its first chunk".into());
            }
            (b"PLTE", _) => palette = chunk,
            (b"IDAT", _) => data.extend_from_slice(chunk),
            (b"eXIf", _) => way = orientation(chunk),
            (b"IEND", _) => break,
            // A small first letter marks what may be skipped.
            _ if kind[0].is_ascii_lowercase() => {}
            _ => {
                let name = String::from_utf8_lossy(&kind).into_owned();
                return Err(format!("it has an unknown chunk {name:?}").into());
            }
        }
    }
    let header: Header = header.ok_or("it has no header")?;
    let pixels = checked(header.height, header.width)?;
    let bits = pixels.saturating_mul(header.samples * header.depth);
    if bits / 8 > data.len().saturating_mul(MOST_GROWTH) {
        return Err("it has fewer pixels than it says".into());
    }
    let channels = if header.indexed { 3 } else { header.samples };
    let samples = read_samples(&header, palette, &data)?;
    let picture = planes(&samples, channels, (header.height, header.width))?;
    Ok(turned(picture, way))
}

/// The first chunk: type, data, and what follows.
fn take_chunk(bytes: &[u8]) -> Decoded<([u8; 4], &[u8], &[u8])> {
    let cut = || Why::from("it ends in the middle of a chunk");
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = u32::from_be_bytes(*length) as usize;
    let whole = length.checked_add(4).ok_or_else(cut)?;
    let (body, rest) = rest.split_at_checked(whole).ok_or_else(cut)?;
    let (sum, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let mut crc = Crc::new();
    crc.update(body);
    if crc.sum() != u32::from_be_bytes(*sum) {
        return Err("a checksum is wrong: the file is damaged".into());
    }
    let (kind, data) = body.split_first_chunk::<4>().ok_or_else(cut)?;
    Ok((*kind, data, rest))
}

fn read_header(chunk: &[u8]) -> Decoded<Header> {
    let Ok(
        [
            w0,
            w1,
            w2,
            w3,
            h0,
            h1,
            h2,
            h3,
            depth,
            color,
            0,
            0,
            interlacing @ (0 | 1),
        ],
    ) = <[u8; 13]>::try_from(chunk)
    else {
        return Err("its header is not one that the specification knows".into());
    };
    let (samples, depths): (_, &[u8]) = match color {
        0 => (1, &[1, 2, 4, 8, 16]),
        2 => (3, &[8, 16]),
        3 => (1, &[1, 2, 4, 8]),
        4 => (2, &[8, 16]),
        6 => (4, &[8, 16]),
        _ => (0, &[]),
    };
    if !depths.contains(&depth) {
        return Err(format!("there is no colour type {color} with {depth} bits").into());
    }
    Ok(Header {
        width: u32::from_be_bytes([w0, w1, w2, w3]) as usize,
        height: u32::from_be_bytes([h0, h1, h2, h3]) as usize,
        depth: usize::from(depth),
        samples,
        indexed: color == 3,
        interlaced: interlacing == 1,
    })
}

/// Every sample as a byte, pixel after pixel; colours in place of indices.
fn read_samples(header: &Header, palette: &[u8], data: &[u8]) -> Decoded<Vec<u8>> {
    let mut stream = ZlibDecoder::new(data);
    let channels = if header.indexed { 3 } else { header.samples };
    if !header.interlaced {
        let size = (header.width, header.height);
        return read_pass(header, palette, &mut stream, size);
    }
    let mut all = vec![0; header.width * header.height * channels];
    for [first_x, first_y, step_x, step_y] in ADAM7 {
        let width = header.width.saturating_sub(first_x).div_ceil(step_x);
        let height = header.height.saturating_sub(first_y).div_ceil(step_y);
        if width == 0 || height == 0 {
            continue;
        }
        let pass = read_pass(header, palette, &mut stream, (width, height))?;
        for (i, pixel) in pass.chunks_exact(channels).enumerate() {
            let (x, y) = (first_x + i % width * step_x, first_y + i / width * step_y);
            let at = (y * header.width + x) * channels;
            all[at..at + channels].copy_from_slice(pixel);
        }
    }
    Ok(all)
}

/// The rows of one pass.
fn read_pass(
    header: &Header,
    palette: &[u8],
    stream: &mut impl Read,
    (width, height): (usize, usize),
) -> Decoded<Vec<u8>> {
    let bits = header.samples * header.depth;
    let row_bytes = (width * bits).div_ceil(8);
    let mut before = vec![0; row_bytes];
    let mut row = vec![0; row_bytes + 1];
    let mut out = Vec::new();
    for _ in 0..height {
        stream.read_exact(&mut row)?;
        let (filter, row) = row.split_first_mut().ok_or("an empty row")?;
        unfilter(*filter, row, &before, bits.div_ceil(8))?;
        append(header, palette, row, width, &mut out)?;
        before.copy_from_slice(row);
    }
    Ok(out)
}

/// Undoes a row's filter: each byte was written as its difference from a guess by its neighbours.
fn unfilter(filter: u8, row: &mut [u8], above: &[u8], distance: usize) -> Decoded<()> {
    for i in 0..row.len() {
        let left = |row: &[u8]| i.checked_sub(distance).map_or(0, |at| row[at]);
        let (a, b, c) = (left(row), above[i], left(above));
        let guess = match filter {
            0 => 0,
            1 => a,
            2 => b,
            3 => ((u16::from(a) + u16::from(b)) / 2) as u8,
            4 => paeth(a, b, c),
            _ => return Err(format!("there is no filter {filter}").into()),
        };
        row[i] = row[i].wrapping_add(guess);
    }
    Ok(())
}

/// The one of left, above and above-left that is nearest to left + above − above-left.
fn paeth(a: u8, b: u8, c: u8) -> u8 {
    let [x, y, z] = [a, b, c].map(i16::from);
    let guess = x + y - z;
    let [da, db, dc] = [x, y, z].map(|value| (guess - value).abs());
    if da <= db && da <= dc {
        a
    } else if db <= dc {
        b
    } else {
        c
    }
}

/// A row's samples as bytes.
fn append(
    header: &Header,
    palette: &[u8],
    row: &[u8],
    width: usize,
    out: &mut Vec<u8>,
) -> Decoded<()> {
    let depth = header.depth;
    let largest = (1_usize << depth.min(8)) - 1;
    for i in 0..width * header.samples {
        let value = match depth {
            16 => row[2 * i],
            8 => row[i],
            _ => {
                let shift = 8 - depth - i * depth % 8;
                row[i * depth / 8] >> shift & largest as u8
            }
        };
        if header.indexed {
            let at = 3 * usize::from(value);
            let colour = palette.get(at..at + 3);
            out.extend(colour.ok_or("a pixel has a colour that is not in the palette")?);
        } else if depth < 8 {
            out.push((usize::from(value) * 255 / largest) as u8);
        } else {
            out.push(value);
        }
    }
    Ok(())
}
