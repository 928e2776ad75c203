//! Artifacts: a module's bytes and the code made from them, as one sequence of bytes that proves who
//! made it.
//!
//! ```text
//!   magic       8 bytes ┐
//!   version     u32     │ the prefix: the same in every version of the format,
//!   total       u64     │ so that the wasm of an artifact of any version can be found
//!   wasm length u64     ┘ (NOTE [stable prefix])
//!   wasm        …
//!   lengths     u64 × 10: bytes of key and text, entries of funcs, traps, locations, inlined
//!               places, calls, handlers, stack maps and places of references
//!   key         text, see `Compatibility`
//!   text        machine code and constants
//!   funcs       (start u32, end u32) …
//!   traps       (offset u32, code u8) …
//!   locations   (offset u32, wasm u32) …
//!   inlined     (func u32, wasm u32, outer u32) …
//!   calls       of the exception table: (offset u32, context i32, frame u32, first u32) …
//!   handlers    (tag u32, target u32) …
//!   stack maps  (return address u32, end of its places u32) …
//!   references  (distance from the frame pointer i32) …
//!   MAC         32 bytes, keyed BLAKE3 of everything before it
//! ```
//!
//! Numbers are little-endian, nothing is padded. `total` counts all bytes, the MAC included. What is
//! read from an artifact is copied before it is used; nothing is mapped. Of a large one, threads share the
//! work.
//!
//! Invariant: of bytes without a holder's MAC nothing but magic, version and total length is looked
//! at, unless the host vouched for them ([`Source`]) or only shows them ([`decode_to_show`]); and
//! whatever bytes are admitted, decoding them gives an error or an image that keeps the rules of
//! [`CodeImage`], and allocates less than twice their size. The kernel's axiom [compiled code] names
//! this as one of the two ways by which code enters.
//!
//! NOTE [stable prefix]
//! A later version of the format may change everything after the wasm but neither the prefix nor the
//! wasm's place behind it: [`embedded_wasm`] reads artifacts of every version.

#[cfg_attr(unix, path = "artifact/files_unix.rs")]
#[cfg_attr(not(unix), path = "artifact/files_none.rs")]
pub(crate) mod files;

mod compatibility;
mod entry;
pub(crate) mod file_error;
mod key;

pub use compatibility::Compatibility;
pub(crate) use entry::{CachedFunction, Content, Entry, EntryFunctions, Seal};
pub use file_error::FileError;
pub use files::{read_file, read_open_file};
pub(crate) use key::user_folder;
pub use key::{ArtifactKey, KeyError};

use std::fmt;
use wardian_module::image::{
    CodeImage, ExceptionTable, FuncRange, Handler, Inlined, Location, StackMaps, TrapSite, TryCall,
};
use wardian_module::{DefinedFuncIndex, Module, Proposals, Trap, decode_validated};
use wardian_vm::VouchedArtifact;

/// What an artifact begins with. The first byte occurs in no text and in no wasm magic.
const MAGIC: [u8; 8] = *b"\x89wardian";
/// Version of the format. To be raised whenever the same bytes would mean something else.
const VERSION: u32 = 5;
const PREFIX_BYTES: usize = 28;
const LENGTHS_BYTES: usize = 10 * 8;
const MAC_BYTES: usize = blake3::OUT_LEN;
const FUNC_BYTES: usize = 8;
const TRAP_BYTES: usize = 5;
const LOCATION_BYTES: usize = 8;
const INLINED_BYTES: usize = 12;
const CALL_BYTES: usize = 16;
const HANDLER_BYTES: usize = 8;
const MAP_BYTES: usize = 8;
const MAP_PLACE_BYTES: usize = 4;

/// Bytes of an artifact, with the reason why they may be trusted. One value, so that no reason can be
/// given for other bytes than those that are decoded.
#[derive(Debug)]
pub enum Source<'a, 'k> {
    /// The MAC must show that a holder of this key made them.
    Signed(&'a [u8], &'k ArtifactKey),
    /// The host vouches for them; their MAC is not looked at.
    Vouched(VouchedArtifact<'a>),
}

/// Bytes of an artifact from which threads share the work.
const PARALLEL_BYTES: usize = 1 << 20;

/// An artifact that was admitted, its parts not decoded yet.
#[derive(Debug)]
pub struct Artifact<'a> {
    /// The bytes of the module. Not validated here.
    pub wasm: &'a [u8],
    sections: Sections<'a>,
}

