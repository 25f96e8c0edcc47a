//! Counts the heap memory that a thread holds, by a counting allocator.

use picot_testkit::alloc::Counting;
pub(crate) use picot_testkit::alloc::held_bytes;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
