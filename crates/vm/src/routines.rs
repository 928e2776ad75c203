//! Routines of the host that generated code calls without a shim: they come back at once, do not fail, and look at
//! nothing but the bytes they are given.
//!
//! Invariant: code has checked the ranges (see `wardian_lower`); nothing else of the guest runs meanwhile.

use std::arch::x86_64::{__m256i, _mm256_set_epi64x, _mm256_storeu_si256};
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
    plainly(unsafe { slice::from_raw_parts_mut(target, length) }, low, high);
}

/// # Safety
///
/// - Only generated code calls it, with a range that it has checked.
/// - The processor has AVX2.
#[target_feature(enable = "avx2")]
unsafe extern "C" fn fill_with_avx2(target: *mut u8, low: u64, high: u64, length: usize) {
    // SAFETY: [compiled code] the range lies in the running store's heap, and the guest waits.
    with_avx2(unsafe { slice::from_raw_parts_mut(target, length) }, low, high);
}

// Both write elements of 2, 4, 8 or 16 bytes, which `low` and `high` are or hold several of. They begin and end with
// the bytes, and at a multiple of their size, or of 8.

fn plainly(bytes: &mut [u8], low: u64, high: u64) {
    let element = (u128::from(low) | u128::from(high) << 64).to_le_bytes();
    let (whole, rest) = bytes.as_chunks_mut::<16>();
    whole.fill(element);
    let length = rest.len();
    rest.copy_from_slice(&element[..length]);
}

#[target_feature(enable = "avx2")]
fn with_avx2(bytes: &mut [u8], low: u64, high: u64) {
    let vector =
        |low: u64, high: u64| _mm256_set_epi64x(high as i64, low as i64, high as i64, low as i64);
    // As many bytes at the beginning and at the end, which may overlap: what ends with an element begins with one.
    match bytes.len() {
        0..4 => put_ends(bytes, (low as u16).to_le_bytes()),
        4..8 => put_ends(bytes, (low as u32).to_le_bytes()),
        8..16 => put_ends(bytes, low.to_le_bytes()),
        16..32 => {
            put_ends(&mut bytes[8..], high.to_le_bytes());
            let end = bytes.len() - 8;
            put_ends(&mut bytes[..end], low.to_le_bytes());
        }
        length @ 32.. => {
            let wide = vector(low, high);
            put(&mut bytes[length - 32..], wide);
            put(bytes, wide);
            if length <= 64 {
                return;
            }
            // The rest at multiples of 32, where the elements lie as before, or shifted by half a vector.
            let skipped = (bytes.as_ptr() as usize).wrapping_neg() % 32;
            let wide = if skipped & 8 == 0 { wide } else { vector(high, low) };
            for chunk in bytes[skipped..].as_chunks_mut::<32>().0 {
                put(chunk, wide);
            }
        }
    }
}

fn put_ends<const N: usize>(bytes: &mut [u8], content: [u8; N]) {
    if let Some(first) = bytes.first_chunk_mut() {
        *first = content;
    }
    if let Some(last) = bytes.last_chunk_mut() {
        *last = content;
    }
}

/// Writes the first bytes. The vector comes from a register: one that was put together in memory would wait there
/// for its parts (20 ns).
#[target_feature(enable = "avx2")]
fn put(bytes: &mut [u8], wide: __m256i) {
    let place: &mut [u8; 32] = bytes.first_chunk_mut().expect("the caller saw to that");
    // SAFETY: [foreign function] an intrinsic that writes 32 bytes, wherever they lie; `place` has them.
    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), wide) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routines() -> impl Iterator<Item = FillElements> {
        let wide = is_x86_feature_detected!("avx2").then_some(fill_with_avx2 as FillElements);
        [fill_plainly as FillElements].into_iter().chain(wide)
    }

    #[test]
    fn elements_of_each_size_fill_every_range_and_nothing_beside_it() {
        for size in [2, 4, 8, 16] {
            let element: Vec<u8> = (1..=size as u8).collect();
            let bits: Vec<u8> = element.iter().copied().cycle().take(16).collect();
            let half = |at: usize| u64::from_le_bytes(bits[at..at + 8].try_into().unwrap());
            for start in (0..40).step_by(size.min(8)) {
                for count in 0..40 {
                    let bytes = vec![0xee_u8; 40 + size * 40 + 40];
                    for routine in routines() {
                        let mut bytes = bytes.clone();
                        let aligned = (bytes.as_ptr() as usize).wrapping_neg() % 8;
                        let (start, end) = (aligned + start, aligned + start + count * size);
                        let mut expected = bytes.clone();
                        expected[start..end].copy_from_slice(&element.repeat(count));
                        let target = bytes[start..].as_mut_ptr();
                        // SAFETY: [compiled code] stands for a check here: so many bytes follow in `bytes`.
                        unsafe { routine(target, half(0), half(8), count * size) };
                        assert_eq!(bytes, expected, "{count} of {size} bytes at {start}");
                    }
                }
            }
        }
    }
}
