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
/// With `interrupt`, the program ends well on Ctrl-C: the body is dropped, so that destructors run,
/// and the process exits with status 130; a second Ctrl-C ends it in the default way. A function
/// with a parameter gets a `picot::task::CancelToken`, which notifies it, and may go on to clean
/// up. The details are those of `picot::process::Interrupt`.
///
/// ```
/// use picot::task::CancelToken;
///
/// #[picot::main(interrupt)]
/// async fn main(interrupt: CancelToken) {
///     let work = async { println!("works, until Ctrl-C is pressed") };
///     let interrupted = async { println!("ends: {}", interrupt.cancelled().await) };
///     picot::race((work, interrupted)).await;
///     println!("cleans up");
/// }
/// ```
///
/// Arguments, separated by commas:
/// - `interrupt`: end well on Ctrl-C (`SIGINT`).
/// - `terminate`: with `interrupt`, do the same on `SIGTERM`; the status is 143.
/// - `grace = …`: with `interrupt`, the time to clean up; a `Duration`, 5 s unless set.
///
/// For a loop with options, build an `EventLoop` in a plain `fn main`.
///
/// Without `interrupt`, there is no token, and the other arguments mean nothing:
///
/// ```compile_fail
/// #[picot::main]
/// async fn main(interrupt: picot::task::CancelToken) {}
/// ```
///
/// ```compile_fail
/// #[picot::main(terminate)]
/// async fn main() {}
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    match expand_main(arguments.into(), function) {
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

fn expand_main(arguments: proc_macro2::TokenStream, function: ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, mut sig, block } = function;
    let place = arguments.span();
    let MainArguments { interrupt, terminate, grace } = syn::parse2(arguments)?;
    make_sync(&mut sig, "`#[picot::main]` is for an `async fn`")?;
    if !interrupt && (terminate || grace.is_some()) {
        let message = "`terminate` and `grace` are options of `interrupt`: write `#[picot::main(interrupt, …)]`";
        return Err(syn::Error::new(place, message));
    }
    let mut parameters = std::mem::take(&mut sig.inputs).into_iter();
    let token = match (parameters.next(), parameters.next()) {
        (None, _) => None,
        (Some(syn::FnArg::Typed(parameter)), None) if interrupt => Some(parameter),
        (Some(parameter), _) => {
            let message = "a `main` function has no parameters; with `#[picot::main(interrupt)]` it may have one, which \
                           gets the token that notifies it";
            return Err(syn::Error::new(parameter.span(), message));
        }
    };
    // Spanned at the body, so that the place of the root task is where the program's own code is.
    let span = block.span();
    let options = terminate.then(|| quote_spanned!(span => .terminate()));
    let grace = grace.map(|time| quote_spanned!(time.span() => .grace(#time)));
    let options = quote_spanned!(span => ::picot::process::Interrupt::new() #options #grace);
    let body = match token {
        None if !interrupt => quote_spanned!(span => ::picot::run(async #block)),
        None => quote_spanned!(span => #options.run(async #block)),
        Some(token) => quote_spanned!(span => #options.run_with(|#token| async move #block)),
    };
    Ok(quote_spanned! { span =>
        #(#attrs)*
        #vis #sig {
            #body
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

/// The arguments of `#[picot::main]`.
#[derive(Default)]
struct MainArguments {
    interrupt: bool,
    terminate: bool,
    grace: Option<syn::Expr>,
}

impl syn::parse::Parse for MainArguments {
    fn parse(input: syn::parse::ParseStream<'_>) -> syn::Result<MainArguments> {
        let mut arguments = MainArguments::default();
        while !input.is_empty() {
            let name: syn::Ident = input.parse()?;
            if name == "interrupt" {
                arguments.interrupt = true;
            } else if name == "terminate" {
                arguments.terminate = true;
            } else if name == "grace" {
                input.parse::<syn::Token![=]>()?;
                arguments.grace = Some(input.parse()?);
            } else {
                let message = "`#[picot::main]` knows the arguments `interrupt`, `terminate` and `grace`; for options of \
                               the loop, build an `EventLoop` in a plain `fn main`";
                return Err(syn::Error::new(name.span(), message));
            }
            if !input.is_empty() {
                input.parse::<syn::Token![,]>()?;
            }
        }
        Ok(arguments)
    }
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
