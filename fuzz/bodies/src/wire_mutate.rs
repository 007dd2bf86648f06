//! A message with one flaw in its encoding.
//!
//! Chapter 10. A message grown from the reference's shapes is accepted and encodes to the same
//! bytes; after one flaw at one place of its CBOR, payloads included, it is always refused
//! [WIRE-2].
//! It does not change values: whether a value may stand there is the machines' business.

use arbitrary::{Arbitrary, Result, Unstructured};
use split_custody_spec::reference::{self, Shape};

use crate::wire_decode::{Reencoded, whole_message};

/// The body.
pub fn run(input: &[u8]) {
    let mut input = Unstructured::new(input);
    if let Ok((tree, flaw)) = plan(&mut input) {
        check(&tree, flaw, whole_message);
    }
}

/// The oracle: accepted without the flaw, refused with it.
pub fn check(tree: &Tree, flaw: Flaw, decoder: impl Fn(&[u8]) -> Reencoded) {
    let whole = Writer::write(tree, None);
    assert_eq!(decoder(&whole.out).as_deref(), Some(&*whole.out), "refused a message");
    let sites = Writer::write(tree, Some((flaw, usize::MAX))).sites;
    let Some(site) = usize::from(flaw.site).checked_rem(sites) else { return };
    let flawed = Writer::write(tree, Some((flaw, site))).out;
    assert!(flawed != whole.out, "{flaw:?} changed nothing");
    assert!(decoder(&flawed).is_none(), "accepted {flaw:?} at site {site} [WIRE-2]");
}

/// One flaw, and where.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub struct Flaw {
    pub kind: Kind,
    /// Which of the places where this kind can be.
    pub site: u16,
    /// Which key of a map, or how much.
    pub place: u8,
}

/// What is wrong with the encoding.
#[derive(Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// An integer or a length takes more bytes than it needs.
    Wide,
    SwappedKeys,
    DuplicateKey,
    UnknownKey,
    MissingKey,
    Indefinite,
    /// A byte follows the message, or a payload.
    Trailing,
    /// A tag stands before a value.
    Tagged,
    /// The end is missing, of the message or of a payload.
    Cut,
}

/// A message or payload before it is encoded; `Payload` is encoded into a byte string.
#[derive(Clone, Debug)]
pub enum Tree {
    Uint(u64),
    Bytes(Vec<u8>),
    Array(Vec<Tree>),
    Map(Vec<(u64, Tree)>),
    Payload(Box<Tree>),
}

/// A message and a flaw, from the fuzzer's bytes.
pub fn plan(input: &mut Unstructured<'_>) -> Result<(Tree, Flaw)> {
    let flaw = Flaw::arbitrary(input)?;
    let messages: &[(&str, Shape)] = &reference::MESSAGES;
    let number = input.int_in_range(1..=messages.len())?;
    let body = grow(&messages[number - 1].1, input)?;
    Ok((Tree::Array(vec![Tree::Uint(1), Tree::Uint(number as u64), body]), flaw))
}

fn grow(shape: &Shape, input: &mut Unstructured<'_>) -> Result<Tree> {
    Ok(match shape {
        Shape::Uint(least, most) => Tree::Uint(input.int_in_range(*least..=*most)?),
        Shape::Bytes(least, most) => {
            let length = input.int_in_range(*least..=(*most).min(least + SLACK))?;
            Tree::Bytes(fill(length, input)?)
        }
        Shape::List(least, most, item) => {
            let count = input.int_in_range(*least..=(*most).min(least + MORE_ITEMS))?;
            Tree::Array((0..count).map(|_| grow(item, input)).collect::<Result<_>>()?)
        }
        Shape::Map(fields) => {
            let field = |(key, (_, shape)): (u64, &(_, Shape))| Ok((key, grow(shape, input)?));
            Tree::Map((1..).zip(*fields).map(field).collect::<Result<_>>()?)
        }
        Shape::Signed(_, payload) => Tree::Array(vec![
            Tree::Bytes(reference::ES256.to_vec()),
            Tree::Map(Vec::new()),
            Tree::Payload(Box::new(grow(payload, input)?)),
            Tree::Bytes(fill(64, input)?),
        ]),
    })
}

/// Bytes of the input, and zeros where it ends.
fn fill(length: usize, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    input.fill_buffer(&mut bytes)?;
    Ok(bytes)
}

/// Encodes a tree, with a flaw at the place whose turn comes.
struct Writer {
    out: Vec<u8>,
    flaw: Option<(Flaw, usize)>,
    /// Places seen so far at which the flaw could be.
    sites: usize,
}

