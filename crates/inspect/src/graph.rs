//! The graph of waits, and its cycles.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use picot_loop::{Dump, TaskId, WaitKind};

/// The maximum number of edges that are shown. A larger picture cannot be read.
const MAX_EDGES: usize = 120;

pub(crate) struct Edge {
    pub(crate) from: TaskId,
    pub(crate) to: TaskId,
    pub(crate) kind: WaitKind,
    pub(crate) in_cycle: bool,
}

/// Which task waits for which: the edges that lie on a cycle first.
pub(crate) struct Graph {
    pub(crate) edges: Vec<Edge>,
    pub(crate) left_out: usize,
    /// The tasks of each cycle. Tasks that reach each other are one.
    pub(crate) cycles: Vec<Vec<TaskId>>,
}

impl Graph {
    pub(crate) fn new(dump: &Dump) -> Graph {
        let mut kinds = BTreeMap::new();
        for task in &dump.tasks {
            for wait in &task.waits {
                kinds.extend(wait.on.iter().map(|to| ((task.task.id(), *to), wait.kind)));
            }
        }
        let mut next: BTreeMap<TaskId, Vec<TaskId>> = BTreeMap::new();
        kinds.keys().for_each(|(from, to)| next.entry(*from).or_default().push(*to));
        let cycles = cycles(&next);
        let member: HashMap<_, _> =
            cycles.iter().enumerate().flat_map(|(at, tasks)| tasks.iter().map(move |task| (*task, at))).collect();
        let edge = |((from, to), kind)| {
            let in_cycle = member.get(&from).is_some_and(|at| member.get(&to) == Some(at));
            Edge { from, to, kind, in_cycle }
        };
        let mut edges: Vec<_> = kinds.into_iter().map(edge).collect();
        // Stable: by task within each half.
        edges.sort_by_key(|edge| !edge.in_cycle);
        let left_out = edges.len().saturating_sub(MAX_EDGES);
        edges.truncate(MAX_EDGES);
        Graph { edges, left_out, cycles }
    }

    /// The tasks at the ends of the edges.
    pub(crate) fn tasks(&self) -> BTreeSet<TaskId> {
        self.edges.iter().flat_map(|edge| [edge.from, edge.to]).collect()
    }
}

/// The strongly connected components that have a cycle, by Tarjan's algorithm, with a stack of its
/// own instead of recursion: a chain of waits may be long.
fn cycles(next: &BTreeMap<TaskId, Vec<TaskId>>) -> Vec<Vec<TaskId>> {
    struct Seen {
        number: usize,
        low: usize,
        open: bool,
    }
    let of = |task: &TaskId| next.get(task).map_or(&[][..], |tasks| tasks);
    let (mut seen, mut open, mut found) = (HashMap::<TaskId, Seen>::new(), Vec::new(), Vec::new());
    for root in next.keys() {
        if seen.contains_key(root) {
            continue;
        }
        // Each with the number of its edges that were followed.
        let mut path = vec![(*root, 0)];
        while let Some((task, followed)) = path.last_mut() {
            let task = *task;
            if *followed == 0 {
                let number = seen.len();
                seen.entry(task).or_insert_with(|| {
                    open.push(task);
                    Seen { number, low: number, open: true }
                });
            }
            if let Some(to) = of(&task).get(*followed) {
                *followed += 1;
                match seen.get(to) {
                    None => path.push((*to, 0)),
                    Some(Seen { number, open: true, .. }) => {
                        let number = *number;
                        let own = seen.get_mut(&task).expect("it was entered above");
                        own.low = own.low.min(number);
                    }
                    Some(_) => {}
                }
                continue;
            }
            path.pop();
            let (number, low) = (seen[&task].number, seen[&task].low);
            if let Some((parent, _)) = path.last() {
                let parent = seen.get_mut(parent).expect("it is on the path");
                parent.low = parent.low.min(low);
            }
            if number == low {
                let at = open.iter().rposition(|other| *other == task).expect("it is open until here");
                let mut members = open.split_off(at);
                members.iter().for_each(|member| seen.get_mut(member).expect("it was entered").open = false);
                if members.len() > 1 || of(&task).contains(&task) {
                    members.sort();
                    found.push(members);
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn found(edges: &[(u64, u64)]) -> Vec<Vec<u64>> {
        let task = |id| TaskId::new(NonZeroU64::new(id).unwrap());
        let mut next: BTreeMap<_, Vec<_>> = BTreeMap::new();
        edges.iter().for_each(|(from, to)| next.entry(task(*from)).or_default().push(task(*to)));
        let number = |id: TaskId| id.to_string().parse().unwrap();
        let mut found: Vec<Vec<u64>> =
            cycles(&next).into_iter().map(|tasks| tasks.into_iter().map(number).collect()).collect();
        found.sort();
        found
    }

    #[test]
    fn cycles_are_found_and_nothing_else() {
        assert_eq!(found(&[(1, 2), (2, 3), (1, 3), (4, 3)]), Vec::<Vec<u64>>::new());
        assert_eq!(found(&[(1, 2), (2, 1), (3, 1)]), [[1, 2]]);
        assert_eq!(found(&[(1, 1)]), [[1]]);
        assert_eq!(found(&[(1, 2), (2, 3), (3, 1), (3, 4), (4, 5), (5, 4)]), [vec![1, 2, 3], vec![4, 5]]);
        assert_eq!(found(&[(1, 2), (2, 3), (3, 2), (3, 1)]), [[1, 2, 3]]);
    }

    /// A model: two tasks are in one cycle if each reaches the other.
    #[test]
    fn cycles_are_those_of_a_search_from_each_task() {
        let mut random = 1_u64;
        for _ in 0..300 {
            let mut number = |below: u64| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) % below + 1
            };
            let edges: Vec<_> = (0..number(14)).map(|_| (number(8), number(8))).collect();
            let reaches = |from: u64, to: u64| {
                let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
                while let Some(at) = left.pop() {
                    let next = edges.iter().filter(|(from, _)| *from == at).map(|(_, to)| *to);
                    left.extend(next.filter(|to| seen.insert(*to)));
                }
                seen.contains(&to)
            };
            let mut expected = BTreeSet::new();
            for task in (1..=8).filter(|task| reaches(*task, *task)) {
                expected
                    .insert((1..=8).filter(|other| reaches(task, *other) && reaches(*other, task)).collect::<Vec<_>>());
            }
            assert_eq!(found(&edges), expected.into_iter().collect::<Vec<_>>(), "{edges:?}");
        }
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let edges: Vec<_> = (1..100_000).map(|id| (id, id + 1)).chain([(100_000, 99_999)]).collect();
        assert_eq!(found(&edges), [[99_999, 100_000]]);
    }
}
