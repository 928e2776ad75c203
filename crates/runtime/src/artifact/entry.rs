//! Entries of the code cache: artifacts without their module, which is named by its digest.
//!
//! ```text
//!   magic       8 bytes
//!   version     u32
//!   total       u64       all bytes, the MAC included
//!   digest      32 bytes, BLAKE3 of the module's bytes
//!   validated   u8        1: all bodies are valid under the proposals that the key names
//!   content     u8        0: functions, 1: image
//!   length      u64       bytes of the key
//!   key         text, see `Compatibility`
//!   content     see below
//!   MAC         32 bytes, keyed BLAKE3 of everything before it
//!
//!   image:      the sections of an artifact after its key, with their lengths before them
//!   functions:  count u64, then of each: func u32, tier u8, starts u64, lengths u32 × 9,
//!               bytes, relocations (offset u32, target u32, addend i64) …, traps, locations,
//!               inlined places, calls, handlers and stack maps as in an artifact
//! ```
//!
//! Unlike artifacts, entries of other versions have no meaning at all: they are misses.
//!
//! Invariant: as of artifacts. Of bytes without a holder's MAC nothing but magic, version and total
//! length is looked at; whatever they are, decoding gives an error or code that keeps the rules of
//! [`CodeImage`], or that the kernel checks when it is published, and allocates a few times their size
//! at most.

use super::{
    ArtifactError, ArtifactKey, CALL_BYTES, Compatibility, FUNC_BYTES, HANDLER_BYTES,
    INLINED_BYTES, LOCATION_BYTES, MAC_BYTES, MAP_BYTES, MAP_PLACE_BYTES, Reader, Sections,
    TRAP_BYTES, decode_exceptions, decode_inlined, decode_locations, decode_maps, decode_traps,
    encode_tables, malformed, maps_bytes, outside, pair, section,
};
use std::ops::Range;
use wardian_module::DefinedFuncIndex;
use wardian_module::image::{CodeImage, FunctionCode, Reloc, RelocTarget, Starts};
use wardian_vm::Tier;

const MAGIC: [u8; 8] = *b"\x89wardcch";
/// To be raised whenever the same bytes would mean something else.
const VERSION: u32 = 4;
const PREFIX_BYTES: usize = 20;
const HEAD_BYTES: usize = PREFIX_BYTES + DIGEST_BYTES + 2 + 8;
const DIGEST_BYTES: usize = blake3::OUT_LEN;
const RELOC_BYTES: usize = 16;
/// What a function takes beside its tables.
const FUNCTION_BYTES: usize = 4 + 1 + 8 + 9 * 4;
/// Kinds of content.
const FUNCTIONS: u8 = 0;
const IMAGE: u8 = 1;
/// The target of a relocation that is no function.
const MODULE_TABLE: u32 = u32::MAX;

/// What an entry holds of a module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// Whether all bodies of the module were validated.
    pub(crate) validated: bool,
    pub(crate) content: Content,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    /// Some of its functions, to be called through slots.
    Functions(Vec<CachedFunction>),
    /// All of them.
    Image(Box<CodeImage>),
}

/// One compiled function.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CachedFunction {
    pub(crate) func: DefinedFuncIndex,
    pub(crate) tier: Tier,
    pub(crate) code: FunctionCode,
}

/// What makes an entry one of an engine and a module.
#[derive(Clone, Copy)]
pub(crate) struct Seal<'a> {
    /// What it is signed with.
    pub(crate) key: &'a ArtifactKey,
    /// Of the engine.
    pub(crate) compatibility: &'a Compatibility,
    /// Of the module's bytes.
    pub(crate) digest: &'a blake3::Hash,
    /// Whether several threads may make the MAC.
    pub(crate) parallel: bool,
}

