//! `.npy` files that are larger than memory: read by rows, and written row by row.
//!
//! A row is an entry along the first axis: a sample, as a rule. All have the same length and lie one after the other, so where a row
//! begins is known without an index, and to read one takes one read of the file, whatever was read before. What was read lately
//! is kept by the operating system as long as it has memory to spare, and counts to no limit on this program.

use std::fmt;
use std::io::{Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    AnyTensor, AtomicFile, DType, Element, File, Header, Path, Problem, Read, Result, Tensor, Write,
    decode_header, encode_elements, header_bytes, open,
};
use crate::Shape;

/// A `.npy` file whose rows are read when they are asked for, so that it may be far larger than memory. Cloning shares the file.
///
/// ```
/// use cairn_tensor::{NpyFile, NpyWriter, Tensor};
/// let path = std::env::temp_dir().join(format!("cairn-rows-{}.npy", std::process::id()));
/// let mut file = NpyWriter::<f32>::create(&path, [2])?;
/// for i in 0..1000 {
///     file.add(&Tensor::full([1, 2], i as f32)?)?;
/// }
/// file.finish()?;
/// let file = NpyFile::open(&path)?;
/// assert_eq!(file.shape(), [1000, 2]);
/// assert_eq!(file.rows(&[999, 7])?.downcast_ref::<f32>()?.to_vec(), [999.0, 999.0, 7.0, 7.0]);
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), cairn_tensor::Error>(())
/// ```
///
/// It is the file that NumPy's `np.save` and `np.lib.format.open_memmap` write and `np.load(path, mmap_mode="r")` reads.
#[derive(Debug, Clone)]
#[doc(alias("memmap", "mmap_mode", "open_memmap"))]
pub struct NpyFile {
    /// A read moves the place in the file, so that one thread reads at a time.
    file: Arc<Mutex<File>>,
    path: PathBuf,
    /// Where the elements begin.
    start: u64,
    big_endian: bool,
    dtype: DType,
    shape: Shape,
    /// The bytes of a row.
    row: usize,
}

impl NpyFile {
    /// Opens a file; its header alone is read.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) when it cannot be read, is no such file, has no rows (a single number), has elements of no
    /// type here, is longer or shorter than its header says, or has columns in place of rows one after the other (Fortran order).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        Self::read_header(path).map_err(|problem| problem.at("open_npy", path))
    }

    fn read_header(path: &Path) -> Result<Self, Problem> {
        let (mut file, length) = open(path)?;
        let header = decode_header(&mut file)?;
        let start = file.stream_position()?;
        let dtype = header.dtype();
        let Header { order, name, column_major, shape } = header;
        let dtype = dtype.filter(|_| ["<", ">", "|", "="].contains(&order.as_str()));
        let dtype =
            dtype.ok_or_else(|| Problem::new(format!("tensors have no elements of type {order}{name}")))?;
        if shape.is_empty() {
            return Err(Problem::new("a single number has no rows"));
        }
        if column_major && shape.len() > 1 {
            let why = "the columns lie one after the other, not the rows; NumPy's `np.ascontiguousarray` turns them";
            return Err(Problem::new(why));
        }
        let shape = Shape::from(&shape);
        let bytes = |shape: &Shape| {
            dtype.bytes_of(shape.count()).ok_or_else(|| Problem::new("the shape is too large"))
        };
        let (row, bytes) = (bytes(&Shape::from(&shape[1..]))?, bytes(&shape)?);
        if length - start != bytes as u64 {
            let why = format!("{} bytes of elements, of {bytes} that its header announces", length - start);
            return Err(Problem::new(why));
        }
        let file = Arc::new(Mutex::new(file.into_inner()));
        Ok(NpyFile { file, path: path.to_owned(), start, big_endian: order == ">", dtype, shape, row })
    }

    /// The shape of the whole, the number of rows first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// These rows, in this order: `[rows, …]`. Neighbours that are asked for one after the other are read together.
    ///
    /// # Errors
    /// [`Error::IndexOutOfRange`](crate::Error::IndexOutOfRange) for a row that it has not; [`Error::File`](crate::Error::File) when the file cannot be
    /// read, or was cut since it was opened; [`Error::OutOfMemory`](crate::Error::OutOfMemory) when memory cannot hold them.
    pub fn rows(&self, rows: &[usize]) -> Result<AnyTensor> {
        let size = self.shape[0];
        if let Some(position) = rows.iter().position(|&row| row >= size) {
            return Err(crate::Error::IndexOutOfRange { op: "rows", index: rows[position], position, size });
        }
        let mut bytes = self.read(rows).map_err(|problem| problem.at("read_npy", &self.path))?;
        if self.big_endian {
            bytes.chunks_exact_mut(self.dtype.size_in_bytes()).for_each(<[u8]>::reverse);
        }
        let mut shape = self.shape.to_vec();
        shape[0] = rows.len();
        AnyTensor::from_le_bytes(self.dtype, shape, &bytes)
    }

    /// The bytes of these rows.
    fn read(&self, rows: &[usize]) -> Result<Vec<u8>, Problem> {
        let row = self.row;
        let mut bytes = Vec::new();
        let full = |_| Problem::new(format!("no memory for {} rows of {row} bytes", rows.len()));
        bytes.try_reserve_exact(row.saturating_mul(rows.len())).map_err(full)?;
        bytes.resize(row * rows.len(), 0);
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = &mut bytes[..];
        for run in rows.chunk_by(|before, next| *next == before + 1) {
            let (into, after) = std::mem::take(&mut rest).split_at_mut(run.len() * row);
            file.seek(SeekFrom::Start(self.start + run[0] as u64 * row as u64))?;
            file.read_exact(into)?;
            rest = after;
        }
        Ok(bytes)
    }
}

