//! What several examples share, and the pages of the documentation whose code the tests run.

pub mod chunks;
mod echo;
pub mod program;
mod sort;

pub use echo::{EchoProtocol, echo, round_trip};
pub use sort::{pseudo_random, sort};

/// Everything in the README and in `docs/` that looks like code is compiled and run. The tidy test
/// sees to it that no page is missing here.
#[cfg(doctest)]
mod documentation {
    macro_rules! pages {
        ($($name:ident: $path:literal;)+) => {
            $(#[doc = include_str!(concat!("../../", $path))] struct $name;)+
        };
    }

    pages! {
        Readme: "README.md";
        Changelog: "CHANGELOG.md";
        Contributing: "CONTRIBUTING.md";
        Benches: "benches/README.md";
        Architecture: "docs/architecture.md";
        Walks: "docs/walks.md";
        NonGoals: "docs/non-goals.md";
        Documentation: "docs/README.md";
        Ecosystem: "docs/ecosystem.md";
        Glossary: "docs/glossary.md";
        GuideTutorial: "docs/guide/tutorial.md";
        GuideRustForAsyncio: "docs/guide/rust-for-asyncio.md";
        GuideRecipes: "docs/guide/recipes.md";
        GuideTesting: "docs/guide/testing.md";
        GuideChooseACrate: "docs/guide/choose-a-crate.md";
        Security: "docs/SECURITY.md";
        Releasing: "docs/releasing.md";
        GuideTrouble: "docs/guide/when-something-goes-wrong.md";
        GuideLookingInside: "docs/guide/looking-inside.md";
        GuideStalls: "docs/guide/finding-stalls.md";
        Benchmarks: "docs/benchmarks.md";
        GuideBlocking: "docs/guide/blocking-the-loop.md";
        GuideConnections: "docs/guide/connections.md";
        GuideProcesses: "docs/guide/processes.md";
        DesignBlocking: "docs/design/blocking.md";
        DesignContext: "docs/design/context.md";
        DesignDeferred: "docs/design/deferred.md";
        DesignExecutor: "docs/design/executor.md";
        DesignLoop: "docs/design/loop.md";
        DesignMacros: "docs/design/macros.md";
        DesignNet: "docs/design/net.md";
        DesignPicot: "docs/design/picot.md";
        DesignProcess: "docs/design/process.md";
        DesignReactor: "docs/design/reactor.md";
        DesignTasks: "docs/design/tasks.md";
        DesignTimers: "docs/design/timers.md";
        DesignTokio: "docs/design/tokio.md";
        GuideCancelling: "docs/guide/cancelling.md";
        GuideWaitingForMany: "docs/guide/waiting-for-many.md";
        DesignSync: "docs/design/sync.md";
        GuideFromDeferred: "docs/guide/from-deferred.md";
        ReferenceAsyncio: "docs/reference/asyncio.md";
        ReferenceDeferredConformance: "docs/reference/deferred-conformance.md";
        GuideSharing: "docs/guide/sharing-between-loops.md";
    }
}
