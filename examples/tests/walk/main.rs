//! Walks over all that is public and of one kind, by lists that are compared with the sources:
//! futures, and what needs a loop.

mod census;
mod futures;
mod places;
mod starve;
