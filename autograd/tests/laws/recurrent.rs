//! Recurrent layers: against the same formulas step by step, central differences, and the laws of padding and direction.

use cairn_autograd::{RecurrentVars, Result, Var, gradcheck};
use cairn_tensor::{Recurrence, RecurrentOptions, Returns, Tensor, rng};
use proptest::prelude::*;

const KINDS: [Recurrence; 5] =
    [Recurrence::Tanh, Recurrence::Relu, Recurrence::Lstm, Recurrence::Gru, Recurrence::GruResetBefore];

/// A layer and its input, drawn at random.
#[derive(Debug, Clone)]
struct Case {
    kind: Recurrence,
    sizes: [usize; 4],
    options: RecurrentOptions<f64>,
    /// x, weight, recurrent weight, bias, h, c.
    values: Vec<Tensor<f64>>,
}

fn case(kind: Recurrence, sizes: [usize; 4], padded: bool, masked: bool, seed: u64) -> Case {
    let [batch, steps, inputs, units] = sizes;
    let mut rng = rng(seed);
    let width = kind.gates() * units;
    let mut draw = |shape: &[usize]| Tensor::<f64>::normal(shape, 0.0, 0.7, &mut rng).unwrap();
    let mut values = vec![
        draw(&[batch, steps, inputs]),
        draw(&[inputs, width]),
        draw(&[units, width]),
        draw(&[kind.biases() * units]),
        draw(&[batch, units]),
    ];
    if kind.states() == 2 {
        values.push(draw(&[batch, units]));
    }
    let mask = masked.then(|| draw(&[batch, units]));
    let lengths = padded.then(|| {
        let drawn = Tensor::<f64>::uniform([batch], 0.0, steps as f64 + 0.999, &mut rng).unwrap();
        Tensor::from_vec(drawn.iter().map(|x| (x as u32).min(steps as u32)).collect(), [batch]).unwrap()
    });
    // Of every other sequence the first steps are padding, too.
    let starts = lengths.as_ref().map(|lengths: &Tensor<u32>| {
        let start = |(i, length): (usize, u32)| if i % 2 == 0 { 0 } else { length / 2 };
        Tensor::from_vec(lengths.iter().enumerate().map(start).collect(), [batch]).unwrap()
    });
    let options = RecurrentOptions { lengths, starts, mask, ..Default::default() };
    Case { kind, sizes, options, values }
}

fn layer(case: &Case, vars: &[Var<f64>]) -> Result<Var<f64>> {
    let operands = RecurrentVars {
        weight: &vars[1],
        recurrent_weight: &vars[2],
        bias: Some(&vars[3]),
        hidden: Some(&vars[4]),
        cell: vars.get(5),
    };
    vars[0].recurrent(case.kind, operands, &case.options)
}

/// The same by the formulas, one sequence and step at a time: h after every step, then the states.
fn step_by_step(case: &Case, vars: &[Var<f64>]) -> Result<Var<f64>> {
    let [batch, steps, _, units] = case.sizes;
    let mut sequences = Vec::new();
    for b in 0..batch {
        let at = |list: &Option<Tensor<u32>>, or| {
            list.as_ref().map_or(or, |list| list.get(&[b]).unwrap() as usize)
        };
        let range = at(&case.options.starts, 0)..at(&case.options.lengths, steps);
        let mut h = vars[4].narrow(0, b, 1)?;
        let mut c = vars.get(5).map(|c| c.narrow(0, b, 1)).transpose()?;
        let zero = Var::constant(Tensor::zeros([1, units])?);
        let mut outputs = vec![zero; steps];
        let mut order: Vec<usize> = range.collect();
        if case.options.reverse {
            order.reverse();
        }
        for t in order {
            let x = vars[0].narrow(0, b, 1)?.narrow(1, t, 1)?.squeeze(1)?;
            let seen = match &case.options.mask {
                Some(mask) => h.mul(&Var::constant(mask.narrow(0, b, 1)?))?,
                None => h.clone(),
            };
            let block = |v: &Var<f64>, i: usize| v.narrow(-1, i * units, units);
            let input = |i: usize| x.matmul(&block(&vars[1], i)?)?.add(&block(&vars[3], i)?);
            let product = |i: usize| seen.matmul(&block(&vars[2], i)?);
            let both = |i: usize| input(i)?.add(&product(i)?);
            (h, c) = match case.kind {
                Recurrence::Tanh => (both(0)?.tanh()?, None),
                Recurrence::Relu => (both(0)?.relu()?, None),
                Recurrence::Lstm => {
                    let (i, f, o) = (both(0)?.sigmoid()?, both(1)?.sigmoid()?, both(3)?.sigmoid()?);
                    let c = f.mul(c.as_ref().unwrap())?.add(&i.mul(&both(2)?.tanh()?)?)?;
                    (o.mul(&c.tanh()?)?, Some(c))
                }
                kind => {
                    let (r, z) = (both(0)?.sigmoid()?, both(1)?.sigmoid()?);
                    let reset = if kind == Recurrence::Gru {
                        r.mul(&product(2)?.add(&block(&vars[3], 3)?)?)?
                    } else {
                        r.mul(&seen)?.matmul(&block(&vars[2], 2)?)?
                    };
                    let n = input(2)?.add(&reset)?.tanh()?;
                    (n.add(&z.mul(&h.sub(&n)?)?)?, None)
                }
            };
            outputs[t] = h.clone();
        }
        outputs.push(h);
        outputs.extend(c);
        let refs: Vec<&Var<f64>> = outputs.iter().collect();
        sequences.push(Var::cat(&refs, 0)?);
    }
    let refs: Vec<&Var<f64>> = sequences.iter().collect();
    Var::stack(&refs, 0)
}

