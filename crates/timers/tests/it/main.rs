//! The wheel: a property test against a sorted map, the edge cases, and the memory.

mod allocations;
mod edges;
mod model;
