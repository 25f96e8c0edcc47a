//! The wheel against what it promises: a property test against a sorted map, and the edges one by one.

mod edges;
mod model;
