//! Layers for images: shapes, parameters, statistics, files, mistakes, and what explains a model.

use cairn_autograd::Var;
use cairn_nn::Activation::{Relu, Softmax, Tanh};
use cairn_nn::spec::{BatchNorm, Conv1d, Conv2d, ConvTranspose2d, Dense, GroupNorm};
use cairn_nn::{
    AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, Context, Dropout2d, Error, Flatten, GlobalAvgPool,
    GlobalMaxPool, Init, MaxPool1d, MaxPool2d, Model, Module, Sequential, Upsample, ZeroPad2d, explain,
    weights,
};
use cairn_tensor::{Tensor, rng};

fn images(shape: [usize; 4], seed: u64) -> Tensor {
    Tensor::normal(shape, 0.0, 1.0, &mut rng(seed)).unwrap()
}

/// The network that people compare libraries by.
fn reference() -> Sequential {
    Sequential::new([28, 28, 1])
        .add(Conv2d::new(32, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).activation(Relu))
        .add(MaxPool2d::new(2))
        .add(Conv2d::new(64, 3).activation(Relu))
        .add(Flatten)
        .add(Dense::new(10))
        .build(&mut rng(0))
        .unwrap()
}

#[test]
fn the_summary_names_shapes_and_counts_as_keras_does() {
    let summary = reference().summary();
    let lines: Vec<(&str, &str, &str, usize)> = summary
        .layers
        .iter()
        .map(|l| (l.layer.as_str(), l.output.as_str(), l.weights.as_str(), l.parameters))
        .collect();
    assert_eq!(
        lines,
        [
            ("conv2d (conv2d)", "(None, 26, 26, 32)", "3x3x1x32, 32", 320),
            ("max_pool2d (max_pool2d)", "(None, 13, 13, 32)", "", 0),
            ("conv2d_1 (conv2d)", "(None, 11, 11, 64)", "3x3x32x64, 64", 18_496),
            ("max_pool2d_1 (max_pool2d)", "(None, 5, 5, 64)", "", 0),
            ("conv2d_2 (conv2d)", "(None, 3, 3, 64)", "3x3x64x64, 64", 36_928),
            ("flatten (flatten)", "(None, 576)", "", 0),
            ("dense (dense)", "(None, 10)", "576x10, 10", 5770),
        ]
    );
    assert_eq!(summary.parameters, 61_514);
}

#[test]
fn planned_shapes_are_those_that_come_out() {
    let model = Sequential::new([17, 14, 3])
        .add(ZeroPad2d::sides(1, 0, 2, 0))
        .add(Conv2d::new(6, [3, 2]).same().stride(2).groups(3).activation(Tanh))
        .add(BatchNorm::new())
        .add(AvgPool2d::new(3).stride(2).same())
        .add(Upsample::new([2, 3]).bilinear())
        .add(ConvTranspose2d::new(4, 3).stride(2).padding(1).output_padding(1))
        .add(ConvTranspose2d::new(5, 4).stride([2, 3]).same().activation(Relu))
        .add(GroupNorm::new(5))
        .add(Dropout2d::new(0.5))
        .add(MaxPool2d::new([3, 2]).padding(1))
        .add(AdaptiveAvgPool2d::new([4, 3]))
        .add(GlobalAvgPool)
        .build(&mut rng(3))
        .unwrap();
    let x = images([2, 17, 14, 3], 4);
    let mut cx = Context::train(1);
    for line in model.summary().layers {
        let name = line.layer.split(' ').next().unwrap();
        let y = model.forward_until(name, &x, &mut cx).unwrap();
        let sizes: Vec<String> = y.shape()[1..].iter().map(ToString::to_string).collect();
        assert_eq!(format!("(None, {})", sizes.join(", ")), line.output, "{}", line.layer);
    }
    let sequence = Sequential::new([20, 3])
        .add(Conv1d::new(8, 4).causal().dilation(2).activation(Relu))
        .add(MaxPool1d::new(2))
        .add(Conv1d::new(4, 3).same().stride(2))
        .add(AvgPool1d::new(2).stride(1))
        .add(GlobalMaxPool)
        .build(&mut rng(3))
        .unwrap();
    assert_eq!(sequence.predict_batch(&Tensor::<f32>::ones([5, 20, 3]).unwrap()).unwrap().shape(), [5, 4]);
}

