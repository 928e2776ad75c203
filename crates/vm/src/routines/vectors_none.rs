//! Where there are no vectors that we know of: see `vectors_x86_64.rs`.

use super::FillElements;

pub(super) fn fill_elements() -> Option<FillElements> {
    None
}