impl Entry {
    /// The entry as bytes.
    pub(crate) fn encode(&self, seal: Seal<'_>) -> Vec<u8> {
        let Seal { key, compatibility, digest, parallel } = seal;
        let mut out = Vec::with_capacity(self.size(compatibility));
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 8]);
        out.extend_from_slice(digest.as_bytes());
        out.push(u8::from(self.validated));
        out.push(match &self.content {
            Content::Functions(_) => FUNCTIONS,
            Content::Image(_) => IMAGE,
        });
        out.extend_from_slice(&(compatibility.as_bytes().len() as u64).to_le_bytes());
        out.extend_from_slice(compatibility.as_bytes());
        match &self.content {
            Content::Functions(functions) => {
                out.extend_from_slice(&(functions.len() as u64).to_le_bytes());
                functions.iter().for_each(|function| encode_function(&mut out, function));
            }
            Content::Image(image) => encode_image(&mut out, image),
        }
        let total = (out.len() + MAC_BYTES) as u64;
        out[PREFIX_BYTES - 8..PREFIX_BYTES].copy_from_slice(&total.to_le_bytes());
        let mac = key.entry_mac(&out, parallel);
        out.extend_from_slice(mac.as_bytes());
        debug_assert_eq!(out.len(), self.size(compatibility));
        out
    }

    fn size(&self, compatibility: &Compatibility) -> usize {
        let content = match &self.content {
            Content::Functions(functions) => {
                8 + functions.iter().map(CachedFunction::size).sum::<usize>()
            }
            Content::Image(image) => {
                9 * 8
                    + image.text.len()
                    + image.funcs.len() * FUNC_BYTES
                    + image.traps.len() * TRAP_BYTES
                    + image.locations.len() * LOCATION_BYTES
                    + image.inlined.len() * INLINED_BYTES
                    + image.exceptions.calls.len() * CALL_BYTES
                    + image.exceptions.handlers.len() * HANDLER_BYTES
                    + maps_bytes(&image.stack_maps)
            }
        };
        HEAD_BYTES + compatibility.as_bytes().len() + content + MAC_BYTES
    }

    /// The entry in `bytes`, if its seal is this one.
    pub(crate) fn decode(bytes: &[u8], seal: Seal<'_>) -> Result<Entry, ArtifactError> {
        let Head { validated, kind, mut rest } = Head::read(bytes, seal)?;
        let content = match kind {
            FUNCTIONS => Content::Functions(decode_functions(&mut rest)?),
            IMAGE => Content::Image(Box::new(decode_image(&mut rest)?)),
            _ => return Err(malformed(format!("expected content of kind 0 or 1, found {kind}"))),
        };
        if !rest.0.is_empty() {
            return Err(malformed(format!("{} bytes past its content", rest.0.len())));
        }
        Ok(Entry { validated, content })
    }
}

/// What stands before the content of an entry that is to be trusted.
struct Head<'a> {
    validated: bool,
    kind: u8,
    rest: Reader<'a>,
}

impl<'a> Head<'a> {
    fn read(bytes: &'a [u8], seal: Seal<'_>) -> Result<Head<'a>, ArtifactError> {
        let content = authenticate(bytes, seal)?;
        let mut rest = Reader(&content[PREFIX_BYTES..]);
        let (Some(found), Some(&[validated @ ..=1, kind])) =
            (rest.take(1, DIGEST_BYTES), rest.take(1, 2))
        else {
            return Err(malformed("its head is cut off, or not one".into()));
        };
        if found != seal.digest.as_bytes() {
            return Err(ArtifactError::Compatibility("made of another module".into()));
        }
        let length = rest.u64();
        seal.compatibility.check(section("key", length, 1, &mut rest)?)?;
        Ok(Head { validated: validated == 1, kind, rest })
    }
}

/// The functions of an entry, decoded one after the other: in memory there is one of them at a time,
/// beside the bytes of all.
pub(crate) struct EntryFunctions {
    /// Of the whole entry.
    bytes: Vec<u8>,
    /// Bytes and functions that are still to be decoded.
    range: Range<usize>,
    left: u64,
}

impl EntryFunctions {
    /// Of an entry with functions, and whether all bodies of the module were validated; otherwise as
    /// [`Entry::decode`].
    pub(crate) fn new(
        bytes: Vec<u8>,
        seal: Seal<'_>,
    ) -> Result<(bool, EntryFunctions), ArtifactError> {
        let Head { validated, kind, mut rest } = Head::read(&bytes, seal)?;
        if kind != FUNCTIONS {
            return Err(malformed(format!("expected content of kind 0, found {kind}")));
        }
        let left = function_count(&mut rest)?;
        let end = bytes.len() - MAC_BYTES;
        let range = end - rest.0.len()..end;
        Ok((validated, EntryFunctions { bytes, range, left }))
    }

    /// Of the whole entry.
    pub(crate) fn entry_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

impl Iterator for EntryFunctions {
    type Item = Result<CachedFunction, ArtifactError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let mut reader = Reader(&self.bytes[self.range.clone()]);
        let function = decode_function(&mut reader);
        if function.is_err() {
            // Where the next one begins is not known.
            self.left = 0;
        }
        self.range.start = self.range.end - reader.0.len();
        Some(function)
    }
}

