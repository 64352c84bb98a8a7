//! `report.html`: one page with what a person would look at.
//!
//! Self-contained: style, plots and pictures are in the file, no script, nothing fetched, so that it opens from disk, can
//! be mailed, and still opens in ten years. Each kind of content is a small type in a file of its own that renders itself
//! through [`Block`]. Everything goes through maud, which escapes text by construction; film titles and file names are
//! other people's text.
//!
//! Plots are drawn here as SVG rather than by a plotting crate, because those write colours into the picture: with the
//! page's own classes one picture serves light and dark screens and takes its fonts from the page.

mod cells;
mod chart;
mod figures;
mod images;
mod page;
mod sample;
mod table;
mod weights;
mod words;

pub use cells::Confusion;
pub use chart::LineChart;
pub use figures::KeyFigures;
pub use images::{GreyImage, ImageGrid};
pub use page::{Section, page, summary};
pub use sample::Sample;
pub use table::Table;
pub use weights::Weights;
pub use words::ColouredWords;

/// Something that can be shown in the report.
pub trait Block: maud::Render {
    /// Whether it takes the full width of the page; two narrow blocks stand side by side on a wide screen.
    fn wide(&self) -> bool {
        false
    }
}
