//! Pages of the documentation whose code needs other people's stacks.

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
        GuideHttp: "docs/guide/http.md";
    }
}
