//! NumPy's `.npy` files, and with feature `npz` the `.npz` archives of them.
//!
//! The format (NumPy Enhancement Proposal 1): a magic number, a version, the length of a header, the header (a Python
//! dictionary with element type, order and shape), and the bare elements. Written in version 1.0, little-endian, row-major;
//! read in versions 1 to 3, either byte order, either storage order, and as older writers and other programs spell the header
//! (`3L`, double quotes, blanks). Lengths in a header are not believed: no more memory is taken than the file has bytes, and of an
//! archive no more than a multiple of its own.

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
        let read = || -> Result<Parts<T>, Problem> {
            let (mut file, length) = open(path)?;
            decode(&mut file, Limit { most: u64::MAX, held: length })
        };
        match read() {
            Ok(parts) => parts.tensor(),
            Err(problem) => Err(problem.at("read_npy", path)),
        }
    }

    /// Writes a `.npy` file, in one step: an old file is replaced only once the new one is complete. A link is replaced by the file,
    /// not followed.
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
    let read = || -> Result<AnyTensor, Problem> {
        let (mut file, length) = open(path)?;
        decode_any(&mut file, Limit { most: u64::MAX, held: length })
    };
    read().map_err(|problem| problem.at("read_npy", path))
}

/// A file and its length.
fn open(path: &Path) -> Result<(BufReader<File>, u64), Problem> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((BufReader::new(file), length))
}

/// How many bytes of elements are read.
#[derive(Clone, Copy)]
struct Limit {
    /// More are refused.
    most: u64,
    /// So many the file can hold: memory is taken for these before they are read.
    held: u64,
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
    out.write_all(&header_bytes::<T>(x.shape(), 0)?)?;
    encode_elements(x, out)
}

/// All that stands before the elements, in at least so many bytes.
fn header_bytes<T: Element>(shape: &[usize], least: usize) -> Result<Vec<u8>, Problem> {
    let name = type_name::<T>()?;
    let order = if size_of::<T>() == 1 { '|' } else { '<' };
    let sizes: Vec<String> = shape.iter().map(|size| format!("{size},")).collect();
    let shape = format!("({})", sizes.join(" "));
    let mut header = format!("{{'descr': '{order}{name}', 'fortran_order': False, 'shape': {shape}, }}");
    // Padded so that the elements start at a multiple of 64 bytes; magic, version and length take 10.
    while !(10 + header.len() + 1).is_multiple_of(64) || 10 + header.len() + 1 < least {
        header.push(' ');
    }
    header.push('\n');
    let len = u16::try_from(header.len()).map_err(|_| Problem::new("too many axes for a header"))?;
    Ok([&MAGIC[..], &[1, 0], &len.to_le_bytes(), header.as_bytes()].concat())
}

fn encode_elements<T: Element>(x: &Tensor<T>, out: &mut impl Write) -> Result<(), Problem> {
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
    Literal(&String::from_utf8_lossy(&header)).header()
}

