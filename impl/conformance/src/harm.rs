//! One value of a frame, changed: the same in the model's frame and in the implementation's.

use crate::cbor::Item;

/// A frame that was changed.
pub struct Harmed {
    pub frame: Vec<u8>,
    /// The value that was changed, as it is now; `None` where the frame was cut short.
    pub value: Option<Vec<u8>>,
}

/// How many ways there are to harm a frame; `None` where it is no CBOR of the profile.
pub fn places(frame: &[u8]) -> Option<u16> {
    u16::try_from(2 * (Item::read(frame)?.byte_strings().len() + 1)).ok()
}

/// Changes the first or the last byte of one byte string, or cuts the frame's last byte off.
pub fn harm(frame: &[u8], place: u16) -> Option<Harmed> {
    let mut item = Item::read(frame)?;
    let mut strings = item.byte_strings();
    let (end, place) = (place & 1, usize::from(place >> 1) % (strings.len() + 1));
    let Some(string) = strings.get_mut(place) else {
        return Some(Harmed { frame: frame[..frame.len() - 1].to_vec(), value: None });
    };
    // A signature or key of the model ends in bytes that mean nothing.
    let first = end == 0 || matches!(string.len(), 64 | 65);
    *(if first { string.first_mut() } else { string.last_mut() })? ^= 1;
    let value = string.clone();
    Some(Harmed { frame: item.write(), value: Some(value) })
}
