//! Kiln's tokens, grammar, AST, spans, diagnostics and formatter.
