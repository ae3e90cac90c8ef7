//! Kiln's Tile IR: entities, types, linear layouts, builder, verifier, text form, launch signatures.