impl<'a> Artifact<'a> {
    /// Machine code and constants, for which [`Artifact::load`] gives the tables.
    pub fn text(&self) -> &'a [u8] {
        self.sections.text
    }

    /// The tables of the code.
    pub fn tables(&self) -> Result<CodeImage, ArtifactError> {
        self.sections.tables()
    }

    /// The module and the tables of its code. Who signed or vouched for the artifact says with it that the
    /// module is valid.
    pub fn load(
        &self,
        proposals: Proposals,
        parallel: bool,
    ) -> Result<(Module, CodeImage), ArtifactError> {
        let module = || decode_validated(self.wasm.to_vec(), proposals);
        let tables = || self.tables();
        let (module, tables) = if parallel && self.wasm.len() >= PARALLEL_BYTES {
            crate::parallel::join(module, tables)
        } else {
            (module(), tables())
        };
        Ok((module.map_err(|error| malformed(error.to_string()))?, tables?))
    }
}

/// Why bytes were not accepted as an artifact.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArtifactError {
    /// They are something else.
    NotAnArtifact,
    /// Their format is that of another version.
    Version {
        /// The version they have.
        found: u32,
        /// The version that can be read.
        expected: u32,
    },
    /// Bytes are missing at the end.
    Truncated {
        /// How many there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// They were changed, or signed with another key.
    Mac,
    /// The code was made by another version of the engine, for other settings or another processor.
    /// The text says which.
    Compatibility(String),
    /// They contradict themselves.
    Malformed(String),
}

impl fmt::Display for ArtifactError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArtifactError::NotAnArtifact => {
                f.write_str("not a precompiled module: expected it to begin with wardian's magic")
            }
            ArtifactError::Version { found, expected } => write!(
                f,
                "precompiled module of another version of wardian: expected format {expected}, found \
                 format {found}"
            ),
            ArtifactError::Truncated { found, expected } => {
                write!(f, "precompiled module is cut off: expected {expected} bytes, found {found}")
            }
            ArtifactError::Mac => f.write_str(
                "precompiled module is not authentic: it was changed after it was made, or signed \
                 with another key than this engine's",
            ),
            ArtifactError::Compatibility(why) => {
                write!(f, "precompiled module does not fit this engine: {why}")
            }
            ArtifactError::Malformed(why) => write!(f, "malformed precompiled module: {why}"),
        }
    }
}

impl std::error::Error for ArtifactError {}

/// Hashes bytes, on several threads if they may and it is worth it.
pub(crate) fn hash(hasher: &mut blake3::Hasher, bytes: &[u8], parallel: bool) {
    if parallel && bytes.len() >= PARALLEL_BYTES {
        crate::parallel::hash(hasher, bytes);
    } else {
        hasher.update(bytes);
    }
}

/// Whether `bytes` begin like an artifact. Says nothing about whether they can be trusted.
pub fn detect(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The artifact of a module and its code, signed with `key`, by several threads if they may.
pub fn encode(
    key: &ArtifactKey,
    compatibility: &Compatibility,
    wasm: &[u8],
    image: CodeImage,
    parallel: bool,
) -> Vec<u8> {
    debug_assert_eq!(image.check(), Ok(()));
    let CodeImage { text, funcs, traps, locations, inlined, exceptions, stack_maps } = image;
    let compatibility = compatibility.as_bytes();
    let total = PREFIX_BYTES
        + wasm.len()
        + LENGTHS_BYTES
        + compatibility.len()
        + text.len()
        + funcs.len() * FUNC_BYTES
        + traps.len() * TRAP_BYTES
        + locations.len() * LOCATION_BYTES
        + inlined.len() * INLINED_BYTES
        + exceptions.calls.len() * CALL_BYTES
        + exceptions.handlers.len() * HANDLER_BYTES
        + maps_bytes(&stack_maps)
        + MAC_BYTES;
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(total as u64).to_le_bytes());
    out.extend_from_slice(&(wasm.len() as u64).to_le_bytes());
    out.extend_from_slice(wasm);
    // ORDER sections
    for length in [
        compatibility.len(),
        text.len(),
        funcs.len(),
        traps.len(),
        locations.len(),
        inlined.len(),
        exceptions.calls.len(),
        exceptions.handlers.len(),
        stack_maps.parts().0.len(),
        stack_maps.parts().2.len(),
    ] {
        out.extend_from_slice(&(length as u64).to_le_bytes());
    }
    out.extend_from_slice(compatibility);
    // Both are large; what is copied is given back.
    out.extend_from_slice(&text);
    drop(text);
    out.extend(funcs.iter().flat_map(|f| pair(f.start, f.end)));
    encode_tables(&mut out, &traps, &locations, &inlined, &exceptions, &stack_maps);
    let mac = key.mac(&out, parallel);
    out.extend_from_slice(mac.as_bytes());
    debug_assert_eq!(out.len(), total);
    out
}

