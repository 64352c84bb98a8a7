//! Part of Cairn.
