//! How workers come into being.
//!
//! Owns the hand-over from the arbiter to a worker. The first generation is forked, with the
//! application that the arbiter has made. New code can only come from disk, so a later generation
//! is the program as it was there when the generation began: the file is held open, and each
//! worker executes it with the arguments of this process and learns of its task by
//! [`Handover`]. What the path means later does not matter until the next reload.

use super::inheritance::{Inheritance, Station};
use super::process;
use super::supervisor::Supervisor;
use crate::options::Options;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What a generation is made of: all of its workers are the same, whatever becomes of the files
/// that this was read from.
#[derive(Debug)]
pub(super) enum Release {
    /// This process, as it is.
    Own,
    Successor(Successor),
    Mold(Recipe),
}

impl Release {
    /// All settings, if they are others than those of this process.
    pub(super) fn options(&self) -> Option<&Options> {
        match self {
            Release::Own => None,
            Release::Successor(successor) => Some(&successor.options),
            Release::Mold(recipe) => Some(&recipe.options),
        }
    }
}

/// A program that was on disk later than this one.
#[derive(Debug)]
pub(super) struct Successor {
    program: File,
    /// All settings.
    pub(super) options: Options,
}

impl Successor {
    /// As things are now.
    pub(super) fn new(program: &Program, options: Options) -> io::Result<Successor> {
        Ok(Successor { program: program.open()?, options })
    }
}

/// How this process was started, to start it again.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// Absolute, but with its symbolic links: they may lead elsewhere after a deployment.
    path: PathBuf,
    arguments: Vec<OsString>,
    directory: PathBuf,
    environment: Variables,
}

/// Names and values.
pub(crate) type Variables = Vec<(OsString, OsString)>;

impl Program {
    /// Of this process. Call it before the working directory or the environment changes.
    pub(crate) fn of_this_process() -> io::Result<Program> {
        let arguments: Vec<_> = std::env::args_os().collect();
        let directory = start_directory()?;
        let name = arguments.first().map(PathBuf::from).unwrap_or_default();
        let has_slash = name.as_os_str().as_encoded_bytes().contains(&b'/');
        let path = match has_slash {
            true => Some(directory.join(&name)).filter(|path| is_program(path)),
            false => find_program(&name, &directory),
        };
        let path = path.map_or_else(std::env::current_exe, Ok)?;
        let is_ours = |name: &OsString| Supervisor::PRIVATE.iter().all(|private| name != private);
        let environment = std::env::vars_os().filter(|(name, _)| is_ours(name)).collect();
        Ok(Program { path, arguments, directory, environment })
    }

    /// A variable of the environment that it was started in, if it is text.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        let (_, value) = self.environment.iter().find(|(other, _)| other == name)?;
        value.to_str().map(str::to_owned)
    }

    /// That environment, and these variables in it.
    pub(crate) fn environment_with(&self, variables: &[(String, String)]) -> Variables {
        let is_set = |name: &OsString| variables.iter().any(|(set, _)| name == set.as_str());
        let kept = self.environment.iter().filter(|(name, _)| !is_set(name)).cloned();
        let set = variables.iter().map(|(name, value)| (name.into(), value.into()));
        kept.chain(set).collect()
    }

    /// Where it was started.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The program as it is on disk now.
    fn open(&self) -> io::Result<File> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&self.path);
        let file = file.map_err(|error| self.explain(&error))?;
        if !is_program(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd()))) {
            return Err(self.explain(&io::Error::other("it is no executable file")));
        }
        Ok(file)
    }

    /// Replaces this process, which is to be worker `number` and as yet has no program, by the
    /// successor.
    pub(super) fn execute(
        &self,
        successor: &Successor,
        number: usize,
        inheritance: Inheritance,
    ) -> io::Error {
        let program = successor.program.as_raw_fd();
        let handover = Handover { pid: std::process::id(), number, program, inheritance };
        let handover = match handover.keep_on_exec().and_then(|()| handover.to_text()) {
            Ok(handover) => handover,
            Err(error) => return error,
        };
        let [name, arguments @ ..] = &self.arguments[..] else {
            return io::Error::other("this process was started without a name");
        };
        let error = Command::new(format!("/proc/self/fd/{program}"))
            .arg0(name)
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(Handover::VARIABLE, handover)
            .exec();
        self.explain(&error)
    }

    fn explain(&self, error: &io::Error) -> io::Error {
        io::Error::other(format!("{}: {error}", self.path.display()))
    }
}

/// The task of a worker that was started by exec(2), in its environment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// The process that is meant, and nobody that it starts.
    pid: u32,
    number: usize,
    program: RawFd,
    inheritance: Inheritance,
}

impl Handover {
    const VARIABLE: &str = "FOREBAY_WORKER";

    fn keep_on_exec(&self) -> io::Result<()> {
        process::keep_on_exec(self.program)?;
        self.inheritance.keep_on_exec()
    }

