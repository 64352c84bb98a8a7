//! Tables: rows of numbers, texts and dates as people keep them in CSV files, and their way into a network.
//!
//! A [`Table`] holds columns, with gaps where a value is missing. A [`Preparation`] is fitted on the rows to train on, and turns those
//! and any others into tensors by what it has learnt: means to fill gaps with, scales, the categories there are. It is kept beside
//! the model, since a model means nothing without it; fitting it on all rows, or anew on those to predict, is the usual way in
//! which knowledge of the test set leaks.
//!
//! ```
//! use cairn_datasets::table::{Preparation, TableReader};
//! let text = "sqm,kind,sold,price\n80,flat,2024-03-01,210\n,house,2023-07-15,350\n60,flat,2022-11-30,150\n";
//! let table = TableReader::csv().from_reader(text.as_bytes())?;
//! let preparation = Preparation::builder().numbers(["sqm"]).categories(["kind"]).dates(["sold"]).fit(&table)?;
//! let x = preparation.transform(&table)?; // standardised, the missing size is the mean of the others
//! assert_eq!(x.shape(), [3, preparation.names().len()]);
//! assert_eq!(preparation.names()[..4], ["sqm", "kind=flat", "kind=house", "kind unknown"]);
//! let price = table.targets("price")?;
//! assert_eq!(price.to_vec(), [210.0, 350.0, 150.0]);
//! # Ok::<(), cairn_datasets::Error>(())
//! ```
//!
//! For what databases do, joining, grouping, aggregating, write the result of a query as CSV: there are good tools for it.

mod columns;
mod prepare;
mod read;

pub use columns::{Column, Table};
pub use prepare::{Preparation, PreparationBuilder, Scaling};
pub use read::{ColumnType, TableReader};