fn values_and_gradients(
    case: &Case,
    returns: Returns,
    f: impl Fn(&Case, &[Var<f64>]) -> Result<Var<f64>>,
) -> Vec<Tensor<f64>> {
    let vars: Vec<_> = case.values.iter().cloned().map(Var::parameter).collect();
    let y = f(case, &vars).unwrap();
    let [_, steps, ..] = case.sizes;
    let y = match returns {
        _ if y.shape().len() == 2 => y,
        Returns::Steps => y.narrow(1, 0, steps).unwrap(),
        Returns::Last => y.narrow(1, steps, 1).unwrap().squeeze(1).unwrap(),
        Returns::StepsAndStates => y,
    };
    let g = Tensor::normal(y.shape(), 0.0, 1.0, &mut rng(9)).unwrap();
    let gradients = y.mul(&Var::constant(g)).unwrap().sum(..).unwrap().backward().unwrap();
    let mut all = vec![y.value().clone()];
    // Sequences of padding alone depend on nothing: the formulas then have no path to a variable.
    let zero = |var: &Var<f64>| Tensor::zeros(var.shape()).unwrap();
    all.extend(vars.iter().map(|var| gradients.of(var).unwrap_or_else(|_| zero(var))));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_the_formulas_step_by_step(
        kind in 0..KINDS.len(),
        sizes in (1usize..40, 1usize..6, 1usize..4, prop_oneof![1usize..6, Just(17), Just(33)]),
        (padded, masked, reverse) in any::<(bool, bool, bool)>(),
        returns in 0usize..3,
        seed in any::<u64>(),
    ) {
        let sizes = [sizes.0, sizes.1, sizes.2, sizes.3];
        let mut case = case(KINDS[kind], sizes, padded, masked, seed);
        case.options.reverse = reverse;
        let returns = [Returns::Steps, Returns::Last, Returns::StepsAndStates][returns];
        case.options.returns = returns;
        let fast = values_and_gradients(&case, returns, layer);
        let slow = values_and_gradients(&case, returns, step_by_step);
        for (i, (fast, slow)) in fast.iter().zip(&slow).enumerate() {
            prop_assert_eq!(fast.shape(), slow.shape());
            let scale = slow.iter().fold(1.0f64, |most, x| most.max(x.abs()));
            for (a, b) in fast.iter().zip(slow.iter()) {
                prop_assert!((a - b).abs() <= 1e-11 * scale, "{}: {} is not {}", i, a, b);
            }
        }
    }
}

#[test]
fn gradients_equal_central_differences() {
    for kind in KINDS {
        for (i, returns) in [Returns::Steps, Returns::Last, Returns::StepsAndStates].into_iter().enumerate() {
            let mut case = case(kind, [3, 4, 2, 3], i > 0, i == 2, i as u64);
            case.options.returns = returns;
            case.options.reverse = i == 1;
            gradcheck(&case.values, |vars| layer(&case, vars)).unwrap();
        }
    }
}

