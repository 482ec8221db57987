//! Input nobody vouches for: one mistake, little memory, no panic.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use isorecipe::yaml::{self, Kind, Mistake, Node};
use support::{RECIPE, Recipe};

/// Counts what this thread holds, and the most it ever held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call is handed to the system's allocator unchanged; counting neither allocates nor unwinds.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get().wrapping_add(layout.size()));
        // What another thread allocated may be freed here: then the count wraps, and is no most.
        if HELD.get() < usize::MAX / 2 {
            MOST.set(MOST.get().max(HELD.get()));
        }
        // SAFETY: the caller's promise about `layout` is the system's requirement.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get().wrapping_sub(layout.size()));
        // SAFETY: `pointer` came from `alloc` above, hence from the system, with this `layout`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Far below the 256 MiB that a hostile recipe may cost.
const MEMORY: usize = 64 << 20;

#[track_caller]
fn refuses(source: impl AsRef<[u8]>, codes: &[&str]) {
    let source = source.as_ref();
    MOST.set(HELD.get());
    let before = HELD.get();
    let (value, mistakes) = support::read::<Recipe>(source);
    let memory = MOST.get() - before;
    assert!(value.is_none());
    assert_eq!(mistakes.iter().map(|mistake| &*mistake.code).collect::<Vec<_>>(), codes);
    assert!(memory < MEMORY, "{memory} bytes for a source of {}", source.len());
    mistakes.iter().for_each(|mistake| is_sound(mistake, source));
}

/// Spans can be drawn and words can be printed.
#[track_caller]
fn is_sound(mistake: &Mistake, source: &[u8]) {
    let text = String::from_utf8_lossy(source);
    let also = mistake.also.as_ref();
    for span in [Some(&mistake.span), also.map(|(span, _)| span)].into_iter().flatten() {
        assert!(text.get(span.clone()).is_some(), "{span:?} of {mistake:?}");
    }
    let path = mistake.path.to_string();
    for words in [&mistake.message, &mistake.why, &mistake.help, &path]
        .into_iter()
        .chain(also.map(|(_, words)| words))
    {
        let hidden = words
            .chars()
            .find(|c| c.is_control() || matches!(c, '\u{200e}' | '\u{202a}'..='\u{202e}'));
        assert!(hidden.is_none(), "{hidden:?} in {words:?}");
    }
    assert!(!mistake.message.is_empty());
}

#[test]
fn a_file_over_the_limit_is_not_looked_at() {
    refuses(vec![b'#'; yaml::FILE_LIMIT + 1], &["yaml::too_large"]);
    refuses(vec![b'#'; yaml::FILE_LIMIT], &["yaml::line_too_long"]);
}

#[test]
fn what_is_not_utf_8_is_named() {
    refuses(b"name: caf\xe9\n", &["yaml::not_utf8"]);
    refuses(b"name: \xc0\x80\n", &["yaml::not_utf8"]);
    refuses(b"\xef\xbb\xbfname: x\n", &["yaml::byte_order_mark"]);
    refuses(b"\xff\xfen\0a\0", &["yaml::byte_order_mark"]);
    refuses(b"n\0a\0m\0", &["yaml::control_character"]);
}

#[test]
fn characters_that_do_not_show_are_refused_wherever_they_stand() {
    refuses("# \u{202e}evil\nisorecipe: 1\n", &["yaml::control_character"]);
    refuses("name: \u{7f}\n", &["yaml::control_character"]);
    refuses("\"\\e[2J\": 1\nisorecipe: 1\n", &["yaml::control_character"]);
    refuses("\"\\u202e\": 1\nisorecipe: 1\n", &["yaml::control_character"]);
    // In a value an escape is the author's business, but never the terminal's.
    refuses("isorecipe: \"\\e[2J\\u202e\"\n", &["recipe::not_a_number"]);
}

#[test]
fn lines_have_a_length() {
    refuses(
        format!("isorecipe: 1\nname: {}\n", "x".repeat(yaml::LINE_LIMIT)),
        &["yaml::line_too_long"],
    );
    let longest = format!("isorecipe: 1\nname: {}\r\n", "x".repeat(yaml::LINE_LIMIT - 6));
    assert!(support::read::<Recipe>(longest.as_bytes()).0.is_some());
}

#[test]
fn brackets_have_a_depth() {
    let lines = |bracket: &str, count: usize| format!("{bracket}\n").repeat(count);
    refuses(lines("[", 100_000), &["yaml::too_deep"]);
    refuses(lines("{a: ", 100_000), &["yaml::too_deep"]);
    refuses(lines("[", 100_000) + &lines("]", 100_000), &["yaml::too_deep"]);
    refuses("- ".repeat(2000), &["yaml::too_deep"]);
    refuses(
        (0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect::<String>(),
        &["yaml::too_deep"],
    );
    refuses(format!("{}{}", "[".repeat(65), "]".repeat(65)), &["yaml::too_deep"]);
    refuses(format!("{}{}", "[".repeat(64), "]".repeat(64)), &["recipe::wrong_kind"]);
}

#[test]
fn values_have_a_number() {
    refuses("a:\n".repeat(300_000), &["yaml::too_many_nodes"]);
    refuses(
        (0..100_000).map(|key| format!("k{key}:\n")).collect::<String>(),
        &["yaml::too_many_nodes"],
    );
    refuses("-\n".repeat(500_000), &["yaml::too_many_nodes"]);
}

#[test]
fn aliases_are_weighed_before_they_are_copied() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        laughs += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    refuses(laughs, &["yaml::too_many_nodes"]);

    let text = format!(
        "a: &a |\n{}b:\n{}",
        "  xxxxxxxxxxxxxxxx\n".repeat(20_000),
        "- *a\n".repeat(50_000)
    );
    refuses(text, &["yaml::too_large"]);

    let nested = (0..60).map(|level| format!("&n{level} [")).collect::<String>() + &"]".repeat(60);
    let deep = format!("a:\n- {nested}\n- [[[[[*n0]]]]]\n");
    refuses(deep, &["yaml::too_deep"]);

    refuses("a: &a [b, *a]\nisorecipe: 1\n", &["yaml::alias_cycle"]);
}

