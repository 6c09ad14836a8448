//! Links in a folder, of which none may lead out of it.

use std::{
    fs, io,
    path::{Component, Path},
};

/// Removes links that lead out of a folder, or nowhere: the server, which reads DAG files, may read more than
/// whoever wrote them.
pub fn remove_those_out(root: &Path) -> io::Result<()> {
    let canonical = root.canonicalize()?;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_symlink() && !leads_into(&path, &canonical) {
                tracing::warn!(link = %path.display(), "a link that leads out of its folder is left out");
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// Whether a link leads into a folder, by a way that holds wherever the folder is moved.
pub fn leads_into(link: &Path, root: &Path) -> bool {
    let relative = fs::read_link(link).is_ok_and(|target| {
        !target.components().any(|part| matches!(part, Component::RootDir | Component::Prefix(_)))
    });
    relative && link.canonicalize().is_ok_and(|target| target.starts_with(root))
}
