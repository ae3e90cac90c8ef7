//! Parts of a space that need nothing of each other: which part a configuration belongs to depends on its values alone.

use kiln::Config;

/// Part `number` of `of`, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// Reads `2/8`.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Shard, String> {
        let numbers = text.split_once('/').and_then(|(n, of)| Some((n.trim().parse().ok()?, of.trim().parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Shard { number, of }),
            _ => Err(format!("`{text}` is no shard: `2/8` is the second of eight")),
        }
    }

    /// Whether a configuration belongs to this part.
    pub fn has(self, config: &Config) -> bool {
        // FNV-1a: the same on every machine and in every version.
        let text = config.to_string();
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        // The low bits of FNV mix the last bytes best, the high ones all of them.
        ((hash >> 32) ^ hash) % u64::from(self.of) == u64::from(self.number - 1)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_is_in_one_part() {
        let configs: Vec<Config> = (0..300)
            .map(|i| Config([("BM".to_owned(), 16 << (i % 5)), ("BN".to_owned(), i / 5), ("warps".to_owned(), i % 3)].into()))
            .collect();
        for of in [1u32, 2, 3, 8] {
            let parts: Vec<Shard> = (1..=of).map(|n| Shard::parse(&format!("{n}/{of}")).unwrap()).collect();
            assert!(configs.iter().all(|c| parts.iter().filter(|p| p.has(c)).count() == 1));
            // None is left with next to nothing.
            assert!(parts.iter().all(|p| configs.iter().filter(|c| p.has(c)).count() > configs.len() / of as usize / 2));
        }
    }

    #[test]
    fn shards_are_read_or_refused() {
        assert_eq!(Shard::parse("2/8").unwrap().to_string(), "2/8");
        for bad in ["", "1", "0/4", "5/4", "a/2", "1/0", "-1/2"] {
            assert!(Shard::parse(bad).is_err(), "{bad}");
        }
    }
}
