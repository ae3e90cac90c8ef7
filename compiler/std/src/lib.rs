//! The standard library of Kiln, written in Kiln.
