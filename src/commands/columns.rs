//! Raw rows of features as JSON: what is known of a user, of a request, of an item.

use cairn::recsys::features::FeatureRow;
use serde_json::{Map, Value};

use super::failure::Failure;

/// Columns with their values.
pub(crate) type Columns = Map<String, Value>;

/// A row as models take it: a number is one, a text is a category, a list of texts is categories, and null is a value that is missing.
/// Whether a model knows the column, and of what type it is, the model says.
pub(crate) fn row(columns: &Columns) -> Result<FeatureRow, Failure> {
    let mut row = FeatureRow::new();
    for (name, value) in columns {
        row = match value {
            Value::Null => row,
            Value::Number(number) => row.number(name, number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => row.category(name, text),
            Value::Array(list) => {
                let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                row.categories(name, texts.ok_or_else(|| neither(name, value))?)
            }
            Value::Bool(_) | Value::Object(_) => return Err(neither(name, value)),
        };
    }
    Ok(row)
}

fn neither(name: &str, value: &Value) -> Failure {
    let text: String = value.to_string().chars().take(60).collect();
    Failure::new(format!("`{name}` is {text}: a feature is a number, a text, a list of texts or null"))
}

/// The columns that an option of the command line holds.
pub(crate) fn read(option: &str, text: &str) -> Result<Columns, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::new(format!("{option} is no object of JSON: {error}"))
            .hint("write it as {\"column\": value, …}")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_numbers_texts_and_lists_of_texts() {
        let of = |value: Value| row(value.as_object().unwrap());
        let raw = json!({"age": 30, "height": 1.5, "job": "nurse", "likes": ["tea", "jazz"], "none": [], "gone": null});
        let expected = FeatureRow::new()
            .number("age", 30.0)
            .number("height", 1.5)
            .category("job", "nurse")
            .categories("likes", ["tea", "jazz"])
            .categories("none", [""; 0]);
        assert_eq!(of(raw).unwrap(), expected);
        for wrong in [json!(true), json!({"a": 1}), json!(["tea", 1]), json!([["tea"]])] {
            let why = of(json!({ "likes": wrong })).unwrap_err().to_string();
            assert!(why.starts_with("`likes` is ") && why.contains("a list of texts"), "{why}");
        }
    }
}
