//! Gradients are handed on in the memory that they were computed in. (A process of its own, since the counters are the whole process's.)

use cairn_autograd::Var;
use cairn_tensor::{LinearCrossEntropyOptions, Tensor, memory};

/// Blocks of memory that were handed out so far.
fn blocks() -> usize {
    memory().allocated + memory().reused
}

#[test]
fn the_gradient_of_a_table_that_is_an_embedding_too_is_not_copied() {
    let table = Tensor::<f32>::linspace(-1.0, 1.0, 512 * 64).unwrap().reshape([512, 64]).unwrap();
    let table = Var::parameter(table);
    let ids = Tensor::from_vec(vec![1, 2, 1], [3]).unwrap();
    let rows = table.lookup(&ids).unwrap();
    let options = LinearCrossEntropyOptions::default();
    let (sum, weight) = rows.linear_cross_entropy(&table, None, &ids, &options).unwrap();
    let loss = sum.mean_over(weight).unwrap();
    // Those of a few rows are below what is counted.
    let before = blocks();
    let gradients = loss.backward().unwrap();
    assert_eq!(blocks(), before, "the table's gradient was there already");

    // The same as of two tables.
    let parts = [Var::parameter(table.value().clone()), Var::parameter(table.value().clone())];
    let rows = parts[0].lookup(&ids).unwrap();
    let (sum, weight) = rows.linear_cross_entropy(&parts[1], None, &ids, &options).unwrap();
    let apart = sum.mean_over(weight).unwrap().backward().unwrap();
    let both = apart.of(&parts[0]).unwrap().add(&apart.of(&parts[1]).unwrap()).unwrap();
    assert_eq!(gradients.of(&table).unwrap(), both);
}
