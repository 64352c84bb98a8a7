//! Models in several files, as llama.cpp's `gguf-split` cuts them: `model-00001-of-00003.gguf` has the model's values and some of the
//! tensors, the others have the rest of the tensors.

use std::path::PathBuf;

use super::{Gguf, Value, mapped};
use crate::Result;

/// The keys that say how a model is cut: which file this is, from 0; how many there are; how many tensors are in all of them.
const NUMBER: &str = "split.no";
const COUNT: &str = "split.count";
const TENSORS: &str = "split.tensors.count";

impl Gguf {
    /// The model as if it were one file, from the first of its files, the others beside it.
    pub(super) fn joined(mut self) -> Result<Self> {
        let count = self.get(COUNT).and_then(Value::as_u64).unwrap_or(1);
        if count > 1 {
            let own = self.number(NUMBER)?;
            if own != 0 {
                let first = self.neighbour(0, count)?;
                return Err(self.bad(format!(
                    "it is file {} of {count} of a model; the one to read is {}",
                    own.saturating_add(1),
                    first.display()
                )));
            }
            for number in 1..count {
                let path = self.neighbour(number, count)?;
                let other = Self::parse(&path, &mapped(&path)?)?;
                self.add(other, (number, count))?;
            }
            let all = self.get(TENSORS).and_then(Value::as_u64);
            if let Some(all) = all.filter(|&all| all != self.tensors.len() as u64) {
                let found = self.tensors.len();
                return Err(self.bad(format!("{all} tensors should be in {count} files, which have {found}")));
            }
        }
        [NUMBER, COUNT, TENSORS].iter().for_each(|&key| drop(self.values.remove(key)));
        Ok(self)
    }

    /// Another file of the same model, by its number from 0.
    fn neighbour(&self, number: u64, count: u64) -> Result<PathBuf> {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let own = self.get(NUMBER).and_then(Value::as_u64).unwrap_or(0).saturating_add(1);
        let stem = name.strip_suffix(&format!("-{own:05}-of-{count:05}.gguf")).ok_or_else(|| {
            self.bad(format!(
                "a part of a model in {count} files is named as in model-{own:05}-of-{count:05}.gguf"
            ))
        })?;
        Ok(self.path.with_file_name(format!("{stem}-{:05}-of-{count:05}.gguf", number + 1)))
    }

    fn add(&mut self, other: Gguf, (number, count): (u64, u64)) -> Result<()> {
        if (other.number(NUMBER)?, other.number(COUNT)?) != (number, count) {
            return Err(
                other.bad(format!("it is not file {} of {count} of a model, as its name says", number + 1))
            );
        }
        let file = self.data.len();
        for (name, info) in other.tensors {
            if self.tensors.contains_key(&name) {
                return Err(self.bad(format!("the tensor `{name}` is in {}, too", other.path.display())));
            }
            self.tensors.insert(name, super::TensorInfo { file, ..info });
        }
        self.data.extend(other.data);
        Ok(())
    }
}
