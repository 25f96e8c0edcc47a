//! The query of a request: which loop, which tasks, in which order, and how many.

use std::str::FromStr;

/// The maximum number of tasks in one answer.
const MAX_TASKS: usize = 10_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Id,
    Name,
    Activity,
    Age,
    Steps,
    Total,
    Longest,
    Idle,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) index: usize,
    pub(crate) sort: Sort,
    pub(crate) descending: bool,
    /// In lower case. A task is shown if its line contains it.
    pub(crate) filter: String,
    pub(crate) limit: usize,
    /// Whether the inspector's own tasks are shown.
    pub(crate) own: bool,
}

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Query, String> {
        let mut query =
            Query { index: 0, sort: Sort::Id, descending: false, filter: String::new(), limit: 1_000, own: false };
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value)?;
            let number = || value.parse::<usize>().map_err(|_| format!("`{key}` has to be a number"));
            let flag = || match &*value {
                "0" => Ok(false),
                "1" => Ok(true),
                _ => Err(format!("`{key}` has to be 0 or 1")),
            };
            match key {
                "loop" => query.index = number()?,
                "limit" => query.limit = number()?.min(MAX_TASKS),
                "descending" => query.descending = flag()?,
                "own" => query.own = flag()?,
                "filter" => query.filter = value.to_lowercase(),
                "sort" => query.sort = sort(&value)?,
                _ => {
                    let known = "loop, sort, descending, filter, limit, own";
                    return Err(format!("there is no parameter `{key}`; there are {known}"));
                }
            }
        }
        Ok(query)
    }
}

fn sort(name: &str) -> Result<Sort, String> {
    Ok(match name {
        "id" => Sort::Id,
        "name" => Sort::Name,
        "activity" => Sort::Activity,
        "age" => Sort::Age,
        "steps" => Sort::Steps,
        "total" => Sort::Total,
        "longest" => Sort::Longest,
        "idle" => Sort::Idle,
        _ => return Err("`sort` is one of id, name, activity, age, steps, total, longest, idle".to_string()),
    })
}

/// Decodes `%20` and `+`.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err("a `%` in the query is not followed by two hexadecimal digits".to_string());
                };
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).map_err(|_| "the query is not UTF-8".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_decoded() {
        let query: Query = "loop=2&sort=longest&descending=1&filter=%C3%84+b%26&limit=99999999&own=1".parse().unwrap();
        let filter = "ä b&".to_string();
        let expected = Query { index: 2, sort: Sort::Longest, descending: true, filter, limit: MAX_TASKS, own: true };
        assert_eq!(query, expected);
        assert_eq!("".parse::<Query>().unwrap().limit, 1_000);
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said() {
        for (text, expected) in [
            ("sort=size", "`sort` is one of"),
            ("limit=many", "`limit` has to be a number"),
            ("own=yes", "`own` has to be 0 or 1"),
            ("filter=%2", "hexadecimal"),
            ("filter=%ff", "UTF-8"),
            ("color=red", "no parameter `color`"),
        ] {
            let error = text.parse::<Query>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
