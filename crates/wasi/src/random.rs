//! Where a guest's random numbers come from.

use std::io;

use cap_rand::TryRngCore;

/// A source of random bytes.
///
/// ```
/// use wardian_wasi::{HostRandom, WasiCtxBuilder};
///
/// /// Throws sixes.
/// struct Loaded;
///
/// impl HostRandom for Loaded {
///     fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
///         bytes.fill(6);
///         Ok(())
///     }
/// }
///
/// WasiCtxBuilder::new().secure_random(Loaded).build_p1();
/// ```
pub trait HostRandom: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()>;
}

/// The system's generator, fit for keys.
pub(crate) struct SystemRandom(cap_rand::rngs::OsRng);

impl SystemRandom {
    pub fn new() -> Self {
        SystemRandom(cap_rand::rngs::OsRng::default(cap_rand::ambient_authority()))
    }
}

impl HostRandom for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.0.try_fill_bytes(bytes).map_err(io::Error::other)
    }
}

/// A generator that gives the same bytes for the same seed, in every version of this crate: for tests
/// and repeatable runs. Whoever knows the seed knows every byte.
///
/// It is SplitMix64 (Steele, Lea and Flood 2014): eight bytes, little-endian, per step.
///
/// ```
/// use wardian_wasi::{HostRandom, SeededRandom};
///
/// let (mut a, mut b) = ([0; 9], [0; 9]);
/// SeededRandom::new(42).fill(&mut a)?;
/// SeededRandom::new(42).fill(&mut b)?;
/// assert_eq!(a, b);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SeededRandom {
    state: u64,
    /// Bytes of the last step that have not been given yet.
    rest: [u8; 8],
    rest_len: usize,
}

impl SeededRandom {
    /// A generator for `seed`.
    pub fn new(seed: u64) -> SeededRandom {
        SeededRandom { state: seed, rest: [0; 8], rest_len: 0 }
    }

    fn step(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl HostRandom for SeededRandom {
    // The stream of bytes does not depend on how the reads are cut: leftovers are kept.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        for byte in bytes {
            if self.rest_len == 0 {
                self.rest = self.step().to_le_bytes();
                self.rest_len = 8;
            }
            *byte = self.rest[8 - self.rest_len];
            self.rest_len -= 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_fixes_the_stream_however_it_is_cut() {
        let mut whole = [0; 24];
        SeededRandom::new(42).fill(&mut whole).unwrap();
        let mut cut = [0; 24];
        let mut random = SeededRandom::new(42);
        let (left, right) = cut.split_at_mut(5);
        random.fill(left).unwrap();
        random.fill(right).unwrap();
        assert_eq!(whole, cut);
        // The first value of the reference implementation for seed 42.
        assert_eq!(u64::from_le_bytes(whole[..8].try_into().unwrap()), 0xbdd7_3226_2feb_6e95);
    }

    #[test]
    fn the_system_gives_different_bytes() {
        let mut random = SystemRandom::new();
        let (mut a, mut b) = ([0; 32], [0; 32]);
        random.fill(&mut a).unwrap();
        random.fill(&mut b).unwrap();
        assert_ne!(a, b);
    }
}
