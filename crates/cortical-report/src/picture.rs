//! Pixels as a PNG inside a page.

/// A picture of bytes, grey or coloured.
///
/// ```
/// let grey = cortical_report::Picture::grey(2, 1, &[0, 255]).unwrap();
/// assert!(grey.to_data_url().starts_with("data:image/png;base64,iVBORw0KGgo"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    width: u32,
    height: u32,
    /// 1 or 3.
    channels: u32,
    /// Row by row, the colours of a pixel together.
    bytes: Vec<u8>,
}

impl Picture {
    /// A grey picture; `None` unless there are `width · height` bytes, at least one.
    #[must_use]
    pub fn grey(width: usize, height: usize, bytes: &[u8]) -> Option<Self> {
        Self::new(width, height, 1, bytes.to_vec())
    }

    /// A coloured picture from its red, green and blue planes; `None` unless there are `3 · width · height` bytes, at
    /// least three.
    #[must_use]
    pub fn planes(width: usize, height: usize, bytes: &[u8]) -> Option<Self> {
        let plane = width.checked_mul(height)?;
        if bytes.len() != plane.checked_mul(3)? {
            return None;
        }
        let together = (0..bytes.len()).map(|i| bytes[i % 3 * plane + i / 3]);
        Self::new(width, height, 3, together.collect())
    }

    /// Numbers as a picture: the lowest black, the highest white; three planes become colours, any other number of them
    /// is shown by the first.
    #[must_use]
    pub fn from_numbers(
        channels: usize,
        height: usize,
        width: usize,
        values: &[f32],
    ) -> Option<Self> {
        let plane = width.checked_mul(height)?;
        if values.len() != plane.checked_mul(channels)? || values.is_empty() {
            return None;
        }
        let shown = if channels == 3 {
            values
        } else {
            &values[..plane]
        };
        let finite = || shown.iter().copied().filter(|x| x.is_finite());
        let low = finite().fold(f32::INFINITY, f32::min);
        let high = finite().fold(f32::NEG_INFINITY, f32::max);
        let scale = if high > low {
            255.0 / (high - low)
        } else {
            0.0
        };
        let bytes = shown
            .iter()
            .map(|x| ((x - low) * scale).clamp(0.0, 255.0) as u8);
        let bytes: Vec<u8> = bytes.collect();
        if channels == 3 {
            Self::planes(width, height, &bytes)
        } else {
            Self::grey(width, height, &bytes)
        }
    }

    fn new(width: usize, height: usize, channels: u32, bytes: Vec<u8>) -> Option<Self> {
        let size = width.checked_mul(height)?.checked_mul(channels as usize)?;
        let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        (size == bytes.len() && size > 0).then_some(Self {
            width,
            height,
            channels,
            bytes,
        })
    }

    /// The picture as a PNG file, without compression: the pictures of a report are small.
    #[must_use]
    pub fn to_png(&self) -> Vec<u8> {
        let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut head = [self.width.to_be_bytes(), self.height.to_be_bytes()].concat();
        let color = if self.channels == 3 { 2 } else { 0 };
        head.extend([8, color, 0, 0, 0]);
        chunk(&mut png, b"IHDR", &head);
        let row = (self.width * self.channels) as usize;
        let mut raw = Vec::with_capacity(self.bytes.len() + self.height as usize);
        for line in self.bytes.chunks(row) {
            // No filter.
            raw.push(0);
            raw.extend(line);
        }
        chunk(&mut png, b"IDAT", &stored(&raw));
        chunk(&mut png, b"IEND", &[]);
        png
    }

    /// The picture as an address that a page can hold.
    #[must_use]
    pub fn to_data_url(&self) -> String {
        format!("data:image/png;base64,{}", base64(&self.to_png()))
    }
}

/// Appends a chunk of a PNG: length, name, content, checksum of the last two.
fn chunk(png: &mut Vec<u8>, name: &[u8; 4], content: &[u8]) {
    png.extend((content.len() as u32).to_be_bytes());
    let start = png.len();
    png.extend(name);
    png.extend(content);
    let crc = crc32(&png[start..]);
    png.extend(crc.to_be_bytes());
}

/// A zlib stream of blocks that are stored as they are.
fn stored(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78, 0x01];
    let mut blocks = raw.chunks(0xffff).peekable();
    while let Some(block) = blocks.next() {
        out.push(u8::from(blocks.peek().is_none()));
        let length = block.len() as u16;
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
    }
    let (a, b) = raw.iter().fold((1_u32, 0_u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    out.extend((b << 16 | a).to_be_bytes());
    out
}

/// CRC-32, bit by bit: pictures in reports are small.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut word = [0_u8; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for i in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= group.len() { digit.into() } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_checksums_are_the_standard_ones() {
        for (bytes, want) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes.as_bytes()), want);
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert!(stored(b"Wikipedia").ends_with(&0x11e6_0398_u32.to_be_bytes()));
    }

    #[test]
    fn sizes_must_fit_and_planes_become_pixels() {
        assert!(Picture::grey(2, 2, &[0; 3]).is_none());
        assert!(Picture::grey(0, 2, &[]).is_none());
        assert!(Picture::planes(usize::MAX, 2, &[0; 6]).is_none());
        let picture = Picture::planes(2, 1, &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(picture.bytes, [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn numbers_are_spread_from_black_to_white() {
        let picture = Picture::from_numbers(1, 1, 3, &[-1.0, 0.0, 1.0]).unwrap();
        assert_eq!(picture.bytes, [0, 127, 255]);
        let broken = Picture::from_numbers(1, 1, 3, &[f32::NAN, 2.0, f32::INFINITY]).unwrap();
        assert_eq!(broken.bytes.len(), 3);
        assert_eq!(
            Picture::from_numbers(2, 1, 1, &[0.0, 9.0]).unwrap().bytes,
            [0]
        );
        assert!(Picture::from_numbers(0, 1, 1, &[]).is_none());
    }

    #[test]
    fn large_pictures_are_stored_in_blocks() {
        let png = Picture::grey(300, 300, &[7; 90_000]).unwrap().to_png();
        assert!(png.len() > 90_000 && png.ends_with(b"IEND\xaeB`\x82"));
    }
}
