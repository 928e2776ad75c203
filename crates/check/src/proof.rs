//! Proofs that an index lies inside of a memory or table, from what branches have compared.
//!
//! A fact is learned where a conditional jump is taken or not, and holds in all blocks to which every
//! way leads through there. A value that depends on the way is proven on each way. A proof may use what
//! it is about to prove where a loop comes back to it: then what is proven held one turn before, and
//! lengths only grow.

use crate::count::{Limit, Turns};
use crate::fields::Fields;
use crate::flow::Flow;
use crate::graph::Graph;
use crate::value::*;
use crate::{Stop, Stopped};
use iced_x86::ConditionCode;
use rustc_hash::FxHashMap;
use wardian_module::image::FunctionCode;

/// A place of the graph: a block, or where it leaves by an edge.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) block: u32,
    /// The edge's position.
    pub(crate) way: Option<u32>,
}

impl Place {
    pub(crate) fn within(block: u32) -> Place {
        Place { block, way: None }
    }
}

/// `left.0 + left.1`, modulo 2^64, is at most `right.0 + right.1`, or below it.
struct Fact {
    left: (Id, u64),
    right: (Id, u64),
    strict: bool,
    /// Whose length the right side is, perhaps one of an earlier time, but for what is added.
    length_of: Option<Object>,
    place: Place,
}

/// What is to be proven.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Goal {
    /// So many bytes or elements from this index on lie inside.
    Inside(Object, Id, u64, u64),
    /// The value is at most that.
    Below(Id, u64),
}

pub(crate) struct Prover<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) flow: &'a Flow,
    pub(crate) fields: &'a Fields<'a>,
    pub(crate) values: &'a mut Values,
    pub(crate) stop: &'a mut Stop,
    facts: Vec<Fact>,
    /// Values that are not a constant, each with the place where that is known.
    unequal: FxHashMap<Id, Vec<(u64, Place)>>,
    /// Facts by what is on their left, and right.
    left: FxHashMap<Id, Vec<u32>>,
    right: FxHashMap<Id, Vec<u32>>,
    /// What is being proven.
    open: Vec<Goal>,
    /// Steps into expressions on the way to what is being proven.
    level: usize,
    /// What was decided of values that depend on the way.
    decided: FxHashMap<Goal, bool>,
    /// What was proven, in order; from an open goal's own start on, perhaps with its help.
    trail: Vec<Goal>,
    /// Upper bounds that were found, and turns of loops by their heads: see `count`.
    pub(crate) greatest: FxHashMap<Id, u64>,
    pub(crate) turns: FxHashMap<u32, Option<Turns>>,
}

/// Joined places that are looked through for a length.
const WAYS: usize = 1024;

/// Steps into expressions, all goals together.
const LEVELS: usize = 256;

/// Goals inside of goals. What is deeper is not proven.
const DEPTH: usize = 48;

