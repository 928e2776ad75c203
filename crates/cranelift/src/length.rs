//! How long an instruction is, of those that Cranelift writes for 64-bit code.
//!
//! Nothing that must be right depends on it: see `placement.rs`. A test compares it with a disassembler's.

/// What follows an opcode.
#[derive(Clone, Copy)]
struct Form {
    /// A ModRM byte, with what that asks for.
    modrm: bool,
    immediate: u8,
}

const PLAIN: Form = Form { modrm: false, immediate: 0 };
const MODRM: Form = Form { modrm: true, immediate: 0 };
const MODRM_IMM8: Form = Form { modrm: true, immediate: 1 };

const fn immediate(immediate: u8) -> Form {
    Form { modrm: false, immediate }
}

/// The length of the instruction that `bytes` start with; `None` if it is not known.
pub(crate) fn length(bytes: &[u8]) -> Option<u8> {
    let mut at = 0;
    let mut small = false;
    while let 0x66 | 0xf2 | 0xf3 | 0xf0 | 0x64 | 0x65 = bytes.get(at)? {
        small |= bytes[at] == 0x66;
        at += 1;
    }
    let mut wide = false;
    if let rex @ 0x40..=0x4f = bytes[at] {
        wide = rex & 8 != 0;
        at += 1;
    }
    // An immediate of the operation's size has at most four bytes.
    let word = if small && !wide { 2 } else { 4 };
    let (form, skipped) = match bytes[at..] {
        [0xc5, _, opcode, ..] => (second(opcode)?, 3),
        [0xc4, map, _, opcode, ..] => (of_map(map & 31, opcode)?, 4),
        [0x62, map, _, _, opcode, ..] => (of_map(map & 7, opcode)?, 5),
        [0x0f, 0x38, _, ..] => (MODRM, 3),
        [0x0f, 0x3a, _, ..] => (MODRM_IMM8, 3),
        [0x0f, opcode, ..] => (second(opcode)?, 2),
        [opcode @ (0xf6 | 0xf7), modrm, ..] => {
            let tests = modrm & 0x38 < 0x10;
            let immediate = if opcode == 0xf6 { 1 } else { word };
            (Form { modrm: true, immediate: if tests { immediate } else { 0 } }, 1)
        }
        [0xb8..=0xbf, ..] if wide => (immediate(8), 1),
        [opcode, ..] => (first(opcode, word)?, 1),
        [] => return None,
    };
    at += skipped;
    if form.modrm {
        at += operand(bytes.get(at..)?)?;
    }
    at += usize::from(form.immediate);
    (at <= bytes.len()).then_some(at as u8)
}

fn of_map(map: u8, opcode: u8) -> Option<Form> {
    match map {
        1 => second(opcode),
        2 => Some(MODRM),
        3 => Some(MODRM_IMM8),
        _ => None,
    }
}

/// Opcodes of one byte, whose operation has immediates of `word` bytes.
fn first(opcode: u8, word: u8) -> Option<Form> {
    Some(match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => MODRM,
            4 => immediate(1),
            5 => immediate(word),
            _ => return None,
        },
        0x50..=0x5f | 0x90..=0x99 | 0xa4 | 0xa5 | 0xaa | 0xab | 0xc3 | 0xcc => PLAIN,
        0x63 | 0x84..=0x8b | 0x8d | 0xd0..=0xd3 | 0xfe | 0xff => MODRM,
        0x69 | 0x81 | 0xc7 => Form { modrm: true, immediate: word },
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => MODRM_IMM8,
        0x6a | 0x70..=0x7f | 0xa8 | 0xb0..=0xb7 | 0xeb => immediate(1),
        0x68 | 0xa9 | 0xb8..=0xbf => immediate(word),
        0xc2 => immediate(2),
        0xe8 | 0xe9 => immediate(4),
        _ => return None,
    })
}

/// Opcodes behind `0f`.
fn second(opcode: u8) -> Option<Form> {
    Some(match opcode {
        0x05 | 0x0b | 0x31 | 0x77 | 0xa2 | 0xc8..=0xcf => PLAIN,
        0x80..=0x8f => immediate(4),
        0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => MODRM_IMM8,
        0x0d | 0x10..=0x1f | 0x28..=0x2f | 0x40..=0x76 | 0x7a..=0x7f | 0x90..=0x9f => MODRM,
        0xa3 | 0xa5 | 0xab | 0xad..=0xc1 | 0xc3 | 0xc7 | 0xd0..=0xff => MODRM,
        _ => return None,
    })
}

/// Bytes of a ModRM byte and what follows it.
fn operand(bytes: &[u8]) -> Option<usize> {
    let &modrm = bytes.first()?;
    let (mode, register) = (modrm >> 6, modrm & 7);
    let has_scale = mode != 3 && register == 4;
    let base = if has_scale { bytes.get(1)? & 7 } else { register };
    let distance = match mode {
        0 if base == 5 => 4,
        1 => 1,
        2 => 4,
        _ => 0,
    };
    Some(1 + usize::from(has_scale) + distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use iced_x86::{Decoder, DecoderOptions};

    #[test]
    fn lengths_are_those_of_a_disassembler() {
        let starts: [&[u8]; 27] = [
            &[],
            &[0x66],
            &[0x41],
            &[0x48],
            &[0x66, 0x44],
            &[0x66, 0x48],
            &[0xf0, 0x48],
            &[0x0f],
            &[0x66, 0x0f],
            &[0xf2, 0x0f],
            &[0xf3, 0x0f],
            &[0x48, 0x0f],
            &[0x66, 0x48, 0x0f],
            &[0xf3, 0x48, 0x0f],
            &[0x66, 0x0f, 0x38],
            &[0xf2, 0x48, 0x0f, 0x38],
            &[0x66, 0x0f, 0x3a],
            &[0xc5, 0xf8],
            &[0xc5, 0x71],
            &[0xc5, 0xfb],
            &[0xc5, 0xf6],
            &[0xc4, 0xc1, 0xf9],
            &[0xc4, 0xe2, 0x71],
            &[0xc4, 0xe3, 0xf9],
            &[0x62, 0xf1, 0x75, 0x08],
            &[0x62, 0xf2, 0xfd, 0x08],
            &[0x62, 0xf3, 0x75, 0x08],
        ];
        let mut seen = 0;
        for (start, opcode) in starts.iter().flat_map(|start| (0..=255).map(move |op| (start, op)))
        {
            for modrm in [0xc1, 0x01, 0x0c, 0x14, 0x05, 0x41, 0x44, 0x81, 0x84, 0xf8] {
                let bytes = [start, &[opcode, modrm, 0x25][..], &[0; 12][..]].concat();
                let mut decoder = Decoder::new(64, &bytes, DecoderOptions::NONE);
                let instruction = decoder.decode();
                if !instruction.is_invalid()
                    && let Some(length) = length(&bytes)
                {
                    assert_eq!(usize::from(length), instruction.len(), "of {bytes:x?}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 8_000, "{seen}");
    }
}
