//! What custodian and worker say to each other: frames over a Unix socket, one answer for each.
//!
//! Both ends are this program. A frame is a length of four bytes, little endian, then a byte that
//! says what it is, then fields, each after its length of two bytes.

use std::io::{self, Read, Write};

/// What a worker is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    Hello = 1,
    Release = 2,
    SignGrant = 3,
    SignTls = 4,
    DestroyHandles = 5,
}

impl Ask {
    pub fn of(byte: u8) -> Option<Self> {
        let all =
            [Self::Hello, Self::Release, Self::SignGrant, Self::SignTls, Self::DestroyHandles];
        all.into_iter().find(|ask| *ask as u8 == byte)
    }
}

/// How an answer begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Said {
    Done = 0,
    /// The client's fault. [HSM-9]
    Refused = 1,
    /// The token does not answer as it must; another try may do.
    Failed = 2,
    /// A person has to act; the worker ends.
    Operator = 3,
    /// At the start: the module or its token is not there.
    Missing = 4,
}

impl Said {
    pub fn of(byte: u8) -> Option<Self> {
        let all = [Self::Done, Self::Refused, Self::Failed, Self::Operator, Self::Missing];
        all.into_iter().find(|said| *said as u8 == byte)
    }
}

/// A frame with this head and these fields.
pub fn frame(head: u8, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.push(head);
    for field in fields {
        // INVARIANT: every field is a wire value below 64 KiB.
        let length = u16::try_from(field.len()).expect("a field below 64 KiB");
        out.extend(length.to_le_bytes());
        out.extend(*field);
    }
    // INVARIANT: a handful of fields.
    let length = u32::try_from(out.len() - 4).expect("a frame below 4 GiB");
    out.splice(..4, length.to_le_bytes());
    out
}

/// One end of a lane: a frame leaves in one write and comes, as a rule, in one read.
#[derive(Debug)]
pub struct Lane<S> {
    stream: S,
    /// What was read and not yet taken.
    held: Vec<u8>,
}

/// A frame: its head and its fields.
pub type Frame = (u8, Vec<Vec<u8>>);

impl<S> Lane<S> {
    pub const fn new(stream: S) -> Self {
        Self { stream, held: Vec::new() }
    }

    pub const fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S: Read + Write> Lane<S> {
    /// Sends a frame.
    pub fn send(&mut self, head: u8, fields: &[&[u8]]) -> io::Result<()> {
        self.stream.write_all(&frame(head, fields))
    }

    /// The next frame.
    pub fn receive(&mut self) -> io::Result<Frame> {
        let mut bytes = [0; 2048];
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            match self.stream.read(&mut bytes)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.held.extend(bytes.iter().take(read)),
            }
        }
    }

    /// The frame that is held whole, if one is.
    fn take(&mut self) -> io::Result<Option<Frame>> {
        let Some((length, rest)) = self.held.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a frame");
        if length == 0 || length > CAP {
            return Err(malformed());
        }
        let Some((bytes, _)) = rest.split_at_checked(length) else { return Ok(None) };
        let (head, mut rest) = bytes.split_first().ok_or_else(malformed)?;
        let (head, mut fields) = (*head, Vec::new());
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk().ok_or_else(malformed)?;
            let (field, after) =
                after.split_at_checked(u16::from_le_bytes(*length).into()).ok_or_else(malformed)?;
            fields.push(field.to_vec());
            rest = after;
        }
        self.held.drain(..4 + length);
        Ok(Some((head, fields)))
    }
}

const CAP: usize = 1 << 17;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn received(bytes: &[u8]) -> io::Result<Frame> {
        Lane::new(io::Cursor::new(bytes.to_vec())).receive()
    }

    #[test]
    fn hsm_11_frames_read_back_and_malformed_ones_are_refused() {
        let bytes = frame(2, &[b"one", b"", b"three"]);
        let fields = vec![b"one".to_vec(), Vec::new(), b"three".to_vec()];
        assert_eq!(received(&bytes).unwrap(), (2, fields));
        for short in 0..bytes.len() {
            assert!(received(&bytes[..short]).is_err(), "{short} bytes");
        }
        for bad in [&[0, 0, 0, 0][..], &[255, 255, 255, 255, 1], &[3, 0, 0, 0, 2, 9, 0]] {
            assert!(received(bad).is_err());
        }
    }

    #[test]
    fn hsm_11_frames_that_come_in_pieces_or_together_are_told_apart() {
        let (one, other) = UnixStream::pair().unwrap();
        let (mut one, mut other) = (Lane::new(one), Lane::new(other));
        let long = vec![7; 60_000];
        one.send(3, &[&long]).unwrap();
        one.send(4, &[]).unwrap();
        assert_eq!(other.receive().unwrap(), (3, vec![long]));
        assert_eq!(other.receive().unwrap(), (4, Vec::new()));
        let bytes = frame(5, &[b"late"]);
        let late = std::thread::spawn(move || other.receive());
        for byte in bytes {
            one.stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(late.join().unwrap().unwrap(), (5, vec![b"late".to_vec()]));
    }
}
