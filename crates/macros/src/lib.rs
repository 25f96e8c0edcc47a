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

fn expand(arguments: &proc_macro2::TokenStream, function: ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, mut sig, block } = function;
    if !arguments.is_empty() {
        let message = "`#[picot::main]` takes no arguments; for options, build an `EventLoop` in a plain `fn main`";
        return Err(syn::Error::new(arguments.span(), message));
    }
    if sig.asyncness.take().is_none() {
        return Err(syn::Error::new(sig.fn_token.span(), "`#[picot::main]` is for an `async fn`"));
    }
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
