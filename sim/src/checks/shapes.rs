//! The shapes of DAG versions, each made once.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use updraft_core::record::{Batch, DagVersionRow, RunRow};

use super::shape::Shape;
use crate::disk::Disk;

/// By hash, since a DAG that was deleted and put again counts its versions anew.
#[derive(Debug, Default)]
pub(super) struct Shapes(RefCell<BTreeMap<String, Rc<Shape>>>);

impl Shapes {
    /// The shape of the version that a run is on.
    pub fn of(&self, disk: &Disk, batch: &Batch, run: &RunRow) -> Option<Rc<Shape>> {
        let new = batch.versions.iter().find(|new| new.key == run.dag && new.version == run.version);
        Some(self.get(new.or_else(|| disk.version_of(run))?))
    }

    pub fn get(&self, version: &DagVersionRow) -> Rc<Shape> {
        let mut known = self.0.borrow_mut();
        let shape = known.entry(version.hash.clone());
        shape.or_insert_with(|| Rc::new(Shape::new(version.spec.clone()))).clone()
    }
}
