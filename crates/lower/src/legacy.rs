//! A look ahead at `try` in a body: what its clauses are, which come behind the code that they handle.
//!
//! Nothing here was validated. What is wrong is refused where it is lowered, before it is used.

use crate::emit::Catch;
use smallvec::SmallVec;
use std::collections::HashMap;
use wardian_module::TagIndex;
use wasmparser::{BinaryReader, FunctionBody, Operator};

/// A `try` of a body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Try {
    /// Its clauses, in order.
    pub(crate) catches: SmallVec<[TryCatch; 2]>,
    /// The label of its `delegate`.
    pub(crate) delegate: Option<u32>,
}

/// A clause of a `try`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TryCatch {
    pub(crate) catch: Catch,
    /// Where its exception is kept for a `rethrow`, if there is one: a number among such places.
    pub(crate) kept: Option<u32>,
}

/// The tries of a body, by position in the body.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    pub(crate) found: HashMap<usize, Try>,
    /// Places for exceptions that are kept.
    pub(crate) kept: u32,
}

/// What the look ahead knows of a block that is open.
enum Open {
    Other,
    /// A `try`, in its body or a clause: its position, and the tries around it.
    Try(usize, u32),
}

impl Tries {
    /// Finds the tries of a body.
    pub(crate) fn scan(&mut self, bytes: &[u8]) {
        self.found.clear();
        self.kept = 0;
        let body = FunctionBody::new(BinaryReader::new(bytes, 0));
        let Ok(mut operators) = body.get_operators_reader() else { return };
        let mut open: Vec<Open> = Vec::new();
        // Tries that are open: places are given out by how many there are around.
        let mut depth = 0;
        while !operators.eof() {
            let Ok((op, position)) = operators.read_with_offset() else { return };
            match op {
                Operator::Block { .. }
                | Operator::Loop { .. }
                | Operator::If { .. }
                | Operator::TryTable { .. } => open.push(Open::Other),
                Operator::Try { .. } => {
                    self.found.insert(position as usize, Try::default());
                    open.push(Open::Try(position as usize, depth));
                    depth += 1;
                }
                Operator::Catch { tag_index } => {
                    self.clause(&open, Catch::Tag(TagIndex(tag_index)));
                }
                Operator::CatchAll => self.clause(&open, Catch::All),
                Operator::Rethrow { relative_depth } => {
                    let at = open.len().checked_sub(1 + relative_depth as usize);
                    if let Some(Open::Try(position, place)) = at.map(|at| &open[at])
                        && let Some(found) = self.found.get_mut(position)
                        && let Some(last) = found.catches.last_mut()
                    {
                        last.kept = Some(*place);
                        self.kept = self.kept.max(place + 1);
                    }
                }
                Operator::Delegate { relative_depth } => {
                    if let Some(Open::Try(position, _)) = open.pop() {
                        depth -= 1;
                        if let Some(found) = self.found.get_mut(&position) {
                            found.delegate = Some(relative_depth);
                        }
                    }
                }
                Operator::End => {
                    if let Some(Open::Try(..)) = open.pop() {
                        depth -= 1;
                    }
                }
                _ => {}
            }
        }
    }

    fn clause(&mut self, open: &[Open], catch: Catch) {
        if let Some(Open::Try(position, _)) = open.last()
            && let Some(found) = self.found.get_mut(position)
        {
            found.catches.push(TryCatch { catch, kept: None });
        }
    }
}
