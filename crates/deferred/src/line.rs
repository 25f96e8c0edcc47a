//! What waits for a settling, in order. The first entry lies in place, because most promises have one and no more; an
//! allocation is made for the second.

use std::collections::VecDeque;

#[derive(Default)]
pub(crate) enum Line<T> {
    #[default]
    Empty,
    One(T),
    #[expect(clippy::box_collection, reason = "so that a line of one is no larger than its entry")]
    Many(Box<VecDeque<T>>),
}

impl<T> Line<T> {
    pub(crate) fn push(&mut self, entry: T) {
        match self {
            Line::Empty => *self = Line::One(entry),
            Line::Many(entries) => entries.push_back(entry),
            Line::One(_) => {
                let Line::One(first) = std::mem::take(self) else { unreachable!("it was one a line ago") };
                *self = Line::Many(Box::new(VecDeque::from([first, entry])));
            }
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        match self {
            Line::Many(entries) => entries.pop_front(),
            Line::Empty => None,
            Line::One(_) => match std::mem::take(self) {
                Line::One(entry) => Some(entry),
                Line::Empty | Line::Many(_) => unreachable!("it was one a line ago"),
            },
        }
    }

    /// Takes out the first entry that is `wanted`.
    pub(crate) fn remove(&mut self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        match self {
            Line::One(entry) if wanted(entry) => self.pop(),
            Line::Many(entries) => entries.iter().position(wanted).and_then(|index| entries.remove(index)),
            Line::Empty | Line::One(_) => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let (one, many) = match self {
            Line::Empty => (None, None),
            Line::One(entry) => (Some(entry), None),
            Line::Many(entries) => (None, Some(entries)),
        };
        one.into_iter().chain(many.into_iter().flat_map(|entries| entries.iter()))
    }

    pub(crate) fn find(&mut self, wanted: impl Fn(&T) -> bool) -> Option<&mut T> {
        match self {
            Line::Empty => None,
            Line::One(entry) => wanted(entry).then_some(entry),
            Line::Many(entries) => entries.iter_mut().find(|entry| wanted(entry)),
        }
    }
}
