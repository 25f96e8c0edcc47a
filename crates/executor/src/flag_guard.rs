//! A flag that is set for a scope.

use std::cell::Cell;

/// Sets a flag until it is dropped, also by unwinding. The drop restores the previous value, so
/// guards nest.
pub(crate) struct FlagGuard<'a>(&'a Cell<bool>, bool);

impl<'a> FlagGuard<'a> {
    pub(crate) fn new(flag: &'a Cell<bool>) -> FlagGuard<'a> {
        FlagGuard(flag, flag.replace(true))
    }
}

impl Drop for FlagGuard<'_> {
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}
