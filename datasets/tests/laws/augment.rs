//! Augmentation: the same bits whatever the batches, and each transformation against its definition.

use cairn_datasets::augment::{
    Augmented, Normalize, RandomCrop, RandomHorizontalFlip, RandomRotation, RandomTranslation,
};
use cairn_datasets::{Dataset, Error, ImageDataset, Loader, synthetic};

fn everything(seed: u64) -> Augmented<ImageDataset> {
    Augmented::new(synthetic::shapes(23, 5).unwrap(), seed)
        .with(RandomRotation::new(20.0))
        .with(RandomTranslation::new(0.1, 0.2))
        .with(RandomCrop::new(28, 30).padding(2))
        .with(RandomHorizontalFlip::default())
        .with(Normalize::cifar10())
}

/// The bits of each sample by number, as the batches of one epoch have them.
fn by_sample(data: &Augmented<ImageDataset>, batch: usize, shuffle: u64, epoch: u64) -> Vec<Vec<u32>> {
    let loader = Loader::new(data).batch_size(batch).shuffle(shuffle);
    let batches = loader.epoch(epoch).unwrap();
    let order = batches.order().to_vec();
    let values: Vec<f32> = batches.flat_map(|batch| batch.unwrap().0.to_vec()).collect();
    let mut samples = vec![Vec::new(); data.len()];
    for (&i, image) in order.iter().zip(values.chunks_exact(28 * 30 * 3)) {
        samples[i] = image.iter().map(|x| x.to_bits()).collect();
    }
    samples
}

#[test]
fn same_seed_same_bits_for_any_batch_size_and_order() {
    let reference = by_sample(&everything(9), 32, 1, 3);
    for (batch, order) in [(1, 1), (7, 2), (23, 3)] {
        assert_eq!(by_sample(&everything(9), batch, order, 3), reference, "batches of {batch}");
    }
    assert_ne!(by_sample(&everything(10), 32, 1, 3), reference);
    assert_ne!(by_sample(&everything(9), 32, 1, 4), reference);
}

#[test]
fn a_subset_sees_the_epoch_and_its_own_samples() {
    let data = everything(9);
    let subset = (&data).subset(vec![4, 2]).unwrap();
    let (a, _) = subset.batch_in_epoch(6, &[1, 0]).unwrap();
    let (b, _) = data.batch_in_epoch(6, &[2, 4]).unwrap();
    assert_eq!(a.to_vec(), b.to_vec());
    assert_ne!(a.to_vec(), data.batch(&[2, 4]).unwrap().0.to_vec());
}

/// Images of height 3, width 4 and two channels, all alike, whose value tells the place.
fn numbered(count: usize) -> ImageDataset {
    let pixels = (0..count).flat_map(|_| 1..=24).collect();
    ImageDataset::new([3, 4, 2], pixels, vec![0; count], 1).unwrap()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().map(|x| (x * 255.0).round() as u8).collect()
}

fn at(image: &[u8], y: isize, x: isize, c: usize) -> u8 {
    let inside = (0..3).contains(&y) && (0..4).contains(&x);
    if inside { image[((y * 4 + x) * 2) as usize + c] } else { 0 }
}

#[test]
fn flips_mirror_columns_and_keep_channels() {
    let image: Vec<u8> = (1..=24).collect();
    let mirrored: Vec<u8> = (0..24).map(|i| at(&image, i / 8, 3 - i / 2 % 4, i as usize % 2)).collect();
    let data = Augmented::new(numbered(400), 3).with(RandomHorizontalFlip::new(0.25));
    let (x, _) = data.batch(&(0..400).collect::<Vec<_>>()).unwrap();
    let mut flipped = 0;
    for each in bytes(&x.to_vec()).chunks_exact(24) {
        flipped += usize::from(each == mirrored);
        assert!(each == mirrored || each == image);
    }
    // 100 expected, with a standard deviation of 9.
    assert!((57..=143).contains(&flipped), "{flipped}");
}

#[test]
fn crops_and_translations_are_windows_of_the_padded_image_and_all_occur() {
    let image: Vec<u8> = (1..=24).collect();
    let window = |h: isize, w: isize, dy: isize, dx: isize| -> Vec<u8> {
        let places = (0..h).flat_map(|y| (0..w).map(move |x| (y, x)));
        places.flat_map(|(y, x)| [0, 1].map(|c| at(&image, y + dy, x + dx, c))).collect()
    };
    let all: Vec<usize> = (0..2000).collect();
    let crops = Augmented::new(numbered(2000), 3).with(RandomCrop::new(2, 5).padding(1)).batch(&all).unwrap();
    let moved =
        Augmented::new(numbered(2000), 3).with(RandomTranslation::new(0.34, 0.5)).batch(&all).unwrap();
    for (x, h, w, dys, dxs) in [(crops.0, 2, 5, -1..=2, -1..=0), (moved.0, 3, 4, -1..=1, -2..=2)] {
        let possible: Vec<_> = dys
            .flat_map(|dy| dxs.clone().map(move |dx| (dy, dx)))
            .map(|(dy, dx)| window(h, w, dy, dx))
            .collect();
        let mut seen = vec![false; possible.len()];
        for each in bytes(&x.to_vec()).chunks_exact((h * w * 2) as usize) {
            seen[possible.iter().position(|p| p == each).expect("a window of the image")] = true;
        }
        assert!(seen.iter().all(|&seen| seen), "{seen:?}");
    }
}

#[test]
fn rotation_by_nothing_changes_nothing_and_keeps_the_centre() {
    let data = numbered(1);
    let still = Augmented::new(&data, 1).with(RandomRotation::new(0.0)).batch(&[0]).unwrap().0;
    assert_eq!(still.to_vec(), data.batch(&[0]).unwrap().0.to_vec());
    let mut pixels = vec![0; 25];
    pixels[12] = 255;
    let dot = ImageDataset::new([5, 5, 1], pixels, vec![0], 1).unwrap();
    let turned = Augmented::new(dot, 1).with(RandomRotation::new(180.0)).batch(&[0]).unwrap().0;
    assert!((turned.to_vec()[12] - 1.0).abs() < 1e-6);
}

#[test]
fn normalising_takes_each_channels_mean_and_deviation() {
    let data = Augmented::new(numbered(1), 1).with(Normalize::new([0.5, 0.25], [0.5, 2.0]));
    let x = data.batch(&[0]).unwrap().0.to_vec();
    assert!((x[2] - (3.0 / 255.0 - 0.5) / 0.5).abs() < 1e-6);
    assert!((x[3] - (4.0 / 255.0 - 0.25) / 2.0).abs() < 1e-6);
}

#[test]
fn settings_out_of_range_are_errors() {
    let refused = |data: Augmented<ImageDataset>| {
        let error = data.batch(&[0]).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    };
    let plain = || Augmented::new(numbered(1), 1);
    refused(plain().with(RandomHorizontalFlip::new(f64::NAN)));
    refused(plain().with(RandomHorizontalFlip::new(1.5)));
    refused(plain().with(RandomRotation::new(-1.0)));
    refused(plain().with(RandomTranslation::new(0.0, f64::INFINITY)));
    refused(plain().with(RandomCrop::new(4, 4)));
    refused(plain().with(RandomCrop::new(0, 4)));
    refused(plain().with(RandomCrop::new(2, 2).padding(usize::MAX / 2)));
    refused(plain().with(Normalize::mnist()));
    refused(plain().with(Normalize::new([0.0, 0.0], [1.0, 0.0])));
    refused(Augmented::new(numbered(1).flatten(), 1));
}
