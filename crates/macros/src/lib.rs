#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use proc_macro::TokenStream;
use quote::quote_spanned;
use syn::spanned::Spanned;
use syn::{ItemFn, parse_macro_input};

/// Runs an `async fn main` on a loop of its own: `picot::run` of its body. What it returns is what
/// `main` returns.
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

/// Makes a test of an `async fn`: it runs on a loop of its own, under a virtual clock, so that no
/// sleep takes time; and a loop that cannot go on is an error that lists the tasks, not a test that
/// hangs.
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
/// Arguments, separated by commas:
/// - `real_time`: the test runs under the operating system's clock.
/// - `io_grace = …`: how long, in real time, the virtual clock waits for I/O before it jumps; a
///   `Duration`, 10 ms unless set. Set a longer time where the test's peer is another process.
///
/// ```
/// #[picot::test(io_grace = std::time::Duration::from_millis(100))]
/// async fn a_slow_peer_answers() {}
/// ```
///
/// For other options, build an `EventLoop` in a plain test.
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
    let Arguments { is_in_real_time, io_grace } = syn::parse2(arguments)?;
    let span = block.span();
    // Not to be seen by the test's body, which may call something else by this name.
    let clock_name = syn::Ident::new("clock", proc_macro2::Span::mixed_site());
    let io_grace = io_grace.map(|time| quote_spanned!(time.span() => .io_grace(#time)));
    let builder = quote_spanned!(span => ::picot::EventLoop::builder().error_on_deadlock() #io_grace);
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

/// The arguments of `#[picot::test]`.
#[derive(Default)]
struct Arguments {
    is_in_real_time: bool,
    io_grace: Option<syn::Expr>,
}

impl syn::parse::Parse for Arguments {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<Arguments> {
        let mut arguments = Arguments::default();
        while !input.is_empty() {
            let name: syn::Ident = input.parse()?;
            if name == "real_time" {
                arguments.is_in_real_time = true;
            } else if name == "io_grace" {
                input.parse::<syn::Token![=]>()?;
                arguments.io_grace = Some(input.parse()?);
            } else {
                let message = "`#[picot::test]` knows the arguments `real_time` and `io_grace`; for other options, \
                               build an `EventLoop`";
                return Err(syn::Error::new(name.span(), message));
            }
            if !input.is_empty() {
                input.parse::<syn::Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

fn make_sync(signature: &mut syn::Signature, message: &str) -> syn::Result<()> {
    match signature.asyncness.take() {
        Some(_) => Ok(()),
        None => Err(syn::Error::new(signature.fn_token.span(), message)),
    }
}
