//! JPEG: decoded by `zune-jpeg`, after a look at whether the file goes on to its end.

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::orientation::{orientation, turned};
use super::{Decoded, Pixels, checked, planes};

/// A byte of a JPEG file holds fewer pixels than this: one bit at least for 8 by 8 values, of which one stands for 2 by
/// 2 pixels or 4 by 4.
const MOST_PIXELS_A_BYTE: usize = 1024;

/// The picture in a file, the way up that its EXIF data say.
pub(super) fn decode(bytes: &[u8]) -> Decoded<Pixels> {
    if !is_complete(bytes) {
        return Err("it ends early: the last part of the picture is missing".into());
    }
    match decode_as(bytes, true) {
        // Programs that leave bytes between two headers are no reason to refuse the picture.
        Err(why) if why.to_string().contains("Extra bytes between headers") => {
            decode_as(bytes, false)
        }
        decoded => decoded,
    }
}

/// Whether the markers lead to the one that ends the picture.
///
/// The decoder makes the rest of a picture grey where data are missing.
fn is_complete(bytes: &[u8]) -> bool {
    const END: u8 = 0xd9;
    let mut at = 2;
    while let Some(rest) = bytes.get(at..) {
        let Some(to_marker) = rest.iter().position(|byte| *byte == 0xff) else {
            return false;
        };
        at += to_marker + 1;
        let Some(&marker) = bytes.get(at) else {
            return false;
        };
        match marker {
            END => return true,
            // Several of these bytes may stand before a marker.
            0xff => continue,
            // Data of a scan, or a marker without a length.
            0x00 | 0x01 | 0xd0..=0xd8 => {}
            _ => {
                let length = bytes.get(at + 1..).and_then(<[u8]>::first_chunk::<2>);
                let Some(length) = length else {
                    return false;
                };
                at += usize::from(u16::from_be_bytes(*length));
            }
        }
        at += 1;
    }
    false
}

fn decode_as(bytes: &[u8], strict: bool) -> Decoded<Pixels> {
    // A side of more than 65535 pixels cannot be said in a JPEG file.
    let options = DecoderOptions::default()
        .set_strict_mode(strict)
        .set_max_width(1 << 16)
        .set_max_height(1 << 16);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    let info = decoder.info().ok_or("it has no header")?;
    let (height, width) = (usize::from(info.height), usize::from(info.width));
    // Eight by eight pixels of each colour take some bits at least.
    if checked(height, width)? > bytes.len().saturating_mul(MOST_PIXELS_A_BYTE) {
        return Err("it has fewer pixels than it says".into());
    }
    let grey = info.components == 1;
    let (space, channels) = match grey {
        true => (ColorSpace::Luma, 1),
        false => (ColorSpace::RGB, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode()?;
    let way = decoder.exif().map_or(1, |exif| orientation(exif));
    Ok(turned(planes(&pixels, channels, (height, width))?, way))
}
