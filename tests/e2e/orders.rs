//! The ways in which the same writes may arrive.

use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};

/// All writes in one call, in order; and in random orders, with repeats, and split into random calls.
pub fn of<T: Clone + std::fmt::Debug>(writes: &[T], runner: &mut TestRunner) -> Vec<Vec<Vec<T>>> {
    let count = writes.len();
    let order = vec(0..count, 0..count + 1).prop_flat_map(move |repeats| {
        let all: Vec<usize> = (0..count).chain(repeats).collect();
        let cuts = vec(any::<bool>(), all.len());
        (Just(all).prop_shuffle(), cuts)
    });
    let mut orders = Vec::from([Vec::from([writes.to_vec()])]);
    for _ in 0..5 {
        let (order, cuts) = order.new_tree(runner).expect("no filter").current();
        let mut calls: Vec<Vec<T>> = Vec::new();
        for (index, cut) in order.into_iter().zip(cuts) {
            match calls.last_mut() {
                Some(call) if !cut => call.push(writes[index].clone()),
                _ => calls.push(Vec::from([writes[index].clone()])),
            }
        }
        orders.push(calls);
    }
    orders
}
