//! Certification of a device's leaf by its node. What the host certifies is worth a connection
//! under that node's quota and nothing else.

use std::io;
use std::path::Path;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::pki::{NodeIssuer, Validity};
use crate::relay::CERTIFY;

/// Answers one request: u32 length and request in; count, then length and certificate each, out.
pub(super) async fn answer(issuer: &NodeIssuer, mut device: UnixStream) -> io::Result<()> {
    let request = read_part(&mut device).await?;
    let validity = Validity::starting_now(LEAF_LIFE);
    let chain = issuer.certify(&request, validity).map_err(|_| io::ErrorKind::InvalidInput)?;
    let count = u8::try_from(chain.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    device.write_u8(count).await?;
    for certificate in &chain {
        write_part(&mut device, certificate).await?;
    }
    device.shutdown().await
}

/// Has the node at `socket` certify this request; the chain comes leaf first.
pub async fn request_certificate(
    socket: &Path,
    request: &[u8],
) -> io::Result<Vec<CertificateDer<'static>>> {
    let exchange = async {
        let mut node = UnixStream::connect(socket).await?;
        node.write_u8(CERTIFY).await?;
        write_part(&mut node, request).await?;
        let mut chain = Vec::new();
        for _ in 0..node.read_u8().await?.min(LONGEST_CHAIN) {
            chain.push(CertificateDer::from(read_part(&mut node).await?));
        }
        Ok(chain)
    };
    timeout(PATIENCE, exchange).await?
}

async fn read_part(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await?;
    if length == 0 || length > PART {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut part = vec![0; length as usize];
    stream.read_exact(&mut part).await?;
    Ok(part)
}

async fn write_part(stream: &mut UnixStream, part: &[u8]) -> io::Result<()> {
    let length = u32::try_from(part.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    stream.write_u32(length).await?;
    stream.write_all(part).await
}

const LEAF_LIFE: Duration = Duration::from_secs(7 * 86_400);
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_CHAIN: u8 = 4;
const PART: u32 = 8192;