/// Appends tables, entry by entry.
fn encode_tables(
    out: &mut Vec<u8>,
    traps: &[TrapSite],
    locations: &[Location],
    inlined: &[Inlined],
    exceptions: &ExceptionTable,
    stack_maps: &StackMaps,
) {
    for site in traps {
        out.extend_from_slice(&site.offset.to_le_bytes());
        out.push(site.trap.code());
    }
    out.extend(locations.iter().flat_map(|l| pair(l.offset, l.wasm)));
    for place in inlined {
        out.extend_from_slice(&place.func.0.to_le_bytes());
        out.extend_from_slice(&pair(place.wasm, place.outer));
    }
    for call in &exceptions.calls {
        out.extend_from_slice(&pair(call.offset, call.context as u32));
        out.extend_from_slice(&pair(call.frame, call.first));
    }
    out.extend(exceptions.handlers.iter().flat_map(|h| pair(h.tag, h.target)));
    let (returns, ends, places) = stack_maps.parts();
    out.extend(returns.iter().zip(ends).flat_map(|(offset, end)| pair(*offset, *end)));
    out.extend(places.iter().flat_map(|place| place.to_le_bytes()));
}

/// The module and code of an artifact, if it is to be trusted and was made for an engine of this
/// compatibility key. Several threads look, if they may.
pub fn decode<'a>(
    source: Source<'a, '_>,
    compatibility: &Compatibility,
    parallel: bool,
) -> Result<Artifact<'a>, ArtifactError> {
    let content = match source {
        Source::Signed(bytes, key) => {
            let (content, mac) = frame(bytes)?;
            // The comparison takes the same time wherever the two differ.
            if key.mac(content, parallel) != blake3::Hash::from_bytes(*mac) {
                return Err(ArtifactError::Mac);
            }
            content
        }
        Source::Vouched(vouched) => frame(vouched.bytes())?.0,
    };
    parse(content, compatibility)
}

/// As [`decode`], of bytes that nobody vouches for. Who calls it shows the image and never publishes it.
pub fn decode_to_show<'a>(
    bytes: &'a [u8],
    compatibility: &Compatibility,
) -> Result<Artifact<'a>, ArtifactError> {
    parse(frame(bytes)?.0, compatibility)
}

/// The wasm that an artifact of any version carries, for compiling it anew. Nothing is authenticated:
/// it is to be treated as a module from anywhere, and may differ from the one that the artifact was
/// made of.
pub fn embedded_wasm(bytes: &[u8]) -> Result<&[u8], ArtifactError> {
    let prefix = Prefix::read(bytes)?;
    let wasm = Reader(&bytes[PREFIX_BYTES..]).take(prefix.wasm, 1);
    wasm.ok_or(ArtifactError::Truncated {
        found: bytes.len() as u64,
        expected: prefix.wasm.saturating_add(PREFIX_BYTES as u64),
    })
}

/// See NOTE [stable prefix].
struct Prefix {
    version: u32,
    total: u64,
    wasm: u64,
}

