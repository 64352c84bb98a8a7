//! Damage that is a function of a number, so that a file which breaks a reader can be made again from its number.

/// A damaged copy: up to four times flipped bits, other bytes, extreme numbers in place of lengths, cuts, missing pieces, and pieces
/// that are there twice.
#[must_use]
pub fn damaged(valid: &[u8], number: u64) -> Vec<u8> {
    let mut draw = SplitMix(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03);
    let mut bytes = valid.to_vec();
    for _ in 0..=draw.below(3) {
        if bytes.is_empty() {
            break;
        }
        let at = draw.below(bytes.len());
        match draw.below(6) {
            0 => bytes[at] ^= 1 << draw.below(8),
            1 => bytes[at] = draw.below(256) as u8,
            2 => extreme(&mut bytes[at..], &mut draw),
            3 => bytes.truncate(at),
            4 => drop(bytes.drain(at..(at + 1 + draw.below(16)).min(bytes.len()))),
            _ => {
                let end = (at + 1 + draw.below(64)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
    bytes
}

/// Puts a number that readers like to multiply or to allocate by in front, in one, two, four or eight bytes of either order.
fn extreme(bytes: &mut [u8], draw: &mut SplitMix) {
    const VALUES: [u64; 6] = [0, 1, 0x7fff_ffff, 0xffff_ffff, u64::MAX, 1 << 40];
    let width = [1, 2, 4, 8][draw.below(4)].min(bytes.len());
    let value = VALUES[draw.below(VALUES.len())];
    let (little, big) = (value.to_le_bytes(), value.to_be_bytes());
    bytes[..width].copy_from_slice(if draw.below(2) == 0 { &little[..width] } else { &big[8 - width..] });
}

/// SplitMix64 (Steele, Lea and Flood 2014).
struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % count.max(1) as u64) as usize
    }
}
