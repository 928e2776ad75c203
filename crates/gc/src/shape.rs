//! Shapes and descriptors: what the collector knows of an object's type.
//!
//! A shape lies in the heap, where generated code reads it; its descriptor lies here, where no guest can
//! change it. An object's header leads to the first, which names the second by its position.

use crate::memory::{Memory, word};

pub use wardian_module::layout::{FORWARDED, NO_BARRIER};
use wardian_module::layout::{
    MIN_DISPLAY, OBJECT_ELEMENTS, OBJECT_FIELDS, OBJECT_LENGTH, SHAPE_ARRAY, SHAPE_DEPTH,
    SHAPE_DESCRIPTOR, SHAPE_DISPLAY, SHAPE_EXN, SHAPE_EXTERN, SHAPE_KIND, SHAPE_SIZE, SHAPE_STRUCT,
};

/// Bytes before the fields of a struct.
pub const OBJECT_HEADER: u32 = OBJECT_FIELDS;
/// Offset of the length of an array, and of what an extern object holds.
pub const ARRAY_LENGTH: u32 = OBJECT_LENGTH;
/// Bytes before the elements of an array.
pub const ARRAY_HEADER: u32 = OBJECT_ELEMENTS;

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A struct.
    Struct = SHAPE_STRUCT as u8,
    /// An array.
    Array = SHAPE_ARRAY as u8,
    /// A reference to a value of the host.
    Extern = SHAPE_EXTERN as u8,
    /// An exception.
    Exn = SHAPE_EXN as u8,
}

/// Where references lie in an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum References {
    /// At these offsets from its start.
    At(Vec<u32>),
    /// Each element of the array is one.
    Elements,
}

/// A type of objects, as the collector has to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// What they are.
    pub kind: Kind,
    /// Bytes of an object, header included, a multiple of 8; of an array's element.
    pub size: u32,
    /// Where they refer to others.
    pub references: References,
    /// A number that means something to the caller.
    pub tag: u32,
}

/// References that are looked up fast: bit `n` stands for the word at `OBJECT_HEADER + 4 * n`.
pub(crate) const FEW: u32 = 64;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptor {
    pub(crate) shape: u32,
    pub(crate) size: u32,
    pub(crate) kind: Kind,
    pub(crate) elements: bool,
    /// References in the first [`FEW`] words.
    pub(crate) few: u64,
    /// Others, as a position in `Shapes::many`; 0 is empty.
    pub(crate) many: u32,
    pub(crate) tag: u32,
}

impl Descriptor {
    /// Whether there is anything that it can refer to.
    #[inline(always)]
    pub(crate) fn leads_on(&self) -> bool {
        self.elements || self.few | u64::from(self.many) != 0
    }
}

/// The shapes of a heap. Nothing is taken out before the heap goes.
#[derive(Debug)]
pub(crate) struct Shapes {
    descriptors: Vec<Descriptor>,
    many: Vec<Box<[u32]>>,
    next: u32,
    end: u32,
}

impl Shapes {
    pub(crate) fn new(start: u32, end: u32) -> Shapes {
        Shapes { descriptors: Vec::new(), many: vec![Box::default()], next: start, end }
    }

    /// Adds a shape below `parent`'s and returns its offset. `None` when there is no room for more.
    pub(crate) fn add(
        &mut self,
        memory: &mut Memory<'_>,
        layout: &Layout,
        parent: Option<u32>,
    ) -> Option<u32> {
        let depth = match parent {
            Some(parent) => memory.read32(parent + SHAPE_DEPTH).checked_add(1)?,
            None => 0,
        };
        let shape = self.next;
        let display = depth.checked_add(1)?.max(MIN_DISPLAY);
        let size =
            display.checked_mul(4)?.checked_add(SHAPE_DISPLAY)?.checked_next_multiple_of(8)?;
        let next = shape.checked_add(size).filter(|next| *next <= self.end)?;
        let (mut few, mut many) = (0, Vec::new());
        if let References::At(offsets) = &layout.references {
            for &offset in offsets {
                let word = offset.checked_sub(OBJECT_HEADER)? / 4;
                if word < FEW { few |= 1 << word } else { many.push(offset) }
            }
        }
        let many = if many.is_empty() {
            0
        } else {
            self.many.push(many.into());
            self.many.len() as u32 - 1
        };
        memory.write32(shape + SHAPE_KIND, layout.kind as u32);
        memory.write32(shape + SHAPE_DEPTH, depth);
        memory.write32(shape + SHAPE_DESCRIPTOR, self.descriptors.len() as u32);
        memory.write32(shape + SHAPE_SIZE, layout.size);
        for level in 0..display {
            let entry = match parent {
                _ if level == depth => shape,
                Some(parent) if level < depth => memory.read32(parent + SHAPE_DISPLAY + 4 * level),
                _ => 0,
            };
            memory.write32(shape + SHAPE_DISPLAY + 4 * level, entry);
        }
        self.descriptors.push(Descriptor {
            shape,
            size: layout.size,
            kind: layout.kind,
            elements: layout.references == References::Elements,
            few,
            many,
            tag: layout.tag,
        });
        self.next = next;
        Some(shape)
    }

    /// The descriptor of a shape, whatever the heap holds there.
    #[inline(always)]
    pub(crate) fn descriptor(&self, memory: &Memory<'_>, shape: u32) -> &Descriptor {
        match self.descriptors.get(memory.read32(shape.wrapping_add(SHAPE_DESCRIPTOR)) as usize) {
            Some(descriptor) => descriptor,
            None => no_shape(shape),
        }
    }

    /// The descriptor, if the offset is really that of a shape.
    pub(crate) fn find(&self, bytes: &[u8], shape: u32) -> Option<&Descriptor> {
        let start = self.descriptors.first()?.shape;
        let inside = shape >= start && shape < self.next && shape.is_multiple_of(8);
        let position = if inside { word(bytes, shape + SHAPE_DESCRIPTOR)? } else { u32::MAX };
        self.descriptors.get(position as usize).filter(|found| found.shape == shape)
    }

    pub(crate) fn many(&self, position: u32) -> &[u32] {
        &self.many[position as usize]
    }
}

#[cold]
#[inline(never)]
fn no_shape(shape: u32) -> ! {
    panic!("{shape:#x} is not the shape of an object: the heap is corrupted")
}

/// Bytes of an array of so many elements, header included; `None` if no object may be so large.
pub fn array_bytes(element: u32, length: u32) -> Option<u32> {
    let bytes = u64::from(element) * u64::from(length) + u64::from(ARRAY_HEADER);
    u32::try_from(bytes.next_multiple_of(8)).ok().filter(|bytes| *bytes <= MAX_OBJECT)
}

/// Bytes that an object may have at most.
pub const MAX_OBJECT: u32 = 1 << 31;