#[test]
fn pooling_at_once_with_the_convolution_changes_nothing() {
    let conv = Conv2d::new(33, 3).same();
    for (activation, pool) in [
        (None, MaxPool2d::new(2)),
        (Some(Relu), MaxPool2d::new([2, 3])),
        (Some(Tanh), MaxPool2d::new(2)),
        (Some(Relu), MaxPool2d::new(3).stride(2).padding(1)),
    ] {
        let conv = activation.map_or(conv.clone(), |activation| conv.clone().activation(activation));
        let layer = conv.layer(2, &mut rng(0)).unwrap();
        let x = Var::from(images([3, 8, 9, 2], 1));
        let apart = pool.forward(&layer.forward(&x).unwrap()).unwrap();
        assert_eq!(layer.clone().max_pool(pool).forward(&x).unwrap().value(), apart.value());
        let model = Sequential::new([8, 9, 2]).add(conv.clone()).add(pool).build(&mut rng(0)).unwrap();
        assert_eq!(model.predict_batch(x.value()).unwrap(), *apart.value());
    }
}

#[test]
fn a_causal_convolution_does_not_look_ahead() {
    let layer = Conv1d::new(2, 3).causal().dilation(2).layer(1, &mut rng(0)).unwrap();
    let mut x: Tensor = Tensor::normal([1, 12, 1], 0.0, 1.0, &mut rng(1)).unwrap();
    let before = layer.forward(&x.clone().into()).unwrap();
    assert_eq!(before.shape(), [1, 12, 2]);
    x.as_mut_slice().unwrap()[7] += 1.0;
    let after = layer.forward(&x.into()).unwrap();
    let changed: Vec<usize> = (0..12)
        .filter(|&t| before.value().index(1, t).unwrap() != after.value().index(1, t).unwrap())
        .collect();
    assert_eq!(changed, [7, 9, 11]);
}

#[test]
fn batch_normalisation_keeps_statistics_as_keras_and_as_pytorch() {
    let x = images([4, 3, 5, 2], 0).scale(3.0).unwrap().add(&Tensor::scalar(7.0)).unwrap();
    let rows = x.reshape([60, 2]).unwrap();
    let (mean, biased) = (rows.mean(0).unwrap(), rows.var(0, 0).unwrap());
    let close = |got: &Tensor, want: &Tensor| {
        got.iter()
            .zip(want.iter())
            .for_each(|(got, want)| assert!((got - want).abs() < 3e-4, "{got} for {want}"));
    };
    for (norm, kept, variance) in [
        (BatchNorm::new(), 0.99, &biased),
        (BatchNorm::new().momentum(0.9).epsilon(1e-5).unbiased(), 0.9, &rows.var(0, 1).unwrap()),
    ] {
        let layer = norm.layer(2).unwrap();
        let y = layer.forward(&x.clone().into(), &mut Context::train(0)).unwrap();
        // Training normalises by the batch's own, biased variance in either library.
        close(&y.value().reshape([60, 2]).unwrap().var(0, 0).unwrap(), &Tensor::ones([2]).unwrap());
        let (running_mean, running_variance) =
            (layer.running_mean.value().unwrap(), layer.running_var.value().unwrap());
        close(&running_mean, &mean.scale(1.0 - kept).unwrap());
        close(&running_variance, &variance.scale(1.0 - kept).unwrap().add(&Tensor::scalar(kept)).unwrap());
        // In use the running ones are taken, and left alone.
        let y = layer.forward(&x.clone().into(), &mut Context::eval()).unwrap();
        let epsilon = if kept > 0.95 { 1e-3 } else { 1e-5 };
        let scale = running_variance.add(&Tensor::scalar(epsilon)).unwrap().rsqrt().unwrap();
        close(y.value(), &x.sub(&running_mean).unwrap().mul(&scale).unwrap());
        assert_eq!(layer.running_mean.value().unwrap(), running_mean);
    }
    let single = BatchNorm::new().unbiased().layer(2).unwrap();
    let one = single.forward(&Tensor::ones([1, 2]).unwrap().into(), &mut Context::train(0)).unwrap_err();
    assert!(one.to_string().contains("more than one value"), "{one}");
}

