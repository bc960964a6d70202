//! Planes of an image turned to channels-last and back: blocks of channels, in each block every place with the block's
//! channels side by side.

use super::weight::transpose_plane;

/// How channels are cut into blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocks {
    pub(super) channels: usize,
    /// Numbers at a place: the channels of a block, those of the last filled up with zeros.
    pub(super) pitch: usize,
    /// Places of a plane.
    pub(super) places: usize,
}

impl Blocks {
    pub(super) fn count(&self) -> usize {
        self.channels.div_ceil(self.pitch)
    }

    /// Elements of a block.
    pub(super) fn block_len(&self) -> usize {
        self.places * self.pitch
    }

    /// Elements of all blocks.
    pub(super) fn len(&self) -> usize {
        self.count() * self.block_len()
    }
}

simd! {
    /// Writes planes as channels-last blocks.
    ///
    /// # Safety
    /// `planes` holds the planes of all channels and `out` all blocks.
    pub(super) unsafe fn interleave(blocks: &Blocks, planes: &[f32], out: &mut [f32]) {
        let Blocks { channels, pitch, places } = *blocks;
        if pitch % S::LANES != 0 {
            // Fewer channels than a vector has lanes.
            for (p, out) in out.chunks_exact_mut(pitch).take(places).enumerate() {
                for (c, out) in out.iter_mut().enumerate() {
                    *out = planes[c * places + p];
                }
            }
            return;
        }
        for block in 0..blocks.count() {
            let first = block * pitch;
            // SAFETY: the caller's promise; a block has whole vectors.
            unsafe {
                let from = planes.as_ptr().add(first * places);
                let out = out.as_mut_ptr().add(block * blocks.block_len());
                transpose_plane::<S>(from, places, channels - first, pitch, out);
            }
        }
    }
}

/// A rectangle of places that is an image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Its first place, and how far its rows lie apart.
    pub(super) first: usize,
    pub(super) row: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

simd! {
    /// Writes a rectangle of one block, whose places hold whole vectors, as planes of the `channels` that are there.
    ///
    /// # Safety
    /// `block` holds every place of the window and behind it as many as a vector has lanes; `out` holds the planes.
    pub(super) unsafe fn planes(window: &Window, pitch: usize, channels: usize, block: &[f32], out: &mut [f32]) {
        let Window { first, row, height, width } = *window;
        let plane = height * width;
        // Rows without anything between them are one.
        let (rows, len) = if row == width { (1, plane) } else { (height, width) };
        let mut square = [0.0_f32; 256];
        for c in (0..channels).step_by(S::LANES) {
            let there = (channels - c).min(S::LANES);
            for r in 0..rows {
                let mut p = 0;
                while p < len {
                    let count = (len - p).min(S::LANES);
                    // SAFETY: the caller's promises; whole squares go to their place, others through a square of their
                    // own.
                    unsafe {
                        let from = block.as_ptr().add((first + r * row + p) * pitch + c);
                        let at = c * plane + r * len + p;
                        if there == S::LANES && count == S::LANES {
                            S::transpose(from, pitch, out.as_mut_ptr().add(at), plane);
                        } else {
                            S::transpose(from, pitch, square.as_mut_ptr(), S::LANES);
                            for i in 0..there {
                                let at = at + i * plane;
                                out[at..at + count].copy_from_slice(&square[i * S::LANES..][..count]);
                            }
                        }
                    }
                    p += count;
                }
            }
        }
    }
}
