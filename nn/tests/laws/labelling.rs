//! The conditional random field against a sum over all sequences of tags, and CTC against PyTorch and a sum over all paths.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_autograd::{Var, gradcheck};
use cairn_nn::loss::{Crf, Ctc, Labelling, crf_losses};
use cairn_nn::weights::Weights;
use cairn_nn::{Error, Module, SequenceMask};
use cairn_tensor::{Tensor, rng};
use proptest::prelude::*;

fn normal(shape: &[usize], seed: u64) -> Tensor<f64> {
    Tensor::<f32>::normal(shape, 0.0, 1.5, &mut rng(seed)).unwrap().cast().unwrap()
}

fn ids(of: &[u32], shape: &[usize]) -> Tensor<u32> {
    Tensor::from_slice(of, shape).unwrap()
}

fn mask(lengths: &[u32]) -> SequenceMask {
    SequenceMask::of_lengths(&ids(lengths, &[lengths.len()]))
}

/// All sequences of so many of so many.
fn all(count: usize, length: usize) -> Vec<Vec<u32>> {
    (0..count.pow(length as u32))
        .map(|number| (0..length).map(|place| (number / count.pow(place as u32) % count) as u32).collect())
        .collect()
}

fn ln_sum(logs: impl Iterator<Item = f64>) -> f64 {
    logs.map(f64::exp).sum::<f64>().ln()
}

/// As [`ln_sum`], of what may be far from 0.
fn log_sum(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if most == f64::NEG_INFINITY {
        return most;
    }
    most + values.iter().map(|x| (x - most).exp()).sum::<f64>().ln()
}

/// The search for labels written plainly: every beginning of a step by its labels, and the best of them go on.
fn plain_search(logits: &Tensor, blank: usize, beams: usize) -> Vec<Labelling> {
    let &[_, time, classes] = logits.shape() else { panic!() };
    let none = f64::NEG_INFINITY;
    // The paths that end in a blank, and those that end in the last label.
    let mut live: Vec<(Vec<u32>, [f64; 2])> = vec![(Vec::new(), [0.0, none])];
    for t in 0..time {
        let scores: Vec<f64> = (0..classes).map(|k| logits.get(&[0, t, k]).unwrap().into()).collect();
        let total = log_sum(&scores);
        let logs: Vec<f64> = scores.iter().map(|score| score - total).collect();
        let mut next: BTreeMap<Vec<u32>, [f64; 2]> = BTreeMap::new();
        let mut add = |labels: Vec<u32>, paths: [f64; 2]| {
            let sums = next.entry(labels).or_insert([none; 2]);
            *sums = [log_sum(&[sums[0], paths[0]]), log_sum(&[sums[1], paths[1]])];
        };
        for (labels, [blanks, own]) in &live {
            let all = log_sum(&[*blanks, *own]);
            add(labels.clone(), [all + logs[blank], none]);
            for class in (0..classes).filter(|&class| class != blank) {
                let longer = [&labels[..], &[class as u32]].concat();
                if labels.last() == Some(&(class as u32)) {
                    add(labels.clone(), [none, own + logs[class]]);
                    add(longer, [none, blanks + logs[class]]);
                } else {
                    add(longer, [none, all + logs[class]]);
                }
            }
        }
        live = next.into_iter().filter(|(_, paths)| log_sum(paths) > none).collect();
        live.sort_by(|a, b| log_sum(&b.1).total_cmp(&log_sum(&a.1)).then_with(|| a.0.cmp(&b.0)));
        live.truncate(beams);
    }
    live.into_iter().map(|(labels, paths)| Labelling { labels, log_probability: log_sum(&paths) }).collect()
}

/// The parameters of a field, from a seed.
fn scores(tags: usize, seed: u64) -> [Tensor<f64>; 3] {
    [normal(&[tags, tags], seed), normal(&[tags], seed ^ 1), normal(&[tags], seed ^ 2)]
}

