//! The environ of a request (PEP 3333, "environ Variables").
//!
//! Owns its keys. What is the same for all requests is in a template that is copied; what often
//! is, in strings that are used again.

use crate::file_wrapper::{FileWrapper, IteratedFile};
use crate::input::Input;
use crate::latin1;
use crate::names::{self, Memo, Names};
use forebay_worker::Request;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use std::net::{IpAddr, SocketAddr};

/// What is the same for all requests of a process.
pub(crate) struct Template {
    dict: Py<PyDict>,
    /// The path at which the application is, without its end (`SCRIPT_NAME` of this process).
    script_name: String,
}

impl Template {
    /// `sends_files`: those in a `wsgi.file_wrapper` may be handed over.
    pub(crate) fn new(py: Python<'_>, is_threaded: bool, sends_files: bool) -> PyResult<Template> {
        let dict = PyDict::new(py);
        // In the order in which they are most often looked up, and all of them, so that a copy has
        // room for the fields.
        for key in [
            "REQUEST_METHOD",
            "SCRIPT_NAME",
            "PATH_INFO",
            "QUERY_STRING",
            "RAW_URI",
            "REQUEST_URI",
            "SERVER_NAME",
            "SERVER_PORT",
            "SERVER_PROTOCOL",
            "REMOTE_ADDR",
            "REMOTE_PORT",
        ] {
            dict.set_item(PyString::intern(py, key), intern!(py, ""))?;
        }
        let software = concat!("forebay/", env!("CARGO_PKG_VERSION"));
        dict.set_item(intern!(py, "SERVER_SOFTWARE"), PyString::intern(py, software))?;
        dict.set_item(intern!(py, "wsgi.version"), PyTuple::new(py, [1, 0])?)?;
        dict.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "http"))?;
        dict.set_item(intern!(py, "wsgi.input"), py.None())?;
        dict.set_item(intern!(py, "wsgi.errors"), py.import("sys")?.getattr("stderr")?)?;
        dict.set_item(intern!(py, "wsgi.multithread"), is_threaded)?;
        // Also of a single worker: while it is replaced there are two.
        dict.set_item(intern!(py, "wsgi.multiprocess"), true)?;
        dict.set_item(intern!(py, "wsgi.run_once"), false)?;
        dict.set_item(intern!(py, "wsgi.input_terminated"), true)?;
        let wrapper = match sends_files {
            true => py.get_type::<FileWrapper>(),
            false => py.get_type::<IteratedFile>(),
        };
        dict.set_item(intern!(py, "wsgi.file_wrapper"), wrapper)?;
        let script_name = std::env::var("SCRIPT_NAME").unwrap_or_default();
        let script_name = script_name.trim_end_matches('/').to_owned();
        Ok(Template { dict: dict.unbind(), script_name })
    }
}

/// Makes the environs of one thread.
pub(crate) struct Environ<'a> {
    template: &'a Template,
    names: Names,
    keys: Keys,
    memos: Memos,
    /// The input of requests without content, which is always at its end.
    no_input: Option<Py<Input>>,
    scratch: Vec<u8>,
}

macro_rules! keys {
    ($($field:ident: $name:literal,)*) => {
        /// Names that every request has.
        struct Keys {
            $($field: Py<PyString>,)*
        }

        impl Keys {
            fn new(py: Python<'_>) -> Keys {
                Keys { $($field: PyString::intern(py, $name).unbind(),)* }
            }
        }
    };
}

keys! {
    method: "REQUEST_METHOD",
    script_name: "SCRIPT_NAME",
    path: "PATH_INFO",
    query: "QUERY_STRING",
    raw_uri: "RAW_URI",
    request_uri: "REQUEST_URI",
    server_name: "SERVER_NAME",
    server_port: "SERVER_PORT",
    protocol: "SERVER_PROTOCOL",
    remote_address: "REMOTE_ADDR",
    remote_port: "REMOTE_PORT",
    content_length: "CONTENT_LENGTH",
    scheme: "wsgi.url_scheme",
    input: "wsgi.input",
}

/// Values that are likely to come again.
#[derive(Default)]
struct Memos {
    method: Memo,
    script_name: Memo,
    path: Memo,
    query: Memo,
    target: Memo,
    scheme: Memo,
    protocol: Memo,
    server_name: Memo,
    server_port: Memo,
    remote_address: Memo,
    remote_port: Memo,
    /// The address that `remote_address` is of.
    peer: Option<(IpAddr, String)>,
}