/// What is left of a header, which is a Python dictionary.
struct Literal<'a>(&'a str);

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header, Problem> {
        let (mut descr, mut column_major, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.eat('}') {
            let key = self.text()?;
            self.expect(':')?;
            match key {
                "descr" if self.starts_with('[') => return Err(Problem::new("structured elements")),
                "descr" => descr = Some(self.text()?),
                "fortran_order" => column_major = Some(self.truth()?),
                "shape" => shape = Some(self.sizes()?),
                _ => return Err(Problem::new(format!("the header has an unknown key `{key}`"))),
            }
            if !self.eat(',') && !self.starts_with('}') {
                return Err(Problem::new("the header cannot be read"));
            }
        }
        let missing = |key: &str| Problem::new(format!("the header has no {key}"));
        let (order, name) = descr.ok_or_else(|| missing("descr"))?.split_at_checked(1).unwrap_or_default();
        let (order, name) = (order.to_owned(), name.to_owned());
        let column_major = column_major.ok_or_else(|| missing("fortran_order"))?;
        Ok(Header { order, name, column_major, shape: shape.ok_or_else(|| missing("shape"))? })
    }

    fn starts_with(&mut self, sign: char) -> bool {
        self.0 = self.0.trim_start();
        self.0.starts_with(sign)
    }

    fn eat(&mut self, sign: char) -> bool {
        let found = self.starts_with(sign);
        if found {
            self.0 = &self.0[sign.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, sign: char) -> Result<(), Problem> {
        if self.eat(sign) {
            Ok(())
        } else {
            Err(Problem::new(format!("the header cannot be read: no `{sign}`")))
        }
    }

    /// A text between quotes of either kind.
    fn text(&mut self) -> Result<&'a str, Problem> {
        let wrong = || Problem::new("the header cannot be read: no text between quotes");
        let quote = ['\'', '"'].into_iter().find(|&quote| self.eat(quote)).ok_or_else(wrong)?;
        let (text, rest) = self.0.split_once(quote).ok_or_else(wrong)?;
        self.0 = rest;
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, Problem> {
        self.0 = self.0.trim_start();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.0.strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err(Problem::new("the header's fortran_order is neither True nor False"))
    }

    /// A tuple of whole numbers, which Python 2 wrote with an `L` behind them.
    fn sizes(&mut self) -> Result<Vec<usize>, Problem> {
        let wrong = || Problem::new("the header's shape cannot be read");
        self.expect('(')?;
        let (sizes, rest) = self.0.split_once(')').ok_or_else(wrong)?;
        self.0 = rest;
        let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
        sizes.map(|size| size.trim_end_matches('L').parse().map_err(|_| wrong())).collect()
    }
}

impl Header {
    /// The type of the elements, if tensors can have it.
    fn dtype(&self) -> Option<DType> {
        DType::ALL.iter().copied().find(|&dtype| npy_name(dtype) == Some(self.name.as_str()))
    }
}

/// Reads a tensor of the given type.
fn decode<T: Element>(input: &mut impl Read, limit: Limit) -> Result<Parts<T>, Problem> {
    decode_elements(decode_header(input)?, input, limit)
}

/// Reads a tensor of the type that the file names.
fn decode_any(input: &mut impl Read, limit: Limit) -> Result<AnyTensor, Problem> {
    struct Elements<'a, R>(Header, &'a mut R, Limit);
    impl<R: Read> ReadTyped<Problem> for Elements<'_, R> {
        fn read<T: Element>(self) -> Result<Tensor<T>, Problem> {
            let parts = decode_elements::<T>(self.0, self.1, self.2)?;
            parts.tensor().map_err(|error| Problem::new(error.to_string()))
        }
    }
    let header = decode_header(input)?;
    let unknown = Problem::new(format!("tensors have no elements of type {}{}", header.order, header.name));
    let Some(dtype) = header.dtype() else { return Err(unknown) };
    AnyTensor::try_of(dtype, Elements(header, input, limit)).unwrap_or(Err(unknown))
}

fn decode_elements<T: Element>(
    header: Header,
    input: &mut impl Read,
    limit: Limit,
) -> Result<Parts<T>, Problem> {
    /// Elements turned at a time.
    const PIECE: usize = 1 << 14;
    let Header { order, name, column_major, shape } = header;
    if name != type_name::<T>()? || !["<", ">", "|", "="].contains(&order.as_str()) {
        let (dtype, cure) = (T::DTYPE, "`AnyTensor::read_npy` reads any type, and its `cast` turns it");
        return Err(Problem::new(format!("the elements are {order}{name}, not {dtype}; {cure}")));
    }
    let count = Shape::from(&shape).count();
    let bytes = count.checked_mul(size_of::<T>()).ok_or_else(|| Problem::new("the shape is too large"))?;
    if bytes as u64 > limit.most {
        let most = limit.most;
        return Err(Problem::new(format!("{bytes} bytes of elements; no more than {most} are read")));
    }
    let mut data = Vec::new();
    // What the file cannot hold is not taken memory for before it has been read.
    let held = usize::try_from(limit.held).unwrap_or(usize::MAX) / size_of::<T>();
    let full =
        |_| Problem { kind: ErrorKind::OutOfMemory, why: format!("no memory for {bytes} bytes of elements") };
    data.try_reserve_exact(count.min(held)).map_err(full)?;
    let mut piece = Vec::new();
    while data.len() < count {
        let wanted = PIECE.min(count - data.len()) * size_of::<T>();
        piece.clear();
        input.by_ref().take(wanted as u64).read_to_end(&mut piece)?;
        if piece.len() < wanted {
            let read = data.len() * size_of::<T>() + piece.len();
            let why = format!("cut short: {read} of {bytes} bytes of elements");
            return Err(Problem { kind: ErrorKind::UnexpectedEof, why });
        }
        for element in piece.chunks_exact(size_of::<T>()) {
            let element = T::from_bytes(element, order == ">");
            data.push(element.ok_or_else(|| Problem::new("a truth value that is neither 0 nor 1"))?);
        }
    }
    Ok(Parts { shape, column_major, data })
}

