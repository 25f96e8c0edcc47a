//! Pages of the documentation whose code needs other people's stacks.
//!
//! The examples beside this file need them, too. Each is a program behind a feature of its name,
//! and a test runs it, against a real server where one is installed.

/// Their code is compiled and run, as that of the other pages is in `picot-examples`.
#[cfg(doctest)]
mod documentation {
    macro_rules! pages {
        ($($name:ident: $path:literal;)+) => {
            $(#[doc = include_str!(concat!("../../", $path))] struct $name;)+
        };
    }

    pages! {
        DesignHyper: "docs/design/hyper.md";
        DesignInspect: "docs/design/inspect.md";
        GuideHttp: "docs/guide/http.md";
        GuideTokio: "docs/guide/tokio.md";
    }
}
