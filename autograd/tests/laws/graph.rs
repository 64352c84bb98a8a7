//! The graph: what is recorded, what is freed, what is refused.

use cairn_autograd::op::{Op, Reduce, Softmax};
use cairn_autograd::{Error, Source, Var, no_grad, scope, trace};
use cairn_tensor::{Tensor, memory, s};

fn parameter(values: &[f32]) -> Var {
    Var::parameter(Tensor::from_slice(values, [values.len()]).unwrap())
}

#[test]
fn long_chains_neither_overflow_nor_leak() {
    // A small stack would not survive recursion over the chain, in backward or in drop.
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(|| {
            let x = parameter(&[1.0]);
            let chain = |x: &Var| (0..100_000).fold(x.clone(), |y, _| y + 1e-5);
            let y = chain(&x);
            assert!((y.item().unwrap() - 2.0).abs() < 1e-2);
            let gradients = y.backward().unwrap();
            assert_eq!(gradients.of(&x).unwrap().to_vec(), [1.0]);
            drop(y);
            drop(chain(&x)); // never differentiated
            let softmaxes = (0..100_000).fold(x, |y, _| y.softmax(-1).unwrap());
            drop(softmaxes);
        })
        .unwrap()
        .join()
        .unwrap();
}

/// Bytes that a chain of 50 operations keeps, and that are still held after its backward pass. Tests beside this one take and give
/// back memory too, by the same counter.
fn kept_and_left() -> (i64, i64) {
    let x = Var::parameter(Tensor::<f32>::ones([1 << 16]).unwrap());
    let live = || i64::try_from(memory().live_bytes).unwrap();
    let before = live();
    let mut y = x.clone();
    for _ in 0..50 {
        y = y.tanh().unwrap();
    }
    let loss = y.sum(..).unwrap();
    drop(y);
    let kept = live() - before;
    let gradients = loss.backward().unwrap();
    let left = live() - before;
    assert_eq!(gradients.len(), 1);
    (kept, left)
}

#[test]
fn backward_frees_what_the_graph_kept() {
    // What is never so, however often one looks, is no matter of the neighbours.
    let measured: Vec<_> = (0..30).map(|_| kept_and_left()).collect();
    let frees = |&(kept, left): &(i64, i64)| kept >= 50 * (4 << 16) && left < kept / 5;
    assert!(
        measured.iter().any(frees),
        "bytes kept by the graph and left after the backward pass: {measured:?}"
    );
}

#[test]
fn constants_record_nothing() {
    let a = Var::constant(Tensor::<f32>::ones([2]).unwrap());
    let b = a.exp().unwrap() * &a;
    assert!(!b.is_tracked());
    assert_eq!(b.sum(..).unwrap().backward().unwrap_err(), Error::NothingToDifferentiate);

    let x = parameter(&[1.0, 2.0]);
    assert!(!no_grad(|| x.exp()).unwrap().is_tracked());
    assert!(x.exp().unwrap().is_tracked());
    assert!(!x.exp().unwrap().detach().is_tracked());
    let caught = std::panic::catch_unwind(|| no_grad(|| panic!("inside")));
    assert!(
        caught.is_err() && parameter(&[1.0]).exp().unwrap().is_tracked(),
        "recording resumes after a panic"
    );
}

#[test]
fn only_parameters_with_a_part_get_gradients() {
    let (x, unused, data) =
        (parameter(&[1.0, 2.0]), parameter(&[3.0]), Var::constant(Tensor::ones([2]).unwrap()));
    let gradients = (&x * &data).sum(..).unwrap().backward().unwrap();
    assert_eq!(gradients.len(), 1);
    assert!(gradients.get(&unused).is_none() && gradients.get(&data).is_none());
    assert!(matches!(gradients.of(&unused), Err(Error::NoGradient { .. })));
}

#[test]
fn a_graph_is_used_once() {
    let x = parameter(&[1.0, 2.0]);
    let shared = x.exp().unwrap();
    let (a, b) = (shared.sum(..).unwrap(), shared.mean(..).unwrap());
    a.backward().unwrap();
    assert_eq!(a.backward().unwrap_err(), Error::AlreadyUsed { op: "sum" });
    assert_eq!(b.backward().unwrap_err(), Error::AlreadyUsed { op: "exp" });
}

