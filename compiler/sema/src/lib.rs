//! Kiln's names, types, shapes and constants: AST to Tile IR.
