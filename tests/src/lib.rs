//! Tests of the real executables, from outside: bytes in, bytes out, signals and exit codes.
//!
//! This library is the harness; the tests are the files in `tests/tests`, one per behaviour:
//!
//! | file | shows that |
//! |---|---|
//! | `access_log` | each request is one line, in combined format plus times |
//! | `crowds` | slow clients, however many, are served whole, in little memory, and occupy no worker |
//! | `curl` | a stock client gets and sends everything, through edge and worker, unharmed |
//! | `demo` | the demonstration site of the README is whole, and its buttons do what they say |
//! | `descriptors` | nothing stays open, whatever happens to requests, clients and workers |
//! | `documents` | what READMEs and examples show is whole, right and the same everywhere |
//! | `drain` | TERM finishes what is in flight, resets nobody and ends with 0 |
//! | `embedding` | the `forebay` crate serves from inside another program |
//! | `examples` | every example runs and does what it says |
//! | `examples_in_browser` | the examples in Python work in a browser, and their files come from the edge |
//! | `exhaustion` | without descriptors only what needs one fails, until there are some; who idles makes room |
//! | `expect_continue` | the edge answers `100 (Continue)` when, and only when, it should |
//! | `file_routes` | which file answers, and with which fields, is as the route says |
//! | `files` | files are served with validators, beneath their root, as they are now |
//! | `forked_child` | an application's own child keeps nothing of its dead parent open |
//! | `forwarding` | applications see canonical requests and only trustworthy facts |
//! | `httplint` | a linter for HTTP finds nothing bad in what files are answered with |
//! | `idle_memory` | connections that wait for their next request need little memory |
//! | `inheritance` | signals blocked or ignored by whoever starts the edge, and orphans, do no harm |
//! | `kill_storm` | nothing is lost and nothing runs twice, whatever happens to workers under load |
//! | `large_directory` | a directory of 100,000 names on a disk delays nobody else |
//! | `limits` | what is too large is refused, and the client can read why |
//! | `lost_log` | messages that nobody can read are lost, and nothing else is |
//! | `manual` | help, manual pages and completions are whole, and terminals get a banner |
//! | `occupancy` | large contents occupy a worker for no longer than it needs itself |
//! | `overload` | beyond its capacity a pool answers as many as it can, in time |
//! | `package` | units, container profile and Debian package are whole, and start nothing |
//! | `pipelining` | answers come in the order of the requests |
//! | `privileges` | whose process it is, and who may be a worker |
//! | `queueing` | a request waits only when all workers are busy, in order, within bounds |
//! | `ranges` | clients get the parts of files that they ask for, under their conditions |
//! | `rate_limits` | one client address may ask so much of a route, and no more |
//! | `releases` | what is served changes when its files do, while clients are being served |
//! | `reload` | a changed configuration is taken over while clients are served, or not at all |
//! | `responses` | what applications must not say never reaches a client as if they might |
//! | `rfc*` | what these sections refuse never reaches an application, what they allow does |
//! | `slow_clients` | clients that drip occupy no worker and delay nobody |
//! | `slowhttptest` | attackers who are slow in four ways are let go of, and disturb nobody |
//! | `spool` | what is too large for memory goes through files, and workers wait for nobody |
//! | `startup_errors` | what cannot start says why, and what to do, in one line |
//! | `status` | a running server tells what it does and has counted, or it is said why not |
//! | `steady_state` | under load there are no errors and memory does not grow |
//! | `streaming` | what an application produces piece by piece arrives piece by piece |
//! | `tidy` | the sources keep the house rules |
//! | `timeouts` | clients that stop sending or reading are let go |
//! | `traversal` | no spelling of a path leads out of a directory that is served |
//! | `worker_bind` | a worker listens plainly, without an edge |
//! | `worker_death` | the death of a worker costs at most the request that it was running |
//! | `wsgi_background` | what an application has left running when it answered is not lost |
//! | `wsgi_closing` | what an application does after its answer keeps few waiting |
//! | `wsgi_content` | what a WSGI application gives arrives, and no more and no less than it said |
//! | `wsgi_deadlines` | requests that take too long are named, interrupted, and killed at last |
//! | `wsgi_ends` | what an import has made ends with its mold, and workers end as the interpreter does |
//! | `wsgi_environ` | a WSGI application is told what PEP 3333 says, and what is true |
//! | `wsgi_forks` | a mold makes workers whatever else runs in its process |
//! | `wsgi_frameworks` | Flask, Django and web.py run unchanged |
//! | `wsgi_gunicorn` | flags of gunicorn do for Python what they do there |
//! | `wsgi_imports` | what is beside an application, or was begun by an import that fails, is in nobody's way |
//! | `wsgi_input` | the content of a request is read in every way that files are |
//! | `wsgi_leftovers` | what an import leaves is shared by workers only if a fork may share it |
//! | `wsgi_molds` | applications are loaded once, reloaded safely, and say why they cannot be |
//! | `wsgi_pep3333` | every sentence of PEP 3333 that binds servers holds |
//! | `wsgi_settings` | a reload takes over settings that have changed |
//! | `wsgi_signals` | signals that the application handles reach it in time |
//! | `wsgi_sources` | `--reload` looks where sources are, and not too often |
//! | `wsgi_start_response` | heads are begun, begun anew and refused as PEP 3333 says |
//! | `wsgi_undecodable` | names that are no text are logged, and nothing fails for them |
//!
//! The harness builds the executables itself, once per test process, with the profile and the
//! target directory of the test that runs. A test that needs a tool which is not installed says so
//! and passes; with `FOREBAY_REQUIRE=all` in the environment it fails instead. Applications in
//! Python are in `tests/python`; they run in a virtual environment below the target directory, made
//! with the `python3` on the PATH, or with the interpreter that `FOREBAY_TEST_PYTHON` names.
//!
//! Pages are tried out in a browser, Debian's `chromium`, through [`Browser`].
//!
//! Tests wait for conditions ([`wait_until`]), never for a fixed time, and assert on time only as
//! a generous bound on liveness.

mod binaries;
mod browser;
mod client;
mod crowd;
mod digest;
mod drip;
mod load;
mod memory;
mod open_loop;
mod process;
mod python;
mod random;
mod raw_worker;
mod response;
mod site;
pub mod source;
mod storm;
mod strict;
mod sys;
mod tools;
mod wait;
mod written;

pub use binaries::{example, proxy_bin, worker_bin};
pub use browser::Browser;
pub use client::{Client, Failure};
pub use crowd::{Crowd, Pace, Pieces};
pub use digest::{pattern, sha256};
pub use drip::{Drip, Drippers};
pub use load::{Load, Report};
pub use memory::{Peak, own_bytes};
pub use open_loop::{Arrival, OpenLoop, Outcome};
pub use process::{Process, children, is_alive, resident_bytes, send_signal, workers_of};
pub use python::{Python, python};
pub use random::Random;
pub use raw_worker::RawWorker;
pub use response::Response;
pub use site::{Site, SiteBuilder, worker_status};
pub use storm::{Outcomes, Storm};
pub use strict::Strict;
pub use sys::{
    CONT, HUP, INT, KILL, STOP, TERM, TTIN, TTOU, USR1, USR2, as_user, cpu_time, is_root,
    limit_descriptors, limit_file_size, raise_descriptor_limit,
};
pub use tools::{Tool, is_full, is_required, skip, tool};
pub use wait::{PATIENCE, wait_until};
pub use written::{Written, wait_for_note, write_module};
