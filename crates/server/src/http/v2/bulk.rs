//! Many things of one kind made, changed and deleted by one request, as Airflow's `PATCH` of a list does it: `/pools`,
//! `/variables`, `/connections`, runs and task instances.

use std::fmt::Display;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::{Error, call::Call, error::Invalid};

/// A kind of thing that can be changed in bulk.
pub(super) trait InBulk {
    /// Several of them, as messages call them.
    const MANY: &'static str;
    /// Names one.
    type Name: Clone + PartialEq + Display;
    /// What makes one.
    type New: DeserializeOwned;
    /// What changes one.
    type Change: DeserializeOwned;

    /// The name that an entity of a body has, or is.
    fn name(&self, entity: &Value) -> Result<Self::Name, Unnamed>;
    async fn is_there(&self, call: &Call, name: &Self::Name) -> Result<bool, Error>;
    async fn create(&self, call: &Call, new: Self::New) -> Result<(), Error>;
    /// `mask`: only these fields count, or all that are given where it is empty.
    async fn change(
        &self,
        call: &Call,
        name: &Self::Name,
        change: Self::Change,
        mask: &[String],
    ) -> Result<(), Error>;
    async fn delete(&self, call: &Call, name: &Self::Name) -> Result<(), Error>;
}

/// Why an entity has no name: the field that should have it, Pydantic's word for the fault, and what is wrong.
pub(super) struct Unnamed(pub &'static str, pub &'static str, pub &'static str);

/// The text in a field of an entity.
pub(super) fn text<'a>(entity: &'a Value, field: &'static str) -> Result<&'a str, Unnamed> {
    let value = entity.get(field).ok_or(Unnamed(field, "missing", "Field required"))?;
    value.as_str().ok_or(Unnamed(field, "string_type", "Input should be a valid string"))
}

/// The text in a field that may be absent, or `null`.
pub(super) fn text_if_given<'a>(entity: &'a Value, field: &'static str) -> Result<Option<&'a str>, Unnamed> {
    match entity.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(entity, field).map(Some),
    }
}

/// The name of an entity that has it in this field, or is it.
pub(super) fn name_or_text(entity: &Value, field: &'static str) -> Result<String, Unnamed> {
    entity.as_str().map_or_else(|| text(entity, field), Ok).map(Into::into)
}

/// What can't be done with things of a kind.
pub(super) fn not_supported(why: &str) -> Error {
    Error::Status(StatusCode::METHOD_NOT_ALLOWED, why.into())
}

/// What is to be done, in this order.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkBody {
    actions: Vec<Action>,
}

/// One thing to do with several entities.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case", deny_unknown_fields)]
enum Action {
    /// Makes them.
    Create {
        /// Each as the route takes it that makes one.
        #[schema(value_type = Vec<Object>)]
        entities: Vec<Value>,
        #[serde(default)]
        action_on_existence: OnExistence,
    },
    /// Changes them.
    Update {
        /// Each as the route takes it that changes one, with its name.
        #[schema(value_type = Vec<Object>)]
        entities: Vec<Value>,
        /// Only these fields count.
        #[serde(default)]
        update_mask: Option<Vec<String>>,
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
    /// Deletes them.
    Delete {
        /// Their names, or what has their names.
        #[schema(value_type = Vec<Object>)]
        entities: Vec<Value>,
        #[serde(default)]
        action_on_non_existence: OnNonExistence,
    },
}

/// What becomes of those that are there already.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OnExistence {
    /// Nothing of this action is done.
    #[default]
    Fail,
    /// They stay.
    Skip,
    /// The fields that are given are put in the place of theirs.
    Overwrite,
}

/// What becomes of those that are not there.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OnNonExistence {
    /// Nothing of this action is done.
    #[default]
    Fail,
    /// They are passed over.
    Skip,
}

/// What became of each kind of action that was asked for.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct BulkResponse {
    create: Option<BulkActionResponse>,
    update: Option<BulkActionResponse>,
    delete: Option<BulkActionResponse>,
}

/// What became of one kind of action.
#[derive(Default, Serialize, ToSchema)]
struct BulkActionResponse {
    /// The names of those that it was done with.
    success: Vec<String>,
    errors: Vec<BulkError>,
}

/// Why something was not done.
#[derive(Serialize, ToSchema)]
struct BulkError {
    /// A sentence, or a list of faults where the form is wrong.
    #[schema(value_type = Object)]
    error: Value,
    status_code: u16,
}

/// An action whose entities have been read: nothing is done while one of them has the wrong form.
enum Planned<K: InBulk> {
    Create(Vec<(K::Name, K::New, K::Change)>, OnExistence),
    Update(Vec<(K::Name, K::Change)>, Vec<String>, OnNonExistence),
    Delete(Vec<K::Name>, OnNonExistence),
}

