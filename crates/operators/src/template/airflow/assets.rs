//! Assets, and what happened to them that the run was made for (`triggering_asset_events`), as Airflow 3 has these:
//! the events of each asset by the asset itself.

use std::rc::Rc;

use updraft_core::{
    Asset, AssetEvent, AssetEventSource,
    jinja::{Args, Machine, Result, fault, needed, text},
};

use super::{Object, Value, World, attributes, moment};

/// What happened: of each asset the events.
pub(in crate::template) struct AssetEvents(Vec<(Rc<Asset>, Vec<Value>)>);

/// One event.
pub(in crate::template) struct Event {
    of: std::sync::Arc<AssetEvent>,
    asset: Rc<Asset>,
}

/// An asset as templates see it.
pub(super) fn asset(of: &Asset) -> Value {
    Value::from(Object::Asset(Rc::new(of.clone())))
}

/// An attribute of an asset.
pub(in crate::template) fn asset_attr(of: &Asset, name: &str) -> Result<Option<Value>> {
    Ok(Some(match name {
        "uri" => Value::str(&*of.uri),
        "name" => Value::str(of.name.as_deref().unwrap_or(&of.uri)),
        "group" => Value::str(of.group.as_deref().unwrap_or("asset")),
        "extra" => Value::from(&serde_json::Value::Object(of.extra.clone())),
        "normalized_uri" | "watchers" => {
            return fault(format!("the attribute '{name}' of an asset is not supported"));
        }
        _ => return Ok(None),
    }))
}

impl World<'_> {
    /// `triggering_asset_events`.
    pub(super) fn asset_events(&self) -> Value {
        let run = &self.order.run;
        let mut by_asset: Vec<(Rc<Asset>, Vec<Value>)> = Vec::new();
        for event in &run.asset_events {
            let place = by_asset.iter().position(|(asset, _)| asset.uri == event.uri).unwrap_or_else(|| {
                let known = run.assets.iter().find(|asset| asset.uri == event.uri).cloned();
                by_asset.push((Rc::new(known.unwrap_or_else(|| Asset::new(event.uri.clone()))), Vec::new()));
                by_asset.len() - 1
            });
            let (asset, events) = &mut by_asset[place];
            let event = Event { of: event.clone(), asset: Rc::clone(asset) };
            events.push(Value::from(Object::AssetEvent(Rc::new(event))));
        }
        Value::from(Object::AssetEvents(Rc::new(AssetEvents(by_asset))))
    }

    /// An attribute of an event; its source is looked up when it is asked for.
    pub(in crate::template) fn event_attr(&self, event: &Event, name: &str) -> Result<Option<Value>> {
        let source = event.of.source.as_ref();
        let of_source =
            |of: fn(&AssetEventSource) -> &str| source.map_or(Value::None, |it| Value::str(of(it)));
        Ok(Some(match name {
            "asset" => Value::from(Object::Asset(Rc::clone(&event.asset))),
            "extra" => Value::from(&*event.of.extra),
            "timestamp" => moment(Some(event.of.at)),
            "id" => Value::Int(event.of.id.0.into()),
            "key" => Value::optional(event.of.key.as_deref()),
            "source_dag_id" => of_source(|source| &source.dag_id),
            "source_run_id" => of_source(|source| &source.run_id),
            "source_task_id" => of_source(|source| &source.task_id),
            "source_map_index" => source.map_or(Value::None, |it| Value::Int(it.map_index.0.into())),
            "source_aliases" => Value::list(Vec::new()),
            "partition_key" => Value::None,
            "source_task_instance" => match source {
                Some(source) => Value::from(Object::SourceTask(Rc::new(source.clone()))),
                None => Value::None,
            },
            "source_dag_run" => match source {
                Some(source) => self.source_run(source)?,
                None => Value::None,
            },
            _ => return Ok(None),
        }))
    }

    fn source_run(&self, source: &AssetEventSource) -> Result<Value> {
        match self.host.run(&source.dag_id, &source.run_id)? {
            Some(run) => Ok(Value::from(Object::Run(Rc::new(run)))),
            None => {
                let AssetEventSource { dag_id, run_id, .. } = source;
                fault(format!("the run {run_id} of {dag_id}, which made the asset, is no longer there"))
            }
        }
    }

    /// An attribute of the task instance that made an asset.
    pub(in crate::template) fn source_attr(
        &self,
        source: &AssetEventSource,
        name: &str,
    ) -> Result<Option<Value>> {
        Ok(Some(match name {
            "dag_id" => Value::str(&*source.dag_id),
            "run_id" => Value::str(&*source.run_id),
            "task_id" => Value::str(&*source.task_id),
            "map_index" => Value::Int(source.map_index.0.into()),
            "dag_run" => self.source_run(source)?,
            _ => return Ok(None),
        }))
    }
}

