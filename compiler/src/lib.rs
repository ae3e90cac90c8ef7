//! Kiln's one public entry to compilation: sessions, options, artifacts.
