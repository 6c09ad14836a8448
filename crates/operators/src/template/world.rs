//! What Jinja asks the context for.

use updraft_core::jinja::{self, Args, Machine, Mode, Result, Thing, Value};

use super::{
    airflow::{World, asset_attr, of_found},
    object::{Airflow, Object},
};

impl jinja::World for World<'_> {
    fn mode(&self) -> Mode {
        self.undefined()
    }

    fn native(&self) -> bool {
        self.is_native()
    }

    fn variable(&self, name: &str) -> Result<Option<Value>> {
        self.named(name)
    }

    fn names(&self) -> Vec<&str> {
        self.all_names().collect()
    }

    fn why_missing(&self, name: &str) -> Option<String> {
        self.needs_date(name).then(|| {
            format!(
                "'{name}' is undefined, since this run has no logical date: `updraft dags trigger --logical-date` \
                 (`logical_date` in the REST API) gives it one"
            )
        })
    }

    fn read_file(&self, name: &str) -> Result<Option<String>> {
        self.file(name)
    }

    fn show(&self, thing: &dyn Thing) -> Result<String> {
        let own = match Object::of_thing(thing) {
            Some(Object::Airflow(of)) => self.shown(*of),
            _ => None,
        };
        own.map_or_else(|| thing.show(), Ok)
    }

    fn attr(&self, thing: &dyn Thing, name: &str) -> Result<Option<Value>> {
        let Some(object) = Object::of_thing(thing) else { return Ok(None) };
        match object {
            Object::Airflow(of) => self.attr_of(*of, name),
            Object::Connection(connection) => Self::connection_attr(connection, name),
            Object::Member(_, value) => Ok((name == "value").then(|| Value::str(*value))),
            Object::Asset(of) => asset_attr(of, name),
            Object::AssetEvent(of) => self.event_attr(of, name),
            Object::SourceTask(of) => self.source_attr(of, name),
            Object::Run(of) => of_found(of, name),
            Object::Own(_) | Object::AssetEvents(_) => Ok(None),
        }
    }

    fn call(&self, machine: &Machine<'_>, thing: &dyn Thing, args: Args) -> Result<Value> {
        match Object::of_thing(thing) {
            Some(Object::Own(path)) => self.call_own(machine, path, args),
            Some(Object::Airflow(Airflow::DateTime)) => jinja::time::new_datetime(args),
            _ => jinja::fault(format!("'{}' object is not callable", thing.type_name())),
        }
    }

    fn method(
        &self,
        machine: &Machine<'_>,
        thing: &dyn Thing,
        name: &str,
        args: Args,
    ) -> Result<Option<Value>> {
        match Object::of_thing(thing) {
            Some(Object::Airflow(of)) => self.airflow_method(machine, *of, name, args),
            Some(Object::AssetEvents(events)) => events.method(name, args),
            Some(Object::SourceTask(source)) if name == "xcom_pull" => {
                self.pull_of_source(machine, source, args).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn call_function(&self, machine: &Machine<'_>, name: &str, args: Args) -> Result<Value> {
        self.call_macro(machine, name, args)
    }
}