/// Writes a `.npy` file row by row. What is there already is replaced when it is [finished](Self::finish), in one step, and stays if
/// it is dropped before.
pub struct NpyWriter<T: Element> {
    file: AtomicFile,
    path: PathBuf,
    item: Shape,
    rows: usize,
    /// The bytes of the header, which are kept free for the number of rows.
    header: usize,
    element: PhantomData<T>,
}

impl<T: Element> fmt::Debug for NpyWriter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, item, rows, .. } = self;
        f.debug_struct("NpyWriter")
            .field("path", path)
            .field("item", item)
            .field("rows", rows)
            .finish_non_exhaustive()
    }
}

impl<T: Element> NpyWriter<T> {
    /// Begins a file whose rows have this shape: `[]` for numbers.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) when the file cannot be made, or NumPy has no such element type.
    pub fn create(path: impl AsRef<Path>, item: impl Into<Shape>) -> Result<Self> {
        let (path, item) = (path.as_ref(), item.into());
        let begin = || -> Result<_, Problem> {
            let header = header_bytes::<T>(&shape(usize::MAX, &item), 0)?;
            let mut file = AtomicFile::create(path)?;
            file.write_all(&header)?;
            Ok((file, header.len()))
        };
        let (file, header) = begin().map_err(|problem| problem.at("write_npy", path))?;
        Ok(NpyWriter { file, path: path.to_owned(), item, rows: 0, header, element: PhantomData })
    }

    /// Adds rows: `[rows, …]`.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`](crate::Error::ShapeMismatch) for rows of another shape; [`Error::File`](crate::Error::File) when the file cannot be written.
    pub fn add(&mut self, rows: &Tensor<T>) -> Result<()> {
        let Some((count, _)) = rows.shape().split_first().filter(|(_, item)| **item == *self.item) else {
            let (lhs, rhs) = (self.item.clone(), rows.dims().clone());
            let why = "rows have the shape that the file was begun with, after their number";
            return Err(crate::Error::ShapeMismatch { op: "write_npy", lhs, rhs, why });
        };
        encode_elements(rows, &mut self.file).map_err(|problem| problem.at("write_npy", &self.path))?;
        self.rows += count;
        Ok(())
    }

    /// Writes the number of rows and puts the file in its place.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) when the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        let path = std::mem::take(&mut self.path);
        self.close().map_err(|problem| problem.at("write_npy", &path))
    }

    fn close(mut self) -> Result<(), Problem> {
        let header = header_bytes::<T>(&shape(self.rows, &self.item), self.header)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header)?;
        Ok(self.file.commit()?)
    }
}

/// The shape of so many rows.
fn shape(rows: usize, item: &[usize]) -> Vec<usize> {
    std::iter::once(rows).chain(item.iter().copied()).collect()
}