#[test]
fn models_of_images_survive_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.cairn");
    let model = Sequential::new([9, 8, 2])
        .add(Conv2d::new(4, 3).padding(1).bias(false).kernel_init(Init::HeNormal))
        .add(BatchNorm::new())
        .add(Relu)
        .add(ConvTranspose2d::new(3, 2).stride(2))
        .add(GroupNorm::new(3))
        .add(ZeroPad2d::new(1))
        .add(Upsample::new(2))
        .add(MaxPool2d::new(2))
        .add(AvgPool2d::new(2).count_padding())
        .add(AdaptiveAvgPool2d::new(3))
        .add(Dropout2d::new(0.1))
        .add(GlobalAvgPool)
        .add(Dense::new(3))
        .build(&mut rng(0))
        .unwrap();
    let x = images([2, 9, 8, 2], 1);
    // Running statistics are part of what is saved.
    model.forward(&x, &mut Context::train(0)).unwrap();
    model.save(&path).unwrap();
    let again = Sequential::load(&path).unwrap();
    assert_eq!(model.predict_batch(&x).unwrap(), again.predict_batch(&x).unwrap());
    assert_eq!(model.state(), again.state());
    assert!(model.state().contains_key("batch_norm.running_var"));
    assert_eq!(model.parameter_count(), 9 * 2 * 4 + 8 + (4 * 4 * 3 + 3) + 6 + 12);
}

#[test]
fn mistakes_name_the_layer_and_the_shapes() {
    let message = |builder: cairn_nn::SequentialBuilder| builder.build(&mut rng(0)).unwrap_err().to_string();
    let start = || Sequential::new([8, 8, 6]);
    let error = message(start().add(Conv2d::new(4, 3)).add_named("second", Conv2d::new(4, 7)));
    assert!(error.starts_with("second: ") && error.contains("[6]") && error.contains("[7]"), "{error}");
    let error = message(start().add(Conv2d::new(4, 3).groups(4)));
    assert!(error.contains("conv2d: the number of groups is 4"), "{error}");
    assert!(message(start().add(Conv2d::new(4, 3).groups(0))).contains("groups is 0"));
    assert!(message(start().add(Conv2d::new(0, 3))).contains("filters is 0"));
    assert!(message(start().add(Conv2d::new(4, 3).stride(0))).contains("stride is 0"));
    assert!(message(start().add(Conv2d::new(4, usize::MAX))).contains("conv2d"));
    assert!(message(start().add(MaxPool2d::new(9))).contains("max_pool2d"));
    assert!(message(start().add(MaxPool2d::new(2).padding(2))).contains("half of the window"));
    assert!(message(start().add(GroupNorm::new(4))).contains("divisor of the channels"));
    assert!(message(start().add(BatchNorm::new().epsilon(0.0))).contains("epsilon"));
    assert!(message(start().add(BatchNorm::new().momentum(1.5))).contains("momentum"));
    assert!(message(start().add(Upsample::new(0))).contains("factor of upsampling"));
    assert!(message(start().add(Upsample::new(usize::MAX))).contains("factor of upsampling"));
    assert!(message(start().add(ZeroPad2d::new(usize::MAX))).contains("too large"));
    assert!(message(start().add(Dropout2d::new(1.0))).contains("dropout rate"));
    assert!(message(start().add(Conv1d::new(4, 3))).contains("sequences [steps, channels] are needed"));
    assert!(
        message(Sequential::new([8]).add(Conv2d::new(4, 3))).contains("images [height, width, channels]")
    );
    assert!(message(Sequential::new([8]).add(GlobalAvgPool)).contains("are needed"));
    let error = message(start().add(ConvTranspose2d::new(4, 3).stride(2).output_padding(2)));
    assert!(error.contains("extra output size"), "{error}");
    // A filter that no memory holds is refused before it is drawn.
    assert!(
        Sequential::new([1 << 20, 1 << 20, 1 << 20])
            .add(Conv2d::new(1 << 20, 1 << 10))
            .build(&mut rng(0))
            .is_err()
    );
    let layer = Conv2d::new(4, 3).layer(3, &mut rng(0)).unwrap();
    let error = layer.forward(&images([1, 8, 8, 2], 0).into()).unwrap_err().to_string();
    assert!(error.contains("[1, 8, 8, 2]") && error.contains("[3, 3, 3, 4]"), "{error}");
    assert!(matches!(
        reference().forward_until("nothing", images([1, 28, 28, 1], 0), &mut Context::eval()),
        Err(Error::NoLayer { .. })
    ));
}

