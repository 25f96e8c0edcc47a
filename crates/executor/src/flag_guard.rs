//! A flag that is raised for a scope.

use std::cell::Cell;

/// Sets a flag for as long as it lives, also while unwinding; then it is again what it was.
pub(crate) struct FlagGuard<'a>(&'a Cell<bool>, bool);

impl<'a> FlagGuard<'a> {
    #[inline]
    pub(crate) fn new(flag: &'a Cell<bool>) -> FlagGuard<'a> {
        FlagGuard(flag, flag.replace(true))
    }
}

impl Drop for FlagGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}
