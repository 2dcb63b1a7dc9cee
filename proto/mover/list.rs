// SPDX-License-Identifier: GPL-2.0

//! A list with inline storage, for what a search remembers.

/// At most `N` values, in the order in which they came.
///
/// # Invariants
///
/// The used entries come first; all others are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List<T, const N: usize>([Option<T>; N]);

impl<T: Copy, const N: usize> List<T, N> {
    pub(super) const fn new() -> Self {
        Self([None; N])
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(None);
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = T> + Clone + '_ {
        self.0.iter().flatten().copied()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.iter_mut().flatten()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.iter().all(Option::is_some)
    }

    /// Puts a value behind the others; `None` when there is no room.
    pub(super) fn push(&mut self, value: T) -> Option<()> {
        *self.0.iter_mut().find(|entry| entry.is_none())? = Some(value);
        Some(())
    }

    /// Takes out the value that came last.
    pub(super) fn pop(&mut self) -> Option<T> {
        self.0
            .iter_mut()
            .rev()
            .find(|entry| entry.is_some())?
            .take()
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut T> {
        self.0.iter_mut().flatten().last()
    }
}
