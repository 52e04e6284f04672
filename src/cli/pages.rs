//! `ringway completions` and `ringway man`: what is made from the definitions of the command line.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::Cli;
use super::printing::print;
use crate::manual;

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  ringway completions bash >/usr/share/bash-completion/completions/ringway
  ringway completions zsh >/usr/share/zsh/vendor-completions/_ringway
  ringway completions fish >/usr/share/fish/vendor_completions.d/ringway.fish";

const MAN_EXAMPLES: &str = "\
Examples:
  ringway man | man -l -
  ringway man --folder /usr/share/man";

/// `ringway completions`
#[derive(Debug, Clone, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub struct CompletionsArgs {
    /// Whose completions
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

/// `ringway man`
#[derive(Debug, Clone, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub struct ManArgs {
    /// Where every page is written to, below man1 and man5, instead of the first one on standard output
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
}

/// Prints what a shell needs to complete our words.
pub fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "ringway", &mut text);
    print(&String::from_utf8_lossy(&text)).map_or_else(|code| code, |_| ExitCode::SUCCESS)
}

/// Prints the first page of the manual, or writes them all.
pub fn man(args: &ManArgs) -> ExitCode {
    let pages = manual::pages(&Cli::command());
    let Some(folder) = &args.folder else {
        return print(&pages[0].text).map_or_else(|code| code, |_| ExitCode::SUCCESS);
    };
    for page in pages {
        let section = page.name.rsplit('.').next().expect("a page has a section");
        let path = folder.join(format!("man{section}")).join(&page.name);
        let parent = path.parent().expect("it is below the folder");
        if let Err(error) = fs::create_dir_all(parent).and_then(|()| fs::write(&path, page.text)) {
            eprintln!("{}: cannot be written: {error}; give another --folder", path.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
