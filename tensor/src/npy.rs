//! NumPy's `.npy` files, and with feature `npz` the `.npz` archives of them.
//!
//! The format (NumPy Enhancement Proposal 1): a magic number, a version, the length of a header, the header (a Python
//! dictionary with element type, order and shape), and the bare elements. Written in version 1.0, little-endian, row-major;
//! read in versions 1 to 3, either byte order, either storage order. Lengths in a header are not believed: no more memory
//! is taken than the file has bytes.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::path::Path;

use cairn_files::AtomicFile;

use crate::any::{ReadTyped, npy_name};
use crate::{AnyTensor, DType, Element, Error, Result, Shape, Tensor};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longer headers are not from NumPy.
const LONGEST_HEADER: usize = 1 << 20;

/// What is wrong with a file, before its path is known.
struct Problem {
    kind: ErrorKind,
    why: String,
}

impl Problem {
    fn new(why: impl Into<String>) -> Self {
        Problem { kind: ErrorKind::InvalidData, why: why.into() }
    }

    fn at(self, op: &'static str, path: &Path) -> Error {
        Error::File { op, path: path.display().to_string(), kind: self.kind, why: self.why }
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Problem { kind: error.kind(), why: error.to_string() }
    }
}

impl From<cairn_files::Error> for Problem {
    fn from(error: cairn_files::Error) -> Self {
        match error {
            cairn_files::Error::Io { source, .. } => source.into(),
            cairn_files::Error::Contents { message, .. } => Problem::new(message),
        }
    }
}

impl<T: Element> Tensor<T> {
    /// Reads a `.npy` file whose elements are of this type.
    ///
    /// ```
    /// use cairn_tensor::Tensor;
    /// let path = std::env::temp_dir().join(format!("cairn-{}.npy", std::process::id()));
    /// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2])?;
    /// x.t()?.write_npy(&path)?;
    /// assert_eq!(Tensor::read_npy(&path)?, x.t()?);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read, is no such file, is cut short, or holds another type.
    pub fn read_npy(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let read = || decode(&mut BufReader::new(File::open(path)?), u64::MAX);
        match read() {
            Ok(parts) => parts.tensor(),
            Err(problem) => Err(problem.at("read_npy", path)),
        }
    }

    /// Writes a `.npy` file, in one step: an old file is replaced only once the new one is complete.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be written, or NumPy has no such element type.
    pub fn write_npy(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let write = || -> Result<(), Problem> {
            let mut file = AtomicFile::create(path)?;
            encode(self, &mut file)?;
            Ok(file.commit()?)
        };
        write().map_err(|problem| problem.at("write_npy", path))
    }
}

/// Reads a file whose elements are of any type.
pub(crate) fn read_any(path: &Path) -> Result<AnyTensor> {
    let read = || decode_any(&mut BufReader::new(File::open(path)?), u64::MAX);
    read().map_err(|problem| problem.at("read_npy", path))
}

/// The contents of a file.
struct Parts<T> {
    shape: Vec<usize>,
    column_major: bool,
    data: Vec<T>,
}

impl<T: Element> Parts<T> {
    fn tensor(self) -> Result<Tensor<T>> {
        if !self.column_major {
            return Tensor::from_vec(self.data, self.shape);
        }
        let turned: Shape = self.shape.iter().rev().copied().collect();
        let order: Vec<usize> = (0..self.shape.len()).rev().collect();
        let x = Tensor::from_vec(self.data, turned)?;
        Ok(x.view(x.layout().permute(&order)))
    }
}

/// The type's name in a header, without the byte order: `f4`.
fn type_name<T: Element>() -> Result<&'static str, Problem> {
    T::NPY.ok_or_else(|| Problem::new(format!("NumPy has no type for {}", T::DTYPE)))
}

fn encode<T: Element>(x: &Tensor<T>, out: &mut impl Write) -> Result<(), Problem> {
    let name = type_name::<T>()?;
    let order = if size_of::<T>() == 1 { '|' } else { '<' };
    let sizes: Vec<String> = x.shape().iter().map(|size| format!("{size},")).collect();
    let shape = format!("({})", sizes.join(" "));
    let mut header = format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': {shape}, }}");
    // Padded so that the elements start at a multiple of 64 bytes; magic, version and length take 10.
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let len = u16::try_from(header.len()).map_err(|_| Problem::new("too many axes for a header"))?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&len.to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    let x = x.row_major().map_err(|error| Problem::new(error.to_string()))?;
    let mut bytes = Vec::new();
    for piece in x.chunks(1 << 14) {
        bytes.clear();
        piece.iter().for_each(|x| x.push_bytes(&mut bytes));
        out.write_all(&bytes)?;
    }
    Ok(())
}

/// What stands before the elements.
struct Header {
    /// `<`, `>`, `|` or `=`.
    order: String,
    /// The type without the order: `f4`.
    name: String,
    column_major: bool,
    shape: Vec<usize>,
}

