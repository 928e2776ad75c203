//! A mutator that makes, links and forgets objects at random, with a model beside it.

use super::*;
use std::collections::HashMap;

/// Pseudo-random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % n
    }
}

/// What an object should hold.
#[derive(Clone, Debug)]
struct Model {
    number: u32,
    kind: usize,
    links: Vec<Option<usize>>,
}

struct Mutator {
    bytes: Vec<u8>,
    heap: Heap,
    shapes: Vec<u32>,
    models: Vec<Model>,
    /// References that are held: number of the model and reference.
    roots: Vec<(usize, u32)>,
    most: u64,
    dead: Vec<u32>,
    /// Whether to look at the whole heap around each collection.
    verify: bool,
    externs: HashMap<u32, usize>,
}

/// Structs of two links and a number; arrays of links, whose first is none; arrays of bytes; a host's.
const NODE: usize = 0;
const LINKS: usize = 1;
const BYTES: usize = 2;
const HOST: usize = 3;

impl Mutator {
    fn new(config: Config, size: usize, most: u64) -> Mutator {
        let mut bytes = vec![0; size];
        let mut memory = Memory::new(&mut bytes);
        let mut heap = Heap::new(&mut memory, config).unwrap();
        let layout = |kind, size, references| Layout { kind, size, references, tag: 7 };
        let layouts = [
            layout(Kind::Struct, 24, References::At(vec![8, 12])),
            layout(Kind::Array, 4, References::Elements),
            layout(Kind::Array, 1, References::At(vec![])),
        ];
        let shapes = layouts.map(|layout| heap.add_shape(&mut memory, &layout, None).unwrap());
        Mutator {
            bytes,
            heap,
            shapes: shapes.to_vec(),
            models: Vec::new(),
            roots: Vec::new(),
            most,
            dead: Vec::new(),
            verify: true,
            externs: HashMap::new(),
        }
    }

    fn collect(&mut self, which: Which) {
        let roots = &mut self.roots;
        let mut each = |visit: &mut dyn FnMut(u32) -> u32| {
            roots.iter_mut().for_each(|(_, reference)| *reference = visit(*reference));
        };
        let mut memory = Memory::new(&mut self.bytes);
        if self.verify {
            self.heap.verify(&memory, &mut each);
        }
        self.dead.extend(self.heap.collect(&mut memory, which, &mut each));
        if self.verify {
            self.heap.verify(&memory, &mut each);
        }
        for (offset, length) in self.heap.release(false) {
            memory.bytes_mut(offset, length as usize).fill(0);
        }
    }

    fn room(&mut self, bytes: u32) -> bool {
        self.steps(|heap, attempt| heap.plan(bytes, attempt), &mut Attempt::default())
    }

    fn steps(&mut self, plan: impl Fn(&Heap, &Attempt) -> Step, attempt: &mut Attempt) -> bool {
        for _ in 0..8 {
            match plan(&self.heap, attempt) {
                Step::Ready => return true,
                Step::OutOfMemory => return false,
                Step::Grant(bytes) => self.heap.answer(bytes, bytes <= self.most, attempt),
                Step::Collect(which) => {
                    self.collect(which);
                    self.heap.collected(which, attempt);
                }
            }
        }
        panic!("no end of steps");
    }

    /// Makes an object; `false` if there is no room.
    fn make(&mut self, kind: usize, length: u32) -> bool {
        let number = self.models.len();
        let object = if kind == HOST {
            if !self.room(Heap::EXTERN_BYTES) {
                return false;
            }
            let mut memory = Memory::new(&mut self.bytes);
            let (object, host) = self.heap.allocate_extern(&mut memory).unwrap();
            self.externs.insert(host, number);
            object
        } else {
            let memory = Memory::new(&mut self.bytes);
            let bytes = self.heap.object_bytes(&memory, self.shapes[kind], length).unwrap();
            if !self.room(bytes) {
                return false;
            }
            let mut memory = Memory::new(&mut self.bytes);
            let object = self.heap.allocate(&mut memory, self.shapes[kind], bytes, length, true);
            match kind {
                NODE => memory.write32(object + 16, number as u32),
                LINKS => {}
                _ => memory.bytes_mut(object + 16, length as usize).fill(number as u8),
            }
            object
        };
        let links = [2, length as usize, 0, 0][kind];
        self.models.push(Model { number: number as u32, kind, links: vec![None; links] });
        self.roots.push((number, object));
        true
    }

