//! Where `--reload` looks for changed sources, and how often.

use forebay_tests::python;
use std::fs;
use std::process::Command;

/// What this prints in a folder with these folders in it.
fn run(script: &str, folders: &[&str]) -> Option<String> {
    let interpreter = python()?.interpreter();
    let folder = tempfile::tempdir().expect("there is room");
    for name in folders {
        fs::create_dir_all(folder.path().join(name)).expect("its own folder is writable");
    }
    let output = Command::new(interpreter).args(["-c", script]).current_dir(&folder).output();
    let output = output.expect("the interpreter runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("it prints text"))
}

#[test]
fn folders_of_others_are_not_looked_at() {
    let script = "from forebay.sources import below\nprint(*sorted(below('.')))";
    let folders = ["shop/views", ".git/hooks", "node_modules/left", "shop/node_modules/right"];
    let Some(printed) = run(script, &folders) else { return };
    assert_eq!(printed, ". ./shop ./shop/views\n");
}

#[test]
fn a_look_that_takes_long_is_a_rare_one() {
    let script = "import time\n\
                  from forebay import mold\n\
                  class Mold:\n    \
                  pauses = []\n    \
                  def wait(self, seconds):\n        \
                  self.pauses.append(seconds)\n        \
                  return len(self.pauses) == 3\n    \
                  def next(self): pass\n\
                  class Sources:\n    \
                  work = [0, 0.2]\n    \
                  def changed(self):\n        \
                  until = time.thread_time() + self.work.pop(0)\n        \
                  while time.thread_time() < until: pass\n\
                  mold.wait(Mold(), Sources())\n\
                  print(*Mold.pauses)\n";
    let Some(printed) = run(script, &[]) else { return };
    let pauses: Vec<f64> = printed.split_whitespace().map(|text| text.parse().unwrap()).collect();
    assert!(pauses.len() == 3 && pauses[..2] == [1.0, 1.0] && pauses[2] >= 4.0, "{pauses:?}");
}
