//! A custodian killed in the middle of its commits loses nothing that it acknowledged.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Folder, Machine, ORIGIN, Place, lease};
use split_custody_protocol::ids::LeaseId;
use split_custody_protocol::wire::audit::LeafKind;
use split_custody_store::{CustodyStore, Outcome, SqliteStore};

/// Set for the child: the folder that it works in.
const CHILD: &str = "SPLIT_CUSTODY_STORE_CRASH_CHILD";
/// How many lives the custodian has, and after how many acknowledged leases each ends.
const LIVES: [usize; 4] = [1, 37, 90, 200];

/// Not a story of its own: what the child does when it is run under [`CHILD`].
#[test]
fn child_commits_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let folder = Path::new(&folder);
    let (database, anchor) = (folder.join("custodian.db"), folder.join("anchor"));
    let mut store = SqliteStore::open(&database, &anchor, ORIGIN).unwrap();
    let boot = store.boot().unwrap();
    let machine = Machine::of(&boot);
    let mut out = std::io::stdout().lock();
    for ticket in (1..).step_by(3) {
        // Three at a time: a batch must not be torn either.
        let batch: Vec<_> = (ticket..ticket + 3)
            .map(|ticket| (ticket, machine.grant(numbered(boot.generation.value(), ticket))))
            .collect();
        for ((ticket, _), outcome) in batch.iter().zip(store.commit_batch(&batch)) {
            let Outcome::Committed(index) = outcome else { panic!("{outcome:?}") };
            writeln!(out, "acknowledged {} {ticket} {index}", boot.generation).unwrap();
        }
        out.flush().unwrap();
        if ticket % 5 == 0 {
            store.move_anchor(&machine.anchor(&[])).unwrap();
        }
    }
}

/// A lease of its own for each generation and ticket.
fn numbered(generation: u64, ticket: u64) -> split_custody_protocol::effect::LeaseRecord {
    let mut record = lease(0, 1, 1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&generation.to_be_bytes());
    id[8..].copy_from_slice(&ticket.to_be_bytes());
    record.lease = LeaseId::new(id);
    record
}

/// Runs one life and kills it; gives what it acknowledged: generation, ticket, index.
fn live_and_die(folder: &Folder, acknowledgements: usize) -> Vec<(u64, u64, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_commits_until_it_is_killed", "--nocapture"])
        .env(CHILD, folder.0.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut heard = Vec::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    while heard.len() < acknowledgements {
        let line = lines.next().expect("the child goes on until it is killed").unwrap();
        heard.extend(parse(&line));
    }
    // SIGKILL: no destructor runs, nothing is flushed.
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had said before it died counts as acknowledged too.
    heard.extend(lines.map_while(Result::ok).filter_map(|line| parse(&line)));
    heard
}

fn parse(line: &str) -> Option<(u64, u64, u64)> {
    // The test harness prints the test's name before the first line.
    let (_, said) = line.split_once("acknowledged ")?;
    let mut numbers = said.split(' ').map(|number| number.parse().ok());
    let parsed = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(parsed)
}

#[test]
fn aud_1_everything_acknowledged_survives_sigkill() {
    let folder = Folder::new();
    let mut acknowledged = Vec::new();
    for count in LIVES {
        acknowledged.extend(live_and_die(&folder, count));
    }

    let mut store = folder.open().unwrap();
    let boot = store.boot().unwrap();

    assert_eq!(boot.behind, None);
    assert_eq!(boot.generation.value(), LIVES.len() as u64 + 1);
    for (generation, ticket, index) in &acknowledged {
        let expected = numbered(*generation, *ticket);
        assert!(boot.leases.contains(&expected), "generation {generation}, ticket {ticket}");
        let leaf = store.leaves(*index..index + 1).unwrap()[0];
        assert_eq!(leaf.kind, LeafKind::Release);
        assert_eq!(leaf.generation.value(), *generation);
    }
    // One leaf for each lease and each generation: none is torn, none is doubled.
    let generations = boot.generation.value();
    assert_eq!(boot.checkpoint.size, boot.leases.len() as u64 + generations);
    assert_eq!(boot.leases.len() % 3, 0, "batches are whole");
}