    fn link(&mut self, from: (usize, u32), place: usize, to: Option<(usize, u32)>) {
        let mut memory = Memory::new(&mut self.bytes);
        let offset = if self.models[from.0].kind == NODE { 8 } else { 16 };
        if memory.read32(from.1 + 4) & NO_BARRIER == 0 && to.is_some() {
            self.heap.remember(&mut memory, from.1);
        }
        memory.write32(from.1 + offset + 4 * place as u32, to.map_or(0, |to| to.1));
        self.models[from.0].links[place] = to.map(|to| to.0);
    }

    /// Compares all that can be reached with the models.
    fn check(&mut self) {
        let memory = Memory::new(&mut self.bytes);
        let mut found: HashMap<usize, u32> = HashMap::new();
        let mut left = self.roots.clone();
        while let Some((number, object)) = left.pop() {
            if let Some(other) = found.insert(number, object) {
                assert_eq!(other, object, "an object lies in one place");
                continue;
            }
            let model = &self.models[number];
            let offset = match model.kind {
                NODE => {
                    assert_eq!(memory.read32(object + 16), model.number);
                    8
                }
                LINKS => {
                    assert_eq!(self.heap.array_length(&memory, object), model.links.len() as u32);
                    16
                }
                BYTES => {
                    let length = self.heap.array_length(&memory, object);
                    let bytes = memory.bytes(object + 16, length as usize);
                    assert!(bytes.iter().all(|byte| *byte == number as u8));
                    continue;
                }
                _ => {
                    let host = self.heap.extern_number(memory.all(), object).expect("a host value");
                    assert_eq!(self.externs[&host], number);
                    assert!(!self.dead.contains(&host) || self.externs[&host] == number);
                    continue;
                }
            };
            for (place, link) in model.links.iter().enumerate() {
                let target = memory.read32(object + offset + 4 * place as u32);
                match link {
                    Some(link) => left.push((*link, target)),
                    None => assert_eq!(target, 0),
                }
            }
        }
    }

    fn run(&mut self, random: &mut Random, turns: usize) -> usize {
        let mut refused = 0;
        for _ in 0..turns {
            match random.below(10) {
                0..5 => {
                    let kind = [NODE, NODE, NODE, LINKS, BYTES, HOST][random.below(6)];
                    let length = [3, 40, 300, 9000][random.below(4)];
                    if !self.make(kind, random.below(length) as u32) {
                        refused += 1;
                        self.roots.clear();
                    }
                }
                5..8 if !self.roots.is_empty() => {
                    let from = self.roots[random.below(self.roots.len())];
                    let to = self.roots[random.below(self.roots.len())];
                    let links = self.models[from.0].links.len();
                    if links > 0 {
                        let to = (random.below(5) > 0).then_some(to);
                        self.link(from, random.below(links), to);
                    }
                }
                8 if !self.roots.is_empty() => {
                    for _ in 0..random.below(4).min(self.roots.len()) {
                        self.roots.swap_remove(random.below(self.roots.len()));
                    }
                }
                9 if random.below(40) == 0 => {
                    self.steps(Heap::plan_full, &mut Attempt::default());
                    self.check();
                }
                _ => {}
            }
        }
        self.check();
        refused
    }
}

const EDEN: u32 = 64 << 10;
const TURNS: usize = if cfg!(miri) { 300 } else { 20_000 };

fn configs() -> impl Iterator<Item = Config> {
    [(false, 0), (true, 0), (false, 1), (true, 1), (true, 3)]
        .into_iter()
        .map(|(aging, zeal)| Config { eden_bytes: EDEN, aging, zeal, ..Config::default() })
}

