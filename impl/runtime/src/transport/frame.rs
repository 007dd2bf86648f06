//! Frames on a byte stream: u32 big-endian length, then the frame. Chapter 10.

use std::io;
use std::time::Duration;

use split_custody_protocol::wire::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// A stream does not carry frames.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    #[error("a frame of {length} bytes where at most {cap} are allowed [WIRE-1]")]
    TooLong { length: usize, cap: usize },
    #[error("a frame without bytes")]
    Empty,
    #[error("a frame took too long to arrive")]
    TooSlow,
    #[error("the stream ended within a frame")]
    Truncated,
    #[error("cannot read or write the stream")]
    Io(#[from] io::Error),
}

/// The next frame; `None` when the stream ended between two.
///
/// Waits without bound for a frame to begin and at most `within` for it to end.
pub async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    within: Duration,
) -> Result<Option<Vec<u8>>, FrameError> {
    let mut length = [0; 4];
    if reader.read(&mut length[..1]).await? == 0 {
        return Ok(None);
    }
    let body = async {
        reader.read_exact(&mut length[1..]).await.map_err(truncated)?;
        read_body(reader, u32::from_be_bytes(length)).await
    };
    timeout(within, body).await.map_err(|_| FrameError::TooSlow)?.map(Some)
}

/// The length is believed only as far as bytes arrive. [WIRE-1]
async fn read_body<R: AsyncRead + Unpin>(
    reader: &mut R,
    length: u32,
) -> Result<Vec<u8>, FrameError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match length {
        0 => return Err(FrameError::Empty),
        _ if length > Message::CAP => {
            return Err(FrameError::TooLong { length, cap: Message::CAP });
        }
        _ => {}
    }
    let mut frame = Vec::with_capacity(length.min(FIRST_ALLOCATION));
    let mut bounded = reader.take(length as u64);
    while frame.len() < length {
        if bounded.read_buf(&mut frame).await? == 0 {
            return Err(FrameError::Truncated);
        }
    }
    Ok(frame)
}

/// Writes one frame and flushes it.
pub async fn write_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: &[u8],
) -> Result<(), FrameError> {
    put_frame(writer, frame).await?;
    Ok(writer.flush().await?)
}

/// Writes one frame; several may share a flush.
pub(crate) async fn put_frame<W: AsyncWrite + Unpin>(
    writer: &mut W,
    frame: &[u8],
) -> Result<(), FrameError> {
    let too_long = FrameError::TooLong { length: frame.len(), cap: Message::CAP };
    let length = match u32::try_from(frame.len()) {
        Ok(length) if frame.len() <= Message::CAP => length,
        _ => return Err(too_long),
    };
    // One buffer, so that a small frame is one TLS record and one packet.
    let mut bytes = Vec::with_capacity(4 + frame.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(frame);
    Ok(writer.write_all(&bytes).await?)
}

fn truncated(error: io::Error) -> FrameError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    }
}

const FIRST_ALLOCATION: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn wire_1_a_frame_is_read_as_it_was_written() {
        let (mut near, mut far) = tokio::io::duplex(64);
        let frame = vec![7; 100_000];
        let sent = frame.clone();
        let writing = tokio::spawn(async move { write_frame(&mut near, &sent).await });
        let read = read_frame(&mut far, Duration::from_secs(5)).await.expect("a frame");
        assert_eq!(read, Some(frame));
        writing.await.expect("ran").expect("wrote");
        assert_eq!(read_frame(&mut far, WITHIN).await.expect("an end"), None);
    }

    #[tokio::test]
    async fn wire_1_oversize_length_is_refused_before_any_body() {
        let mut bytes: &[u8] = &[0xff, 0xff, 0xff, 0xff];
        let refused = read_frame(&mut bytes, WITHIN).await;
        assert!(matches!(refused, Err(FrameError::TooLong { length: 0xffff_ffff, .. })));
    }

    #[tokio::test]
    async fn wire_1_one_byte_above_the_cap_is_refused() {
        let length = u32::try_from(Message::CAP + 1).expect("the cap fits");
        let header = length.to_be_bytes();
        let refused = read_frame(&mut &header[..], WITHIN).await;
        assert!(matches!(refused, Err(FrameError::TooLong { .. })));
    }

    #[tokio::test]
    async fn wire_1_a_frame_without_bytes_is_refused() {
        let refused = read_frame(&mut &[0u8, 0, 0, 0][..], WITHIN).await;
        assert!(matches!(refused, Err(FrameError::Empty)));
    }

    #[tokio::test]
    async fn wire_1_a_stream_that_ends_within_a_frame_is_truncated() {
        let refused = read_frame(&mut &[0u8, 0, 0, 9, 1, 2][..], WITHIN).await;
        assert!(matches!(refused, Err(FrameError::Truncated)));
    }

    #[tokio::test]
    async fn wire_1_a_frame_that_dribbles_is_given_up() {
        let (mut near, mut far) = tokio::io::duplex(64);
        near.write_all(&[0, 0, 0, 9, 1]).await.expect("written");
        let refused = read_frame(&mut far, WITHIN).await;
        assert!(matches!(refused, Err(FrameError::TooSlow)));
    }
}