impl Writer {
    fn write(tree: &Tree, flaw: Option<(Flaw, usize)>) -> Self {
        let mut writer = Self { out: Vec::new(), flaw, sites: 0 };
        writer.root(tree);
        writer
    }

    /// A message or a payload: where bytes can follow or be missing.
    fn root(&mut self, tree: &Tree) {
        let begin = self.out.len();
        self.tree(tree);
        if let Some(place) = self.turn(Kind::Trailing) {
            self.out.push(place);
        }
        if let Some(place) = self.turn(Kind::Cut) {
            let length = self.out.len() - begin;
            self.out.truncate(begin + usize::from(place) % length);
        }
    }

    fn tree(&mut self, tree: &Tree) {
        if self.turn(Kind::Tagged).is_some() {
            self.out.push(0xc1);
        }
        match tree {
            Tree::Uint(number) => self.head(0, *number),
            Tree::Bytes(bytes) => self.bytes(bytes),
            Tree::Payload(inner) => {
                // Written apart, then put in as a byte string, sites counted on.
                let outer = std::mem::take(&mut self.out);
                self.root(inner);
                let payload = std::mem::replace(&mut self.out, outer);
                self.bytes(&payload);
            }
            Tree::Array(items) => {
                let open = self.open(4, items.len());
                items.iter().for_each(|item| self.tree(item));
                self.close(open);
            }
            Tree::Map(pairs) => self.map(pairs),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.turn(Kind::Indefinite).is_some() {
            self.out.push(0x5f);
            self.out.extend(head(2, bytes.len() as u64, 0));
            self.out.extend(bytes);
            self.out.push(0xff);
            return;
        }
        self.head(2, bytes.len() as u64);
        self.out.extend(bytes);
    }

    fn map(&mut self, pairs: &[(u64, Tree)]) {
        let mut pairs: Vec<(u64, &Tree)> = pairs.iter().map(|(key, tree)| (*key, tree)).collect();
        if pairs.len() > 1
            && let Some(place) = self.turn(Kind::SwappedKeys)
        {
            let place = usize::from(place) % (pairs.len() - 1);
            pairs.swap(place, place + 1);
        }
        if !pairs.is_empty()
            && let Some(place) = self.turn(Kind::DuplicateKey)
        {
            let place = usize::from(place) % pairs.len();
            pairs.insert(place, pairs[place]);
        }
        if !pairs.is_empty()
            && let Some(place) = self.turn(Kind::MissingKey)
        {
            pairs.remove(usize::from(place) % pairs.len());
        }
        if let Some(place) = self.turn(Kind::UnknownKey) {
            let last = pairs.last().map_or(0, |(key, _)| *key);
            pairs.push((last + 1 + u64::from(place), &Tree::Uint(0)));
        }
        let open = self.open(5, pairs.len());
        for (key, tree) in pairs {
            self.head(0, key);
            self.tree(tree);
        }
        self.close(open);
    }

    fn head(&mut self, major: u8, argument: u64) {
        let can = argument <= u64::from(u32::MAX);
        let place = if can { self.turn(Kind::Wide) } else { None };
        let wider = place.map_or(0, |place| 1 + usize::from(place % 3));
        self.out.extend(head(major, argument, wider));
    }

    /// Whether an indefinite length was begun.
    fn open(&mut self, major: u8, count: usize) -> Option<u8> {
        let place = self.turn(Kind::Indefinite);
        match place {
            Some(_) => self.out.push(major << 5 | 31),
            None => self.head(major, count as u64),
        }
        place
    }

    fn close(&mut self, open: Option<u8>) {
        self.out.extend(open.map(|_| 0xff));
    }

    /// Counts a place for a kind; gives the flaw's number when it is its turn.
    fn turn(&mut self, kind: Kind) -> Option<u8> {
        let (flaw, at) = self.flaw.filter(|(flaw, _)| flaw.kind == kind)?;
        self.sites += 1;
        (self.sites - 1 == at).then_some(flaw.place)
    }
}

/// Major type and argument, in as few bytes as can hold it or in this many sizes more.
fn head(major: u8, argument: u64, wider: usize) -> Vec<u8> {
    let least = match argument {
        0..=23 => 0,
        24..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 3,
        _ => 4,
    };
    let size = (least + wider).min(4);
    let bytes = argument.to_be_bytes();
    let (short, tail) = match size {
        0 => (argument as u8, &bytes[8..]),
        1 => (24, &bytes[7..]),
        2 => (25, &bytes[6..]),
        3 => (26, &bytes[4..]),
        _ => (27, &bytes[..]),
    };
    [&[major << 5 | short], tail].concat()
}

/// Byte strings are at most this much longer than they must be.
const SLACK: usize = 24;
/// Lists have at most this many items more than they must.
const MORE_ITEMS: usize = 3;