impl Prefix {
    fn read(bytes: &[u8]) -> Result<Prefix, ArtifactError> {
        if !detect(bytes) {
            return Err(ArtifactError::NotAnArtifact);
        }
        let mut reader = Reader(&bytes[MAGIC.len()..]);
        let prefix = (|| {
            Some(Prefix { version: reader.u32()?, total: reader.u64()?, wasm: reader.u64()? })
        })();
        prefix.ok_or(ArtifactError::Truncated {
            found: bytes.len() as u64,
            expected: PREFIX_BYTES as u64,
        })
    }
}

/// Splits an artifact into content and MAC, looking at magic, version and total length only.
fn frame(bytes: &[u8]) -> Result<(&[u8], &[u8; MAC_BYTES]), ArtifactError> {
    let prefix = Prefix::read(bytes)?;
    if prefix.version != VERSION {
        return Err(ArtifactError::Version { found: prefix.version, expected: VERSION });
    }
    let (found, expected) = (bytes.len() as u64, prefix.total);
    if found < expected {
        return Err(ArtifactError::Truncated { found, expected });
    }
    if found > expected {
        return Err(malformed(format!("expected {expected} bytes, found {found}")));
    }
    match bytes.split_last_chunk() {
        Some((content, mac)) if content.len() >= PREFIX_BYTES => Ok((content, mac)),
        _ => Err(malformed(format!("{found} bytes cannot hold one"))),
    }
}

/// Decodes content: all of an artifact but its MAC, which [`frame`] found.
fn parse<'a>(
    content: &'a [u8],
    compatibility: &Compatibility,
) -> Result<Artifact<'a>, ArtifactError> {
    let wasm_bytes = Prefix::read(content)?.wasm;
    let mut reader = Reader(&content[PREFIX_BYTES..]);
    let wasm = section("wasm", Some(wasm_bytes), 1, &mut reader)?;
    let mut lengths = Reader(section("lengths", Some(LENGTHS_BYTES as u64), 1, &mut reader)?);
    // ORDER sections
    let key = section("key", lengths.u64(), 1, &mut reader)?;
    let lengths = std::array::from_fn(|_| lengths.u64());
    let sections = Sections::read(lengths, &mut reader)?;
    if !reader.0.is_empty() {
        return Err(malformed(format!("{} bytes past its last section", reader.0.len())));
    }
    compatibility.check(key)?;
    Ok(Artifact { wasm, sections })
}

/// The sections of an image, undecoded, as artifacts and entries of the cache both have them.
#[derive(Debug)]
struct Sections<'a> {
    text: &'a [u8],
    funcs: &'a [u8],
    traps: &'a [u8],
    locations: &'a [u8],
    inlined: &'a [u8],
    calls: &'a [u8],
    handlers: &'a [u8],
    map_returns: &'a [u8],
    map_places: &'a [u8],
}

impl<'a> Sections<'a> {
    /// Reads sections of so many entries.
    fn read(lengths: [Option<u64>; 9], reader: &mut Reader<'a>) -> Result<Self, ArtifactError> {
        // ORDER sections
        let [text, funcs, traps, locations, inlined, calls, handlers, map_returns, map_places] =
            lengths;
        Ok(Sections {
            text: section("text", text, 1, reader)?,
            funcs: section("function", funcs, FUNC_BYTES, reader)?,
            traps: section("trap", traps, TRAP_BYTES, reader)?,
            locations: section("location", locations, LOCATION_BYTES, reader)?,
            inlined: section("inlined place", inlined, INLINED_BYTES, reader)?,
            calls: section("call", calls, CALL_BYTES, reader)?,
            handlers: section("handler", handlers, HANDLER_BYTES, reader)?,
            map_returns: section("stack map", map_returns, MAP_BYTES, reader)?,
            map_places: section("reference", map_places, MAP_PLACE_BYTES, reader)?,
        })
    }

    fn image(&self) -> Result<CodeImage, ArtifactError> {
        Ok(CodeImage { text: self.text.to_vec(), ..self.tables()? })
    }

