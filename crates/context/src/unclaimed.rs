//! Errors that no caller takes: recognizing them in a value of any type.
//!
//! The output of a task or a job is generic, and few functions that drop it can require a bound. So
//! whether it is an `Err` follows from two facts that hold for every type: the name of a `Result`
//! begins with [`RESULT`], and the discriminants of any two `Result`s hash alike. A test pins both.
//! The name is a constant, so for all other types the check costs nothing.

use std::any::{Any, type_name};
use std::error::Error;
use std::hash::{Hash, Hasher};
use std::mem::discriminant;

use crate::Cause;

const RESULT: &str = "core::result::Result<";

/// Whether `value` is the `Err` of a `Result` of any types.
///
/// ```
/// use picot_context::is_err;
///
/// assert!(is_err(&Err::<u8, _>("disk full")));
/// assert!(!is_err(&Ok::<u8, &str>(1)) && !is_err(&"no result at all"));
/// ```
#[inline]
pub fn is_err<T>(value: &T) -> bool {
    may_be_err::<T>() && hashed(&discriminant(value)) == hashed(&discriminant(&Err::<(), ()>(())))
}

/// Whether `T` is a `Result`, so that [`is_err`] may be true of it. A constant for each type.
///
/// ```
/// use picot_context::may_be_err;
///
/// assert!(may_be_err::<Result<(), String>>());
/// assert!(!may_be_err::<String>());
/// ```
#[inline]
pub fn may_be_err<T>() -> bool {
    type_name::<T>().starts_with(RESULT)
}

/// The discriminant's number: what it writes when it is hashed.
fn hashed(discriminant: &impl Hash) -> u64 {
    #[derive(Default)]
    struct Written(u64);

    impl Hasher for Written {
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = self.0 << 8 | u64::from(*byte);
            }
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    let mut written = Written::default();
    discriminant.hash(&mut written);
    written.finish()
}

/// What to report of an `output` that is dropped without having been taken: [`Cause::Unclaimed`] if
/// it is the `Err` of a `Result`, else `None`.
///
/// The cause holds the error itself where it is a `Box<dyn Error>`, a text, or an error of `std`
/// beside an `Ok` of a common type. Of any other error it holds the name of its type. Call it where
/// the output would be dropped; a panic in the drop of the output comes out of this function.
///
/// ```
/// use picot_context::unclaimed;
///
/// let cause = unclaimed(Err::<(), _>("disk full")).unwrap();
/// assert!(cause.to_string().starts_with("returned an error that nothing has taken: disk full"));
/// assert!(unclaimed(Ok::<(), &str>(())).is_none());
/// assert!(unclaimed(7).is_none());
/// ```
pub fn unclaimed<T: 'static>(output: T) -> Option<Cause> {
    if !is_err(&output) {
        return None;
    }
    let mut output = Some(output);
    let error = known(&mut output).unwrap_or_else(|| {
        let name = error_type(type_name::<T>());
        format!("a value of type {name}, whose text only its taker could know").into()
    });
    drop(output);
    Some(Cause::Unclaimed(error))
}

/// Takes the error out, if it is of a known type.
fn known(output: &mut dyn Any) -> Option<Box<dyn Error>> {
    macro_rules! try_each {
        ($into:expr, $ok:ty: $($error:ty),+) => {
            $(if let Some(output) = output.downcast_mut::<Option<Result<$ok, $error>>>() {
                return output.take()?.err().map($into);
            })+
        };
    }
    macro_rules! try_all {
        ($($ok:ty),+) => {$(
            try_each! { |error| error as Box<dyn Error>, $ok: Box<dyn Error>, Box<dyn Error + Send>, Box<dyn Error + Send + Sync> }
            try_each! { Into::into, $ok:
                String, &'static str, std::io::Error, std::fmt::Error, std::num::ParseIntError, std::num::ParseFloatError,
                std::num::TryFromIntError, std::string::FromUtf8Error, std::str::Utf8Error, std::net::AddrParseError,
                std::env::VarError
            }
        )+};
    }
    try_all!((), bool, u8, u16, u32, u64, usize, i32, i64, f64, String, &'static str, Vec<u8>);
    None
}

/// The second parameter of the `Result` with this name.
fn error_type(name: &str) -> &str {
    let Some(parameters) = name.strip_prefix(RESULT).and_then(|rest| rest.strip_suffix('>')) else { return name };
    let mut depth = 0;
    for (at, c) in parameters.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // The `>` of an arrow closes nothing.
            '>' if parameters[..at].ends_with('-') => {}
            '>' | ')' | ']' => depth -= 1,
            ',' if depth == 0 => return parameters[at + 1..].trim_start(),
            _ => {}
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;
    use std::num::NonZeroU8;

    use super::*;

    #[derive(Debug)]
    struct Own;

    fn check<T: 'static, E: 'static>(ok: T, err: E) {
        assert!(may_be_err::<Result<T, E>>(), "{}", type_name::<Result<T, E>>());
        assert!(!is_err(&Ok::<T, E>(ok)) && is_err(&Err::<T, E>(err)), "{}", type_name::<Result<T, E>>());
    }

    /// What `is_err` assumes of the compiler, over the layouts that a `Result` can have: tags,
    /// niches on either side, empty.
    #[test]
    fn the_error_of_every_result_is_known_by_its_name_and_its_discriminant() {
        check((), ());
        check(1_u8, 1_u128);
        check(Box::new(1), ());
        check((), Box::new(1));
        check(NonZeroU8::MIN, "text");
        check(String::new(), String::new());
        check(Some(Some(true)), None::<char>);
        check(io::Error::other("a"), io::Error::other("b"));
        check(Ok::<(), ()>(()), Err::<(), ()>(()));
        check([0_u8; 512], Own);
        assert!(!is_err(&Ok::<u8, Infallible>(1)) && is_err(&Err::<Infallible, u8>(1)));
        assert!(!may_be_err::<Option<Result<(), ()>>>() && !may_be_err::<Own>() && !may_be_err::<()>());
        assert!(!is_err(&None::<()>) && !is_err(&Some(Err::<(), ()>(()))));
    }

    #[test]
    fn an_error_is_kept_where_it_is_known_and_named_where_it_is_not() {
        let text = |cause: Option<Cause>| match cause {
            Some(Cause::Unclaimed(error)) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text(unclaimed(Err::<(), _>(io::Error::other("a")))), "a");
        assert_eq!(text(unclaimed(Err::<u64, String>("b".into()))), "b");
        assert_eq!(text(unclaimed(Err::<Vec<u8>, Box<dyn Error>>("c".into()))), "c");
        assert_eq!(text(unclaimed(Err::<bool, Box<dyn Error + Send + Sync>>("d".into()))), "d");
        let named = text(unclaimed(Err::<(fn() -> (u8, u8), Vec<u8>), Own>(Own)));
        assert!(named.starts_with("a value of type picot_context::unclaimed::tests::Own, "), "{named}");
        let nested = text(unclaimed(Err::<Own, Result<(), Own>>(Ok(()))));
        assert!(nested.contains("of type core::result::Result<(), picot_context::unclaimed::tests::Own>,"), "{nested}");
    }
}
