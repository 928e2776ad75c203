//! Loops that count: how large what they count gets.
//!
//! A loop that goes back only while its counter, which begins at a constant and grows by one, is not yet
//! another constant, goes back so many times; and whatever else grows by a constant in each turn, grows so
//! often. Bounds of sums, masks and shifts of such values follow.
//!
//! Invariant: a bound holds wherever a value is named, as a name means what its block received last.

use crate::Stopped;
use crate::proof::Prover;
use crate::value::*;

/// Expressions in expressions that are looked into.
const DEPTH: u32 = 48;

/// What may differ by the way, of one block, until something counts.
const MANY: usize = 64;

/// Most that is added in each turn.
const MOST_STEP: u64 = i32::MAX as u64;

/// How often a loop goes back since it was entered, at most.
#[derive(Clone)]
pub(crate) struct Turns {
    most: u64,
    /// Which of the ways to its head come from inside.
    back: Vec<bool>,
}

/// What grows in each turn, and by what.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Step {
    by: u64,
    /// Modulo 2^32.
    small: bool,
}

impl Prover<'_> {
    /// An upper bound of a value, wherever it is named.
    pub(crate) fn most(&mut self, value: Id) -> Result<u64, Stopped> {
        self.most_inside(value, 0)
    }

    fn most_inside(&mut self, value: Id, depth: u32) -> Result<u64, Stopped> {
        let bound = self.values.bound(value);
        if depth > DEPTH {
            return Ok(bound);
        }
        if let Some(known) = self.greatest.get(&value) {
            return Ok(*known);
        }
        self.stop.prove(1)?;
        // While it is looked for, as in a loop, no more is known.
        self.greatest.insert(value, bound);
        let node = self.values.node(value);
        let mut of = |value| self.most_inside(value, depth + 1);
        let most = match node {
            Node::Sum(x, add) => of(x)?.checked_add(add),
            Node::Add(x, y) => of(x)?.checked_add(of(y)?),
            Node::Low(x, bits) => Some(of(x)?.min(ones(bits))),
            Node::And(x, y) => Some(of(x)?.min(of(y)?)),
            Node::Shr(x, by) => Some(of(x)? >> by),
            Node::Shl(x, by) => Some(of(x)?).filter(|x| *x <= u64::MAX >> by).map(|x| x << by),
            Node::Phi { block, var, less } => self.counted(value, (block, var, less), depth)?,
            _ => None,
        };
        let most = most.map_or(bound, |most| most.min(bound));
        self.greatest.insert(value, most);
        Ok(most)
    }

    /// An upper bound of what a loop's head receives.
    fn counted(
        &mut self,
        value: Id,
        (block, var, less): (u32, Var, u64),
        depth: u32,
    ) -> Result<Option<u64>, Stopped> {
        let Some(turns) = self.turns(block)? else { return Ok(None) };
        let (mut start, mut step) = (0, 0);
        for ((held, _), back) in self.ways(block, var, less).into_iter().zip(turns.back) {
            let Some(held) = held else { return Ok(None) };
            if back {
                let Some(found) = self.step(value, held) else { return Ok(None) };
                step = step.max(found.by);
            } else {
                start = start.max(self.most_inside(held, depth + 1)?);
            }
        }
        Ok(turns.most.checked_mul(step).and_then(|more| start.checked_add(more)))
    }

    /// What is added to `value` to get `next`.
    fn step(&mut self, value: Id, next: Id) -> Option<Step> {
        let (sum, small) = match self.values.node(next) {
            Node::Low(sum, 32) => (sum, true),
            _ => (next, false),
        };
        let (core, by) = self.values.split(sum);
        (core == value).then_some(Step { by, small })
    }

    /// How often a loop goes back, by its head.
    fn turns(&mut self, head: u32) -> Result<Option<Turns>, Stopped> {
        if let Some(known) = self.turns.get(&head) {
            return Ok(known.clone());
        }
        let start = &self.flow.starts[head as usize];
        let held = start.vars.iter().copied().chain(start.homes.iter().map(|home| home.2));
        let mut counters: Vec<Id> = held.map(|held| self.values.split(held).0).collect();
        counters.retain(
            |held| matches!(self.values.node(*held), Node::Phi { block, .. } if block == head),
        );
        counters.sort_unstable();
        counters.dedup();
        let mut found: Option<Turns> = None;
        for counter in counters.into_iter().take(MANY) {
            self.stop.prove(1)?;
            let turns = self.turns_by(head, counter);
            let fewer = |turns: &Turns| found.as_ref().is_none_or(|found| turns.most < found.most);
            found = turns.filter(fewer).or(found);
        }
        self.turns.insert(head, found.clone());
        Ok(found)
    }

    /// How often a loop goes back, by one of its counters.
    fn turns_by(&mut self, head: u32, counter: Id) -> Option<Turns> {
        let Node::Phi { block, var, less } = self.values.node(counter) else { return None };
        debug_assert_eq!(block, head);
        let ways = self.ways(block, var, less);
        let mut back = Vec::new();
        let mut starts = Vec::new();
        let mut step: Option<Step> = None;
        for (held, _) in &ways {
            let held = (*held)?;
            let found = self.step(counter, held);
            back.push(found.is_some());
            match found {
                Some(found) if step.is_none_or(|step| step == found) => step = Some(found),
                Some(_) => return None,
                None => starts.push(self.values.as_constant(held).filter(|start| *start <= U32)?),
            }
        }
        let step = step?;
        let next = self.values.sum(counter, step.by);
        let mut tested = Vec::new();
        for (value, is_next) in [(counter, false), (next, true)] {
            tested.push((self.values.low(value, 32), step, is_next));
            // What is the same without a wrap is counted as if it could not wrap.
            let wraps = step.small && (is_next && step.by > MOST_STEP);
            if !wraps {
                tested.push((value, Step { small: false, ..step }, is_next));
            }
        }
        let mut most = 0;
        for (_, place) in ways.iter().zip(&back).filter(|(_, back)| **back).map(|(way, _)| *way) {
            let mut fewest: Option<u64> = None;
            for (value, step, is_next) in &tested {
                for limit in self.limits(*value, place) {
                    let turns = starts.iter().map(|start| count(*start, *step, *is_next, limit));
                    let turns = turns.collect::<Option<Vec<u64>>>();
                    let turns = turns.and_then(|turns| turns.into_iter().max());
                    fewest = fewest.into_iter().chain(turns).min();
                }
            }
            most = most.max(fewest?);
        }
        Some(Turns { most, back })
    }
}