    /// The image without its text.
    fn tables(&self) -> Result<CodeImage, ArtifactError> {
        let tables = CodeImage {
            text: Vec::new(),
            funcs: pairs(self.funcs).map(|(start, end)| FuncRange { start, end }).collect(),
            traps: decode_traps(self.traps)?,
            locations: decode_locations(self.locations),
            inlined: decode_inlined(self.inlined),
            exceptions: decode_exceptions(self.calls, self.handlers),
            stack_maps: decode_maps(self.map_returns, self.map_places),
        };
        tables.check_tables(self.text.len()).map_err(|error| malformed(error.0))?;
        Ok(tables)
    }
}

/// The bytes of a section with so many entries.
fn section<'a>(
    name: &str,
    count: Option<u64>,
    size: usize,
    reader: &mut Reader<'a>,
) -> Result<&'a [u8], ArtifactError> {
    let left = reader.0.len();
    let bytes = count.and_then(|count| reader.take(count, size));
    bytes.ok_or_else(|| outside(name, count, left))
}

fn decode_locations(bytes: &[u8]) -> Vec<Location> {
    pairs(bytes).map(|(offset, wasm)| Location { offset, wasm }).collect()
}

fn decode_inlined(bytes: &[u8]) -> Vec<Inlined> {
    let (entries, _) = bytes.as_chunks::<INLINED_BYTES>();
    let place = |entry: &[u8; INLINED_BYTES]| {
        let (words, _) = entry.as_chunks::<4>();
        let [func, wasm, outer] = [0, 1, 2].map(|word| u32::from_le_bytes(words[word]));
        Inlined { func: DefinedFuncIndex(func), wasm, outer }
    };
    entries.iter().map(place).collect()
}

fn decode_exceptions(calls: &[u8], handlers: &[u8]) -> ExceptionTable {
    let (entries, _) = calls.as_chunks::<CALL_BYTES>();
    let call = |entry: &[u8; CALL_BYTES]| {
        let (words, _) = entry.as_chunks::<4>();
        let [offset, context, frame, first] =
            [0, 1, 2, 3].map(|word| u32::from_le_bytes(words[word]));
        TryCall { offset, context: context as i32, frame, first }
    };
    ExceptionTable {
        calls: entries.iter().map(call).collect(),
        handlers: pairs(handlers).map(|(tag, target)| Handler { tag, target }).collect(),
    }
}

fn decode_maps(returns: &[u8], places: &[u8]) -> StackMaps {
    let (returns, ends) = pairs(returns).unzip();
    let (places, _) = places.as_chunks::<MAP_PLACE_BYTES>();
    StackMaps::from_parts(returns, ends, places.iter().map(|p| i32::from_le_bytes(*p)).collect())
}

/// Bytes of the two sections of stack maps.
fn maps_bytes(maps: &StackMaps) -> usize {
    let (returns, _, places) = maps.parts();
    returns.len() * MAP_BYTES + places.len() * MAP_PLACE_BYTES
}

fn decode_traps(bytes: &[u8]) -> Result<Vec<TrapSite>, ArtifactError> {
    let (entries, _) = bytes.as_chunks::<TRAP_BYTES>();
    let mut traps = Vec::with_capacity(entries.len());
    for &[a, b, c, d, code] in entries {
        let trap = Trap::from_code(code)
            .ok_or_else(|| malformed(format!("expected the code of a trap, found {code}")))?;
        traps.push(TrapSite { offset: u32::from_le_bytes([a, b, c, d]), trap });
    }
    Ok(traps)
}

#[cold]
fn malformed(why: String) -> ArtifactError {
    ArtifactError::Malformed(why)
}

#[cold]
fn outside(name: &str, count: Option<u64>, left: usize) -> ArtifactError {
    let count = count.unwrap_or_default();
    malformed(format!("{name} section of length {count} where {left} bytes are left"))
}

/// Two numbers as they are stored.
fn pair(first: u32, second: u32) -> [u8; 8] {
    (u64::from(second) << 32 | u64::from(first)).to_le_bytes()
}

/// The inverse of [`pair`], for a list.
fn pairs(bytes: &[u8]) -> impl ExactSizeIterator<Item = (u32, u32)> {
    let (entries, _) = bytes.as_chunks::<8>();
    entries.iter().map(|&entry| {
        let both = u64::from_le_bytes(entry);
        (both as u32, (both >> 32) as u32)
    })
}

