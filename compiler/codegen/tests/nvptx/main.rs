//! GPU code generation, from Tile IR text to what ptxas and nvdisasm make of the PTX.

mod async_rules;
mod attention;
mod clusters;
mod counting;
mod epilogue;
mod executed;
mod persistent;
mod ping_pong;
mod pins;
mod products;
mod reductions;
mod refusals;
mod split_k;
mod support;
mod tf32;
mod warpgroups;
mod whole_language;
