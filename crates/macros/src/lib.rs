#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{ItemFn, parse_macro_input};

/// Runs an `async fn main` on a loop of its own: `picot::run` of its body. What it returns is what `main` returns.
///
/// ```
/// #[picot::main]
/// async fn main() -> std::io::Result<()> {
///     picot::sleep(std::time::Duration::from_millis(1)).await;
///     Ok(())
/// }
/// ```
///
/// For a loop with options, build an `EventLoop` in a plain `fn main`.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    match expand(&arguments.into(), function) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}

/// Makes a test of an `async fn`: it runs on a loop of its own, under a virtual clock, so that no sleep takes time; and a loop
/// that cannot go on is an error that lists the tasks, not a test that hangs.
///
/// A function with a parameter gets the clock, to let time pass while other tasks run.
///
/// ```
/// use std::time::Duration;
/// use picot::{VirtualClock, sleep, spawn};
///
/// #[picot::test]
/// async fn an_hour_passes_at_once(clock: VirtualClock) {
///     let sleeper = spawn(sleep(Duration::from_secs(3600)));
///     sleeper.await.unwrap();
///     assert_eq!(clock.elapsed(), Duration::from_secs(3600));
/// }
/// ```
///
/// `#[picot::test(real_time)]` is under the operating system's clock. For other options, build an `EventLoop` in a plain test.
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    match expand_test(arguments.into(), function) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}

fn expand(arguments: &proc_macro2::TokenStream, function: ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, mut sig, block } = function;
    if !arguments.is_empty() {
        let message = "`#[picot::main]` takes no arguments; for options, build an `EventLoop` in a plain `fn main`";
        return Err(syn::Error::new(arguments.span(), message));
    }
    make_sync(&mut sig, "`#[picot::main]` is for an `async fn`")?;
    if !sig.inputs.is_empty() {
        return Err(syn::Error::new(sig.inputs.span(), "a `main` function has no parameters"));
    }
    // Spanned at the body, so that the place of the root task is where the program's own code is.
    Ok(quote_spanned! { block.span() =>
        #(#attrs)*
        #vis #sig {
            ::picot::run(async #block)
        }
    })
}

fn expand_test(arguments: proc_macro2::TokenStream, function: ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, mut sig, block } = function;
    make_sync(&mut sig, "`#[picot::test]` is for an `async fn`")?;
    let is_in_real_time = match arguments.is_empty() {
        true => false,
        false => {
            let argument: syn::Ident = syn::parse2(arguments)?;
            if argument != "real_time" {
                let message =
                    "`#[picot::test]` knows the argument `real_time`; for other options, build an `EventLoop`";
                return Err(syn::Error::new(argument.span(), message));
            }
            true
        }
    };
    let span = block.span();
    // Not to be seen by the test's body, which may call something else by this name.
    let clock_name = syn::Ident::new("clock", proc_macro2::Span::mixed_site());
    let builder = quote_spanned!(span => ::picot::EventLoop::builder().fail_at_dead_ends());
    let mut parameters = std::mem::take(&mut sig.inputs).into_iter();
    let clock = match (parameters.next(), parameters.next()) {
        (None, _) => quote_spanned!(span => let #clock_name = ::picot::VirtualClock::new();),
        (Some(syn::FnArg::Typed(parameter)), None) if !is_in_real_time => quote_spanned! { parameter.span() =>
            let #clock_name = ::picot::VirtualClock::new();
            let #parameter = ::core::clone::Clone::clone(&#clock_name);
        },
        (Some(parameter), _) => {
            let message =
                "a test under the virtual clock has one parameter at most, which gets the clock; others have none";
            return Err(syn::Error::new(parameter.span(), message));
        }
    };
    let body = if is_in_real_time {
        quote_spanned!(span => #builder.run(async #block))
    } else {
        quote_spanned!(span => #clock #builder.clock(&#clock_name).run(async #block))
    };
    Ok(quote_spanned! { span =>
        #[::core::prelude::v1::test]
        #(#attrs)*
        #vis #sig {
            #body
        }
    })
}

fn make_sync(signature: &mut syn::Signature, message: &str) -> syn::Result<()> {
    match signature.asyncness.take() {
        Some(_) => Ok(()),
        None => Err(syn::Error::new(signature.fn_token.span(), message)),
    }
}
