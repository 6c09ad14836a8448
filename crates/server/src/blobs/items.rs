//! The items of a large list, each by its place in the text: copies of a mapped task ask for one each.

use std::{fmt, ops::Range};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

/// A value's text, and where in it the items are. Read as a value it would take many times as much memory.
pub(super) struct Items {
    text: Bytes,
    places: Vec<(Option<Box<str>>, Range<usize>)>,
}

impl Items {
    /// The items of a list, or an object's pairs of key and value; of anything else there are none.
    ///
    /// # Errors
    ///
    /// Where it is no JSON.
    pub fn read(text: Bytes) -> serde_json::Result<Self> {
        let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
        let Entries(entries) = match first {
            Some(b'[' | b'{') => serde_json::from_slice(&text)?,
            _ => Entries(Vec::new()),
        };
        let place = |raw: &RawValue| {
            let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
            start..start + raw.get().len()
        };
        let places = entries.into_iter().map(|(key, raw)| (key.map(String::into_boxed_str), place(raw)));
        let places = places.collect();
        Ok(Self { text, places })
    }

    /// How much memory it takes, about.
    pub fn bytes(&self) -> usize {
        self.text.len() + self.places.len() * size_of::<(Option<Box<str>>, Range<usize>)>()
    }

    /// The item at this place, where there is one.
    ///
    /// # Errors
    ///
    /// Where it is no JSON.
    pub fn get(&self, at: usize) -> serde_json::Result<Option<Value>> {
        let Some((key, place)) = self.places.get(at) else { return Ok(None) };
        let value: Value = serde_json::from_slice(&self.text[place.clone()])?;
        Ok(Some(match key {
            Some(key) => vec![(**key).into(), value].into(),
            None => value,
        }))
    }
}

/// What a list or an object has in it, in its order.
struct Entries<'a>(Vec<(Option<String>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(of: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Entries<'de>;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a list or an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(item) = items.next_element()? {
                    entries.push((None, item));
                }
                Ok(Entries(entries))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, item)) = pairs.next_entry()? {
                    entries.push((Some(key), item));
                }
                Ok(Entries(entries))
            }
        }

        of.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Vec<Value> {
        let items = Items::read(Bytes::copy_from_slice(text.as_bytes())).unwrap();
        (0..).map_while(|at| items.get(at).unwrap()).collect()
    }

    #[test]
    fn items_are_what_the_value_has_at_their_places() {
        assert_eq!(
            read(" [1, \"ä\\\"]\", [2, {}], null]"),
            [json!(1), json!("ä\"]"), json!([2, {}]), json!(null)]
        );
        assert_eq!(read("{\"b\": 1, \"a\": {\"c\": [2]}}"), [json!(["b", 1]), json!(["a", {"c": [2]}])]);
        for none in ["[]", "{}", "7", "\"[1]\"", "null"] {
            assert_eq!(read(none), [] as [Value; 0], "{none}");
        }
        assert!(Items::read(Bytes::from_static(b"[1, 2")).is_err());
    }
}
