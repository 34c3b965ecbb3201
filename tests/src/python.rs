//! A virtual environment with the wheel that is built from the sources as they are, and with the
//! frameworks that applications are written in.

use crate::binaries::{target, worker_bin};
use crate::process::Process;
use crate::site::{Site, SiteBuilder};
use crate::tools::{skip, tool};
use crate::wait::PATIENCE;
use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// An interpreter that has the package `forebay`. See [`python`].
#[derive(Clone, Debug)]
pub struct Python {
    environment: PathBuf,
}

/// The virtual environment, made once for all tests. None: there is no Python, or nothing to make
/// it with, and the test is to be skipped, as with [`tool`].
///
/// # Panics
/// When the wheel does not build; and instead of skipping, when `FOREBAY_REQUIRE=all`.
pub fn python() -> Option<&'static Python> {
    static PYTHON: OnceLock<Option<Python>> = OnceLock::new();
    let name = env::var("FOREBAY_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = PYTHON.get_or_init(|| {
        let is_path = name.contains('/');
        if !is_path {
            tool(&name)?;
        }
        make(&name)
    });
    if found.is_none() {
        skip("there is no virtual environment for Python");
    }
    found.as_ref()
}

impl Python {
    /// The interpreter.
    pub fn interpreter(&self) -> PathBuf {
        self.environment.join("bin/python")
    }

    /// A folder with the applications of these tests.
    pub fn applications(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
    }

    /// A site with an application of `tests/python` and these flags of `worker-bin`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn site(&self, application: &str, flags: &[&str]) -> Site {
        self.site_builder(application, flags).start()
    }

    /// The same before it starts.
    pub fn site_builder(&self, application: &str, flags: &[&str]) -> SiteBuilder {
        let (interpreter, path) = (self.interpreter(), self.applications());
        let own = ["--python", text(&interpreter), "--pythonpath", text(&path)];
        Site::builder().app_with(application, &[&own, flags].concat())
    }

    /// A copy of an example that is an application of Python, before it starts.
    ///
    /// # Panics
    /// When there is no such example.
    pub fn example(&self, name: &str) -> SiteBuilder {
        let environment = text(&self.environment);
        Site::example(name).path_variable("VIRTUAL_ENV", environment)
    }

    /// `worker-bin` with these arguments and this interpreter.
    pub fn worker(&self, arguments: &[&str]) -> Process {
        Process::start(&mut self.command(arguments))
    }

    /// The same before it starts.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(worker_bin());
        command.arg("--python").arg(self.interpreter());
        command.arg("--pythonpath").arg(self.applications());
        command.args(arguments);
        command
    }

    /// The same, listening without an edge.
    ///
    /// # Panics
    /// When it does not start to listen.
    pub fn bound(&self, application: &str) -> (Process, SocketAddr) {
        let mut worker = self.worker(&["--bind", "127.0.0.1:0", application]);
        let address = worker.listening(1, PATIENCE)[0];
        (worker, address)
    }
}

/// None: it cannot be made here, and that was said.
fn make(name: &str) -> Option<Python> {
    let version = output(Command::new(name).args(["-c", VERSION])).ok()?;
    let (target, profile) = target();
    let folder = target.join("python");
    fs::create_dir_all(&folder).expect("the target directory is writable");
    // Tests are several processes.
    let lock = File::create(folder.join("lock")).expect("the target directory is writable");
    lock.lock().expect("a new file can be locked");
    let environment = folder.join(version.trim());
    let python = Python { environment };
    if let Err(error) = install_tools(&python, name) {
        let required = env::var("FOREBAY_REQUIRE").is_ok_and(|value| value == "all");
        assert!(!required, "{error}");
        skip(&error);
        return None;
    }
    install_wheel(&python, &target, &profile);
    Some(python)
}

/// Frameworks, and what builds the wheel.
fn install_tools(python: &Python, name: &str) -> Result<(), String> {
    let stamp = python.environment.join("installed");
    let wanted = PACKAGES.concat();
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    output(Command::new(name).args(["-m", "venv", "--clear"]).arg(&python.environment))?;
    let mut pip = Command::new(python.interpreter());
    let packages = wanted.lines().filter(|line| !line.is_empty());
    output(pip.args(["-m", "pip", "install", "--quiet"]).args(packages))?;
    fs::write(stamp, wanted).map_err(|error| error.to_string())
}

/// The same wheel is not installed again: other tests are using it.
fn install_wheel(python: &Python, target: &Path, profile: &str) {
    let wheels = python.environment.join("wheels");
    let _ = fs::remove_dir_all(&wheels);
    let mut maturin = Command::new(python.environment.join("bin/maturin"));
    maturin.args(["build", "--quiet", "--profile", profile, "--interpreter"]);
    maturin.arg(python.interpreter()).arg("--out").arg(&wheels);
    maturin.env("CARGO_TARGET_DIR", target).current_dir(worker_package());
    output(&mut maturin).unwrap_or_else(|error| panic!("the wheel does not build: {error}"));
    let wheel = fs::read_dir(&wheels).expect("it was made").flatten().next();
    let wheel = wheel.expect("a wheel was built").path();
    let sums = output(Command::new(python.interpreter()).args(["-c", SUMS]).arg(&wheel));
    let sums = sums.expect("a wheel is an archive");
    let stamp = python.environment.join("wheel");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == sums) {
        return;
    }
    let mut pip = Command::new(python.interpreter());
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]).arg(&wheel);
    output(&mut pip).unwrap_or_else(|error| panic!("the wheel cannot be installed: {error}"));
    fs::write(stamp, sums).expect("the target directory is writable");
}

fn worker_package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../worker-bin")
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the paths of this repository are UTF-8")
}

/// Pinned, so that a failure is ours: what builds the wheel, and what the examples ask for.
const PACKAGES: &[&str] = &[
    "maturin==1.16.0\n",
    include_str!("../../examples/flask/requirements.txt"),
    include_str!("../../examples/django/requirements.txt"),
    include_str!("../../examples/webpy/requirements.txt"),
];
const VERSION: &str = "import sys; print('%d.%d' % sys.version_info[:2])";
/// What is in a wheel, whenever it was built: each build has a number, in its bill of materials.
const SUMS: &str = "import sys, zipfile
files = zipfile.ZipFile(sys.argv[1]).infolist()
changing = ('.cyclonedx.json', '/RECORD')
print([(f.filename, f.CRC) for f in files if not f.filename.endswith(changing)])";
