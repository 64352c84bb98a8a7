//! Fields of a row that may be lists, as those of Parquet and Arrow: a text, and where in it each element is.

use std::ops::Range;

/// The fields of a row, or why there are none.
pub(super) type Cells<'a, 'b> = Result<&'a [Cell<'b>], String>;

/// A field.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell<'a> {
    /// Of a list its elements with `|` between them, for who wants a text.
    pub(super) text: &'a str,
    elements: Option<&'a [Range<usize>]>,
}

impl<'a> Cell<'a> {
    /// A field that is no list.
    pub(super) fn of(text: &'a str) -> Self {
        Self { text, elements: None }
    }

    /// The elements of a list, each without surrounding blanks and whole, whatever is in it; none for what is no list.
    pub(super) fn elements(self) -> Option<impl Iterator<Item = &'a str>> {
        let Self { text, elements } = self;
        elements.map(move |elements| elements.iter().map(move |range| text[range.clone()].trim()))
    }
}

/// Hands on the texts of a row.
#[cfg(any(feature = "arrow", feature = "parquet"))]
pub(super) fn hand_texts(
    line: u64,
    cells: Cells<'_, '_>,
    each: &mut dyn FnMut(u64, super::Fields<'_, '_>) -> bool,
) -> bool {
    match cells {
        Ok(cells) => each(line, Ok(&cells.iter().map(|cell| cell.text).collect::<Vec<_>>())),
        Err(why) => each(line, Err(why)),
    }
}

/// Where a field is written, used again for every row.
#[cfg(any(feature = "arrow", feature = "parquet"))]
#[derive(Debug, Clone, Default)]
pub(super) struct Buffer {
    text: String,
    is_list: bool,
    elements: Vec<Range<usize>>,
}

#[cfg(any(feature = "arrow", feature = "parquet"))]
impl Buffer {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.is_list = false;
        self.elements.clear();
    }

    /// What is written from now on are elements, of one list, too, where lists are within lists.
    pub(super) fn list(&mut self) {
        self.is_list = true;
    }

    /// Writes the field, or the next element.
    pub(super) fn write(&mut self, value: impl FnOnce(&mut String)) {
        if self.is_list && !self.elements.is_empty() {
            self.text.push('|');
        }
        let start = self.text.len();
        value(&mut self.text);
        if self.is_list {
            self.elements.push(start..self.text.len());
        }
    }

    pub(super) fn cell(&self) -> Cell<'_> {
        Cell { text: &self.text, elements: self.is_list.then_some(&self.elements[..]) }
    }
}
