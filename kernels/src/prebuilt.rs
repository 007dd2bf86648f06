//! The kernels as they were compiled: their digests, and with feature `cuda` the code itself.
//!
//! `build-cubins` makes them, bit for bit; `tests/prebuilt.rs` fails where a source changed since. The
//! digest of the code that a device loads is a measurement: a policy can name it.

/// Digests of sources and of what was built from them, as `sha256sum` prints them.
pub const SHA256SUMS: &str = include_str!("../prebuilt/SHA256SUMS");

/// The SHA-256 of the code for a GPU: `sm_80`, `sm_90`, `sm_100`, `sm_120`, or `compute_80` for the
/// text that the driver translates.
pub fn measurement(gpu: &str) -> Option<[u8; 32]> {
    let lines = SHA256SUMS.lines().filter_map(|line| line.split_once("  "));
    let mut of_gpu = lines.filter(|(_, file)| {
        let built = file.strip_prefix("prebuilt/").and_then(|file| file.rsplit_once('.'));
        matches!(built, Some((name, "cubin" | "ptx")) if name == gpu)
    });
    unhex(of_gpu.next()?.0)
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let bytes = digits.as_bytes().chunks_exact(2);
    if bytes.len() != digest.len() {
        return None;
    }
    for (out, pair) in digest.iter_mut().zip(bytes) {
        *out = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Code for a GPU, and how its tables lie.
#[cfg(feature = "cuda")]
pub(crate) struct Image {
    pub(crate) gpu: &'static str,
    pub(crate) tables: crate::device::Tables,
    pub(crate) bytes: &'static [u8],
}

/// The code for a compute capability: a cubin where there is one for its generation, else text.
#[cfg(feature = "cuda")]
pub(crate) fn image(major: i32, minor: i32) -> Option<Image> {
    use crate::device::Tables::{Four, One};
    macro_rules! image {
        ($gpu:literal, $end:literal, $tables:expr) => {
            Some(Image {
                gpu: $gpu,
                tables: $tables,
                bytes: include_bytes!(concat!("../prebuilt/", $gpu, $end)),
            })
        };
    }
    match (major, minor) {
        (8, _) => image!("sm_80", ".cubin", One),
        (9, _) => image!("sm_90", ".cubin", Four),
        (10, _) => image!("sm_100", ".cubin", Four),
        (12, _) => image!("sm_120", ".cubin", One),
        (11.., _) => image!("compute_80", ".ptx", One),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gpu_has_its_measurement_and_no_other_has_one() {
        let gpus = ["sm_80", "sm_90", "sm_100", "sm_120", "compute_80"];
        let digests: Vec<_> = gpus.iter().map(|gpu| measurement(gpu).expect(gpu)).collect();
        assert!((1..digests.len()).all(|i| !digests[..i].contains(&digests[i])));
        assert_eq!(measurement("sm_70"), None);
        assert_eq!(measurement("figures"), None);
        assert_eq!(measurement(""), None);
    }
}
