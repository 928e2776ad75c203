//! Routines of the host that generated code calls without a shim: they come back at once, do not fail, and look at
//! nothing but the bytes they are given.
//!
//! Invariant: code has checked the ranges (see `wardian_lower`); nothing else of the guest runs meanwhile.

#[cfg_attr(all(target_arch = "x86_64", not(miri)), path = "routines/vectors_x86_64.rs")]
#[cfg_attr(any(not(target_arch = "x86_64"), miri), path = "routines/vectors_none.rs")]
mod vectors;

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
    vectors::fill_elements().unwrap_or(fill_plainly)
}

/// # Safety
///
/// - Only generated code calls it, with a range that it has checked.
unsafe extern "C" fn fill_plainly(target: *mut u8, low: u64, high: u64, length: usize) {
    // SAFETY: [compiled code] the range lies in the running store's heap, and the guest waits.
    plainly(unsafe { slice::from_raw_parts_mut(target, length) }, low, high);
}

/// Writes elements: see `layout::Field::FillElementsRoutine`.
fn plainly(bytes: &mut [u8], low: u64, high: u64) {
    let element = (u128::from(low) | u128::from(high) << 64).to_le_bytes();
    let (whole, rest) = bytes.as_chunks_mut::<16>();
    whole.fill(element);
    let length = rest.len();
    rest.copy_from_slice(&element[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routines() -> impl Iterator<Item = FillElements> {
        [fill_plainly as FillElements].into_iter().chain(vectors::fill_elements())
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
