//! The worker: the process that holds the module. [HSM-11]
//!
//! It opens the token, serves one thread for each lane it was handed, and ends when its custodian
//! does. Whatever a module does to its process, it does here.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

use split_custody_keys::Released;
use split_custody_protocol::suite::{Digest, SealedShare, SuiteId};

use crate::config::Config;
use crate::error::{Class, Error};
use crate::hsm::{Hsm, Leftovers, Order, Sessions};
use crate::wire::{Ask, Lane, Said};
use crate::worker::LANES;

/// Serves the lanes that the environment names until all of them end.
///
/// # Errors
/// Why the token is not served from; the first lane is told too.
pub fn serve(config: Config) -> Result<(), Error> {
    let lanes = std::env::var(LANES).unwrap_or_default();
    let numbers: Option<Vec<i32>> = lanes.split(',').map(|number| number.parse().ok()).collect();
    let numbers = numbers.filter(|numbers| numbers.iter().all(|number| *number > 2));
    let numbers = numbers.ok_or(Error::Input("a worker is started by its custodian alone"))?;
    let mut lanes: Vec<_> = numbers.into_iter().map(lane).collect();
    end_with_custodian();
    let hsm = match Hsm::open(config) {
        Ok(hsm) => Arc::new(hsm),
        Err(error) => {
            let said = match error.class() {
                _ if error.is_missing() => Said::Missing,
                Class::Operator => Said::Operator,
                _ => Said::Failed,
            };
            if let Some(first) = lanes.first_mut() {
                let _ = first.send(said as u8, &[error.to_string().as_bytes()]);
            }
            return Err(error);
        }
    };
    if let Some(first) = lanes.first_mut() {
        let _ = first.send(Said::Done as u8, &[]);
    }
    let threads: Vec<_> = lanes
        .into_iter()
        .map(|lane| {
            let hsm = Arc::clone(&hsm);
            std::thread::spawn(move || attend(&hsm, lane))
        })
        .collect();
    threads.into_iter().for_each(|thread| {
        let _ = thread.join();
    });
    Ok(())
}

/// A module that hangs must not outlive the custodian that would have ended it.
fn end_with_custodian() {
    let parent = parent_id();
    std::thread::spawn(move || {
        while parent_id() == parent {
            std::thread::sleep(Duration::from_secs(1));
        }
        std::process::exit(1);
    });
}

/// One lane: sessions of its own, one request after the other.
fn attend(hsm: &Hsm, mut lane: Lane<UnixStream>) {
    let Ok(mut sessions) = hsm.sessions() else { return };
    hsm.rest(&mut sessions, Leftovers::default());
    while let Ok((head, fields)) = lane.receive() {
        let (result, left) = match Ask::of(head) {
            Some(ask) => answer(hsm, &mut sessions, ask, &fields),
            None => (Err(Error::Input("unknown request")), Leftovers::default()),
        };
        let sent = match &result {
            Ok(fields) => {
                let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
                lane.send(Said::Done as u8, &fields)
            }
            Err(error) => lane.send(said(error) as u8, &[]),
        };
        // The custodian wakes up where its answer was written: it goes first.
        std::thread::yield_now();
        if sent.is_err() {
            break;
        }
        if let Err(error) = result {
            eprintln!("hsm worker: {error}");
            match error.class() {
                // Restart is recovery: the custodian starts another worker when it needs one.
                Class::Device | Class::Operator | Class::Doubtful => std::process::exit(1),
                Class::Session => match hsm.sessions() {
                    Ok(fresh) => sessions = fresh,
                    Err(_) => return,
                },
                Class::Client => {}
            }
        }
        hsm.rest(&mut sessions, left); // Nobody waits for it.
    }
}

const fn said(error: &Error) -> Said {
    match error.class() {
        Class::Client => Said::Refused,
        Class::Operator => Said::Operator,
        Class::Session | Class::Device | Class::Doubtful => Said::Failed,
    }
}

type Answer = Result<Vec<Vec<u8>>, Error>;

fn answer(hsm: &Hsm, sessions: &mut Sessions, ask: Ask, fields: &[Vec<u8>]) -> (Answer, Leftovers) {
    let alone = |answer: Answer| (answer, Leftovers::default());
    match (ask, fields) {
        (Ask::Hello, []) => {
            let points = [hsm.kek_point(), hsm.grant_point(), hsm.tls_point()];
            let mut fields = vec![hsm.suite().value().to_be_bytes().to_vec()];
            fields.extend(points.iter().map(|point| point.to_vec()));
            alone(Ok(fields))
        }
        (Ask::Release, [sealed, provision, suite, to, context, draft]) => {
            let order = (
                SealedShare::new(sealed.clone()),
                provision[..].try_into().map(Digest::new),
                suite[..].try_into().map(|suite| SuiteId::new(u16::from_be_bytes(suite))),
                context[..].try_into().map(Digest::new),
            );
            let (Some(provisioned), Ok(provision_context), Ok(suite), Ok(context)) = &order else {
                return alone(Err(Error::Input("a field of another length")));
            };
            let order = Order { provisioned, provision_context, suite: *suite, to, context, draft };
            let (result, left) = hsm.release(sessions, &order);
            let fields = |released: Released| {
                vec![released.sealed.as_bytes().to_vec(), released.signature.as_bytes().to_vec()]
            };
            (result.map(fields), left)
        }
        (Ask::SignGrant, [message]) => {
            alone(hsm.sign_grant(sessions, message).map(|s| vec![s.as_bytes().to_vec()]))
        }
        (Ask::SignTls, [message]) => {
            alone(hsm.sign_tls(sessions, message).map(|s| vec![s.as_bytes().to_vec()]))
        }
        (Ask::DestroyHandles, []) => alone(hsm.destroy_handles().map(|()| Vec::new())),
        _ => alone(Err(Error::Input("a request with other fields"))),
    }
}

fn lane(number: i32) -> Lane<UnixStream> {
    // SAFETY: the custodian made these descriptors for this process and names each once.
    Lane::new(UnixStream::from(unsafe { OwnedFd::from_raw_fd(number) }))
}
