//! What a type sees of a collection: its entries, one after the other, without those that are set aside.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::super::fault::Fault;
use super::super::hint;
use super::super::read::{Place, Reader, Step};
use super::super::tree::{Entry, Kind, Node};
use super::Fields;

pub(super) fn place_of<'a>(entry: &'a Entry, parent: &'a Place<'a>) -> Place<'a> {
    let key_span = Some(&entry.key_span);
    Place { parent: Some(parent), step: Step::Key(&entry.key), span: &entry.value.span, key_span }
}

/// The entries of a list that are not set aside.
pub(super) struct Items<'a> {
    pub(super) list: Reader<'a>,
    pub(super) items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'a> Items<'a> {
    pub(super) fn next(&mut self) -> Option<(usize, &'a Node)> {
        self.items.by_ref().find(|(_, item)| !self.list.session.is_aside(item))
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some((index, item)) = self.next() else {
            return Ok(None);
        };
        let parent = Some(self.list.place);
        let place = Place { parent, step: Step::Index(index), span: &item.span, key_span: None };
        let reader = Reader { kind: &item.kind, place: &place, session: self.list.session };
        reader.read_entry(seed, item, None).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

/// The entries of a mapping that are not set aside; for a struct, those it knows.
pub(super) struct Entries<'a> {
    pub(super) mapping: Reader<'a>,
    pub(super) entries: std::slice::Iter<'a, Entry>,
    pub(super) fields: Option<Fields>,
    pub(super) current: Option<(&'a Entry, Option<&'static str>)>,
}

impl<'a> Entries<'a> {
    pub(super) fn next(&mut self) -> Option<(&'a Entry, Option<&'static str>)> {
        loop {
            let entry =
                self.entries.by_ref().find(|entry| !self.mapping.session.is_aside(&entry.value))?;
            let Some(fields) = self.fields else {
                return Some((entry, None));
            };
            match fields.iter().find(|field| **field == entry.key) {
                Some(field) => return Some((entry, Some(*field))),
                None => self.refuse(entry, fields),
            }
        }
    }

    /// An unknown key is no reason to stop: all of them are reported in one pass.
    fn refuse(&self, entry: &Entry, fields: Fields) {
        let session = self.mapping.session;
        if !session.is_full() {
            self.mapping.record_entry(
                Fault::unknown_key(&entry.key, fields).at(&entry.key_span),
                &entry.key,
            );
            session.set_aside(&entry.value, hint::nearest(&entry.key, fields));
        }
    }
}

impl<'de> MapAccess<'de> for &mut Entries<'_> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.current = self.next();
        let Some((entry, _)) = self.current else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|fault| {
            self.mapping.record_entry(fault.at(&entry.key_span), &entry.key);
            self.mapping.session.set_aside(&entry.value, None);
            Fault::SetAside
        })
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let Some((entry, field)) = self.current.take() else {
            return Err(serde::de::Error::custom("a value was asked for before its key"));
        };
        let place = place_of(entry, self.mapping.place);
        let reader =
            Reader { kind: &entry.value.kind, place: &place, session: self.mapping.session };
        reader.read_entry(seed, &entry.value, field)
    }
}

/// A word of an enum, and what it is set to.
pub(super) struct Variant<'a> {
    pub(super) word: &'a str,
    pub(super) chosen: Reader<'a>,
    pub(super) settings: Reader<'a>,
}

impl<'a, 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Fault;
    type Variant = Reader<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Reader<'a>), Fault> {
        let word: StrDeserializer<'_, Fault> = self.word.into_deserializer();
        // An unknown word is about the word alone, not about what it is set to.
        let span =
            self.settings.place.key_span.filter(|_| matches!(self.chosen.kind, Kind::Mapping(_)));
        match seed.deserialize(word) {
            Ok(variant) => Ok((variant, self.settings)),
            Err(fault) => Err(fault.at(span.unwrap_or(self.chosen.place.span))),
        }
    }
}

impl<'de> VariantAccess<'de> for Reader<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        self.read(std::marker::PhantomData)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        self.read(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor).map_err(|fault| self.record(fault))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: Fields,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_struct("", fields, visitor).map_err(|fault| self.record(fault))
    }
}