#[test]
fn what_can_be_reached_stays_as_it_was() {
    for config in configs() {
        let turns = if config.zeal > 0 { TURNS / 20 } else { TURNS };
        for seed in 1..5 {
            let mut mutator = Mutator::new(config, 64 << 20, 1 << 30);
            let refused = mutator.run(&mut Random(seed * 0x9e37_79b9), turns);
            assert_eq!(refused, 0);
        }
    }
}

#[test]
fn little_memory_is_refused_and_then_there_is_room_again() {
    for config in configs() {
        let turns = if config.zeal > 0 { TURNS / 20 } else { TURNS };
        let mut mutator = Mutator::new(config, 64 << 20, 3 << 20);
        let refused = mutator.run(&mut Random(77), turns);
        assert!(mutator.heap.granted() <= 3 << 20);
        if !cfg!(miri) && config.zeal == 0 {
            assert!(refused > 0);
        }
        // The region itself is the limit here.
        let mut mutator = Mutator::new(config, 9 << 20, 1 << 30);
        mutator.run(&mut Random(78), turns);
        mutator.roots.clear();
        assert!(mutator.make(NODE, 0));
    }
}

#[test]
fn garbage_does_not_stay() {
    for config in configs().filter(|config| config.zeal == 0) {
        let mut mutator = Mutator::new(config, 64 << 20, 16 << 20);
        // A list that is always cut off at its head, links from old to young included.
        for turn in 0..if cfg!(miri) { 500 } else { 200_000 } {
            assert!(mutator.make(NODE, 0), "turn {turn}");
            if mutator.roots.len() > 1 {
                let (old, new) = (mutator.roots[0], mutator.roots[1]);
                mutator.link(old, 0, Some(new));
                mutator.roots.remove(0);
            }
        }
        assert!(mutator.heap.granted() <= 16 << 20);
        assert!(mutator.steps(Heap::plan_full, &mut Attempt::default()));
        assert!(mutator.heap.used() < 1 << 20);
        assert!(mutator.heap.stats().young_collections > 0 || cfg!(miri));
    }
}

#[test]
fn host_values_are_found_dead() {
    for config in configs().filter(|config| config.zeal == 0) {
        let mut mutator = Mutator::new(config, 64 << 20, 1 << 30);
        let count = if cfg!(miri) { 100 } else { 100_000 };
        for turn in 0..count {
            assert!(mutator.make(HOST, 0));
            if turn != 5 {
                mutator.roots.pop();
            }
        }
        mutator.collect(Which::Full);
        mutator.check();
        assert_eq!(mutator.dead.len(), count - 1);
        assert!(cfg!(miri) || mutator.externs.len() < 50_000, "numbers are used again");
    }
}

#[test]
fn deep_structures_need_no_stack() {
    let mut mutator = Mutator::new(Config::default(), 256 << 20, 1 << 30);
    mutator.verify = false;
    for turn in 0..if cfg!(miri) { 100 } else { 200_000 } {
        assert!(mutator.make(NODE, 0));
        if turn > 0 {
            let (old, new) = (mutator.roots[0], mutator.roots[1]);
            mutator.link(new, turn % 2, Some(old));
            mutator.roots.swap_remove(0);
        }
    }
    mutator.collect(Which::Full);
    mutator.check();
}

/// What all stays is no longer moved; what is dropped afterwards does not stay for that.
#[test]
fn eden_grows_old_where_it_lies_if_all_of_it_is_reached() {
    let config = Config { eden_bytes: EDEN, ..Config::default() };
    let mut mutator = Mutator::new(config, 64 << 20, 1 << 30);
    mutator.verify = false;
    for turn in 0..if cfg!(miri) { 1 } else { 6 } {
        // A list that grows at its end, so that old objects refer to young ones.
        for _ in 0..if cfg!(miri) { 6_000 } else { 60_000 } {
            assert!(mutator.make(NODE, 0));
            let end = mutator.roots.len();
            if end > 2 {
                mutator.link(mutator.roots[1], 0, Some(mutator.roots[2]));
                mutator.roots.remove(1);
            }
        }
        let stats = mutator.heap.stats();
        assert!(stats.grown_old > 0 && stats.grown_old < stats.young_collections, "{stats:?}");
        mutator.verify = true;
        mutator.collect(Which::Young);
        mutator.check();
        mutator.roots.clear();
        mutator.collect(Which::Full);
        mutator.verify = false;
        assert!(mutator.heap.used() < 1 << 20, "turn {turn}");
    }
    // Now all dies young.
    let before = mutator.heap.stats().grown_old;
    for _ in 0..if cfg!(miri) { 0 } else { 100_000 } {
        assert!(mutator.make(NODE, 0));
        mutator.roots.clear();
    }
    assert!(mutator.heap.stats().grown_old - before <= 32);
}

