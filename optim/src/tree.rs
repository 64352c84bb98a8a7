//! Sums in one fixed order, whoever computes their terms and when.
//!
//! Floats do not add up to the same bits in every order. So the terms of a step, its micro-batches, are the leaves of one binary
//! tree: leaves 2i and 2i + 1 are added, then neighbours of these, and so on. Whatever is not there is left out, not added as
//! zero. Neighbours are added as soon as both are known, as a binary counter carries, so that of n leaves about log₂ n sums
//! are held at a time; and a process that has some leaves of the tree adds what it can and hands on the rest, whose sum is that of
//! one process with all the leaves.

use cairn_autograd::{Gradient, Gradients};

use crate::Result;

/// What can be summed.
pub(crate) trait Sum: Sized {
    /// Adds what comes next to this.
    fn add(&mut self, next: Self) -> Result<()>;
}

/// The tree, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Tree<N> {
    nodes: Vec<Node<N>>,
}

/// The sum of leaves `index` · 2^`level` to (`index` + 1) · 2^`level`, without the last.
#[derive(Debug, Clone)]
pub(crate) struct Node<N> {
    pub(crate) level: u32,
    pub(crate) index: u64,
    pub(crate) sum: N,
}

impl<N> Default for Tree<N> {
    fn default() -> Self {
        Tree { nodes: Vec::new() }
    }
}

impl<N: Sum> Tree<N> {
    /// Takes in leaf number `index`, each once.
    pub(crate) fn leaf(&mut self, index: u64, leaf: N) -> Result<()> {
        self.insert(Node { level: 0, index, sum: leaf })
    }

    /// Takes in a sum of leaves that are not here.
    pub(crate) fn insert(&mut self, node: Node<N>) -> Result<()> {
        let mut node = node;
        let sibling =
            |node: &Node<N>, other: &Node<N>| other.level == node.level && other.index == (node.index ^ 1);
        while let Some(at) = self.nodes.iter().position(|other| sibling(&node, other)) {
            let other = self.nodes.swap_remove(at);
            let (mut left, right) = if node.index.is_multiple_of(2) { (node, other) } else { (other, node) };
            left.sum.add(right.sum)?;
            node = Node { level: left.level + 1, index: left.index / 2, sum: left.sum };
        }
        self.nodes.push(node);
        Ok(())
    }

    /// The sums that wait for their neighbours.
    pub(crate) fn into_nodes(self) -> Vec<Node<N>> {
        self.nodes
    }

    /// The sum of all, if there is anything, where no leaf is to come.
    pub(crate) fn finish(mut self) -> Result<Option<N>> {
        while self.nodes.len() > 1 {
            // The lowest has no neighbour: alone it is the sum of the level above.
            let lowest = (0..self.nodes.len()).min_by_key(|&at| self.nodes[at].level).unwrap_or(0);
            let Node { level, index, sum } = self.nodes.swap_remove(lowest);
            self.insert(Node { level: level + 1, index: index / 2, sum })?;
        }
        Ok(self.nodes.pop().map(|node| node.sum))
    }
}

impl Sum for Gradients {
    fn add(&mut self, next: Self) -> Result<()> {
        Ok(self.accumulate(next)?)
    }
}

/// Gradients of parameters in order, where there are any.
impl Sum for Vec<Option<Gradient>> {
    fn add(&mut self, next: Self) -> Result<()> {
        for (sum, next) in self.iter_mut().zip(next) {
            match (&mut *sum, next) {
                (Some(sum), Some(next)) => sum.accumulate(next)?,
                (None, next) => *sum = next,
                (Some(_), None) => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum as text shows its order.
    impl Sum for String {
        fn add(&mut self, next: Self) -> Result<()> {
            *self = format!("({self}{next})");
            Ok(())
        }
    }

    fn sum(leaves: impl IntoIterator<Item = u64>) -> Option<String> {
        let mut tree = Tree::default();
        leaves.into_iter().try_for_each(|leaf| tree.leaf(leaf, leaf.to_string())).unwrap();
        tree.finish().unwrap()
    }

    #[test]
    fn the_order_is_that_of_one_binary_tree() {
        assert_eq!(sum(0..4).unwrap(), "((01)(23))");
        assert_eq!(sum(0..7).unwrap(), "(((01)(23))((45)6))");
        assert_eq!(sum([0, 2, 3, 5]).unwrap(), "((0(23))5)");
        assert_eq!(sum([5]).unwrap(), "5");
        assert_eq!(sum([]), None);
    }

    #[test]
    fn whoever_has_which_leaves_the_sum_is_the_same() {
        for present in 0..256u64 {
            let leaves: Vec<u64> = (0..8).filter(|leaf| present >> leaf & 1 == 1).collect();
            let whole = sum(leaves.clone());
            assert_eq!(sum(leaves.iter().rev().copied()), whole, "in another order");
            for cuts in 0..256u64 {
                // Each bit that is set begins the leaves of another process.
                let mut tree = Tree::default();
                for own in leaves.chunk_by(|_, next| cuts >> next & 1 == 0) {
                    let mut part = Tree::default();
                    own.iter().try_for_each(|&leaf| part.leaf(leaf, leaf.to_string())).unwrap();
                    part.into_nodes().into_iter().try_for_each(|node| tree.insert(node)).unwrap();
                }
                assert_eq!(tree.finish().unwrap(), whole, "{present:b} cut at {cuts:b}");
            }
        }
    }

    #[test]
    fn few_sums_are_held_at_a_time() {
        let mut tree = Tree::default();
        for leaf in 0..1024 {
            tree.leaf(leaf, String::new()).unwrap();
            assert!(tree.nodes.len() <= 10, "{} after {leaf}", tree.nodes.len());
        }
    }
}