#[test]
fn dropping_channels_drops_whole_ones() {
    let x = Var::from(Tensor::ones([4, 5, 5, 16]).unwrap());
    let y = Dropout2d::new(0.5).forward(&x, &mut Context::train(1)).unwrap();
    let mut dropped = 0;
    for item in 0..4 {
        for channel in 0..16 {
            let map = y.value().index(0, item).unwrap().index(2, channel).unwrap().to_vec();
            assert!(map.iter().all(|&v| v == map[0]) && (map[0] == 0.0 || map[0] == 2.0));
            dropped += usize::from(map[0] == 0.0);
        }
    }
    assert!((16..48).contains(&dropped), "{dropped} of 64 dropped");
    assert!(Dropout2d::new(0.5).forward(&x, &mut Context::eval()).unwrap().same(&x));
}

#[test]
fn weights_of_other_libraries_keep_their_meaning() {
    // A PyTorch network on channels-first images equals ours on channels-last ones.
    let theirs: Tensor = Tensor::normal([4, 3, 2, 2], 0.0, 1.0, &mut rng(0)).unwrap();
    let head: Tensor = Tensor::normal([5, 4 * 3 * 4], 0.0, 1.0, &mut rng(1)).unwrap();
    let x: Tensor = Tensor::normal([2, 3, 4, 5], 0.0, 1.0, &mut rng(2)).unwrap();
    let model = Sequential::new([4, 5, 3])
        .add(Conv2d::new(4, 2))
        .add(Flatten)
        .add(Dense::new(5))
        .build(&mut rng(3))
        .unwrap();
    let mut state = model.state();
    state.insert("conv2d.weight".into(), weights::torch::conv2d(&theirs).unwrap().into());
    state
        .insert("dense.weight".into(), weights::torch::dense_after_flatten(&head, [3, 4, 4]).unwrap().into());
    model.load_state(&state).unwrap();
    let y = model.predict_batch(&weights::torch::images(&x).unwrap()).unwrap();
    // By hand, in their order.
    for n in 0..2 {
        for o in 0..5 {
            let mut sum = 0.0;
            for c in 0..4 {
                for i in 0..3 {
                    for j in 0..4 {
                        let mut conv = 0.0;
                        for d in 0..3 {
                            for (a, b) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                                conv += theirs.get(&[c, d, a, b]).unwrap()
                                    * x.get(&[n, d, i + a, j + b]).unwrap();
                            }
                        }
                        sum += conv * head.get(&[o, c * 12 + i * 4 + j]).unwrap();
                    }
                }
            }
            let got = y.get(&[n, o]).unwrap();
            assert!((got - sum).abs() < 1e-3, "{got} for {sum}");
        }
    }
    let back =
        weights::torch::to_dense_after_flatten(state["dense.weight"].as_f32().unwrap(), [3, 4, 4]).unwrap();
    assert_eq!(back, head);
    assert_eq!(weights::torch::to_conv2d(state["conv2d.weight"].as_f32().unwrap()).unwrap(), theirs);
    assert_eq!(weights::torch::to_images(&weights::torch::images(&x).unwrap()).unwrap(), x);
    let depthwise: Tensor = Tensor::normal([3, 3, 4, 2], 0.0, 1.0, &mut rng(0)).unwrap();
    let ours = weights::keras::depthwise(&depthwise).unwrap();
    assert_eq!(ours.shape(), [3, 3, 1, 8]);
    assert_eq!(weights::keras::to_depthwise(&ours, 4).unwrap(), depthwise);
    assert!(weights::keras::to_depthwise(&ours, 3).is_err());
}