fn decode_header(input: &mut impl Read) -> Result<Header, Problem> {
    let mut start = [0; 8];
    input.read_exact(&mut start)?;
    if start[..6] != *MAGIC {
        return Err(Problem::new("this is not a .npy file"));
    }
    let len = match start[6] {
        1 => {
            let mut len = [0; 2];
            input.read_exact(&mut len)?;
            u16::from_le_bytes(len).into()
        }
        2 | 3 => {
            let mut len = [0; 4];
            input.read_exact(&mut len)?;
            u32::from_le_bytes(len) as usize
        }
        version => return Err(Problem::new(format!("version {version} of the format is not known"))),
    };
    if len > LONGEST_HEADER {
        return Err(Problem::new(format!("a header of {len} bytes")));
    }
    let mut header = vec![0; len];
    input.read_exact(&mut header)?;
    let header = String::from_utf8_lossy(&header);
    let found = |key: &str| {
        let value = header.split_once(&format!("'{key}':")).map(|(_, rest)| rest.trim_start());
        value.ok_or_else(|| Problem::new(format!("the header has no {key}")))
    };
    let described = found("descr")?.strip_prefix('\'').and_then(|rest| rest.split_once('\''));
    let described = described.map(|(name, _)| name).ok_or_else(|| Problem::new("structured elements"))?;
    let (order, name) = described.split_at_checked(1).unwrap_or_default();
    let column_major = found("fortran_order")?.starts_with("True");
    let sizes = found("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (sizes, _) = sizes.ok_or_else(|| Problem::new("the header's shape cannot be read"))?;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Result<Vec<usize>, _> = sizes.map(str::parse).collect();
    let shape = shape.map_err(|_| Problem::new("the header's shape cannot be read"))?;
    Ok(Header { order: order.to_owned(), name: name.to_owned(), column_major, shape })
}

impl Header {
    /// The type of the elements, if tensors can have it.
    fn dtype(&self) -> Option<DType> {
        DType::ALL.iter().copied().find(|&dtype| npy_name(dtype) == Some(self.name.as_str()))
    }
}

/// Reads a tensor of the given type, of at most `limit` bytes.
fn decode<T: Element>(input: &mut impl Read, limit: u64) -> Result<Parts<T>, Problem> {
    decode_elements(decode_header(input)?, input, limit)
}

/// Reads a tensor of the type that the file names, of at most `limit` bytes.
fn decode_any(input: &mut impl Read, limit: u64) -> Result<AnyTensor, Problem> {
    struct Elements<'a, R>(Header, &'a mut R, u64);
    impl<R: Read> ReadTyped<Problem> for Elements<'_, R> {
        fn read<T: Element>(self) -> Result<Tensor<T>, Problem> {
            let parts = decode_elements::<T>(self.0, self.1, self.2)?;
            parts.tensor().map_err(|error| Problem::new(error.to_string()))
        }
    }
    let header = decode_header(input)?;
    let Some(dtype) = header.dtype() else {
        let Header { order, name, .. } = header;
        return Err(Problem::new(format!("tensors have no elements of type {order}{name}")));
    };
    AnyTensor::try_of(dtype, Elements(header, input, limit))
}

fn decode_elements<T: Element>(
    header: Header,
    input: &mut impl Read,
    limit: u64,
) -> Result<Parts<T>, Problem> {
    let Header { order, name, column_major, shape } = header;
    if name != type_name::<T>()? || !["<", ">", "|", "="].contains(&order.as_str()) {
        return Err(Problem::new(format!("the elements are {order}{name}, not {}", T::DTYPE)));
    }
    let count = Shape::from(&shape).count();
    let bytes = count.checked_mul(size_of::<T>()).ok_or_else(|| Problem::new("the shape is too large"))?;
    if bytes as u64 > limit {
        return Err(Problem::new(format!("{bytes} bytes of elements; no more than {limit} are read")));
    }
    // `take` and a growing buffer: what the header promises is not allocated before it has been read.
    let mut data = Vec::new();
    input.take(bytes as u64).read_to_end(&mut data)?;
    if data.len() < bytes {
        let why = format!("cut short: {} of {bytes} bytes of elements", data.len());
        return Err(Problem { kind: ErrorKind::UnexpectedEof, why });
    }
    let element = |bytes| T::from_bytes(bytes, order == ">");
    let data: Option<Vec<T>> = data.chunks_exact(size_of::<T>()).map(element).collect();
    let data = data.ok_or_else(|| Problem::new("a truth value that is neither 0 nor 1"))?;
    Ok(Parts { shape, column_major, data })
}

#[cfg(feature = "npz")]
pub use archive::{NpzReader, NpzWriter};

/// `.npz`: a zip archive of `.npy` files.
#[cfg(feature = "npz")]
mod archive {
    use std::path::PathBuf;

    use zip::write::SimpleFileOptions;
    use zip::{ZipArchive, ZipWriter};

    use super::{
        AnyTensor, AtomicFile, BufReader, DType, Element, File, Path, Problem, Read, Result, Tensor, decode,
        decode_any, decode_header, encode,
    };

