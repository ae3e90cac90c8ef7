//! The command line.

use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum};

const TOP_HELP: &str = "\
Examples:
  kiln check softmax.kiln
  kiln run softmax.kiln --arg 'x=randn(4096,4096):f32' --out y=y.npy --repeat 20
  kiln build softmax.kiln --const BLOCK=1024 --emit ptx --target sm_90a
  kiln emu kernel.ptx --grid 4 --block 128 --arg out:f32[512]=none
  kiln explain K1002

Environment:
  KILN_DEVICE        device that kernels run on: cpu, cpu:checked, cuda, cuda:1, emulator, emulator:sm_80,random=3
  KILN_NUM_THREADS   worker threads of the CPU
  KILN_CACHE_DIR     directory of the compilation cache, or `off`
  KILN_CACHE_SIZE    its bound, such as 500M (2G unless told)
  KILN_TUNE_DIR      directory of tuning results, or `off` (`tune` in the cache's directory unless told)
  KILN_REMOTE        URL of a store behind the cache that machines share: fs:///shared/kiln, s3://bucket/prefix";

/// Compiler and runner for Kiln, a tile language for GPU kernels.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, after_help = TOP_HELP, max_term_width = 100, subcommand_required = true)]
pub struct Options {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub struct Common {
    /// How diagnostics are written
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human")]
    pub message_format: MessageFormat,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// Say less: errors and what was asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MessageFormat {
    /// Text for people
    Human,
    /// One JSON object a line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// Where the output is a terminal and NO_COLOR is not set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check kernel files: syntax, names, types, shapes
    #[command(after_help = "\
Every item is checked, used or not, generically where it is generic. Warnings do not fail unless denied.

Examples:
  kiln check kernels/*.kiln
  kiln check softmax.kiln --deny warnings
  kiln check softmax.kiln --message-format json")]
    Check(CheckOptions),
    /// Compile a kernel and show or write what comes of it
    #[command(after_help = "\
A kernel is compiled for the types, constants and shapes of a launch. Give the arguments as for `run`, or shapes alone
(`--arg 'x=f16[4096,4096]'`), or nothing: then a typical launch is assumed (aligned dense tensors, extents divisible by 16,
f32 for open types), and constants without a value are asked for.

Examples:
  kiln build softmax.kiln --arg 'x=f32[64,1000]' --arg 'y=f32[64,1000]' --emit tile-ir
  kiln build softmax.kiln --dim N=1000 --emit asm -o softmax.s
  kiln build matmul.kiln --kernel matmul --type T=f16 --emit ptx --target sm_90a
  kiln build matmul.kiln --kernel matmul --type T=f16 --emit sass --target sm_80
  kiln build matmul.kiln --emit tile-ir --print-after canonicalize --stop-after cse
  kiln build matmul.kiln --target sm_90a --emit layouts --stop-after roles
  kiln build matmul.kiln --time-passes")]
    Build(BuildOptions),
    /// Run a kernel on arrays
    #[command(after_help = "\
Arguments:
  x=@x.npy                     a file: .npy, .npz (x=@a.npz:entry), .safetensors (x=@a.safetensors:entry)
  x=@text.txt:u8               any file's bytes as elements of a type, with a shape if need be: x=@image.raw:u8[480,640]
  x=randn(4096,4096):f16       made data: zeros, ones, full(DIMS, value=V), arange(N), arange(LO..HI),
                               rand(DIMS, lo=0, hi=1), randn(DIMS, mean=0, std=1), randint(LO..HI, DIMS)
  eps=1e-5                     a number
Parameters that the kernel writes need no argument if --out names them and their shape follows from the others.
Constants and types that the arguments determine need not be given.

Examples:
  kiln run softmax.kiln --kernel softmax --arg 'x=randn(4096,4096):f32' --out y=y.npy
  kiln run softmax.kiln --kernel softmax --arg x=@x.npy --out y --check y=reference.npy --rtol 1e-5
  kiln run matmul.kiln --kernel matmul --arg 'a=rand(512,256)' --arg 'b=rand(256,512)' --out c --const BM=64 \\
           --repeat 50 --flops 2*M*N*K")]
    Run(RunOptions),
    /// Find the fastest configuration of a kernel's #[tune] space, and keep it for launches
    #[command(after_help = "\
Every configuration that is looked at is compiled, run, compared with the result of the kernel's own defaults, and timed with
cold second-level caches until its median is known well enough. Results are kept, one record a configuration, and launches of
the kernel take the fastest for their device, types and key (`key = [..]` of #[tune]), else that of the nearest key. What is
recorded is not measured again: a sweep that was interrupted goes on where it was. On the emulator the figures are
predictions of the cost model, which order configurations on a machine that has no GPU.

Sizes:
  M=512,N=1024,K=64            named dimensions of the kernel; tensors without --arg are made with random contents
  1024                         every dimension
  256..2048                    powers of two: 256, 512, 1024, 2048
  512;1024;M=1,N=4096,K=4096   several sets, one sweep each

Strategies:
  guided       in a share of the time (--share): what the cost model likes, then what the measured times speak for
  halving      all of it at a glance, the better third longer, and so on
  exhaustive   all of it, closely

Records are one JSON object a line. `kiln tune export -o matmul.tune.jsonl` beside matmul.kiln gives the winners to
everybody who has the file. Parts of a large space run anywhere (`--shard 2/8`) and are put together by `kiln tune merge`.

Examples:
  kiln tune matmul.kiln --sizes 512;1024 --html matmul.html
  kiln tune softmax.kiln --kernel softmax_wide --sizes M=512,N=4096..65536 --type T=f16 --strategy exhaustive
  kiln tune matmul.kiln --sizes 128 --device emulator:sm_90a,unchecked
  kiln tune matmul.kiln --sizes 1024 --shard 1/4 --store part1
  kiln tune merge part1 part2 part3 part4 -o matmul.tune.jsonl
  kiln tune list")]
    Tune(Box<TuneOptions>),
    /// Time a kernel as programs launch it, with the configuration that sweeps have found
    #[command(after_help = "\
Sizes and arguments are written as for `kiln tune`. The median and half its 95 % interval are shown, with cold second-level
caches unless --no-flush.

Examples:
  kiln bench matmul.kiln --sizes 256..2048
  kiln bench softmax.kiln --sizes M=4096,N=1024 --type T=f16 --untuned")]
    Bench(Box<BenchOptions>),
    /// Format kernel files
    #[command(after_help = "\
Examples:
  kiln fmt kernels/          every .kiln file below
  kiln fmt --check .         exit with 1 if a file is not formatted
  kiln fmt - < a.kiln        from standard input to standard output")]
    Fmt(FmtOptions),
    /// Explain an error code, or what a kernel does on a GPU
    #[command(after_help = "\
A kernel runs once on the emulator, with arguments as for `kiln run`. Shown are registers, spills and occupancy (where ptxas is found: KILN_TOOLS, CUDA_HOME,
the search path), shared memory, and for each source line its share of the instructions, 32-byte sectors a request to global memory and the least there could be, bytes
asked of global memory (by threads and tensor copies), bank conflicts, and the mix of instructions.

Examples:
  kiln explain K0301
  kiln explain --list
  kiln explain softmax.kiln --kernel softmax --arg 'x=randn(64,1000):f32' --target sm_80")]
    Explain(ExplainOptions),
    /// Run a PTX file, any compiler's, on an emulated GPU that checks it
    #[command(after_help = "\
Arguments, in the order of the kernel's parameters:
  u32:5  f32:1.5               a number: u8 i8 u16 i16 u32 i32 u64 i64 f16 bf16 f32 f64
  f32[1024]=random:1           a buffer; contents: none (nothing has written it), zero, iota, random:SEED, a number,
                               @FILE (raw bytes)
  @x.npy                       a buffer from a file: .npy, .npz or .safetensors with one array
  out:f32[64]=none             shown afterwards; --out 2=y.npy writes argument 2 (counted from 0) to a file

The machine looks for what hardware hides: accesses out of bounds, misaligned or of memory that nothing wrote, races in
shared and global memory, misused barriers, missing waits and proxy fences, accumulators touched in flight. The first one
ends the run with its PTX line, source line, thread and address. Asynchronous operations complete as late as the kernel's
waits allow unless --schedule says otherwise; --schedule random --seed N finds what depends on the order of warps, and
finds it again. A kernel that hangs ends at --max-instructions, one that waits for itself with a report of the deadlock.

Exit codes: 0 the kernel ran, 1 it is faulty or refused, 2 the command line is wrong.

Examples:
  kiln emu add.ptx --grid 4 --block 256 --arg f32[1000]=iota --arg f32[1000]=1 --arg out:f32[1000]=none --arg u32:1000
  kiln emu softmax.ptx -k softmax --grid 64 --block 128 --arg @x.npy --arg f32[65536]=none --out 1=y.npy --counters
  kiln emu gemm.ptx --grid 8,8 --block 128 --smem 49152 --schedule random --seed 7 --message-format json --arg ..")]
    Emu(EmuOptions),
    /// Look at the compilation cache, or empty it
    #[command(after_help = "\
Examples:
  kiln cache stat            where it is, how much it holds
  kiln cache gc              bring it below its bound (KILN_CACHE_SIZE)
  kiln cache clear           remove everything")]
    Cache(CacheOptions),
    /// List the devices of this machine
    Devices,
    /// Start a project: a kernel file and a Rust program that runs it
    #[command(
        after_help = "Example:\n  kiln new my-kernels && cd my-kernels && kiln run src/scale.kiln --arg 'x=arange(10):f32' --out y=y.npy"
    )]
    New(NewOptions),
}

#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Kernel files
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Make an error of a warning: its code, or `warnings` for all
    #[arg(long, value_name = "CODE")]
    pub deny: Vec<String>,
}

/// Which kernel, and what it is specialized for.
#[derive(Clone, Debug, Args)]
pub struct KernelOptions {
    /// Kernel file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Kernel; without it the only one, or the one with the name of the file
    #[arg(short, long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Argument of the kernel, see below
    #[arg(short, long = "arg", value_name = "NAME=VALUE")]
    pub args: Vec<String>,
    /// Value of a constant
    #[arg(long = "const", value_name = "NAME=VALUE")]
    pub consts: Vec<String>,
    /// Type of a type parameter
    #[arg(long = "type", value_name = "NAME=TYPE")]
    pub types: Vec<String>,
    /// Function for a function parameter
    #[arg(long = "fn", value_name = "NAME=PATH")]
    pub fns: Vec<String>,
    /// Schedule field: warps, stages, group, persistent, ping_pong, cluster, split_k, specialize, max_regs, cooperative, pdl
    #[arg(long, value_name = "FIELD=VALUE")]
    pub schedule: Vec<String>,
    /// Seed of made data
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// LLVM's effort, 0 to 3
    #[arg(short = 'O', long, value_name = "LEVEL", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=3))]
    pub opt_level: u8,
}

#[derive(Debug, Args)]
pub struct BuildOptions {
    #[command(flatten)]
    pub kernel: KernelOptions,
    /// What to produce
    #[arg(long, value_name = "KIND", default_value = "object")]
    pub emit: EmitKind,
    /// What to compile for: `host`, or a GPU architecture such as sm_80 or sm_90a; for bundles a list, also of levels such as x86-64-v4
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// File to write to (text goes to standard output unless told)
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Value of a named dimension, where no arguments are given
    #[arg(long = "dim", value_name = "NAME=VALUE")]
    pub dims: Vec<String>,
    /// Optional parameter to assume present, where no arguments are given
    #[arg(long = "with", value_name = "PARAMETER")]
    pub present: Vec<String>,
    /// Show the IR after a pass, or after `all`
    #[arg(long, value_name = "PASS", value_delimiter = ',')]
    pub print_after: Vec<String>,
    /// Show the IR as it was before a pass that fails
    #[arg(long)]
    pub print_before_failure: bool,
    /// End after a pass
    #[arg(long, value_name = "PASS")]
    pub stop_after: Option<String>,
    /// Show how long each stage and pass took
    #[arg(long)]
    pub time_passes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EmitKind {
    /// Syntax tree, as text
    Ast,
    /// Tile IR after the passes
    TileIr,
    /// Tile IR with the layouts that a GPU's threads get
    Layouts,
    /// LLVM IR
    Llvm,
    /// Assembly of the host
    Asm,
    /// PTX for a GPU
    Ptx,
    /// Machine code of a GPU, by ptxas: written where -o says
    Cubin,
    /// Machine code of a GPU as text, by ptxas and nvdisasm
    Sass,
    /// Machine code of the host: compiled, and written where -o says
    Object,
    /// Kernels compiled ahead of time: a Rust package that links no compiler, with a header for C, in the directory that -o says
    Bundle,
}

#[derive(Debug, Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub kernel: KernelOptions,
    /// Tensor to write back: `y=y.npy`, or `y` alone to make it without keeping it
    #[arg(short, long = "out", value_name = "NAME[=FILE]")]
    pub outs: Vec<String>,
    /// Reference to compare with: `y=ref.npy`, or `ref.npy` where there is one output
    #[arg(long = "check", value_name = "[NAME=]FILE")]
    pub checks: Vec<String>,
    /// Relative tolerance of --check (from the result's type unless told)
    #[arg(long, value_name = "X")]
    pub rtol: Option<f64>,
    /// Absolute tolerance of --check
    #[arg(long, value_name = "X")]
    pub atol: Option<f64>,
    /// Run this often and show the times
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Floating-point operations of a run, over dimensions and constants: `2*M*N*K`
    #[arg(long, value_name = "EXPR")]
    pub flops: Option<String>,
    /// Device: cpu, cpu:checked, cuda, cuda:1, emulator, emulator:sm_80,random=3 (KILN_DEVICE, else the best)
    #[arg(short, long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Look at every access before it happens: memory outside, misaligned addresses, races, divisions by zero (the same as
    /// --device cpu:checked)
    #[arg(long)]
    pub checked: bool,
    /// Compile anew, and keep nothing
    #[arg(long)]
    pub no_cache: bool,
}

/// A kernel file with what to do, or a command for the records.
#[derive(Debug)]
pub enum TuneOptions {
    Sweep(SweepOptions),
    Records(RecordsAction),
}

impl FromArgMatches for TuneOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        match matches.subcommand_name() {
            Some(_) => RecordsAction::from_arg_matches(matches).map(TuneOptions::Records),
            None => SweepOptions::from_arg_matches(matches).map(TuneOptions::Sweep),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = TuneOptions::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Args for TuneOptions {
    fn augment_args(command: clap::Command) -> clap::Command {
        let command = RecordsAction::augment_subcommands(SweepOptions::augment_args(command));
        command.subcommand_required(false).args_conflicts_with_subcommands(true).subcommand_negates_reqs(true)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        TuneOptions::augment_args(command)
    }
}

#[derive(Debug, Args)]
pub struct SweepOptions {
    #[command(flatten)]
    pub kernel: KernelOptions,
    /// Sizes to tune for, see below
    #[arg(long, value_name = "SIZES")]
    pub sizes: Option<String>,
    /// Which configurations are looked at
    #[arg(long, value_name = "STRATEGY", default_value = "guided")]
    pub strategy: StrategyKind,
    /// About the share of an exhaustive sweep's time that the guided strategy takes; it looks at no more than twice that share of the space
    #[arg(long, value_name = "X", default_value_t = kiln_tune::sweep::Settings::default().share)]
    pub share: f64,
    /// Half the width of a median's 95 % interval, relative to it, that is good enough
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub precision: f64,
    /// Longest measurement of one configuration, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub seconds: f64,
    /// Allowed difference to the defaults' result, relative to elements and to their root mean square (by type unless told)
    #[arg(long, value_name = "X")]
    pub tolerance: Option<f64>,
    /// Do one part of the space: `2/8` is the second of eight
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Directory of records (KILN_TUNE_DIR, else beside the cache)
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Store that machines share: its records are taken over first, new ones go there (fs:///shared/kiln, s3://bucket/prefix)
    #[arg(long, value_name = "URL")]
    pub remote: Option<String>,
    /// Measure again what is recorded
    #[arg(long)]
    pub fresh: bool,
    /// Leave caches warm between runs
    #[arg(long)]
    pub no_flush: bool,
    /// Configurations to show
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub top: usize,
    /// Write every figure as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a line a configuration as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write a web page with plots, which needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Others' times for the report: [{"name": "numpy", "dims": {"M": 512}, "seconds": 0.001}]
    #[arg(long, value_name = "FILE")]
    pub peers: Option<PathBuf>,
    /// Device: cpu, cuda, cuda:1, emulator, emulator:sm_80,unchecked (KILN_DEVICE, else the best)
    #[arg(short, long, value_name = "DEVICE")]
    pub device: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StrategyKind {
    /// All of the space, closely
    Exhaustive,
    /// All of it at a glance, the better third longer, and so on
    Halving,
    /// A share of it, by the cost model and what is measured
    Guided,
}

#[derive(Debug, Subcommand)]
pub enum RecordsAction {
    /// Show what is known: kernels, keys, winners
    List {
        /// Directory of records
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
    },
    /// Put records together; of two for the same configuration the later stays
    Merge {
        /// Files of records, or directories of such files
        #[arg(required = true, value_name = "FILE")]
        inputs: Vec<PathBuf>,
        /// File to write, or directory to add to (standard output unless told)
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Put records into a store that machines share
    Push {
        /// Files of records, or directories of such files
        #[arg(required = true, value_name = "FILE")]
        inputs: Vec<PathBuf>,
        /// The store: fs:///shared/kiln, s3://bucket/prefix
        #[arg(long, value_name = "URL")]
        remote: String,
    },
    /// Take over the records of a store that machines share
    Pull {
        /// The store
        #[arg(long, value_name = "URL")]
        remote: String,
        /// Directory of records
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
    },
    /// Write the winners of every key, to check in or to send
    Export {
        /// Only this kernel's
        #[arg(short, long, value_name = "NAME")]
        kernel: Option<String>,
        /// Every record instead of the winners
        #[arg(long)]
        all: bool,
        /// Directory of records
        #[arg(long, value_name = "DIR")]
        store: Option<PathBuf>,
        /// File to write (standard output unless told)
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub struct BenchOptions {
    #[command(flatten)]
    pub kernel: KernelOptions,
    /// Sizes to time, as for `kiln tune`
    #[arg(long, value_name = "SIZES")]
    pub sizes: Option<String>,
    /// Half the width of a median's 95 % interval, relative to it, that is good enough
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    pub precision: f64,
    /// Longest measurement, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub seconds: f64,
    /// The kernel's own defaults, whatever sweeps have found
    #[arg(long)]
    pub untuned: bool,
    /// Leave caches warm between runs
    #[arg(long)]
    pub no_flush: bool,
    /// Device: cpu, cuda, cuda:1, emulator (KILN_DEVICE, else the best)
    #[arg(short, long, value_name = "DEVICE")]
    pub device: Option<String>,
}

#[derive(Debug, Args)]
pub struct EmuOptions {
    /// PTX file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Kernel; needed where the file has several
    #[arg(short, long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// CTAs of the grid: `16`, `16,4` or `16,4,2`
    #[arg(short, long, value_name = "X[,Y[,Z]]", default_value = "1")]
    pub grid: String,
    /// Threads of a CTA
    #[arg(short, long, value_name = "X[,Y[,Z]]", default_value = "1")]
    pub block: String,
    /// CTAs of a cluster (the kernel's own unless told)
    #[arg(long, value_name = "X[,Y[,Z]]")]
    pub cluster: Option<String>,
    /// Dynamic shared memory, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub smem: u32,
    /// Argument of the kernel, see below
    #[arg(short, long = "arg", value_name = "ARG")]
    pub args: Vec<String>,
    /// Buffer to write to a file: its number among the arguments, from 0
    #[arg(short, long = "out", value_name = "INDEX=FILE")]
    pub outs: Vec<String>,
    /// GPU: sm_80, sm_86, sm_89, sm_90, sm_90a (the newest that the file allows unless told)
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// When asynchronous operations complete
    #[arg(long, value_name = "WHEN", default_value = "lazy")]
    pub schedule: ScheduleKind,
    /// Seed of the random schedules
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Sanitizers to switch off
    #[arg(long, value_name = "SANITIZER", value_delimiter = ',')]
    pub without: Vec<Sanitizer>,
    /// Show what every instruction did: lanes, memory sectors, bank conflicts, tensor operations
    #[arg(long)]
    pub counters: bool,
    /// Warp instructions after which the kernel is given up
    #[arg(long, value_name = "N", default_value_t = 20_000_000_000)]
    pub max_instructions: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleKind {
    /// When they are issued
    Eager,
    /// As late as the kernel's waits allow
    Lazy,
    /// As late as the kernel's waits allow, warps in random order
    LazyRandom,
    /// At random moments, warps in random order
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sanitizer {
    /// All of them
    All,
    /// Accesses outside an allocation
    Bounds,
    /// Misaligned accesses
    Alignment,
    /// Reads of memory that nothing wrote
    Uninitialized,
    /// Unordered accesses to shared memory
    SharedRaces,
    /// Unordered accesses to global memory
    GlobalRaces,
    /// Disagreement at barriers, misuse of mbarriers
    Barriers,
    /// Registers of unfinished wgmma
    InFlight,
}

#[derive(Debug, Args)]
pub struct FmtOptions {
    /// Files and directories; `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Change nothing; exit with 1 if a file would change
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// Code, such as K0301, or a kernel file
    #[arg(value_name = "CODE|FILE", required_unless_present = "list")]
    pub what: Option<String>,
    /// List every code
    #[arg(long)]
    pub list: bool,
    /// GPU architecture, and how the emulator runs it: sm_80, sm_90a, `sm_80,eager`
    #[arg(long, value_name = "TARGET", default_value = "sm_90a")]
    pub target: String,
    /// Kernel; without it the only one, or the one with the name of the file
    #[arg(short, long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// Argument of the kernel, as for `kiln run`
    #[arg(short, long = "arg", value_name = "NAME=VALUE")]
    pub args: Vec<String>,
    /// Value of a constant
    #[arg(long = "const", value_name = "NAME=VALUE")]
    pub consts: Vec<String>,
    /// Type of a type parameter
    #[arg(long = "type", value_name = "NAME=TYPE")]
    pub types: Vec<String>,
    /// Function for a function parameter
    #[arg(long = "fn", value_name = "NAME=PATH")]
    pub fns: Vec<String>,
    /// Schedule field
    #[arg(long, value_name = "FIELD=VALUE")]
    pub schedule: Vec<String>,
}

impl ExplainOptions {
    /// The options of a kernel of `file`.
    pub fn kernel_options(&self, file: &str) -> KernelOptions {
        KernelOptions {
            file: file.into(),
            kernel: self.kernel.clone(),
            args: self.args.clone(),
            consts: self.consts.clone(),
            types: self.types.clone(),
            fns: self.fns.clone(),
            schedule: self.schedule.clone(),
            seed: 0,
            opt_level: 2,
        }
    }
}

#[derive(Debug, Args)]
pub struct CacheOptions {
    #[command(subcommand)]
    pub action: CacheAction,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub enum CacheAction {
    /// Where it is, how much it holds
    Stat,
    /// Bring it below its bound
    Gc,
    /// Remove everything
    Clear,
}

#[derive(Debug, Args)]
pub struct NewOptions {
    /// Directory to make
    #[arg(value_name = "NAME")]
    pub path: PathBuf,
}
