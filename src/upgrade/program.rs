//! Program: which file is started, and how, when this process is to be replaced.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{self, Path, PathBuf};

/// How this process was started.
#[derive(Debug, Clone)]
pub struct Program {
    /// Where its file was, and where the next one is to be.
    pub path: PathBuf,
    /// All after the name.
    pub arguments: Vec<OsString>,
}

impl Program {
    /// As this process was started. To be asked early: once the file has been replaced, the kernel knows it by no path.
    ///
    /// # Errors
    ///
    /// When nothing tells which file it was.
    pub fn own() -> io::Result<Program> {
        let mut arguments = env::args_os();
        let name = arguments.next().unwrap_or_default();
        let file = env::current_exe()?;
        let path = as_called(&name, env::var_os("PATH").as_deref(), &file).unwrap_or(file);
        Ok(Program { path, arguments: arguments.collect() })
    }
}

/// The path by which it was called, if it leads to this file. The file itself would not do: a link that names the version
/// in use leads elsewhere after the next installation.
fn as_called(name: &OsStr, search: Option<&OsStr>, file: &Path) -> Option<PathBuf> {
    let called = Path::new(name);
    let leads_there = |path: &PathBuf| path.canonicalize().is_ok_and(|path| path == file);
    if called.components().count() > 1 || called.is_absolute() {
        return path::absolute(called).ok().filter(leads_there);
    }
    env::split_paths(search?).filter_map(|folder| path::absolute(folder.join(called)).ok()).find(leads_there)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_path_is_the_one_that_was_typed() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (file, link, other) = (folder.join("ringway-1"), folder.join("ringway"), folder.join("other"));
        fs::write(&file, "").unwrap();
        fs::write(&other, "").unwrap();
        symlink(&file, &link).unwrap();
        let search = env::join_paths([Path::new("/nowhere"), &folder]).unwrap();
        let called = |name: &OsStr| as_called(name, Some(&search), &file);
        assert_eq!(called(link.as_os_str()), Some(link.clone()));
        assert_eq!(called(OsStr::new("ringway")), Some(link));
        assert_eq!(called(OsStr::new("ringway-1")), Some(file.clone()));
        assert_eq!(called(other.as_os_str()), None, "what was not started");
        assert_eq!(called(OsStr::new("-ringway")), None);
    }
}
