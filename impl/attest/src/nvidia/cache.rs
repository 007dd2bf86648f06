//! What was verified once need not be verified again: same bytes, same outcome.
//!
//! Only successes are kept, under the full bytes that they were computed from, never under a hash
//! or a name. Nothing that depends on time, nonce or policy is in here. Bounded: the oldest goes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

/// Values by the bytes that they were verified from.
#[derive(Debug)]
pub(super) struct Cache<V> {
    held: Mutex<Held<V>>,
    cap: usize,
}

#[derive(Debug)]
struct Held<V> {
    values: BTreeMap<Arc<[u8]>, Arc<V>>,
    order: VecDeque<Arc<[u8]>>,
}

impl<V> Cache<V> {
    pub(super) const fn new(cap: usize) -> Self {
        let held = Held { values: BTreeMap::new(), order: VecDeque::new() };
        Self { held: Mutex::new(held), cap }
    }

    /// The value of these bytes, made now where there is none; an error is not kept.
    pub(super) fn or_verify<E>(
        &self,
        bytes: &[u8],
        verify: impl FnOnce() -> Result<V, E>,
    ) -> Result<Arc<V>, E> {
        if let Some(value) = self.held().values.get(bytes) {
            return Ok(Arc::clone(value));
        }
        // Not under the lock: two that race verify twice and keep the same value.
        let value = Arc::new(verify()?);
        let mut held = self.held();
        let key: Arc<[u8]> = bytes.into();
        if held.values.insert(Arc::clone(&key), Arc::clone(&value)).is_none() {
            held.order.push_back(key);
        }
        while held.order.len() > self.cap {
            if let Some(oldest) = held.order.pop_front() {
                held.values.remove(&oldest);
            }
        }
        Ok(value)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held<V>> {
        // A panic elsewhere leaves only whole values behind.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs_23_only_successes_are_kept() {
        let cache = Cache::new(2);
        assert_eq!(cache.or_verify(b"a", || Err::<u8, _>("no")), Err("no"));
        assert_eq!(cache.or_verify(b"a", || Ok::<_, ()>(1)), Ok(Arc::new(1)));
        assert_eq!(cache.or_verify(b"a", || Err("not asked again")), Ok(Arc::new(1)));
    }

    #[test]
    fn hs_23_other_bytes_are_verified_anew() {
        let cache = Cache::new(2);
        cache.or_verify(b"ab", || Ok::<_, ()>(1)).unwrap();
        assert_eq!(cache.or_verify(b"a", || Err("asked")), Err("asked"));
        assert_eq!(cache.or_verify(b"abc", || Err("asked")), Err("asked"));
    }

    #[test]
    fn wire_1_the_cache_is_bounded() {
        let cache = Cache::new(3);
        for byte in 0..100u8 {
            cache.or_verify(&[byte], || Ok::<_, ()>(byte)).unwrap();
        }
        assert_eq!(cache.held().values.len(), 3);
        assert_eq!(cache.held().order.len(), 3);
        assert_eq!(cache.or_verify(&[0], || Err("gone")), Err("gone"));
    }
}
