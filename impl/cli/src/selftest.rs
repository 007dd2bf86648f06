//! `custody selftest`: known-answer tests of every primitive in use, on this machine.

use split_custody_keys::selftest::{FileReport, Status, run_built_in, run_folder};

use crate::args::SelftestArgs;
use crate::failure::Failure;

pub fn run(args: &SelftestArgs) -> Result<(), Failure> {
    let mut report = match &args.vectors {
        Some(folder) => run_folder(folder)?,
        None => run_built_in(),
    };
    report.files.iter_mut().for_each(|file| file.status = status(file));
    let count = |status| report.files.iter().filter(|file| file.status == status).count();
    let (passed, failed, unused) =
        (count(Status::Passed), count(Status::Failed), count(Status::NotInUse));
    if args.json {
        let counts = serde_json::json!({
            "files": serde_json::to_value(&report.files)?,
            "passed": passed, "failed": failed, "not_in_use": unused,
        });
        say!("{counts}");
    } else {
        let in_use = report.files.iter().filter(|file| file.status != Status::NotInUse);
        in_use.for_each(print);
        print_unused(report.files.iter().filter(|file| file.status == Status::NotInUse));
        say!("{passed} passed, {failed} failed, {unused} not in use");
    }
    match (failed, passed) {
        (0, 1..) => Ok(()),
        (0, 0) => {
            Err(Failure::Checks("no file is of an algorithm in use: nothing was shown".into()))
        }
        _ => Err(Failure::Checks(format!("{failed} of {} self-tests failed", failed + passed))),
    }
}

/// A file whose every vector is of other parameters, such as another curve, is not in use here.
fn status(file: &FileReport) -> Status {
    let only_others = file.passed == 0 && file.failed == 0 && file.skipped > 0;
    if only_others { Status::NotInUse } else { file.status }
}

fn print(file: &FileReport) {
    let mark = if file.status == Status::Passed { "pass" } else { "FAIL" };
    let FileReport { file: name, algorithm, backend, passed, failed, skipped, .. } = file;
    say_on!("{mark}  {algorithm:<16} {backend:<17} {passed:>4} passed");
    if *failed > 0 {
        say_on!(", {failed} failed (first: {:?})", file.failures);
    }
    if *skipped > 0 {
        say_on!(", {skipped} of other parameters");
    }
    say!("  {name}");
}

fn print_unused<'a>(files: impl Iterator<Item = &'a FileReport>) {
    for (number, file) in files.enumerate() {
        if number == 0 {
            say!("not in use here, so not run:");
        }
        let algorithm = if file.backend.is_empty() { "" } else { "other parameters of " };
        say!("  {} ({algorithm}{})", file.file, file.algorithm);
    }
}
