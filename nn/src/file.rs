//! Saving and loading: a [`Sequential`] with its architecture, and the values of any [`Module`], each in its own element type,
//! bit for bit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use cairn_files::container;
use cairn_tensor::{AnyTensor, Shape, rng};
use serde::{Deserialize, Serialize};

use crate::codec::{self, Kind};
use crate::spec::LayerSpec;
use crate::{Error, Module, Result, Sequential, SequentialBuilder};

/// Bytes of a file that say what it is.
const HEADER: u64 = 32;

/// What a file holds of a model.
#[derive(Serialize, Deserialize)]
struct Saved {
    input: Shape,
    layers: Vec<(String, LayerSpec)>,
    state: BTreeMap<String, AnyTensor>,
}

impl Sequential {
    /// Writes the model to a file, in one step: an old file is replaced only once the new one is safe.
    ///
    /// ```
    /// use cairn_nn::{Model, Sequential, spec::Dense};
    /// use cairn_tensor::{rng, Tensor};
    /// # let folder = tempfile::tempdir().unwrap();
    /// # let path = folder.path().join("model.cairn");
    /// let model = Sequential::new([4]).add(Dense::new(2)).build(&mut rng(0))?;
    /// model.save(&path)?;
    /// let again = Sequential::load(&path)?;
    /// let x = Tensor::<f32>::ones([3, 4])?;
    /// assert_eq!(model.predict_batch(&x)?, again.predict_batch(&x)?);
    /// # Ok::<(), cairn_nn::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let layers = self.layers.iter().map(|named| (named.name.clone(), named.spec.clone())).collect();
        let saved = Saved { input: self.input.clone(), layers, state: self.state() };
        let bytes = codec::encode(Kind::Sequential, &saved).map_err(|why| bad(path, why))?;
        codec::write_atomically(path, &bytes)
    }

    /// Reads a model that [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, [`Error::BadFile`] when it is no model, damaged, or of another version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let saved: Saved = codec::decode(Kind::Sequential, &read(path, &[Kind::Sequential])?)
            .map_err(|why| bad(path, why))?;
        let values: usize = saved.state.values().map(AnyTensor::len).sum();
        let builder = saved
            .layers
            .into_iter()
            .fold(Sequential::new(saved.input), |builder, (name, spec)| builder.add_named(name, spec));
        let model = build_within(builder, values).map_err(|error| bad(path, error.to_string()))?;
        model.adopt_state(&saved.state).map_err(|error| bad(path, error.to_string()))?;
        Ok(model)
    }
}

/// Writes the values of any module by path, parameters and buffers, in one step: an old file is replaced only once the new
/// one is safe. The program has to make the module before it can [load](load_weights) them.
///
/// ```
/// use cairn_nn::{Linear, load_weights, save_weights};
/// use cairn_tensor::rng;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("head.cairn");
/// let head = Linear::new(4, 2, &mut rng(0))?;
/// save_weights(&head, &path)?;
/// let again = Linear::new(4, 2, &mut rng(1))?;
/// load_weights(&again, &path)?;
/// assert_eq!(head.weight.value(), again.weight.value());
/// # Ok::<(), cairn_nn::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] when it cannot be written.
pub fn save_weights(model: &dyn Module, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = codec::encode(Kind::Weights, &model.state()).map_err(|why| bad(path, why))?;
    codec::write_atomically(path, &bytes)
}

/// Reads values that [`save_weights`], a `ModelCheckpoint` or [`Sequential::save`] wrote into a module of the same parts. Nothing
/// changes unless all of them fit.
///
/// # Errors
/// [`Error::File`] when the file cannot be read, [`Error::BadFile`] when it is none, damaged, or of another module.
pub fn load_weights(model: &dyn Module, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let bytes = read(path, &[Kind::Weights, Kind::Sequential])?;
    let state: BTreeMap<String, AnyTensor> = codec::decode(Kind::Weights, &bytes).or_else(|why| {
        match codec::decode(Kind::Sequential, &bytes) {
            Ok(Saved { state, .. }) => Ok(state),
            Err(_) => Err(bad(path, why)),
        }
    })?;
    model.adopt_state(&state).map_err(|error| bad(path, error.to_string()))
}

/// The bytes of a file of one of these kinds. Of another, which may be gigabytes, only those that say what it is: decoding them tells what is
/// wrong.
fn read(path: &Path, kinds: &[Kind]) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(Error::file(path))?;
    let mut bytes = Vec::new();
    (&mut file).take(HEADER).read_to_end(&mut bytes).map_err(Error::file(path))?;
    if container::identify(&bytes).is_ok_and(|format| kinds.contains(&format.kind)) {
        file.read_to_end(&mut bytes).map_err(Error::file(path))?;
    }
    Ok(bytes)
}

/// Builds a model, unless its layers need another number of values than the file brought: a hostile file cannot ask for
/// more memory than its own size.
fn build_within(builder: SequentialBuilder, values: usize) -> Result<Sequential> {
    let needed = builder.plan()?.iter().fold(0usize, |sum, (_, plan)| sum.saturating_add(plan.values));
    if needed != values {
        return Err(Error::StateMismatch(format!(
            "the layers need {needed} values, the file holds {values}"
        )));
    }
    builder.build(&mut rng(0))
}

fn bad(path: &Path, why: String) -> Error {
    Error::BadFile { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_other_files_only_the_beginning_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        std::fs::write(&path, [b"GGUF".as_slice(), &[0; 1000]].concat()).unwrap();
        assert_eq!(read(&path, &[Kind::Sequential]).unwrap().len(), 32);
        let told = Sequential::load(&path).unwrap_err().to_string();
        assert!(told.contains("this is not a Cairn file"), "{told}");

        let model = Sequential::new([3]).add(crate::spec::Dense::new(2)).build(&mut rng(0)).unwrap();
        model.save(&path).unwrap();
        assert!(read(&path, &[Kind::Sequential]).unwrap().len() > 32);
        assert_eq!(read(&path, &[Kind::Training]).unwrap().len(), 32);
        Sequential::load(&path).unwrap();
        load_weights(&model, &path).unwrap();
    }
}