#[test]
fn backward_starts_from_one_number() {
    let x = parameter(&[1.0, 2.0]);
    assert!(matches!(x.exp().unwrap().backward(), Err(Error::NotScalar { .. })));
    let wrong = Tensor::ones([3]).unwrap();
    assert!(matches!(x.exp().unwrap().backward_from(wrong), Err(Error::Tensor(_))));
    let g = x.square().unwrap().backward_from(Tensor::from_vec(vec![1.0, 10.0], [2]).unwrap()).unwrap();
    assert_eq!(g.of(&x).unwrap().to_vec(), [2.0, 40.0]);
}

#[test]
fn gradients_of_several_batches_accumulate() {
    let x = parameter(&[1.0, 2.0]);
    let mut total = x.square().unwrap().sum(..).unwrap().backward().unwrap();
    total.accumulate(x.sum(..).unwrap().backward().unwrap()).unwrap();
    assert_eq!(total.of(&x).unwrap().to_vec(), [3.0, 5.0]);
}

#[test]
fn operands_are_kept_in_a_trace_alone() {
    let w = Var::parameter(Tensor::<f64>::ones([2, 3, 4]).unwrap());
    let pass = |x: &Var<f64>| x.slice(s![.., 1, ..;-2]).unwrap().softmax(-1).unwrap().sum([1]).unwrap();
    assert!(pass(&w).recorded().is_none());

    let traced = trace(|| scope("head", || pass(&w)));
    let graph = traced.result.graph();
    assert!(graph[0].same(&w) && graph[0].recorded().is_none());
    let records: Vec<_> = graph[1..].iter().map(|var| var.recorded().unwrap()).collect();
    let names: Vec<_> = records.iter().map(|record| record.op.name()).collect();
    assert_eq!(names, ["slice", "softmax", "sum"]);
    assert_eq!(records[1].op, Op::Softmax(Softmax::Softmax { axis: 1 }));
    assert_eq!(records[2].op, Op::Reduce(Reduce::Sum { axes: vec![1], keepdim: false }));
    assert!(matches!(&records[0].operands[..], [Source::Var(x)] if x.same(&w)));
    assert!(records.iter().all(|record| record.scope.as_deref() == Some("head")));
    // Constants too, and whether gradients are recorded makes no difference; afterwards all is as before.
    let x = Var::constant(w.value().clone());
    let y = trace(|| no_grad(|| pass(&x))).result;
    assert!(!y.is_tracked() && y.graph().len() == 4);
    assert!(pass(&x).recorded().is_none());
    // A trace is differentiated like any graph.
    let gradient = |y: Var<f64>| y.sum(..).unwrap().backward().unwrap().of(&w).unwrap();
    assert_eq!(gradient(trace(|| pass(&w)).result), gradient(pass(&w)));
}

#[test]
fn variables_cross_threads() {
    fn check<T: Send + Sync>(_: &T) {}
    check(&parameter(&[1.0]).exp().unwrap());
}

#[test]
fn errors_carry_the_operation_and_shapes() {
    let (a, b) = (parameter(&[1.0, 2.0]), parameter(&[1.0, 2.0, 3.0]));
    let message = a.add(&b).unwrap_err().to_string();
    assert!(message.contains("add") && message.contains("[2]") && message.contains("[3]"), "{message}");
    let panic = std::panic::catch_unwind(|| &a + &b).unwrap_err();
    assert_eq!(panic.downcast_ref::<String>(), Some(&message));
    assert!(a.lookup(&Tensor::from_vec(vec![0, 9], [2]).unwrap()).unwrap_err().to_string().contains('9'));
    let labels = Tensor::from_vec(vec![5], [1]).unwrap();
    let logits = Var::parameter(Tensor::<f32>::ones([1, 3]).unwrap());
    assert!(logits.cross_entropy(&labels).unwrap_err().to_string().contains("index 5"));
}