#[test]
fn anchors_are_paid_for() {
    let nested = (0..50).map(|level| format!("&n{level} [")).collect::<String>() + "\n";
    let items = "x,\n".repeat(90_000);
    refuses(format!("a: {nested}{items}{}", "]".repeat(50)), &["yaml::too_many_nodes"]);
}

#[test]
fn a_hundred_mistakes_are_enough() {
    let same_key = "a: 1\n".repeat(40_000);
    assert_eq!(
        support::read::<Recipe>(same_key.as_bytes()).1.len(),
        102,
        "and what the first `a` leaves to say"
    );
    let unknown = (0..40_000).map(|key| format!("k{key}: 1\n")).collect::<String>();
    assert_eq!(support::read::<Recipe>(unknown.as_bytes()).1.len(), 100);
    let wrong = String::from("isorecipe: 1\ncommand:\n") + &"- {}\n".repeat(40_000);
    assert_eq!(support::read::<Recipe>(wrong.as_bytes()).1.len(), 32, "one for each pass");
}

#[test]
fn no_mutation_of_a_recipe_makes_it_panic() {
    let mut random = Random(0x15_0b0e);
    let recipes = [
        RECIPE,
        "isorecipe: 1\nlayers:\n- pivot_root: {new: /a, old: /b}\n- hostname: \"é\\n\"\nenv: {A: 'x', B: |-\n}\n",
        "isorecipe: 1\nlayers:\n  - &u user:\n      map: &m {uid: [{inside: 0, outside: 1, count: 1}]}\n  - user: {map: *m}\n",
        "isorecipe: 1\nabout: >-\n  two\n  lines\n\nname: ~\r\ncwd: /tmp\nenv:\n  é: ü\n  ? k\n  : v\n",
    ];
    let tokens = [
        "{", "}", "[", "]", ": ", "- ", "\n", "\t", "*m", "&m ", "!x ", "<<: ", "? ", "|\n", ">\n",
        "\"", "'", "${h}", "#", " #", "---\n", "...\n", "%", "~", "null", "é", "\u{202e}",
        "\u{1b}", "\\e", "\r", "\0", "0x1", "-0", "@", "`", ",", "  ", "\u{feff}",
    ];
    let (mut read, mut refused) = (0, 0);
    for _ in 0..50_000 {
        let mut source = recipes[random.below(recipes.len())].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            mutate(&mut source, &mut random, &tokens);
        }
        let (value, mistakes) = support::read::<Recipe>(&source);
        assert_eq!(value.is_some(), mistakes.is_empty(), "{:?}", String::from_utf8_lossy(&source));
        mistakes.iter().for_each(|mistake| is_sound(mistake, &source));
        if let Some(tree) = yaml::parse(&source, &mut Vec::new()) {
            spans_stand_inside_each_other(&tree.root, &String::from_utf8_lossy(&source));
        }
        if value.is_some() { read += 1 } else { refused += 1 }
    }
    assert!(
        read > 1_000 && refused > 10_000,
        "the mutations are neither too mild nor too wild: {read}, {refused}"
    );
}

fn mutate(source: &mut Vec<u8>, random: &mut Random, tokens: &[&str]) {
    let at = random.below(source.len() + 1);
    let end = (at + random.below(12)).min(source.len());
    match random.below(5) {
        0 if at < source.len() => source[at] ^= 1 << random.below(8),
        1 => drop(source.drain(at..end)),
        2 => {
            let slice = source[at..end].to_vec();
            let to = random.below(source.len() + 1);
            source.splice(to..to, slice);
        }
        _ => drop(source.splice(at..at, tokens[random.below(tokens.len())].bytes())),
    }
}

#[track_caller]
fn spans_stand_inside_each_other(node: &Node, source: &str) {
    assert!(source.get(node.span.clone()).is_some(), "{node:?}");
    let inside = |inner: &std::ops::Range<usize>| {
        node.span.start <= inner.start && inner.end <= node.span.end
    };
    match &node.kind {
        Kind::Null | Kind::Scalar(_) => {}
        Kind::Sequence(items) => {
            for item in items {
                assert!(inside(&item.span), "{:?} in {:?} of {source:?}", item.span, node.span);
                spans_stand_inside_each_other(item, source);
            }
        }
        Kind::Mapping(entries) => {
            for entry in entries {
                assert!(
                    inside(&entry.key_span) && inside(&entry.value.span),
                    "{entry:?} of {source:?}"
                );
                spans_stand_inside_each_other(&entry.value, source);
            }
        }
    }
}

/// xorshift64*: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
