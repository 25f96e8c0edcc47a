//! Why a program did not start: the kernel's error number does not say what is missing.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, iter};

use picot_net::seam::About;

/// The length of the first line of a script, of which Linux reads no more.
const FIRST_LINE_MAX: u64 = 256;

/// Names what is missing. The kernel's error is the same for a missing program, a missing working
/// directory and a missing interpreter of a script that exists.
#[cold]
pub(crate) fn explain(command: &Command, error: io::Error) -> io::Error {
    if let Some(directory) = command.get_current_dir().filter(|directory| !directory.is_dir()) {
        return error.about(format_args!("enter the working directory `{}`", directory.display()));
    }
    let program = Path::new(command.get_program());
    if has_slash(program) && program.is_dir() {
        return error.about(format_args!("run a directory"));
    }
    if error.kind() == io::ErrorKind::NotFound {
        let without = |script: PathBuf| missing_interpreter(command, &script).map(|interpreter| (script, interpreter));
        if let Some((script, interpreter)) = candidates(command).find_map(without) {
            let (script, interpreter) = (script.display(), interpreter.display());
            return error.about(format_args!("find `{interpreter}`, the interpreter of the script `{script}`"));
        }
    }
    error
}

/// Whether the program is a path. A name without a slash is searched for in `PATH`.
fn has_slash(program: &Path) -> bool {
    program.as_os_str().as_bytes().contains(&b'/')
}

/// The files that the program may be: a path as it is, a name in each folder of the child's `PATH`.
fn candidates(command: &Command) -> Box<dyn Iterator<Item = PathBuf>> {
    let program = PathBuf::from(command.get_program());
    if has_slash(&program) {
        return Box::new(iter::once(from_child(command, &program)));
    }
    let set = command.get_envs().find(|(key, _)| *key == "PATH");
    let path = set.map_or_else(|| env::var_os("PATH"), |(_, value)| value.map(OsStr::to_owned)).unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).map(|folder| from_child(command, &folder)).collect();
    Box::new(folders.into_iter().map(move |folder| folder.join(&program)))
}

/// The path as the child sees it, which enters its working directory first.
fn from_child(command: &Command, path: &Path) -> PathBuf {
    command.get_current_dir().unwrap_or(Path::new("")).join(path)
}

/// Returns the interpreter that the script's first line names, if the script exists and the
/// interpreter does not.
fn missing_interpreter(command: &Command, script: &Path) -> Option<PathBuf> {
    // Opening anything else, such as a FIFO, may block.
    if !fs::metadata(script).ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    File::open(script).ok()?.take(FIRST_LINE_MAX).read_to_end(&mut text).ok()?;
    // As the kernel splits it. It takes a carriage return for a part of the name, so a script with
    // the line ends of Windows has an interpreter that does not exist.
    let line = text.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).filter(|word| !word.is_empty());
    let interpreter = PathBuf::from(OsStr::from_bytes(words.next()?));
    let found = fs::metadata(from_child(command, &interpreter));
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound).then_some(interpreter)
}
