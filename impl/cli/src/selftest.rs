//! `custody selftest`: known-answer tests of every primitive in use, on this machine.

use split_custody_keys::selftest::{FileReport, Status, run_built_in, run_folder};

use crate::args::SelftestArgs;
use crate::failure::Failure;

pub fn run(args: &SelftestArgs) -> Result<(), Failure> {
    let report = match &args.vectors {
        Some(folder) => run_folder(folder)?,
        None => run_built_in(),
    };
    let count = |status| report.files.iter().filter(|file| file.status == status).count();
    let (passed, failed, unused) =
        (count(Status::Passed), count(Status::Failed), count(Status::NotInUse));
    if args.json {
        let files = serde_json::to_value(&report.files)?;
        println!(
            "{}",
            serde_json::json!({ "files": files, "passed": passed, "failed": failed, "not_in_use": unused })
        );
    } else {
        report.files.iter().filter(|file| file.status != Status::NotInUse).for_each(print);
        if unused > 0 {
            println!("not in use here, so not run:");
            let files = report.files.iter().filter(|file| file.status == Status::NotInUse);
            files.for_each(|file| println!("  {} ({})", file.file, file.algorithm));
        }
        println!("{passed} passed, {failed} failed, {unused} not in use");
    }
    match (failed, passed) {
        (0, 1..) => Ok(()),
        (0, 0) => Err(Failure::Checks("no file of an algorithm that is in use: nothing was shown".into())),
        _ => Err(Failure::Checks(format!("{failed} of {} self-tests failed", failed + passed))),
    }
}

fn print(file: &FileReport) {
    let mark = if file.status == Status::Passed { "pass" } else { "FAIL" };
    let FileReport { file: name, algorithm, backend, passed, failed, skipped, .. } = file;
    print!("{mark}  {name:<44} {algorithm:<24} {backend:<12} {passed:>6} passed");
    if *failed > 0 {
        print!(", {failed} failed (first: {:?})", file.failures);
    }
    if *skipped > 0 {
        print!(", {skipped} of other parameters");
    }
    println!();
}