impl<'a> Prover<'a> {
    /// Collects what the branches say.
    pub(crate) fn new(
        graph: &'a Graph,
        flow: &'a Flow,
        fields: &'a Fields<'a>,
        values: &'a mut Values,
        stop: &'a mut Stop,
    ) -> Result<Prover<'a>, Stopped> {
        let mut prover = Prover {
            graph,
            flow,
            fields,
            values,
            stop,
            facts: Vec::new(),
            unequal: FxHashMap::default(),
            left: FxHashMap::default(),
            right: FxHashMap::default(),
            open: Vec::new(),
            level: 0,
            decided: FxHashMap::default(),
            trail: Vec::new(),
            greatest: FxHashMap::default(),
            turns: FxHashMap::default(),
        };
        for (block, data) in (0..).zip(&graph.blocks) {
            if data.handler.is_some() {
                continue;
            }
            let condition = graph.instructions[data.end - 1].condition_code();
            if data.next.len() != 2
                || condition == ConditionCode::None
                || data.next[0] == data.next[1]
            {
                continue;
            }
            let flags = flow.ends[block as usize].vars[FLAGS as usize];
            for (way, target) in (0..).zip(&data.next) {
                let alone = *target != 0 && graph.blocks[*target as usize].before.len() == 1;
                let place = match alone {
                    true => Place::within(*target),
                    false => Place { block, way: Some(way) },
                };
                let holds = if way == 1 { condition } else { opposite(condition) };
                prover.assume(flags, holds, place, 0)?;
            }
        }
        Ok(prover)
    }

    fn learn(&mut self, left: Id, right: Id, strict: bool, place: Place) -> Result<(), Stopped> {
        let left = self.strip(left, place)?;
        let right = self.strip(right, place)?;
        let (left, right) = (self.values.split(left), self.values.split(right));
        let length_of = self.length_of(right.0);
        if let Some(object) = length_of
            && let lengths = self.values.lengths.entry(object).or_default()
            && !lengths.contains(&right.0)
        {
            lengths.push(right.0);
        }
        let fact = self.facts.len() as u32;
        self.left.entry(left.0).or_default().push(fact);
        self.right.entry(right.0).or_default().push(fact);
        self.facts.push(Fact { left, right, strict, length_of, place });
        Ok(())
    }

    /// The object whose length this is, on every way.
    fn length_of(&mut self, value: Id) -> Option<Object> {
        let mut found = None;
        let mut seen = Vec::new();
        let mut work = vec![value];
        while let Some(value) = work.pop() {
            match self.values.node(value) {
                Node::Length(object, _) if found.is_none_or(|found| found == object) => {
                    found = Some(object);
                }
                Node::Phi { block, var, less: 0 } if seen.len() < WAYS => {
                    if seen.contains(&value) {
                        continue;
                    }
                    seen.push(value);
                    for (held, _) in self.ways(block, var, 0) {
                        work.push(held?);
                    }
                }
                _ => return None,
            }
        }
        found
    }

    /// A condition of these flags holds.
    fn assume(
        &mut self,
        flags: Id,
        condition: ConditionCode,
        place: Place,
        depth: usize,
    ) -> Result<(), Stopped> {
        use ConditionCode as C;
        self.stop.prove(1)?;
        // What was made of the same flags elsewhere is known, too.
        if let Some(holds) = self.values.find(Node::Set(flags, condition)) {
            self.learn(ZERO, holds, true, place)?;
        }
        if let Some(fails) = self.values.find(Node::Set(flags, opposite(condition))) {
            self.learn(fails, ZERO, false, place)?;
        }
        let compared = match self.values.node(flags) {
            Node::Compare(a, b) => self.values.as_constant(b).map(|number| (a, number)),
            Node::Zero(a) => Some((a, 0)),
            _ => None,
        };
        if let (Some((value, number)), C::ne) = (compared, condition) {
            self.unequal.entry(value).or_default().push((number, place));
        }
        match (self.values.node(flags), condition) {
            (Node::Compare(a, b), C::a) => self.learn(b, a, true, place),
            (Node::Compare(a, b), C::ae) => self.learn(b, a, false, place),
            (Node::Compare(a, b), C::b) => self.learn(a, b, true, place),
            (Node::Compare(a, b), C::be) => self.learn(a, b, false, place),
            (Node::Compare(a, ZERO), C::e | C::ne) | (Node::Zero(a), C::e | C::ne) => {
                self.assume_truth(a, condition == C::ne, place, depth)
            }
            (Node::Compare(a, b), C::e) => {
                self.learn(a, b, false, place)?;
                self.learn(b, a, false, place)
            }
            _ => Ok(()),
        }
    }

    /// A value is zero, or is not.
    fn assume_truth(
        &mut self,
        value: Id,
        holds: bool,
        place: Place,
        depth: usize,
    ) -> Result<(), Stopped> {
        if depth > DEPTH {
            return Ok(());
        }
        match (self.values.node(value), holds) {
            (Node::Or(a, b), false) | (Node::And(a, b), true) => {
                self.assume_truth(a, holds, place, depth + 1)?;
                self.assume_truth(b, holds, place, depth + 1)?;
            }
            (Node::Set(flags, condition), true) => {
                self.assume(flags, condition, place, depth + 1)?;
            }
            (Node::Set(flags, condition), false) => {
                self.assume(flags, opposite(condition), place, depth + 1)?;
            }
            // Nothing is left of it without its low bits.
            (Node::Shr(x, by), false) => {
                let most = self.values.constant(ones(by));
                self.learn(x, most, false, place)?;
            }
            _ => {}
        }
        if holds {
            self.learn(ZERO, value, true, place)
        } else {
            self.learn(value, ZERO, false, place)
        }
    }

    fn holds(&self, fact: u32, place: Place) -> bool {
        self.is_known(self.facts[fact as usize].place, place)
    }

    /// Whether what is known at one place is known at another.
    fn is_known(&self, at: Place, place: Place) -> bool {
        match at.way {
            Some(_) => at == place,
            None => self.graph.dominates(at.block, place.block),
        }
    }

    /// Whether what the branches on every way here have said contradicts itself: a value would be at
    /// least and at most numbers that leave none. Where a code generator knows one side of a comparison,
    /// it turns the other into an equation, and keeps a way that nothing takes.
    pub(crate) fn is_never_reached(&self, place: Place) -> bool {
        let mut ranges: FxHashMap<Id, (u64, u64)> = FxHashMap::default();
        for fact in (0..self.facts.len() as u32).filter(|fact| self.holds(*fact, place)) {
            let Fact { left, right, strict, .. } = &self.facts[fact as usize];
            let one = u64::from(*strict);
            let (value, least, most) = match (*left, *right) {
                ((ZERO, a), (ZERO, b)) if a > b || *strict && a == b => return true,
                (_, (ZERO, 0)) if *strict => return true,
                ((ZERO, number), (value, 0)) if value != ZERO => {
                    (value, number.checked_add(one), Some(u64::MAX))
                }
                ((value, 0), (ZERO, number)) if value != ZERO => {
                    (value, Some(0), number.checked_sub(one))
                }
                _ => continue,
            };
            let (Some(least), Some(most)) = (least, most) else { return true };
            let range = ranges.entry(value).or_insert((0, self.values.bound(value)));
            *range = (range.0.max(least), range.1.min(most));
            if range.0 > range.1 {
                return true;
            }
        }
        false
    }

    /// Facts about a value that hold here.
    fn facts_of(&self, value: Id, place: Place, right: bool) -> Vec<u32> {
        let all = if right { &self.right } else { &self.left };
        let all = all.get(&value).map(Vec::as_slice).unwrap_or_default();
        all.iter().copied().filter(|fact| self.holds(*fact, place)).collect()
    }

    /// The constants that bound a value here, as comparisons have said.
    pub(crate) fn limits(&self, value: Id, place: Place) -> Vec<Limit> {
        let (core, add) = self.values.split(value);
        let facts = self.facts_of(core, place, false).into_iter().filter_map(|fact| {
            let Fact { left, right, strict, .. } = self.facts[fact as usize];
            let end = right.1.checked_add(u64::from(!strict))?;
            (left.1 == add && right.0 == ZERO).then_some(Limit::Below(end))
        });
        let unequal = self.unequal.get(&value).into_iter().flatten();
        let unequal = unequal.filter(|(_, at)| self.is_known(*at, place));
        facts.chain(unequal.map(|(number, _)| Limit::Not(*number))).collect()
    }

    /// The same value, without a step that changes nothing here.
    fn strip(&mut self, mut value: Id, place: Place) -> Result<Id, Stopped> {
        loop {
            let (core, add) = self.values.split(value);
            match self.values.node(core) {
                Node::Low(x, bits) if self.below(x, ones(bits), place)? => {
                    value = self.values.sum(x, add);
                }
                _ => return Ok(value),
            }
        }
    }

    /// Proves a goal about what differs by the way, on each way. While that goes on it counts as proven:
    /// a loop that comes back to it has held it one turn before. Should it fail, so does what was proven
    /// with its help.
    fn on_each_way(
        &mut self,
        goal: Goal,
        (block, var, less): (u32, Var, u64),
        mut proof: impl FnMut(&mut Self, Id, Place) -> Result<bool, Stopped>,
    ) -> Result<bool, Stopped> {
        if let Some(decided) = self.decided.get(&goal) {
            return Ok(*decided);
        }
        if self.open.contains(&goal) {
            return Ok(true);
        }
        if self.open.len() >= DEPTH {
            return Ok(false);
        }
        self.open.push(goal);
        let start = self.trail.len();
        let mut all = true;
        for (held, place) in self.ways(block, var, less) {
            all = match held {
                Some(held) => proof(self, held, place)?,
                None => false,
            };
            if !all {
                break;
            }
        }
        self.open.pop();
        if all {
            self.trail.push(goal);
        } else {
            for goal in self.trail.drain(start..) {
                self.decided.remove(&goal);
            }
        }
        if all || self.open.len() + 1 < DEPTH / 2 {
            self.decided.insert(goal, all);
        }
        Ok(all)
    }

    /// What a place held on each way into its block.
    pub(crate) fn ways(&mut self, block: u32, var: Var, less: u64) -> Vec<(Option<Id>, Place)> {
        let mut ways = Vec::new();
        let less = less.wrapping_neg();
        for (from, way) in &self.graph.blocks[block as usize].before {
            let held = self.flow.ends[*from as usize].get(var);
            let held = held.map(|held| self.values.sum(held, less));
            ways.push((held, Place { block: *from, way: Some(*way) }));
        }
        if block == 0 {
            let held = self.flow.entry.get(var).map(|held| self.values.sum(held, less));
            ways.push((held, Place::within(0)));
        }
        ways
    }

    /// Whether a value is at most `most`.
    pub(crate) fn below(&mut self, value: Id, most: u64, place: Place) -> Result<bool, Stopped> {
        if self.values.bound(value) <= most {
            return Ok(true);
        }
        self.one_deeper(|prover| prover.below_by_parts(value, most, place))
    }

    /// A step into an expression; where there were too many, nothing is proven.
    fn one_deeper(
        &mut self,
        prove: impl FnOnce(&mut Self) -> Result<bool, Stopped>,
    ) -> Result<bool, Stopped> {
        self.stop.prove(1)?;
        if self.level > LEVELS {
            return Ok(false);
        }
        self.level += 1;
        let holds = prove(self);
        self.level -= 1;
        holds
    }

    fn below_by_parts(&mut self, value: Id, most: u64, place: Place) -> Result<bool, Stopped> {
        let (core, add) = self.values.split(value);
        for fact in self.facts_of(core, place, false) {
            let Fact { left, right, strict, .. } = self.facts[fact as usize];
            // The sum that was compared is this one.
            if left.1 == add && right.0 == ZERO && right.1.saturating_sub(strict.into()) <= most {
                return Ok(true);
            }
        }
        if core != value {
            return Ok(add <= most && self.below(core, most - add, place)?);
        }
        match self.values.node(value) {
            Node::Low(x, _) => self.below(x, most, place),
            Node::And(x, y) => Ok(self.below(x, most, place)? || self.below(y, most, place)?),
            Node::Add(x, y) => {
                let (a, b) = (self.values.bound(x), self.values.bound(y));
                Ok(a <= most && self.below(y, most - a, place)?
                    || b <= most && self.below(x, most - b, place)?)
            }
            Node::Shr(x, by) => {
                let most = most.checked_mul(1 << by).map_or(u64::MAX, |most| most | ones(by));
                self.below(x, most, place)
            }
            Node::Shl(x, by) => self.below(x, most >> by, place),
            Node::Pick { flags, condition, no, yes } => Ok(self
                .picked_below(flags, condition, no, yes, most)
                || self.below(no, most, place)? && self.below(yes, most, place)?),
            Node::Phi { block, var, less } => {
                let goal = Goal::Below(value, most);
                self.on_each_way(goal, (block, var, less), |prover, held, place| {
                    prover.below(held, most, place)
                })
            }
            _ => Ok(false),
        }
    }

    /// The smaller of a number and a constant.
    fn picked_below(
        &self,
        flags: Id,
        condition: ConditionCode,
        no: Id,
        yes: Id,
        most: u64,
    ) -> bool {
        use ConditionCode as C;
        let Node::Compare(a, b) = self.values.node(flags) else { return false };
        let Some(limit) = self.values.as_constant(b) else { return false };
        let (above, below) = match condition {
            C::a | C::ae => (yes, no),
            C::b | C::be => (no, yes),
            _ => return false,
        };
        below == a && limit <= most && self.values.bound(above) <= most
    }

    /// Whether an object has at least this length; with `then`, that it had it when it was read as this.
    fn long_enough(
        &mut self,
        object: Object,
        needed: u128,
        then: Option<Id>,
        place: Place,
    ) -> Result<bool, Stopped> {
        let promised = self.fields.least(object);
        if needed <= promised {
            return Ok(true);
        }
        self.stop.prove(1)?;
        let lengths = match then {
            Some(length) => vec![length],
            None => self.values.lengths.get(&object).cloned().unwrap_or_default(),
        };
        for length in lengths {
            let facts = self.facts_of(length, place, true);
            let mut least = promised;
            // Facts about a length less a constant count once it is known not to be negative.
            for _ in 0..=facts.len() {
                let before = least;
                for fact in &facts {
                    let Fact { left, right, strict, .. } = self.facts[*fact as usize];
                    let end = u128::from(right.1.wrapping_neg());
                    if left.0 == ZERO && end <= least {
                        least = least.max(u128::from(left.1) + end + u128::from(strict));
                    }
                }
                if least == before || least >= needed {
                    break;
                }
            }
            if least >= needed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `size` bytes or elements from an index on lie inside of an object.
    pub(crate) fn inside(
        &mut self,
        object: Object,
        index: Id,
        size: u64,
        place: Place,
    ) -> Result<bool, Stopped> {
        self.one_deeper(|prover| prover.inside_by_parts(object, index, size, place))
    }

    fn inside_by_parts(
        &mut self,
        object: Object,
        index: Id,
        size: u64,
        place: Place,
    ) -> Result<bool, Stopped> {
        let index = self.strip(index, place)?;
        let (core, add) = self.values.split(index);
        let end = u128::from(self.values.bound(index)) + u128::from(size);
        if self.long_enough(object, end, None, place)? {
            return Ok(true);
        }
        if core == ZERO {
            return Ok(false);
        }
        // What was compared may be a number that no length is below.
        let room = self.fields.least(object).checked_sub(u128::from(size));
        if let Some(most) = room.map(|room| u64::try_from(room).unwrap_or(u64::MAX))
            && (self.below(index, most, place)? || self.most(index)? <= most)
        {
            return Ok(true);
        }
        if self.compared(object, core, core, add, size, place)? {
            return Ok(true);
        }
        match self.values.node(core) {
            Node::Phi { block, var, less } => {
                let goal = Goal::Inside(object, core, add, size);
                self.on_each_way(goal, (block, var, less), |prover, held, place| {
                    let held = prover.values.sum(held, add);
                    prover.inside(object, held, size, place)
                })
            }
            Node::Pick { no, yes, .. } => {
                let (no, yes) = (self.values.sum(no, add), self.values.sum(yes, add));
                Ok(self.inside(object, no, size, place)?
                    && self.inside(object, yes, size, place)?)
            }
            _ => Ok(false),
        }
    }

    /// Whether a comparison of `core` with a length says that `core + add` and what follows is inside.
    fn compared(
        &mut self,
        object: Object,
        core: Id,
        compared: Id,
        add: u64,
        size: u64,
        place: Place,
    ) -> Result<bool, Stopped> {
        for fact in self.facts_of(compared, place, false) {
            let Fact { left, right, strict, length_of, .. } = self.facts[fact as usize];
            if length_of != Some(object) {
                continue;
            }
            let length = right.0;
            // The right side is the length less `end`, which is no number below zero.
            let end = u128::from(right.1.wrapping_neg());
            if end != 0 && !self.long_enough(object, end, Some(length), place)? {
                continue;
            }
            let end = end + u128::from(strict);
            // What was compared, modulo 2^64, and then so much more.
            let more = add.wrapping_sub(left.1);
            if u128::from(more) + u128::from(size) <= end {
                return Ok(true);
            }
            // Or so much less, if what was compared did not overflow.
            if let Some(less) = left.1.checked_sub(add)
                && u128::from(size) <= end + u128::from(less)
                && self.below(core, u64::MAX - left.1, place)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a comparison said that one value is below another.
    pub(crate) fn is_below(&self, left: Id, right: Id, place: Place) -> bool {
        let (left, right) = (self.values.split(left), self.values.split(right));
        self.facts_of(left.0, place, false).into_iter().any(|fact| {
            let fact = &self.facts[fact as usize];
            fact.strict && (fact.left, fact.right) == (left, right)
        })
    }

    /// A value and what is known of it, for people.
    pub(crate) fn told(&mut self, value: Id, place: Place) -> String {
        let (core, add) = self.values.split(value);
        let mut text = format!("{} + {add:#x}", self.show(core, 4));
        if let Node::Phi { block, var, less } = self.values.node(core) {
            let ways = self.ways(block, var, less);
            let show = |held: Option<Id>| held.map_or("?".into(), |held| self.show(held, 3));
            let ways: Vec<String> = ways.iter().map(|(held, _)| show(*held)).collect();
            text += &format!(" [{}]", ways.join(", "));
        }
        for fact in self.facts_of(core, place, false) {
            let Fact { left, right, strict, .. } = self.facts[fact as usize];
            let sign = if strict { "<" } else { "<=" };
            text += &format!("; + {:#x} {sign} {} + {:#x}", left.1, self.show(right.0, 3), right.1);
        }
        text
    }

    fn show(&self, value: Id, depth: u32) -> String {
        let show = |value| match depth {
            0 => "…".into(),
            _ => self.show(value, depth - 1),
        };
        match self.values.node(value) {
            Node::Sum(x, add) => format!("{} + {add:#x}", show(x)),
            Node::Add(x, y) => format!("({} + {})", show(x), show(y)),
            Node::Low(x, bits) => format!("low{bits}({})", show(x)),
            Node::And(x, y) => format!("({} & {})", show(x), show(y)),
            Node::Or(x, y) => format!("({} | {})", show(x), show(y)),
            Node::Xor(x, y) => format!("({} ^ {})", show(x), show(y)),
            Node::ShlBy(x, y) => format!("({} << {})", show(x), show(y)),
            Node::Shr(x, by) => format!("({} >> {by})", show(x)),
            Node::Shl(x, by) => format!("({} << {by})", show(x)),
            Node::Pick { flags, condition, no, yes } => {
                format!("({condition:?} {} ? {} : {})", show(flags), show(yes), show(no))
            }
            Node::Compare(x, y) => format!("cmp {}, {}", show(x), show(y)),
            Node::Phi { block, var, less } => {
                let block = &self.graph.blocks[block as usize];
                let at = self.graph.instructions[block.start].ip();
                format!("{var:?} - {less:#x} at {at:#x}")
            }
            node => format!("{node:x?}"),
        }
    }
}

/// Whether the instruction at an offset may fault with this meaning.
pub(crate) fn may_fault(code: &FunctionCode, at: u32, trap: wardian_module::Trap) -> bool {
    let site = code.traps.binary_search_by_key(&at, |site| site.offset);
    site.is_ok_and(|site| code.traps[site].trap == trap)
}
