//! Which texts are numbers and booleans: the ones nobody can read in two ways.
//!
//! YAML 1.1 took `yes`, `0755` and `1_000` for more than texts, YAML 1.2 takes `0x1f`, and libraries differ. Here a
//! number has decimal digits, a boolean is `true` or `false`, both without quotes. What else it may have been meant to
//! be goes into the help.

use super::fault::Fault;
use super::mistake::printable;
use super::tree::Scalar;

/// `true` or `false`.
pub(super) fn boolean(scalar: &Scalar) -> Result<bool, Fault> {
    let text = scalar.text.as_str();
    let fault = || Fault::of("recipe::not_a_boolean", "takes `true` or `false`");
    match (text, scalar.plain) {
        ("true", true) => Ok(true),
        ("false", true) => Ok(false),
        ("true" | "false", false) => Err(fault()
            .why("in quotes it is a text")
            .help(format!("write `{text}` without quotes"))),
        _ => {
            let help = match text.to_ascii_lowercase().as_str() {
                "yes" | "y" | "on" | "true" | "1" => "write `true`",
                "no" | "n" | "off" | "false" | "0" => "write `false`",
                _ => "write `true` or `false`",
            };
            Err(fault().why(format!("`{}` is neither", printable(text))).help(help))
        }
    }
}

/// A whole number from `least` to `most`, in decimal digits.
pub(super) fn integer(scalar: &Scalar, least: i128, most: i128) -> Result<i128, Fault> {
    let text = scalar.text.as_str();
    if !is_decimal(text) {
        return Err(not_decimal(text));
    }
    if !scalar.plain {
        return Err(quoted(text, "takes a whole number"));
    }
    // More digits than an i128 has are out of every range.
    match text.parse::<i128>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Fault::of(
            "recipe::out_of_range",
            format!("takes a whole number from {least} to {most}"),
        )
        .why(format!("`{}` is not in that range", printable(text)))
        .help(format!("write a number from {least} to {most}"))),
    }
}

/// A number with or without a fraction.
pub(super) fn float(scalar: &Scalar) -> Result<f64, Fault> {
    let text = scalar.text.as_str();
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
    let number = if is_decimal(whole) && !whole.starts_with('-') && digits {
        text.parse().ok()
    } else {
        None
    };
    match number {
        Some(_) if !scalar.plain => Err(quoted(text, "takes a number")),
        Some(number) => Ok(number),
        None => Err(Fault::of("recipe::not_a_number", "takes a number")
            .why(format!("`{}` is none", printable(text)))
            .help("write it like `2` or `0.5`")),
    }
}

fn quoted(text: &str, takes: &str) -> Fault {
    Fault::of("recipe::not_a_number", takes)
        .why("in quotes it is a text")
        .help(format!("write `{}` without quotes", printable(text)))
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading_zero = digits.starts_with('0') && text != "0";
    !digits.is_empty() && !leading_zero && digits.bytes().all(|b| b.is_ascii_digit())
}

fn not_decimal(text: &str) -> Fault {
    let (why, help) = match meant(text).as_slice() {
        [] => ("is not a number", String::from("write it in decimal digits")),
        [number] => ("is not in plain decimal digits", format!("write `{number}`")),
        [octal, decimal, ..] => {
            ("is octal to some and decimal to others", format!("write `{octal}` or `{decimal}`"))
        }
    };
    Fault::of("recipe::not_a_number", "takes a whole number")
        .why(format!("`{}` {why}", printable(text)))
        .help(help)
}

/// The numbers that `text` is elsewhere.
fn meant(text: &str) -> Vec<i128> {
    let digits = text.replace('_', "");
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let radixes: &[(&str, u32)] = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => &[("0x", 16), ("0X", 16)],
        [b'0', b'o' | b'O', ..] => &[("0o", 8), ("0O", 8)],
        [b'0', b'b' | b'B', ..] => &[("0b", 2), ("0B", 2)],
        [b'0', _, ..] => &[("0", 8), ("", 10)],
        _ => &[("", 10)],
    };
    let read = |&(prefix, radix): &(&str, u32)| {
        let digits = digits.strip_prefix(prefix)?;
        let number =
            i128::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['-', '+']))?;
        Some(sign * number)
    };
    let mut numbers: Vec<i128> = radixes.iter().filter_map(read).collect();
    numbers.dedup();
    numbers
}