/// Bytes not yet read. Whatever does not lie inside them is `None` and reads nothing.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The bytes of `count` entries of `size` bytes.
    fn take(&mut self, count: u64, size: usize) -> Option<&'a [u8]> {
        let bytes = usize::try_from(count).ok()?.checked_mul(size)?;
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*taken))
    }

    fn u64(&mut self) -> Option<u64> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*taken))
    }
}

const _: () = {
    assert!(PREFIX_BYTES == MAGIC.len() + 4 + 8 + 8);
    assert!(LENGTHS_BYTES == 80, "as many as ORDER sections lists");
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;
    use std::sync::LazyLock;
    use wardian_module::{OptLevel, Proposal, Settings};

    const ISA: &str = "x86_64 sse4.1 avx2 bmi2";
    const WASM: &[u8] = b"\0asm\x01\0\0\0\0\x0cwardian-test";

    fn key() -> ArtifactKey {
        ArtifactKey::from_bytes([7; 32])
    }

    fn compatibility() -> Compatibility {
        static KEY: LazyLock<Compatibility> =
            LazyLock::new(|| Compatibility::new(&Settings::default(), ISA));
        KEY.clone()
    }

    fn image() -> CodeImage {
        CodeImage {
            text: (0..200).collect(),
            funcs: vec![
                FuncRange { start: 0, end: 50 },
                FuncRange { start: 64, end: 64 },
                FuncRange { start: 64, end: 200 },
            ],
            traps: Trap::ALL
                .iter()
                .enumerate()
                .map(|(i, &trap)| TrapSite { offset: 9 * i as u32, trap })
                .collect(),
            locations: vec![
                Location { offset: 0, wasm: Location::NONE },
                Location { offset: 70, wasm: 12 },
                Location { offset: 199, wasm: 0x1234_5678 },
                Location { offset: 199, wasm: Location::INLINED | 1 },
            ],
            inlined: vec![
                Inlined { func: DefinedFuncIndex(2), wasm: 3, outer: 0x1234_5678 },
                Inlined { func: DefinedFuncIndex(0), wasm: 4, outer: Location::INLINED },
            ],
            exceptions: ExceptionTable {
                calls: vec![TryCall { offset: 40, context: -16, frame: 48, first: 1 }],
                handlers: vec![
                    Handler::LAST,
                    Handler { tag: 7, target: 199 },
                    Handler { tag: Handler::OUTER, target: 0 },
                ],
            },
            stack_maps: StackMaps::from_parts(vec![7, 100], vec![2, 3], vec![-8, -12, 16]),
        }
    }

    fn artifact() -> Vec<u8> {
        encode(&key(), &compatibility(), WASM, image(), false)
    }

    fn open(bytes: &[u8]) -> Result<(&[u8], CodeImage), ArtifactError> {
        let found = decode(Source::Signed(bytes, &key()), &compatibility(), true)?;
        Ok((found.wasm, found.sections.image()?))
    }

    /// Positions to try: all; under Miri, where hashing is slow, some.
    pub(super) fn positions(range: Range<usize>) -> impl Iterator<Item = usize> {
        range.step_by(if cfg!(miri) { 301 } else { 1 })
    }

    /// The start of the part after the wasm.
    const LENGTHS_AT: usize = PREFIX_BYTES + WASM.len();

    fn put(bytes: &mut [u8], at: usize, value: u64) {
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// An artifact changed by `change` and then signed: what a holder of the key could make.
    fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Result<(), ArtifactError> {
        let mut bytes = artifact();
        bytes.truncate(bytes.len() - MAC_BYTES);
        change(&mut bytes);
        let total = bytes.len() + MAC_BYTES;
        put(&mut bytes, 12, total as u64);
        let mac = key().mac(&bytes, false);
        bytes.extend_from_slice(mac.as_bytes());
        open(&bytes).map(|_| ())
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let bytes = artifact();
        assert!(detect(&bytes));
        assert_eq!(open(&bytes), Ok((WASM, image())));
        assert_eq!(embedded_wasm(&bytes), Ok(WASM));
        let empty = encode(&key(), &compatibility(), b"", CodeImage::default(), false);
        assert_eq!(open(&empty), Ok((&b""[..], CodeImage::default())));
        assert_eq!(forged(|_| ()), Ok(()));
    }

    #[test]
    fn other_files_are_no_artifacts() {
        for bytes in [b"".as_slice(), b"\x89", b"\x89wardia", b"\0asm\x01\0\0\0", b"(module)"] {
            assert!(!detect(bytes));
            assert_eq!(open(bytes), Err(ArtifactError::NotAnArtifact));
            assert_eq!(embedded_wasm(bytes), Err(ArtifactError::NotAnArtifact));
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = artifact();
        for length in positions(0..bytes.len()) {
            let cut = &bytes[..length];
            let error = open(cut).unwrap_err();
            let expected = if length < MAGIC.len() {
                ArtifactError::NotAnArtifact
            } else {
                let expected = if length < PREFIX_BYTES { PREFIX_BYTES } else { bytes.len() };
                ArtifactError::Truncated { found: length as u64, expected: expected as u64 }
            };
            assert_eq!(error, expected);
            assert_eq!(embedded_wasm(cut).is_ok(), length >= LENGTHS_AT);
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(matches!(open(&longer), Err(ArtifactError::Malformed(_))));
    }

    #[test]
    fn every_flip_is_refused() {
        let mut bytes = artifact();
        for at in positions(0..bytes.len()) {
            for mask in [1, 0x80, 0xff] {
                bytes[at] ^= mask;
                let error = open(&bytes).unwrap_err();
                if at >= PREFIX_BYTES {
                    assert_eq!(error, ArtifactError::Mac, "at {at}");
                }
                let _ = embedded_wasm(&bytes);
                bytes[at] ^= mask;
            }
        }
        assert!(open(&bytes).is_ok());
    }

    /// Content that is trusted wrongly still cannot make the decoder panic or break an image's rules.
    #[test]
    fn flipped_and_truncated_content_is_decoded_soundly() {
        let mut bytes = artifact();
        bytes.truncate(bytes.len() - MAC_BYTES);
        for at in positions(0..bytes.len()) {
            if at >= PREFIX_BYTES {
                parse(&bytes[..at], &compatibility()).unwrap_err();
            }
            for mask in [1, 0x80, 0xff] {
                bytes[at] ^= mask;
                let found = parse(&bytes, &compatibility());
                if let Ok(image) = found.and_then(|artifact| artifact.sections.image()) {
                    assert_eq!(image.check(), Ok(()));
                }
                bytes[at] ^= mask;
            }
        }
    }

    #[test]
    fn another_key_is_refused() {
        let (bytes, other) = (artifact(), ArtifactKey::from_bytes([8; 32]));
        let error = decode(Source::Signed(&bytes, &other), &compatibility(), false);
        assert_eq!(error.unwrap_err(), ArtifactError::Mac);
    }

    #[test]
    fn another_version_is_named_and_its_wasm_found() {
        let mut bytes = artifact();
        bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
        let error = open(&bytes).unwrap_err();
        assert_eq!(error, ArtifactError::Version { found: VERSION + 1, expected: VERSION });
        assert_eq!(embedded_wasm(&bytes), Ok(WASM));
    }

    #[test]
    fn what_differs_is_named() {
        let check = |change: &dyn Fn(&mut Settings), isa: &str, expected: &str| {
            let mut settings = Settings::default();
            change(&mut settings);
            let made = encode(&key(), &Compatibility::new(&settings, isa), WASM, image(), false);
            match open(&made) {
                Err(ArtifactError::Compatibility(why)) => assert_eq!(why, expected),
                other => panic!("expected {expected}, found {other:?}"),
            }
        };
        check(
            &|s| s.signals_based_traps = false,
            ISA,
            "made with signals-based-traps off, this engine has it on",
        );
        check(
            &|s| s.memory_guard_size = 65536,
            ISA,
            "made with memory-guard-size 65536, this engine has 33554432",
        );
        check(
            &|s| {
                s.proposals.set(Proposal::TailCall, false);
                s.opt_level = OptLevel::None;
            },
            ISA,
            "made with opt-level none, this engine has speed; \
             made with tail-call off, this engine has it on",
        );
        check(
            &|_| (),
            "x86_64 avx512f sse4.1 avx2",
            "made for CPU features avx512f, which this engine's target lacks; \
             made for a CPU without bmi2, which this engine's target has",
        );
        check(&|_| (), "aarch64 lse", "made for aarch64, this engine compiles for x86_64");
    }

    #[test]
    fn declared_lengths_past_the_end_are_refused() {
        for at in [20].into_iter().chain((0..8).map(|n| LENGTHS_AT + 8 * n)) {
            let lengths = [u64::MAX, u64::MAX / 8 + 1, 1 << 40, 1 << 31, 100_000];
            for &length in &lengths[if cfg!(miri) { 4 } else { 0 }..] {
                let error = forged(|bytes| put(bytes, at, length)).unwrap_err();
                assert!(matches!(error, ArtifactError::Malformed(_)), "{error}");
            }
        }
        let mut bytes = artifact();
        for total in [0, PREFIX_BYTES as u64, u64::MAX] {
            put(&mut bytes, 12, total);
            open(&bytes).unwrap_err();
            bytes.truncate(PREFIX_BYTES);
            open(&bytes).unwrap_err();
        }
        put(&mut bytes, 20, u64::MAX);
        assert!(matches!(embedded_wasm(&bytes), Err(ArtifactError::Truncated { .. })));
    }

    #[test]
    fn contradictions_are_refused_even_when_signed() {
        let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
            let error = forged(change).unwrap_err();
            assert_eq!(error, ArtifactError::Malformed(expected.into()));
        };
        let text_at = LENGTHS_AT + LENGTHS_BYTES + compatibility().as_bytes().len();
        let funcs_at = text_at + image().text.len();
        let traps_at = funcs_at + image().funcs.len() * FUNC_BYTES;
        let locations_at = traps_at + image().traps.len() * TRAP_BYTES;
        check(&|b| b.extend_from_slice(b"xyz"), "3 bytes past its last section");
        check(&|b| b[traps_at + 4] = 0, "expected the code of a trap, found 0");
        check(&|b| b[traps_at + 9] = 200, "expected the code of a trap, found 200");
        check(&|b| b[traps_at + 3] = 9, "tables out of order");
        check(&|b| b[locations_at + 3] = 9, "tables out of order");
        let inlined_at = locations_at + image().locations.len() * LOCATION_BYTES;
        check(&|b| b[inlined_at] = 3, "inlined code of no place");
        check(&|b| b[inlined_at + 20] = 1, "inlined code of no place");
        let calls_at = inlined_at + image().inlined.len() * INLINED_BYTES;
        check(&|b| b[calls_at + 1] = 9, "exception table out of order");
        check(&|b| b[calls_at + 12] = 3, "exception table out of order");
        let handlers_at = calls_at + CALL_BYTES;
        check(&|b| b[handlers_at + 12] = 200, "exception table out of order");
        check(&|b| b[handlers_at + 20] = 2, "exception table out of order");
        let maps_at = handlers_at + image().exceptions.handlers.len() * HANDLER_BYTES;
        check(&|b| b[maps_at] = 101, "stack maps out of order");
        check(&|b| b[maps_at + 8] = 201, "stack maps out of order");
        check(&|b| b[maps_at + 12] = 4, "stack maps out of order");
        check(&|b| b[maps_at + 16] = 0xf6, "stack maps out of order");
        check(&|b| b[funcs_at + 4] = 90, "function outside the text, or out of order");
        check(&|b| b[funcs_at + 20] = 201, "function outside the text, or out of order");
    }

    #[test]
    fn errors_say_what_was_expected_and_found() {
        let check = |error: ArtifactError, expected: &str| assert_eq!(error.to_string(), expected);
        check(
            ArtifactError::Truncated { found: 10, expected: 20 },
            "precompiled module is cut off: expected 20 bytes, found 10",
        );
        check(
            ArtifactError::Version { found: 9, expected: 3 },
            "precompiled module of another version of wardian: expected format 3, found format 9",
        );
        check(
            ArtifactError::Compatibility("made for a, this engine is b".into()),
            "precompiled module does not fit this engine: made for a, this engine is b",
        );
    }
}