    fn to_text(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// The task of this process, if it was started as a worker.
    pub(crate) fn from_environment() -> Option<Handover> {
        let text = std::env::var(Self::VARIABLE).ok()?;
        let handover: Handover = serde_json::from_str(&text).ok()?;
        process::forget_environment(&[Self::VARIABLE]);
        (handover.pid == std::process::id()).then_some(handover)
    }

    /// All settings.
    pub(crate) fn options(&self) -> &Options {
        &self.inheritance.options
    }

    /// Takes over what was inherited: the station, and the listeners.
    pub(crate) fn accept(self) -> io::Result<(Station, Vec<OwnedFd>)> {
        drop(process::inherited(self.program)?);
        self.inheritance.adopt()?.station(self.number)
    }
}

/// How a mold is started.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// The interpreter.
    pub(crate) python: PathBuf,
    /// Where the application is.
    pub(crate) directory: PathBuf,
    pub(crate) application: String,
    pub(crate) options: Options,
    /// The whole of it.
    pub(crate) environment: Variables,
    pub(crate) boot_timeout: Duration,
}

impl Recipe {
    /// Replaces this process, as yet without a program, by the mold, which is told `orders`.
    pub(super) fn execute(self, inheritance: Inheritance, orders: BorrowedFd<'_>) -> io::Error {
        let orders = orders.as_raw_fd();
        let task = Task { version: version(), orders, application: self.application, inheritance };
        let text = match task.keep_on_exec().and_then(|()| task.to_text()) {
            Ok(text) => text,
            Err(error) => return error,
        };
        let mut command = Command::new(&self.python);
        command.env_clear().envs(self.environment);
        command.args(MOLD).current_dir(&self.directory).env(Task::VARIABLE, text);
        let error = command.exec();
        io::Error::other(format!("cannot start {}: {error}", self.python.display()))
    }
}

/// The task of a mold, in its environment (`FOREBAY_MOLD`).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    /// Of the program that has written this.
    version: String,
    pub(crate) orders: RawFd,
    pub(crate) application: String,
    pub(crate) inheritance: Inheritance,
}

impl Task {
    const VARIABLE: &str = "FOREBAY_MOLD";

    /// What [`to_text`](Task::to_text) has given to a mold that runs in `python`.
    pub(crate) fn parse(text: &str, python: &Path) -> Result<Task, String> {
        #[derive(Deserialize)]
        struct Version {
            version: String,
        }
        // Another version may have other fields.
        let Version { version } = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let own = self::version();
        if version != own {
            return Err(format!(
                "this is the package forebay {own}, but worker-bin is {version}; where its \
                 sources are: {} -m pip install --force-reinstall ./worker-bin",
                python.display()
            ));
        }
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    pub(crate) fn to_text(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// Whatever this process executes next has its descriptors.
    pub(crate) fn keep_on_exec(&self) -> io::Result<()> {
        process::keep_on_exec(self.orders)?;
        self.inheritance.keep_on_exec()
    }
}

/// With a sum of the sources of what a worker and its arbiter must agree on: two builds of one
/// version may differ in it.
fn version() -> String {
    format!("{}+{:08x}", env!("CARGO_PKG_VERSION"), SOURCES)
}

const SOURCES: u32 = {
    let texts: [&[u8]; 7] = [
        include_bytes!("inheritance.rs"),
        include_bytes!("launch.rs"),
        include_bytes!("words.rs"),
        include_bytes!("../liveness.rs"),
        include_bytes!("../mold.rs"),
        include_bytes!("../options.rs"),
        include_bytes!("../signals.rs"),
    ];
    let (mut sum, mut text) = (0x811c_9dc5, 0);
    while text < texts.len() {
        sum = fnv_1a(sum, texts[text]);
        text += 1;
    }
    sum
};

const fn fnv_1a(mut sum: u32, bytes: &[u8]) -> u32 {
    let mut at = 0;
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    sum
}

/// The working directory by the name that the shell has for it, if it has one: with symbolic
/// links, which may lead elsewhere after a deployment.
pub(crate) fn start_directory() -> io::Result<PathBuf> {
    let identity = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino()));
    let here = identity(Path::new("."))?;
    let named = std::env::var_os("PWD").map(PathBuf::from).filter(|path| path.is_absolute());
    let named = named.filter(|path| identity(path).is_ok_and(|there| there == here));
    named.map_or_else(std::env::current_dir, Ok)
}

/// As a shell does (execvp(3)).
fn find_program(name: &Path, directory: &Path) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let candidates = std::env::split_paths(&path);
    candidates.map(|entry| directory.join(entry).join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// What the interpreter is told to run. Not by `-m`, which has it look for modules of the server in
/// the working directory first.
const MOLD: [&str; 2] = [
    "-c",
    "import sys\n\
     sys.path[:1] = filter(None, sys.path[:1])\n\
     try: from forebay.mold import main\n\
     except ModuleNotFoundError as error: sys.exit(f'{sys.executable}: {error}')\n\
     sys.exit(main())",
];
