//! How a diagnostic looks, whole, so that whoever changes the look sees it here.

use std::sync::Arc;

use isorecipe::diagnostic::{Diagnostic, Format, Observed, Record, Refusal, Source, Style, render};
use isorecipe::yaml::{Mistake, Path};
use nix::errno::Errno;
use proptest::prelude::*;

const STEP2: &str = "\
isorecipe: 1
name: step2
about: A name of its own.

layers:
  - user: {map: root}
  - hostname: HOGE
command: [bash]
";

/// Drawn, 80 columns, no colour: nearly every test.
fn fancy() -> Style {
    Style::default()
}

fn plain() -> Style {
    Style { format: Format::Plain, ..fancy() }
}

fn json() -> Style {
    Style { format: Format::Json, ..fancy() }
}

fn hostname() -> Path {
    Path::root().key("layers").index(1).key("hostname")
}

fn user() -> Path {
    Path::root().key("layers").index(0)
}

fn refusal() -> Refusal {
    Refusal::new("hostname::shared", "this hostname belongs to the host")
        .why("no UTS namespace yet")
        .help("put a `uts` layer before it")
}

/// The refusal, in a recipe called `recipe.yaml`, at the first place that says `words`.
fn at(text: &str, words: &str) -> Diagnostic {
    locate(refusal().at(hostname()), text, words, None)
}

fn locate(diagnostic: Diagnostic, text: &str, words: &str, also: Option<&str>) -> Diagnostic {
    let source = Arc::new(Source::new("recipe.yaml", text));
    let span = |words: &str| text.find(words).map(|start| start..start + words.len());
    diagnostic.locate(&source, span(words), also.and_then(span))
}

#[track_caller]
fn check(diagnostics: &[Diagnostic], how: Style, expected: &str) {
    let rendered = render(diagnostics, &how);
    let expected = expected.strip_prefix('\n').unwrap_or(expected);
    assert_eq!(rendered, expected, "\n{rendered}");
}