impl CachedFunction {
    /// Bytes that it takes in an entry.
    pub(crate) fn size(&self) -> usize {
        let code = &self.code;
        FUNCTION_BYTES
            + code.bytes.len()
            + code.relocs.len() * RELOC_BYTES
            + code.traps.len() * TRAP_BYTES
            + code.locations.len() * LOCATION_BYTES
            + code.inlined.len() * INLINED_BYTES
            + code.exceptions.calls.len() * CALL_BYTES
            + code.exceptions.handlers.len() * HANDLER_BYTES
            + maps_bytes(&code.stack_maps)
    }
}

/// Everything but the MAC, if that is right.
fn authenticate<'a>(bytes: &'a [u8], seal: Seal<'_>) -> Result<&'a [u8], ArtifactError> {
    let mut reader = Reader(bytes);
    if reader.take(1, MAGIC.len()) != Some(&MAGIC) {
        return Err(ArtifactError::NotAnArtifact);
    }
    let (version, total) = (reader.u32().unwrap_or_default(), reader.u64().unwrap_or_default());
    if version != VERSION {
        return Err(ArtifactError::Version { found: version, expected: VERSION });
    }
    if total != bytes.len() as u64 {
        return Err(ArtifactError::Truncated { found: bytes.len() as u64, expected: total });
    }
    match bytes.split_last_chunk() {
        Some((content, mac))
            if content.len() >= HEAD_BYTES
                // The comparison takes the same time wherever the two differ.
                && seal.key.entry_mac(content, seal.parallel) == blake3::Hash::from_bytes(*mac) =>
        {
            Ok(content)
        }
        _ => Err(ArtifactError::Mac),
    }
}

fn encode_image(out: &mut Vec<u8>, image: &CodeImage) {
    // ORDER sections
    for length in [
        image.text.len(),
        image.funcs.len(),
        image.traps.len(),
        image.locations.len(),
        image.inlined.len(),
        image.exceptions.calls.len(),
        image.exceptions.handlers.len(),
        image.stack_maps.parts().0.len(),
        image.stack_maps.parts().2.len(),
    ] {
        out.extend_from_slice(&(length as u64).to_le_bytes());
    }
    out.extend_from_slice(&image.text);
    out.extend(image.funcs.iter().flat_map(|f| pair(f.start, f.end)));
    let CodeImage { traps, locations, inlined, exceptions, stack_maps, .. } = image;
    encode_tables(out, traps, locations, inlined, exceptions, stack_maps);
}

fn decode_image(reader: &mut Reader<'_>) -> Result<CodeImage, ArtifactError> {
    let lengths = std::array::from_fn(|_| reader.u64());
    Sections::read(lengths, reader)?.image()
}

fn encode_function(out: &mut Vec<u8>, function: &CachedFunction) {
    let CachedFunction { func, tier, code } = function;
    out.extend_from_slice(&func.0.to_le_bytes());
    out.push(*tier as u8);
    out.extend_from_slice(&code.starts.bits().to_le_bytes());
    for length in [
        code.bytes.len(),
        code.relocs.len(),
        code.traps.len(),
        code.locations.len(),
        code.inlined.len(),
        code.exceptions.calls.len(),
        code.exceptions.handlers.len(),
        code.stack_maps.parts().0.len(),
        code.stack_maps.parts().2.len(),
    ] {
        // A function has less than 1 GiB of code, and no table more entries than that.
        out.extend_from_slice(&(length as u32).to_le_bytes());
    }
    out.extend_from_slice(&code.bytes);
    for reloc in &code.relocs {
        let target = match reloc.target {
            RelocTarget::Func(func) => func.0,
            RelocTarget::ModuleTable => MODULE_TABLE,
        };
        out.extend_from_slice(&pair(reloc.offset, target));
        out.extend_from_slice(&reloc.addend.to_le_bytes());
    }
    let FunctionCode { traps, locations, inlined, exceptions, stack_maps, .. } = code;
    encode_tables(out, traps, locations, inlined, exceptions, stack_maps);
}

fn decode_functions(reader: &mut Reader<'_>) -> Result<Vec<CachedFunction>, ArtifactError> {
    (0..function_count(reader)?).map(|_| decode_function(reader)).collect()
}

fn function_count(reader: &mut Reader<'_>) -> Result<u64, ArtifactError> {
    let count = reader.u64();
    let bounded = count.filter(|count| *count <= (reader.0.len() / FUNCTION_BYTES) as u64);
    bounded.ok_or_else(|| outside("function", count, reader.0.len()))
}

