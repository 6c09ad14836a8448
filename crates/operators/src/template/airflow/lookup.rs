//! What templates look up elsewhere: XComs, variables, connections, files.

use std::{path::Path, rc::Rc};

use updraft_core::{
    MapIndex,
    jinja::{Result, Value, bytes_of, fault},
    protocol::{Connection, XcomQuery},
};

use super::World;
use crate::{files::MOST_OF_A_TEMPLATE, secrets, template::object::Object};

impl World<'_> {
    /// The values that a task's copies left, in their order, and about how many bytes they are.
    pub(super) fn xcoms(
        &self,
        task: &str,
        key: &str,
        dag: Option<&str>,
        run: Option<&str>,
    ) -> Result<(Vec<(MapIndex, Value)>, usize)> {
        let found = self.host.xcom(&XcomQuery {
            item: None,
            attempt: self.order.attempt,
            dag_id: dag.map(Into::into),
            run_id: run.map(Into::into),
            task_id: task.into(),
            map_index: None,
            key: key.into(),
        })?;
        let bytes = found.iter().map(|found| bytes_of(&found.value) as usize).sum();
        Ok((found.iter().map(|found| (found.map_index, Value::from(&found.value))).collect(), bytes))
    }

    /// `var.value.key` and `var.json.key`.
    pub(super) fn airflow_variable(&self, key: &str, json: bool, default: Option<Value>) -> Result<Value> {
        let Some(found) = self.host.variable(key)? else {
            return default.map_or_else(
                || {
                    fault(format!(
                        "there is no variable `{key}`: add it, or use var.value.get('{key}', default)"
                    ))
                },
                Ok,
            );
        };
        self.secrets.borrow_mut().extend(secrets::of_variable(&found));
        if !json {
            return Ok(Value::str(found.value));
        }
        match serde_json::from_str::<serde_json::Value>(&found.value) {
            Ok(value) => Ok(Value::from(&value)),
            Err(error) => fault(format!("the variable `{key}` is no JSON: {error}")),
        }
    }

    /// A connection, if there is one of this name. Its secrets are masked from now on.
    pub(super) fn connection(&self, conn_id: &str) -> Result<Option<Value>> {
        let Some(connection) = self.host.connection(conn_id)? else { return Ok(None) };
        self.secrets.borrow_mut().extend(secrets::of_connection(&connection));
        Ok(Some(Value::from(Object::Connection(Rc::new(connection)))))
    }

    pub(in crate::template) fn connection_attr(of: &Connection, name: &str) -> Result<Option<Value>> {
        let text = |text: &Option<String>| Value::optional(text.as_deref());
        Ok(Some(match name {
            "conn_id" => Value::str(&*of.conn_id),
            "conn_type" => Value::str(&*of.conn_type),
            "description" => text(&of.description),
            "host" => text(&of.host),
            "login" => text(&of.login),
            "password" => text(&of.password),
            "schema" => text(&of.schema),
            "port" => of.port.map_or(Value::None, |port| Value::Int(port.into())),
            "extra_dejson" => Value::from(&serde_json::Value::Object(of.extra.clone())),
            "extra" => return fault("`extra` as text is not supported: use extra_dejson"),
            "get_uri" => return fault("`get_uri` is not supported: put the address together of its parts"),
            _ => return Ok(None),
        }))
    }

    /// The text of a template's file, looked for as Airflow does: in the DAG file's folder, then along the
    /// search path, never above them. An absolute path that leads nowhere there is taken as it is, where tasks
    /// may look there.
    pub(in crate::template) fn file(&self, name: &str) -> Result<Option<String>> {
        if Path::new(name).components().any(|part| part == std::path::Component::ParentDir) {
            return fault(format!("the file {name} is outside of the DAG's folder"));
        }
        let absolute = Path::new(name).is_absolute().then(|| Path::new(name).to_owned());
        let inside = self.searchpath.iter().map(|folder| folder.join(name.trim_start_matches('/')));
        for path in inside.chain(absolute) {
            match self.host.files()?.read_text(&path, MOST_OF_A_TEMPLATE) {
                Ok(text) => return Ok(Some(text)),
                Err(error) if error.is_missing() => {}
                Err(error) => return fault(error.to_string()),
            }
        }
        Ok(None)
    }
}