impl<'a> Environ<'a> {
    pub(crate) fn new(py: Python<'_>, template: &'a Template) -> Environ<'a> {
        Environ {
            template,
            names: Names::new(),
            keys: Keys::new(py),
            memos: Memos::default(),
            no_input: None,
            scratch: Vec::new(),
        }
    }

    /// The environ of a request.
    pub(crate) fn build<'py>(
        &mut self,
        py: Python<'py>,
        request: &Request,
    ) -> PyResult<Bound<'py, PyDict>> {
        let environ = self.template.dict.bind(py).copy()?;
        self.put_request_line(&environ, request)?;
        self.put_server(&environ, request)?;
        self.put_peer(&environ, request.peer())?;
        self.put_input(&environ, request)?;
        self.names.begin();
        for (name, value) in request.fields() {
            self.put_field(&environ, name, value)?;
        }
        Ok(environ)
    }

    fn put_request_line(&mut self, environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
        let py = environ.py();
        let (keys, memos) = (&self.keys, &mut self.memos);
        let target = memos.target.string(py, request.target().as_bytes())?;
        environ.set_item(&keys.raw_uri, &target)?;
        environ.set_item(&keys.request_uri, target)?;
        let method = memos.method.string(py, request.method().as_bytes())?;
        environ.set_item(&keys.method, method)?;
        let query = request.query().unwrap_or_default();
        environ.set_item(&keys.query, memos.query.string(py, query.as_bytes())?)?;
        decode_percent(request.path(), &mut self.scratch);
        let prefix = &self.template.script_name[..];
        let path = match self.scratch.strip_prefix(prefix.as_bytes()) {
            Some(rest) if !prefix.is_empty() && matches!(rest.first(), None | Some(b'/')) => {
                let prefix = memos.script_name.string(py, prefix.as_bytes())?;
                environ.set_item(&keys.script_name, prefix)?;
                rest
            }
            _ => &self.scratch,
        };
        environ.set_item(&keys.path, memos.path.string(py, path)?)
    }

    /// Whom the client has addressed; without an edge, by what it says itself.
    fn put_server(&mut self, environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
        let py = environ.py();
        let (keys, memos) = (&self.keys, &mut self.memos);
        let scheme = request.scheme();
        let host = || request.field("host").and_then(|host| std::str::from_utf8(host).ok());
        let address = request.local().or_else(host).unwrap_or_default();
        let default_port = if scheme == "https" { "443" } else { "80" };
        let (name, port) = split_authority(address);
        let name = if name.is_empty() { "localhost" } else { name };
        let name = memos.server_name.string(py, name.as_bytes())?;
        environ.set_item(&keys.server_name, name)?;
        let port = memos.server_port.string(py, port.unwrap_or(default_port).as_bytes())?;
        environ.set_item(&keys.server_port, port)?;
        environ.set_item(&keys.scheme, memos.scheme.string(py, scheme.as_bytes())?)?;
        let protocol = request.version().as_str().as_bytes();
        environ.set_item(&keys.protocol, memos.protocol.string(py, protocol)?)
    }

    fn put_peer(&mut self, environ: &Bound<'_, PyDict>, peer: Option<SocketAddr>) -> PyResult<()> {
        let Some(peer) = peer else { return Ok(()) };
        let py = environ.py();
        let (keys, memos) = (&self.keys, &mut self.memos);
        let ip = match &memos.peer {
            Some((known, text)) if *known == peer.ip() => text,
            _ => &memos.peer.insert((peer.ip(), peer.ip().to_canonical().to_string())).1,
        };
        let address = memos.remote_address.string(py, ip.as_bytes())?;
        environ.set_item(&keys.remote_address, address)?;
        let (mut digits, port) = ([0; 5], peer.port());
        let port = memos.remote_port.string(py, decimal(port, &mut digits))?;
        environ.set_item(&keys.remote_port, port)
    }

    /// Content has a known length, however it was framed: that is what applications ask for.
    fn put_input(&mut self, environ: &Bound<'_, PyDict>, request: &Request) -> PyResult<()> {
        let py = environ.py();
        let content = request.body();
        if content.is_empty() {
            let input = match &self.no_input {
                Some(input) => input,
                None => self.no_input.insert(Py::new(py, Input::new(content.clone()))?),
            };
            environ.set_item(&self.keys.input, input)?;
            let framing = ["content-length", "transfer-encoding"];
            if framing.iter().all(|name| request.field(name).is_none()) {
                return Ok(());
            }
        } else {
            environ.set_item(&self.keys.input, Py::new(py, Input::new(content.clone()))?)?;
        }
        environ.set_item(&self.keys.content_length, PyString::new(py, &content.len().to_string()))
    }

    fn put_field(&mut self, environ: &Bound<'_, PyDict>, name: &str, value: &[u8]) -> PyResult<()> {
        let py = environ.py();
        match self.names.find(py, name) {
            Some((known, _)) if !known.is_passed_on => Ok(()),
            Some((known, false)) => environ.set_item(&known.key, known.value.string(py, value)?),
            Some((known, true)) => join(environ, known.key.bind(py), known.separator, value),
            None if !names::is_passed_on(name) => Ok(()),
            None => {
                let key = PyString::new(py, &names::key(name));
                match environ.contains(&key)? {
                    true => join(environ, &key, names::separator(name), value),
                    false => environ.set_item(key, latin1::decode(py, value)?),
                }
            }
        }
    }
}

/// A field that has come before (RFC 9110 §5.3).
fn join(
    environ: &Bound<'_, PyDict>,
    key: &Bound<'_, PyString>,
    separator: &[u8],
    value: &[u8],
) -> PyResult<()> {
    let before = environ.get_item(key)?;
    let before = before.map(|before| before.cast_into::<PyString>()).transpose()?;
    let before = before.as_ref().map(latin1::encode).transpose()?.unwrap_or_default();
    environ.set_item(key, latin1::decode(environ.py(), &[&before, separator, value].concat())?)
}

/// Decodes a path (RFC 3986 §2.1). What is no encoding stays.
fn decode_percent(path: &str, out: &mut Vec<u8>) {
    out.clear();
    let mut rest = path.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        let (before, from) = rest.split_at(at);
        out.extend_from_slice(before);
        let digit = |at: usize| from.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        let decoded = digit(1).zip(digit(2)).map(|(high, low)| high * 16 + low);
        let decoded = decoded.and_then(|byte| u8::try_from(byte).ok());
        out.push(decoded.unwrap_or(b'%'));
        rest = &from[if decoded.is_some() { 3 } else { 1 }..];
    }
    out.extend_from_slice(rest);
}

/// Host and port; an IPv6 address keeps its brackets.
fn split_authority(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port).filter(|p| !p.is_empty())),
        _ => (authority, None),
    }
}

fn decimal(mut number: u16, digits: &mut [u8; 5]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            return &digits[at..];
        }
    }
}
