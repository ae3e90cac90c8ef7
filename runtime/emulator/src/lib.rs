//! A PTX machine with sanitizers and counters. Knows PTX, nothing of Kiln.