#[test]
fn explanations_obey_their_laws() {
    let model = Sequential::new([6, 6, 2])
        .add(Conv2d::new(4, 3).activation(Tanh))
        .add(Flatten)
        .add(Dense::new(3))
        .add(Softmax)
        .build(&mut rng(0))
        .unwrap();
    let x = images([2, 6, 6, 2], 1);
    let classes = [2, 0];
    let forward = |x: &Var| model.forward(x, &mut Context::eval());
    let logits = |x: &Tensor| {
        let y = forward(&Var::from(x.clone())).unwrap();
        y.softmax_logits().unwrap().value().clone()
    };
    // Saliency is the derivative of the logit.
    let map = explain::saliency(forward, &x, &classes).unwrap();
    let mut moved = x.clone();
    moved.as_mut_slice().unwrap()[17] += 1e-2;
    let slope = (logits(&moved).get(&[0, 2]).unwrap() - logits(&x).get(&[0, 2]).unwrap()) / 1e-2;
    assert!((slope - map.to_vec()[17]).abs() < 1e-2, "{slope} for {}", map.to_vec()[17]);
    // Completeness: contributions add up to what changed.
    let baseline = Tensor::zeros([6, 6, 2]).unwrap();
    let parts = explain::integrated_gradients(forward, &x, &baseline, &classes, 64).unwrap();
    let start = logits(&Tensor::zeros(x.dims()).unwrap());
    for (item, &class) in classes.iter().enumerate() {
        let at = [item, class as usize];
        let change = logits(&x).get(&at).unwrap() - start.get(&at).unwrap();
        let sum = parts.index(0, item).unwrap().sum(..).unwrap().item().unwrap();
        assert!((change - sum).abs() < 1e-3 * change.abs().max(1.0), "{sum} for {change}");
    }
    let heat = explain::grad_cam(&model, "conv2d", &x, &classes).unwrap();
    assert_eq!(heat.shape(), [2, 6, 6]);
    assert!(heat.iter().all(|h| (0.0..=1.0).contains(&h)));
    assert!(explain::grad_cam(&model, "dense", &x, &classes).is_err());
    assert!(explain::saliency(forward, &x, &[3, 0]).is_err());
    assert!(explain::saliency(forward, &x, &[0]).is_err());
    assert!(explain::integrated_gradients(forward, &x, &baseline, &classes, 0).is_err());
}

/// A map that speaks for the class where the object is.
#[test]
fn grad_cam_points_at_what_counts() {
    let model = Sequential::new([8, 8, 1])
        .add(Conv2d::new(1, 1).activation(Relu))
        .add(GlobalAvgPool)
        .add(Dense::new(2))
        .build(&mut rng(0))
        .unwrap();
    let mut state = model.state();
    state.insert("conv2d.weight".into(), Tensor::<f32>::ones([1, 1, 1, 1]).unwrap().into());
    state.insert("dense.weight".into(), Tensor::from_vec(vec![1.0f32, -1.0], [1, 2]).unwrap().into());
    model.load_state(&state).unwrap();
    let mut x = Tensor::zeros([1, 8, 8, 1]).unwrap();
    x.as_mut_slice().unwrap()[2 * 8 + 5] = 3.0;
    let heat = explain::grad_cam(&model, "conv2d", &x, &[0]).unwrap();
    assert_eq!(heat.flatten(0).unwrap().argmax(0).unwrap().item().unwrap(), 2 * 8 + 5);
    assert_eq!(heat.max(..).unwrap().item().unwrap(), 1.0);
    // Nothing speaks for the other class.
    assert!(explain::grad_cam(&model, "conv2d", &x, &[1]).unwrap().iter().all(|h| h == 0.0));
}
