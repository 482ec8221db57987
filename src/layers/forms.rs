//! Two ways of writing one thing: a word or a map, one or many.
//!
//! Written by hand, because serde's untagged enums forget where a mistake is.

use std::{borrow::Cow, fmt, marker::PhantomData};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, SeqAccess, Visitor, value},
};

use crate::yaml::{self, refuse};

use super::Place;

/// What can be said in one word.
pub trait FromWord: Sized {
    /// Reads the word.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E>;

    /// The words there are; paths, if nothing else is said.
    fn words(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Place>()
    }
}

/// Whether a map without keys says enough.
pub(super) fn needs_nothing<T: for<'de> Deserialize<'de>>() -> bool {
    T::deserialize(value::MapDeserializer::<_, value::Error>::new(
        std::iter::empty::<(&str, &str)>(),
    ))
    .is_ok()
}

/// A setting that is a word in the common case, and a map otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct WordOrMap<T>(pub T);

impl<T> AsRef<T> for WordOrMap<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: FromWord + Deserialize<'de>> Deserialize<'de> for WordOrMap<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(WordOrMapVisitor(PhantomData)).map(WordOrMap)
    }
}

struct WordOrMapVisitor<T>(PhantomData<T>);

impl<'de, T: FromWord + Deserialize<'de>> Visitor<'de> for WordOrMapVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a word or a map")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<T, E> {
        T::from_word(word)
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        T::deserialize(value::MapDeserializer::<_, E>::new(std::iter::empty::<(&str, &str)>()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(value::MapAccessDeserializer::new(map))
    }
}

impl<T: FromWord + JsonSchema + for<'de> Deserialize<'de>> JsonSchema for WordOrMap<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrWord", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut forms = vec![T::words(generator), generator.subschema_for::<T>()];
        if needs_nothing::<T>() {
            forms.push(json_schema!({ "type": "null" }));
        }
        json_schema!({ "anyOf": forms })
    }
}

/// A list, or its only element.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct OneOrMany<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(OneOrManyVisitor(PhantomData)).map(OneOrMany)
    }
}

struct OneOrManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("one, or a list of them")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Vec<T>, E> {
        T::deserialize(value::StrDeserializer::new(word)).map(|one| vec![one])
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
        T::deserialize(value::MapAccessDeserializer::new(map)).map(|one| vec![one])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut many = Vec::new();
        while let Some(one) = list.next_element()? {
            many.push(one);
        }
        if many.is_empty() {
            return Err(refuse(
                "recipe::empty_list",
                "this list is empty",
                "there has to be one",
                "write at least one between the brackets",
            ));
        }
        Ok(many)
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// Places, one or many; or a map with more to say.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct PlacesOrMap<T>(pub T);

/// What can be said by naming places.
pub trait FromPlaces: Sized {
    /// Takes the places.
    fn from_places(at: OneOrMany<Place>) -> Self;
}

impl<T> AsRef<T> for PlacesOrMap<T> {
    fn as_ref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: FromPlaces + Deserialize<'de>> Deserialize<'de> for PlacesOrMap<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlacesOrMapVisitor(PhantomData)).map(PlacesOrMap)
    }
}

struct PlacesOrMapVisitor<T>(PhantomData<T>);

impl<'de, T: FromPlaces + Deserialize<'de>> Visitor<'de> for PlacesOrMapVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a path, a list of paths, or a map")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<T, E> {
        OneOrManyVisitor(PhantomData).visit_str(word).map(OneOrMany).map(T::from_places)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        OneOrManyVisitor(PhantomData).visit_seq(list).map(OneOrMany).map(T::from_places)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(value::MapAccessDeserializer::new(map))
    }
}

impl<T: JsonSchema> JsonSchema for PlacesOrMap<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}OrPlaces", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let forms = [generator.subschema_for::<OneOrMany<Place>>(), generator.subschema_for::<T>()];
        json_schema!({ "anyOf": forms })
    }
}

/// Places with where each stands in its layer, as far as it is known.
pub(super) struct Places;

impl Places {
    /// Each place, and its path in the layer: none for a single one.
    pub(super) fn of(all: &OneOrMany<Place>) -> Vec<(yaml::Path, &Place)> {
        let is_alone = all.0.len() == 1;
        let at = |index| match is_alone {
            true => yaml::Path::root(),
            false => yaml::Path::root().index(index),
        };
        all.0.iter().enumerate().map(|(index, place)| (at(index), place)).collect()
    }
}