/// What a value was compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Limit {
    /// It is below that.
    Below(u64),
    /// It is something else.
    Not(u64),
}

/// How many times a loop goes back whose counter begins with `start`, if it goes back only while the
/// counter, or with `is_next` what it is next, keeps to a limit.
fn count(start: u64, step: Step, is_next: bool, limit: Limit) -> Option<u64> {
    let Step { by, small } = step;
    let (Limit::Below(last) | Limit::Not(last)) = limit;
    // Negative numbers are large ones.
    let less = if small { (1 << 32) - by.min(1 << 32) } else { by.wrapping_neg() };
    let up = by <= MOST_STEP;
    let by = if up { by } else { less };
    if by == 0 || by > MOST_STEP || last > U32 {
        return None;
    }
    // Modulo 2^32, or without a wrap.
    let minus = |a: u64, b: u64| match small {
        true => Some(a.wrapping_sub(b) & U32),
        false => a.checked_sub(b),
    };
    let first = match (is_next, up) {
        (false, _) => start,
        (true, true) if small => (start + by) & U32,
        (true, true) => start + by,
        (true, false) => minus(start, by)?,
    };
    if first > U32 {
        return None;
    }
    let way = match limit {
        // It stays below 2^32 until it is compared the last time.
        Limit::Below(_) if up && last + by <= 1 << 32 => {
            return Some(last.saturating_sub(first).div_ceil(by));
        }
        Limit::Below(_) => return None,
        Limit::Not(_) if up => minus(last, first)?,
        Limit::Not(_) => minus(first, last)?,
    };
    (way % by == 0).then_some(way / by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_until_a_limit() {
        use Limit::*;
        let step = |by: i32| Step { by: by as u32 as u64, small: true };
        assert_eq!(count(0, step(16), true, Not(0x1000)), Some(255));
        assert_eq!(count(0, step(16), false, Not(0x1000)), Some(256));
        assert_eq!(count(8, step(16), true, Not(0x1000)), None);
        assert_eq!(count(0xffff_fff8, step(8), true, Below(0xff8)), Some(511));
        assert_eq!(count(0xffff_fff8, step(8), false, Below(0xff8)), Some(0));
        assert_eq!(count(0, step(3), false, Below(10)), Some(4));
        assert_eq!(count(0, step(2), false, Below(U32)), None);
        assert_eq!(count(512, step(-1), true, Not(0)), Some(511));
        assert_eq!(count(0, step(-1), true, Not(0)), Some(0xffff_ffff));
        assert_eq!(count(0xffff_f000, step(16), false, Not(0)), Some(256));
        assert_eq!(count(8, step(16), false, Not(0)), None);
        assert_eq!(count(5, step(0), true, Not(7)), None);
        assert_eq!(count(0, step(1), true, Below(1 << 33)), None);
        let wide = Step { by: 16, small: false };
        assert_eq!(count(0xffff_f000, wide, false, Not(0)), None);
        let wide = Step { by: 3u64.wrapping_neg(), small: false };
        assert_eq!(count(9, wide, false, Not(0)), Some(3));
    }
}
