//! Messages written from the grammars of RFC 9110, 9112 and 3986, in `tests/corpus`, and what
//! mutation makes of them: however they are split, what they come to is the same, and what the
//! standard says.
//!
//! A file's name is the section and what is in it. Its first line, ending in a line feed, is what
//! is expected: the statuses of the answers, interim ones aside, then behind `|` each request as
//! the application sees it: method, target, content. The rest is what a client sends before it
//! half-closes.
//!
//! `FOREBAY_FULL=1` tries all mutants, each split in all ways.

mod feed;
pub(crate) mod mutate;
mod reference;

use crate::io::sim::Random;
use feed::{Bench, Outcome};
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the corpus.
pub(crate) struct Message {
    name: String,
    expected: String,
    pub(crate) bytes: Vec<u8>,
}

impl Message {
    pub(crate) fn all(kind: &str) -> Vec<Message> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus").join(kind);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        assert!(paths.len() > 50, "the corpus is whole");
        paths.iter().map(|path| Message::read(path)).collect()
    }

    fn read(path: &Path) -> Message {
        let text = fs::read(path).unwrap();
        let end = text.iter().position(|&byte| byte == b'\n').expect("a first line");
        Message {
            name: path.file_name().unwrap().to_string_lossy().into_owned(),
            expected: String::from_utf8(text[..end].to_vec()).unwrap(),
            bytes: text[end + 1..].to_vec(),
        }
    }
}

/// Where a message is cut: nowhere, behind lines, everywhere, or at random. Of large ones every
/// byte at both ends comes alone.
fn splits(bytes: &[u8], random: &mut Random) -> [Vec<usize>; 4] {
    let lines = (1..bytes.len()).filter(|&at| bytes[at - 1] == b'\n').collect();
    let is_near = |at: &usize| *at < NEAR || at + NEAR > bytes.len();
    let everywhere = (1..bytes.len()).filter(is_near).collect();
    [Vec::new(), lines, everywhere, random_cuts(bytes, random)]
}

fn random_cuts(bytes: &[u8], random: &mut Random) -> Vec<usize> {
    let rate = [10, 100, 500][random.within(0..=2)].min(NEAR * 1000 / bytes.len().max(1)) as u16;
    (1..bytes.len()).filter(|_| random.chance(rate)).collect()
}

/// Feeds a message, and compares what it comes to with what it means.
fn check(bench: &mut Bench, what: &str, bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut outcome = bench.feed(bytes, cuts);
    let read = reference::read(bytes);
    outcome.ended_well |= read.goes_on;
    if let Err(why) = outcome.agrees_with(&read) {
        let shown = bytes[..bytes.len().min(400)].escape_ascii();
        panic!("{what}: {why}\n  {shown}\n  cut at {cuts:?}\n  {outcome:?}\n  {read:?}");
    }
    outcome
}

/// Any bytes as what a client sends: the first says how they are split.
pub fn connection(data: &[u8]) {
    let [seed, message @ ..] = data else { return };
    let mut random = Random::new(u64::from(*seed));
    let cuts = random_cuts(message, &mut random);
    let mut bench = Bench::new();
    let outcomes = [Vec::new(), cuts].map(|cuts| check(&mut bench, "message", message, &cuts));
    bench.finish();
    assert_eq!(outcomes[0], outcomes[1], "{}", message.escape_ascii());
}

/// Any bytes as what a worker answers, split likewise: the client sees one response, or a part of
/// one and the end, or 502; and the worker's next is not taken for an answer either.
pub fn response(data: &[u8]) {
    let [seed, response @ ..] = data else { return };
    let cuts = random_cuts(response, &mut Random::new(u64::from(*seed)));
    for to_head in [false, true] {
        feed::respond(response, &cuts, to_head);
    }
}

#[test]
fn every_message_comes_to_what_its_section_says_however_split() {
    let (mut bench, mut random) = (Bench::new(), Random::new(1));
    for message in ["valid", "invalid"].into_iter().flat_map(Message::all) {
        for cuts in splits(&message.bytes, &mut random) {
            let outcome = check(&mut bench, &message.name, &message.bytes, &cuts);
            assert_eq!(outcome.to_string(), message.expected, "{} cut at {cuts:?}", message.name);
        }
    }
    bench.finish();
}

#[test]
fn every_mutant_comes_to_what_the_standard_says_however_split() {
    let (mut bench, mut random) = (Bench::new(), Random::new(2));
    let is_full = std::env::var("FOREBAY_FULL").is_ok_and(|value| value == "1");
    let mut count = 0;
    for message in ["valid", "invalid"].into_iter().flat_map(Message::all) {
        let total = mutate::count(&message.bytes);
        let chosen = if is_full { total } else { total.min(SAMPLE) };
        for index in 0..chosen {
            let index = if is_full { index } else { random.within(0..=total - 1) };
            let mutant = mutate::mutant(&message.bytes, index);
            let name = format!("mutant {index} of {}", message.name);
            let cuts = match is_full {
                true => splits(&mutant, &mut random).to_vec(),
                false => vec![Vec::new(), random_cuts(&mutant, &mut random)],
            };
            let mut outcomes = cuts.iter().map(|cuts| check(&mut bench, &name, &mutant, cuts));
            let first = outcomes.next().expect("one way at least");
            outcomes.for_each(|outcome| assert_eq!(outcome, first, "{name}"));
            count += 1;
        }
    }
    println!("{count} mutants");
    bench.finish();
}

/// Mutants of one message, where there is no time for all.
const SAMPLE: usize = 25;

/// Bytes at each end of a message that may come alone.
const NEAR: usize = 300;
