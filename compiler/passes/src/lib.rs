//! Kiln's passes over Tile IR: one pass, one file.
