//! Parts of a state that most steps leave alone: shared, and hashed once.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use foldhash::quality::FixedState;

/// A value that states share until one of them edits it.
///
/// A search clones and hashes millions of states that differ in one machine each. The digest stands
/// for the value in the state's own hash; it is 128 bits, so it adds nothing to the collision bound
/// of the 64-bit fingerprints. After [`Shared::edit`], [`Shared::seal`] must come before hashing.
#[derive(Clone, Debug)]
pub struct Shared<T> {
    value: Arc<T>,
    digest: Option<u128>,
}

impl<T: Clone + Hash> Shared<T> {
    pub fn new(value: T) -> Self {
        Self { value: Arc::new(value), digest: None }
    }

    /// The value, to be changed.
    pub fn edit(&mut self) -> &mut T {
        self.digest = None;
        Arc::make_mut(&mut self.value)
    }

    /// Computes the digest of an edited value.
    pub fn seal(&mut self) {
        if self.digest.is_none() {
            let half = |seed| u128::from(FixedState::with_seed(seed).hash_one(&*self.value));
            self.digest = Some(half(0) << 64 | half(1));
        }
    }

    /// Whether the value was edited since it was sealed.
    pub const fn is_edited(&self) -> bool {
        self.digest.is_none()
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Eq> Eq for Shared<T> {}

impl<T: PartialEq> PartialEq for Shared<T> {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && (Arc::ptr_eq(&self.value, &other.value) || *self.value == *other.value)
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // INVARIANT: every step seals what it edited before the state is used.
        state.write_u128(self.digest.expect("sealed before hashing"));
    }
}