#[test]
fn padding_changes_nothing() {
    for kind in KINDS {
        let mut case = case(kind, [4, 6, 3, 5], true, false, 3);
        for reverse in [false, true] {
            case.options.reverse = reverse;
            case.options.returns = Returns::StepsAndStates;
            let before = values_and_gradients(&case, Returns::StepsAndStates, layer);
            let mut other = case.clone();
            let (lengths, starts) =
                (case.options.lengths.clone().unwrap(), case.options.starts.clone().unwrap());
            let mut x = other.values[0].to_vec();
            for b in 0..4 {
                let length = lengths.get(&[b]).unwrap() as usize;
                x[b * 18 + length * 3..(b + 1) * 18].fill(f64::NAN);
                x[b * 18..][..starts.get(&[b]).unwrap() as usize * 3].fill(f64::NAN);
            }
            other.values[0] = Tensor::from_vec(x, [4, 6, 3]).unwrap();
            let after = values_and_gradients(&other, Returns::StepsAndStates, layer);
            assert_eq!(before, after, "{kind:?}");
        }
    }
}

#[test]
fn reversed_input_run_in_reverse_gives_reversed_output() {
    for kind in KINDS {
        let mut case = case(kind, [2, 5, 3, 4], false, false, 4);
        let ahead = values_and_gradients(&case, Returns::Steps, layer);
        case.values[0] = case.values[0].flip(1).unwrap();
        case.options.reverse = true;
        let back = values_and_gradients(&case, Returns::Steps, layer);
        assert_eq!(ahead[0], back[0].flip(1).unwrap());
    }
}

#[test]
fn same_bits_for_any_number_of_threads() {
    for kind in KINDS {
        let mut case = case(kind, [70, 9, 8, 24], true, false, 5);
        case.options.returns = Returns::StepsAndStates;
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| values_and_gradients(&case, Returns::StepsAndStates, layer))
        };
        let one = run(1);
        assert_eq!(one, run(2));
        assert_eq!(one, run(3));
    }
}

#[test]
fn bad_input_is_an_error_that_says_what() {
    let case = case(Recurrence::Lstm, [3, 4, 2, 3], false, false, 6);
    let vars: Vec<_> = case.values.iter().cloned().map(Var::parameter).collect();
    let lengths = |list: Vec<u32>| {
        let mut case = case.clone();
        let n = list.len();
        case.options.lengths = Some(Tensor::from_vec(list, [n]).unwrap());
        layer(&case, &vars).unwrap_err().to_string()
    };
    assert!(lengths(vec![1, 0, 5]).contains("sequence 2 has length 5, which must be at most 4"));
    assert!(lengths(vec![1, 2]).contains("one length for each sequence"));
    let starts = |list: Vec<u32>| {
        let mut case = case.clone();
        let n = list.len();
        case.options.lengths = Some(Tensor::from_vec(vec![1, 3, 2], [3]).unwrap());
        case.options.starts = Some(Tensor::from_vec(list, [n]).unwrap());
        layer(&case, &vars).unwrap_err().to_string()
    };
    assert!(
        starts(vec![0, 4, 0]).contains("sequence 1 begins at step 4, which must not be beyond its length 3")
    );
    assert!(starts(vec![0]).contains("one start for each sequence"));
    let mut wrong = vars.clone();
    wrong[1] = Var::constant(Tensor::zeros([2, 11]).unwrap());
    assert!(layer(&case, &wrong).unwrap_err().to_string().contains("[2, 11]"));
    let mut gru = case.clone();
    gru.kind = Recurrence::Gru;
    assert!(layer(&gru, &vars).is_err());
}

#[test]
fn nothing_is_computed_of_nothing() {
    for sizes in [[0, 4, 2, 3], [2, 0, 2, 3], [2, 4, 0, 3]] {
        for kind in KINDS {
            let case = case(kind, sizes, false, false, 7);
            let vars: Vec<_> = case.values.iter().cloned().map(Var::parameter).collect();
            let y = layer(&case, &vars).unwrap();
            assert_eq!(y.shape(), [sizes[0], sizes[1], 3]);
            let gradients = y.sum(..).unwrap().backward().unwrap();
            assert_eq!(gradients.of(&vars[1]).unwrap().shape(), vars[1].shape());
        }
    }
}
