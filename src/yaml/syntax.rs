//! Why a text is not YAML, in an author's words rather than the parser's.

use std::ops::Range;

use granit_parser::{ErrorKind, ScanError};

use super::mistake::{Mistake, printable};
use super::path::Path;
use super::words;

/// A code, what is, why, and what to type.
type Words = (&'static str, String, &'static str, String);

/// The mistake behind the parser's error; `path` is where the next value would have stood.
pub(super) fn explain(error: &ScanError, text: &str, path: Path) -> Mistake {
    let at = boundary(text, error.marker().byte_offset().unwrap_or(0));
    if let Some(span) = unquoted_variable(error.kind(), text, at) {
        return variable(&text[span.clone()]).at(path, span);
    }
    if let Some(tab) = tab(error.kind(), text, at) {
        return tabbed().at(path, tab);
    }
    if *error.kind() == ErrorKind::RecursionLimitExceeded {
        return words::too_deep().at(path, character(text, at));
    }
    let (code, message, why, help) = words_for(error.kind());
    Mistake::new(code, message).at(path, character(text, at)).why(why).help(help)
}

fn words_for(kind: &ErrorKind) -> Words {
    use ErrorKind::*;

    let syntax = |message: &str, why, help: &str| {
        ("yaml::syntax", String::from(message), why, String::from(help))
    };
    match kind {
        UnclosedFlowCollection { open } => (
            "yaml::syntax",
            format!("this `{open}` is never closed"),
            "opened here",
            format!("add `{}`", closing(*open)),
        ),
        MismatchedFlowCollectionEnd { open, close } => {
            let help = format!("close it with `{}`", closing(*open));
            ("yaml::syntax", format!("`{open}` is closed by `{close}`"), "opened here", help)
        }
        MisplacedFlowCollectionEnd => {
            syntax("this bracket closes nothing", "none is open here", "take it out")
        }
        UnclosedQuotedScalar => {
            syntax("this quote is never closed", "opened here", "add the same quote after the text")
        }
        ExpectedFlowMappingSeparator
        | UnexpectedEofFlowMapping
        | UnexpectedEofImplicitFlowMapping => syntax(
            "a `,` or a `}` is missing",
            "before this",
            "write `,` before the next key, or close with `}`",
        ),
        ExpectedFlowSequenceSeparator | UnexpectedEofFlowSequence => syntax(
            "a `,` or a `]` is missing",
            "before this",
            "write `,` before the next entry, or close with `]`",
        ),
        InvalidColonPlacement => syntax(
            "a key stands where a list has not ended",
            "this `:`",
            "close the list above with `]`",
        ),
        MappingValueNotAllowed | InvalidMappingValueWhitespace => syntax(
            "this `:` follows what is not a key",
            "a value has no `: ` in it without quotes",
            "put the value in quotes, or indent the line like the one above",
        ),
        MappingKeyNotAllowed => syntax(
            "a key cannot stand here",
            "a value goes before it",
            "write it on a line of its own",
        ),
        SimpleKeyExpected | InvalidSimpleKey => {
            syntax("this key has no `:`", "a key, `:` and a value", "write `key: value`")
        }
        ExpectedBlockMappingKey
        | ExpectedBlockSequenceEntry
        | InvalidIndentation
        | InvalidFlowScalarIndent
        | InvalidQuotedScalarIndent
        | InvalidBlockScalarIndent => syntax(
            "this does not line up with the lines above",
            "neither another entry nor part of the last",
            "indent it like the lines it belongs to",
        ),
        BlockSequenceEntryNotAllowed
        | BlockEntryInFlowCollection
        | InvalidBlockEntryWhitespace
        | PlainScalarStartsWithDashFlowIndicator => syntax(
            "a list entry cannot begin here",
            "`- ` begins a line",
            "write `- ` on a line of its own",
        ),
        InvalidTrailingSingleQuotedScalar | InvalidTrailingDoubleQuotedScalar => syntax(
            "a text goes on after its closing quote",
            "nothing may follow the quote",
            "put all of it in quotes",
        ),
        UnknownQuotedScalarEscape
        | InvalidQuotedScalarHexEscape
        | InvalidLowSurrogateHexEscape
        | InvalidLowSurrogate
        | MissingLowSurrogate
        | UnpairedLowSurrogate
        | InvalidUnicodeEscape => syntax(
            "a `\\` in this text is not an escape that YAML knows",
            "inside double quotes `\\` begins an escape",
            "write `\\\\`, or use single quotes",
        ),
        UnexpectedCharacter { character } => (
            "yaml::syntax",
            format!(
                "a text without quotes cannot begin with `{}`",
                printable(&character.to_string())
            ),
            "it has a meaning of its own",
            String::from("put the text in quotes"),
        ),
        MissingAnchorOrAliasName => syntax(
            "this begins an anchor or an alias",
            "a name goes with it",
            "put the text in quotes",
        ),
        CommentNotSeparated => {
            syntax("a comment has no space before it", "this `#`", "write ` #`, or use quotes")
        }
        InvalidDocumentEnd => {
            syntax("something follows the end of the document", "after `...`", "take it out")
        }
        DirectiveDisallowed => (
            "yaml::directive",
            String::from("a `%` line gives orders to YAML"),
            "not needed",
            String::from("take it out"),
        ),
        BomInsideDocument => (
            "yaml::byte_order_mark",
            String::from("a byte order mark stands inside the file"),
            "it does not show here",
            String::from("take it out"),
        ),
        UndeclaredTagHandle
        | ExpectedTagBang
        | InvalidTagTerminator
        | MissingTagUri
        | UnclosedVerbatimTag
        | InvalidTagEscape
        | InvalidTagUtf8
        | InvalidTagUtf8LeadingByte
        | InvalidTagUtf8TrailingByte
        | InvalidGlobalTagCharacter => (
            "yaml::tag",
            String::from("`!` begins a tag"),
            "the type of a value follows from its key",
            String::from("put the text in quotes, or take the tag out"),
        ),
        _ => syntax(
            "this is not YAML",
            "it cannot be read past this place",
            "look at the line, and the one above",
        ),
    }
}