fn decode_function(reader: &mut Reader<'_>) -> Result<CachedFunction, ArtifactError> {
    let (func, tier, starts) = (reader.u32(), reader.take(1, 1), reader.u64());
    let lengths: [_; 9] = std::array::from_fn(|_| reader.u32().map(u64::from));
    let (Some(func), Some(&[tier]), Some(starts)) = (func, tier, starts) else {
        return Err(malformed("a function is cut off".into()));
    };
    let tier = match tier {
        1 => Tier::Baseline,
        2 => Tier::Optimized,
        _ => return Err(malformed(format!("expected tier 1 or 2, found {tier}"))),
    };
    let bytes = section("code", lengths[0], 1, reader)?.to_vec();
    let (relocs, _) = section("relocation", lengths[1], RELOC_BYTES, reader)?.as_chunks();
    let traps = section("trap", lengths[2], TRAP_BYTES, reader)?;
    let locations = section("location", lengths[3], LOCATION_BYTES, reader)?;
    let inlined = section("inlined place", lengths[4], INLINED_BYTES, reader)?;
    let calls = section("call", lengths[5], CALL_BYTES, reader)?;
    let handlers = section("handler", lengths[6], HANDLER_BYTES, reader)?;
    let map_returns = section("stack map", lengths[7], MAP_BYTES, reader)?;
    let map_places = section("reference", lengths[8], MAP_PLACE_BYTES, reader)?;
    let code = FunctionCode {
        bytes,
        starts: Starts::from_bits(starts),
        relocs: relocs.iter().map(decode_reloc).collect(),
        traps: decode_traps(traps)?,
        locations: decode_locations(locations),
        inlined: decode_inlined(inlined),
        exceptions: decode_exceptions(calls, handlers),
        stack_maps: decode_maps(map_returns, map_places),
    };
    Ok(CachedFunction { func: DefinedFuncIndex(func), tier, code })
}

fn decode_reloc(bytes: &[u8; RELOC_BYTES]) -> Reloc {
    let entry = u128::from_le_bytes(*bytes);
    let target = match (entry >> 32) as u32 {
        MODULE_TABLE => RelocTarget::ModuleTable,
        func => RelocTarget::Func(DefinedFuncIndex(func)),
    };
    Reloc { offset: entry as u32, target, addend: (entry >> 64) as i64 }
}

const _: () = assert!(PREFIX_BYTES == MAGIC.len() + 4 + 8);

#[cfg(test)]
mod tests {
    use super::super::tests::positions;
    use super::*;
    use wardian_module::image::FuncRange;
    use wardian_module::image::{
        ExceptionTable, Handler, Inlined, Location, StackMaps, TrapSite, TryCall,
    };
    use wardian_module::{Settings, Trap};

    fn key() -> ArtifactKey {
        ArtifactKey::from_bytes([7; 32])
    }

    fn compatibility() -> Compatibility {
        Compatibility::new(&Settings::default(), "x86_64 avx2")
    }

