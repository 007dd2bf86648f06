//! What custodian and worker say to each other: frames over a Unix socket, one answer for each.
//!
//! Both ends are this program. A frame is a length of four bytes, little endian, then a byte that
//! says what it is, then fields, each after its length of two bytes.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long an end looks for the next frame before it sleeps: a re-wrap and some.
pub const EAGER: Duration = Duration::from_micros(400);

/// What a worker is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    Hello = 1,
    Rewrap = 2,
    SignGrant = 3,
    SignTls = 4,
    DestroyHandles = 5,
}

impl Ask {
    pub fn of(byte: u8) -> Option<Self> {
        let all = [Self::Hello, Self::Rewrap, Self::SignGrant, Self::SignTls, Self::DestroyHandles];
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

/// Sends a frame in one write.
pub fn send(to: &mut impl Write, head: u8, fields: &[&[u8]]) -> io::Result<()> {
    to.write_all(&frame(head, fields))
}

/// The next frame: its head and its fields.
pub fn receive(from: &mut impl Read) -> io::Result<(u8, Vec<Vec<u8>>)> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not a frame");
    if length == 0 || length > CAP {
        return Err(malformed());
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    let (head, mut rest) = bytes.split_first().ok_or_else(malformed)?;
    let mut fields = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
        let (field, after) =
            after.split_at_checked(u16::from_le_bytes(*length).into()).ok_or_else(malformed)?;
        fields.push(field.to_vec());
        rest = after;
    }
    Ok((*head, fields))
}

/// Looks for the next frame without sleeping, for a while: waking up costs more than a signature.
/// It yields at every look, so nobody who has work waits for it. Gives the frame's first byte.
pub fn look(stream: &mut UnixStream, eager: Duration) -> io::Result<Option<[u8; 1]>> {
    let (start, mut first) = (Instant::now(), [0; 1]);
    stream.set_nonblocking(true)?;
    let looked = loop {
        match stream.read(&mut first) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if start.elapsed() >= eager {
                    break Ok(None);
                }
                std::thread::yield_now();
            }
            Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
            result => break result.map(|_| Some(first)),
        }
    };
    stream.set_nonblocking(false)?;
    looked
}

/// The next frame, of which [`look`] may have seen the first byte.
pub fn receive_after(
    first: Option<[u8; 1]>,
    stream: &mut UnixStream,
) -> io::Result<(u8, Vec<Vec<u8>>)> {
    match first {
        Some(first) => receive(&mut first.as_slice().chain(stream)),
        None => receive(stream),
    }
}

const CAP: usize = 1 << 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsm_11_frames_read_back_and_malformed_ones_are_refused() {
        let bytes = frame(2, &[b"one", b"", b"three"]);
        let (head, fields) = receive(&mut &bytes[..]).unwrap();
        assert_eq!((head, fields), (2, vec![b"one".to_vec(), Vec::new(), b"three".to_vec()]));
        assert!(receive(&mut &bytes[..bytes.len() - 1]).is_err());
        let (mut one, mut other) = UnixStream::pair().unwrap();
        for eager in [Duration::ZERO, Duration::from_secs(5)] {
            one.write_all(&bytes).unwrap();
            let first = look(&mut other, eager).unwrap();
            assert_eq!(receive_after(first, &mut other).unwrap().1.len(), 3);
        }
        assert_eq!(look(&mut other, Duration::ZERO).unwrap(), None);
        let late = std::thread::spawn(move || receive_after(None, &mut other));
        std::thread::sleep(Duration::from_millis(20));
        one.write_all(&bytes).unwrap();
        assert_eq!(late.join().unwrap().unwrap().0, 2);
        for bad in [&[0, 0, 0, 0][..], &[255, 255, 255, 255, 1], &[3, 0, 0, 0, 2, 9, 0]] {
            assert!(receive(&mut &*bad).is_err());
        }
    }
}
