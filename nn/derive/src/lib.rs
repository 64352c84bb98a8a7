//! Derive macro for Cairn modules.
