//! The wheel against what it promises: a property test against a sorted map, the edges one by one, and its memory.

mod allocations;
mod edges;
mod model;
