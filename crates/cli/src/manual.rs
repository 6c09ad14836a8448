//! What shells and `man` know of this program, made from its own help.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap_complete::Shell;

/// For which shell.
#[derive(clap::Args)]
pub struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints what a shell has to know to complete commands.
pub fn completion(mut command: clap::Command, args: &Completion) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "updraft", &mut text);
    std::io::stdout().lock().write_all(&text)?;
    Ok(())
}

/// Where manual pages go.
#[derive(clap::Args)]
pub struct Man {
    /// The folder, made where it is not there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes a manual page for each command.
pub fn man(command: clap::Command, args: &Man) -> Result<()> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))?;
    let pages = pages(command, "updraft", folder)?;
    let first = folder.join("updraft.1");
    // What has no slash in it is a page's name.
    let here = if first.components().count() == 1 { "./" } else { "" };
    eprintln!("{pages} manual pages are in {}: man {here}{}", folder.display(), first.display());
    Ok(())
}

/// Writes the page of a command, and those of the commands below; how many. A page is called with dashes, and the
/// command with spaces.
fn pages(command: clap::Command, called: &str, folder: &Path) -> Result<usize> {
    let mut count = 1;
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        count += pages(inner.clone(), &format!("{called} {}", inner.get_name()), folder)?;
    }
    let name = called.replace(' ', "-");
    let command = command.name(name.clone()).display_name(name.clone()).bin_name(called.to_owned());
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    // What stands behind the options is examples, always.
    let page = String::from_utf8(page)?.replace(".SH EXTRA", ".SH EXAMPLES");
    let path = folder.join(format!("{name}.1"));
    std::fs::write(&path, page).with_context(|| format!("can't write {}", path.display()))?;
    Ok(count)
}