fn score(
    emissions: &Tensor<f64>,
    [transitions, start, end]: &[Tensor<f64>; 3],
    row: usize,
    tags: &[u32],
) -> f64 {
    let at = |x: &Tensor<f64>, place: &[usize]| x.get(place).unwrap();
    let tag = |step: usize| tags[step] as usize;
    let Some(last) = tags.len().checked_sub(1) else { return 0.0 };
    let emitted: f64 = (0..=last).map(|t| at(emissions, &[row, t, tag(t)])).sum();
    let moved: f64 = (1..=last).map(|t| at(transitions, &[tag(t - 1), tag(t)])).sum();
    at(start, &[tag(0)]) + emitted + moved + at(end, &[tag(last)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_field_is_a_softmax_over_all_sequences(seed: u64, tags in 1..4usize, lengths in prop::array::uniform2(0..5u32)) {
        let (emissions, parameters) = (normal(&[2, 4, tags], seed ^ 3), scores(tags, seed));
        let drawn: Vec<u32> = (0..8).map(|i| (seed >> (4 * i)) as u32 % tags as u32).collect();
        let [t, s, e] = parameters.each_ref().map(|x| Var::constant(x.clone()));
        let losses = crf_losses(&Var::constant(emissions.clone()), [&t, &s, &e], &ids(&drawn, &[2, 4]), Some(&mask(&lengths))).unwrap();
        let crf = Crf::new(tags, &mut rng(0)).unwrap();
        for (parameter, value) in [&crf.transitions, &crf.start, &crf.end].into_iter().zip(&parameters) {
            parameter.set(value.cast().unwrap());
        }
        let best = crf.decode(&emissions.cast().unwrap(), Some(&mask(&lengths))).unwrap();
        for row in 0..2 {
            let length = lengths[row] as usize;
            let of = |tags: &[u32]| score(&emissions, &parameters, row, tags);
            let sequences = all(tags, length);
            let expected = ln_sum(sequences.iter().map(|tags| of(tags))) - of(&drawn[4 * row..][..length]);
            let got = losses.value().get(&[row]).unwrap();
            prop_assert!((got - expected).abs() < 1e-9, "{got} for {expected}");
            let likeliest = sequences.iter().map(|tags| of(tags)).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!((of(&best[row]) - likeliest).abs() < 1e-6 && best[row].len() == length);
        }
    }

    #[test]
    fn gradients_of_a_field_are_those_of_its_loss(seed: u64, lengths in prop::array::uniform2(0..5u32)) {
        let [t, s, e] = scores(3, seed);
        let tags: Vec<u32> = (0..8).map(|i| (seed >> (3 * i)) as u32 % 3).collect();
        gradcheck(&[normal(&[2, 4, 3], seed ^ 3), t, s, e], |x| {
            Ok(crf_losses(&x[0], [&x[1], &x[2], &x[3]], &ids(&tags, &[2, 4]), Some(&mask(&lengths))).unwrap())
        }).unwrap();
    }

    /// With as many beams as there are labellings the search finds each, with the sum of all of its paths; its loss is the same.
    #[test]
    fn ctc_sums_over_all_paths(seed: u64, length in 1..5usize, blank in 0..3u32) {
        let logits = normal(&[1, 5, 3], seed);
        let logs = logits.log_softmax(-1).unwrap();
        let mut sums: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
        for path in all(3, length) {
            let p: f64 = path.iter().enumerate().map(|(t, &k)| logs.get(&[0, t, k as usize]).unwrap()).sum();
            let mut labels = path.clone();
            labels.dedup();
            labels.retain(|&label| label != blank);
            *sums.entry(labels).or_default() += p.exp();
        }
        let ctc = Ctc::new().blank(blank);
        let mask = mask(&[length as u32]);
        let found = ctc.beam(&logits.cast().unwrap(), Some(&mask), 100).unwrap().remove(0);
        prop_assert_eq!(found.len(), sums.len());
        prop_assert!(found.windows(2).all(|pair| pair[0].log_probability >= pair[1].log_probability));
        for labelling in &found {
            let expected = sums[&labelling.labels].ln();
            prop_assert!((labelling.log_probability - expected).abs() < 1e-5);
            let loss = ctc.losses(&Var::constant(logits.clone()), std::slice::from_ref(&labelling.labels), Some(&mask)).unwrap();
            prop_assert!((loss.value().get(&[0]).unwrap() + expected).abs() < 1e-9);
        }
    }

    /// To the bit, and where beginnings are equally likely, too: of few numbers many sums are the same.
    #[test]
    fn a_search_goes_on_with_the_best_of_all_beginnings(digits in prop::collection::vec(0..4u8, 24), blank in 0..4u32, beams in 1..7usize) {
        // One class is possible at each step.
        let number = |(at, &digit): (usize, &u8)| match digit {
            0 if at % 4 > 0 => f32::NEG_INFINITY,
            digit => f32::from(digit),
        };
        let logits = Tensor::from_vec(digits.iter().enumerate().map(number).collect(), [1, 6, 4]).unwrap();
        let found = Ctc::new().blank(blank).beam(&logits, None, beams).unwrap().remove(0);
        prop_assert_eq!(found, plain_search(&logits, blank as usize, beams));
    }

    /// Sequences with padding before and behind are what is between, by itself: losses, gradients, and what is decoded.
    #[test]
    fn sequences_that_begin_later_are_as_alone(seed: u64, starts in prop::array::uniform2(0..4usize), lengths in prop::array::uniform2(0..5usize)) {
        let (time, classes) = (8, 3);
        let inside = |row: usize, t: usize| (starts[row]..starts[row] + lengths[row]).contains(&t);
        let places = move || (0..2).flat_map(move |row| (0..time).map(move |t| (row, t)));
        let marks: Vec<u32> = places().map(|(row, t)| u32::from(inside(row, t))).collect();
        let mask = SequenceMask::of_ids(&ids(&marks, &[2, time]), 0).unwrap();
        let x = Var::parameter(normal(&[2, time, classes], seed));
        let cut = |x: &Tensor<f64>, row: usize| {
            x.narrow(0, row, 1).unwrap().narrow(1, starts[row], lengths[row]).unwrap().contiguous().unwrap()
        };
        let labels: Vec<Vec<u32>> = (0..2).map(|row| if lengths[row] > 0 { vec![1 + row as u32] } else { vec![] }).collect();
        let tags: Vec<u32> = places().map(|(_, t)| (seed >> (2 * t)) as u32 % 3).collect();
        let parameters = scores(classes, seed);
        let [t, s, e] = parameters.each_ref().map(|x| Var::constant(x.clone()));
        let crf = Crf::new(classes, &mut rng(0)).unwrap();
        for (parameter, value) in [&crf.transitions, &crf.start, &crf.end].into_iter().zip(&parameters) {
            parameter.set(value.cast().unwrap());
        }
        let of_labels = Ctc::new().losses(&x, &labels, Some(&mask)).unwrap();
        let of_tags = crf_losses(&x, [&t, &s, &e], &ids(&tags, &[2, time]), Some(&mask)).unwrap();
        let gradients = [&of_labels, &of_tags].map(|losses| losses.sum(..).unwrap().backward().unwrap().of(&x).unwrap());
        for (row, t) in places().filter(|&(row, t)| !inside(row, t)) {
            prop_assert!(gradients.iter().all(|gradient| (0..classes).all(|k| gradient.get(&[row, t, k]).unwrap() == 0.0)));
        }
        let floats = x.value().cast::<f32>().unwrap();
        let greedy = Ctc::new().greedy(&floats, Some(&mask)).unwrap();
        let beams = Ctc::new().beam(&floats, Some(&mask), 4).unwrap();
        let best = crf.decode(&floats, Some(&mask)).unwrap();
        for row in (0..2).filter(|&row| lengths[row] > 0) {
            let alone = Var::parameter(cut(x.value(), row));
            let own_tags = ids(&tags[row * time + starts[row]..][..lengths[row]], &[1, lengths[row]]);
            let losses = [
                Ctc::new().losses(&alone, &labels[row..=row], None).unwrap(),
                crf_losses(&alone, [&t, &s, &e], &own_tags, None).unwrap(),
            ];
            for ((alone_loss, together), gradient) in losses.iter().zip([&of_labels, &of_tags]).zip(&gradients) {
                prop_assert_eq!(alone_loss.value().get(&[0]).unwrap(), together.value().get(&[row]).unwrap());
                let own = alone_loss.sum(..).unwrap().backward().unwrap().of(&alone).unwrap();
                prop_assert_eq!(own, cut(gradient, row));
            }
            let alone = alone.value().cast::<f32>().unwrap();
            prop_assert_eq!(&Ctc::new().greedy(&alone, None).unwrap()[0], &greedy[row]);
            prop_assert_eq!(&Ctc::new().beam(&alone, None, 4).unwrap()[0], &beams[row]);
            prop_assert_eq!(&crf.decode(&alone, None).unwrap()[0], &best[row]);
        }
        for row in (0..2).filter(|&row| lengths[row] == 0) {
            prop_assert!(of_labels.value().get(&[row]).unwrap() == 0.0 && of_tags.value().get(&[row]).unwrap() == 0.0);
            prop_assert!(greedy[row].is_empty() && best[row].is_empty() && beams[row][0].labels.is_empty());
        }
    }

    #[test]
    fn gradients_of_ctc_are_those_of_its_loss(seed: u64, lengths in prop::array::uniform2(3..6u32), second in prop::collection::vec(1..4u32, 0..2)) {
        let labels = [vec![1, 1], second];
        gradcheck(&[normal(&[2, 5, 4], seed)], |x| Ok(Ctc::new().losses(&x[0], &labels, Some(&mask(&lengths))).unwrap())).unwrap();
    }
}

#[test]
fn ctc_is_pytorch_s() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ctc.safetensors");
    let golden = Weights::read_safetensors(path).unwrap().tensors;
    let names: Vec<&str> = golden.keys().filter_map(|name| name.strip_suffix("/logits")).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        let floats = |what: &str| Tensor::<f32>::try_from(golden[&format!("{name}/{what}")].clone()).unwrap();
        let whole = |what: &str| Tensor::<i64>::try_from(golden[&format!("{name}/{what}")].clone()).unwrap();
        let lengths: Vec<u32> = whole("lengths").iter().map(|n| n as u32).collect();
        let padded = whole("labels");
        let labels: Vec<Vec<u32>> = (0..lengths.len())
            .map(|row| padded.index(0, row).unwrap().iter().filter(|&k| k != 999).map(|k| k as u32).collect())
            .collect();
        let ctc =
            Ctc::new().blank(if name == "last_blank" { 3 } else { 0 }).skip_impossible(name == "skipped");
        let logits = Var::parameter(floats("logits"));
        let losses = ctc.losses(&logits, &labels, Some(&mask(&lengths))).unwrap();
        let near = |a: &Tensor, b: &Tensor| a.sub(b).unwrap().abs().unwrap().max(..).unwrap().item().unwrap();
        assert!(near(losses.value(), &floats("losses")) < 1e-5, "{name}");
        let weights = Tensor::arange(1.0, lengths.len() as f32 + 1.0, 1.0).unwrap();
        let gradients = losses.mul(&weights.into()).unwrap().sum(..).unwrap().backward().unwrap();
        assert!(near(&gradients.of(&logits).unwrap(), &floats("gradient")) < 1e-4, "{name}");
    }
}

