//! Copying with bounded memory: one buffer per direction, no piece ahead of its write.

use std::io;

use split_custody_protocol::ids::CustodianId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::relay::{Deed, Direction, Harm};

/// Until both directions ended, or one failed.
pub(super) async fn both_ways(
    device: UnixStream,
    custodian: TcpStream,
    id: CustodianId,
    harm: &dyn Harm,
) -> io::Result<()> {
    let (from_device, to_device) = device.into_split();
    let (from_custodian, to_custodian) = custodian.into_split();
    let there = Way { id, direction: Direction::ToCustodian, harm };
    let back = Way { id, direction: Direction::ToDevice, harm };
    tokio::try_join!(there.copy(from_device, to_custodian), back.copy(from_custodian, to_device))?;
    Ok(())
}

struct Way<'a> {
    id: CustodianId,
    direction: Direction,
    harm: &'a dyn Harm,
}

impl Way<'_> {
    async fn copy<R, W>(&self, mut from: R, mut to: W) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut buffer = vec![0; BUFFER];
        let mut before = 0;
        loop {
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            let piece = &mut buffer[..length];
            let deed = self.harm.on_bytes(self.id, self.direction, before, piece);
            before += length as u64;
            carry_out(deed, piece, &mut to).await?;
        }
    }
}

/// An error ends both directions.
async fn carry_out<W: AsyncWrite + Unpin>(deed: Deed, piece: &[u8], to: &mut W) -> io::Result<()> {
    match deed {
        Deed::Pass => to.write_all(piece).await,
        Deed::Delay(delay) => {
            tokio::time::sleep(delay).await;
            to.write_all(piece).await
        }
        Deed::Drop => Ok(()),
        Deed::CutAfter(length) => {
            to.write_all(&piece[..length.min(piece.len())]).await?;
            Err(io::ErrorKind::ConnectionAborted.into())
        }
        Deed::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

const BUFFER: usize = 16 * 1024;
