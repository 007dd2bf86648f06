//! Frames by content: a state holds an id, the bytes live in one process-wide table.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, RwLock};

use xxhash_rust::xxh3::xxh3_64;

/// A frame's content-addressed id: the same in every run and on every thread.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub struct FrameId(u64);

static FRAMES: LazyLock<RwLock<HashMap<u64, Arc<[u8]>>>> = LazyLock::new(RwLock::default);

impl FrameId {
    /// Remembers a frame. Panics on a collision of ids, which would merge two messages.
    pub fn of(frame: &[u8]) -> Self {
        let id = xxh3_64(frame);
        // INVARIANT: no holder of the lock panics except on the collision below.
        if let Some(known) = FRAMES.read().expect("no holder panics").get(&id) {
            assert_eq!(&**known, frame, "two frames with one id");
            return Self(id);
        }
        FRAMES.write().expect("no holder panics").insert(id, Arc::from(frame));
        Self(id)
    }

    /// The frame's bytes.
    pub fn bytes(self) -> Arc<[u8]> {
        let frames = FRAMES.read().expect("no holder panics");
        Arc::clone(frames.get(&self.0).expect("ids come from `of`"))
    }
}