/// Does what is asked for, action by action. What can't be done is told beside what was done.
pub(super) async fn obey<K: InBulk>(kind: &K, call: &Call, body: BulkBody) -> Result<BulkResponse, Error> {
    let actions = body.actions.into_iter().enumerate();
    let planned: Vec<Planned<K>> =
        actions.map(|(at, action)| plan(kind, at, action)).collect::<Result<_, Invalid>>()?;
    let mut response = BulkResponse::default();
    for action in planned {
        match action {
            Planned::Create(entities, on) => {
                create(kind, call, entities, on, response.create.get_or_insert_default()).await?;
            }
            Planned::Update(entities, mask, on) => {
                let told = response.update.get_or_insert_default();
                let names: Vec<&K::Name> = entities.iter().map(|(name, _)| name).collect();
                let Some(missing) = missing(kind, call, &names, on, told).await? else { continue };
                for (name, change) in entities {
                    if !missing.contains(&name) {
                        let done = kind.change(call, &name, change, &mask).await;
                        told.tell(&name, done);
                    }
                }
            }
            Planned::Delete(names, on) => {
                let told = response.delete.get_or_insert_default();
                let asked: Vec<&K::Name> = names.iter().collect();
                let Some(missing) = missing(kind, call, &asked, on, told).await? else { continue };
                for name in names {
                    if !missing.contains(&name) {
                        let done = kind.delete(call, &name).await;
                        told.tell(&name, done);
                    }
                }
            }
        }
    }
    Ok(response)
}

async fn create<K: InBulk>(
    kind: &K,
    call: &Call,
    entities: Vec<(K::Name, K::New, K::Change)>,
    on: OnExistence,
    told: &mut BulkActionResponse,
) -> Result<(), Error> {
    let mut there = Vec::new();
    for (name, ..) in &entities {
        if kind.is_there(call, name).await? {
            there.push(name.clone());
        }
    }
    if on == OnExistence::Fail && !there.is_empty() {
        told.refuse(&Error::conflict(format!("these {} exist already: {}", K::MANY, listed(&there))));
        return Ok(());
    }
    for (name, new, change) in entities {
        let done = match (there.contains(&name), on) {
            (true, OnExistence::Overwrite) => kind.change(call, &name, change, &[]).await,
            (true, _) => continue,
            (false, _) => kind.create(call, new).await,
        };
        told.tell(&name, done);
    }
    Ok(())
}

/// Those that are not there; `None` where the action ends with that.
async fn missing<K: InBulk>(
    kind: &K,
    call: &Call,
    names: &[&K::Name],
    on: OnNonExistence,
    told: &mut BulkActionResponse,
) -> Result<Option<Vec<K::Name>>, Error> {
    let mut missing = Vec::new();
    for name in names {
        if !kind.is_there(call, name).await? {
            missing.push((*name).clone());
        }
    }
    if on == OnNonExistence::Fail && !missing.is_empty() {
        told.refuse(&Error::not_found(format!("these {} were not found: {}", K::MANY, listed(&missing))));
        return Ok(None);
    }
    Ok(Some(missing))
}

fn listed<N: Display>(names: &[N]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl BulkActionResponse {
    fn tell(&mut self, name: &impl Display, done: Result<(), Error>) {
        match done {
            Ok(()) => self.success.push(name.to_string()),
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&mut self, error: &Error) {
        let (status, error) = error.parts();
        self.errors.push(BulkError { error, status_code: status.as_u16() });
    }
}

fn plan<K: InBulk>(kind: &K, at: usize, action: Action) -> Result<Planned<K>, Invalid> {
    Ok(match action {
        Action::Create { entities, action_on_existence } => {
            let read = |(ix, entity): (usize, Value)| {
                let place = Place(at, ix);
                Ok((place.name(kind, &entity)?, place.read(entity.clone())?, place.read(entity)?))
            };
            let entities = entities.into_iter().enumerate().map(read).collect::<Result<_, Invalid>>()?;
            Planned::Create(entities, action_on_existence)
        }
        Action::Update { entities, update_mask, action_on_non_existence } => {
            let read = |(ix, entity): (usize, Value)| {
                let place = Place(at, ix);
                Ok((place.name(kind, &entity)?, place.read(entity)?))
            };
            let entities = entities.into_iter().enumerate().map(read).collect::<Result<_, Invalid>>()?;
            Planned::Update(entities, update_mask.unwrap_or_default(), action_on_non_existence)
        }
        Action::Delete { entities, action_on_non_existence } => {
            let read = |(ix, entity): (usize, Value)| Place(at, ix).name(kind, &entity);
            let names = entities.into_iter().enumerate().map(read).collect::<Result<_, Invalid>>()?;
            Planned::Delete(names, action_on_non_existence)
        }
    })
}

/// An entity's place in a body: in which action, and where in it.
struct Place(usize, usize);

impl Place {
    fn fault(&self, field: Option<&str>, r#type: &'static str, msg: impl Display) -> Invalid {
        let Self(action, entity) = *self;
        let mut loc = vec!["body".into(), "actions".into(), action.into(), "entities".into(), entity.into()];
        loc.extend(field.map(Value::from));
        Invalid { r#type, loc, msg: msg.to_string(), input: Box::default() }
    }

    fn name<K: InBulk>(&self, kind: &K, entity: &Value) -> Result<K::Name, Invalid> {
        kind.name(entity).map_err(|Unnamed(field, r#type, msg)| self.fault(Some(field), r#type, msg))
    }

    fn read<T: DeserializeOwned>(&self, entity: Value) -> Result<T, Invalid> {
        serde_path_to_error::deserialize(entity).map_err(|error| {
            let field = error.path().iter().next().map(ToString::to_string);
            self.fault(field.as_deref(), "value_error", error.inner())
        })
    }
}
