//! Whether a type implements a trait, as a constant: for tables in tests.

/// Whether a type implements a trait.
///
/// ```
/// use picot_testkit::implements;
///
/// assert!(implements!(u8: Send));
/// assert!(!implements!(std::rc::Rc<u8>: Send));
/// ```
#[macro_export]
macro_rules! implements {
    ($type:ty: $trait:path) => {{
        struct Probe<T: ?Sized>(::std::marker::PhantomData<T>);
        #[allow(dead_code, reason = "not read for a type with the trait")]
        trait Otherwise {
            const IS: bool = false;
        }
        impl<T: ?Sized> Otherwise for Probe<T> {}
        // Where the bound holds, this inherent constant takes precedence over the trait's.
        #[allow(dead_code, reason = "not there for a type without the trait")]
        impl<T: ?Sized + $trait> Probe<T> {
            const IS: bool = true;
        }
        Probe::<$type>::IS
    }};
}