#[test]
fn greedy_labels_are_those_of_the_best_path() {
    let path: [u32; 8] = [0, 1, 1, 0, 1, 2, 2, 0];
    let logits: Vec<f32> =
        path.iter().flat_map(|&p| (0..3).map(move |k| f32::from(u8::from(k == p)))).collect();
    let logits = Tensor::from_vec(logits, [1, 8, 3]).unwrap();
    assert_eq!(Ctc::new().greedy(&logits, None).unwrap(), [[1, 1, 2]]);
    assert_eq!(Ctc::new().greedy(&logits, Some(&mask(&[3]))).unwrap(), [[1]]);
    assert_eq!(Ctc::new().blank(2).greedy(&logits, None).unwrap(), [vec![0, 1, 0, 1, 0]]);
    assert!(Ctc::new().greedy(&logits, Some(&mask(&[0]))).unwrap()[0].is_empty());
}

#[test]
fn what_cannot_be_labelled_is_said() {
    let logits = Var::parameter(normal(&[2, 3, 4], 0));
    let losses = |ctc: Ctc, labels: &[Vec<u32>]| ctc.losses(&logits, labels, Some(&mask(&[3, 2])));
    // Labels that are alike need a blank between them.
    let error = losses(Ctc::new(), &[vec![1, 2, 3], vec![1, 1]]).unwrap_err().to_string();
    assert!(error.contains("sequence 1 of 2 steps"), "{error}");
    let skipped = losses(Ctc::new().skip_impossible(true), &[vec![1, 2, 3], vec![1, 1]]).unwrap();
    assert!(skipped.value().get(&[0]).unwrap() > 0.0 && skipped.value().get(&[1]).unwrap() == 0.0);
    let gradient = skipped.sum(..).unwrap().backward().unwrap().of(&logits).unwrap();
    assert!(gradient.narrow(0, 1, 1).unwrap().iter().all(|x| x == 0.0));
    assert!(gradient.iter().all(f64::is_finite));
    for labels in [vec![vec![1]], vec![vec![0], vec![1]], vec![vec![4], vec![1]]] {
        assert!(matches!(losses(Ctc::new(), &labels), Err(Error::BadInput { .. })), "{labels:?}");
    }
    assert!(losses(Ctc::new().blank(4), &[vec![1], vec![1]]).is_err());
    // What is no number is not impossible: the loss is NaN, as others are, and that of the other sequence what it was.
    let labels = [vec![1, 2], vec![1]];
    let good = losses(Ctc::new(), &labels).unwrap().value().get(&[1]).unwrap();
    for bad in [f64::NAN, f64::INFINITY] {
        for ctc in [Ctc::new(), Ctc::new().skip_impossible(true)] {
            let with = |place: usize| {
                let mut spoilt = logits.value().to_vec();
                spoilt[place] = bad;
                Var::parameter(Tensor::from_vec(spoilt, logits.shape()).unwrap())
            };
            for place in 0..12 {
                let spoilt = with(place);
                let losses = ctc.losses(&spoilt, &labels, Some(&mask(&[3, 2]))).unwrap();
                assert!(losses.value().get(&[0]).unwrap().is_nan(), "{bad} at {place}");
                assert_eq!(losses.value().get(&[1]).unwrap(), good);
                let gradient = losses.sum(..).unwrap().backward().unwrap().of(&spoilt).unwrap();
                assert!(gradient.index(0, 0).unwrap().iter().any(f64::is_nan));
                assert!(gradient.index(0, 1).unwrap().iter().all(f64::is_finite));
            }
            // Behind the end of the second sequence nothing is looked at.
            let losses = ctc.losses(&with(23), &labels, Some(&mask(&[3, 2]))).unwrap();
            assert!(losses.value().iter().all(f64::is_finite));
        }
    }
    let floats = logits.value().cast::<f32>().unwrap();
    assert!(Ctc::new().beam(&floats, None, 0).is_err());
    for bad in [f32::NAN, f32::INFINITY] {
        let mut logits = floats.to_vec();
        logits[1] = bad;
        let logits = Tensor::from_vec(logits, floats.shape()).unwrap();
        assert!(matches!(Ctc::new().beam(&logits, None, 2), Err(Error::BadSetting { .. })), "{bad}");
        assert!(matches!(Ctc::new().greedy(&logits, None), Err(Error::BadSetting { .. })), "{bad}");
    }
    let nothing = Tensor::full([1, 2, 3], f32::NEG_INFINITY).unwrap();
    let said = Ctc::new().greedy(&nothing, None).unwrap_err().to_string();
    assert!(said.contains("all of a step -infinity"), "{said}");
    assert!(Ctc::new().greedy(&floats, Some(&mask(&[3]))).is_err());
    assert!(Ctc::new().greedy(&floats, Some(&mask(&[3, 4]))).is_err());
    assert!(Ctc::new().greedy(&floats.narrow(0, 0, 1).unwrap().squeeze(0).unwrap(), None).is_err());

    assert!(Crf::new(0, &mut rng(0)).is_err());
    let crf = Crf::new(4, &mut rng(0)).unwrap();
    assert_eq!(crf.parameter_count(), 4 * 4 + 4 + 4);
    let emissions: Var = floats.into();
    let fault = |tags: &Tensor<u32>| crf.losses(&emissions, tags, None).unwrap_err().to_string();
    assert!(fault(&ids(&[0, 1, 2, 3, 4, 0], &[2, 3])).contains("tag 4 of sequence 1"));
    assert!(fault(&ids(&[0; 4], &[2, 2])).contains("[batch, time]"));
    // Scores that are no numbers have no best tags, and no loss.
    let spoilt = |place: usize, score: f32| {
        let mut scores = emissions.value().to_vec();
        scores[place] = score;
        Tensor::from_vec(scores, [2, 3, 4]).unwrap()
    };
    for bad in [f32::NAN, f32::INFINITY] {
        for place in 0..12 {
            let spoilt = spoilt(place, bad);
            assert!(matches!(crf.decode(&spoilt, None), Err(Error::BadSetting { .. })), "{bad} at {place}");
            let losses = crf.losses(&spoilt.into(), &ids(&[0, 1, 2, 3, 3, 0], &[2, 3]), None).unwrap();
            assert!(losses.value().get(&[0]).unwrap().is_nan(), "{bad} at {place}");
            assert!(losses.value().get(&[1]).unwrap().is_finite());
        }
        assert!(crf.decode(&spoilt(23, bad), Some(&mask(&[3, 2]))).is_ok(), "it is behind the end");
    }
    let forbidden = crf.decode(&spoilt(5, f32::NEG_INFINITY), None).unwrap();
    assert_ne!(forbidden[0][1], 1);
    let nothing = Tensor::full([1, 2, 4], f32::NEG_INFINITY).unwrap();
    let told = crf.decode(&nothing, None).unwrap_err().to_string();
    assert!(told.contains("the score of the likeliest tags"), "{told}");
    let broken = Crf::new(4, &mut rng(0)).unwrap();
    broken.transitions.set(Tensor::full([4, 4], f32::NAN).unwrap());
    assert!(broken.decode(emissions.value(), None).is_err());
    // What stands in the padding does not matter.
    crf.losses(&emissions, &ids(&[0, 1, 2, 3, 9, 9], &[2, 3]), Some(&mask(&[3, 1]))).unwrap();
    assert!(Crf::new(3, &mut rng(0)).unwrap().decode(emissions.value(), None).is_err());
}
