//! A page in a headless Chromium that is driven as by a person: it types, chooses files and clicks.
//!
//! Owns the DevTools protocol, over `--remote-debugging-pipe`: JSON, each message ended by NUL.
//! What goes wrong in the page, from its console to a file that is not there, is kept:
//! [`Browser::faults`].

use crate::sys;
use crate::tools::tool;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A browser with one page. Dropped, its processes are killed and its profile is removed.
///
/// Dialogs of the page are answered with yes.
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    last_id: u64,
    session: Option<String>,
    /// Pages that were loaded, from the first on.
    loads: usize,
    faults: Vec<String>,
    answers: BTreeMap<String, u16>,
    _profile: TempDir,
}

impl Browser {
    /// A new one with an empty page. None: there is no Chromium, as with [`tool`].
    ///
    /// # Panics
    /// When it does not start, or, instead of skipping, when `FOREBAY_REQUIRE=all`.
    pub fn start() -> Option<Browser> {
        tool("chromium")?;
        let profile = tempfile::Builder::new().prefix("forebay-browser-").tempdir();
        let profile = profile.expect("temporary folders can be made");
        let mut process = command(profile.path()).spawn().expect("an installed tool runs");
        let commands = process.stdin.take().expect("the pipe was asked for");
        let messages = read_messages(process.stdout.take().expect("the pipe was asked for"));
        let mut browser = Browser {
            process,
            commands,
            messages,
            last_id: 0,
            session: None,
            loads: 0,
            faults: Vec::new(),
            answers: BTreeMap::new(),
            _profile: profile,
        };
        browser.attach();
        Some(browser)
    }

    /// Goes to a page and waits until it is loaded, and all that belongs to it.
    ///
    /// # Panics
    /// When there is no such page.
    pub fn open(&mut self, url: &str) {
        let loads = self.loads;
        let result = self.call("Page.navigate", &json!({ "url": url }));
        assert_eq!(result["errorText"], Value::Null, "{url}");
        self.wait_for_load(loads);
    }

    /// From now on the window has this width, in pixels, and `light` or `dark` is preferred.
    pub fn look_like(&mut self, width: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [scheme] }));
    }

    /// Puts text into a field that this CSS selector finds, in place of what is in it.
    ///
    /// # Panics
    /// When there is no such field.
    pub fn fill(&mut self, selector: &str, text: &str) {
        let select = format!("{}.focus(); document.activeElement.select?.()", find(selector));
        self.evaluate(&select);
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Chooses a file in a form.
    ///
    /// # Panics
    /// When there is no such field.
    pub fn choose_file(&mut self, selector: &str, file: &Path) {
        let field = self.run(&find(selector), false)["objectId"].clone();
        let file = file.to_str().expect("paths of tests are UTF-8");
        self.call("DOM.setFileInputFiles", &json!({ "objectId": field, "files": [file] }));
    }

    /// Clicks the middle of an element.
    ///
    /// # Panics
    /// When there is none, or it is covered.
    pub fn click(&mut self, selector: &str) {
        let middle = self.evaluate(&format!(
            "(element => {{
                element.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = element.getBoundingClientRect();
                const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
                const hit = document.elementFromPoint(x, y);
                if (!element.contains(hit)) throw Error(`covered by ${{hit?.outerHTML}}`);
                return [x, y];
            }})({})",
            find(selector)
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let [x, y] = [&middle[0], &middle[1]];
            let event = json!({ "type": kind, "x": x, "y": y, "button": "left", "clickCount": 1 });
            self.call("Input.dispatchMouseEvent", &event);
        }
    }

    /// Clicks, and waits until the page is loaded to which that leads.
    ///
    /// # Panics
    /// When it leads nowhere.
    pub fn follow(&mut self, selector: &str) {
        let loads = self.loads;
        self.click(selector);
        self.wait_for_load(loads);
    }

    /// The text of all elements that this CSS selector finds.
    pub fn texts(&mut self, selector: &str) -> Vec<String> {
        let script = format!(
            "[...document.querySelectorAll({})].map(element => element.innerText)",
            json!(selector)
        );
        let texts = self.evaluate(&script);
        let texts = texts.as_array().expect("it is an array").iter();
        texts.map(|text| text.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Where the page is.
    pub fn url(&mut self) -> String {
        self.evaluate("location.href").as_str().unwrap_or_default().to_owned()
    }

    /// The value of an expression in JavaScript; that of a promise, when it is kept.
    ///
    /// # Panics
    /// When it throws.
    pub fn evaluate(&mut self, script: &str) -> Value {
        self.run(script, true)["value"].take()
    }

    /// What has gone wrong so far, a line each: errors and warnings on the console, exceptions that
    /// nobody caught, answers with 400 or more, and what had no answer at all.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The status of the last answer for each URL.
    pub fn answers(&self) -> &BTreeMap<String, u16> {
        &self.answers
    }

    fn attach(&mut self) {
        let target = self.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let parameters = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = self.call("Target.attachToTarget", &parameters);
        self.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.call(&format!("{domain}.enable"), &json!({}));
        }
    }

    fn run(&mut self, script: &str, by_value: bool) -> Value {
        let parameters = json!({
            "expression": script, "returnByValue": by_value, "awaitPromise": true,
        });
        let mut result = self.call("Runtime.evaluate", &parameters);
        let thrown = &result["exceptionDetails"];
        assert!(thrown.is_null(), "{script}: {}", thrown["exception"]["description"]);
        result["result"].take()
    }

    fn wait_for_load(&mut self, before: usize) {
        let deadline = Instant::now() + TIMEOUT;
        while self.loads == before {
            self.receive("a page", deadline);
        }
    }

    /// Sends a command and gives its result.
    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let id = self.send(method, parameters);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let mut message = self.receive(method, deadline);
            if message["id"] == id {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
        }
    }

    fn send(&mut self, method: &str, parameters: &Value) -> u64 {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let sent = self.commands.write_all(format!("{command}\0").as_bytes());
        sent.unwrap_or_else(|error| panic!("{method}: the browser has gone: {error}"));
        self.last_id
    }

    fn receive(&mut self, awaited: &str, deadline: Instant) -> Value {
        let left = deadline.saturating_duration_since(Instant::now());
        let message = self.messages.recv_timeout(left);
        let message = message.unwrap_or_else(|error| {
            panic!("{awaited}: nothing from the browser: {error}; so far: {:?}", self.faults)
        });
        self.note(message["method"].as_str().unwrap_or_default(), &message["params"]);
        message
    }

    fn note(&mut self, event: &str, what: &Value) {
        match event {
            "Page.loadEventFired" => self.loads += 1,
            "Page.javascriptDialogOpening" => {
                self.send("Page.handleJavaScriptDialog", &json!({ "accept": true }));
            }
            "Runtime.exceptionThrown" => self.faults.push(what["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if is_bad(&what["type"]) => {
                self.faults.push(what["args"].to_string());
            }
            "Log.entryAdded" if is_bad(&what["entry"]["level"]) => {
                self.faults.push(format!("{} {}", what["entry"]["text"], what["entry"]["url"]));
            }
            "Network.responseReceived" => {
                let answer = &what["response"];
                let url = answer["url"].as_str().unwrap_or_default();
                let status = answer["status"].as_u64().and_then(|status| status.try_into().ok());
                self.answers.insert(url.to_owned(), status.unwrap_or(0));
            }
            "Network.loadingFailed" if what["canceled"] != true => {
                self.faults.push(what["errorText"].to_string());
            }
            _ => {}
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        sys::kill_group(self.process.id(), sys::KILL);
        let _ = self.process.wait();
    }
}

fn is_bad(level: &Value) -> bool {
    ["error", "warning", "assert"].iter().any(|bad| level == bad)
}

/// An expression for the first element.
fn find(selector: &str) -> String {
    let selector = json!(selector);
    format!("(document.querySelector({selector}) ?? (() => {{ throw Error({selector}) }})())")
}

/// Commands come at descriptor 3, answers go to 4: the shell makes them of our two pipes.
fn command(profile: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#, "sh"]);
    command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display()));
    if sys::is_root() {
        command.arg("--no-sandbox");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
    command
}

