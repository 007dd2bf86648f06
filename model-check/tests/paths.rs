//! Paths, kept as files: together they take every row of the chapters' state tables, or a reason
//! says why not. The files are written by `cargo prove export --paths model-check/paths`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use split_custody_model_check::cover::{Row, UNREACHED};
use split_custody_model_check::paths::{Path, read};
use split_custody_spec::table;

fn paths() -> Vec<(String, Path)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("paths");
    read(&folder).expect("the folder of the paths")
}

fn of_the_tables() -> BTreeSet<Row> {
    let rows = table::NAMES.into_iter().flat_map(|name| {
        let of = move |row: table::Row<'_>| format!("{name} | {} | {}", row.state, row.input);
        table::table(name).rows.into_iter().map(of)
    });
    rows.collect()
}

#[test]
fn every_path_is_current() {
    for (name, path) in paths() {
        assert_eq!(path.rows_taken().as_ref(), Some(&path.rows), "{name}");
        let text =
            fs::read_to_string(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("paths").join(&name));
        assert_eq!(text.expect("readable"), path.to_json(), "{name}");
    }
}

#[test]
fn every_row_of_the_tables_is_taken_or_has_a_reason() {
    let taken: BTreeSet<Row> = paths().into_iter().flat_map(|(_, path)| path.rows).collect();
    let reasons: BTreeSet<Row> = UNREACHED.iter().map(|(row, _)| (*row).to_owned()).collect();
    let all = of_the_tables();
    let missing: Vec<_> = all.iter().filter(|row| !taken.contains(*row)).collect();
    let without: Vec<_> = missing.iter().filter(|row| !reasons.contains(**row)).collect();
    assert!(without.is_empty(), "no path takes, and no reason is given for: {without:#?}");
    let stale: Vec<_> = reasons.iter().filter(|row| !missing.contains(row)).collect();
    assert!(stale.is_empty(), "taken after all, or in no table: {stale:#?}");
}

#[test]
fn a_path_takes_only_rows_that_a_table_has() {
    let all = of_the_tables();
    for (name, path) in paths() {
        let strange = path.rows.iter().filter(|row| !row.starts_with("refused"));
        let strange: Vec<_> = strange.filter(|row| !all.contains(*row)).collect();
        assert!(strange.is_empty(), "{name}: {strange:?}");
    }
}