fn closing(open: char) -> char {
    if open == '[' { ']' } else { '}' }
}

/// `{hostname: ${h}}`: YAML reads a `$`, then a second mapping.
fn unquoted_variable(kind: &ErrorKind, text: &str, at: usize) -> Option<Range<usize>> {
    use ErrorKind::{ExpectedFlowMappingSeparator, ExpectedFlowSequenceSeparator};

    if !matches!(kind, ExpectedFlowMappingSeparator | ExpectedFlowSequenceSeparator) {
        return None;
    }
    let (before, after) = (text.get(..at)?, text.get(at..)?);
    if !before.ends_with('$') || !after.starts_with('{') {
        return None;
    }
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | '[' | ']' | '{' | '}');
    let start = before
        .rfind(ends)
        .map_or(0, |space| space + before[space..].chars().next().map_or(0, char::len_utf8));
    let line = after.lines().next().unwrap_or(after);
    let brace = line.find('}').map_or(1, |brace| brace + 1);
    let rest = line[brace..].find(ends).unwrap_or(line.len() - brace);
    Some(start..at + brace + rest)
}

fn variable(written: &str) -> Mistake {
    let written = printable(written);
    Mistake::new("yaml::unquoted_variable", format!("inside braces `{written}` is not a text"))
        .why("this `{` begins a mapping")
        .help(format!("write `\"{written}\"`"))
}

/// The tab at fault, if the error is about one or stands on a line that is indented with one.
fn tab(kind: &ErrorKind, text: &str, at: usize) -> Option<Range<usize>> {
    use ErrorKind::*;

    let about_tabs = matches!(
        kind,
        TabNotAllowed
            | TabInBlockIndentation
            | TabAtBlockScalarStart
            | TabInIndentation
            | TabInPlainScalar
    );
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let indentation = text[line..].len() - text[line..].trim_start_matches([' ', '\t']).len();
    let found = match text[line..line + indentation].find('\t') {
        Some(tab) => Some(line + tab),
        // A text over several lines is reported where it begins.
        None if about_tabs => Some(text[line..].find('\t').map_or(at, |tab| line + tab)),
        None => None,
    };
    found.map(|tab| character(text, tab))
}

fn tabbed() -> Mistake {
    Mistake::new("yaml::tab", "this line is indented with a tab")
        .why("a tab")
        .help("indent with spaces")
}

/// The span of the character at `at`; empty at the end of a line.
fn character(text: &str, at: usize) -> Range<usize> {
    let width =
        text[at..].chars().next().filter(|c| !matches!(c, '\n' | '\r')).map_or(0, char::len_utf8);
    at..at + width
}

/// `at`, moved back to where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}