/// Arrays of arrays of structs: more wait to be looked at than the stack holds.
#[test]
#[cfg_attr(miri, ignore = "too much of it")]
fn more_may_wait_than_there_are_places_for() {
    for aging in [false, true] {
        let config = Config { aging, ..Config::default() };
        let mut mutator = Mutator::new(config, 256 << 20, 1 << 30);
        mutator.verify = false;
        assert!(mutator.make(LINKS, 40_000));
        for place in 0..40_000 {
            assert!(mutator.make(LINKS, 2));
            assert!(mutator.make(NODE, 0));
            let [all, pair, node] = mutator.roots[..] else { unreachable!() };
            mutator.link(pair, place % 2, Some(node));
            mutator.link(all, 39_999 - place, Some(pair));
            mutator.roots.truncate(1);
        }
        for which in [Which::Young, Which::Full, Which::Full] {
            mutator.collect(which);
            mutator.check();
        }
    }
}

#[test]
fn shapes_know_their_supertypes() {
    let mut bytes = vec![0; 8 << 20];
    let mut memory = Memory::new(&mut bytes);
    let mut heap =
        Heap::new(&mut memory, Config { eden_bytes: EDEN, ..Config::default() }).unwrap();
    let references = References::At((0..100).map(|n| 8 + 4 * n).collect());
    let layout = Layout { kind: Kind::Struct, size: 408, references, tag: 3 };
    let mut chain = vec![heap.add_shape(&mut memory, &layout, None).unwrap()];
    for _ in 0..20 {
        chain.push(heap.add_shape(&mut memory, &layout, chain.last().copied()).unwrap());
    }
    for (depth, shape) in chain.iter().enumerate() {
        assert_eq!(memory.read32(shape + 4), depth as u32);
        for (level, expected) in chain.iter().enumerate().take(depth + 1) {
            assert_eq!(memory.read32(shape + 16 + 4 * level as u32), *expected);
        }
        assert!(depth >= 7 || memory.read32(shape + 16 + 4 * 7) == 0);
    }
    assert_eq!(heap.object(memory.all(), chain[0]), None, "a shape is no object");
}

/// Every word of a small heap is replaced by others: collections panic or go on, and end.
#[test]
fn a_corrupted_heap_panics_at_worst() {
    let mut random = Random(99);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut panics = 0;
    for turn in 0..if cfg!(miri) { 5 } else { 300 } {
        let config = Config { eden_bytes: EDEN, aging: turn % 2 == 0, ..Config::default() };
        let mut mutator = Mutator::new(config, 4 << 20, 1 << 30);
        mutator.run(&mut Random(turn + 1), 400);
        let end = mutator.heap.window().0 - NULL_PAGE;
        let place = random.below(end as usize / 4) * 4;
        let value = [0, 4, 1 << 31, u32::MAX - 7, 0x11_0000, 0x7fff_fff8][random.below(6)];
        mutator.bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for which in [Which::Young, Which::Full] {
                let roots = &mut mutator.roots;
                let mut each = |visit: &mut dyn FnMut(u32) -> u32| {
                    roots.iter_mut().for_each(|(_, reference)| *reference = visit(*reference));
                };
                let mut memory = Memory::new(&mut mutator.bytes);
                mutator.heap.collect(&mut memory, which, &mut each);
            }
        }));
        if result.is_err() {
            panics += 1;
            assert_eq!(mutator.heap.plan(8, &Attempt::default()), Step::OutOfMemory);
        }
    }
    std::panic::set_hook(hook);
    assert!(panics > 0 || cfg!(miri));
}
