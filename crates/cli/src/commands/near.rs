//! What was probably meant where there is nothing of a name.

use super::Session;
use crate::failure::{Exit, Failure};

/// The DAG that a failure says is missing, in the server's words.
fn missing_dag(message: &str) -> Option<&str> {
    message.strip_prefix("there is no DAG `")?.strip_suffix('`')
}

/// The name that is nearest, where one is near enough to be worth asking about.
fn nearest<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = 1 + wrong.chars().count() / 4;
    let near = names.map(|name| (strsim::damerau_levenshtein(wrong, name), name));
    near.filter(|(distance, _)| *distance <= limit).min().map(|(_, name)| name)
}

/// The same failure, with the DAG that was probably meant.
pub async fn with_hint(error: anyhow::Error, session: &Session) -> anyhow::Error {
    let message = error.to_string();
    let Some(wrong) = missing_dag(&message).filter(|_| Failure::is(&error, Exit::NotFound)) else {
        return error;
    };
    let query = [("exclude_stale", "true".to_owned())];
    // A hint is worth one question, and none of its failures.
    let Ok(dags) = session.client.list(&["v2", "dags"], &query, "dags", None).await else { return error };
    let names = dags.iter().filter_map(|dag| dag["dag_id"].as_str());
    match nearest(wrong, names) {
        // Its file is being read just now.
        Some(near) if near == wrong => {
            Failure::new(Exit::NotFound, format!("{message} yet, but in a moment: try again")).into()
        }
        Some(near) => Failure::new(Exit::NotFound, format!("{message}; did you mean `{near}`?")).into(),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_found_and_another_name_is_not() {
        assert_eq!(nearest("elt", ["etl", "slow"].into_iter()), Some("etl"));
        assert_eq!(
            nearest("nightly_sale", ["nightly_sales", "daily_sales"].into_iter()),
            Some("nightly_sales")
        );
        assert_eq!(nearest("etl", ["slow", "told"].into_iter()), None);
        assert_eq!(missing_dag("there is no DAG `elt`"), Some("elt"));
    }
}
