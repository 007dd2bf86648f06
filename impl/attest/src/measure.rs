//! What `software` Evidence measures: the file that runs.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use split_custody_keys::hash;
use split_custody_protocol::suite::Digest;

/// The two measurements of a device; policy must admit both. [HS-16]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Measurements {
    /// Of what drives the GPU.
    pub gpu: Digest,
    /// Of the code that owns sessions and keys.
    pub cpu: Digest,
}

impl Measurements {
    /// Of an executable file; both halves of a software device are the one image.
    ///
    /// The code that is measured computes this itself: it is a name for a build, not a proof.
    pub fn of_image(image: &Path) -> io::Result<Self> {
        let mut file = File::open(image)?;
        let mut state = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            state.update(bytes);
        }
        let image: [u8; 32] = state.finalize().into();
        Ok(Self { gpu: hash(GPU_IMAGE, &[&image]), cpu: hash(CPU_IMAGE, &[&image]) })
    }

    /// Of the running executable.
    pub fn of_running_image() -> io::Result<Self> {
        Self::of_image(Path::new("/proc/self/exe"))
    }

    /// Both, as policy lists them.
    pub const fn as_list(&self) -> [Digest; 2] {
        [self.gpu, self.cpu]
    }
}

/// The labels of this kind's measurements.
const GPU_IMAGE: &str = "split-custody/v1/software-gpu-image";
const CPU_IMAGE: &str = "split-custody/v1/software-cpu-image";
