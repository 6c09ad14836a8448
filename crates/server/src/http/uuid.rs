//! Identifiers in Airflow's form, made of ours.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use updraft_core::{DagKey, TiKey};
use utoipa::ToSchema;

/// A UUID that is always the same for the same thing (version 8: made by a rule of one's own).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, format = "uuid")]
pub(super) struct Uuid(String);

impl Uuid {
    /// That of a task instance.
    pub fn of_ti(ti: TiKey) -> Self {
        Self::of(&format!("ti {}.{}.{}", ti.run, ti.task, ti.map_index))
    }

    /// That of a version of a DAG.
    pub fn of_version(dag: &DagKey, version: u32) -> Self {
        Self::of(&format!("version {}/{} {version}", dag.namespace, dag.dag_id))
    }

    fn of(name: &str) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(name)[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_has_the_same_uuid_in_the_right_form() {
        let dag = DagKey::new("default", "etl");
        let Uuid(text) = Uuid::of_version(&dag, 1);
        assert_eq!(Uuid::of_version(&dag, 1), Uuid(text.clone()));
        assert_ne!(Uuid::of_version(&dag, 2), Uuid(text.clone()));
        let parts: Vec<usize> = text.split('-').map(str::len).collect();
        assert_eq!((parts, &text[14..15]), (vec![8, 4, 4, 4, 12], "8"));
    }
}