fn read_messages(pipe: impl std::io::Read + Send + 'static) -> Receiver<Value> {
    let (sender, messages) = mpsc::channel();
    thread::spawn(move || {
        let pieces = BufReader::new(pipe).split(0).map_while(Result::ok);
        let parsed = pieces.filter_map(|piece| serde_json::from_slice(&piece).ok());
        parsed.map(|message| sender.send(message)).take_while(Result::is_ok).for_each(drop);
    });
    messages
}

const FLAGS: &[&str] = &[
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-gpu",
    "--disable-sync",
    // A password that is said to have leaked has a dialog of its own.
    "--disable-features=PasswordLeakDetection,Translate",
];

/// For a browser on a machine that has much else to do.
const TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "data:text/html,<body><form action='data:text/html,<p>after'>
        <input id=name value=old><input id=file type=file>
        <button onclick=\"return confirm('sure?')\">go</button></form>";

    #[test]
    fn forms_are_filled_in_and_sent() {
        let Some(mut browser) = Browser::start() else { return };
        browser.open(FORM);
        browser.fill("#name", "new");
        assert_eq!(browser.evaluate("document.querySelector('#name').value"), "new");
        let file = tempfile::Builder::new().suffix(".txt").tempfile().unwrap();
        browser.choose_file("#file", file.path());
        let name = browser.evaluate("document.querySelector('#file').files[0].name");
        assert!(name.as_str().is_some_and(|name| file.path().ends_with(name)), "{name}");
        assert_eq!(browser.texts("button"), ["go"]);
        browser.click("#name");
        assert_eq!(browser.evaluate("document.activeElement.id"), "name");
        assert_eq!(browser.faults(), [""; 0]);
    }

    #[test]
    fn what_goes_wrong_is_known() {
        let Some(mut browser) = Browser::start() else { return };
        browser.open("data:text/html,<script>console.error('oops')</script>");
        browser.open("data:text/html,<script>throw Error('thrown')</script>");
        browser.open("data:text/html,<img src='http://127.0.0.1:1/missing'>");
        let faults = browser.faults().join("\n");
        for expected in ["oops", "thrown", "ERR_"] {
            assert!(faults.contains(expected), "{expected} is not among {faults}");
        }
    }
}