    fn seal<'a>(
        key: &'a ArtifactKey,
        compatibility: &'a Compatibility,
        digest: &'a blake3::Hash,
    ) -> Seal<'a> {
        Seal { key, compatibility, digest, parallel: false }
    }

    fn digest() -> blake3::Hash {
        blake3::hash(b"module")
    }

    fn code(size: u8) -> FunctionCode {
        let func = DefinedFuncIndex(7);
        let relocs = [RelocTarget::Func(func), RelocTarget::ModuleTable];
        FunctionCode {
            bytes: (0..size).collect(),
            starts: Starts::multiples_of(16),
            relocs: relocs.map(|target| Reloc { offset: 4, target, addend: -4 }).into(),
            traps: vec![TrapSite { offset: 1, trap: Trap::MemoryOutOfBounds }],
            locations: vec![Location { offset: 0, wasm: Location::INLINED }],
            inlined: vec![Inlined { func, wasm: 9, outer: 8 }],
            exceptions: ExceptionTable {
                calls: vec![TryCall { offset: 2, context: -8, frame: 16, first: 0 }],
                handlers: vec![Handler { tag: Handler::ALL, target: 1 }],
            },
            stack_maps: StackMaps::from_parts(vec![3], vec![2], vec![-16, -20]),
        }
    }

    fn entries() -> [Entry; 2] {
        let function = |func, tier, size| CachedFunction {
            func: DefinedFuncIndex(func),
            tier,
            code: code(size),
        };
        let functions = vec![function(3, Tier::Optimized, 100), function(0, Tier::Baseline, 0)];
        let image = CodeImage {
            text: (0..200).collect(),
            funcs: vec![FuncRange { start: 0, end: 50 }, FuncRange { start: 64, end: 200 }],
            traps: vec![TrapSite { offset: 1, trap: Trap::IntegerOverflow }],
            locations: vec![Location { offset: 3, wasm: 30 }],
            inlined: vec![],
            exceptions: ExceptionTable::default(),
            stack_maps: StackMaps::from_parts(vec![50], vec![1], vec![-4]),
        };
        [
            Entry { validated: true, content: Content::Functions(functions) },
            Entry { validated: false, content: Content::Image(Box::new(image)) },
        ]
    }

    fn decode(bytes: &[u8]) -> Result<Entry, ArtifactError> {
        Entry::decode(bytes, seal(&key(), &compatibility(), &digest()))
    }

    #[test]
    fn there_and_back() {
        for entry in entries() {
            let bytes = entry.encode(seal(&key(), &compatibility(), &digest()));
            assert_eq!(decode(&bytes).unwrap(), entry);
            let one_by_one = EntryFunctions::new(bytes, seal(&key(), &compatibility(), &digest()));
            match entry.content {
                Content::Functions(expected) => {
                    let (validated, found) = one_by_one.unwrap();
                    assert!(validated == entry.validated);
                    assert_eq!(found.collect::<Result<Vec<_>, _>>().unwrap(), expected);
                }
                Content::Image(_) => assert!(one_by_one.is_err()),
            }
        }
    }

    #[test]
    fn damage_is_found_at_every_byte() {
        for entry in entries() {
            let bytes = entry.encode(seal(&key(), &compatibility(), &digest()));
            for length in positions(0..bytes.len()) {
                assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
            }
            for position in positions(0..bytes.len()) {
                for flip in [1, 0x80, 0xff] {
                    let mut bytes = bytes.clone();
                    bytes[position] ^= flip;
                    assert!(decode(&bytes).is_err(), "byte {position}");
                }
            }
        }
    }

    /// Bytes that a holder of the key made are decoded without a panic, whatever they are.
    #[test]
    fn signed_nonsense_is_malformed_or_harmless() {
        for entry in entries() {
            let bytes = entry.encode(seal(&key(), &compatibility(), &digest()));
            let content = &bytes[..bytes.len() - MAC_BYTES];
            let sign = |mut content: Vec<u8>| {
                let total = (content.len() + MAC_BYTES) as u64;
                content[PREFIX_BYTES - 8..PREFIX_BYTES].copy_from_slice(&total.to_le_bytes());
                let mac = key().entry_mac(&content, false);
                content.extend_from_slice(mac.as_bytes());
                content
            };
            assert_eq!(decode(&sign(content.to_vec())).unwrap(), entry);
            for length in positions(PREFIX_BYTES..content.len()) {
                assert!(decode(&sign(content[..length].to_vec())).is_err(), "{length} bytes");
            }
            for position in positions(PREFIX_BYTES..content.len()) {
                let mut content = content.to_vec();
                content[position] ^= 0xff;
                // Code and offsets may be anything.
                let _ = decode(&sign(content));
            }
        }
    }

    #[test]
    fn others_entries_are_refused() {
        let bytes = entries()[0].encode(seal(&key(), &compatibility(), &digest()));
        let other_key = ArtifactKey::from_bytes([8; 32]);
        assert_eq!(
            Entry::decode(&bytes, seal(&other_key, &compatibility(), &digest())),
            Err(ArtifactError::Mac)
        );
        let other_cpu = Compatibility::new(&Settings::default(), "x86_64");
        for (compatibility, digest) in
            [(&other_cpu, digest()), (&compatibility(), blake3::hash(b"other"))]
        {
            let found = Entry::decode(&bytes, seal(&key(), compatibility, &digest));
            assert!(matches!(found, Err(ArtifactError::Compatibility(_))), "{found:?}");
        }
    }

    #[test]
    fn an_entry_is_no_artifact() {
        let bytes = entries()[1].encode(seal(&key(), &compatibility(), &digest()));
        let source = super::super::Source::Signed(&bytes, &key());
        let found = super::super::decode(source, &compatibility(), false);
        assert_eq!(found.unwrap_err(), ArtifactError::NotAnArtifact);
    }
}
