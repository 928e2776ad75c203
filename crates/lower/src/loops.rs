//! How the loops of a function lie in each other, found without lowering it.

use wasmparser::{BinaryReader, FunctionBody, Operator};

/// The loops around the one of this ordinal in a body, from the outermost to itself, as ordinals in the
/// order of the loops' starts, which is how [`Emit::at_loop`](crate::Emit::at_loop) counts them. Empty
/// if the body has no such loop or is malformed.
pub fn loops_around(body: BinaryReader<'_>, ordinal: u32) -> Vec<u32> {
    let mut blocks: Vec<Option<u32>> = Vec::new();
    let mut loops = 0;
    let Ok(mut operators) = FunctionBody::new(body).get_operators_reader() else {
        return Vec::new();
    };
    while let Ok(operator) = operators.read() {
        match operator {
            Operator::Loop { .. } => {
                blocks.push(Some(loops));
                if loops == ordinal {
                    return blocks.into_iter().flatten().collect();
                }
                loops += 1;
            }
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => {
                blocks.push(None);
            }
            Operator::End => _ = blocks.pop(),
            _ => {}
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_are_counted_by_their_starts() {
        const LOOP: u8 = 0x03;
        const BLOCK: u8 = 0x02;
        const IF: u8 = 0x04;
        const END: u8 = 0x0b;
        let mut body = vec![0];
        for opcode in
            [LOOP, BLOCK, LOOP, END, END, LOOP, IF, LOOP, END, END, END, END, LOOP, END, END]
        {
            body.push(opcode);
            if opcode != END {
                body.push(0x40);
            }
        }
        let around = |ordinal| loops_around(BinaryReader::new(&body, 0), ordinal);
        let expected = [vec![0], vec![0, 1], vec![0, 2], vec![0, 2, 3], vec![4]];
        assert_eq!([0, 1, 2, 3, 4].map(around), expected);
        assert_eq!(around(5), []);
        body.truncate(4);
        assert_eq!(loops_around(BinaryReader::new(&body, 0), 1), []);
    }
}
