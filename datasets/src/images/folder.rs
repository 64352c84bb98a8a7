//! Folders of PNG and JPEG files, a folder for each class, through the `image` crate.
//!
//! Everything is decoded once and kept as bytes, like any [`ImageDataset`]. Files may come from strangers: what one may
//! take in pixels and memory is limited before it is decoded, and so is the whole.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageReader, Limits, imageops::FilterType};

use crate::error::{Error, Result};
use crate::files;
use crate::images::{ImageDataset, jpeg};

/// Labelled images on disk: `root/CLASS/FILE.png`, `.jpg` or `.jpeg`, as torchvision's `ImageFolder` has them.
///
/// Classes are the folders in the order of their names, samples the files of each class in the order of theirs; whatever
/// begins with a dot, and files with other endings, are passed over. Folders within a class are not looked into. Images become
/// colour (or [`grey`](Self::grey)) of 8 bits; transparency is dropped, and a camera's note on orientation not obeyed.
///
/// ```no_run
/// use cairn_datasets::ImageFolder;
/// let (images, classes) = ImageFolder::new("pets").resize(64, 64).load()?;
/// assert_eq!(images.size(), [64, 64, 3]);
/// println!("{} is label 0", classes[0]);
/// # Ok::<(), cairn_datasets::Error>(())
/// ```
#[doc(alias("image_dataset_from_directory", "imagefolder"))]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFolder {
    root: PathBuf,
    /// Height and width.
    size: Option<[u32; 2]>,
    grey: bool,
    max_side: u32,
    max_bytes: u64,
}

impl ImageFolder {
    /// The images below this folder, in colour and in their own size, which must be the same for all.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        ImageFolder { root: root.into(), size: None, grey: false, max_side: 8192, max_bytes: 4 << 30 }
    }

    /// Brings all images to this height and width, bilinear and averaging where they shrink; proportions are not kept.
    #[must_use]
    pub fn resize(mut self, height: u32, width: u32) -> Self {
        self.size = Some([height, width]);
        self
    }

    /// One channel of brightness instead of three of colour.
    #[must_use]
    pub fn grey(mut self) -> Self {
        self.grey = true;
        self
    }

    /// The longest side a file may have, 8192 pixels by default.
    #[must_use]
    pub fn max_side(mut self, pixels: u32) -> Self {
        self.max_side = pixels;
        self
    }

    /// The memory that all images together may take, 4 GiB by default. Decoding one takes at most as much on top, and
    /// never more than 512 MiB.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Reads all images. The second value has the names of the classes, by label.
    ///
    /// # Errors
    /// [`Error::Io`] when a folder or file cannot be read; [`Error::Format`] naming the file for one that is damaged, neither
    /// PNG nor JPEG, beyond the limits, or of another size than the first without [`resize`](Self::resize), and the folder
    /// for a class without images; [`Error::Empty`] when there are no classes; [`Error::Argument`] for a size of 0.
    pub fn load(&self) -> Result<(ImageDataset, Vec<String>)> {
        if let Some(size) = self.size.filter(|size| size.contains(&0)) {
            return Err(Error::argument("ImageFolder", format!("images cannot be resized to {size:?}")));
        }
        let folders: Vec<PathBuf> = list(&self.root)?.into_iter().filter(|path| path.is_dir()).collect();
        if folders.is_empty() {
            return Err(Error::Empty { what: "ImageFolder" });
        }
        let (mut pixels, mut labels, mut size) = (Vec::new(), Vec::new(), self.size);
        for (label, folder) in (0u32..).zip(&folders) {
            let before = labels.len();
            for path in list(folder)?.into_iter().filter(|path| is_image(path)) {
                self.add(&path, &mut size, &mut pixels)?;
                labels.push(label);
            }
            if labels.len() == before {
                return Err(Error::format(folder, "a class without PNG or JPEG files"));
            }
        }
        let [height, width] = size.unwrap_or_default().map(|side| side as usize);
        let images = ImageDataset::new([height, width, self.channels()], pixels, labels, folders.len())?;
        Ok((images, folders.iter().map(|folder| name(folder)).collect()))
    }

    fn channels(&self) -> usize {
        if self.grey { 1 } else { 3 }
    }

    /// Appends the pixels of one file; the first decides the size if none was asked for.
    fn add(&self, path: &Path, size: &mut Option<[u32; 2]>, pixels: &mut Vec<u8>) -> Result<()> {
        let image = self.decode(path)?;
        let own = [image.height(), image.width()];
        let [height, width] = *size.get_or_insert(own);
        if self.size.is_none() && own != [height, width] {
            let message = format!(
                "{} x {} pixels where others have {height} x {width}; `resize` brings them to one size",
                own[0], own[1]
            );
            return Err(Error::format(path, message));
        }
        let bytes = u64::from(height) * u64::from(width) * self.channels() as u64;
        if bytes.saturating_add(pixels.len() as u64) > self.max_bytes {
            let message = format!("with it the images take more than {} bytes", self.max_bytes);
            return Err(Error::format(path, message));
        }
        let image = if own == [height, width] {
            image
        } else {
            image.resize_exact(width, height, FilterType::Triangle)
        };
        if self.grey {
            pixels.extend(image.into_luma8().into_raw());
        } else {
            pixels.extend(image.into_rgb8().into_raw());
        }
        Ok(())
    }

    fn decode(&self, path: &Path) -> Result<DynamicImage> {
        let file = fs::File::open(path).map_err(Error::io("open", path))?;
        let bytes = cairn_files::read_limited(file, self.max_bytes).map_err(files::error(path))?;
        if jpeg::is_jpeg(&bytes) && !jpeg::is_whole(&bytes) {
            return Err(Error::format(path, "not a readable image: the file ends too early (truncated?)"));
        }
        let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
        let mut reader = reader.map_err(Error::io("read", path))?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(self.max_side);
        limits.max_image_height = Some(self.max_side);
        limits.max_alloc = Some(self.max_bytes.min(512 << 20));
        reader.limits(limits);
        reader.decode().map_err(|e| Error::format(path, format!("not a readable image: {}", one_line(&e))))
    }
}

/// A decoder's message, which may have line ends, at its end too.
fn one_line(error: &image::ImageError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What is in a folder, by name, without what is hidden.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        paths.push(entry.map_err(Error::io("list", folder))?.path());
    }
    paths.retain(|path| !name(path).starts_with('.'));
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_ascii_lowercase();
    ["png", "jpg", "jpeg"].iter().any(|known| ending == *known) && path.is_file()
}
