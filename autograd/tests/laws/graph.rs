//! The graph: what is recorded, what is freed, what is refused.

use cairn_autograd::{Entries, Error, Settings, Var, no_grad, trace};
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

#[test]
fn backward_frees_what_the_graph_kept() {
    let x = Var::parameter(Tensor::<f32>::ones([1 << 16]).unwrap());
    let before = memory().live_bytes;
    let mut y = x.clone();
    for _ in 0..50 {
        y = y.tanh().unwrap();
    }
    let loss = y.sum(..).unwrap();
    drop(y);
    let kept = memory().live_bytes - before;
    assert!(kept >= 50 * (4 << 16), "the graph keeps the outputs: {kept}");
    let gradients = loss.backward().unwrap();
    // Held now: the gradient of x, and whatever tests beside this one hold.
    let left = memory().live_bytes.saturating_sub(before);
    assert!(left < kept / 5, "{left} of {kept} bytes are still held after the backward pass");
    assert_eq!(gradients.len(), 1);
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
fn settings_are_kept_in_a_trace_alone() {
    let x = Var::constant(Tensor::<f32>::zeros([2, 3, 4]).unwrap());
    let pass = |x: &Var| x.slice(s![.., 1, ..;-2]).unwrap().softmax(-1).unwrap().sum([-1]).unwrap();
    assert!(pass(&x).recorded().is_none(), "constants record nothing");
    let w = Var::parameter(x.value().clone());
    assert_eq!(pass(&w).recorded().unwrap().settings, Settings::None);

    let y = trace(|| pass(&x));
    assert!(!y.is_tracked(), "what is recorded of constants has no gradient");
    let graph = y.graph();
    assert!(graph[0].same(&x) && graph[3].same(&y));
    let told: Vec<_> = graph[1..].iter().map(|var| var.recorded().unwrap()).collect();
    assert_eq!(told.iter().map(|recorded| recorded.op).collect::<Vec<_>>(), ["slice", "softmax", "sum"]);
    let entries = |axis, indices: &[u32], dropped| Entries { axis, indices: indices.to_vec(), dropped };
    assert_eq!(told[0].settings, Settings::Entries(vec![entries(1, &[1], true), entries(2, &[3, 1], false)]));
    assert_eq!(told[1].settings, Settings::Axis(1));
    assert_eq!(told[2].settings, Settings::Axes(vec![1]));
    assert!(told[0].operands[0].same(&x));
    // What is not to be recorded is not, and afterwards all is as before.
    assert!(trace(|| no_grad(|| pass(&w))).recorded().is_none());
    assert!(pass(&x).recorded().is_none());
    // A trace is differentiated like any graph.
    let (traced, plain) = (trace(|| pass(&w)), pass(&w));
    let gradient = |y: Var| y.sum(..).unwrap().backward().unwrap().of(&w).unwrap();
    assert_eq!(gradient(traced), gradient(plain));
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
