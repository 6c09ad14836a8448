//! A mapped task has a copy for each value that it is mapped over.

use std::collections::BTreeSet;

use updraft_core::{
    MapIndex, MapSource, Mapping, RunKey, TaskIx, TiState,
    record::{Batch, RunRow},
};

use super::{Check, shape::Shape, shapes::Shapes};
use crate::disk::Disk;

/// The tasks that a batch gives their copies.
#[derive(Debug, Default)]
pub(super) struct Expanded(BTreeSet<(RunKey, TaskIx)>);

impl Expanded {
    /// Looks at a batch that is about to be written.
    pub fn of(disk: &Disk, batch: &Batch) -> Self {
        let is_copy = |index: MapIndex| index != MapIndex::NONE;
        let new = batch.tis.keys().filter(|key| is_copy(key.map_index)).map(|key| (key.run, key.task));
        Self(
            new.filter(|(run, task)| !disk.instances(*run, *task).any(|ti| is_copy(ti.key.map_index)))
                .collect(),
        )
    }

    /// Looks at the store once it is written. What is cleared again at once has nothing to compare with.
    pub fn fit(&self, disk: &Disk, shapes: &Shapes, batch: &Batch) -> Check {
        for (run, task) in &self.0 {
            let Some(run) = disk.runs.get(run) else { continue };
            let Some(shape) = shapes.of(disk, batch, run) else { continue };
            let mapping = shape.mapping(task.usize());
            let Some(due) = mapping.and_then(|mapping| copies(disk, &shape, run, mapping)) else { continue };
            let found =
                disk.instances(run.key, *task).filter(|ti| ti.key.map_index != MapIndex::NONE).count();
            if found != due {
                let name = &shape.spec.tasks[task.usize()].task_id;
                return Err(format!("{name} of run {} has {found} copies, and should have {due}", run.key));
            }
        }
        Ok(())
    }
}

fn copies(disk: &Disk, shape: &Shape, run: &RunRow, mapping: &Mapping) -> Option<usize> {
    match mapping {
        Mapping::Product(arguments) => {
            arguments.iter().map(|(_, source)| values(disk, shape, run, source)).product()
        }
        Mapping::Kwargs(source) => values(disk, shape, run, source),
    }
}

fn values(disk: &Disk, shape: &Shape, run: &RunRow, source: &MapSource) -> Option<usize> {
    let each = |sources: &[MapSource]| -> Option<Vec<usize>> {
        sources.iter().map(|source| values(disk, shape, run, source)).collect()
    };
    match source {
        MapSource::List(written) => Some(written.len()),
        MapSource::Dict(written) => Some(written.len()),
        MapSource::Result(name) => {
            let task = shape.spec.tasks.iter().position(|task| task.task_id == *name)?;
            let of_it: Vec<_> = disk.instances(run.key, TaskIx(u32::try_from(task).ok()?)).collect();
            let mut left = of_it.iter().filter(|ti| ti.state == TiState::Success).map(|ti| ti.result_length);
            match shape.mapping(task) {
                None => left.next().flatten().and_then(|length| usize::try_from(length).ok()),
                // Of one that is mapped itself, each copy's result is one value.
                Some(_) => of_it
                    .iter()
                    .all(|ti| ti.state.is_finished())
                    .then(|| left.filter(Option::is_some).count()),
            }
        }
        MapSource::Zip { sources, fill: None } => each(sources)?.into_iter().min(),
        MapSource::Zip { sources, fill: Some(_) } => each(sources)?.into_iter().max(),
        MapSource::Concat(sources) => Some(each(sources)?.into_iter().sum()),
    }
}
