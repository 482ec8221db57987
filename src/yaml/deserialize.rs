//! `serde`'s view of a value: which kinds of value each kind of type takes.
//!
//! Nothing is converted behind the author's back. The one courtesy: nothing (`- ipc:`) is a mapping without keys for a
//! type that is a struct, and no value for an `Option`.

mod access;

use serde::de::{Deserializer, Visitor};

use super::fault::Fault;
use super::hint;
use super::mistake::printable;
use super::read::{Reader, Step};
use super::scalar;
use super::tree::{Entry, Kind, Node, Scalar};
use access::{Entries, Items, Variant, place_of};

type Fields = &'static [&'static str];

impl<'a> Reader<'a> {
    fn wrong_kind(self, takes: &str) -> Fault {
        Fault::wrong_kind(takes, self.kind.noun())
    }

    fn scalar(self, takes: &str) -> Result<&'a Scalar, Fault> {
        match self.kind {
            Kind::Scalar(scalar) => Ok(scalar),
            _ => Err(self.wrong_kind(takes)),
        }
    }

    fn text(self) -> Result<&'a str, Fault> {
        match self.kind {
            Kind::Null => {
                Err(self.wrong_kind("text").help("write a text, or `\"\"` for an empty one"))
            }
            _ => self.scalar("text").map(|scalar| scalar.text.as_str()),
        }
    }

    fn integer(self, least: i128, most: i128) -> Result<i128, Fault> {
        scalar::integer(self.scalar("a whole number")?, least, most)
    }

    fn visit_items<'de, V: Visitor<'de>>(
        self,
        items: &'a [Node],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let mut items = Items { list: self, items: items.iter().enumerate() };
        let value = visitor.visit_seq(&mut items)?;
        let rest = items.items.len();
        match items.next() {
            Some((index, item)) => {
                Err(Fault::of("recipe::wrong_length", format!("takes {index} entries"))
                    .why(format!("here are {}", index + rest))
                    .help("take the others out")
                    .at(&item.span))
            }
            None => Ok(value),
        }
    }

    fn visit_entries<'de, V>(
        self,
        entries: &'a [Entry],
        fields: Option<Fields>,
        visitor: V,
    ) -> Result<V::Value, Fault>
    where
        V: Visitor<'de>,
    {
        let mut entries = Entries { mapping: self, entries: entries.iter(), fields, current: None };
        let value = visitor.visit_map(&mut entries)?;
        match entries.next() {
            Some((entry, _)) => Err(two_keys(entry)),
            None => Ok(value),
        }
    }
}

fn two_keys(second: &Entry) -> Fault {
    let key = printable(&second.key);
    Fault::of("recipe::two_keys", format!("has one key too many, `{key}`"))
        .why("one entry says one thing")
        .help(format!("put `{key}` in an entry of its own"))
        .at(&second.key_span)
}

/// Methods for types that are one scalar. The range of an integer is in the message, hence one method for each type.
macro_rules! integers {
    ($($method:ident $visit:ident $type:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            let number = self.integer($type::MIN.into(), $type::MAX.into())?;
            $type::try_from(number).map_err(serde::de::Error::custom).and_then(|number| visitor.$visit(number))
        }
    )*};
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    integers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
    }

    /// For hand-written visitors: each kind of value as it is, every scalar as its text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Scalar(scalar) => visitor.visit_str(&scalar.text),
            Kind::Sequence(items) => self.visit_items(items, visitor),
            Kind::Mapping(entries) => self.visit_entries(entries, None, visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(scalar::boolean(self.scalar("`true` or `false`")?)?)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(scalar::float(self.scalar("a number")?)?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.kind {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.kind {
            Kind::Null => visitor.visit_unit(),
            Kind::Mapping(entries) if entries.is_empty() => visitor.visit_unit(),
            _ => Err(self.wrong_kind("nothing").help("take it out")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.kind {
            Kind::Sequence(items) => self.visit_items(items, visitor),
            Kind::Scalar(scalar) if scalar.plain => Err(self
                .wrong_kind("a list")
                .help(format!("write `[{}]`", printable(&listed(&scalar.text))))),
            _ => Err(self.wrong_kind("a list")),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Fault>
    where
        V: Visitor<'de>,
    {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.kind {
            Kind::Mapping(entries) => self.visit_entries(entries, None, visitor),
            Kind::Null => Err(self.wrong_kind("a mapping").help("write `{}`, or take the key out")),
            _ => Err(self.wrong_kind("a mapping")),
        }
    }

    fn deserialize_struct<V>(
        self,
        _: &'static str,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Fault>
    where
        V: Visitor<'de>,
    {
        match self.kind {
            Kind::Null => self.visit_entries(&[], Some(fields), visitor),
            Kind::Mapping(entries) => self.visit_entries(entries, Some(fields), visitor),
            _ if fields.is_empty() => Err(self.wrong_kind("nothing").help("take it out")),
            _ => Err(self
                .wrong_kind("a mapping")
                .help(format!("its keys are {}", hint::list(fields)))),
        }
    }

    fn deserialize_enum<V>(
        self,
        _: &'static str,
        words: Fields,
        visitor: V,
    ) -> Result<V::Value, Fault>
    where
        V: Visitor<'de>,
    {
        match self.kind {
            Kind::Scalar(scalar) => {
                let nothing = Reader { kind: &Kind::Null, ..self };
                visitor.visit_enum(Variant { word: &scalar.text, chosen: self, settings: nothing })
            }
            Kind::Mapping(entries) => match entries.as_slice() {
                [entry] => {
                    let place = place_of(entry, self.place);
                    let settings = Reader { kind: &entry.value.kind, place: &place, ..self };
                    visitor.visit_enum(Variant { word: &entry.key, chosen: self, settings })
                }
                [] => Err(self.one_of(words)),
                [_, second, ..] => Err(two_keys(second)),
            },
            Kind::Null | Kind::Sequence(_) => Err(self.one_of(words)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match (&self.place.step, self.place.key_span) {
            // A type that ignores what it does not know would let a typing mistake pass.
            (Step::Key(key), Some(key_span)) => Err(Fault::says(
                "recipe::unknown_key",
                format!("`{}` is not known here", printable(key)),
            )
            .why("nothing reads it")
            .help("take it out")
            .at(key_span)),
            _ => visitor.visit_unit(),
        }
    }
}

impl Reader<'_> {
    fn one_of(self, words: Fields) -> Fault {
        self.wrong_kind("one word, or a mapping of one key")
            .help(format!("use one of {}", hint::list(words)))
    }
}

/// The words of a line as the items of a list; one that is no word of YAML is quoted.
fn listed(text: &str) -> String {
    let plain = |word: &str| {
        word.chars().all(|c| c.is_alphanumeric() || "-_./=+@%~".contains(c)) && !word.is_empty()
    };
    let item = |word: String| if plain(&word) { word } else { format!("{word:?}") };
    match shlex::split(text) {
        Some(words) if words.len() > 1 => {
            words.into_iter().map(item).collect::<Vec<_>>().join(", ")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::listed;

    #[test]
    fn the_words_of_a_line_are_a_list_that_can_be_typed() {
        assert_eq!(listed("bash"), "bash");
        assert_eq!(listed("bash -c \"echo hi\""), "bash, -c, \"echo hi\"");
        assert_eq!(listed("a: b"), "\"a:\", b");
        assert_eq!(listed("it's"), "it's");
    }
}
