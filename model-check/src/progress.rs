//! A check that was ended goes on where it stopped.
//!
//! A file of one line for each slice that was proved, written when it was. A line counts for the build
//! that wrote it and for no other: another build may be another protocol.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;

use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::harness::SliceResult;
use crate::search::Found;
use crate::slice::Slice;

/// What was proved before, and where to write what is proved now.
#[derive(Debug)]
pub struct Progress {
    build: String,
    proved: BTreeMap<String, Found>,
    file: Mutex<File>,
}

impl Progress {
    /// Reads a file of progress, or begins one. What another build wrote in it is passed over.
    ///
    /// # Errors
    ///
    /// Where the file or this program's own cannot be read, or the former not be written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let build = format!("{:032x}", xxh3_128(&fs::read(std::env::current_exe()?)?));
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let proved = text.lines().filter_map(|line| read(line, &build)).collect();
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { build, proved, file: Mutex::new(file) })
    }

    /// How many slices this build has proved before.
    pub fn len(&self) -> usize {
        self.proved.len()
    }

    pub fn is_empty(&self) -> bool {
        self.proved.is_empty()
    }

    /// The result of a slice that was proved before.
    pub(crate) fn of(&self, slice: &Slice) -> Option<SliceResult> {
        let found = self.proved.get(slice.name)?.clone();
        let pin_broken = slice.pinned().filter(|pin| *pin != found.unique).map(|_| found.unique);
        Some(SliceResult { slice: slice.clone(), found, pin_broken, violated: Vec::new() })
    }

    /// Keeps a result, if everything was seen and nothing broke: nothing else is worth keeping.
    pub(crate) fn keep(&self, result: &SliceResult) {
        let found = &result.found;
        if !found.exhaustive || !result.violated.is_empty() {
            return;
        }
        let line = json!({
            "build": self.build,
            "slice": result.slice.name,
            "unique": found.unique,
            "generated": found.generated,
            "depth": found.depth,
            "seconds": found.seconds,
        });
        // INVARIANT: nobody panics while holding the lock.
        let mut file = self.file.lock().expect("not poisoned");
        if let Err(error) = writeln!(file, "{line}").and_then(|()| file.sync_data()) {
            eprintln!("progress is not kept: {error}");
        }
    }
}

/// A line of this build; half a line, where the writer was killed, is none.
fn read(line: &str, build: &str) -> Option<(String, Found)> {
    let value: Value = serde_json::from_str(line).ok()?;
    let number = |name: &str| usize::try_from(value.get(name)?.as_u64()?).ok();
    if value.get("build")?.as_str()? != build {
        return None;
    }
    let found = Found {
        story: None,
        unique: number("unique")?,
        generated: number("generated")?,
        depth: number("depth")?,
        exhaustive: true,
        seconds: value.get("seconds")?.as_f64()?,
    };
    Some((value.get("slice")?.as_str()?.to_owned(), found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Bound, prove};
    use crate::slice::{Scope, slice};

    #[test]
    fn a_slice_that_was_proved_is_not_searched_again_and_another_builds_is() {
        let path = std::env::temp_dir().join(format!("progress-{}.jsonl", std::process::id()));
        let of = slice("handshake-late").expect("a slice");
        let result = prove(&of, Bound::of(Scope::Smoke));
        Progress::open(&path).expect("a file").keep(&result);
        let again = Progress::open(&path).expect("the same file");
        assert_eq!(again.of(&of).map(|known| known.found.unique), Some(result.found.unique));
        let text = fs::read_to_string(&path).expect("the line");
        fs::write(&path, text.replace(&again.build, "another") + "{\"build\":").expect("written");
        assert!(Progress::open(&path).expect("still a file").is_empty());
        fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_search_that_was_cut_off_is_not_kept() {
        let path = std::env::temp_dir().join(format!("cut-{}.jsonl", std::process::id()));
        let of = slice("handshake-one").expect("a slice");
        Progress::open(&path).expect("a file").keep(&prove(&of, Bound(50)));
        assert!(Progress::open(&path).expect("the same file").is_empty());
        fs::remove_file(&path).expect("removed");
    }
}