impl AssetEvents {
    /// The assets.
    pub(in crate::template) fn assets(&self) -> Vec<Value> {
        self.0.iter().map(|(asset, _)| Value::from(Object::Asset(Rc::clone(asset)))).collect()
    }

    /// The events of an asset.
    pub(in crate::template) fn of(&self, asset: &Value) -> Option<Value> {
        let Some(Object::Asset(wanted)) = Object::of(asset) else { return None };
        self.find(|asset| asset.uri == wanted.uri)
    }

    fn find(&self, is_it: impl Fn(&Asset) -> bool) -> Option<Value> {
        let found = self.0.iter().find(|(asset, _)| is_it(asset));
        found.map(|(_, events)| Value::list(events.clone()))
    }

    /// Calls a method.
    pub(in crate::template) fn method(&self, name: &str, args: Args) -> Result<Option<Value>> {
        let lists = || self.0.iter().map(|(_, events)| Value::list(events.clone()));
        Ok(Some(match name {
            "keys" => args.none(name).map(|()| Value::generator(self.assets()))?,
            "values" => args.none(name).map(|()| Value::generator(lists().collect()))?,
            "items" => {
                args.none(name)?;
                let pairs = self.assets().into_iter().zip(lists());
                Value::generator(pairs.map(|(asset, events)| Value::tuple(vec![asset, events])).collect())
            }
            "get" => {
                let [key, default] = args.take(name, ["key", "default"])?;
                self.of(&needed("get()'s asset", key)?).or(default).unwrap_or(Value::None)
            }
            "for_asset" => {
                let [asset_name, uri] = args.take(name, ["name", "uri"])?;
                let word = |what, of: Option<Value>| of.map(|of| text(what, &of)).transpose();
                let (asset_name, uri) = (word("name", asset_name)?, word("uri", uri)?);
                if asset_name.is_none() && uri.is_none() {
                    return fault("for_asset() needs `name` or `uri`");
                }
                let found = self.find(|asset| {
                    let own = asset.name.as_deref().unwrap_or(&asset.uri);
                    asset_name.as_deref().is_none_or(|name| name == own)
                        && uri.as_deref().is_none_or(|uri| uri == &*asset.uri)
                });
                match (found, asset_name, uri) {
                    (Some(found), _, _) => found,
                    (None, Some(_), Some(_)) => Value::list(Vec::new()),
                    (None, _, _) => {
                        return fault("the run was not made for this asset, of which nothing is known");
                    }
                }
            }
            "for_asset_alias" => {
                return fault("there are no aliases of assets: name the asset (`for_asset`)");
            }
            _ => return Ok(None),
        }))
    }
}

impl World<'_> {
    /// `source_task_instance.xcom_pull(…)`.
    pub(in crate::template) fn pull_of_source(
        &self,
        machine: &Machine<'_>,
        source: &AssetEventSource,
        args: Args,
    ) -> Result<Value> {
        let [key, default] = args.take("xcom_pull", ["key", "default"])?;
        let key = key.map_or(Ok("return_value".into()), |key| text("key", &key))?;
        let (dag, run) = (Some(&*source.dag_id), Some(&*source.run_id));
        let (found, bytes) = self.xcoms(&source.task_id, &key, dag, run)?;
        machine.refuel(format!("{dag:?} {run:?} {} {key}", source.task_id), bytes);
        let own = found.into_iter().find(|(index, _)| *index == source.map_index).map(|(_, value)| value);
        Ok(own.filter(|own| !matches!(own, Value::None)).or(default).unwrap_or(Value::None))
    }
}

/// An attribute of the run of another task, by which it was found.
pub(in crate::template) use attributes::of_found;
