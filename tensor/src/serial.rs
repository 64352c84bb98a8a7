//! Serde: a tensor is its shape and its elements in row-major order. A length that does not fit the shape is an error of
//! the format that is read.

use serde::de::Error as _;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Element, Shape, Tensor};

impl<T: Element + Serialize> Serialize for Tensor<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut state = serializer.serialize_struct("Tensor", 2)?;
        state.serialize_field("shape", self.dims())?;
        match self.as_slice() {
            Some(data) => state.serialize_field("data", data)?,
            None => state.serialize_field("data", &self.to_vec())?,
        }
        state.end()
    }
}

impl<'de, T: Element + Deserialize<'de>> Deserialize<'de> for Tensor<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Tensor")]
        struct Parts<T> {
            shape: Shape,
            data: Vec<T>,
        }
        let Parts { shape, data } = Parts::deserialize(deserializer)?;
        Tensor::from_vec(data, shape).map_err(D::Error::custom)
    }
}