mod rows;

#[cfg(feature = "npz")]
pub use archive::{NpzReader, NpzWriter};
pub use rows::{NpyFile, NpyWriter};

/// `.npz`: a zip archive of `.npy` files.
#[cfg(feature = "npz")]
mod archive {
    use std::io::{self, Seek, SeekFrom, Write};
    use std::path::PathBuf;

    use cairn_files::Budget;
    use zip::write::SimpleFileOptions;
    use zip::{ZipArchive, ZipWriter};

    use super::{
        AnyTensor, AtomicFile, BufReader, DType, Element, File, Limit, Path, Problem, Read, Result, Tensor,
        decode, decode_any, decode_header, encode,
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
        /// Opens an archive. A tensor of it may have twenty times the bytes of the whole archive and 56 MiB, unless
        /// [`limit`](Self::limit) says otherwise.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when it cannot be read or is no archive.
        pub fn open(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref().to_owned();
            let open = || -> Result<_, Problem> {
                let (file, length) = super::open(&path)?;
                let archive = ZipArchive::new(file).map_err(|e| Problem::new(e.to_string()))?;
                Ok((archive, Budget::of_length(length).left()))
            };
            match open() {
                Ok((archive, limit)) => Ok(NpzReader { path, archive, limit }),
                Err(problem) => Err(problem.at("open_npz", &path)),
            }
        }

        /// With at most `bytes` of elements in a tensor: larger ones are refused before they are unpacked. A
        /// compressed archive may hold a thousand times its own size; one of zeros that can be trusted does.
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
            read: impl FnOnce(&mut dyn Read, Limit) -> Result<R, Problem>,
        ) -> Result<R> {
            let file = self.archive.by_name(&format!("{name}.npy")).map_err(|e| Problem::new(e.to_string()));
            let limit = Limit { most: self.limit, held: self.limit };
            let read = file.and_then(|mut file| read(&mut file, limit));
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
        archive: ZipWriter<Sink>,
    }

    /// The file behind an archive. After it has refused something, which was said, it takes all and only counts: the archive tries
    /// to finish itself when it is dropped, and would print that it cannot.
    #[derive(Debug)]
    struct Sink {
        file: AtomicFile,
        refused: bool,
        position: u64,
        end: u64,
    }

    impl Sink {
        fn new(file: AtomicFile) -> Self {
            Sink { file, refused: false, position: 0, end: 0 }
        }

        /// What the file answers, or, once it has refused something, what it would.
        fn ask<R>(&mut self, would: R, act: impl FnOnce(&mut AtomicFile) -> io::Result<R>) -> io::Result<R> {
            if self.refused {
                return Ok(would);
            }
            let answer = act(&mut self.file);
            self.refused = answer.as_ref().is_err_and(|e| e.kind() != io::ErrorKind::Interrupted);
            answer
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = self.ask(bytes.len(), |file| file.write(bytes))?;
            self.position += written as u64;
            self.end = self.end.max(self.position);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.ask((), Write::flush)
        }
    }

    impl Seek for Sink {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            let would = match to {
                SeekFrom::Start(position) => position,
                SeekFrom::Current(by) => self.position.saturating_add_signed(by),
                SeekFrom::End(by) => self.end.saturating_add_signed(by),
            };
            self.position = self.ask(would, |file| file.seek(to))?;
            Ok(self.position)
        }
    }

    impl NpzWriter {
        /// Starts an archive.
        ///
        /// # Errors
        /// [`Error::File`](crate::Error::File) when it cannot be written.
        pub fn create(path: impl AsRef<Path>) -> Result<Self> {
            let path = path.as_ref().to_owned();
            match AtomicFile::create(&path) {
                Ok(file) => {
                    let archive = ZipWriter::new(Sink::new(file));
                    Ok(NpzWriter { path, archive })
                }
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
                let sink = self.archive.finish().map_err(|e| Problem::new(e.to_string()))?;
                if sink.refused {
                    return Err(Problem::new("what came before could not be written"));
                }
                Ok(sink.file.commit()?)
            };
            finish().map_err(|problem| problem.at("write_npz", &path))
        }
    }
}
