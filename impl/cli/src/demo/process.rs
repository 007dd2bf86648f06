//! A role's process: this very program again, ended when it is dropped and when the demo dies.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::failure::{Failure, io_at};

/// One running role.
pub struct Process {
    name: String,
    child: Child,
    /// What it said when it was ready.
    pub ready: Value,
}

impl Process {
    /// Starts a role and waits until it is ready. Its stderr goes to `NAME.err` in `logs`.
    ///
    /// Called on the main thread only: a child is told to end with the thread that made it.
    pub fn start(name: &str, logs: &Path, args: &[OsString]) -> Result<Self, Failure> {
        Self::start_with(name, logs, args, |_| ())
    }

    /// The same, with something more about its environment.
    pub fn start_with(
        name: &str,
        logs: &Path,
        args: &[OsString],
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self, Failure> {
        let path = logs.join(format!("{name}.err"));
        let stderr = File::create(&path).map_err(|e| io_at(&path, "create the file", &e))?;
        let program = std::env::current_exe()?;
        let mut command = Command::new(program);
        prepare(&mut command);
        let mut child = command
            .args(args)
            .args(["--json", "--die-with", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(|e| Failure::refused(format!("{name} cannot be started: {e}")))?;
        let ready = read_ready(&mut child);
        let mut process = Self { name: name.into(), child, ready: Value::Null };
        match ready {
            Some(ready) => {
                process.ready = ready;
                Ok(process)
            }
            None => {
                let missing = process.child.wait().is_ok_and(|status| status.code() == Some(3));
                process.end();
                let line = format!("{name} did not start: {}", last_line(&path));
                Err(if missing { Failure::Missing(line) } else { Failure::Refused(line) })
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ends it at once, by its id, and waits until it is gone.
    pub fn end(&mut self) {
        // One that has ended already is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn read_ready(child: &mut Child) -> Option<Value> {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut()?).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn last_line(path: &PathBuf) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").trim_start_matches("error: ").to_owned()
}

/// Arguments from anything that is one.
#[macro_export]
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => {
        [$(::std::ffi::OsString::from($argument)),*]
    };
}
