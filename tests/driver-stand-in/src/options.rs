//! The words of `KILN_STAND_IN`.

use std::sync::OnceLock;

use kiln_emulator::Arch;

/// How the driver behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Compute capability that is reported: 90.
    pub sm: u32,
    /// Version that is reported: 12080 for 12.8.
    pub driver: i32,
    /// Stream-ordered memory is there.
    pub pools: bool,
    /// Launches do nothing.
    pub noop: bool,
    /// Bytes of device memory.
    pub memory: u64,
}

impl Options {
    fn parse(text: &str) -> Options {
        let mut options = Options { sm: 90, driver: 13000, pools: true, noop: false, memory: 8 << 30 };
        for word in text.split(',').filter(|w| !w.is_empty()) {
            match word.split_once('=') {
                None if word == "no-pools" => options.pools = false,
                None if word == "noop" => options.noop = true,
                Some(("sm", value)) => options.sm = value.parse().expect("sm=NUMBER"),
                Some(("driver", value)) => options.driver = value.parse().expect("driver=NUMBER"),
                Some(("memory", value)) => options.memory = value.parse().expect("memory=BYTES"),
                _ => panic!("the stand-in driver knows no word `{word}`"),
            }
        }
        options
    }

    /// The GPU that runs.
    pub fn arch(&self) -> Arch {
        match self.sm {
            80 => Arch::Sm80,
            86 => Arch::Sm86,
            89 => Arch::Sm89,
            90 => Arch::Sm90a,
            _ => Arch::Sm90,
        }
    }

    /// The newest PTX version, times 10, that a driver of this version reads (CUDA release notes: 12.0 reads 8.0, 12.8 reads 8.7, 13.0 reads 9.0).
    pub fn ptx(&self) -> u32 {
        let (major, minor) = (self.driver / 1000, self.driver % 1000 / 10);
        match major {
            ..=11 => 70 + minor.min(8) as u32,
            12 => 80 + if minor >= 8 { 7 } else { minor as u32 },
            _ => 90 + minor as u32,
        }
    }
}

/// The options of this process.
pub fn options() -> &'static Options {
    static OPTIONS: OnceLock<Options> = OnceLock::new();
    OPTIONS.get_or_init(|| Options::parse(&std::env::var("KILN_STAND_IN").unwrap_or_default()))
}