    /// Reads tensors by name from a `.npz` archive.
    ///
    /// ```
    /// use cairn_tensor::{NpzReader, NpzWriter, Tensor};
    /// let path = std::env::temp_dir().join(format!("cairn-{}.npz", std::process::id()));
    /// let mut archive = NpzWriter::create(&path)?;
    /// archive.add("weights", &Tensor::<f32>::ones([2, 2])?)?;
    /// archive.add("steps", &Tensor::scalar(7i64))?;
    /// archive.finish()?;
    /// let mut archive = NpzReader::open(&path)?;
    /// assert_eq!(archive.names(), ["weights", "steps"]);
    /// assert_eq!(archive.read::<i64>("steps")?.item()?, 7);
    /// # std::fs::remove_file(&path).unwrap();
    /// # Ok::<(), cairn_tensor::Error>(())
    /// ```
    #[derive(Debug)]
    pub struct NpzReader {
        path: PathBuf,
        archive: ZipArchive<BufReader<File>>,
        limit: u64,
    }

    impl NpzReader {
        /// Opens an archive.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when it cannot be read or is no archive.
        pub fn open(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref().to_owned();
            let open = || -> Result<_, Problem> {
                ZipArchive::new(BufReader::new(File::open(&path)?)).map_err(|e| Problem::new(e.to_string()))
            };
            match open() {
                Ok(archive) => Ok(NpzReader { path, archive, limit: u64::MAX }),
                Err(problem) => Err(problem.at("open_npz", &path)),
            }
        }

        /// With at most `bytes` of elements in a tensor: larger ones are refused before they are unpacked. A
        /// compressed archive may hold a thousand times its own size.
        #[must_use]
        pub fn limit(self, bytes: u64) -> Self {
            NpzReader { limit: bytes, ..self }
        }

        /// The names of its tensors.
        pub fn names(&self) -> Vec<String> {
            self.archive
                .file_names()
                .filter_map(|name| Some(name.ok()?.strip_suffix(".npy")?.to_owned()))
                .collect()
        }

        /// The type of a tensor's elements, or `None` when it is one that tensors here cannot have.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when there is none of that name, or its header cannot be read.
        pub fn dtype(&mut self, name: &str) -> Result<Option<DType>> {
            self.entry(name, |mut file, _| Ok(decode_header(&mut file)?.dtype()))
        }

        /// Reads one tensor.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when there is none of that name; as [`Tensor::read_npy`].
        pub fn read<T: Element>(&mut self, name: &str) -> Result<Tensor<T>> {
            self.entry(name, |mut file, limit| decode(&mut file, limit))?.tensor()
        }

        /// Reads one tensor, in the type that it has in the archive.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when there is none of that name; as [`AnyTensor::read_npy`].
        pub fn read_any(&mut self, name: &str) -> Result<AnyTensor> {
            self.entry(name, |mut file, limit| decode_any(&mut file, limit))
        }

        /// What `read` makes of a tensor's file, given the limit of bytes as well.
        fn entry<R>(
            &mut self,
            name: &str,
            read: impl FnOnce(&mut dyn Read, u64) -> Result<R, Problem>,
        ) -> Result<R> {
            let file = self.archive.by_name(&format!("{name}.npy")).map_err(|e| Problem::new(e.to_string()));
            let read = file.and_then(|mut file| read(&mut file, self.limit));
            read.map_err(|problem| {
                let problem = Problem { why: format!("{name}: {}", problem.why), ..problem };
                problem.at("read_npz", &self.path)
            })
        }
    }

    /// Writes tensors by name into a `.npz` archive, compressed. The file is there, whole, once it is
    /// [finished](Self::finish); dropped before, it leaves what was there.
    #[derive(Debug)]
    pub struct NpzWriter {
        path: PathBuf,
        archive: ZipWriter<AtomicFile>,
    }

    impl NpzWriter {
        /// Starts an archive.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when it cannot be written.
        pub fn create(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref().to_owned();
            match AtomicFile::create(&path) {
                Ok(file) => Ok(NpzWriter { path, archive: ZipWriter::new(file) }),
                Err(error) => Err(Problem::from(error).at("create_npz", &path)),
            }
        }

        /// Adds a tensor.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when it cannot be written, or NumPy has no such element type.
        pub fn add<T: Element>(&mut self, name: &str, x: &Tensor<T>) -> Result<()> {
            let mut add = || -> Result<(), Problem> {
                let options = SimpleFileOptions::default().large_file(x.len() > 1 << 28);
                let started = self.archive.start_file(format!("{name}.npy"), options);
                started.map_err(|e| Problem::new(e.to_string()))?;
                encode(x, &mut self.archive)
            };
            add().map_err(|problem| problem.at("write_npz", &self.path))
        }

        /// Adds a tensor of any type.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when it cannot be written, or NumPy has no such element type.
        pub fn add_any(&mut self, name: &str, x: &AnyTensor) -> Result<()> {
            x.add_to(self, name)
        }

        /// Writes the archive's directory, and puts the file in its place.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when it cannot be written.
        pub fn finish(self) -> Result<()> {
            let path = self.path;
            let finish = || -> Result<(), Problem> {
                let file = self.archive.finish().map_err(|e| Problem::new(e.to_string()))?;
                Ok(file.commit()?)
            };
            finish().map_err(|problem| problem.at("write_npz", &path))
        }
    }
}
