//! Filling with vectors of 32 bytes, where the processor has AVX2.

use super::FillElements;
use std::arch::x86_64::{__m256i, _mm256_set_epi64x, _mm256_storeu_si256};
use std::slice;

/// The routine, if this processor can run it.
pub(super) fn fill_elements() -> Option<FillElements> {
    is_x86_feature_detected!("avx2").then_some(fill_with_avx2)
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

/// Writes elements: see `layout::Field::FillElementsRoutine`. What ends with an element begins with one, so the last
/// bytes are written as the first are, which may overlap.
#[target_feature(enable = "avx2")]
fn with_avx2(bytes: &mut [u8], low: u64, high: u64) {
    let vector =
        |low: u64, high: u64| _mm256_set_epi64x(high as i64, low as i64, high as i64, low as i64);
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
#[inline]
fn put(bytes: &mut [u8], wide: __m256i) {
    let place: &mut [u8; 32] = bytes.first_chunk_mut().expect("the caller saw to that");
    // SAFETY: [foreign function] an intrinsic that writes 32 bytes, wherever they lie; `place` has them.
    unsafe { _mm256_storeu_si256(place.as_mut_ptr().cast(), wide) }
}
