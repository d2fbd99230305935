//! Circles of a graph: its strongly connected components of more than one node.

use std::collections::{BTreeMap, BTreeSet};

/// The circles among `edges`, in order of their smallest nodes.
pub fn circles<N: Copy + Ord>(edges: impl IntoIterator<Item = (N, N)>) -> Vec<Vec<N>> {
    let mut next: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
    for (from, to) in edges {
        next.entry(from).or_default().insert(to);
    }
    let reach: BTreeMap<N, BTreeSet<N>> = next.keys().map(|&node| (node, reachable(node, &next))).collect();
    let mut placed = BTreeSet::new();
    let mut found = Vec::new();
    for (&node, reached) in &reach {
        if placed.contains(&node) {
            continue;
        }
        let both_ways = |other: &&N| **other == node || reach.get(other).is_some_and(|back| back.contains(&node));
        let circle: Vec<N> = reached.iter().filter(both_ways).copied().collect();
        placed.extend(circle.iter().copied());
        if circle.len() > 1 {
            found.push(circle);
        }
    }
    found
}

/// What can be reached from `start`; that itself only if it is on a circle.
fn reachable<N: Copy + Ord>(start: N, next: &BTreeMap<N, BTreeSet<N>>) -> BTreeSet<N> {
    let mut seen = BTreeSet::new();
    let mut todo = vec![start];
    while let Some(node) = todo.pop() {
        for &to in next.get(&node).into_iter().flatten() {
            if seen.insert(to) {
                todo.push(to);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_circle() {
        assert_eq!(circles([(1, 2), (2, 3), (1, 3)]), Vec::<Vec<i32>>::new());
    }

    #[test]
    fn a_node_that_leads_to_itself_is_no_circle() {
        assert_eq!(circles([(1, 1), (1, 2)]), Vec::<Vec<i32>>::new());
    }

    #[test]
    fn circles_are_told_apart() {
        assert_eq!(circles([(1, 2), (2, 1), (2, 3), (3, 4), (4, 5), (5, 3)]), [vec![1, 2], vec![3, 4, 5]]);
    }

    #[test]
    fn circles_that_share_a_node_are_one() {
        assert_eq!(circles([(1, 2), (2, 1), (2, 3), (3, 2)]), [vec![1, 2, 3]]);
    }
}
