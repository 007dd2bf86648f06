//! Ephemerals that lie ready, so that no release waits for one. [HSM-3]
//!
//! A thread with a session of its own makes them; each is taken once and destroyed by its taker.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use cryptoki::session::Session;
use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};
use split_custody_keys::p256kw::Point;

use crate::error::Error;
use crate::keys::{ephemeral_templates, read_point};
use crate::raw::{Raw, code};
use crate::token::Token;

/// A key pair of the token that serves one grant.
#[derive(Debug)]
pub struct Ephemeral {
    pub private: CK_OBJECT_HANDLE,
    pub point: Point,
}

impl Ephemeral {
    /// Makes one; its public half is read and destroyed at once.
    pub fn make(raw: &Raw, session: CK_SESSION_HANDLE) -> Result<Self, Error> {
        let (public, private) = ephemeral_templates();
        let mech = code::CKM_EC_KEY_PAIR_GEN;
        let (public, private) = raw.generate_pair(session, mech, &public, &private)?;
        let point = read_point(raw, session, public);
        raw.destroy(session, public)?;
        match point {
            Ok(point) => Ok(Self { private, point }),
            Err(error) => {
                raw.destroy(session, private)?;
                Err(error)
            }
        }
    }
}

/// The ready ones.
pub struct Pool {
    size: usize,
    ready: Mutex<VecDeque<Ephemeral>>,
    taken: Condvar,
    closed: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Pool {
    /// Starts the thread that keeps `size` of them ready; it ends with the pool.
    pub fn start(token: &Arc<Token>, size: usize) -> Result<Arc<Self>, Error> {
        let pool = Arc::new(Self {
            size,
            ready: Mutex::default(),
            taken: Condvar::new(),
            closed: AtomicBool::new(false),
            thread: Mutex::default(),
        });
        if size > 0 {
            let session = token.session()?;
            let (raw, weak) = (token.raw, Arc::downgrade(&pool));
            let thread = std::thread::spawn(move || fill(&raw, &session, &weak));
            *pool.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        }
        Ok(pool)
    }

    /// One that nobody had; `None` when none lies ready.
    pub fn take(&self) -> Option<Ephemeral> {
        let mut ready = self.lock();
        let taken = ready.pop_front();
        // Whoever fills is woken only when there is something to fill.
        if ready.len() * 2 < self.size {
            self.taken.notify_one();
        }
        taken
    }

    /// Ends the thread and waits for it: a module must not be in a call while its process ends.
    pub fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.taken.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Forgets all: their session is gone.
    pub fn clear(&self) {
        self.lock().clear();
        self.taken.notify_one();
    }

    /// How many lie ready.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Ephemeral>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fills until the pool is gone; a token that gives none is asked again later, not at once.
fn fill(raw: &Raw, session: &Session, pool: &Weak<Pool>) {
    let mut filling = true;
    while let Some(pool) = pool.upgrade().filter(|pool| !pool.closed.load(Ordering::SeqCst)) {
        // Filled in one go once half is gone: not beside every release.
        if pool.len() >= pool.size {
            filling = false;
        } else if pool.len() * 2 < pool.size {
            filling = true;
        }
        if !filling {
            let ready = pool.lock();
            let wait = pool.taken.wait_timeout(ready, PAUSE);
            drop(wait.unwrap_or_else(PoisonError::into_inner));
            continue;
        }
        match Ephemeral::make(raw, session.handle()) {
            Ok(ephemeral) => pool.lock().push_back(ephemeral),
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
