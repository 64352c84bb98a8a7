//! Whether a JPEG file is whole. Decoders fill in grey for what is missing, and a picture half grey is no sample.
//!
//! A file is a row of segments, each with a marker (0xFF and another byte) and most with a length, and ends with the marker of the
//! end (ITU T.81, annex B). What is compressed follows the start of a scan and holds no markers but those of restarts. The end of a
//! preview, which may lie in a segment, is not taken for that of the picture.

const END: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Whether the bytes begin as a JPEG file.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8])
}

/// Whether the segments of a JPEG file go on to its end.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some((marker, after)) = next_marker(rest) {
        rest = match marker {
            END => return true,
            // Without a length: restarts and a marker of old encoders.
            0xd0..=0xd7 | 0x01 => after,
            _ => {
                let Some(&[high, low]) = after.first_chunk::<2>() else { return false };
                let length = usize::from(u16::from_be_bytes([high, low])).max(2);
                let Some(after) = after.get(length..) else { return false };
                if marker == START_OF_SCAN { compressed(after) } else { after }
            }
        };
    }
    false
}

/// The next marker, and what is behind it.
fn next_marker(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0xff)?;
    let fill = bytes[at..].iter().take_while(|&&byte| byte == 0xff).count();
    let (&marker, after) = bytes.get(at + fill..)?.split_first()?;
    Some((marker, after))
}

/// What is behind compressed data: 0xFF in it is followed by 0, or marks a restart.
fn compressed(bytes: &[u8]) -> &[u8] {
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    bytes.windows(2).position(ends).map_or(&[], |at| &bytes[at..])
}
