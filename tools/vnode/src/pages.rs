// SPDX-License-Identifier: GPL-2.0

//! Completion scripts and manual pages, made of the definition of the command line.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::failure::{Context, Result};

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "vnode", &mut script);
    Ok(io::Write::write_all(&mut io::stdout().lock(), &script)?)
}

/// Writes one page per verb to a folder, or the page of the whole to stdout.
pub(crate) fn man(dir: Option<&Path>) -> Result<()> {
    match dir {
        Some(dir) => {
            fs::create_dir_all(dir).context(|| dir.display().to_string())?;
            clap_mangen::generate_to(Cli::command(), dir).context(|| dir.display().to_string())
        }
        None => Ok(Man::new(Cli::command()).render(&mut io::stdout().lock())?),
    }
}
