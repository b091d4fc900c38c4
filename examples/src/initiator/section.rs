//! What a unit says, for people and as JSON: [`Section`]s, lists of labelled values. The names in JSON are the labels with `_` between the
//! words.

use serde_json::{Map, Value};

use crate::show;

/// One thing that a unit says.
pub(super) struct Item {
    pub(super) label: &'static str,
    pub(super) value: Value,
    /// What the value counts, or what it means, for people.
    remark: &'static str,
}

pub(super) fn item(label: &'static str, value: impl Into<Value>) -> Item {
    Item { label, value: value.into(), remark: "" }
}

impl Item {
    pub(super) fn remark(self, remark: &'static str) -> Self {
        Self { remark, ..self }
    }

    /// The label in a column of `width`, and beside it the value, or one value below the other.
    fn lines(self, width: usize) -> Vec<String> {
        let values = match &self.value {
            Value::Array(values) if values.is_empty() => vec!["none".into()],
            Value::Array(values) => values.iter().map(plain).collect(),
            Value::Null => vec![plain(&Value::Null)],
            value => vec![format!("{} {}", plain(value), self.remark)],
        };
        let labels = std::iter::once(self.label).chain(std::iter::repeat(""));
        labels.zip(values).map(|(label, value)| format!("  {label:width$}  {value}")).collect()
    }
}

/// What belongs together.
pub(super) struct Section {
    pub(super) title: String,
    pub(super) items: Vec<Item>,
}

pub(super) fn to_json(section: Section) -> Value {
    section
        .items
        .into_iter()
        .map(|item| (item.label.replace([' ', '-'], "_"), item.value))
        .collect::<Map<_, _>>()
        .into()
}

pub(super) fn to_text(section: Section) -> String {
    let width = section.items.iter().map(|item| item.label.len()).max().unwrap_or_default();
    let lines = section.items.into_iter().flat_map(|item| item.lines(width));
    std::iter::once(section.title).chain(lines).map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A value as people write it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "not told".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => show::text(text),
        Value::Object(fields) => fields.values().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Zero says nothing in many fields.
pub(super) fn told(value: impl Into<u64>) -> Value {
    let value = value.into();
    if value == 0 { Value::Null } else { value.into() }
}

/// The value's name in a table, or its number.
pub(super) fn named(value: u8, names: &[(u8, &str)]) -> Value {
    let name = names.iter().find(|(code, _)| *code == value).map(|(_, name)| *name);
    name.map_or_else(|| format!("{value:#04x}").into(), Value::from)
}

/// Sixteen bytes a line.
pub(super) fn hexadecimal(bytes: &[u8]) -> Vec<String> {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(16).map(line).collect()
}