#[test]
fn a_refusal_shows_the_line_and_points_at_the_place() {
    check(
        &[at(STEP2, "hostname: HOGE")],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:5]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·     ───────┬──────
   ·            ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn a_warning_looks_the_same() {
    check(
        &[at(STEP2, "HOGE").warning()],
        fancy(),
        r#"
warning[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:15]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·               ──┬─
   ·                 ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn what_the_kernel_answered_is_one_line() {
    let observed = Observed::new(4, "sethostname(2)", Errno::EPERM as i32);
    let seen = refusal().observed(observed).at(hostname());
    check(
        &[locate(seen.clone(), STEP2, "HOGE", None)],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:15]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·               ──┬─
   ·                 ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
  step 4: sethostname: EPERM (Operation not permitted)
  help: put a `uts` layer before it
"#,
    );
    check(
        &[seen],
        plain(),
        r#"
error[hostname::shared]: this hostname belongs to the host
at layers[1].hostname: no UTS namespace yet
step 4: sethostname: EPERM (Operation not permitted)
help: put a `uts` layer before it
"#,
    );
}

#[test]
fn an_errno_without_a_name_stays_a_number() {
    let observed = Observed::new(1, "mount", 4242);
    assert_eq!(observed.to_string(), "step 1: mount: errno 4242");
    assert_eq!(observed.errno_name(), None);
}

#[test]
fn the_other_place_shares_the_frame_when_it_is_near() {
    let both = refusal().also(user(), "root only in here").at(hostname());
    check(
        &[locate(both.clone(), STEP2, "HOGE", Some("user"))],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:15]
 5 │ layers:
 6 │   - user: {map: root}
   ·     ──┬─
   ·       ╰── root only in here
 7 │   - hostname: HOGE
   ·               ──┬─
   ·                 ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
  help: put a `uts` layer before it
"#,
    );
    check(
        &[locate(both, STEP2, "hostname", Some("HOGE"))],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:5]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·     ────┬───  ──┬─
   ·         │       ╰── root only in here
   ·         ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn the_other_place_gets_a_frame_of_its_own_when_it_is_far() {
    let both = refusal().also(Path::root(), "counted from here").at(hostname());
    check(
        &[locate(both, STEP2, "HOGE", Some("isorecipe"))],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:15]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·               ──┬─
   ·                 ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
   ╭─[recipe.yaml:1:1]
 1 │ isorecipe: 1
   · ────┬────
   ·     ╰── counted from here
 2 │ name: step2
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn a_recipe_built_in_rust_names_its_paths() {
    let built = refusal().also(user(), "root only in here").at(hostname());
    check(
        std::slice::from_ref(&built),
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
  at layers[1].hostname: no UTS namespace yet
  also at layers[0]: root only in here
  help: put a `uts` layer before it
"#,
    );
    check(
        &[built],
        plain(),
        r#"
error[hostname::shared]: this hostname belongs to the host
at layers[1].hostname: no UTS namespace yet
also at layers[0]: root only in here
help: put a `uts` layer before it
"#,
    );
}

#[test]
fn a_file_without_spans_is_named() {
    let source = Arc::new(Source::new("recipe.yaml", STEP2));
    let unknown = refusal().at(hostname()).locate(&source, None, None);
    check(
        &[unknown],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
  at recipe.yaml (layers[1].hostname): no UTS namespace yet
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn an_unknown_cause_says_no_more_than_is_known() {
    let observed = Observed::new(4, "sethostname", Errno::EIO as i32);
    let unknown =
        Refusal::new("hostname::unexplained", "the hostname was not set").observed(observed);
    check(
        &[locate(unknown.clone().at(hostname()), STEP2, "HOGE", None)],
        fancy(),
        r#"
error[hostname::unexplained]: the hostname was not set
   ╭─[recipe.yaml:7:15]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·               ────
 8 │ command: [bash]
   ╰────
  step 4: sethostname: EIO (I/O error)
"#,
    );
    check(
        &[unknown.clone().at(Path::root())],
        fancy(),
        r#"
error[hostname::unexplained]: the hostname was not set
  step 4: sethostname: EIO (I/O error)
"#,
    );
    check(
        &[unknown.at(Path::root())],
        plain(),
        r#"
error[hostname::unexplained]: the hostname was not set
step 4: sethostname: EIO (I/O error)
"#,
    );
}

#[test]
fn a_mistake_of_the_file_looks_like_any_other() {
    let text = "uts: {}\nuts: {}\n";
    let mistake = || Mistake {
        code: "yaml::duplicate_key".into(),
        path: Path::root().key("uts"),
        span: 8..11,
        message: "`uts` is there twice".to_owned(),
        why: "here again".to_owned(),
        help: "delete one".to_owned(),
        also: Some((0..3, "first here".to_owned())),
    };
    let source = Arc::new(Source::new("twice.yaml", text));
    check(
        &[Diagnostic::mistake(mistake(), &source)],
        fancy(),
        r#"
error[yaml::duplicate_key]: `uts` is there twice
   ╭─[twice.yaml:2:1]
 1 │ uts: {}
   · ─┬─
   ·  ╰── first here
 2 │ uts: {}
   · ─┬─
   ·  ╰── here again
   ╰────
  help: delete one
"#,
    );
    check(
        &[Diagnostic::mistake(mistake(), &source)],
        plain(),
        r#"
error[yaml::duplicate_key]: `uts` is there twice
at twice.yaml line 2 column 1 (uts): here again
also at twice.yaml line 1 column 1: first here
help: delete one
"#,
    );
}

#[test]
fn several_diagnostics_stand_apart_and_the_same_one_is_said_once() {
    let all = [at(STEP2, "HOGE"), at(STEP2, "bash"), at(STEP2, "HOGE")];
    check(
        &all,
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:15]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·               ──┬─
   ·                 ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
  help: put a `uts` layer before it

error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:8:11]
 7 │   - hostname: HOGE
 8 │ command: [bash]
   ·           ──┬─
   ·             ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
    check(
        &all,
        plain(),
        r#"
error[hostname::shared]: this hostname belongs to the host
at recipe.yaml line 7 column 15 (layers[1].hostname): no UTS namespace yet
help: put a `uts` layer before it

error[hostname::shared]: this hostname belongs to the host
at recipe.yaml line 8 column 11 (layers[1].hostname): no UTS namespace yet
help: put a `uts` layer before it
"#,
    );
    assert_eq!(render(&all, &json()).lines().count(), 2);
    assert_eq!(render(&[], &fancy()), "");
}

#[test]
fn ascii_is_enough() {
    let how = Style { unicode: false, ..fancy() };
    let both = refusal().also(user(), "root only in here").at(hostname());
    check(
        &[locate(both, STEP2, "HOGE", Some("user"))],
        how,
        r#"
error[hostname::shared]: this hostname belongs to the host
   ,-[recipe.yaml:7:15]
 5 | layers:
 6 |   - user: {map: root}
   :     ^^|^
   :       `-- root only in here
 7 |   - hostname: HOGE
   :               ^^|^
   :                 `-- no UTS namespace yet
 8 | command: [bash]
   `----
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn colour_marks_the_severity_the_places_and_the_help() {
    let how = Style { color: true, ..fancy() };
    let both = refusal().also(user(), "root only in here").at(hostname());
    let rendered = render(&[locate(both, STEP2, "HOGE", Some("user"))], &how);
    let spelled = rendered.replace('\u{1b}', "^");
    assert_eq!(
        spelled,
        r#"
^[1;31merror[hostname::shared]^[0m: ^[1mthis hostname belongs to the host^[0m
   ╭─[^[36mrecipe.yaml:7:15^[0m]
 ^[2m5^[0m │ layers:
 ^[2m6^[0m │   - user: {map: root}
   · ^[36;1m    ──┬─^[0m
   ·       ^[36;1m╰── ^[36;1mroot only in here^[0m^[0m
 ^[2m7^[0m │   - hostname: HOGE
   · ^[31;1m              ──┬─^[0m
   ·                 ^[31;1m╰── ^[31;1mno UTS namespace yet^[0m^[0m
 ^[2m8^[0m │ command: [bash]
   ╰────
  ^[36mhelp:^[0m put a `uts` layer before it
"#
        .trim_start_matches('\n'),
        "{rendered}"
    );
}

#[test]
fn wide_characters_keep_the_arrow_in_place() {
    check(
        &[at("about: 名前空間 hostname\n", "hostname")],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:1:13]
 1 │ about: 名前空間 hostname
   ·                 ────┬───
   ·                     ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
    check(
        &[at("about: 名前空間\n", "空間")],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:1:10]
 1 │ about: 名前空間
   ·            ──┬─
   ·              ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn tabs_keep_the_arrow_in_place() {
    check(
        &[at("layers:\n\t- hostname:\tHOGE\n", "HOGE")],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:2:14]
 1 │ layers:
 2 │     - hostname: HOGE
   ·                 ──┬─
   ·                   ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn windows_line_ends_do_not_show() {
    check(
        &[at(&STEP2.replace('\n', "\r\n"), "HOGE\r\n")],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:7:15]
 6 │   - user: {map: root}
 7 │   - hostname: HOGE
   ·               ──┬─
   ·                 ╰── no UTS namespace yet
 8 │ command: [bash]
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn several_lines_are_marked_on_the_first() {
    let text = "layers:\n  - user:\n      map: root\n  - uts\n";
    check(
        &[at(text, "user:\n      map: root\n")],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:2:5]
 1 │ layers:
 2 │   - user:
   ·     ──┬──
   ·       ╰── no UTS namespace yet
 3 │       map: root
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn the_end_of_the_file_is_behind_its_last_word() {
    let source = Arc::new(Source::new("recipe.yaml", "isorecipe: 1\n"));
    let end = |span| refusal().at(Path::root()).locate(&source, Some(span), None);
    let expected = r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:1:13]
 1 │ isorecipe: 1
   ·             ▲
   ·             ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#;
    check(&[end(13..13)], fancy(), expected);
    check(&[end(99..usize::MAX)], fancy(), expected);
}

#[test]
fn an_empty_file_has_nothing_to_draw() {
    let source = Arc::new(Source::new("recipe.yaml", ""));
    let empty = refusal().at(Path::root()).locate(&source, Some(0..0), None);
    check(
        &[empty],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
  at recipe.yaml:1:1: no UTS namespace yet
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn characters_that_hide_or_act_show_as_question_marks_of_the_same_length() {
    let text = "a: \u{1b}[31mred\u{202e} \u{9b}\rHOGE\n";
    check(
        &[at(text, "HOGE")],
        fancy(),
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:1:16]
 1 │ a: ?[31mred??? ???HOGE
   ·                   ──┬─
   ·                     ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn words_that_hide_or_act_are_spelled_out() {
    let evil = "\u{1b}]0;owned\u{7}\u{202e}\nerror: all is well\u{9b}";
    let told = Refusal::new(evil.to_owned(), evil)
        .why(evil)
        .help(evil)
        .also(Path::root().key(evil), evil)
        .observed(Observed::new(1, evil, 1))
        .at(Path::root().key(evil));
    let source = Arc::new(Source::new(evil, "a: HOGE\n"));
    let located = told.clone().locate(&source, Some(3..7), None);
    let spelled = r"\u{1b}]0;owned\u{7}\u{202e}\u{a}error: all is well\u{9b}";
    assert_eq!(told.message(), spelled);
    for how in [fancy(), plain(), json()] {
        let rendered = render(&[told.clone(), located.clone()], &how);
        assert!(!rendered.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')));
        assert!(!rendered.lines().any(|line| line.starts_with("error: all is well")));
    }
}

#[test]
fn a_narrow_terminal_crops_lines_and_wraps_words() {
    let how = Style { width: 60, ..fancy() };
    let text = "layers:\n  - bind: {source: /usr/share/a/long/way/down, target: /opt/share, write: true}\n  - mask: [/proc/kcore, /proc/keys, /proc/latency_stats, /proc/timer_list]\n";
    let long = refusal()
        .why("the sources of a bind are opened where the earlier layers left the tree")
        .help("isorecipe plan --host host.json --allow-host-changes recipes/with/a/long/name.yaml")
        .at(hostname());
    check(
        &[locate(long.clone(), text, "/opt/share", None)],
        how,
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:2:56]
 1 │ layers:
 2 │ …ong/way/down, target: /opt/share, write: true}
   ·                        ─────┬────
   ·                             ╰─┤ the sources of a bind
   ·                               │ are opened where the
   ·                               │ earlier layers left
   ·                               │ the tree
 3 │   - mask: [/proc/kcore, /proc/keys, /proc/latency_stat…
   ╰────
  help: isorecipe plan --host host.json --allow-host-changes
        recipes/with/a/long/name.yaml
"#,
    );
    check(
        &[locate(long.clone(), text, "write: true", None)],
        how,
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:2:68]
 1 │ layers:
 2 │ …, target: /opt/share, write: true}
   ·                        ─────┬─────
   ·                             ╰─┤ the sources of a bind
   ·                               │ are opened where the
   ·                               │ earlier layers left
   ·                               │ the tree
 3 │   - mask: [/proc/kcore, /proc/keys, /proc/latency_stat…
   ╰────
  help: isorecipe plan --host host.json --allow-host-changes
        recipes/with/a/long/name.yaml
"#,
    );
    check(
        &[locate(long, text, "bind", None)],
        how,
        r#"
error[hostname::shared]: this hostname belongs to the host
   ╭─[recipe.yaml:2:5]
 1 │ layers:
 2 │   - bind: {source: /usr/share/a/long/way/down, target:…
   ·     ──┬─
   ·       ╰─┤ the sources of a bind are opened where the
   ·         │ earlier layers left the tree
 3 │   - mask: [/proc/kcore, /proc/keys, /proc/latency_stat…
   ╰────
  help: isorecipe plan --host host.json --allow-host-changes
        recipes/with/a/long/name.yaml
"#,
    );
}

#[test]
fn what_can_be_typed_or_copied_is_never_broken() {
    let how = Style { width: 40, ..fancy() };
    let typed = "isorecipe plan --allow-host-changes recipes/whose-name-is-longer-than-a-line.yaml";
    check(
        &[refusal().help(typed).at(hostname())],
        how,
        r#"
error[hostname::shared]: this hostname
  belongs to the host
  at layers[1].hostname: no UTS
    namespace yet
  help: isorecipe plan
        --allow-host-changes
        recipes/whose-name-is-longer-than-a-line.yaml
"#,
    );
}

#[test]
fn a_long_place_keeps_its_start_in_sight() {
    let how = Style { width: 40, ..fancy() };
    let text = "mask: /proc/kcore:/proc/keys:/proc/latency_stats:/proc/timer_list\n";
    let long = refusal().why("none of these is there before `proc` is mounted").at(hostname());
    check(
        &[locate(long, text, &text[6..], None)],
        Style { unicode: false, ..how },
        r#"
error[hostname::shared]: this hostname
  belongs to the host
   ,-[recipe.yaml:1:7]
 1 | .../proc/kcore:/proc/keys:/proc/...
   :    ^^^^^^^^^^^^^^|^^^^^^^^^^^^^^
   :                  `-| none of these is
   :                    | there before `proc`
   :                    | is mounted
   `----
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn cropping_counts_columns_and_not_characters() {
    let how = Style { width: 40, ..fancy() };
    let wide = "about: 名前空間は名前空間である、名前はまだ無い HOGE 名前空間は名前空間\n";
    check(
        &[at(wide, "HOGE")],
        how,
        r#"
error[hostname::shared]: this hostname
  belongs to the host
   ╭─[recipe.yaml:1:29]
 1 │ …名前はまだ無い HOGE 名前空間は名…
   ·                 ──┬─
   ·                   ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
    check(
        &[at("a: [b,\tc,\td,\te,\tHOGE]\n", "HOGE")],
        how,
        r#"
error[hostname::shared]: this hostname
  belongs to the host
   ╭─[recipe.yaml:1:17]
 1 │ …d, e,  HOGE]
   ·         ──┬─
   ·           ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
    let unspaced = format!("{}\n", "x".repeat(200));
    check(
        &[at(&unspaced, &unspaced)],
        how,
        r#"
error[hostname::shared]: this hostname
  belongs to the host
   ╭─[recipe.yaml:1:1]
 1 │ xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
   · ─────────────────┬────────────────
   ·                  ╰── no UTS namespace yet
   ╰────
  help: put a `uts` layer before it
"#,
    );
}

#[test]
fn an_empty_line_leaves_no_blank_behind() {
    let rendered = render(&[at(STEP2, "about")], &fancy());
    assert!(rendered.contains("\n 4 │\n"), "{rendered}");
}

#[test]
fn a_wide_terminal_changes_nothing_that_fits() {
    let how = Style { width: 200, ..fancy() };
    assert_eq!(render(&[at(STEP2, "HOGE")], &how), render(&[at(STEP2, "HOGE")], &fancy()));
}

#[test]
fn a_line_too_long_for_people_is_told_in_words() {
    // miette panics on an arrow beyond column 65535.
    for spaces in [4096, 100_000] {
        let text = format!("a: 1\nb: {}HOGE\nc: 1\n", " ".repeat(spaces));
        let rendered = render(&[at(&text, "HOGE")], &fancy());
        let expected = format!(
            "error[hostname::shared]: this hostname belongs to the host\n  \
               at recipe.yaml:2:{} (layers[1].hostname): no UTS namespace yet\n  \
               help: put a `uts` layer before it\n",
            spaces + 4
        );
        assert_eq!(rendered, expected);
        // Beside it, it would be shown too.
        assert_eq!(render(&[at(&text, "c")], &fancy()).lines().count(), 3);
    }
}

#[test]
fn json_has_the_same_facts() {
    let observed = Observed::new(4, "sethostname(2)", Errno::EPERM as i32);
    let all = refusal().also(user(), "root only in here").observed(observed).at(hostname());
    check(
        &[locate(all, STEP2, "HOGE", Some("user")), refusal().at(hostname()).warning()],
        json(),
        r#"
{"severity":"error","code":"hostname::shared","message":"this hostname belongs to the host","why":"no UTS namespace yet","help":"put a `uts` layer before it","path":"layers[1].hostname","file":"recipe.yaml","line":7,"column":15,"end_line":7,"end_column":19,"span":[96,100],"also":{"path":"layers[0]","file":"recipe.yaml","line":6,"column":5,"end_line":6,"end_column":9,"span":[64,68],"why":"root only in here"},"step":4,"call":"sethostname","errno":1,"errno_name":"EPERM"}
{"severity":"warning","code":"hostname::shared","message":"this hostname belongs to the host","why":"no UTS namespace yet","help":"put a `uts` layer before it","path":"layers[1].hostname","file":null,"line":null,"column":null,"end_line":null,"end_column":null,"span":null,"also":null,"step":null,"call":null,"errno":null,"errno_name":null}
"#,
    );
}

#[test]
fn the_schema_of_json_names_every_key() {
    let schema = schemars::schema_for!(Record);
    let record = serde_json::to_value(Record::from(&refusal().at(hostname()))).unwrap();
    for key in record.as_object().unwrap().keys() {
        assert!(
            schema.pointer(&format!("/properties/{key}/description")).is_some()
                || key == "severity",
            "{key}"
        );
    }
}

#[test]
fn miette_itself_may_draw_a_diagnostic() {
    let text = format!("{STEP2}# \u{1b}[31m\n");
    let report = format!("{:?}", miette::Report::new(at(&text, "command")));
    assert!(
        report.contains("this hostname belongs to the host") && report.contains("recipe.yaml:8:1"),
        "{report}"
    );
    assert!(report.contains("?[31m"), "{report}");
}

/// What stands in recipes, and what attackers would like to.
fn piece() -> impl Strategy<Value = String> {
    let hostile = "\u{0}\u{7}\u{8}\u{1b}\r\u{7f}\u{85}\u{9b}\u{ad}\u{200b}\u{200d}\u{2028}\u{202e}\u{2066}\u{feff}\u{e0041}\t";
    let chars: Vec<char> = hostile.chars().chain("é名👩🏽e\u{301}".chars()).collect();
    prop_oneof![
        4 => "[ -~]{0,20}",
        4 => prop::sample::select(chars).prop_map(String::from),
        3 => prop::sample::select(vec!["\n", "\r\n", "\n\n"]).prop_map(String::from),
        1 => (0..5000usize).prop_map(|long| "x".repeat(long)),
        1 => any::<char>().prop_map(String::from),
    ]
}

fn without_our_colours(rendered: &str) -> String {
    let mut pieces = rendered.split("\u{1b}[");
    let mut rest = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (numbers, text) = piece.split_once('m').expect("a colour ends in `m`");
        assert!(numbers.chars().all(|c| c.is_ascii_digit() || c == ';'), "{numbers:?}");
        rest.push_str(text);
    }
    rest
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_acts_on_the_terminal(
        pieces in prop::collection::vec(piece(), 0..12),
        words in prop::collection::vec(piece(), 0..3),
        (start, len) in (0..200usize, 0..200usize),
        (also_start, also_len) in (0..200usize, 0..200usize),
        (width, color, unicode) in (0..220usize, any::<bool>(), any::<bool>()),
    ) {
        let text: Arc<str> = pieces.concat().into();
        let words = words.concat();
        let source = Arc::new(Source::new(&words, Arc::clone(&text)));
        let diagnostic = Refusal::new("area::condition", &words)
            .why(&words)
            .help(&words)
            .also(Path::root().key(&words), &words)
            .at(Path::root().key(&words))
            .locate(&source, Some(start..start + len), Some(also_start..also_start + also_len));

        let span = diagnostic.span().unwrap();
        prop_assert!(text.get(span.clone()).is_some(), "{span:?}");
        for format in [Format::Fancy, Format::Plain, Format::Json] {
            let how = Style { format, color, unicode, width };
            let rendered = render(std::slice::from_ref(&diagnostic), &how);
            let bare = match color {
                true => without_our_colours(&rendered),
                false => rendered.clone(),
            };
            let acts = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            prop_assert!(!bare.contains(acts), "{bare:?}");
            prop_assert!(rendered.ends_with('\n'));
            prop_assert!(bare.contains("area::condition"));
        }
    }
}
