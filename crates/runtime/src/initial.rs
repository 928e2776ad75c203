//! What the memories of a module's instances begin with: from the second instance on they share it, page
//! by page, until they write to it. Where it is small, copying it is as fast, but each instance has a page
//! of its own then: such modules share once they have many instances.
//!
//! Invariant: an instance that shares differs in nothing from one whose segments were copied. So there is
//! nothing to share unless no active segment of the module can trap, since then nobody sees in which
//! order they were applied.

use std::ops::Range;
use std::sync::Arc;
use wardian_module::{ConstExpr, ConstOp, DataIndex, Module, SegmentMode};
use wardian_vm::{Code, InitialMemory};

/// Bytes of segments from which sharing pays for two instances.
const LEAST: usize = 64 << 10;
/// Instances from which it pays for less. What is shared is an open file.
const MANY: u32 = 16;
/// How many times the bytes of its segments the shared range of a memory may be long.
const SPREAD: usize = 8;

/// For each memory that the module defines, what the next instance's begins with. Empty if all are to be
/// filled by copying.
pub(crate) fn of(code: &Code) -> &[Option<Arc<InitialMemory>>] {
    code.initial_memories(|before| match before {
        1 => shared(code.module(), LEAST).filter(|made| made.iter().any(Option::is_some)),
        MANY.. => Some(shared(code.module(), 1).unwrap_or_default()),
        _ => None,
    })
}

/// Makes now what a later instance would have made, so that the first one shares it.
pub fn prepare_initial_memories(code: &Code) {
    code.initial_memories(|_| Some(shared(code.module(), 1).unwrap_or_default()));
}

/// The value of an offset that is a constant.
fn constant(offset: &ConstExpr) -> Option<u64> {
    match offset {
        ConstExpr::I32(value) => Some(u64::from(*value as u32)),
        ConstExpr::Ops(ops) => match ops[..] {
            [ConstOp::I64(value)] => Some(value as u64),
            _ => None,
        },
    }
}

/// For memories with at least so many bytes of segments. `None` if a segment might trap, or shall be seen
/// before another.
fn shared(module: &Module, least: usize) -> Option<Vec<Option<Arc<InitialMemory>>>> {
    for segment in &module.elements {
        if let SegmentMode::Active(table, offset) = &segment.mode {
            let own = table.index().checked_sub(module.imported_tables)?;
            let minimum = module.tables[module.imported_tables + own].ty.limits.min;
            let end = constant(offset)?.checked_add(segment.items.len() as u64)?;
            (end <= minimum).then_some(())?;
        }
    }
    /// Bytes of segments of a memory, and the range they lie in.
    #[derive(Clone, Default)]
    struct Extent {
        bytes: usize,
        range: Option<Range<usize>>,
    }
    let mut extents = vec![Extent::default(); module.memories.len() - module.imported_memories];
    let mut places = Vec::with_capacity(module.data.len());
    for (index, segment) in module.data.iter().enumerate() {
        let SegmentMode::Active(memory, offset) = &segment.mode else { continue };
        let own = memory.index().checked_sub(module.imported_memories)?;
        let start = usize::try_from(constant(offset)?).ok()?;
        let length = module.data_bytes(DataIndex::from(index)).len();
        let end = start.checked_add(length)?;
        (end as u128 <= module.memories[memory.index()].minimum_bytes()).then_some(())?;
        if module.memories[memory.index()].shared {
            // Its bytes belong to no instance.
            continue;
        }
        let extent = &mut extents[own];
        extent.bytes = extent.bytes.saturating_add(length);
        let range = extent.range.get_or_insert(start..end);
        *range = range.start.min(start)..range.end.max(end);
        places.push((own, start, DataIndex::from(index)));
    }
    let image = |(own, extent): (usize, Extent)| {
        let range = extent.range?;
        let dense = range.len() <= LEAST || range.len() / SPREAD <= extent.bytes;
        let worth = extent.bytes >= least.max(1) && dense;
        let mut content = vec![0; worth.then_some(range.len())?];
        for (_, start, index) in places.iter().filter(|(of, ..)| *of == own) {
            let bytes = module.data_bytes(*index);
            content[start - range.start..][..bytes.len()].copy_from_slice(bytes);
        }
        let made = InitialMemory::new(range.start, &content);
        made.inspect_err(|error| tracing::debug!(%error, "no shared memory")).ok().map(Arc::new)
    };
    Some(extents.into_iter().enumerate().map(image).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wardian_module::{Proposals, decode};

    fn images(text: &str, least: usize) -> Option<Vec<bool>> {
        let text = text.replace("LONG", &"x".repeat(LEAST));
        let wasm = wat::parse_str(text).unwrap();
        let (module, _) = decode(wasm, Proposals::all_built()).unwrap();
        shared(&module, least).map(|images| images.iter().map(Option::is_some).collect())
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn only_what_cannot_be_told_apart_is_shared() {
        let check = |text: &str, expected: Option<&[bool]>| {
            assert_eq!(images(text, LEAST).as_deref(), expected, "{text}");
        };
        check(r#"(module (memory 2) (data (i32.const 9) "LONG"))"#, Some(&[true]));
        check(r#"(module (memory 2) (data (i32.const 9) "LON"))"#, Some(&[false]));
        check(r#"(module (memory 2) (data "LONG"))"#, Some(&[false]));
        check(r#"(module (memory i64 2) (data (i64.const 9) "LONG"))"#, Some(&[true]));
        check(
            r#"(module (memory 0) (memory 2) (data (memory 1) (i32.const 9) "LONG"))"#,
            Some(&[false, true]),
        );
        // Little is shared by many.
        let little = r#"(module (memory 2) (memory 1) (data (i32.const 9) "x"))"#;
        assert_eq!(images(little, 1), Some(vec![true, false]));
        let apart = r#"(module (memory 9) (data (i32.const 0) "x") (data (i32.const 99999) "x"))"#;
        assert_eq!(images(apart, 1), Some(vec![false]));
        // Far apart.
        check(
            r#"(module (memory 99) (data (i32.const 9) "LONG") (data (i32.const 6000000) "x"))"#,
            Some(&[false]),
        );
        // These might trap, or are seen by others.
        check(r#"(module (memory 1) (data (i32.const 9) "LONG"))"#, None);
        check(r#"(module (import "" "" (memory 2)) (data (i32.const 9) "LONG"))"#, None);
        check(
            r#"(module (import "" "" (global i32)) (memory 2) (data (global.get 0) "LONG"))"#,
            None,
        );
        check(r#"(module (memory 2) (data (i32.const 9) "LONG") (data (i32.const -1) "x"))"#, None);
        check(
            r#"(module (memory 2) (data (i32.const 9) "LONG") (func $f) (table 1 funcref)
                (elem (i32.const 1) $f))"#,
            None,
        );
        check(
            r#"(module (memory 2) (data (i32.const 9) "LONG") (func $f) (table 1 funcref)
                (elem (i32.const 0) $f))"#,
            Some(&[true]),
        );
    }
}
