//! Routines of the host that generated code calls without a shim: they come back at once, do not fail, and look at
//! nothing but the bytes they are given.
//!
//! Invariant: code has checked the ranges (see `wardian_lower`); nothing else of the guest runs meanwhile.

use std::slice;

/// Copies bytes of linear memories or of arrays; the ranges may overlap.
///
/// # Safety
///
/// - Only generated code calls it, with ranges that it has checked.
pub(crate) unsafe extern "C" fn copy_bytes(target: *mut u8, source: *const u8, length: usize) {
    // SAFETY: [compiled code] both ranges lie in memories of the running instance, in its store's heap, or, what is
    // read, in a data segment of its module.
    unsafe { std::ptr::copy(source, target, length) }
}

/// Fills bytes of a linear memory or an array.
///
/// # Safety
///
/// - Only generated code calls it, with a range that it has checked.
pub(crate) unsafe extern "C" fn fill_bytes(target: *mut u8, byte: u32, length: usize) {
    // SAFETY: [compiled code] the range lies in a memory of the running instance or in its store's heap.
    unsafe { std::ptr::write_bytes(target, byte as u8, length) }
}

/// `layout::Field::FillElementsRoutine`
pub(crate) type FillElements = unsafe extern "C" fn(*mut u8, u64, u64, usize);

/// The routine that fills elements, for this processor.
pub(crate) fn fill_elements() -> FillElements {
    if is_x86_feature_detected!("avx2") { fill_with_avx2 } else { fill_plainly }
}

/// # Safety
///
/// - Only generated code calls it, with a range that it has checked.
unsafe extern "C" fn fill_plainly(target: *mut u8, low: u64, high: u64, length: usize) {
    // SAFETY: [compiled code] the range lies in the running store's heap, and the guest waits.
    fill(unsafe { slice::from_raw_parts_mut(target, length) }, low, high);
}

/// # Safety
///
/// - Only generated code calls it, with a range that it has checked.
/// - The processor has AVX2.
#[target_feature(enable = "avx2")]
unsafe extern "C" fn fill_with_avx2(target: *mut u8, low: u64, high: u64, length: usize) {
    // SAFETY: [compiled code] the range lies in the running store's heap, and the guest waits.
    fill(unsafe { slice::from_raw_parts_mut(target, length) }, low, high);
}

/// Writes elements of 2, 4, 8 or 16 bytes, which `low` and `high` are or hold several of. They begin and end with
/// the bytes, and at a multiple of their size, or of 8.
#[inline(always)]
fn fill(bytes: &mut [u8], low: u64, high: u64) {
    let pattern = |low: u64, high: u64| u128::from(low) | u128::from(high) << 64;
    let wide = |pattern: u128| {
        let mut wide = [0; 32];
        wide[..16].copy_from_slice(&pattern.to_le_bytes());
        wide[16..].copy_from_slice(&pattern.to_le_bytes());
        wide
    };
    let short = pattern(low, high).to_le_bytes();
    // Whatever begins or ends with elements: its first and last bytes, which may overlap.
    macro_rules! ends {
        ($size:literal, $content:expr) => {
            if let Some(first) = bytes.first_chunk_mut::<$size>() {
                *first = $content;
                if let Some(last) = bytes.last_chunk_mut::<$size>() {
                    *last = $content;
                }
            }
        };
    }
    match bytes.len() {
        0..4 => ends!(2, [short[0], short[1]]),
        4..8 => ends!(4, [short[0], short[1], short[2], short[3]]),
        8..16 => ends!(8, low.to_le_bytes()),
        16..32 => ends!(16, short),
        length => {
            ends!(32, wide(pattern(low, high)));
            // The rest at multiples of 32, where the elements lie as before, or shifted by half a vector.
            let skipped = (bytes.as_ptr() as usize).wrapping_neg() % 32;
            let wide = match skipped & 8 {
                0 => wide(pattern(low, high)),
                _ => wide(pattern(high, low)),
            };
            let end = skipped + (length - skipped) / 32 * 32;
            for chunk in bytes[skipped..end].as_chunks_mut::<32>().0 {
                *chunk = wide;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_each_size_fill_every_range_and_nothing_beside_it() {
        for size in [2, 4, 8, 16] {
            let element: Vec<u8> = (1..=size as u8).collect();
            let bits: Vec<u8> = element.iter().copied().cycle().take(16).collect();
            let half = |at: usize| u64::from_le_bytes(bits[at..at + 8].try_into().unwrap());
            for start in (0..40).step_by(size.min(8)) {
                for count in 0..40 {
                    let mut bytes = vec![0xee_u8; 40 + size * 40 + 40];
                    let aligned = (bytes.as_ptr() as usize).wrapping_neg() % 8;
                    let (start, end) = (aligned + start, aligned + start + count * size);
                    let mut expected = bytes.clone();
                    expected[start..end].copy_from_slice(&element.repeat(count));
                    fill(&mut bytes[start..end], half(0), half(8));
                    assert_eq!(bytes, expected, "{count} of {size} bytes at {start}");
                }
            }
        }
    }
}
